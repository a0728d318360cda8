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
from flows.cache import Cache
from flows.cli import app
from flows.config import Assignment, Stage, assign
from flows.execute import make_unit
from flows.initialise import NewSession, initialise
from flows.plan import State, make_plan
from flows.session import Session
from mocap.devices import DeviceChoice
from mocap.errors import CalibrationError, SettingsError
from mocap.skeleton import COCO_17
from mocap.storage.hdf5 import read_record
from mocap.storage.rig_record import RigRecord
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


def test_a_session_takes_its_world_from_a_file(tmp_path):
    points = {"corner": [0.0, 0.0, 0.0], "arm": [0.7, 0.0, 0.0], "side": [0.2, 0.4, 0.0]}
    world = tmp_path / "points.toml"
    world.write_text(
        "".join(f'[[point]]\nname = "{n}"\nworld = {p}\npixels = {pixels_of(p)}\n' for n, p in points.items())
    )
    write_rig_toml(in_world(TRUTH, WorldFrame(SECRET, "secret")), tmp_path / "rig.toml")
    shape = (4, 10, 1, 17)
    np.savez(
        tmp_path / "people.npz", keypoints=np.full((*shape, 2), 500.0), confidence=np.ones(shape),
        cameras=np.array(TRUTH.names), joint_names=np.array(COCO_17.joints), frames=np.arange(10), fps=50.0,
    )  # fmt: skip
    root = tmp_path / "S"
    initialise(NewSession(root, [], tmp_path / "people.npz", tmp_path / "rig.toml", None))
    before = make_unit(root, Stage.CALIBRATE, "", DeviceChoice.CPU)
    assert "world" not in before.ingredients.settings
    assign(root / "session.toml", [Assignment.parse(f"calibrate.world={world}")])
    reference = make_unit(root, Stage.CALIBRATE, "", DeviceChoice.CPU)
    assert reference.key != before.key
    session = Session(root)
    cache = Cache(session.state, session.digests)
    rig = read_record(cache.path(Stage.CALIBRATE, reference.key), RigRecord).to_rig()
    np.testing.assert_allclose(rig.centres, TRUTH.centres, atol=1e-4)
    world.write_text(world.read_text() + "# measured twice\n")
    stale = make_plan(Session(root), cache)[0]
    assert stale.state is State.STALE
    assert any("file world" in reason for reason in stale.reasons)
    assign(root / "session.toml", [Assignment.parse("calibrate.world=missing.toml")])
    with pytest.raises(SettingsError, match=r"calibrate\.world(?s:.*)missing\.toml(?s:.*)correct it in session\.toml"):
        make_plan(Session(root), cache)


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
    assert "ankles of a person who walks" in rig.world_source
