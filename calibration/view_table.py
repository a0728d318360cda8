"""Observations of a target grouped into views: what one camera saw of one target pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.observations import TargetObservations

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ViewTable:
    """M views with up to S points each, sorted by pose, then camera.

    Attributes
    ----------
    camera, pose : int64 [M]
    point : int64 [M, S]
        Index of the target point in each slot; 0 where the slot is empty.
    pixel : float64 [M, S, 2]
        Raw pixels; 0 where the slot is empty.
    seen : bool [M, S]
    row : int64 [M, S]
        The observation in each slot; -1 where it is empty.
    """

    camera: Ints
    pose: Ints
    point: Ints
    pixel: Array
    seen: Bools
    row: Ints

    def __len__(self) -> int:
        return len(self.camera)

    @staticmethod
    def of(observations: TargetObservations) -> ViewTable:
        """Group the observations; every one gets a slot."""
        o = observations
        order = np.lexsort((o.point, o.camera, o.pose))
        key = o.pose[order] * len(o.cameras) + o.camera[order]
        views, first, count = np.unique(key, return_index=True, return_counts=True)
        view = np.repeat(np.arange(len(views)), count)
        slot = np.arange(len(order)) - np.repeat(first, count)
        shape = (len(views), int(count.max(initial=0)))
        point, row = np.zeros(shape, np.int64), np.full(shape, -1, np.int64)
        pixel = np.zeros((*shape, 2))
        point[view, slot], row[view, slot], pixel[view, slot] = o.point[order], order, o.pixel[order]
        return ViewTable(views % len(o.cameras), views // len(o.cameras), point, pixel, row >= 0, row)

    def select(self, keep: Bools | Ints) -> ViewTable:
        """The views named by a mask or by (increasing) indices."""
        return ViewTable(
            self.camera[keep], self.pose[keep], self.point[keep], self.pixel[keep], self.seen[keep], self.row[keep]
        )

    def only(self, seen: Bools) -> ViewTable:
        """The same views with some of the points taken out: `seen` [M, S] holds for those that stay."""
        return ViewTable(self.camera, self.pose, self.point, self.pixel, self.seen & seen, self.row)
