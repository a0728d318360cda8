"""Keys, verification and explanations, without running anything heavy."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cache import Cache, Ingredients
from flows.config import Assignment, Stage, assign
from flows.digests import DigestMemo
from flows.execute import make_unit
from flows.plan import State, differences, make_plan
from flows.session import Session
from mocap.devices import DeviceChoice
from mocap.errors import SessionError


def states(root: Path) -> dict[str, State]:
    session = Session(root)
    return {u.stage.value: u.state for u in make_plan(session, Cache(session.state, session.digests))}


def make(root: Path, *stages: Stage) -> None:
    for stage in stages:
        make_unit(root, stage, "", DeviceChoice.CPU)


FIRST = (Stage.CALIBRATE, Stage.DETECT, Stage.SYNCHRONISE)


def test_a_fresh_session_has_everything_to_do(keypoint_session):
    found = states(keypoint_session)
    assert found["calibrate"] is State.MISSING
    assert found["match"] is State.WAITING


def test_what_is_made_is_up_to_date_until_something_changes(keypoint_session):
    make(keypoint_session, *FIRST, Stage.MATCH)
    assert states(keypoint_session)["match"] is State.UP_TO_DATE
    before = (keypoint_session / "session.toml").read_text()
    assign(keypoint_session / "session.toml", [Assignment.parse("match.min_views=3")])
    found = states(keypoint_session)
    assert found["detect"] is State.UP_TO_DATE
    assert found["match"] is State.STALE
    (keypoint_session / "session.toml").write_text(before)
    assert states(keypoint_session)["match"] is State.UP_TO_DATE


@pytest.mark.parametrize("damage", ["remove", "flip", "truncate", "reference"])
def test_damage_is_noticed_and_mended_to_the_same_bytes(keypoint_session, damage):
    make(keypoint_session, *FIRST)
    path = next((keypoint_session / ".mocap/cache/detect").glob("*.h5"))
    good = path.read_bytes()
    if damage == "remove":
        path.unlink()
    elif damage == "flip":
        path.write_bytes(good[:-9] + bytes([good[-9] ^ 1]) + good[-8:])
    elif damage == "truncate":
        path.write_bytes(good[: len(good) // 2])
    else:
        path.with_suffix(".json").write_text("{")
    assert states(keypoint_session)["detect"] is not State.UP_TO_DATE
    make(keypoint_session, Stage.DETECT)
    assert path.read_bytes() == good
    assert states(keypoint_session)["detect"] is State.UP_TO_DATE


def test_a_changed_input_byte_is_noticed(keypoint_session, tmp_path):
    make(keypoint_session, *FIRST)
    session = Session(keypoint_session)
    rig = tmp_path / "rig.toml"
    rig.write_text(session.resolve(session.config.session.calibration).read_text() + "\n# edited")
    text = (keypoint_session / "session.toml").read_text()
    old = session.config.session.calibration
    (keypoint_session / "session.toml").write_text(text.replace(old, str(rig)))
    found = states(keypoint_session)
    assert found["calibrate"] is State.STALE
    assert found["detect"] is State.UP_TO_DATE


def test_differences_name_old_and_new_values():
    before = Ingredients("filter", "", 1, {"cutoff_hz": 6.0, "order": 4}, {"lift": "a" * 64})
    now = Ingredients("filter", "", 2, {"cutoff_hz": 4.0, "order": 4}, {"lift": "b" * 64})
    text = "\n".join(differences(before, now))
    assert "cutoff_hz: 6.0 -> 4.0" in text
    assert "version: 1 -> 2" in text
    assert "input lift: aaaaaaaa -> bbbbbbbb" in text
    assert "order" not in text
    assert before.key != now.key
    assert differences(now, now) == []


def test_digests_follow_content_not_time(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"one")
    memo = DigestMemo(tmp_path / "memo.json")
    first = memo.digest(file)
    memo.save()
    again = DigestMemo(tmp_path / "memo.json")
    file.touch()
    assert again.digest(file) == first
    file.write_bytes(b"two")
    assert again.digest(file) != first
    (tmp_path / "memo.json").write_text("[]")
    assert DigestMemo(tmp_path / "memo.json").digest(file) != first


def test_a_damaged_memo_is_not_believed(tmp_path):
    file, memo = tmp_path / "a", tmp_path / "memo.json"
    file.write_bytes(b"one")
    first = DigestMemo(memo)
    digest = first.digest(file)
    first.save()
    text = memo.read_text()
    memo.write_text(text.replace(digest, digest[::-1]))
    assert text != memo.read_text()
    assert DigestMemo(memo).digest(file) == digest


def test_a_reference_with_a_flipped_bit_is_not_believed(keypoint_session):
    make(keypoint_session, Stage.CALIBRATE)
    path = next((keypoint_session / ".mocap/cache/calibrate").glob("*.json"))
    path.write_text(path.read_text().replace(path.stem, path.stem[::-1]))
    assert states(keypoint_session)["calibrate"] is not State.UP_TO_DATE
    other = path.with_name(f"{'0' * 32}.json")
    make(keypoint_session, Stage.CALIBRATE)
    other.write_text(path.read_text())
    session = Session(keypoint_session)
    assert Cache(session.state, session.digests).lookup(Stage.CALIBRATE, other.stem)[0] is None


def test_two_runs_at_once_are_refused(keypoint_session):
    first, second = Session(keypoint_session), Session(keypoint_session)
    with first.lock():
        with pytest.raises(SessionError, match="another `mocap run`") as raised, second.lock():
            pass
        assert f"process {os.getpid()} on {socket.gethostname()}" in str(raised.value)
    with second.lock():
        pass


def test_the_lock_of_a_run_that_was_killed_holds_nobody_up(keypoint_session):
    """The file stays, with the dead owner's name in it; the lock does not."""
    code = """
import os, signal, sys
from pathlib import Path
from flows.session import Session
with Session(Path(sys.argv[1])).lock():
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code, str(keypoint_session)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (keypoint_session / ".mocap/lock").read_text().startswith("process ")
    with Session(keypoint_session).lock():
        assert f"process {os.getpid()} " in (keypoint_session / ".mocap/lock").read_text()
