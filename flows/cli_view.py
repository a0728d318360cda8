"""The command that shows a session's result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mocap.viewer.settings import Colouring

if TYPE_CHECKING:
    from mocap.viewer.settings import ViewSettings


def view(
    session: Annotated[Path, typer.Argument(metavar="SESSION", help="Session folder.")],
    render: Annotated[
        Path | None, typer.Option(help="Write a .mp4 (H.264) or .png instead of opening a window.")
    ] = None,
    overlay: Annotated[
        str | None, typer.Option(metavar="CAMERA", help="With --render FILE.mp4: draw on this camera's video.")
    ] = None,
    web: Annotated[bool, typer.Option("--web", help="Show it in the browser, to this machine only.")] = False,
    port: Annotated[int | None, typer.Option(help="With --web: first port to try; 8080 if not given.")] = None,
    compare: Annotated[
        str, typer.Option(metavar="before|FILE", help="Also show the result before smoothing, or poses of a file.")
    ] = "",
    view_from: Annotated[
        str, typer.Option("--from", metavar="CAMERA", help="With --render: see it from where this camera stands.")
    ] = "",
    size: Annotated[str, typer.Option(metavar="WxH", help="Of picture or window, px.")] = "1280x720",
    colour: Annotated[Colouring, typer.Option(help="What colours say.")] = Colouring.PERSON,
    trail: Annotated[float, typer.Option(metavar="SECONDS", help="Trails of wrists and ankles.")] = 0.0,
    orbit: Annotated[float, typer.Option(metavar="DEGREES", help="How far a video swings round the people.")] = 40.0,
) -> None:
    """Show the result in 3D: in a window, in the browser, or as a picture or video without a display."""
    from flows.show import overlay_result, render_result, serve_result, show_result
    from mocap.errors import SettingsError

    if overlay is not None and (render is None or render.suffix.lower() != ".mp4"):
        raise SettingsError("--overlay draws on a video", expected="--overlay CAMERA --render FILE.mp4")
    if web and render is not None:
        raise SettingsError("--web and --render exclude each other", expected="one of them")
    if port is not None and not web:
        raise SettingsError("--port is the browser view's", expected="--web --port PORT")
    if compare and overlay is not None:
        raise SettingsError("--overlay and --compare exclude each other", expected="one of them")
    settings = _settings(size, view_from, colour, trail, orbit)
    if web:
        serve_result(session, settings, compare, port)
        return
    if render is None:
        show_result(session, settings, compare)
        return
    if overlay is None:
        render_result(session, render, settings, compare)
    else:
        overlay_result(session, overlay, render)
    typer.echo(f"{render}")


def _settings(size: str, view_from: str, colour: Colouring, trail: float, orbit: float) -> ViewSettings:
    from mocap.errors import SettingsError
    from mocap.viewer.settings import ViewSettings

    width, _, height = size.lower().partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise SettingsError("--size is not a size", expected="WIDTHxHEIGHT, e.g. 1920x1080", found=size)
    shape = replace(ViewSettings(), width=int(width), height=int(height))
    return replace(shape, view=view_from, colour=colour, trail_s=trail, orbit_deg=orbit)
