"""The one place that imports viser, and a server that nothing outside this machine reaches."""

from __future__ import annotations

import contextlib
import importlib
import io
from types import ModuleType
from typing import Any

from mocap.errors import DependencyError

HOST = "127.0.0.1"
_HINT = "install it: pip install 'mocap[web]'; or use the window, or --render FILE.mp4"


def load_viser() -> ModuleType:
    """The module viser, loaded when first asked for.

    Raises
    ------
    DependencyError
        It is not installed.
    """
    try:
        return importlib.import_module("viser")
    except ImportError as error:
        raise DependencyError(
            "the browser view cannot be loaded", expected="viser", found=str(error), hint=_HINT
        ) from error


def local_server(port: int) -> Any:
    """A viser server on the loopback address; `get_port` says where.

    Everything the page needs comes from the installed package. viser lets any page it serves ask for a public
    tunnel, which is refused here; and it answers web sockets of any origin, so that a site open in another tab
    could listen: only its own page is answered.

    Parameters
    ----------
    port : int
        0: any free one; one that is taken is passed over for the next.

    Raises
    ------
    DependencyError
        viser is not installed.
    """
    viser = load_viser()

    class LocalServer(viser.ViserServer):  # type: ignore[misc, name-defined]
        def request_share_url(self, verbose: bool = True) -> None:
            """Refuse: nothing is shown to anybody elsewhere."""

    with contextlib.redirect_stdout(io.StringIO()):  # it announces itself
        server = LocalServer(host=HOST, port=port, label="mocap", verbose=False)
    sockets = server._websock_server

    async def only_own_page(client: Any) -> None:
        connection = sockets._live_connections[client.client_id]
        own = {f"{name}:{server.get_port()}" for name in (HOST, "localhost")}
        headers = connection.request.headers
        if headers.get("Host") not in own or headers.get("Origin") not in {f"http://{o}" for o in own}:
            await connection.close(1008, "not for other pages")

    # First of all, before a connection is told anything.
    sockets._client_connect_cb.insert(0, only_own_page)
    server.gui.configure_theme(show_logo=False, show_share_button=False, control_layout="fixed")
    return server


def stop(server: Any) -> None:
    """End a server without a word."""
    with contextlib.redirect_stdout(io.StringIO()):
        server.stop()
