"""Joint position errors: MPJPE, its scale-normalised and its Procrustes-aligned form."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from mocap.metrics.alignment_kernel import aligned_errors

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Poses at a time: what one step needs fits the processor's cache, whatever the take's length.
_CHUNK = 1 << 11


def joint_errors(prediction: Array, truth: Array, root: int | None = None) -> Array:
    """Distance of every joint to its truth.

    Parameters
    ----------
    prediction, truth : [..., J, 3], metres
        NaN where missing.
    root : int, optional
        Both poses are moved so that this joint is at the origin; None compares positions in the
        world.

    Returns
    -------
    float64 [..., J], metres
        NaN where either is missing; with a root everywhere in a pose whose root is.
    """
    difference = np.asarray(prediction, np.float64) - np.asarray(truth, np.float64)
    if root is not None:
        difference = difference - difference[..., root : root + 1, :]
    return np.sqrt(np.einsum("...i,...i->...", difference, difference))


def mpjpe(prediction: Array, truth: Array, mask: Mask | None = None, root: int | None = None) -> float:
    """Mean per-joint position error, metres (Ionescu et al., Human3.6M, PAMI 36, 2014).

    With `root` the poses are root-aligned (the papers' protocol 1; the root joint itself counts,
    with error 0); without it the error is absolute. The mean is over all joint samples that both
    have and `mask` [..., J] allows; NaN when there is none.
    """
    return _mean_of(lambda x, y, _: joint_errors(x, y, root), prediction, truth, mask)


def mpjpe_without_root(prediction: Array, truth: Array, root: int, mask: Mask | None = None) -> float:
    """Root-aligned MPJPE over all joints but the root, metres.

    Code that drops the root before it scores (3d-pose-baseline's 16 joints) reports this: J / (J - 1) times
    `mpjpe(root=...)` where nothing is missing.
    """
    others = np.arange(np.asarray(truth).shape[-2]) != root
    return mpjpe(prediction, truth, others if mask is None else mask & others, root)


def n_mpjpe(prediction: Array, truth: Array, mask: Mask | None = None, root: int = 0) -> float:
    """MPJPE after root alignment and the best scale of every pose, metres.

    Rhodin et al., Unsupervised geometry-aware representation (ECCV 2018): N-MPJPE. The root
    joint counts, with error 0. Poses whose root is missing do not count.
    """
    return _mean_of(lambda x, y, m: n_joint_errors(x, y, m, root), prediction, truth, mask)


def pa_mpjpe(prediction: Array, truth: Array, mask: Mask | None = None) -> float:
    """MPJPE after the best similarity (rotation, shift, scale) of every single pose, metres.

    Protocol 2 on Human3.6M as Martinez et al. (A simple yet effective baseline, ICCV 2017) and all after
    them count it; "reconstruction error", PA-MPJPE. Where a paper aligns by rotation and shift alone: `rigid_mpjpe`.
    """
    return _mean_of(pa_joint_errors, prediction, truth, mask)


def rigid_mpjpe(prediction: Array, truth: Array, mask: Mask | None = None) -> float:
    """MPJPE after the best rotation and shift of every single pose, whose size stays, metres.

    Protocol 2 where a paper means "rigid alignment" to the letter. Its mean square is never below that
    of `pa_mpjpe`, which has the scale as well.
    """
    return _mean_of(rigid_joint_errors, prediction, truth, mask)


def n_joint_errors(prediction: Array, truth: Array, mask: Mask | None = None, root: int = 0) -> Array:
    """Errors [..., J] of root-aligned poses after the scale that fits each best, metres.

    The scale is <x, y> / <x, x> over the joints that both have and `mask` allows (least squares); a
    pose that is a point keeps its size.
    """
    X, Y = (a - a[..., root : root + 1, :] for a in (np.asarray(prediction, float), np.asarray(truth, float)))
    return joint_errors(best_scale(X, Y, mask)[..., None, None] * X, Y)


def best_scale(X: Array, Y: Array, mask: Mask | None = None) -> Array:
    """Scale [...] that takes X [..., J, 3] to Y with the least squares, about the origin; 1 for a point."""
    valid = np.asarray(np.isfinite(X).all(-1) & np.isfinite(Y).all(-1))
    if mask is not None:
        valid &= mask
    x, y = np.where(valid[..., None], X, 0.0), np.where(valid[..., None], Y, 0.0)
    size = np.einsum("...ji,...ji->...", x, x)
    return np.divide(np.einsum("...ji,...ji->...", x, y), size, out=np.ones_like(size), where=size > 1e-18)


def pa_joint_errors(prediction: Array, truth: Array, mask: Mask | None = None) -> Array:
    """Errors after aligning each predicted pose by its best similarity: [..., J], metres.

    Only joints that both poses have, and `mask` allows, take part. Poses with fewer than three
    such joints give NaN: a similarity would fit anything. The rotation is never a reflection.
    """
    return _aligned(prediction, truth, mask, scaled=True)


def rigid_joint_errors(prediction: Array, truth: Array, mask: Mask | None = None) -> Array:
    """As `pa_joint_errors`, but by rotation and shift alone: the pose keeps its size."""
    return _aligned(prediction, truth, mask, scaled=False)


def _aligned(prediction: Array, truth: Array, mask: Mask | None, *, scaled: bool) -> Array:
    X, Y = np.broadcast_arrays(np.asarray(prediction, np.float64), np.asarray(truth, np.float64))
    batch, joints = X.shape[:-2], X.shape[-2]
    X, Y = X.reshape(-1, joints, 3), Y.reshape(-1, joints, 3)
    allowed = np.ones((len(X), 0), bool)
    if mask is not None:
        allowed = np.broadcast_to(mask, (*batch, joints)).reshape(-1, joints)
    out = np.empty((len(X), joints))
    for part in _parts(len(X)):
        # One kind of array, so that the kernel is compiled once.
        x, y, some = (np.require(a[part], requirements=["C", "W"]) for a in (X, Y, allowed))
        aligned_errors(x, y, some, scaled, out[part])
    return out.reshape(*batch, joints)


def _nearest_rotation(H: Array) -> tuple[Array, Array]:
    """Rotations [N, 3, 3] that maximise tr(R^T H), and that maximum [N]."""
    U, S, Vt = np.linalg.svd(H)
    sign = np.where(np.linalg.det(U) * np.linalg.det(Vt) < 0, -1.0, 1.0)
    S[:, 2] *= sign
    U[:, :, 2] *= sign[:, None]
    return U @ Vt, S.sum(-1)


def _scale(trace: Array, size: Array, count: NDArray[np.int64]) -> Array:
    """Best scale [N]; 1 for a pose shrunk to a point, NaN with fewer than three joints."""
    scale = np.divide(trace, size, out=np.ones_like(size), where=size > 1e-18)
    scale[count < 3] = np.nan
    return scale


def procrustes(source: Array, target: Array, valid: Mask) -> tuple[Array, Array, Array]:
    """Similarities that take `source` [N, J, 3] to `target` [N, J, 3] with the least squares.

    Returns
    -------
    scale : [N], R : [N, 3, 3], t : [N, 3]
        target ~ scale R source + t; NaN with fewer than three valid joints. R is a rotation, never
        a reflection (Umeyama, PAMI 13, 1991, eqs. 40-42).
    """
    w = valid.astype(np.float64)[..., None]
    count = valid.sum(1)
    x, y = np.where(valid[..., None], source, 0.0), np.where(valid[..., None], target, 0.0)
    safe = np.maximum(count, 1)[:, None]
    mean_x, mean_y = x.sum(1) / safe, y.sum(1) / safe
    x, y = (x - mean_x[:, None]) * w, (y - mean_y[:, None]) * w
    R, S = _nearest_rotation(np.swapaxes(y, -1, -2) @ x)
    scale = _scale(S, np.einsum("nji,nji->n", x, x), count)
    return scale, R, mean_y - scale[:, None] * np.einsum("nij,nj->ni", R, mean_x)


def _parts(length: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, length, _CHUNK))


def _mean_of(
    errors: Callable[[Array, Array, Mask | None], Array], prediction: Array, truth: Array, mask: Mask | None
) -> float:
    """Mean of errors(prediction, truth, mask) over the samples that are known and allowed."""
    X, Y = np.broadcast_arrays(np.asarray(prediction), np.asarray(truth))
    joints = X.shape[-2]
    allowed = None if mask is None else np.broadcast_to(mask, X.shape[:-1]).reshape(-1, joints)
    X, Y = X.reshape(-1, joints, 3), Y.reshape(-1, joints, 3)
    total, count = 0.0, 0
    for part in _parts(len(X)):
        some = None if allowed is None else allowed[part]
        e = errors(X[part], Y[part], some)
        counted = np.isfinite(e) if some is None else np.isfinite(e) & some
        total += float(e[counted].sum())
        count += int(counted.sum())
    return total / count if count else float("nan")
