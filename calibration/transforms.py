"""Rigid transforms under the ``a_from_b`` rule.

``a_from_b @ b_from_c`` is ``a_from_c``; ``a_from_b.apply(x_b)`` is ``x_a``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RigidTransform:
    """Rotation and translation, batched.

    Attributes
    ----------
    R : float64 [..., 3, 3]
    t : float64 [..., 3], metres
    """

    R: Array
    t: Array

    @staticmethod
    def identity() -> RigidTransform:
        """The transform that changes nothing."""
        return RigidTransform(np.eye(3), np.zeros(3))

    @staticmethod
    def from_rotation_vector(rotation_vector: Array, t: Array) -> RigidTransform:
        """From a rotation vector [..., 3] in radians and a translation [..., 3] in metres."""
        rv = np.asarray(rotation_vector, dtype=np.float64)
        R = Rotation.from_rotvec(rv.reshape(-1, 3)).as_matrix().reshape(*rv.shape[:-1], 3, 3)
        return RigidTransform(R, np.asarray(t, dtype=np.float64))

    @property
    def rotation_vector(self) -> Array:
        """float64 [..., 3], radians."""
        flat = Rotation.from_matrix(self.R.reshape(-1, 3, 3)).as_rotvec()
        return flat.reshape(*self.R.shape[:-2], 3)

    def __matmul__(self, other: RigidTransform) -> RigidTransform:
        return RigidTransform(self.R @ other.R, self.apply(other.t))

    def inverse(self) -> RigidTransform:
        """``b_from_a`` of ``a_from_b``."""
        Rt = np.swapaxes(self.R, -1, -2)
        return RigidTransform(Rt, -np.einsum("...ij,...j->...i", Rt, self.t))

    def apply(self, points: Array) -> Array:
        """Points [..., 3] of frame b in frame a; batches broadcast."""
        return np.einsum("...ij,...j->...i", self.R, points) + self.t
