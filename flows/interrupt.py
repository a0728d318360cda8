"""Ctrl-C (and SIGTERM) during a run: the program ends at once.

Stages work in threads, which cannot be stopped from outside, and the workflow engine waits for them
and reports to a server that the same Ctrl-C may have ended. Ending the process loses nothing:
artifacts are written whole or not at all, the session's lock and the private server end with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

FAREWELL = "mocap: interrupted; finished work is kept, run the same command again to continue"

_SHOW_CURSOR = "\x1b[?25h"  # progress bars hide it


@contextlib.contextmanager
def end_on_interrupt(tidy: Callable[[], None]) -> Iterator[None]:
    """End the process with one message and 128 + signal number when it is interrupted.

    Parameters
    ----------
    tidy : callable
        Called before; a failure of it does not keep the process from ending.

    Notes
    -----
    Only the main thread can handle signals; elsewhere this does nothing. While a flow runs, Prefect
    takes SIGTERM itself and lets the stage at work finish first.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        try:
            tidy()
        finally:
            cursor = _SHOW_CURSOR if sys.stderr.isatty() else ""
            os.write(2, f"{cursor}\n{FAREWELL}\n".encode())
            os._exit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
