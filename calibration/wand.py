"""Start values from a wand: no single view gives a pose, so pairs of cameras are related by their epipolar geometry."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.epipolar import fundamental_matrix, relative_poses
from calibration.projection import undistort
from calibration.rig_state import RigState
from calibration.view_graph import ViewGraph
from calibration.view_table import ViewTable

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Focal lengths tried, in units of the image's longer side: 100 to 16 degrees of view.
_FOCAL_GRID = np.geomspace(0.42, 3.6, 16)
# Wrong beyond this share of the image's longer side (11 px of 1920): distortion is not known yet.
_TOLERANCE = 0.006
_LEAST_PAIRS = 24
_JUDGED = 120
# The best-connected partners of each camera that are looked at.
_PARTNERS = 6
_TRIANGULATIONS = 8


def is_wand(points: Array) -> bool:
    """Whether the target's points lie on a line."""
    size = np.linalg.svd(points - points.mean(0), compute_uv=False)
    return bool(len(points) < 3 or size[1] < 1e-6 * size[0])


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two cameras that saw the same markers: x, y [n, 2] centred, in units of the longer side; pose, point [n]."""

    first: int
    second: int
    F: Array
    x: Array
    y: Array
    pose: Ints
    point: Ints


def wand_graph(views: ViewTable, points: Array, state: RigState, free: Bools) -> tuple[RigState, ViewGraph]:
    """Focal lengths and metric relative poses from wand observations.

    Parameters
    ----------
    views : ViewTable
    points : float64 [P, 3]
        Markers on the wand, m.
    state : RigState
        Blank or known intrinsics.
    free : bool [C]
        Cameras whose focal length is to be found.

    Returns
    -------
    state : RigState
        With focal lengths.
    graph : ViewGraph

    Notes
    -----
    The fundamental matrix does not tell the focal lengths of cameras that all look at one place (the
    optical axes meet: Hartley & Zisserman 19.4), the wand's constant length all over the volume does:
    of a grid of focal lengths those are taken under which its reconstructed lengths vary least.
    """
    longest = 2 * state.intrinsics[:, 2:4].max(1) + 1
    pairs = _pairs(views, state, longest)
    tables = [_length_spread(p, points, *(_grid(state, longest, free, c) for c in (p.first, p.second))) for p in pairs]
    chosen = _agree(pairs, tables, len(state.t))
    intrinsics = state.intrinsics.copy()
    for c in np.flatnonzero(free):
        intrinsics[c, :2] = _FOCAL_GRID[chosen[c]] * longest[c]
    state = replace(state, intrinsics=intrinsics)
    edges = [_metric_edge(p, points, state.intrinsics[:, 0] / longest) for p in pairs]
    if not edges:
        none = np.zeros(0, np.int64)
        return state, ViewGraph(none, none, np.zeros((0, 3, 3)), np.zeros((0, 3)), none)
    return state, ViewGraph(*(np.stack(column) for column in zip(*edges, strict=True)))


def _grid(state: RigState, longest: Array, free: Bools, camera: int) -> Array:
    return _FOCAL_GRID if free[camera] else np.array([state.intrinsics[camera, 0] / longest[camera]])


def _pairs(views: ViewTable, state: RigState, longest: Array) -> list[_Pair]:
    C = len(state.t)
    ideal = (
        undistort(state.lenses(views.camera), views.pixel)
        * (state.intrinsics[:, 0] / longest)[views.camera][:, None, None]
    )
    m, s = np.nonzero(views.seen & np.isfinite(ideal).all(-1))
    most = int(views.point.max()) + 1
    key = views.pose[m] * most + views.point[m, s]
    rows = [np.flatnonzero(views.camera[m] == c) for c in range(C)]
    shared = np.zeros((C, C), np.int64)
    common = {}
    for i in range(C):
        for j in range(i + 1, C):
            _, a, b = np.intersect1d(key[rows[i]], key[rows[j]], return_indices=True)
            shared[i, j] = shared[j, i] = len(a)
            common[i, j] = (rows[i][a], rows[j][b])
    rank = np.argsort(np.argsort(-shared, axis=1), axis=1)
    pairs = []
    for (i, j), (a, b) in common.items():
        if len(a) < _LEAST_PAIRS or min(rank[i, j], rank[j, i]) >= _PARTNERS:
            continue
        x, y = ideal[m[a], s[a]], ideal[m[b], s[b]]
        F, inlier = fundamental_matrix(x, y, _TOLERANCE)
        if inlier.sum() >= max(_LEAST_PAIRS, 0.5 * len(a)):
            pose, point = np.divmod(key[a], most)
            pairs.append(_Pair(i, j, F, x[inlier], y[inlier], pose[inlier], point[inlier]))
    return pairs


def _segments(pair: _Pair, points: Array, most: int | None = None) -> tuple[Ints, Ints, Array]:
    """Rows of two markers of the same pose, and their true distance: the wand's outermost pair seen."""
    order = np.lexsort((pair.point, pair.pose))
    pose = pair.pose[order]
    _, first, count = np.unique(pose, return_index=True, return_counts=True)
    use = np.flatnonzero(count >= 2)
    if most is not None and len(use) > most:
        use = use[np.linspace(0, len(use) - 1, most).round().astype(int)]
    a, b = order[first[use]], order[first[use] + count[use] - 1]
    return a, b, np.linalg.norm(points[pair.point[a]] - points[pair.point[b]], axis=1)


def _lengths(pair: _Pair, points: Array, f: Array, g: Array, most: int | None) -> tuple[Array, Array, Array]:
    """Relative poses and reconstructed over true lengths [m, n] for focal lengths f, g [m]."""
    a, b, truth = _segments(pair, points, most)
    rows = np.concatenate([a, b])
    D, G = np.zeros((len(f), 3, 3)), np.zeros((len(f), 3, 3))
    D[:, 0, 0] = D[:, 1, 1] = f
    G[:, 0, 0] = G[:, 1, 1] = g
    D[:, 2, 2] = G[:, 2, 2] = 1
    R, t, X = relative_poses(G @ pair.F @ D, pair.x[rows] / f[:, None, None], pair.y[rows] / g[:, None, None])
    return R, t, np.linalg.norm(X[:, : len(a)] - X[:, len(a) :], axis=-1) / truth


def _length_spread(pair: _Pair, points: Array, grid_first: Array, grid_second: Array) -> Array:
    """Relative spread of the wand's length for every combination of focal lengths: [G, G]."""
    f, g = (a.ravel() for a in np.meshgrid(grid_first, grid_second, indexing="ij"))
    _, _, length = _lengths(pair, points, f, g, _JUDGED)
    middle = np.median(length, axis=1, keepdims=True)
    spread = np.median(np.abs(length / middle - 1), axis=1)
    table = np.minimum(spread, 1.0).reshape(len(grid_first), len(grid_second))
    # A known focal length is the same wherever on the grid one looks.
    shape = tuple(len(_FOCAL_GRID) if n == 1 else n for n in table.shape)
    return np.broadcast_to(table, shape)


def _agree(pairs: list[_Pair], tables: list[Array], n_cameras: int) -> Ints:
    """Grid index per camera with the least total spread: best common focal length first, then camera by camera."""
    if not pairs:
        return np.zeros(n_cameras, np.int64)
    G = len(_FOCAL_GRID)
    together = sum(np.array([t[k, k] for k in range(G)]) for t in tables)
    chosen = np.full(n_cameras, int(np.argmin(together)))
    for _ in range(10):
        before = chosen.copy()
        for c in range(n_cameras):
            total = np.zeros(G)
            for p, t in zip(pairs, tables, strict=True):
                if p.first == c:
                    total += t[:, chosen[p.second]]
                elif p.second == c:
                    total += t[chosen[p.first]]
            if total.any():
                chosen[c] = int(total.argmin())
        if (chosen == before).all():
            break
    return chosen


def _metric_edge(pair: _Pair, points: Array, focal: Array) -> tuple[int, int, Array, Array, int]:
    f, g = focal[[pair.first]], focal[[pair.second]]
    R, t, length = _lengths(pair, points, f, g, None)
    scale = 1 / np.median(length[0])
    # x_second = R x_first + t: turned round, as the graph wants the second in the first.
    return pair.first, pair.second, R[0].T, -R[0].T @ t[0] * scale, len(np.unique(pair.pose))


def place_wands(views: ViewTable, points: Array, state: RigState) -> tuple[RigState, Bools]:
    """Wand poses in the rig from markers triangulated by all cameras that saw them.

    Returns
    -------
    state : RigState
    solved : bool [B]
        Poses of which two markers were seen by two cameras.

    Notes
    -----
    Linear triangulation (Hartley & Zisserman 12.2) with weights that fall with the distance from the
    ray, so that one wrong view of three is outvoted.
    """
    ideal = undistort(state.lenses(views.camera), views.pixel)
    m, s = np.nonzero(views.seen & np.isfinite(ideal).all(-1))
    P, B = len(points), len(state.target_translation)
    key, c = views.pose[m] * P + views.point[m, s], views.camera[m]
    u = ideal[m, s]
    Rt = np.concatenate([state.R, state.t[:, :, None]], -1)[c]
    rows = u[:, :, None] * Rt[:, 2:] - Rt[:, :2]
    w = np.ones(len(m))
    count = np.bincount(key, minlength=B * P)
    place = np.zeros((B * P, 3))
    for _ in range(_TRIANGULATIONS):
        A, b = np.zeros((B * P, 3, 3)), np.zeros((B * P, 3))
        np.add.at(A, key, w[:, None, None] * rows[:, :, :3].transpose(0, 2, 1) @ rows[:, :, :3])
        np.add.at(b, key, -w[:, None] * np.einsum("nki,nk->ni", rows[:, :, :3], rows[:, :, 3]))
        place = np.linalg.solve(A + 1e-12 * np.eye(3), b[..., None])[..., 0].astype(np.float64)
        miss = np.einsum("nki,ni->nk", rows[:, :, :3], place[key]) + rows[:, :, 3]
        depth = np.abs(np.einsum("ni,ni->n", Rt[:, 2, :3], place[key]) + Rt[:, 2, 3]) + 1e-9
        distance = np.linalg.norm(miss, axis=1) / depth
        w = 1 / (depth**2 * (1 + (distance / max(2 * float(np.median(distance)), 1e-9)) ** 2))
    good = count.reshape(B, P) >= 2
    solved = good.sum(1) >= 2
    return _fit_lines(place.reshape(B, P, 3), good, solved, points, state), solved


def _fit_lines(X: Array, good: Bools, solved: Bools, points: Array, state: RigState) -> RigState:
    """The wand's pose from its markers: the line through them; its turn about itself is arbitrary."""
    w = good[solved].astype(float)[..., None]
    X = X[solved]
    middle, own_middle = (w * X).sum(1) / w.sum(1), (w * points).sum(1) / w.sum(1)
    axis = np.linalg.svd(points - points.mean(0), full_matrices=False)[2][0]
    along = ((points - own_middle[:, None]) @ axis)[..., None]
    direction = (w * along * (X - middle[:, None])).sum(1)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-30
    R = _rotation_between(axis, direction)
    target_rotation, target_translation = state.target_rotation.copy(), state.target_translation.copy()
    target_rotation[solved] = R
    target_translation[solved] = middle - np.einsum("bij,bj->bi", R, own_middle)
    return replace(state, target_rotation=target_rotation, target_translation=target_translation)


def _rotation_between(a: Array, b: Array) -> Array:
    """Rotations [n, 3, 3] that take the unit vector a [3] to b [n, 3]: two reflections."""
    helper = a + b
    flat = np.linalg.norm(helper, axis=1) < 1e-6
    side = np.cross(a, np.eye(3)[np.abs(a).argmin()])
    helper[flat] = side / np.linalg.norm(side)
    h = helper / np.linalg.norm(helper, axis=1, keepdims=True)
    # Reflect along a, then turn half round h.
    half = 2 * h[:, :, None] * h[:, None, :] - np.eye(3)
    about = 2 * np.outer(a, a) - np.eye(3)
    return half @ np.broadcast_to(about, half.shape)
