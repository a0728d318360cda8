"""Inverse kinematics of all frames together: Gauss-Newton on banded normal equations.

The unknowns are the root's place and the joints' turns in every frame. What is minimised: distances of
the skeleton's points to the seen ones, each by its covariance, with Student-t tails; joints beyond
their range; angles far from usual; changes of speed and speeds, as noise of known power. Frames
are linked to the two before and after only, so that a step costs time linear in the frames
(Nocedal & Wright, Numerical Optimization, 2006, 10.3; LAPACK's banded Cholesky).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from mocap.kinematics.chain import ROOT_NOISE, ROOT_SPEED_NOISE, SPEED_NOISE, Chain
from mocap.kinematics.equations import advance, assemble, smoothness

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

# Frames solved at once, and how far ahead a chunk looks before its end is dropped.
_CHUNK_FRAMES = 600
_LOOK_AHEAD_S = 1.0
# Frames that the next chunk takes over as they are: smoothness links two.
_HELD_FRAMES = 2
# Damping of a frame, as a share of the diagonal, once a step made its cost worse by so much; by what
# factor it grows and shrinks (Levenberg-Marquardt, frame by frame: a limb that is hard to place in one
# frame does not hold up the others).
_DAMPING, _WORSE, _MORE = 1e-2, 1e-2, 5.0
_MOST_TURN = 0.5
# No more steps once one turns nothing by so much (radians), or gains so little of the cost.
_SETTLED, _LEAST_GAIN = 2e-4, 2e-3


@dataclass(frozen=True, eq=False)
class Targets:
    """Points fixed to nodes, and where they were seen.

    Attributes
    ----------
    node : int [M]
    local : float64 [M, 3] m
        In the node's axes.
    tail : bool [M]
        Whether a point far off loses weight.
    seen : float64 [T, M, 3] m
        World; anything where not seen.
    information : float64 [T, M, 3, 3] m^-2
        Inverse covariance; 0 where not seen.
    neutral : float64 [T, N, 4]
        Local rotations of the nodes from which their angles count.
    """

    node: Ints
    local: Array
    tail: Mask
    seen: Array
    information: Array
    neutral: Array

    def rows(self, rows: slice) -> Targets:
        """The same points over some frames."""
        return Targets(self.node, self.local, self.tail, self.seen[rows], self.information[rows], self.neutral[rows])


@dataclass(frozen=True, eq=False)
class Pose:
    """Root float64 [T, 3] (m, world) and local rotations of nodes [T, N, 4] (quaternions)."""

    root: Array
    quats: Array


def solve_chunks(chain: Chain, targets: Targets, start: Pose, times: Array, iterations: int) -> Pose:
    """The most probable motion.

    Parameters
    ----------
    chain : Chain
    targets : Targets
    start : Pose
        Near the solution.
    times : float64 [T] s
        Increasing.
    iterations : int
        Most Gauss-Newton steps.

    Notes
    -----
    A long take is solved in chunks: each looks a second ahead, so that its end is not felt, and takes
    over the last frames of the one before as they are, so that the motion is continuous.
    """
    T = len(times)
    root, quats = start.root.copy(), start.quats.copy()
    step = float(np.median(np.diff(times))) if T > 1 else 1.0
    ahead = int(np.ceil(_LOOK_AHEAD_S / step))
    first = 0
    while first < T:
        stop = first + _CHUNK_FRAMES
        stop = T if T - stop < ahead else stop
        held = _HELD_FRAMES if first else 0
        rows = slice(first - held, min(stop + ahead, T))
        part = Pose(root[rows], quats[rows])
        solved = _solve(chain, targets.rows(rows), part, np.diff(times[rows]), held, iterations)
        new = slice(first, stop)
        kept = slice(held, held + stop - first)
        root[new], quats[new] = solved.root[kept], solved.quats[kept]
        first = stop
    return Pose(root, quats)


def rotation_std(chain: Chain, targets: Targets, pose: Pose) -> Array:
    """How uncertain rotations are by what is seen in their own frame.

    Returns
    -------
    float64 [T, N] rad
        One standard deviation of each node's turn about its least certain axis, all other turns of the
        frame free; NaN for nodes that do not turn.
    """
    T, D = len(pose.root), chain.size
    out = np.full((T, len(chain.parents)), np.nan)
    for first in range(0, T, _CHUNK_FRAMES):
        rows = slice(first, min(first + _CHUNK_FRAMES, T))
        part = Pose(pose.root[rows], pose.quats[rows])
        blocks = np.zeros((len(part.root), D, D))
        _frame_terms(chain, targets.rows(rows), part, np.zeros((len(blocks) * D, 2 * D + 1)), blocks)
        lower = np.tril(blocks)
        variance = np.diagonal(np.linalg.inv(lower + np.swapaxes(np.tril(lower, -1), -1, -2)), axis1=-2, axis2=-1)
        for n, unknown in enumerate(chain.unknown):
            if (unknown >= 0).any():
                out[rows, n] = np.sqrt(variance[:, unknown[unknown >= 0]].max(-1))
    return out


def _solve(chain: Chain, targets: Targets, start: Pose, steps: Array, held: int, iterations: int) -> Pose:
    T = len(start.root)
    best = _System(chain, targets, start, steps, held)
    damping = np.zeros(T)
    for _ in range(iterations):
        new_root, new_quats = np.empty_like(best.pose.root), np.empty_like(best.pose.quats)
        turn = advance(best.pose.root, best.pose.quats, chain.node, chain.axis, chain.unknown, best.step(damping),
                       _MOST_TURN, new_root, new_quats)  # fmt: skip
        trial = _System(chain, targets, Pose(new_root, new_quats), steps, held)
        worse = trial.costs > best.costs + _WORSE
        damping = np.where(worse, np.maximum(_MORE * damping, _DAMPING), damping / _MORE)
        gain = best.cost - trial.cost
        if gain >= 0:
            best = trial
        else:
            damping = np.maximum(damping, _DAMPING)
            best = _System(chain, targets, best.pose, steps, held)  # its step has used it up
        if turn < _SETTLED or 0 <= gain < _LEAST_GAIN * best.cost:
            break
    return best.pose


class _System:
    """Normal equations set up at a pose."""

    def __init__(self, chain: Chain, targets: Targets, pose: Pose, steps: Array, held: int) -> None:
        self.pose, D, T = pose, chain.size, len(pose.root)
        self.band = np.zeros((T * D, 2 * D + 1))
        self.gradient, self.costs = _frame_terms(chain, targets, pose, self.band, np.zeros((0, D, D)))
        self.cost = float(self.costs.sum()) + smoothness(
            pose.root, pose.quats, chain.unknown, steps, chain.noise, SPEED_NOISE, ROOT_NOISE, ROOT_SPEED_NOISE, held,
            D, self.band, self.gradient,
        )  # fmt: skip

    def step(self, damping: Array) -> Array:
        """The step [T D], to be subtracted, with a damping for each frame [T]; for once, as it destroys the band."""
        self.band[:, 0] *= 1 + np.repeat(damping, len(self.band) // len(damping))
        factor, info = lapack.dpbtrf(self.band.T, lower=1, overwrite_ab=1)
        if info:
            raise np.linalg.LinAlgError(f"normal equations are not positive definite (row {info})")
        return np.asarray(lapack.dpbtrs(factor, self.gradient, lower=1)[0])


def _frame_terms(chain: Chain, targets: Targets, pose: Pose, band: Array, blocks: Array) -> tuple[Array, Array]:
    """Gradient [T D] and costs [T] of what concerns single frames; `band` and `blocks` are filled."""
    T = len(pose.root)
    gradient, costs = np.zeros(T * chain.size), np.zeros(T)
    paths = [chain.path(int(n)) for n in targets.node]
    starts = np.cumsum([0, *(len(p) for p in paths)])
    flat = np.array([u for p in paths for u in p], np.int64)
    assemble(
        pose.root, pose.quats, chain.parents, chain.offsets, chain.unknown, chain.node, chain.axis, chain.low,
        chain.high, chain.usual, targets.node, targets.local, starts, flat, targets.tail, targets.seen,
        targets.information, targets.neutral, band, gradient, blocks, costs,
    )  # fmt: skip
    return gradient, costs
