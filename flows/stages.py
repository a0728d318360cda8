"""The stages as path -> path steps: what each takes, which version it is, and the call that does it.

A step reads its inputs' artifacts, calls one pure library function and returns the record to store, whole
or in pieces that are made while they are stored.
Raise a stage's version when its results change for the same input; a cosmetic change raises nothing.
Synchronise matches and triangulates too, to judge the rig: raise it whenever either of those is raised.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from flows.cache import Cache, Ingredients, Reference
from flows.clock_sources import check_clock_sources, clock_videos, recorded_clocks, row_delays, stamps_file
from flows.config import Stage
from flows.session import Session
from mocap.arrays import Record
from mocap.devices import DeviceChoice
from mocap.errors import StageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from calibration.camera import CameraRig
    from mocap.rows import Pieces, Rows
    from mocap.types import Keypoints2D, Trajectories3D

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)
References = dict[Stage, dict[str, Reference]]
"""Per stage and unit: the artifact in use."""

Progress = Callable[[int, int], None]
"""Called with (done, total) while a unit is worked on."""


@dataclass(frozen=True)
class Work:
    """One unit of work: a session, what to make, and the artifacts to make it from."""

    session: Session
    cache: Cache
    unit: str
    references: References
    device: DeviceChoice
    progress: Progress

    def read_all(self, stage: Stage, kind: type[R]) -> list[R]:
        """The records of all units of an upstream stage, in order."""
        from mocap.storage.hdf5 import read_record

        keys = [r.key for r in self.references[stage].values()]
        return [read_record(self.cache.path(stage, key), kind) for key in keys]

    def rows(self, stage: Stage, kind: type[R]) -> Rows[R]:
        """The record of an upstream stage that has one unit, to be read a span of frames at a time."""
        from mocap.storage.rows import StoredRows

        (reference,) = self.references[stage].values()
        return StoredRows(self.cache.path(stage, reference.key), kind)

    def read(self, stage: Stage, kind: type[R]) -> R:
        """The record of an upstream stage that has one unit."""
        return self.read_all(stage, kind)[0]

    def rig(self, cameras: Sequence[str]) -> CameraRig:
        """The named cameras as they stood during the take: calibrated, and turned back where nudged."""
        from mocap.storage.alignment_record import AlignmentRecord
        from mocap.storage.rig_record import RigRecord

        rig = self.read(Stage.CALIBRATE, RigRecord).to_rig()
        alignment = self.read(Stage.SYNCHRONISE, AlignmentRecord)
        return alignment.to_correction().apply(rig.select(alignment.cameras)).select(cameras)

    def keypoints(self) -> Keypoints2D:
        """The 2D people of all views over the whole take."""
        from mocap.detection.merge import free_running, merge_cameras, merge_chunks
        from mocap.types import Keypoints2D

        parts: dict[tuple[str, ...], list[Keypoints2D]] = {}
        for part in self.read_all(Stage.DETECT, Keypoints2D):
            parts.setdefault(part.cameras, []).append(part)
        views = [merge_chunks(chunks) for chunks in parts.values()]
        if not self.session.videos or not self.session.free_running:
            return merge_cameras(views)
        return merge_cameras(free_running(views, self.session.fps))

    def rates(self, cameras: Sequence[str]) -> NDArray[np.float64]:
        """Frame rates [V] as shares of the session's."""
        import numpy as np

        session = self.session
        return np.array([session.camera_fps(c) / session.fps if session.videos else 1.0 for c in cameras])


def calibrate_step(work: Work) -> Record:
    """The calibration file, or what calibration footage gives, as a rig that fits the session's videos."""
    from flows.calibration import board_of, calibrate_session, read_session_rig
    from flows.rig_fit import fit_rig_to_images
    from mocap.storage.rig_record import RigRecord

    session, quality = work.session, ""
    if board_of(session) is None:
        rig = read_session_rig(session)
    else:
        rig, quality = calibrate_session(session)
    tolerance = session.config.settings.calibrate.crop_tolerance_px
    return RigRecord.of(fit_rig_to_images(rig, session.config.cameras, session.footage, tolerance), quality)


def synchronise_step(work: Work) -> Record:
    """The cameras' time offsets, and turns since calibration."""
    from mocap.storage.alignment_record import AlignmentRecord
    from mocap.storage.rig_record import RigRecord
    from mocap.synchronisation import align_cameras

    keypoints = work.keypoints()
    rig = work.read(Stage.CALIBRATE, RigRecord).to_rig().select(keypoints.cameras)
    settings = work.session.config.settings.synchronise
    rates = work.rates(keypoints.cameras)
    recorded = recorded_clocks(work.session, keypoints, rig, rates)
    return AlignmentRecord.of(align_cameras(keypoints, rig, settings, rates, recorded))


def detect_step(work: Work) -> Record:
    """2D people in a span of one camera's video, or those of a keypoint file."""
    session = work.session
    if session.config.session.keypoints:
        from mocap.interchange import read_keypoints

        given = read_keypoints(session.resolve(session.config.session.keypoints))
        return replace(given, fps=session.config.session.fps or given.fps)
    from mocap.detection.stage import detect_video
    from mocap.devices import resolve_device
    from mocap.storage.precision import rounded

    camera, start, stop = parse_detect_unit(work.unit)
    _share_cores(len(unit_names(session, Stage.DETECT)))
    done = 0

    def advance(frames: int) -> None:
        nonlocal done
        done += frames
        work.progress(done, stop - start)

    found = detect_video(
        session.videos[camera],
        session.config.settings.detect,
        resolve_device(work.device),
        range(start, stop),
        advance,
        camera=camera,
    )
    return rounded(replace(found, fps=session.camera_fps(camera)))


def _share_cores(units: int) -> None:
    """As many threads for the network as there are cores for each of the units that run side by side."""
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // units))


def match_step(work: Work) -> Record:
    """Identities over views and time."""
    from mocap.matching import match_people
    from mocap.matching.summary import summarise
    from mocap.resampling import to_common_time
    from mocap.storage.alignment_record import AlignmentRecord

    keypoints = work.keypoints()
    where = str(work.session.root)
    if not (keypoints.confidence > 0).any():
        raise StageError(
            "no person was found in any view",
            where=where,
            hint="look at the videos: is a person visible, upright and at least 100 px tall? "
            "Lower detect.person_score in session.toml if so",
        )
    times = work.read(Stage.SYNCHRONISE, AlignmentRecord).to_time_model()
    rig = work.rig(keypoints.cameras)
    matches = match_people(to_common_time(keypoints, times), rig, work.session.config.settings.match)
    if len(matches.person_ids) == 0:
        raise StageError(
            "no person is seen by enough views for long enough",
            where=where,
            hint="check that the calibration belongs to these videos, and that the cameras look at the same place",
        )
    for text in summarise(matches).warnings:
        log.warning("%s: %s", where, text)
    return matches


def triangulate_step(work: Work) -> Pieces[Trajectories3D]:
    """3D joints with covariance."""
    from mocap.triangulation.estimate import triangulate_rows
    from mocap.types import Matches

    matches = work.rows(Stage.MATCH, Matches)
    return triangulate_rows(matches, work.rig(matches.head.cameras), work.session.config.settings.triangulate)


def lift_step(work: Work) -> Record:
    """What triangulation left open, from single views."""
    from mocap.lifting.fallback import lift_missing
    from mocap.types import Matches, Trajectories3D

    matches = work.read(Stage.MATCH, Matches)
    return lift_missing(
        work.read(Stage.TRIANGULATE, Trajectories3D),
        matches,
        work.rig(matches.cameras),
        work.session.config.settings.lift,
    )


def filter_step(work: Work) -> Pieces[Trajectories3D]:
    """Smooth trajectories."""
    from mocap.filtering.stage import filter_rows
    from mocap.types import Trajectories3D

    return filter_rows(work.rows(Stage.LIFT, Trajectories3D), work.session.config.settings.filter)


def solve_step(work: Work) -> Record:
    """Bone lengths, joint rotations and root motion."""
    from mocap.kinematics import solve_motion
    from mocap.types import Trajectories3D

    return solve_motion(work.read(Stage.FILTER, Trajectories3D), work.session.config.settings.solve)


@dataclass(frozen=True)
class StageSpec:
    """What the workflow knows of a stage.

    Attributes
    ----------
    version : int
        Version of its algorithm; part of the content key.
    inputs : tuple of Stage
        The stages whose artifacts it reads.
    step : callable
    """

    version: int
    inputs: tuple[Stage, ...]
    step: Callable[[Work], Record | Pieces[Any]]


STAGES: dict[Stage, StageSpec] = {
    Stage.CALIBRATE: StageSpec(4, (), calibrate_step),
    Stage.DETECT: StageSpec(7, (), detect_step),
    Stage.SYNCHRONISE: StageSpec(17, (Stage.CALIBRATE, Stage.DETECT), synchronise_step),
    Stage.MATCH: StageSpec(7, (Stage.DETECT, Stage.CALIBRATE, Stage.SYNCHRONISE), match_step),
    Stage.TRIANGULATE: StageSpec(6, (Stage.MATCH, Stage.CALIBRATE, Stage.SYNCHRONISE), triangulate_step),
    Stage.LIFT: StageSpec(8, (Stage.TRIANGULATE, Stage.MATCH, Stage.CALIBRATE, Stage.SYNCHRONISE), lift_step),
    Stage.FILTER: StageSpec(6, (Stage.LIFT,), filter_step),
    Stage.SOLVE: StageSpec(2, (Stage.FILTER,), solve_step),
}


def unit_names(session: Session, stage: Stage) -> list[str]:
    """The parts a stage is worked on in: camera x span of frames for detect, else one.

    Raises
    ------
    SettingsError
        What the settings say of the cameras' clocks cannot be: said before the videos are looked through.
    """
    if stage is Stage.SYNCHRONISE:
        check_clock_sources(session)
    if stage is not Stage.DETECT or session.config.session.keypoints:
        return [""]
    step = session.config.settings.detect.chunk_frames
    spans = []
    for camera in session.videos:
        start, stop = session.frame_range(camera)
        spans += [(camera, a, min(a + step, stop)) for a in range(start, stop, step)]
    return [f"{camera}/{a:07d}-{b:07d}" for camera, a, b in spans]


def parse_detect_unit(unit: str) -> tuple[str, int, int]:
    """Camera, first frame and the frame after the last of a detect unit."""
    camera, _, span = unit.rpartition("/")
    start, _, stop = span.partition("-")
    return camera, int(start), int(stop)


def ingredients(session: Session, stage: Stage, unit: str, references: References) -> Ingredients:
    """Everything that decides the content of a unit's artifact.

    Parameters
    ----------
    session : Session
    stage, unit
    references : References
        The artifacts of all its input stages.
    """
    spec = STAGES[stage]
    settings = session.config.settings.of(stage)
    inputs = {
        f"{upstream}/{name}" if name else upstream.value: reference.digest
        for upstream in spec.inputs
        for name, reference in references[upstream].items()
    }
    weights: dict[str, str] = {}
    if stage is Stage.CALIBRATE:
        from flows.calibration import session_inputs

        inputs |= {name: session.digests.digest(path) for name, path in session_inputs(session).items()}
        if "file board" not in inputs:  # a calibration that is read, not made
            settings.pop("floor_frame"), settings.pop("max_frames"), settings.pop("fisheye")
        settings.pop("world")  # its content is an input
        settings["cameras"] = [[c.name, c.calibration] for c in session.config.cameras]
        settings["images"] = {name: [f.width, f.height, *f.bars] for name, f in session.footage.items()}
    elif stage is Stage.SYNCHRONISE:
        if clock_videos(session):
            inputs |= {f"file video {name}": session.digests.digest(path) for name, path in session.videos.items()}
        if session.config.settings.synchronise.timestamps:
            inputs["file timestamps"] = session.digests.digest(stamps_file(session))
        settings |= {f"row_delay_s {name}": delay for name, delay in row_delays(session).items() if delay}
    elif stage is Stage.DETECT:
        _add_detect(session, unit, settings, inputs, weights)
    elif stage is Stage.LIFT:
        from mocap.lifting.weights import weights_digest

        weights["liftnet"] = weights_digest()
    return Ingredients(stage.value, unit, spec.version, settings, inputs, weights)


def _add_detect(
    session: Session, unit: str, settings: dict[str, Any], inputs: dict[str, str], weights: dict[str, str]
) -> None:
    if session.config.session.keypoints:
        name, path = "file keypoints", session.resolve(session.config.session.keypoints)
        settings.clear()  # the file takes the place of the detector and its settings
        if session.config.session.fps:
            settings["fps"] = session.config.session.fps
    else:
        from mocap.models import digest

        name, path = "file video", session.videos[parse_detect_unit(unit)[0]]
        settings["fps"] = session.fps
        chosen = session.config.settings.detect
        networks = (chosen.detector, *chosen.fused_with, chosen.finder)
        weights |= {network.value: digest(network.value) for network in networks}
    inputs[name] = session.digests.digest(path)  # by its role: what the file is called changes nothing
