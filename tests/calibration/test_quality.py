"""The report names seeded faults: a late camera, wrong corners, small coverage, changed intrinsics."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from calibration.advice import Severity, advise, suspects_synchronisation
from calibration.camera import CameraRig, Lens
from calibration.joint import calibrate_cameras
from calibration.observations import TargetObservations
from calibration.quality import assess
from calibration.report import CalibrationReport, coverage_picture
from calibration.settings import CalibrationSettings, TimeOffsets
from calibration.targets import BoardDefinition, TargetKind
from calibration.transforms import RigidTransform

BOARD = BoardDefinition(TargetKind.CHARUCO, 5, 4, 0.12, 0.09, "DICT_4X4_50")
SETTINGS = CalibrationSettings(estimate_time_offsets=TimeOffsets.OFF)


def moving(board_poses, n: int, speed: float, late_s: np.ndarray) -> list[RigidTransform]:
    """A board on a winding path, at the times each camera (late_s [C]) exposes; 10 Hz, fast and slow by turns."""
    clock = np.arange(n) / 10.0
    facing = Rotation.from_matrix([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    result = []
    for late in late_s:
        t = clock + late
        phase = speed * (t - np.sin(0.8 * t) / 0.8)
        place = 0.3 * np.stack([np.sin(phase), 0.7 * np.cos(1.3 * phase), np.sin(0.7 * phase + 1)], -1)
        turn = 0.4 * np.stack([np.sin(0.9 * phase), np.sin(1.1 * phase + 2), 0.5 * np.cos(phase)], -1)
        R = (Rotation.from_rotvec(turn) * facing).as_matrix()
        result.append(RigidTransform(R, place - R @ np.array([0.3, 0.24, 0])))
    return result


def film(rig, seen, poses: list[RigidTransform], noise: float = 0.2) -> TargetObservations:
    parts = [
        seen(rig.select([n]), BOARD, p, noise, seed=k) for k, (n, p) in enumerate(zip(rig.names, poses, strict=True))
    ]
    camera = np.concatenate([np.full(len(p), k) for k, p in enumerate(parts)])
    return TargetObservations(
        rig.names, tuple(c.size for c in rig.cameras), BOARD.points, parts[0].times, camera,
        *(np.concatenate([getattr(p, f) for p in parts]) for f in ("pose", "point", "pixel")),
    )  # fmt: skip


@pytest.fixture(scope="module")
def good(small_rig, seen, board_poses):
    o = film(small_rig, seen, moving(board_poses, 80, 1.5, np.zeros(3)))
    return o, calibrate_cameras(o, SETTINGS)


def test_a_good_calibration(good):
    o, solution = good
    quality = assess(o, solution, BOARD.neighbours)
    for camera in quality.cameras:
        assert camera.inlier_rms_px == pytest.approx(0.2 * np.sqrt(2), rel=0.1)
        assert camera.single_view_rms_px == pytest.approx(0.2 * np.sqrt(2), rel=0.25)
        assert sum(map(sum, camera.coverage_map)) == (o.camera == o.cameras.index(camera.name)).sum()
    assert abs(quality.scale.mean_error_mm) < 0.1
    assert 0 < quality.expected_error_mm < 2
    assert not suspects_synchronisation(quality)
    assert not [a for a in advise(quality, 0.12) if a.topic in ("synchronisation", "outliers", "residual", "scale")]
    report = CalibrationReport(str(BOARD), "frames", "world", True, quality, advise(quality, 0.12))
    assert "cam_1" in report.to_text()
    known = json.loads(report.to_json())["quality"]
    assert known["synchronisation_suspected"] is False
    assert known["cameras"][0]["known_focal_change"] is None
    assert len(coverage_picture(quality.cameras[0]).splitlines()) == len(quality.cameras[0].coverage_map)


def test_cameras_that_scatter_in_time_are_suspected(small_rig, seen, board_poses):
    rng = np.random.default_rng(2)
    late = [rng.normal(0, 0.02, 80) for _ in range(3)]
    # The frame's time jitters: the path is evaluated at each camera's own times.
    poses = []
    for jitter in late:
        steps = [moving(board_poses, 80, 1.5, np.array([j]))[0] for j in jitter]
        poses.append(RigidTransform(np.stack([p.R[k] for k, p in enumerate(steps)]),
                                    np.stack([p.t[k] for k, p in enumerate(steps)])))  # fmt: skip
    o = film(small_rig, seen, poses)
    quality = assess(o, calibrate_cameras(o, SETTINGS), BOARD.neighbours)
    assert suspects_synchronisation(quality)
    said = [a.text for a in advise(quality, 0.12) if a.topic == "synchronisation"]
    assert any("likely cause" in text for text in said)
    assert 0.005 < quality.jitter_s < 0.05


def test_wrong_corners_name_the_camera(good):
    o, _ = good
    rng = np.random.default_rng(0)
    bad = (o.camera == 1) & (rng.random(len(o)) < 0.12)
    angle = rng.uniform(0, 2 * np.pi, len(o))
    off = rng.uniform(20, 100, len(o))[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    wrong = replace(o, pixel=o.pixel + np.where(bad[:, None], off, 0))
    quality = assess(wrong, calibrate_cameras(wrong, SETTINGS), BOARD.neighbours)
    said = {a.camera for a in advise(quality, 0.12) if a.topic == "outliers"}
    assert said == {"cam_1"}
    assert quality.cameras[1].rejected == pytest.approx(bad.sum(), rel=0.1)


def test_small_coverage_and_changed_intrinsics_are_said(small_rig, seen, board_poses):
    # From near by and far to the sides, so that corners are everywhere in the images.
    o = seen(small_rig, BOARD, board_poses(BOARD, 150, seed=1, spread=0.8), 0.2, seed=1)
    solution = calibrate_cameras(o, SETTINGS)
    middle = np.abs(o.pixel - [320, 240]).max(1) < 130
    part = o.select((o.camera != 2) | middle)
    known = {"cam_0": replace(solution.rig.cameras[0], K=solution.rig.cameras[0].K * [[1.1], [1.1], [1]])}
    quality = assess(part, calibrate_cameras(part, SETTINGS), BOARD.neighbours, known)
    advice = advise(quality, 0.12)
    coverage = [a for a in advice if a.topic == "coverage" and a.severity is Severity.PROBLEM]
    assert [a.camera for a in coverage] == ["cam_2"]
    assert "too small to trust" in coverage[0].text
    changed = [a for a in advice if a.topic == "intrinsics" and "differs" in a.text]
    assert [a.camera for a in changed] == ["cam_0"]
    assert quality.cameras[0].known_focal_change == pytest.approx(1 / 1.1 - 1, abs=0.01)


def test_fisheye_lenses_are_reported_alike(small_rig, seen, board_poses):
    """130 degrees wide: the report's figures hold."""
    K = np.array([[300.0, 0, 318], [0, 301.0, 243], [0, 0, 1]])
    lens = np.array([0.05, -0.02, 0.005, -0.001, 0])
    rig = CameraRig(tuple(replace(c, K=K, distortion=lens, lens=Lens.FISHEYE) for c in small_rig.cameras))
    o = seen(rig, BOARD, board_poses(BOARD, 60, seed=8, spread=1.0, tilt=0.6), 0.2, seed=3)
    solution = calibrate_cameras(o, replace(SETTINGS, lens=Lens.FISHEYE))
    quality = assess(o, solution, BOARD.neighbours, {c.name: c for c in rig.cameras})
    assert solution.rig.fisheye.all()
    for camera in quality.cameras:
        assert camera.inlier_rms_px == pytest.approx(0.2 * np.sqrt(2), rel=0.1)
        assert abs(camera.known_focal_change) < 0.005
    assert 0 < quality.expected_error_mm < 5
    assert abs(quality.scale.mean_error_mm) < 0.3
