"""Bones keep their length: what linked joints tell each other about where they are.

Length and spread of every bone are learnt from the smoothed take. Then, along the tree of bones,
each joint is told by its neighbours where it must be along the bone (belief propagation: once from
the leaves to the root, once back), and is smoothed again with all it was told.

A message gives the receiver a position along the bone, for every frame on its own. The sender's
errors last for several frames, though, since it was smoothed; as many frames with the same error are
worth one. So the variance of a message is the sender's times the number of samples its estimate
rests on: the inverse of the mean share that a frame's own observation has in it (its leverage).
For slow errors, the ones that smoothing leaves, that is exact. What a bone is longer or shorter than
its mean lasts as well (it goes with the pose), and counts in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mocap.filtering.smoother_state import State

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

# A bone's length must have been seen this often; no more samples than that are looked at.
_FEWEST, _MOST = 20, 4000
_LEARNING_STEPS = 12
# Metres. No two joints of a detector are more rigid than this.
_LEAST_SPREAD = 1e-3
# Tails of a bone's length, degrees of freedom: a limb that is found on the wrong person is no length.
_TAIL = 4.0
# Half width (seconds) of the window that counts the samples an estimate rests on; their largest number.
_LEVERAGE_S = 0.25
_MOST_SAMPLES = 100.0


@dataclass(frozen=True)
class Bone:
    """A link between two series: length and spread (standard deviation), metres."""

    parent: int
    child: int
    length: float
    spread: float


@dataclass(frozen=True, eq=False)
class _Message:
    """Per frame: direction [N, 3], place along it [N] m, precision [N] m^-2 (0: nothing to say)."""

    direction: Array
    place: Array
    precision: Array


def learn_trees(state: State, bones: Ints, joints: int) -> list[list[Bone]]:
    """The bones of every person as the smoothed take shows them, in trees.

    Parameters
    ----------
    state : State
        Smoothed and learnt.
    bones : int [B, 2]
        Pairs of a person's joints.
    joints : int
        Joints of a person; series are persons x joints.
    """
    trees = []
    for first in range(0, len(state.x), joints):
        learnt = [learn_bone(state, first + a, first + b) for a, b in bones.tolist()]
        trees += _trees(sorted((b for b in learnt if b is not None), key=lambda b: b.spread / b.length))
    return trees


def hold_bones(state: State, trees: list[list[Bone]]) -> None:
    """Smooth again, in place, with the lengths of the bones held as constant as they are."""
    for tree in trees:
        _propagate(state, tree)


def learn_bone(state: State, a: int, b: int) -> Bone | None:
    """Length of the bone between series a and b, and how constant it is; None if it is hardly seen.

    Notes
    -----
    d_t ~ N(L, s2 + v_t) with v_t the posterior variance of the distance, Student-t tails,
    expectation-maximisation. The distance of two noisy points is too long by the variance across
    the bone over twice the length (second order), which is taken off.
    """
    rows = np.flatnonzero(state.present[a] & state.present[b])
    if len(rows) < _FEWEST:
        return None
    rows = rows[:: max(1, len(rows) // _MOST)]
    offset = state.x[b, rows] - state.x[a, rows]
    covariance = state.covariance[a, rows] + state.covariance[b, rows]
    distance = np.linalg.norm(offset, axis=-1)
    u = offset / np.maximum(distance, 1e-6)[:, None]
    along = np.einsum("ni,nij,nj->n", u, covariance, u)
    length = float(np.median(distance))
    if not length > 10 * _LEAST_SPREAD:
        return None
    across = np.maximum(np.trace(covariance, axis1=1, axis2=2) - along, 0)
    distance = distance - np.minimum(across / (2 * length), length / 4)
    spread2 = float(np.median(np.abs(distance - length)) ** 2 * 2.2)
    for _ in range(_LEARNING_STEPS):
        total = spread2 + along
        weight = (_TAIL + 1) / (_TAIL + (distance - length) ** 2 / total)
        length = float((weight / total * distance).sum() / (weight / total).sum())
        share = spread2 / total
        spread2 = max(float((weight * (share * (distance - length)) ** 2 + share * along).mean()), _LEAST_SPREAD**2)
    return Bone(a, b, length, spread2**0.5)


def _trees(bones: list[Bone]) -> list[list[Bone]]:
    """Spanning forest, stiffest bones first; each tree from its root outwards, parents before children."""
    leader: dict[int, int] = {}

    def find(s: int) -> int:
        while leader.setdefault(s, s) != s:
            s = leader[s]
        return s

    links: dict[int, list[tuple[int, Bone]]] = {}
    for bone in bones:
        a, b = find(bone.parent), find(bone.child)
        if a == b:
            continue
        leader[max(a, b)] = min(a, b)
        links.setdefault(bone.parent, []).append((bone.child, bone))
        links.setdefault(bone.child, []).append((bone.parent, bone))
    trees = []
    for root in sorted(s for s in leader if find(s) == s):
        tree, queue, seen = [], [root], {root}
        for s in queue:
            for other, bone in links[s]:
                if other not in seen:
                    seen.add(other)
                    queue.append(other)
                    tree.append(Bone(s, other, bone.length, bone.spread))
        trees.append(tree)
    return trees


def _propagate(state: State, tree: list[Bone]) -> None:
    """Belief propagation: leaves to root, root to leaves, and every joint with all it was told."""
    from mocap.filtering.map_smoother import update

    base_x = {s: state.x[s].copy() for bone in tree for s in (bone.parent, bone.child)}
    base_covariance = {s: state.covariance[s].copy() for s in base_x}
    up: dict[int, _Message] = {}
    down: dict[int, _Message] = {}
    children: dict[int, list[Bone]] = {s: [bone for bone in tree if bone.parent == s] for s in base_x}

    def told(s: int, leave_out: int = -1) -> list[_Message]:
        above = [down[s]] if s in down else []
        return above + [up[bone.child] for bone in children[s] if bone.child in up and bone.child != leave_out]

    def message(bone: Bone, sender: int, receiver: int, messages: list[_Message]) -> _Message:
        x, covariance, samples = _believe(state, sender, messages, base_x[sender], base_covariance[sender])
        a, b = (base_x[bone.parent], base_covariance[bone.parent]), (base_x[bone.child], base_covariance[bone.child])
        seen = state.present[sender] & state.present[receiver]
        out = _Message(np.zeros_like(x), np.zeros(len(x)), np.zeros(len(x)))
        sign = 1.0 if receiver == bone.child else -1.0
        _tell(x, covariance, samples, a[0], a[1], b[0], b[1], seen, bone.length, bone.spread, sign, out.direction,
              out.place, out.precision)  # fmt: skip
        return out

    for bone in reversed(tree):
        up[bone.child] = message(bone, bone.child, bone.parent, told(bone.child))
    for bone in tree:
        down[bone.child] = message(bone, bone.parent, bone.child, told(bone.parent, leave_out=bone.child))
    for s in base_x:
        if len(state.spans[s]):
            update(state, s, *_total(told(s), len(state.dt)))


def _total(messages: list[_Message], n: int) -> tuple[Array, Array]:
    information, right = np.zeros((n, 3, 3)), np.zeros((n, 3))
    for m in messages:
        _add(m.direction, m.place, m.precision, information, right)
    return information, right


def _believe(state: State, s: int, messages: list[_Message], x: Array, covariance: Array) -> tuple[Array, Array, Array]:
    """What s itself would say, given some messages: position, covariance, samples they rest on."""
    from mocap.filtering.map_smoother import observed, solve_series

    x, covariance = x.copy(), covariance.copy()
    information, right = _total(messages, len(x))
    blocks, own = observed(state, s, state.weight[s])
    blocks[:, 0] += information
    right += own
    unused = np.empty((2, len(x)))
    solve_series(
        blocks, right, state.spans[s], state.dt, state.level[s] * state.activity[s], x, covariance, unused[0],
        unused[1],
    )  # fmt: skip
    samples = np.ones(len(x))
    half = np.maximum(1, np.round(_LEVERAGE_S / state.dt)).astype(np.int64)
    _samples_behind(blocks, covariance, state.spans[s], half, samples)
    return x, covariance, samples


@njit(cache=True)  # type: ignore[misc]
def _samples_behind(blocks: Array, covariance: Array, spans: Ints, half: Ints, samples: Array) -> None:
    """Number of samples [N] an estimate rests on: the inverse of the mean leverage around it."""
    leverage = np.zeros(len(samples))
    for t in range(len(samples)):
        for i in range(3):
            for j in range(3):
                for k in range(min(blocks.shape[1], t + 1)):
                    # Blocks beside the diagonal count for both of their samples.
                    twice = 1.0 if k == 0 else 2.0
                    leverage[t] += twice * blocks[t, k, i, j] * covariance[t, i, j] / 3
    for r in range(len(spans)):
        a, b = spans[r, 0], spans[r, 1]
        for t in range(a, b):
            mean = leverage[max(a, t - half[t]) : min(b, t + half[t] + 1)].mean()
            samples[t] = min(max(1 / max(mean, 1e-9), 1.0), _MOST_SAMPLES)


@njit(cache=True)  # type: ignore[misc]
def _tell(
    x: Array, covariance: Array, samples: Array, parent: Array, parent_covariance: Array, child: Array,
    child_covariance: Array, seen: Mask, length: float, spread: float, sign: float, direction: Array, place: Array,
    precision: Array,
) -> None:  # fmt: skip
    """The message of a sender at x to the other end of a bone, linearised about the smoothed joints."""
    u = np.empty(3)
    for t in range(len(x)):
        if not seen[t]:
            continue
        distance = 0.0
        for i in range(3):
            u[i] = child[t, i] - parent[t, i]
            distance += u[i] * u[i]
        distance = np.sqrt(distance)
        if distance < 1e-3:
            continue
        own, across, at = 0.0, 0.0, 0.0
        for i in range(3):
            u[i] /= distance
        for i in range(3):
            at += u[i] * x[t, i]
            across += parent_covariance[t, i, i] + child_covariance[t, i, i]
            for j in range(3):
                own += u[i] * covariance[t, i, j] * u[j]
                across -= u[i] * (parent_covariance[t, i, j] + child_covariance[t, i, j]) * u[j]
        # A bone whose direction is uncertain is shorter along it than it is.
        bend = min(max(across, 0.0) / (2 * length), length / 4)
        direction[t] = u
        place[t] = at + sign * (length - bend)
        precision[t] = 1 / (bend * bend + samples[t] * (own + spread * spread))


@njit(cache=True)  # type: ignore[misc]
def _add(direction: Array, place: Array, precision: Array, information: Array, right: Array) -> None:
    for t in range(len(place)):
        for i in range(3):
            right[t, i] += precision[t] * place[t] * direction[t, i]
            for j in range(3):
                information[t, i, j] += precision[t] * direction[t, i] * direction[t, j]
