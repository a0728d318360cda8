"""`mocap init`: what fits is written, what does not is one message and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibration.formats import read_rig, write_rig_toml
from flows.cache import Cache
from flows.clock_sources import stamps_file
from flows.initialise import NewSession, initialise, pair_cameras
from flows.plan import make_plan
from flows.session import Session
from mocap.errors import CalibrationError, DataError, MocapError, SessionError, SettingsError, VideoError
from mocap.synthetic.rig import ring_rig
from mocap.video import write_video


def make_video(path: Path, n_frames: int = 12, fps: float = 30.0, size: tuple[int, int] = (320, 240)) -> Path:
    """A moving grey gradient."""
    ramp = np.linspace(0, 200, size[0], dtype=np.uint8)
    frames = (
        np.broadcast_to(np.roll(ramp, 5 * i)[None, :, None], (size[1], size[0], 3)).copy() for i in range(n_frames)
    )
    write_video(path, frames, fps, size)
    return path


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    """Two videos and the rig that filmed them."""
    folder = tmp_path / "footage"
    folder.mkdir()
    rig = ring_rig(n_cameras=2, size=(320, 240), focal=300.0, seed=1)
    write_rig_toml(rig, tmp_path / "rig.toml")
    for name in rig.names:
        make_video(folder / f"{name}.mp4")
    return tmp_path


def new(footage: Path, **changes: object) -> NewSession:
    values: dict[str, object] = {
        "root": footage / "S", "videos": [footage / "footage"], "keypoints": None,
        "calibration": footage / "rig.toml", "fps": None,
    }  # fmt: skip
    return NewSession(**{**values, **changes})  # type: ignore[arg-type]


def refused(session: NewSession, error: type[MocapError], said: str) -> None:
    with pytest.raises(error, match=said):
        initialise(session)
    assert not session.root.exists()


def test_a_session_knows_its_footage(footage):
    entries = initialise(new(footage))
    session = Session(footage / "S")
    assert list(session.videos) == [e.name for e in entries]
    assert session.frame_range(entries[0].name) == (0, 12)
    assert session.fps == pytest.approx(30.0)
    with pytest.raises(SessionError, match="already"):
        initialise(new(footage))


def test_missing_damaged_and_unequal_videos_are_named(footage):
    first, second = sorted((footage / "footage").iterdir())
    refused(new(footage, videos=[first, footage / "footage" / "nothing.mp4"]), VideoError, "nothing.mp4")
    refused(new(footage, videos=[]), SessionError, "nothing to work on")
    refused(new(footage, videos=[footage]), VideoError, "no video in this folder")
    make_video(second, n_frames=15)
    refused(new(footage), VideoError, f"lengths(.|\n)*{second.stem}: 15")
    make_video(second, fps=25.0)
    refused(new(footage), VideoError, "frame rates")
    second.write_bytes(first.read_bytes()[: first.stat().st_size // 2])
    refused(new(footage), VideoError, second.name)


def test_calibration_must_fit_the_cameras(footage):
    refused(new(footage, calibration=None), CalibrationError, "no calibration was given")
    refused(new(footage, calibration=footage / "no.toml"), CalibrationError, "no such calibration")
    third = make_video(footage / "footage" / "extra.mp4")
    refused(new(footage), CalibrationError, "camera extra")
    third.unlink()
    turned = sorted((footage / "footage").iterdir())[0]
    make_video(turned, size=(240, 320))
    refused(new(footage), CalibrationError, "turned by 90")


def test_a_folder_with_one_calibration_is_enough(footage):
    folder = footage / "calibration"
    folder.mkdir()
    (folder / "board.toml").write_text("[board]\nkind = 'charuco'\n")
    write_rig_toml(read_rig(footage / "rig.toml"), folder / "rig.toml")
    initialise(new(footage, calibration=folder))
    write_rig_toml(read_rig(footage / "rig.toml"), folder / "rig2.toml")
    refused(new(footage, root=footage / "S2", calibration=folder), CalibrationError, "several")


def test_cameras_are_paired_by_name_else_by_number():
    rig = ring_rig(n_cameras=3, seed=1)
    names = rig.names
    assert pair_cameras(names[::-1], rig) == list(names[::-1])
    numbers = [int("".join(c for c in n if c.isdigit())) for n in names]
    assert pair_cameras([f"GoPro_{n:03d}" for n in numbers], rig) == list(names)
    with pytest.raises(CalibrationError, match="left"):
        pair_cameras(["left", "right"], rig)


def test_keypoint_files_are_checked(footage, keypoint_files):
    session = new(footage, videos=[], keypoints=footage / "none.npz", calibration=keypoint_files.rig)
    refused(session, DataError, "no such file")
    refused(new(footage, keypoints=keypoint_files.keypoints), SessionError, "both")


def test_time_stamps_beside_the_videos_are_taken(footage):
    (footage / "footage" / "timestamps.csv").write_text("cam_id,frame_index,frame_time\n")
    initialise(new(footage))
    session = Session(footage / "S")
    path = session.config.settings.synchronise.timestamps
    assert Path(path) == footage / "footage" / "timestamps.csv"
    assert stamps_file(session) == footage / "footage" / "timestamps.csv"
    (footage / "footage" / "timestamps.csv").unlink()
    said = r"synchronise\.timestamps names no file(?s:.*)timestamps\.csv(?s:.*)correct the path in session\.toml"
    with pytest.raises(SettingsError, match=said):
        make_plan(session, Cache(session.state, session.digests))
