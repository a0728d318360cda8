"""The command that converts camera calibrations between programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from calibration.camera import CameraRig
    from calibration.formats import ReadOptions, RigFormat

_FORMATS = "see docs/formats.md"


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    app.command("convert-calibration")(convert_calibration)


def convert_calibration(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Calibration to read: a file, or a folder of files.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File to write (a folder for easymocap and colmap).")],
    from_: Annotated[
        str | None, typer.Option("--from", metavar="FORMAT", help=f"Format of IN, if not evident; {_FORMATS}.")
    ] = None,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help=f"Format of OUT; {_FORMATS}.")] = "toml",
    units: Annotated[
        str | None,
        typer.Option(help="Length unit of IN, where it is not the format's: m, cm, mm, in, or metres per unit."),
    ] = None,
    image_size: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Image size, for formats that hold none.")
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Videos named like the cameras, to take the image sizes from.")
    ] = None,
    subject: Annotated[str | None, typer.Option(help="Whose poses to take from a Human3.6M file.")] = None,
    cameras: Annotated[str | None, typer.Option(metavar="NAME,NAME", help="Only these cameras, in this order.")] = None,
    up: Annotated[
        str | None, typer.Option(metavar="AXIS", help="Axis of IN that points up (x, -y, ...): turned to z.")
    ] = None,
    world: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What fixes the world, as for `mocap calibrate`: .toml or .npz."),
    ] = None,
) -> None:
    """Convert a camera calibration from one program's format to another's."""
    from calibration.formats import WRITABLE, RigFormat, import_rig, reoriented
    from flows.parsing import convert
    from mocap.errors import CalibrationError

    rig_format = convert(from_, RigFormat, "--from") if from_ else None
    written = convert(to, RigFormat, "--to")
    if written not in WRITABLE:
        raise CalibrationError("this format can only be read", expected=f"--to {', '.join(WRITABLE)}", found=to)
    imported = import_rig(source, rig_format, _options(units, image_size, videos, subject))
    rig = imported.rig
    if cameras is not None:
        rig = rig.select(name.strip() for name in cameras.split(","))
    if up is not None:
        rig = reoriented(rig, up)
    if world is not None:
        from calibration.world_frame import in_world
        from flows.world import world_of

        rig = in_world(rig, world_of(rig, world))
    notes = [*imported.notes, *_write(rig, target, written)]
    typer.echo(f"{target}: {len(rig)} cameras ({', '.join(rig.names)}); world: {rig.world_source}")
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def _options(units: str | None, image_size: str | None, videos: Path | None, subject: str | None) -> ReadOptions:
    from calibration.formats import ReadOptions

    sizes = _video_sizes(videos) if videos is not None else {}
    given = None if image_size is None else _parse_size(image_size)
    if given is None and len(set(sizes.values())) == 1:
        # All alike: names need not match.
        given = next(iter(sizes.values()))
    return ReadOptions(None if units is None else _parse_unit(units), given, sizes, subject)


def _video_sizes(folder: Path) -> dict[str, tuple[int, int]]:
    from flows.initialise import find_videos
    from mocap.video import probe

    infos = {name: probe(path) for name, path in find_videos([folder]).items()}
    return {name: (info.width, info.height) for name, info in infos.items()}


def _parse_size(text: str) -> tuple[int, int]:
    from mocap.errors import SettingsError

    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) > 0 and int(height) > 0):
        raise SettingsError(
            "not an image size", expected="WIDTHxHEIGHT, for example 1920x1080", found=text, where="--image-size"
        )
    return int(width), int(height)


def _parse_unit(text: str) -> float:
    from calibration.formats import UNITS
    from mocap.errors import SettingsError

    if text.lower() in UNITS:
        return UNITS[text.lower()]
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise SettingsError(
            "not a unit of length", expected=f"{', '.join(UNITS)}, or metres per unit", found=text, where="--units"
        )
    return value


def _write(rig: CameraRig, target: Path, written: RigFormat) -> tuple[str, ...]:
    """Write whole files or none: each is made aside and takes its name when it is complete."""
    import tempfile

    from calibration.formats import FOLDER_FORMATS, write_rig
    from mocap.errors import CalibrationError, StorageError
    from mocap.storage.atomic import atomic_path, write_bytes

    def write_named(path: Path) -> tuple[str, ...]:
        try:
            return write_rig(rig, path, written)
        except CalibrationError as error:
            # Name the file that was asked for, not the one aside.
            raise CalibrationError(
                error.problem, expected=error.expected, found=error.found, where=str(target), hint=error.hint
            ) from error

    if written not in FOLDER_FORMATS:
        with atomic_path(target) as temporary:
            return write_named(temporary)
    if target.exists() and not target.is_dir():
        raise StorageError(f"{written} is a folder of files, this is a file", where=str(target), hint="give a folder")
    with tempfile.TemporaryDirectory() as folder:
        notes = write_named(Path(folder))
        for file in sorted(Path(folder).iterdir()):
            write_bytes(target / file.name, file.read_bytes())
    return notes
