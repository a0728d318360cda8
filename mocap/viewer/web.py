"""The scene in a browser, served to this machine alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from mocap.errors import DataError
from mocap.viewer._viser import local_server, stop
from mocap.viewer.exhibit import Exhibit
from mocap.viewer.player import SPEEDS, Player, Rounds
from mocap.viewer.settings import Colouring, ViewSettings
from mocap.viewer.web_scene import Switch, WebScene

_PORT = 8080
# Pictures per second at most, and how often the time line and the footage follow.
_RATE, _SLOW_S = 60.0, 0.2
_ONE = {f"x {s:g}": s for s in SPEEDS if s <= 4}
_HELP = """full: triangulated, thin: lifted, dashed and angular: interpolated

left side bright, right side dark; with *certainty*: yellow is certain to 3 mm, dark blue to 100 mm

keys: space play, . and , one frame, w worst frame"""


class WebView:
    """A server that shows a result in the browser, with a timeline; `run` plays until it is stopped.

    Parameters
    ----------
    exhibit : Exhibit
    settings : ViewSettings, optional
    port : int
        The next free one from here on; 0: any.

    Raises
    ------
    DataError
        Nothing to show.
    DependencyError
        viser is not installed.
    """

    def __init__(self, exhibit: Exhibit, settings: ViewSettings | None = None, port: int = _PORT) -> None:
        if not len(exhibit.clip):
            raise DataError("nothing to show: the result has no frame", where="view")
        self._exhibit = exhibit
        self._server = local_server(port)
        self._scene = WebScene(self._server, exhibit, settings or ViewSettings())
        self.player = Player(len(exhibit.clip), exhibit.clip.fps, playing=False)
        self._lock = threading.RLock()  # handlers run on threads of the server
        self._fresh = threading.Event()
        self._worst: Rounds | None = None
        self._timeline()
        self._choices()
        self._keys()

    @property
    def url(self) -> str:
        """Where to look."""
        return f"http://{self._server.get_host()}:{self._server.get_port()}"

    def run(self, ended: threading.Event) -> None:
        """Show until `ended` is set; a timeline that stands still costs nothing."""
        last, slow, shown = time.monotonic(), 0.0, -1
        try:
            while not ended.is_set():
                now = time.monotonic()
                with self._lock:
                    self.player.advance(now - last)
                    row, playing = self.player.row, self.player.playing
                last = now
                if row != shown or self._fresh.is_set():
                    self._fresh.clear()
                    shown = row
                    self._scene.show(row)
                    settled = not playing
                    if settled or now - slow > _SLOW_S:
                        slow = now
                        self._follow(row, playing)
                        pictures = self._scene.footage(row)
                        with self._lock:
                            self._scene.hang(pictures)
                if playing:
                    ended.wait(max(0.0, 1.0 / _RATE - (time.monotonic() - now)))
                else:
                    self._fresh.wait(0.05)
        finally:
            stop(self._server)

    def _timeline(self) -> None:
        gui, n = self._server.gui, len(self._exhibit.clip)
        self._where = gui.add_markdown(self._place(0))
        self._slider = gui.add_slider("row", 0, max(n - 1, 1), 1, 0)
        self._play = gui.add_button("Play", hint="space")
        steps = gui.add_button_group("step", ("|<", "<", ">", ">|"))
        worst = gui.add_button("Worst frame", hint="w: the frames that fit the cameras worst, one after the other")
        speed = gui.add_dropdown("speed", tuple(_ONE), initial_value="x 1")
        loop = gui.add_checkbox("loop", True)
        # A change by the browser only: the server moves the slider, too.
        self._on(self._slider, lambda e: self.player.go(int(e.target.value)), only_clients=True)
        self._on(self._play, lambda _: self.player.toggle(), click=True)
        moves: dict[str, Callable[[], None]] = {
            "|<": lambda: self.player.go(0), "<": lambda: self.player.step(-1),
            ">": lambda: self.player.step(1), ">|": lambda: self.player.go(-1),
        }  # fmt: skip
        self._on(steps, lambda e: moves[e.target.value](), click=True)
        self._on(worst, lambda _: self._to_worst(), click=True)
        self._on(speed, lambda e: setattr(self.player, "speed", _ONE[e.target.value]))
        self._on(loop, lambda e: setattr(self.player, "loop", e.target.value))

    def _choices(self) -> None:
        gui, scene = self._server.gui, self._scene
        colour = gui.add_dropdown("colour", tuple(c.value for c in Colouring), initial_value=scene.colouring.value)
        self._on(colour, lambda e: scene.colour_by(Colouring(e.target.value)))
        trail = gui.add_slider("trail s", 0.0, 4.0, 0.5, scene.trail_s)
        self._on(trail, lambda e: scene.trail(float(e.target.value)))
        with gui.add_folder("Show"):
            for name, switch in scene.switches().items():
                box = gui.add_checkbox(name, switch.on)
                self._on(box, _turning(switch))
        gui.add_markdown(_HELP)

    def _keys(self) -> None:
        actions: tuple[tuple[str, str, Callable[[], None]], ...] = (
            ("Play or pause", "space", self.player.toggle), ("One frame on", ".", lambda: self.player.step(1)),
            ("One frame back", ",", lambda: self.player.step(-1)), ("Worst frame", "W", self._to_worst),
        )  # fmt: skip
        for label, key, action in actions:
            self._server.gui.add_command(label, hotkey=key).on_trigger(self._guarded(_calling(action)))

    def _on(
        self, handle: Any, action: Callable[[Any], None], *, click: bool = False, only_clients: bool = False
    ) -> None:
        def act(event: Any) -> None:
            if not only_clients or event.client is not None:
                self._guarded(action)(event)

        (handle.on_click if click else handle.on_update)(act)

    def _guarded(self, action: Callable[[Any], None]) -> Callable[[Any], None]:
        def act(event: Any) -> None:
            with self._lock:
                action(event)
            self._fresh.set()

        return act

    def _to_worst(self) -> None:
        """The worst frame, then the next."""
        if self._worst is None:
            self._worst = Rounds(self._exhibit.clip.worst())
        self._worst.next(self.player)

    def _follow(self, row: int, playing: bool) -> None:
        """Let the timeline say where the scene is."""
        self._slider.value = row
        self._where.content = self._place(row)
        label = "Pause" if playing else "Play"
        if self._play.label != label:
            self._play.label = label

    def _place(self, row: int) -> str:
        clip = self._exhibit.clip
        frame = int(clip.frames[row])
        return f"**{self._exhibit.title}** frame {frame} of {int(clip.frames[-1])}, {frame / clip.fps:.2f} s"


def _turning(switch: Switch) -> Callable[[Any], None]:
    return lambda event: switch.turn(event.target.value)


def _calling(action: Callable[[], None]) -> Callable[[Any], None]:
    return lambda _: action()
