"""Which files a session's clocks are read from."""

from types import SimpleNamespace

import numpy as np
import pytest

from calibration.formats import write_rig_toml
from flows.cache import Cache
from flows.clock_sources import clock_videos, recorded_clocks, row_delays
from flows.config import Assignment, Stage, assign
from flows.initialise import NewSession, initialise
from flows.plan import make_plan
from flows.session import Session
from flows.stages import ingredients
from mocap.errors import SettingsError
from mocap.synthetic.rig import ring_rig
from mocap.video import write_video

RIG = ring_rig(n_cameras=2, size=(96, 64), focal=300.0, seed=1)
NOTHING = {Stage.CALIBRATE: {}, Stage.DETECT: {}}


@pytest.fixture
def session(tmp_path):
    """Two cameras that filmed a lamp going on, the second from half a second later on."""
    write_rig_toml(RIG, tmp_path / "rig.toml")
    (tmp_path / "videos").mkdir()
    for name, lit in zip(RIG.names, (30, 18), strict=True):
        pictures = (np.full((64, 96, 3), 60 + 100 * (k >= lit), np.uint8) for k in range(50))
        write_video(tmp_path / "videos" / f"{name}.mp4", pictures, 25.0, (96, 64))
    initialise(NewSession(root=tmp_path / "S", videos=[tmp_path / "videos"], keypoints=None,
                          calibration=tmp_path / "rig.toml", fps=None))  # fmt: skip
    return Session(tmp_path / "S")


def test_a_flash_counts_only_where_asked_for(session):
    keypoints = SimpleNamespace(cameras=tuple(session.videos), fps=25.0)
    wanted = ["synchronise.timecode=false", "synchronise.sound=false"]
    file = session.root / "session.toml"
    assign(file, [Assignment.parse(w) for w in wanted])
    plain = Session(session.root)
    assert not clock_videos(plain)
    assert recorded_clocks(plain, keypoints, RIG, np.ones(2)).evidence == ()
    assign(file, [Assignment.parse("synchronise.flash=true")])
    asked = Session(session.root)
    assert clock_videos(asked)
    (found,) = recorded_clocks(asked, keypoints, RIG, np.ones(2)).evidence
    assert found.source == "flash"
    assert found.against(0)[0][1] == pytest.approx(0.48)
    # Time stamps tell that the second camera lost five frames before the lamp went on.
    rows = [(n, k, (k + 5 * (v == 1 and k >= 10)) / 25.0) for v, n in enumerate(session.videos) for k in range(50)]
    table = "\n".join(["cam_id,frame_index,frame_time", *(f"{n},{k},{t:.4f}" for n, k, t in rows)])
    (session.root / "stamps.csv").write_text(table + "\n")
    assign(file, [Assignment.parse("synchronise.timestamps=stamps.csv")])
    _stamps, found = recorded_clocks(Session(session.root), keypoints, RIG, np.ones(2)).evidence
    assert found.source == "flash"
    assert found.against(0)[0][1] == pytest.approx(0.48 - 5 / 25)


def with_delay(session, text):
    """The session with a row delay of its second camera."""
    file = session.root / "session.toml"
    head, _, last = file.read_text().rpartition("[[camera]]")
    file.write_text(f"{head}[[camera]]\nrow_delay_s = {text}{last}")
    return Session(session.root)


def test_row_delays_of_cameras(session):
    before = ingredients(session, Stage.SYNCHRONISE, "", NOTHING)
    slow = with_delay(session, "2e-5")
    second = list(slow.videos)[1]
    assert row_delays(slow)[second] == 2e-5
    assert ingredients(slow, Stage.SYNCHRONISE, "", NOTHING).settings == {
        **before.settings, f"row_delay_s {second}": 2e-5
    }  # fmt: skip
    keypoints = SimpleNamespace(cameras=tuple(slow.videos), fps=25.0)
    np.testing.assert_array_equal(recorded_clocks(slow, keypoints, RIG, np.ones(2)).row_delay_s, [0, 2e-5])


@pytest.mark.parametrize("text", ["1e-3", "nan", "-inf"])
def test_a_row_delay_that_no_camera_has_is_refused_first(session, text):
    with pytest.raises(SettingsError, match=r"row delay of camera(?s:.*)64 rows within one frame"):
        make_plan(with_delay(session, text), Cache(session.state, session.digests))
