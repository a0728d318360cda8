"""Start values of camera and target poses: relative poses of cameras that share views, chained along a tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from calibration.board_pose import ViewPoses
from calibration.errors import CalibrationError
from calibration.rig_state import RigState
from calibration.view_table import ViewTable

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

# Two views agree on a relative pose if the target's corners come within this share of their distance.
_AGREE = 0.08
_CANDIDATES = 24
_JUDGES = 48
_POSE_CANDIDATES = 4


@dataclass(frozen=True, eq=False)
class ViewGraph:
    """Relative poses of camera pairs.

    Attributes
    ----------
    first, second : int64 [E]
        Camera pairs with shared views.
    R : float64 [E, 3, 3], t : float64 [E, 3]
        ``x_first = R x_second + t``.
    support : int64 [E]
        Shared views that agree on it.
    """

    first: Ints
    second: Ints
    R: Array
    t: Array
    support: Ints


def build_view_graph(views: ViewTable, poses: ViewPoses, corners: Array, n_cameras: int) -> ViewGraph:
    """Relative pose of every pair of cameras that saw the target together.

    Parameters
    ----------
    views : ViewTable
    poses : ViewPoses
        Of the same views.
    corners : float64 [4, 3]
        Points that span the target, m.
    n_cameras : int

    Notes
    -----
    Every shared view proposes the relative poses of its planar solutions; the one that most other
    shared views agree with wins, so that neither wrong views nor mirrored poses spoil it.
    """
    usable = np.flatnonzero(poses.usable)
    by_camera = [usable[views.camera[usable] == c] for c in range(n_cameras)]
    edges = []
    for i in range(n_cameras):
        for j in range(i + 1, n_cameras):
            _, a, b = np.intersect1d(
                views.pose[by_camera[i]], views.pose[by_camera[j]], assume_unique=True, return_indices=True
            )
            if len(a):
                edges.append((i, j, *_relative_pose(poses, by_camera[i][a], by_camera[j][b], corners)))
    if not edges:
        none = np.zeros(0, np.int64)
        return ViewGraph(none, none, np.zeros((0, 3, 3)), np.zeros((0, 3)), none)
    return ViewGraph(*(np.stack(column) for column in zip(*edges, strict=True)))


def _spread(count: int, most: int) -> Ints:
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _relative_pose(poses: ViewPoses, a: Ints, b: Ints, corners: Array) -> tuple[Array, Array, int]:
    """``x_a = R x_b + t`` from shared views (row a[n] of one camera, b[n] of the other), and its support."""
    propose, judge = _spread(len(a), _CANDIDATES), _spread(len(a), _JUDGES)
    Ra, ta = poses.R[a[propose]][:, :, None], poses.t[a[propose]][:, :, None]
    Rb, tb = poses.R[b[propose]][:, None], poses.t[b[propose]][:, None]
    R = Ra @ Rb.swapaxes(-1, -2)
    t = ta - np.einsum("...ij,...j->...i", R, tb)
    R, t = R.reshape(-1, 3, 3), t.reshape(-1, 3)
    finite = np.isfinite(t).all(1)
    R, t = R[finite], t[finite]
    miss = _disagreement(poses, a[judge], b[judge], corners, R, t)
    best = int(np.minimum(miss / _AGREE, 1).sum(1).argmin())
    agree = _disagreement(poses, a, b, corners, R[best : best + 1], t[best : best + 1])[0] < _AGREE
    return R[best], t[best], int(agree.sum())


def _disagreement(poses: ViewPoses, a: Ints, b: Ints, corners: Array, R: Array, t: Array) -> Array:
    """How far each candidate [K] puts the target from where a view [n] has it, as a share of the distance: [K, n]."""
    in_a = np.einsum("nkij,cj->nkci", poses.R[a], corners) + poses.t[a][:, :, None]
    in_b = np.einsum("nkij,cj->nkci", poses.R[b], corners) + poses.t[b][:, :, None]
    moved = np.einsum("pij,nkcj->pnkci", R, in_b) + t[:, None, None, None]
    gap = np.linalg.norm(moved[:, :, None] - in_a[None, :, :, None], axis=-1).max(-1)
    depth = np.linalg.norm(poses.t[a], axis=-1)[None, :, :, None]
    return np.nan_to_num(gap / depth, nan=np.inf).min(axis=(2, 3))


def require_connected(graph: ViewGraph, views: ViewTable, names: Sequence[str], times: Array) -> None:
    """Raise CalibrationError naming the groups of cameras that share no views, and when each saw the target."""
    C = len(names)
    links = csr_matrix((np.ones(len(graph.first)), (graph.first, graph.second)), shape=(C, C))
    count, group = connected_components(links, directed=False)
    if count == 1:
        return
    groups = [np.flatnonzero(group == g) for g in range(count)]
    shown = [f"{{{', '.join(names[int(c)] for c in g)}}}" for g in groups]
    when = [
        f"{s} saw it in {_when(views.pose[np.isin(views.camera, g)], times)}"
        for s, g in zip(shown, groups, strict=True)
    ]
    raise CalibrationError(
        f"no shared views between {' and '.join(shown)}",
        expected="target poses that cameras of both groups see at the same time",
        found="; ".join(when),
        where="calibration",
        hint="record the target where cameras of both groups see it, or check that equal frame numbers mean equal time",
    )


def _when(pose: Ints, times: Array) -> str:
    pose = np.unique(pose)
    if not len(pose):
        return "no usable view"
    t = times[pose]
    return f"{len(pose)} poses ({pose.min()} to {pose.max()}, {t.min():.2f} to {t.max():.2f} s)"


def chain_cameras(graph: ViewGraph, state: RigState) -> tuple[RigState, int]:
    """Camera poses along the tree of best-supported pairs, and the camera whose frame is the rig's."""
    C = len(state.t)
    weight = csr_matrix((1.0 / np.maximum(graph.support, 0.5), (graph.first, graph.second)), shape=(C, C))
    total = np.bincount(graph.first, graph.support, C) + np.bincount(graph.second, graph.support, C)
    reference = int(total.argmax())
    order, before = breadth_first_order(minimum_spanning_tree(weight), reference, directed=False)
    edge = {(int(i), int(j)): e for e, (i, j) in enumerate(zip(graph.first, graph.second, strict=True))}
    R, t = state.R.copy(), state.t.copy()
    R[reference], t[reference] = np.eye(3), 0.0
    for c in order[1:]:
        p = int(before[c])
        if (int(c), p) in edge:
            e = edge[int(c), p]
            R_cp, t_cp = graph.R[e], graph.t[e]
        else:
            e = edge[p, int(c)]
            R_cp = graph.R[e].T
            t_cp = -R_cp @ graph.t[e]
        R[c], t[c] = R_cp @ R[p], R_cp @ t[p] + t_cp
    return replace(state, R=R, t=t), reference


def place_targets(
    views: ViewTable, poses: ViewPoses, corners: Array, state: RigState
) -> tuple[RigState, NDArray[np.bool_]]:
    """Target poses in the rig: of what its views propose, what they agree on best.

    Returns
    -------
    state : RigState
    solved : bool [B]
        Poses that have at least one usable view.
    """
    usable = np.flatnonzero(poses.usable)
    order = usable[np.lexsort((poses.error[usable, 0], views.pose[usable]))]
    pose = views.pose[order]
    _, first, count = np.unique(pose, return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(first, count)
    B = len(state.target_translation)
    R, t = np.full((B, _POSE_CANDIDATES * 2, 3, 3), np.nan), np.full((B, _POSE_CANDIDATES * 2, 3), np.nan)
    for k in range(2):
        chosen = order[rank < _POSE_CANDIDATES]
        slot, c = 2 * rank[rank < _POSE_CANDIDATES] + k, views.camera[chosen]
        back = state.R[c].transpose(0, 2, 1)
        R[views.pose[chosen], slot] = back @ poses.R[chosen, k]
        t[views.pose[chosen], slot] = np.einsum("mij,mj->mi", back, poses.t[chosen, k] - state.t[c])
    cost = np.where(np.isfinite(t).all(-1), 0.0, np.inf)
    step = 20_000
    for part in (order[s : s + step] for s in range(0, len(order), step)):
        c, p = views.camera[part], views.pose[part]
        own = poses.R[part, 0] @ corners.T + poses.t[part, 0][:, :, None]
        seen_at = own[:, :2] / own[:, 2:]
        place = np.einsum("mkij,cj->mkci", R[p], corners) + t[p][:, :, None]
        x = np.einsum("mij,mkcj->mkci", state.R[c], place) + state.t[c][:, None, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = np.linalg.norm(x[..., :2] / x[..., 2:] - seen_at.transpose(0, 2, 1)[:, None], axis=-1).mean(-1)
        size = np.linalg.norm(seen_at - seen_at.mean(2, keepdims=True), axis=1).mean(1)
        share = np.where(x[..., 2].min(-1) > 0, gap, np.inf) / size[:, None]
        np.add.at(cost, p, np.minimum(np.nan_to_num(share, nan=np.inf), 0.5))
    best = cost.argmin(1)
    solved = np.isfinite(cost.min(1))
    rows = np.flatnonzero(solved)
    target_rotation, target_translation = state.target_rotation.copy(), state.target_translation.copy()
    target_rotation[rows], target_translation[rows] = R[rows, best[rows]], t[rows, best[rows]]
    return replace(state, target_rotation=target_rotation, target_translation=target_translation), solved
