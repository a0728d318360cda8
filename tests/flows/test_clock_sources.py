"""Which files a session's clocks are read from."""

from types import SimpleNamespace

import numpy as np
import pytest

from calibration.formats import write_rig_toml
from flows.clock_sources import clock_videos, recorded_clocks
from flows.config import Assignment, assign
from flows.initialise import NewSession, initialise
from flows.session import Session
from mocap.synthetic.rig import ring_rig
from mocap.video import write_video


@pytest.fixture
def session(tmp_path):
    """Two cameras that filmed a lamp going on, the second from half a second later on."""
    rig = ring_rig(n_cameras=2, size=(96, 64), focal=300.0, seed=1)
    write_rig_toml(rig, tmp_path / "rig.toml")
    (tmp_path / "videos").mkdir()
    for name, lit in zip(rig.names, (30, 18), strict=True):
        pictures = (np.full((64, 96, 3), 60 + 100 * (k >= lit), np.uint8) for k in range(50))
        write_video(tmp_path / "videos" / f"{name}.mp4", pictures, 25.0, (96, 64))
    initialise(NewSession(root=tmp_path / "S", videos=[tmp_path / "videos"], keypoints=None,
                          calibration=tmp_path / "rig.toml", fps=None))  # fmt: skip
    return Session(tmp_path / "S")


def test_a_flash_counts_only_where_asked_for(session):
    keypoints = SimpleNamespace(cameras=tuple(session.videos), fps=25.0)
    rig = ring_rig(n_cameras=2, size=(96, 64), focal=300.0, seed=1)
    wanted = ["synchronise.timecode=false", "synchronise.sound=false"]
    file = session.root / "session.toml"
    assign(file, [Assignment.parse(w) for w in wanted])
    plain = Session(session.root)
    assert not clock_videos(plain)
    assert recorded_clocks(plain, keypoints, rig, np.ones(2)).evidence == ()
    assign(file, [Assignment.parse("synchronise.flash=true")])
    asked = Session(session.root)
    assert clock_videos(asked)
    (found,) = recorded_clocks(asked, keypoints, rig, np.ones(2)).evidence
    assert found.source == "flash"
    assert found.against(0)[0][1] == pytest.approx(0.48)
