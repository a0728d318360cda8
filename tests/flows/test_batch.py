"""Many sessions in one go."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from flows.batch import find_sessions
from flows.cache import Cache
from flows.config import Stage
from flows.initialise import NewSession, initialise
from flows.plan import State, make_plan
from flows.session import Session
from mocap.errors import SessionError


def test_a_broken_session_does_not_keep_the_others_from_running(tmp_path, keypoint_files):
    for name in ("a", "b/c", "broken"):
        root = tmp_path / "day" / name
        root.mkdir(parents=True)
        files = [shutil.copy(p, root) for p in (keypoint_files.keypoints, keypoint_files.rig)]
        initialise(NewSession(root, [], *map(type(root), files), None))
    (tmp_path / "day/broken/rig.toml").write_text("nothing")
    command = [sys.executable, "-m", "flows.cli", "batch", str(tmp_path / "day"), "--jobs", "2", "--until", "match"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 of 3 sessions are up to date" in done.stdout
    failed = next(line for line in done.stdout.splitlines() if line.startswith("FAILED"))
    assert "broken: mocap: " in failed
    for name in ("a", "b/c"):
        session = Session(tmp_path / "day" / name)
        plan = make_plan(session, Cache(session.state, session.digests))
        assert next(u for u in plan if u.stage is Stage.MATCH).state is State.UP_TO_DATE


def test_a_folder_without_sessions_is_said(tmp_path):
    with pytest.raises(SessionError, match="no session"):
        find_sessions(tmp_path)
