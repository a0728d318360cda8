"""The whole workflow as a user runs it: programs of their own, killed, starved and run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from flows.cache import Cache
from flows.initialise import NewSession, initialise
from flows.interrupt import FAREWELL
from flows.plan import State, make_plan
from flows.run import last_run
from flows.session import Session
from mocap.interchange import write_keypoints
from mocap.models import is_available
from mocap.skeleton import H36M_17
from mocap.storage.atomic import TEMPORARY_MARK
from mocap.synthetic.rig import ring_rig
from mocap.types import Keypoints2D

PROGRAM = [sys.executable, "-m", "flows.cli"]

# Signals that the shell of the tests ignores (background jobs) are heard; match never ends by itself.
INTERRUPTIBLE = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
import mocap.matching
mocap.matching.match_people = lambda *_: time.sleep(100_000)
from flows.cli import main
sys.argv = ["mocap", "run", sys.argv[1]]
main()
"""

DEAD_AT_THE_FOURTH = """
import os, signal, sys, threading
from flows.cache import Cache
from flows.cli import main
keep, count, lock = Cache.record, [], threading.Lock()
def record(self, reference):
    with lock:
        count.extend([0] * (reference.ingredients.stage == "detect"))
        if len(count) == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        keep(self, reference)
Cache.record = record
sys.argv = ["mocap", "run", *sys.argv[1:]]
main()
"""


def mocap(*arguments: object, expect: int = 0, timeout: float = 1200) -> subprocess.CompletedProcess[str]:
    """Run the program and check its exit code."""
    done = subprocess.run(
        [*PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def states(root: Path) -> dict[tuple[str, str], State]:
    session = Session(root)
    return {(u.stage.value, u.unit): u.state for u in make_plan(session, Cache(session.state, session.digests))}


def one_message(done: subprocess.CompletedProcess[str]) -> str:
    """What the program said on stderr: one message of ours, no traceback."""
    messages = [line for line in done.stderr.splitlines() if line.startswith("mocap: ")]
    assert len(messages) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_from_keypoints_to_bvh_and_back_to_nothing_to_do(keypoint_session, keypoint_files, api, tmp_path, monkeypatch):
    mocap("run", keypoint_session)
    assert set(states(keypoint_session).values()) == {State.UP_TO_DATE}

    # A second run has nothing to do, and does not even load the workflow engine.
    code = (
        "import sys; from flows.cli import main; sys.argv = ['mocap', 'run', sys.argv[1]]\n"
        "try:\n    main()\nexcept SystemExit as e:\n    assert not e.code\n"
        "assert 'prefect' not in sys.modules and 'torch' not in sys.modules"
    )
    again = subprocess.run([sys.executable, "-c", code, keypoint_session], capture_output=True, text=True, check=True)
    assert "up to date" in again.stdout

    mocap("export", keypoint_session, "--format", "npz", "--output", tmp_path / "r.npz")
    mocap("export", keypoint_session, "--format", "bvh", "--output", tmp_path / "r.bvh")
    mocap("export", keypoint_session, "--format", "csv", "--output", tmp_path / "r.csv")
    with np.load(tmp_path / "r.npz") as result:
        assert result["positions"].shape[0] == len(keypoint_files.truth)
        error = np.linalg.norm(result["positions"][:, 0] - keypoint_files.truth[:, 0], axis=-1)
    assert 1000 * np.nanmean(error) < 15
    np.savez(
        tmp_path / "truth.npz", positions=keypoint_files.truth, joint_names=H36M_17.joints,
        frames=np.arange(len(keypoint_files.truth)), fps=50.0,
    )  # fmt: skip
    scored = json.loads(mocap("evaluate", keypoint_session, "--ground-truth", tmp_path / "truth.npz", "--json").stdout)
    assert scored["mpjpe_mm"] == pytest.approx(1000 * np.nanmean(error), abs=0.01)

    monkeypatch.setenv("PREFECT_API_URL", api)  # the first run had a private server; these go on with another
    mocap("run", keypoint_session, "--set", "filter.cutoff_hz=4")
    record = last_run(Session(keypoint_session).state)
    assert record is not None
    assert record.made == ["filter", "solve"]
    assert any("cutoff_hz: 0.0 -> 4.0" in reason for reason in record.reasons["filter"])
    # Going back finds the earlier result.
    mocap("run", keypoint_session, "--set", "filter.cutoff_hz=0")
    assert set(states(keypoint_session).values()) == {State.UP_TO_DATE}


def test_results_of_stale_sessions_are_not_served(keypoint_session, tmp_path):
    message = one_message(mocap("export", keypoint_session, "--output", tmp_path / "r.npz", expect=1))
    assert "not up to date" in message
    assert "mocap run" in message
    assert not (tmp_path / "r.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nowhere"], "not a session folder"),
        (["status", "nowhere"], "not a session folder"),
        (["run", "SESSION", "--until", "filtre"], "did you mean 'filter'"),
        (["run", "SESSION", "--set", "filter.cutoff=3"], "did you mean 'cutoff_hz'"),
        (["run", "SESSION", "--set", "filter.cutoff_hz=-3"], "cutoff_hz"),
        (["export", "SESSION", "--format", "smd", "--output", "x.smd"], "npz"),
        (["export", "SESSION", "--preset", "blender", "--output", "take"], "no format is named"),
    ],
)
def test_bad_commands_end_in_one_message(keypoint_session, arguments, said):
    before = (keypoint_session / "session.toml").read_bytes()
    filled = [str(keypoint_session) if a == "SESSION" else a for a in arguments]
    assert said in one_message(mocap(*filled, expect=1))
    assert (keypoint_session / "session.toml").read_bytes() == before


@pytest.mark.usefixtures("studio_server")
def test_nobody_in_any_view_is_said(tmp_path, keypoint_files):
    shape = (4, 20, 1, 17)
    nobody = Keypoints2D(
        np.full((*shape, 2), np.nan), np.zeros(shape), np.full(shape, np.nan), np.arange(20),
        ring_rig(n_cameras=4, seed=1).names, H36M_17.joints, 50.0,
    )  # fmt: skip
    write_keypoints(nobody, tmp_path / "nobody.npz")
    initialise(NewSession(tmp_path / "S", [], tmp_path / "nobody.npz", keypoint_files.rig, None))
    assert "no person" in one_message(mocap("run", tmp_path / "S", expect=1))
    assert states(tmp_path / "S")["match", ""] is State.FAILED
    assert states(tmp_path / "S")["detect", ""] is State.UP_TO_DATE


@pytest.mark.usefixtures("studio_server")
def test_a_full_disk_is_one_message_and_loses_nothing(tmp_path, keypoint_files):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        initialise(NewSession(small / "S", [], keypoint_files.keypoints, keypoint_files.rig, None))
        assert "the disk is full" in one_message(mocap("run", small / "S", expect=1))
        assert not list(small.rglob(f"*{TEMPORARY_MARK}*"))
        subprocess.run(["mount", "-o", "remount,size=50m", str(small)], check=True)
        mocap("run", small / "S")
        assert set(states(small / "S").values()) == {State.UP_TO_DATE}
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00"])
def test_files_that_are_no_npz_end_in_one_message(tmp_path, keypoint_files, content):
    (tmp_path / "odd.npz").write_bytes(content)
    rig = keypoint_files.rig
    one_message(mocap("init", tmp_path / "S", "--keypoints", tmp_path / "odd.npz", "--calibration", rig, expect=1))
    assert not (tmp_path / "S").exists()


def test_an_array_that_is_no_npz_ends_in_one_message(tmp_path, keypoint_files):
    with (tmp_path / "odd.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    one_message(mocap("lift", tmp_path / "odd.npz", "--output", tmp_path / "o.npz", expect=1))
    assert not (tmp_path / "o.npz").exists()


@pytest.mark.usefixtures("studio_server")
def test_fps_that_was_given_replaces_that_of_keypoints(keypoint_files, tmp_path):
    root = tmp_path / "S"
    initialise(NewSession(root, [], keypoint_files.keypoints, keypoint_files.rig, 25.0))
    mocap("run", root, "--until", "filter")
    mocap("export", root, "--format", "npz", "--output", tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz") as result:
        assert float(result["fps"]) == 25.0


@pytest.mark.parametrize(("number", "private"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_an_interrupted_run_ends_at_once_with_one_message(keypoint_session, api, monkeypatch, number, private):
    if not private:
        monkeypatch.setenv("PREFECT_API_URL", api)
    run = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, str(keypoint_session)],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 240
    while states(keypoint_session)["detect", ""] is not State.UP_TO_DATE and time.monotonic() < deadline:
        assert run.poll() is None
        time.sleep(0.05)
    # As a terminal does it: to the whole process group. The stage at work never ends by itself.
    os.killpg(run.pid, number)
    _, said = run.communicate(timeout=240)
    assert run.returncode == 128 + number
    assert [line for line in said.splitlines() if line.strip() and "done after" not in line] == [FAREWELL]
    record = last_run(Session(keypoint_session).state)
    assert record is not None
    assert record.outcome == "interrupted"
    monkeypatch.setenv("PREFECT_API_URL", api)
    mocap("run", keypoint_session)
    assert set(states(keypoint_session).values()) == {State.UP_TO_DATE}


def test_settings_do_not_change_while_a_run_works(keypoint_session):
    before = (keypoint_session / "session.toml").read_bytes()
    with Session(keypoint_session).lock():
        said = one_message(mocap("run", keypoint_session, "--set", "filter.cutoff_hz=4", expect=1))
    assert "another `mocap run`" in said
    assert (keypoint_session / "session.toml").read_bytes() == before


@pytest.mark.usefixtures("studio_server")
@pytest.mark.skipif(
    os.environ.get("MOCAP_OFFLINE") == "1" and not is_available("blazepose"), reason="needs BlazePose's weights"
)
def test_killed_in_the_middle_of_detect_the_next_run_goes_on(blank_videos):
    mocap("status", blank_videos)
    # Three chunks per camera; dead just before the fourth would be kept.
    command = [blank_videos, "--until", "detect", "--set", "detect.chunk_frames=2"]
    run = subprocess.run(
        [sys.executable, "-c", DEAD_AT_THE_FOURTH, *map(str, command)], capture_output=True, timeout=1200, check=False
    )
    assert run.returncode == -signal.SIGKILL
    cache = blank_videos / ".mocap/cache/detect"
    kept = {p: p.stat().st_mtime_ns for p in cache.glob("*.json")}
    assert len(kept) == 3
    mocap("run", blank_videos, "--until", "detect")
    record = last_run(Session(blank_videos).state)
    assert record is not None
    assert len(record.made) == 9 - len(kept) + (record.made.count("calibrate") + record.made.count("synchronise"))
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert not list(blank_videos.rglob(f"*{TEMPORARY_MARK}*"))
