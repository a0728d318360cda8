"""Which joints a camera cannot see because a body is in the way: the person's own, or somebody else's."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from calibration.camera import CameraRig
from mocap.skeleton import Skeleton

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Radii of bodies, metres: limbs and trunk of an adult (ANSUR II, 50th percentile girths / 2 pi, rounded).
_LIMBS = (
    ("shoulder", "elbow", 0.05), ("elbow", "wrist", 0.04), ("hip", "knee", 0.08), ("knee", "ankle", 0.055),
)  # fmt: skip
_TRUNK, _HEAD = 0.13, 0.09

# A capsule within this of a joint belongs to the joint and does not hide it, metres.
_OWN = 0.04


def capsules(positions: Array, skeleton: Skeleton) -> tuple[Array, Array]:
    """Ends [..., C, 2, 3] (m) and radii [C] (m) of the rounded cylinders that stand for bodies [..., J, 3].

    Limbs, the trunk from the middle of the hips to that of the shoulders, and the head at nose, ears or neck.
    """
    ends, radii = [], []

    def point(name: str) -> Array:
        return np.asarray(positions[..., skeleton.index(name), :], np.float64)

    for side in "lr":
        for a, b, radius in _LIMBS:
            ends.append(np.stack([point(f"{side}_{a}"), point(f"{side}_{b}")], -2))
            radii.append(radius)
    shoulders, hips = ((point(f"l_{j}") + point(f"r_{j}")) / 2 for j in ("shoulder", "hip"))
    ends.append(np.stack([hips, shoulders], -2))
    radii.append(_TRUNK)
    for names in (("l_ear", "r_ear"), ("head", "head"), ("nose", "nose")):
        if set(names) <= set(skeleton.joints):
            middle = (point(names[0]) + point(names[1])) / 2
            ends.append(np.stack([middle, middle], -2))
            radii.append(_HEAD)
            break
    return np.stack(ends, -3), np.array(radii)


def hidden_joints(positions: Array, rig: CameraRig, skeleton: Skeleton) -> Bools:
    """Whether a body is in the line of sight: bool [V, T, P, J] for joints [T, P, J, 3] in the world, metres.

    A joint is hidden when the straight line from it to the camera passes within the radius of a capsule that
    does not hold the joint itself. Unknown joints hide nothing and are not hidden.
    """
    ends, radii = capsules(positions, skeleton)
    T, P, J = positions.shape[:3]
    out = np.zeros((len(rig), T, P, J), bool)
    for v, centre in enumerate(rig.centres):
        _hide(np.ascontiguousarray(positions, np.float64), np.ascontiguousarray(ends), radii, centre, out[v])
    return out


@njit(cache=True, error_model="numpy")
def _hide(X: Array, ends: Array, radii: Array, centre: Array, out: Bools) -> None:
    T, P, J = X.shape[:3]
    point = np.empty((1, 3))
    for t in range(T):
        for p in range(P):
            for j in range(J):
                x = X[t, p, j]
                if not np.isfinite(x[0]):
                    continue
                point[0] = x
                for q in range(P):
                    if out[t, p, j]:
                        break
                    for c in range(len(radii)):
                        a, b = ends[t, q, c, 0], ends[t, q, c, 1]
                        # NaN compares false: unknown bodies hide nothing.
                        if segment_distance(x, centre, a, b) < radii[c] and not (
                            segment_distance(x, x, a, b) < radii[c] + _OWN
                        ):
                            out[t, p, j] = True
                            break


@njit(cache=True, error_model="numpy")
def segment_distance(p: Array, q: Array, a: Array, b: Array) -> float:
    """Distance of the segments pq and ab, metres (Ericson, Real-time collision detection, 2005, sec. 5.1.9)."""
    d1, d2, r = q - p, b - a, p - a
    e11, e22, f = (d1 * d1).sum(), (d2 * d2).sum(), (d2 * r).sum()
    c, mixed = (d1 * r).sum(), (d1 * d2).sum()
    s = 0.0
    if e11 > 1e-18:
        det = e11 * e22 - mixed * mixed
        if det > 1e-12 * e11 * max(e22, 1e-18):
            s = min(max((mixed * f - c * e22) / det, 0.0), 1.0)
    t = (mixed * s + f) / e22 if e22 > 1e-18 else 0.0
    if t < 0.0 or t > 1.0 or e22 <= 1e-18:
        t = min(max(t, 0.0), 1.0)
        s = min(max((mixed * t - c) / e11, 0.0), 1.0) if e11 > 1e-18 else 0.0
    gap = p + s * d1 - a - t * d2
    return float(np.sqrt((gap * gap).sum()))
