"""The command that writes results for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mocap.errors import SettingsError


def export(
    session: Annotated[Path, typer.Argument(metavar="SESSION", help="Session folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    format_: Annotated[
        str,
        typer.Option("--format", help="npz, csv, bvh, glb, fbx, usd, c3d or trc; by the file's ending if not given."),
    ] = "",
    preset: Annotated[
        str,
        typer.Option(help="Program the file is for: blender, maya, motionbuilder, unreal, unity, opensim, visual3d."),
    ] = "",
    rig: Annotated[
        str, typer.Option(help="Target skeleton of animations: native, humanik, mixamo, unreal or unity (also VRM).")
    ] = "",
    skeleton: Annotated[
        str, typer.Option(help="Joint set of positions, e.g. h36m17; the detector's own if empty.")
    ] = "",
    person: Annotated[int, typer.Option(help="Id of one person; everybody if not given.")] = -1,
    one_scene: Annotated[bool, typer.Option(help="Everybody in one file (glb, fbx, usd).")] = False,
    fps: Annotated[float, typer.Option(help="Frame rate of the file; the take's if not given.")] = 0.0,
    trim_unreliable: Annotated[
        bool, typer.Option("--trim-unreliable", help="Cut off head and tail where most of the body is not measured.")
    ] = False,
    unit: Annotated[str, typer.Option(help="Unit of lengths in bvh, fbx and usd: m or cm; else the preset's.")] = "",
) -> None:
    """Write the result in a format that other programs open."""
    from flows.config import Stage
    from flows.parsing import parse_table
    from flows.results import Results
    from mocap.export import ExportSettings, export_files
    from mocap.types import SkeletalMotion, Trajectories3D

    table = {
        "format": format_ or format_of(output), "preset": preset, "rig": rig, "skeleton": skeleton, "person": person,
        "one_scene": one_scene, "fps": fps, "trim_unreliable": trim_unreliable, "unit": unit,
    }  # fmt: skip
    settings = parse_table(ExportSettings, table, "export")
    results = Results(session)
    trajectories = results.read(Stage.FILTER, Trajectories3D)
    motion = results.read(Stage.SOLVE, SkeletalMotion) if settings.format.animated else None
    files = export_files(trajectories, motion, settings, output, results.provenance(Stage.FILTER))
    source = trajectories if motion is None else motion
    people = ", ".join(str(p) for p in (source.person_ids if settings.person < 0 else [settings.person]))
    typer.echo(
        f"{', '.join(str(f) for f in files)}: {len(trajectories.frames)} frames at {trajectories.fps:g} fps, "
        f"person {people}; read back and compared"
    )


def format_of(path: Path) -> str:
    """The format that a file's ending names.

    Raises
    ------
    SettingsError
        There is no ending.
    """
    ending = path.suffix.lower().lstrip(".")
    if not ending:
        raise SettingsError(
            "no format is named", expected="--format, or a file with an ending such as .bvh or .glb", found=path.name,
            where="--output",
        )  # fmt: skip
    return {"vrma": "glb", "gltf": "glb", "usda": "usd", "usdc": "usd"}.get(ending, ending)
