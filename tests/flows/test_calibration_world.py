"""`--world FILE`: scene points, an L-frame and a walking person move a rig of unknown pose into the world."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from calibration.camera import CameraRig
from calibration.formats import read_rig, write_rig_toml
from calibration.projection import Lenses, project
from calibration.transforms import RigidTransform
from calibration.world_frame import WorldFrame, in_world
from flows.cli import app
from mocap.errors import CalibrationError
from mocap.synthetic.rig import ring_rig

SECRET = RigidTransform(Rotation.from_rotvec([0.9, -1.4, 0.3]).as_matrix(), np.array([0.4, -2.0, 3.0]))
TRUTH = ring_rig(4, seed=3)


def moved_back(tmp_path: Path, world: Path) -> CameraRig:
    """The rig in a secret frame, converted with `--world`."""
    write_rig_toml(in_world(TRUTH, WorldFrame(SECRET, "secret")), tmp_path / "in.toml")
    arguments = ["convert-calibration", str(tmp_path / "in.toml"), str(tmp_path / "out.toml"), "--world", str(world)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return read_rig(tmp_path / "out.toml")


def pixels_of(point: list[float]) -> str:
    """TOML table of where all cameras see a point of the world."""
    at = project(Lenses.of(TRUTH), np.array(point))
    return "{ " + ", ".join(f"{n} = [{u!r}, {v!r}]" for n, (u, v) in zip(TRUTH.names, at.tolist(), strict=True)) + " }"


def test_scene_points_and_l_frame(tmp_path):
    points = {"corner": [0.0, 0.0, 0.0], "arm": [0.7, 0.0, 0.0], "side": [0.2, 0.4, 0.0]}
    (tmp_path / "points.toml").write_text(
        "".join(f'[[point]]\nname = "{n}"\nworld = {p}\npixels = {pixels_of(p)}\n' for n, p in points.items())
    )
    lines = [f"{key} = {pixels_of(p)}\n" for key, p in zip(("origin", "x", "y"), points.values(), strict=True)]
    (tmp_path / "l.toml").write_text("[l_frame]\n" + "".join(lines))
    for name, source in (("points.toml", "scene points corner, arm, side"), ("l.toml", "L-frame on the floor")):
        rig = moved_back(tmp_path, tmp_path / name)
        np.testing.assert_allclose(rig.centres, TRUTH.centres, atol=1e-4)
        np.testing.assert_allclose(rig.R, TRUTH.R, atol=1e-5)
        assert source in rig.world_source
    (tmp_path / "l.toml").write_text("[l_frame]\n" + "".join(lines[:2]))
    with pytest.raises(CalibrationError, match=r"l\.toml: the L-frame is not understood"):
        moved_back(tmp_path, tmp_path / "l.toml")


def test_a_walking_person(tmp_path):
    """Ankles 80 mm above the floor, one foot swinging: gravity within a degree, floor within 2 cm."""
    rng = np.random.default_rng(4)
    n = 300
    angle = np.linspace(0, 4 * np.pi, n)
    middle = np.stack([1.2 * np.cos(angle), 0.8 * np.sin(angle), np.full(n, 0.08)], -1)
    left, right = middle.copy(), middle + [0.15, 0.1, 0.0]
    left[::3, 2] += 0.2
    joints = np.stack([middle + [0, 0, 1.55], left, right], 1)
    pixel = project(Lenses.of(TRUTH), joints) + rng.normal(0, 1.0, (4, n, 3, 2))
    np.savez(
        tmp_path / "walk.npz", keypoints=pixel[:, :, None], confidence=np.ones((4, n, 1, 3)),
        cameras=np.array(TRUTH.names), joint_names=np.array(["nose", "left_ankle", "right_ankle"]),
        frames=np.arange(n), fps=30.0,
    )  # fmt: skip
    rig = moved_back(tmp_path, tmp_path / "walk.npz")
    up = rig.R.swapaxes(-1, -2) @ TRUTH.R @ np.array([0, 0, 1.0])
    assert np.degrees(np.arccos(up[:, 2])).max() < 1
    np.testing.assert_allclose(rig.centres[:, 2], TRUTH.centres[:, 2], atol=0.04)
    assert "ankles of a person in walk.npz" in rig.world_source
