"""Chessboards that look the same upside down: numbering their corners alike in all cameras.

A chessboard with even columns + rows of squares maps onto itself when turned by 180 degrees, so each
view alone leaves two ways to number its corners. Poses relative to one another decide: with right
numbers all shared views agree on how two cameras stand to each other.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.observations import TargetObservations

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_VIEWS_FOR_INTRINSICS = 25
# Views agree on a relative pose within these bounds (rad, share of the distance).
_ANGLE, _SHIFT = np.radians(6.0), 0.08


def agree_on_orientation(o: TargetObservations) -> TargetObservations:
    """The same observations with corner numbers turned where that makes cameras agree.

    Each pose keeps the numbering of one of its views; the others follow. Views of cameras that no
    shared view connects stay as they are.

    Parameters
    ----------
    o : TargetObservations
        Of a board whose point P - 1 - i is point i turned by 180 degrees about the middle.
    """
    rows = _rows_by_view(o)
    poses = _view_poses(o, rows)
    relative = _relative_poses(o, rows, poses)
    turned = _choose(o, rows, poses, relative)
    point = o.point.copy()
    for view, index in enumerate(rows):
        if turned[view]:
            point[index] = len(o.points) - 1 - point[index]
    return TargetObservations(o.cameras, o.sizes, o.points, o.times, o.camera, o.pose, point, o.pixel)


def _rows_by_view(o: TargetObservations) -> list[Ints]:
    key = o.pose * len(o.cameras) + o.camera
    order = np.argsort(key, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(key[order])) + 1)


def _intrinsics(o: TargetObservations, rows: list[Ints], camera: int) -> tuple[Array, Array]:
    """K and distortion from single views; the numbering does not matter to them."""
    mine = [r for r in rows if o.camera[r[0]] == camera and len(r) >= 6]
    mine = [mine[i] for i in np.unique(np.linspace(0, len(mine) - 1, _VIEWS_FOR_INTRINSICS).round().astype(int))]
    size = o.sizes[camera]
    K = np.array([[max(size), 0, (size[0] - 1) / 2], [0, max(size), (size[1] - 1) / 2], [0, 0, 1.0]])
    if len(mine) < 3:
        return K, np.zeros(5)
    flags = cv2.CALIB_USE_INTRINSIC_GUESS | cv2.CALIB_FIX_K3 | cv2.CALIB_ZERO_TANGENT_DIST
    flags |= cv2.CALIB_FIX_ASPECT_RATIO | cv2.CALIB_FIX_PRINCIPAL_POINT
    points = [o.points[o.point[r]].astype(np.float32) for r in mine]
    pixels = [o.pixel[r].astype(np.float32).reshape(-1, 1, 2) for r in mine]
    _, K, d, _, _ = cv2.calibrateCamera(points, pixels, size, K, np.zeros(5), flags=flags)
    return np.asarray(K), np.asarray(d, np.float64).ravel()[:5]


def _view_poses(o: TargetObservations, rows: list[Ints]) -> list[tuple[Array, Array]]:
    """Per view: rotations [n, 3, 3] and translations [n, 3] of the middle of the board in the camera.

    Turning the numbers by 180 degrees turns the rotation about the board's normal and leaves its middle.
    """
    lenses = [_intrinsics(o, rows, c) for c in range(len(o.cameras))]
    middle = o.points.mean(0)
    poses = []
    for r in rows:
        K, d = lenses[o.camera[r[0]]]
        plane = o.points[o.point[r]] - middle
        n, vectors, shifts, errors = cv2.solvePnPGeneric(plane, o.pixel[r], K, d, flags=cv2.SOLVEPNP_IPPE)
        keep = [i for i in range(n) if np.ravel(errors)[i] < 3 * np.ravel(errors)[0] + 0.5]
        R = np.array([cv2.Rodrigues(vectors[i])[0] for i in keep], dtype=np.float64).reshape(-1, 3, 3)
        poses.append((R, np.array([np.ravel(shifts[i]) for i in keep], dtype=np.float64).reshape(-1, 3)))
    return poses


_HALF_TURN = np.diag([-1.0, -1.0, 1.0])


def _candidates(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Relative poses ``x_a = R x_b + t`` of two views of one board, and whether b's numbers are turned for it."""
    R, t, turned = [], [], []
    for Ra, ta in zip(*a, strict=True):
        for Rb, tb in zip(*b, strict=True):
            for turn in (False, True):
                R.append(Ra @ (Rb @ _HALF_TURN if turn else Rb).T)
                t.append(ta - R[-1] @ tb)
                turned.append(turn)
    return np.array(R).reshape(-1, 3, 3), np.array(t).reshape(-1, 3), np.array(turned, bool)


def _distance(R: Array, t: Array, R0: Array, t0: Array, depth: float) -> Array:
    """How far poses [n] are from one, in units of what counts as agreement."""
    angle = Rotation.from_matrix(np.swapaxes(R, -1, -2) @ R0).magnitude()
    return np.maximum(angle / _ANGLE, np.linalg.norm(t - t0, axis=-1) / (_SHIFT * depth))


def _relative_poses(
    o: TargetObservations, rows: list[Ints], poses: list[tuple[Array, Array]]
) -> dict[tuple[int, int], tuple[Array, Array, int]]:
    """The relative pose of each camera pair that most shared views agree on, and how many do."""
    by_pose: dict[int, list[int]] = {}
    for view, r in enumerate(rows):
        by_pose.setdefault(int(o.pose[r[0]]), []).append(view)
    shared: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for views in by_pose.values():
        for i, a in enumerate(views):
            for b in views[i + 1 :]:
                shared.setdefault((int(o.camera[rows[a][0]]), int(o.camera[rows[b][0]])), []).append((a, b))
    result = {}
    for pair, views_ in shared.items():
        sets = [_candidates(poses[a], poses[b]) for a, b in views_]
        depth = float(
            np.median([float(np.linalg.norm(poses[a][1][0])) for a, _ in views_ if len(poses[a][1])] or [1.0])
        )
        best: tuple[float, Array, Array, int] = (-1.0, np.eye(3), np.zeros(3), 0)
        for R, t, _ in sets[:: max(1, len(sets) // 20)]:
            for Rc, tc in zip(R, t, strict=True):
                miss = [_distance(Rs, ts, Rc, tc, depth).min() if len(Rs) else np.inf for Rs, ts, _ in sets]
                score = float(np.maximum(0, 1 - np.array(miss)).sum())
                if score > best[0]:
                    best = (score, Rc, tc, int((np.array(miss) < 1).sum()))
        result[pair] = (best[1], best[2], best[3])
    return result


def _choose(
    o: TargetObservations, rows: list[Ints], poses: list[tuple[Array, Array]],
    relative: dict[tuple[int, int], tuple[Array, Array, int]],
) -> NDArray[np.bool_]:  # fmt: skip
    """Which views to turn: within each pose, along its best-supported pairs of cameras."""
    turned = np.zeros(len(rows), bool)
    by_pose: dict[int, list[int]] = {}
    for view, r in enumerate(rows):
        by_pose.setdefault(int(o.pose[r[0]]), []).append(view)
    for views in by_pose.values():
        settled, open_ = [views[0]], list(views[1:])
        while open_:
            options = [(relative.get(_pair(o, rows, a, b), (None, None, 0))[2], a, b) for a in settled for b in open_]
            support, a, b = max(options, key=lambda option: option[0])
            if support:
                turned[b] = turned[a] ^ _is_turned(o, rows, poses, relative, a, b)
            settled.append(b)
            open_.remove(b)
    return turned


def _pair(o: TargetObservations, rows: list[Ints], a: int, b: int) -> tuple[int, int]:
    ca, cb = int(o.camera[rows[a][0]]), int(o.camera[rows[b][0]])
    return (min(ca, cb), max(ca, cb))


def _is_turned(
    o: TargetObservations, rows: list[Ints], poses: list[tuple[Array, Array]],
    relative: dict[tuple[int, int], tuple[Array, Array, int]], a: int, b: int,
) -> bool:  # fmt: skip
    if o.camera[rows[a][0]] > o.camera[rows[b][0]]:
        a, b = b, a  # a half turn is its own inverse
    R0, t0, _ = relative[_pair(o, rows, a, b)]
    R, t, turned = _candidates(poses[a], poses[b])
    if not len(R):
        return False
    depth = max(float(np.linalg.norm(poses[a][1][0])), 1e-6)
    return bool(turned[_distance(R, t, R0, t0, depth).argmin()])
