"""3D poses with names and times, as results and ground truth hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mocap.arrays import Record, array
from mocap.errors import DataError
from mocap.types import Trajectories3D


@dataclass(frozen=True, eq=False)
class Poses3D(Record):
    """Positions of joints over time, from any source.

    `fps` is NaN where the source does not say. `origin` names the file in messages. `actions` names what
    is done in each frame, where the source says so (all of T, or empty).
    """

    LABELS: ClassVar[dict[str, str]] = {"joint_names": "J"}

    positions: NDArray[np.float64] = array("T P J 3", "f8", units="m", frame="world")
    person_ids: NDArray[np.int64] = array("P", "i8")
    frames: NDArray[np.int64] = array("T", "i8")
    joint_names: tuple[str, ...] = ()
    fps: float = float("nan")
    origin: str = ""
    actions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(np.unique(self.frames)) != len(self.frames):
            raise DataError("frame numbers are not unique", where=self.origin or "Poses3D.frames")
        if self.actions and len(self.actions) != len(self.frames):
            raise DataError("actions do not fit the frames", expected=f"{len(self.frames)}",
                            found=f"{len(self.actions)}", where=self.origin or "Poses3D.actions")  # fmt: skip

    @staticmethod
    def of(trajectories: Trajectories3D, origin: str = "") -> Poses3D:
        """The positions of trajectories."""
        return Poses3D(
            positions=trajectories.positions.astype(np.float64),
            person_ids=trajectories.person_ids,
            frames=trajectories.frames,
            joint_names=trajectories.joint_names,
            fps=trajectories.fps,
            origin=origin,
        )
