"""What makes a stage run again, and what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calibration.formats import write_rig_toml
from flows.cache import Cache
from flows.config import Stage
from flows.execute import make_unit
from flows.initialise import NewSession, initialise
from flows.plan import State, UnitPlan, make_plan
from flows.session import Session
from flows.stages import STAGES, Work, parse_detect_unit
from mocap.devices import DeviceChoice
from mocap.skeleton import COCO_17
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
