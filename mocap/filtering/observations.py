"""What samples say about a trajectory when the errors of neighbouring frames hang together.

The whitened errors z_t = Sigma_t^(-1/2) (y_t - x_t) have unit variance and, k samples apart, the
correlation share exp(-k dt / time): of a detector's error a share lasts for a while, the rest is
new in every frame. Their joint density is taken as the product of the densities of each given the
two before it (Vecchia, J. Royal Stat. Soc. B 50, 1988), so that the precision has two blocks beside
the diagonal, for which the band of the motion prior has room.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]


def roots(information: Array) -> Array:
    """Symmetric square roots of [..., 3, 3]: they turn with the world."""
    values, vectors = np.linalg.eigh(information)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))[..., None, :]) @ np.swapaxes(vectors, -1, -2))


@njit(cache=True, error_model="numpy")  # type: ignore[misc]
def correlated_equations(
    root: Array, y: Array, weight: Array, overlap: Array, span: tuple[int, int], near: float, far: float,
    blocks: Array, right: Array,
) -> None:  # fmt: skip
    """Add precision and right-hand side of the samples of a span, in place.

    Parameters
    ----------
    root : float64 [N, 3, 3], m^-1
        Symmetric root of the information; 0 where there is no sample.
    y : float64 [N, 3], m
    weight : float64 [N]
        Of the samples, against outliers: what an outlier has beyond the nominal error is its own.
    overlap : float64 [N, 2]
        How far a sample's error is made of the same parts as those one and two samples before it, 0..1.
    span : int, int
        First sample and the one after the last.
    near, far : float
        Correlation of errors one and two samples apart.
    blocks : float64 [N, 3, 3, 3]
        ``blocks[t, k]`` is the precision between samples t and t - k.
    right : float64 [N, 3]
    """
    part, e, c, f = np.empty((3, 3, 3)), np.empty(3), np.zeros(3), np.empty(3)
    for t in range(span[0], span[1]):
        seen = root[t, 0, 0] + root[t, 1, 1] + root[t, 2, 2] > 0.0
        c[2], c[1], c[0] = c[1], c[0], np.sqrt(min(weight[t], 1.0)) if seen else 0.0
        if not seen:
            continue
        # Regression of the error on the two before it, of which either may be missing (c = 0).
        g1, g2 = near * overlap[t, 0] * c[0] * c[1], far * overlap[t, 1] * c[0] * c[2]
        g12 = near * overlap[t - 1, 0] * c[1] * c[2]
        b1, b2 = (g1 - g12 * g2) / (1.0 - g12 * g12), (g2 - g12 * g1) / (1.0 - g12 * g12)
        one = 1.0 / np.sqrt(1.0 - b1 * g1 - b2 * g2)
        f[0], f[1], f[2] = one, -b1 * one, -b2 * one
        e[:] = 0.0
        for k in range(min(3, t + 1)):
            f[k] *= np.sqrt(weight[t - k])
            for i in range(3):
                for j in range(3):
                    part[k, i, j] = f[k] * root[t - k, i, j]
                    e[i] += part[k, i, j] * y[t - k, j]
        _add_products(part, e, f, t, blocks, right)


@njit(cache=True, error_model="numpy")  # type: ignore[misc]
def _add_products(part: Array, e: Array, f: Array, t: int, blocks: Array, right: Array) -> None:
    """Add the square of sum_k part[k] x_(t - k) - e; parts whose factor f is 0 have none."""
    for k in range(3):
        if f[k] == 0.0:
            continue
        for i in range(3):
            for m in range(3):
                right[t - k, i] += part[k, m, i] * e[m]
        for q in range(k, 3):
            if f[q] == 0.0:
                continue
            for i in range(3):
                for j in range(3):
                    s = 0.0
                    for m in range(3):
                        s += part[k, m, i] * part[q, m, j]
                    blocks[t - k, q - k, i, j] += s
