"""Joint calibration on synthetic studios: the truth is known, the noise is ours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from calibration.camera import Camera, CameraRig, Lens
from calibration.errors import CalibrationError
from calibration.joint import CalibrationSettings, calibrate_cameras
from calibration.observations import TargetObservations
from calibration.projection import Lenses, project
from calibration.settings import Distortion, TimeOffsets
from calibration.solution import CalibrationSolution
from mocap.synthetic import ring_rig

SIZE = (1280, 960)
WAND = np.array([[0.0, 0, 0], [0.2, 0, 0], [0.5, 0, 0]])
FULL = CalibrationSettings(distortion=Distortion.FULL, estimate_time_offsets=TimeOffsets.OFF)
PLAIN = CalibrationSettings(estimate_time_offsets=TimeOffsets.OFF)
FPS = 10.0


def board() -> np.ndarray:
    grid = np.stack(np.meshgrid(np.arange(6), np.arange(4)), -1).reshape(-1, 2) * 0.1
    return np.c_[grid, np.zeros(len(grid))]


def rig_of(n: int, seed: int = 1) -> CameraRig:
    return ring_rig(n, size=SIZE, focal=900.0, radius=3.0, seed=seed)


def random_poses(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return Rotation.random(n, random_state=rng).as_matrix(), rng.uniform((-0.8, -0.8, 0.4), (0.8, 0.8, 1.6), (n, 3))


def moving_poses(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A hand waving the target about: smooth at 10 frames a second."""
    t = times[:, None]
    place = np.array([0, 0, 1.0]) + 0.6 * np.sin(t * np.array([1.1, 0.8, 0.6]) + np.array([0, 1, 2]))
    turn = np.sin(t * np.array([0.7, 0.9, 0.5]) + np.array([2, 0, 1])) * np.array([1.5, 1.5, 1.5])
    return Rotation.from_rotvec(turn).as_matrix(), place


def observe(
    rig: CameraRig, points: np.ndarray, poses: list[tuple[np.ndarray, np.ndarray]], sigma: float, seed: int = 0
) -> TargetObservations:
    """What each camera sees of its own list of target poses (one per camera)."""
    rng = np.random.default_rng(seed)
    columns: list[list[np.ndarray]] = [[], [], [], []]
    for v, (R, t) in enumerate(poses):
        pixel = project(Lenses.of(rig.select([rig.names[v]])), t[:, None] + points @ R.transpose(0, 2, 1))[0]
        seen = np.isfinite(pixel).all(-1) & (pixel >= 0).all(-1) & (pixel < np.array(SIZE)).all(-1)
        if np.ptp(points[:, 1]) > 0:
            sight = rig.centres[v] - t
            cosine = np.einsum("bi,bi->b", sight / np.linalg.norm(sight, axis=1, keepdims=True), R[:, :, 2])
            seen &= (np.abs(cosine) > 0.25)[:, None]
        pose, point = np.nonzero(seen)
        noisy = pixel[seen] + sigma * rng.normal(size=(len(pose), 2))
        for column, values in zip(columns, (np.full(len(pose), v), pose, point, noisy), strict=True):
            column.append(values)
    camera, pose, point = (np.concatenate(c).astype(np.int64) for c in columns[:3])
    times = np.arange(len(poses[0][1])) / FPS
    return TargetObservations(
        rig.names, (SIZE,) * len(rig), points, times, camera, pose, point, np.concatenate(columns[3])
    )


def scene(n: int = 4, poses: int = 40, sigma: float = 0.3, seed: int = 1, points: np.ndarray | None = None):
    rig = rig_of(n, seed)
    points = board() if points is None else points
    return rig, observe(rig, points, [random_poses(poses, seed)] * n, sigma, seed)


def compare(rig: CameraRig, solution: CalibrationSolution) -> tuple[float, float, float]:
    """Largest errors of K (px), of relative rotations (rad) and of relative positions (m): free of the gauge."""
    found = solution.rig
    K = np.abs(found.K - rig.K).max()

    def relative(r: CameraRig) -> tuple[np.ndarray, np.ndarray]:
        return r.R @ r.R[0].T, (r.centres - r.centres[0]) @ r.R[0].T

    (Ra, ta), (Rb, tb) = relative(rig), relative(found)
    turn = Rotation.from_matrix(Ra @ Rb.transpose(0, 2, 1)).magnitude().max()
    return K, turn, np.abs(ta - tb).max()


def test_exact_board_gives_the_exact_rig() -> None:
    rig, o = scene(sigma=0.0)
    s = calibrate_cameras(o, replace(FULL, known_weight=0.0), {c.name: c for c in rig.cameras})
    K, turn, place = compare(rig, s)
    assert max(K / 900, turn, place) < 1e-8
    assert np.abs(s.rig.distortion - rig.distortion).max() < 1e-7
    assert np.nanmax(np.abs(s.residual)) < 1e-6
    assert s.inlier.all()


def test_exact_board_without_any_start() -> None:
    # A lens whose coefficients the default beliefs hardly move: they are the only thing that is not exact.
    rig, o = scene(sigma=0.0)
    K, turn, place = compare(rig, calibrate_cameras(o, FULL))
    assert K < 0.01
    assert turn < 1e-5
    assert place < 1e-4


def test_exact_wand_gives_the_rig() -> None:
    rig, o = scene(poses=250, sigma=0.0, points=WAND)
    s = calibrate_cameras(o, FULL)
    K, turn, place = compare(rig, s)
    assert K < 0.05
    assert turn < 1e-4
    assert place < 1e-3


def test_two_marker_wand() -> None:
    rig, o = scene(poses=300, sigma=0.1, points=WAND[[0, 2]])
    K, _, place = compare(rig, calibrate_cameras(o, PLAIN))
    assert K < 6
    assert place < 0.01


def distances(rig: CameraRig, s: CalibrationSolution) -> list[tuple[float, int]]:
    """Squared distance of each camera's truth in units of its own covariance, and the degrees of freedom."""
    reference = int(np.argmin(np.linalg.norm(s.rig.t, axis=1)))
    out = []
    for c, (true, found) in enumerate(zip(rig.cameras, s.rig.cameras, strict=True)):
        R = true.R @ rig.R[reference].T
        lens = [np.r_[x.K[0, 0], x.K[1, 1], x.K[0, 2], x.K[1, 2], x.distortion] for x in (true, found)]
        turn = Rotation.from_matrix(R @ found.R.T).as_rotvec()
        mine = np.flatnonzero(s.parameter_camera == c)
        error = np.r_[lens[0] - lens[1], turn, true.t - R @ rig.t[reference] - found.t][s.parameter_index[mine]]
        out.append((float(error @ np.linalg.solve(s.covariance[np.ix_(mine, mine)], error)), len(mine)))
    return out


def test_fisheye() -> None:
    base = rig_of(4)
    half = np.array([[0.6, 0, 256.0], [0, 0.6, 192.0], [0, 0, 1]])
    lens = [0.05, -0.02, 0.005, 0, 0]
    rig = CameraRig(tuple(replace(c, lens=Lens.FISHEYE, distortion=lens, K=half @ c.K) for c in base.cameras))
    o = observe(rig, board(), [random_poses(60, 3)] * 4, 0.1)
    s = calibrate_cameras(o, replace(FULL, lens=Lens.FISHEYE))
    assert s.rig.fisheye.all()
    assert all(d < chi2.ppf(0.9999, n) for d, n in distances(rig, s))
    assert compare(rig, s)[0] < 10


@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_residual_follows_the_noise(sigma: float) -> None:
    rig, o = scene(sigma=sigma)
    s = calibrate_cameras(o, FULL)
    assert np.all(np.abs(s.sigma_px / sigma - 0.97) < 0.06)  # the fit takes some of it
    assert all(d < chi2.ppf(0.9999, n) for d, n in distances(rig, s))


def test_world_of_the_target_does_not_matter() -> None:
    """Turning the target's own axes changes its poses, not the cameras."""
    _, o = scene(sigma=0.3)
    moved = replace(o, points=o.points[:, [1, 0, 2]] * [1, -1, 1] + [0.3, -0.2, 0])
    a, b = calibrate_cameras(o, PLAIN), calibrate_cameras(moved, PLAIN)
    K, turn, place = compare(a.rig, b)
    assert K < 1e-3
    assert turn < 1e-6
    assert place < 1e-6


def test_covariance_is_that_of_the_errors() -> None:
    found = []
    for seed in range(6):
        rig, o = scene(n=3, poses=30, seed=20 + seed)
        s = calibrate_cameras(o, FULL)
        assert s.covariance.shape == (len(s.parameter_camera),) * 2
        assert np.linalg.eigvalsh(s.covariance).min() > 0
        found += [chi2.cdf(d, n) for d, n in distances(rig, s)]
    # Uniform if all is right; 18 of them, three in a studio not independent.
    assert 0.3 < np.mean(found) < 0.7
    assert np.mean(np.array(found) < 0.99) > 0.85


def test_moved_corners_are_found(rng: np.random.Generator) -> None:
    rig, o = scene(sigma=0.3)
    clean = compare(rig, calibrate_cameras(o, PLAIN))
    bad = rng.random(len(o)) < 0.15
    angle, length = rng.uniform(0, 2 * np.pi, len(o)), rng.uniform(20, 100, len(o))
    shift = length[:, None] * np.c_[np.cos(angle), np.sin(angle)]
    s = calibrate_cameras(replace(o, pixel=o.pixel + bad[:, None] * shift), PLAIN)
    assert (s.inlier[bad]).mean() < 0.02
    assert (~s.inlier[~bad]).mean() < 0.02
    assert compare(rig, s)[2] < 2 * clean[2] + 5e-4


@pytest.mark.parametrize("kind", ["shuffled", "shifted"])
def test_views_with_wrong_ids_are_rejected_as_a_whole(kind: str, rng: np.random.Generator) -> None:
    rig, o = scene(sigma=0.3)
    clean = compare(rig, calibrate_cameras(o, PLAIN))
    # One view of each third pose, and only where two others can outvote it: two wrong views that agree cannot be told.
    seen_by = np.array([len(np.unique(o.camera[o.pose == p])) for p in range(40)])
    point, wrong = o.point.copy(), np.zeros(len(o), bool)
    for p in np.flatnonzero(seen_by >= 3)[::3]:
        mine = np.flatnonzero((o.pose == p) & (o.camera == rng.choice(np.unique(o.camera[o.pose == p]))))
        wrong[mine] = True
        point[mine] = rng.permutation(24)[: len(mine)] if kind == "shuffled" else (point[mine] + 6) % 24
    assert wrong.sum() > 100
    s = calibrate_cameras(replace(o, point=point), PLAIN)
    assert not s.inlier[wrong].any()
    assert s.inlier[~wrong].all()
    assert compare(rig, s)[2] < 2 * clean[2]


def test_a_late_camera_is_found() -> None:
    rig = rig_of(3)
    times = np.arange(40) / FPS
    now, late = moving_poses(times), moving_poses(times - 1 / FPS)
    o = observe(rig, board(), [now, now, late], 0.3)
    s = calibrate_cameras(o)
    assert np.abs(s.time_offset_s - np.array([0, 0, -1]) / FPS).max() < 0.1 / FPS
    assert np.nanmax(s.time_offset_std_s) < 0.05 / FPS
    timed = calibrate_cameras(o, CalibrationSettings(estimate_time_offsets=TimeOffsets.ON))
    assert compare(rig, timed)[2] < 0.5 * compare(rig, s)[2]


def test_a_target_at_rest_gives_no_offset() -> None:
    rig = rig_of(3)
    R, t = random_poses(10, 4)
    still = np.repeat(R, 4, axis=0), np.repeat(t, 4, axis=0)
    s = calibrate_cameras(observe(rig, board(), [still] * 3, 0.3))
    assert np.abs(s.time_offset_s).max() < 0.3 / FPS


def test_known_intrinsics_are_a_weak_prior() -> None:
    rig, o = scene(sigma=0.3)
    wrong = {c.name: replace(c, K=c.K * [[1.02, 1, 1], [1, 1.02, 1], [1, 1, 1]]) for c in rig.cameras}
    s = calibrate_cameras(o, PLAIN, wrong)
    assert np.abs(s.rig.K[:, 0, 0] / rig.K[:, 0, 0] - 1).max() < 0.004  # the data decides
    trusted = calibrate_cameras(o, replace(PLAIN, known_weight=1e8), wrong)
    assert np.abs(trusted.rig.K[:, 0, 0] / rig.K[:, 0, 0] - 1.02).max() < 0.002


def test_views_of_one_camera_alone_help_its_intrinsics() -> None:
    _, o = scene(poses=20, sigma=0.3)
    _, extra = scene(poses=60, sigma=0.3)
    alone = extra.select(extra.camera == 0)
    both = replace(
        o,
        times=np.r_[o.times, 100 + extra.times],
        camera=np.r_[o.camera, alone.camera], pose=np.r_[o.pose, alone.pose + 20],
        point=np.r_[o.point, alone.point], pixel=np.r_[o.pixel, alone.pixel],
    )  # fmt: skip

    def focal_std(s: CalibrationSolution) -> float:
        at = np.flatnonzero((s.parameter_camera == 0) & (s.parameter_index == 0))[0]
        return float(np.sqrt(s.covariance[at, at]))

    assert focal_std(calibrate_cameras(both, FULL)) < 0.9 * focal_std(calibrate_cameras(o, FULL))


def test_unconnected_cameras_are_named() -> None:
    _, o = scene()
    early = o.pose < 20
    parted = o.select(np.where(o.camera < 2, early, ~early))
    with pytest.raises(CalibrationError, match=r"no shared views between \{cam_0, cam_1\} and \{cam_2, cam_3\}") as e:
        calibrate_cameras(parted, PLAIN)
    assert "0 to 19" in str(e.value)


def test_a_camera_that_saw_nothing_is_named() -> None:
    _, o = scene()
    with pytest.raises(CalibrationError, match="cam_2: the target was never seen"):
        calibrate_cameras(o.select(o.camera != 2), PLAIN)


def test_a_camera_that_saw_little_is_named() -> None:
    _, o = scene()
    with pytest.raises(CalibrationError, match="cam_1: too few usable views"):
        calibrate_cameras(o.select((o.camera != 1) | (o.pose < 5)), replace(PLAIN, min_views=6))


def test_known_intrinsics_of_another_size_are_refused() -> None:
    rig, o = scene()
    other = {"cam_0": rig.cameras[0].resized((640, 480))}
    with pytest.raises(CalibrationError, match="another image size"):
        calibrate_cameras(o, PLAIN, other)


def test_a_board_always_seen_face_on_does_not_give_a_focal_length() -> None:
    K = [[900.0, 0, 640], [0, 900, 480], [0, 0, 1]]
    rig = CameraRig((Camera("a", SIZE, K, np.zeros(5), np.eye(3), np.zeros(3)),))
    rng = np.random.default_rng(2)
    t = rng.uniform((-0.5, -0.4, 1.5), (0.1, 0.1, 3.0), (20, 3))
    R = Rotation.from_rotvec(np.c_[np.zeros((20, 2)), rng.uniform(-1, 1, 20)]).as_matrix()
    o = observe(rig, board(), [(R, t)], 0.2)
    with pytest.raises(CalibrationError, match="focal length"):
        calibrate_cameras(o, PLAIN)
    known = {"a": rig.cameras[0]}
    assert abs(calibrate_cameras(o, PLAIN, known).rig.K[0, 0, 0] - 900) < 40


def test_same_input_same_bytes() -> None:
    _, o = scene(poses=20)
    a, b = calibrate_cameras(o), calibrate_cameras(o)
    assert a.rig.K.tobytes() == b.rig.K.tobytes()
    assert a.covariance.tobytes() == b.covariance.tobytes()
