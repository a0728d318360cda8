"""Ctrl-C and SIGTERM during a run: the program ends at once.

Stages work in threads, which cannot be stopped from outside, and the workflow engine waits for them
and reports to a server that the same Ctrl-C may have ended. Ending the process loses nothing:
artifacts are written whole or not at all, the session's lock and the private server end with it.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import TypeVar

FAREWELL = "mocap: interrupted; finished work is kept, run the same command again to continue"

_SHOW_CURSOR = "\x1b[?25h"  # progress bars hide it

T = TypeVar("T")


@contextlib.contextmanager
def end_on_interrupt(tidy: Callable[[], None]) -> Iterator[None]:
    """End the process with one message and 128 + signal number when it is interrupted.

    Parameters
    ----------
    tidy : callable
        Called before; a failure of it does not keep the process from ending.

    Notes
    -----
    Only the main thread can handle signals; elsewhere this does nothing. What takes the handlers away
    while the context lasts (a Prefect flow in the main thread does) has to be run by `beside_signals`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        said = _silence()
        try:
            tidy()
        finally:
            cursor = _SHOW_CURSOR if os.isatty(said) else ""
            os.write(said, f"{cursor}\n{FAREWELL}\n".encode())
            os._exit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _silence() -> int:
    """Send what other threads still write to stderr nowhere; returns a descriptor of the real one."""
    real = os.dup(2)
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    return real


def beside_signals(call: Callable[[], T]) -> T:
    """Call in a thread and wait: Prefect takes SIGTERM for itself where it can, in the main thread.

    Its handler would let the stage at work finish first, which may take an hour.
    """
    context = contextvars.copy_context()
    with ThreadPoolExecutor(1, thread_name_prefix="flow") as pool:
        return pool.submit(context.run, call).result()
