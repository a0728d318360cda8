"""What a run will need, loaded while its private Prefect server starts: both take seconds, on different cores."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Collection, Iterable

from flows.collector import collector_paused
from flows.config import Stage

logger = logging.getLogger(__name__)

_ENGINE = ("flows.process_session", "prefect.flow_engine", "mocap.storage.hdf5")
"""What every run needs; Prefect itself imports the second, with FastAPI, when a flow starts."""

_OF_STAGE: dict[Stage, tuple[str, ...]] = {
    Stage.CALIBRATE: ("calibration.formats",),
    Stage.DETECT: ("torch", "mocap.detection.stage"),
    Stage.SYNCHRONISE: ("mocap.synchronisation.align",),
    Stage.MATCH: ("mocap.matching.match",),
    Stage.TRIANGULATE: ("mocap.triangulation.estimate",),
    Stage.LIFT: ("mocap.lifting.fallback",),
    Stage.FILTER: ("mocap.filtering.stage",),
    Stage.SOLVE: ("mocap.kinematics.stage",),
}
"""Where each stage's function lives, with the libraries that it imports."""

_KERNELS = (Stage.MATCH, Stage.TRIANGULATE, Stage.LIFT, Stage.SOLVE)
"""The stages that are known to call numba's kernels, with any settings."""


def warm_up(stages: Iterable[Stage], ready: Callable[[], bool]) -> None:
    """Import Prefect's part and then that of the stages, in their order, until the server is ready.

    Parameters
    ----------
    stages : iterable of Stage
        Those with something to do.
    ready : callable
        Whether there is nothing to wait for any more; what has not been loaded by then is loaded when it is used.

    Notes
    -----
    What a stage needs and cannot be loaded is no failure here: the stage itself says so when it is its turn.
    """
    wanted = dict.fromkeys(stages)
    with collector_paused():
        for name in _ENGINE:
            importlib.import_module(name)
        try:
            _load(wanted, ready)
        except Exception as error:  # noqa: BLE001 - the stage itself raises it where it counts
            logger.debug("not loaded ahead: %s: %s", type(error).__name__, error)


def _load(stages: Collection[Stage], ready: Callable[[], bool]) -> None:
    for stage in stages:
        for name in _OF_STAGE[stage]:
            if ready():
                return
            importlib.import_module(name)
    if not ready() and any(stage in _KERNELS for stage in stages):
        _start_numba()


def _start_numba() -> None:
    """Numba sets itself up at the first kernel that it loads or compiles."""
    from numba import njit

    @njit("int64()", cache=True)
    def nothing() -> int:
        return 0
