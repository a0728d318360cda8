"""One call that writes any format."""

from __future__ import annotations

import logging
from pathlib import Path

from mocap.errors import ExportError, StorageError
from mocap.export.animation import Animation, make_animation
from mocap.export.csv import write_csv
from mocap.export.npz import write_npz
from mocap.export.presets import conventions, frame_rate
from mocap.export.selection import motion_of, motion_row, only_person, people_by_evidence, tell_gaps, to_skeleton
from mocap.export.settings import ExportFormat, ExportSettings
from mocap.export.trim import trim_motion, trim_trajectories
from mocap.types import SkeletalMotion, Trajectories3D

_log = logging.getLogger(__name__)


def export_result(
    trajectories: Trajectories3D,
    motion: SkeletalMotion | None,
    settings: ExportSettings,
    path: Path,
    provenance: str = "",
) -> Path:
    """Write a result as `export_files` does; returns the first file, which is always `path`."""
    return export_files(trajectories, motion, settings, path, provenance)[0]


def export_files(
    trajectories: Trajectories3D,
    motion: SkeletalMotion | None,
    settings: ExportSettings,
    path: Path,
    provenance: str = "",
) -> list[Path]:
    """Write a result, each file whole or not at all, and read back before it takes its name.

    Parameters
    ----------
    trajectories : Trajectories3D
        Filtered; what npz, csv, c3d and trc hold.
    motion : SkeletalMotion, optional
        What bvh, glb, fbx and usd hold; may be None for the others.
    settings : ExportSettings
    path : Path
    provenance : str
        JSON text that says what the result was made from; kept in npz, which has a place for it.

    Returns
    -------
    list of Path
        What was written. An animation of several people goes, unless one of them or one scene is
        asked for, to one file each: `path` holds the person seen most, the others lie beside it with
        ``_personID`` in their names.

    Raises
    ------
    ExportError
        No such person, joint set or bone, no motion for an animation format, or the file cannot be
        written (then nothing of it stays).
    DependencyError
        The format needs a library or a program that is not installed.
    """
    try:
        if settings.format.animated:
            if motion is None:
                problem = f"{settings.format} needs the solved motion"
                raise ExportError(problem, where=str(path), hint="run the solve stage first")
            return _write_animations(path, motion, settings)
        _write_positions(path, trajectories, settings, provenance)
    except StorageError as error:
        raise ExportError(
            error.problem, expected=error.expected, found=error.found, where=error.where, hint=error.hint
        ) from error
    return [path]


def _write_positions(path: Path, trajectories: Trajectories3D, settings: ExportSettings, provenance: str) -> None:
    from mocap.export.points import resampled, write_c3d, write_trc

    chosen = only_person(trajectories, settings.person) if settings.person >= 0 else trajectories
    chosen = to_skeleton(chosen, settings.skeleton) if settings.skeleton else chosen
    chosen = trim_trajectories(chosen) if settings.trim_unreliable else chosen
    rate = frame_rate(settings, chosen.fps)
    chosen = resampled(chosen, rate) if rate else chosen
    axes = conventions(settings).axes
    if settings.format is ExportFormat.CSV:
        write_csv(path, chosen, settings.csv_layout)
    elif settings.format is ExportFormat.C3D:
        write_c3d(path, chosen, axes)
    elif settings.format is ExportFormat.TRC:
        write_trc(path, chosen, axes)
    else:
        write_npz(path, chosen, provenance)


def _write_animations(path: Path, motion: SkeletalMotion, settings: ExportSettings) -> list[Path]:
    if settings.one_scene and settings.format is ExportFormat.BVH:
        raise ExportError(
            "a BVH file holds one person",
            where="export.one_scene",
            hint="leave out --one-scene, or write glb, fbx, usd",
        )
    people = [motion_row(motion, settings.person)] if settings.person >= 0 else people_by_evidence(motion)
    chosen = [motion_of(motion, row) for row in people]
    if settings.trim_unreliable and not settings.one_scene:
        chosen = [trim_motion(m) for m in chosen]
    elif settings.trim_unreliable:
        chosen = [motion_of(trim_motion(motion), row) for row in people]
    made = [_animation(m, settings) for m in chosen]
    if settings.one_scene:
        _write(path, made, settings)
        written = [path]
    else:
        written = [path, *(path.with_name(f"{path.stem}_{a.name}{path.suffix}") for a in made[1:])]
        for target, animation in zip(written, made, strict=True):
            _write(target, [animation], settings)
        if len(written) > 1:
            _log.warning("%s holds person %d, seen most; the others lie beside it", path.name, chosen[0].person_ids[0])
    for m in chosen:
        tell_gaps(m, 0)
    return written


def _animation(motion: SkeletalMotion, settings: ExportSettings) -> Animation:
    aligned = settings.format is ExportFormat.BVH
    return make_animation(motion, 0, conventions(settings), frame_rate(settings, motion.fps), aligned)


def _write(path: Path, animations: list[Animation], settings: ExportSettings) -> None:
    if settings.format is ExportFormat.BVH:
        from mocap.export.bvh import write_bvh

        write_bvh(path, animations[0])
    elif settings.format is ExportFormat.GLB:
        from mocap.export.gltf import write_glb

        write_glb(path, animations, conventions(settings).rig)
    elif settings.format is ExportFormat.FBX:
        from mocap.export.fbx import write_fbx

        write_fbx(path, animations)
    else:
        from mocap.export.usd import write_usd

        write_usd(path, animations)
