"""Calibration footage: the command, and the stage of a session that names footage instead of a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from calibration.formats import read_rig, write_rig_toml
from calibration.projection import Lenses, project
from flows.cache import Cache
from flows.cli import app
from flows.config import Stage
from flows.execute import make_unit
from flows.initialise import NewSession, initialise
from flows.plan import State, make_plan
from flows.session import Session
from mocap.devices import DeviceChoice
from mocap.errors import CalibrationError, MocapError
from mocap.storage.hdf5 import read_record
from mocap.storage.rig_record import RigRecord
from mocap.synthetic.rig import ring_rig

MARKERS = np.array([0.0, 0.2, 0.5])


@pytest.fixture(scope="module")
def wand_footage(tmp_path_factory) -> Path:
    """A folder with the 2D tracks of a waved wand, and its definition."""
    folder = tmp_path_factory.mktemp("wand")
    rng = np.random.default_rng(1)
    rig, T = ring_rig(3, seed=2), 150
    direction = rng.normal(size=(T, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    place = rng.uniform([-1, -1, 0.3], [1, 1, 1.8], (T, 3))
    points = place[:, None] + MARKERS[:, None] * direction[:, None]
    pixel = project(Lenses.of(rig), points) + rng.normal(0, 0.2, (3, T, 3, 2))
    inside = np.isfinite(pixel).all(-1) & (pixel > 0).all(-1) & (pixel < 1079).all(-1)
    keypoints = np.where(inside[..., None], pixel, np.nan)[:, :, None]
    np.savez(
        folder / "wand.npz", keypoints=keypoints, confidence=inside[:, :, None].astype(np.float32),
        cameras=np.array(rig.names), joint_names=np.array(["a", "b", "c"]), frames=np.arange(T), fps=50.0,
        sizes=np.full((3, 2), 1080),
    )  # fmt: skip
    (folder / "board.toml").write_text('[board]\nkind = "wand"\nmarkers_m = [0.0, 0.2, 0.5]\n')
    return folder


def test_the_command_writes_rig_report_and_pictures(wand_footage, tmp_path):
    output = tmp_path / "rig.toml"
    arguments = ["calibrate", str(wand_footage), "--board", str(wand_footage / "board.toml"), "--output", str(output)]
    done = CliRunner().invoke(app, [*arguments, "--json", "--plots", str(tmp_path / "plots")])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["quality"]["rms_px"] < 0.5
    truth, rig = ring_rig(3, seed=2), read_rig(output)
    apart = np.linalg.norm(rig.centres[0] - rig.centres[1])
    assert apart == pytest.approx(np.linalg.norm(truth.centres[0] - truth.centres[1]), rel=5e-3)
    assert {p.name for p in (tmp_path / "plots").iterdir()} == {*(f"{n}.png" for n in rig.names), "rig_from_above.png"}


def test_a_wrong_board_writes_nothing(wand_footage, tmp_path):
    board = tmp_path / "board.toml"
    board.write_text('[board]\nkind = "wand"\nmarkers_m = [0.0, 0.5]\n')
    done = CliRunner().invoke(
        app, ["calibrate", str(wand_footage), "--board", str(board), "--output", str(tmp_path / "r.toml")]
    )
    assert isinstance(done.exception, CalibrationError)
    assert "wand.npz" in str(done.exception)
    assert not (tmp_path / "r.toml").exists()


def test_an_earlier_calibration_is_kept_and_other_files_are_left(wand_footage, tmp_path):
    board, output = wand_footage / "board.toml", tmp_path / "rig.toml"
    write_rig_toml(ring_rig(2), output)
    before = output.read_bytes()
    arguments = ["calibrate", str(wand_footage), "--board", str(board)]
    done = CliRunner().invoke(app, [*arguments, "--output", str(output)])
    assert done.exit_code == 0, done.output
    assert "kept as rig.toml.bak" in done.output
    assert (tmp_path / "rig.toml.bak").read_bytes() == before
    again = CliRunner().invoke(app, [*arguments, "--output", str(output)])
    assert "rig.toml.bak" not in again.output
    assert (tmp_path / "rig.toml.bak").read_bytes() == before  # the same result replaces nothing
    other = tmp_path / "session.toml"
    other.write_text("[session]\nfps = 60\n")
    for path, said in ((board, "given as --board"), (other, "no calibration")):
        content = path.read_bytes()
        done = CliRunner().invoke(app, [*arguments, "--output", str(path)])
        assert isinstance(done.exception, MocapError)
        assert said in str(done.exception)
        assert path.read_bytes() == content


def test_a_session_runs_the_stage_and_keeps_the_report(wand_footage, tmp_path):
    names = np.array(ring_rig(3, seed=2).names)
    keypoints = tmp_path / "people.npz"
    np.savez(
        keypoints, keypoints=np.full((3, 10, 1, 17, 2), 500.0), confidence=np.ones((3, 10, 1, 17)), cameras=names,
        joint_names=np.array(["nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder",
                              "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
                              "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"]),
        frames=np.arange(10), fps=50.0,
    )  # fmt: skip
    root = tmp_path / "S"
    entries = initialise(NewSession(root, [], keypoints, wand_footage, None))
    assert [e.calibration for e in entries] == names.tolist()
    reference = make_unit(root, Stage.CALIBRATE, "", DeviceChoice.CPU)
    session = Session(root)
    cache = Cache(session.state, session.digests)
    record = read_record(cache.path(Stage.CALIBRATE, reference.key), RigRecord)
    assert json.loads(record.quality)["quality"]["poses"] > 50
    assert make_plan(session, cache)[0].state is State.UP_TO_DATE
    # Another file beside the footage changes nothing, another definition does.
    (wand_footage / "notes.txt").write_text("slate 3")
    assert make_plan(Session(root), cache)[0].state is State.UP_TO_DATE
    board = tmp_path / "other.toml"
    board.write_text('[board]\nkind = "wand"\nmarkers_m = [0.0, 0.21, 0.5]\n')
    text = (root / "session.toml").read_text().replace("[session]\n", f'[session]\nboard = "{board}"\n')
    (root / "session.toml").write_text(text)
    stale = make_plan(Session(root), cache)[0]
    assert stale.state is State.STALE
    assert any("board" in reason for reason in stale.reasons)
