"""What makes a stage run again, and what does not."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from calibration.formats import write_rig_toml
from flows.cache import Cache
from flows.config import Stage
from flows.execute import make_unit, pack_inputs, unpack_inputs
from flows.initialise import NewSession, initialise
from flows.plan import State, UnitPlan, make_plan, stage_references
from flows.run import _new_stem, last_run
from flows.session import Session
from flows.stages import STAGES, Work, parse_detect_unit
from mocap.devices import DeviceChoice
from mocap.errors import StageError
from mocap.skeleton import COCO_17
from mocap.storage.atomic import write_bytes
from mocap.synthetic.rig import ring_rig
from mocap.types import Keypoints2D
from mocap.video import write_video


def plan(root: Path) -> list[UnitPlan]:
    session = Session(root)
    return make_plan(session, Cache(session.state, session.digests))


def run_all(root: Path, *stages: Stage) -> list[str]:
    """Make what is not up to date, in order; the units that were made."""
    made = []
    for stage in stages:
        for u in [u for u in plan(root) if u.stage is stage and u.state is not State.UP_TO_DATE]:
            make_unit(root, stage, u.unit, DeviceChoice.CPU)
            made.append(f"{stage}/{u.unit}".strip("/"))
    return made


def test_a_new_version_of_a_stage_reruns_it_and_what_follows(keypoint_session, monkeypatch):
    assert run_all(keypoint_session, *Stage) == [s.value for s in Stage]
    before = STAGES[Stage.LIFT]
    monkeypatch.setitem(STAGES, Stage.LIFT, replace(before, version=before.version + 1))
    lift = next(u for u in plan(keypoint_session) if u.stage is Stage.LIFT)
    assert lift.reasons == (f"the stage's version: {before.version} -> {before.version + 1}",)
    assert run_all(keypoint_session, *Stage) == ["lift", "filter", "solve"]
    # The old version's results are still there.
    monkeypatch.setitem(STAGES, Stage.LIFT, before)
    assert run_all(keypoint_session, *Stage) == []


def test_comments_and_layout_rerun_nothing(keypoint_session):
    run_all(keypoint_session, *Stage)
    file = keypoint_session / "session.toml"
    file.write_text("# a remark\n\n" + file.read_text().replace(" = ", "   =  ") + "\n[filter]\n# cutoff_hz = 3\n")
    assert run_all(keypoint_session, *Stage) == []


def test_a_setting_that_is_set_to_what_it_was_reruns_nothing(keypoint_session):
    run_all(keypoint_session, *Stage)
    session = Session(keypoint_session)
    value = session.config.settings.filter.cutoff_hz
    file = keypoint_session / "session.toml"
    file.write_text(file.read_text() + f"\n[filter]\ncutoff_hz = {value}\n")
    assert run_all(keypoint_session, *Stage) == []


def nobody(work: Work) -> Keypoints2D:
    """A detector that sees nobody, at once."""
    camera, start, stop = parse_detect_unit(work.unit)
    shape = (1, stop - start, 1, 17)
    return Keypoints2D(
        np.full((*shape, 2), np.nan), np.zeros(shape), np.full(shape, np.nan), np.arange(start, stop),
        (camera,), COCO_17.joints, work.session.fps,
    )  # fmt: skip


@pytest.fixture
def filmed(tmp_path, monkeypatch) -> Path:
    """A session of three short videos, in two chunks each, and a detector that costs nothing."""
    rig = ring_rig(n_cameras=3, size=(160, 128), focal=150.0, seed=1)
    write_rig_toml(rig, tmp_path / "rig.toml")
    (tmp_path / "videos").mkdir()
    for n, name in enumerate(rig.names):
        picture = np.random.default_rng(n).integers(0, 255, (128, 160, 3), dtype=np.uint8)
        write_video(tmp_path / "videos" / f"{name}.mp4", (np.roll(picture, i, 0) for i in range(40)), 30.0, (160, 128))
    root = tmp_path / "S"
    initialise(NewSession(root, [tmp_path / "videos"], None, tmp_path / "rig.toml", None))
    with (root / "session.toml").open("a") as file:
        file.write("\n[detect]\nchunk_frames = 20\n")
    monkeypatch.setitem(STAGES, Stage.DETECT, replace(STAGES[Stage.DETECT], step=nobody))
    return root


def test_a_changed_byte_of_a_video_reruns_its_camera_only(filmed):
    assert len(run_all(filmed, Stage.CALIBRATE, Stage.DETECT)) == 1 + 3 * 2
    camera, video = list(Session(filmed).videos.items())[1]
    content = bytearray(video.read_bytes())
    picture_data = content.index(b"mdat") + 4 + (len(content) - content.index(b"mdat")) // 2
    content[picture_data] ^= 1
    video.write_bytes(content)
    stale = [u for u in plan(filmed) if u.state is State.STALE]
    assert {u.unit.split("/")[0] for u in stale} == {camera}
    assert all("input file video" in u.reasons[0] for u in stale)
    assert run_all(filmed, Stage.CALIBRATE, Stage.DETECT) == [f"detect/{u.unit}" for u in stale]
    # With the byte back, everything is there at once.
    content[picture_data] ^= 1
    video.write_bytes(content)
    assert run_all(filmed, Stage.CALIBRATE, Stage.DETECT) == []


def test_a_moved_video_reruns_nothing(filmed):
    run_all(filmed, Stage.CALIBRATE, Stage.DETECT)
    video = next(iter(Session(filmed).videos.values()))
    folder = video.parent / "archive"
    folder.mkdir()
    video.rename(folder / video.name)
    file = filmed / "session.toml"
    file.write_text(file.read_text().replace(str(video), str(folder / video.name)))
    assert run_all(filmed, Stage.CALIBRATE, Stage.DETECT) == []


def test_a_renamed_video_reruns_nothing(filmed):
    run_all(filmed, Stage.CALIBRATE, Stage.DETECT)
    video = next(iter(Session(filmed).videos.values()))
    video.rename(video.with_name("GX010042.mp4"))
    file = filmed / "session.toml"
    file.write_text(file.read_text().replace(str(video), str(video.with_name("GX010042.mp4"))))
    assert "GX010042.mp4" in file.read_text()
    assert run_all(filmed, Stage.CALIBRATE, Stage.DETECT) == []


def test_a_video_that_changes_while_it_is_read_gives_no_artifact(filmed, monkeypatch):
    """As when a recorder still writes to it: what was seen of it may be of neither content."""
    run_all(filmed, Stage.CALIBRATE)
    camera, video = next(iter(Session(filmed).videos.items()))

    def meanwhile(work: Work) -> Keypoints2D:
        with video.open("ab") as file:
            file.write(b"more")
        return nobody(work)

    monkeypatch.setitem(STAGES, Stage.DETECT, replace(STAGES[Stage.DETECT], step=meanwhile))
    unit = next(u for u in plan(filmed) if u.stage is Stage.DETECT and u.unit.startswith(f"{camera}/"))
    with pytest.raises(StageError, match="changed while it was read"):
        make_unit(filmed, Stage.DETECT, unit.unit, DeviceChoice.CPU)
    assert not list((filmed / ".mocap/cache/detect").glob("*.h5"))


def test_a_part_is_made_without_looking_at_the_others(filmed, monkeypatch):
    """As the flow makes it; else a session of many parts takes time with the square of their number."""
    run_all(filmed, Stage.CALIBRATE)
    units = [u.unit for u in plan(filmed) if u.stage is Stage.DETECT]
    asked: list[str] = []
    lookup = Cache.lookup
    monkeypatch.setattr(Cache, "lookup", lambda self, stage, key: asked.append(stage) or lookup(self, stage, key))
    for unit in units:
        make_unit(filmed, Stage.DETECT, unit, DeviceChoice.CPU, inputs=pack_inputs(Stage.DETECT, {}))
    assert asked == ["detect"] * len(units)


def test_inputs_survive_being_sent(keypoint_session):
    run_all(keypoint_session, *Stage)
    references = stage_references(plan(keypoint_session))
    wanted = {s: references[s] for s in STAGES[Stage.MATCH].inputs}
    assert unpack_inputs(pack_inputs(Stage.MATCH, references)) == wanted


@pytest.mark.parametrize("days", [-4000, 4000])
def test_a_clock_that_jumps_reruns_nothing_and_hides_no_change(keypoint_session, days):
    """Files from the future or the distant past, as after a camera's or server's clock was wrong."""
    run_all(keypoint_session, *Stage)
    session = Session(keypoint_session)
    plan(keypoint_session)
    then = time.time() + days * 86400
    inputs = [session.resolve(p) for p in (session.config.session.keypoints, session.config.session.calibration)]
    kept = {p: (p.stat().st_atime_ns, p.stat().st_mtime_ns) for p in inputs}
    try:
        for path in (*inputs, *(keypoint_session / ".mocap").rglob("*.*")):
            os.utime(path, (then, then))
        assert run_all(keypoint_session, *Stage) == []
        # A change that leaves size and time as they were still shows: the system's own time of change differs.
        rig = keypoint_session / "rig.toml"
        rig.write_text(inputs[1].read_text())
        text = (keypoint_session / "session.toml").read_text()
        (keypoint_session / "session.toml").write_text(text.replace(session.config.session.calibration, "rig.toml"))
        os.utime(rig, (then, then))
        assert run_all(keypoint_session, Stage.CALIBRATE) == []
        changed = rig.read_text()
        at = changed.index("0.", changed.index("translation"))
        rig.write_text(changed[:at] + "1." + changed[at + 2 :])
        os.utime(rig, (then, then))
        assert run_all(keypoint_session, Stage.CALIBRATE) == ["calibrate"]
    finally:
        for path, times in kept.items():
            os.utime(path, ns=times)


def test_runs_stay_in_order_when_the_clock_is_set_back(tmp_path):
    late, early = datetime(2030, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)
    for n, now in enumerate((late, early, early, late, early)):
        stem = _new_stem(tmp_path / "runs", now)
        write_bytes(stem.with_suffix(".json"), json.dumps({"started": str(n), "command": "run"}).encode())
        record = last_run(tmp_path)
        assert record is not None
        assert record.started == str(n)
    assert len(list((tmp_path / "runs").glob("*.json"))) == 5


def test_a_machine_with_another_version_is_found_out(keypoint_session):
    with pytest.raises(StageError, match="another version of mocap"):
        make_unit(keypoint_session, Stage.CALIBRATE, "", DeviceChoice.CPU, key="0" * 32)
    assert not (keypoint_session / ".mocap/cache").exists()
