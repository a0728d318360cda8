"""What was recorded beside the pictures of a session's clocks: which files are read for it, and what they say."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flows.session import Session
from mocap.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from calibration.camera import CameraRig
    from calibration.synchronisation import Gap
    from calibration.time_evidence import ClockEvidence
    from mocap.synchronisation.recorded import Recorded
    from mocap.types import Keypoints2D

log = logging.getLogger(__name__)


def recorded_clocks(session: Session, keypoints: Keypoints2D, rig: CameraRig, rates: NDArray[np.float64]) -> Recorded:
    """Time stamps, timecode, sound and a flash, as far as there are and the settings want them; row delays.

    Parameters
    ----------
    session : Session
    keypoints : Keypoints2D
        Their cameras and frame rate count.
    rig : CameraRig
        Of the same cameras.
    rates : float64 [V]
        Frame rates as shares of the keypoints' own.

    Raises
    ------
    SettingsError, DataError
        Time stamps that are not there or not understood.
    """
    import numpy as np

    from mocap.synchronisation.flash import offsets_from_flash, read_brightness
    from mocap.synchronisation.recorded import Recorded, read_timecode, read_timestamps
    from mocap.synchronisation.sound import offsets_from_sound, read_sound

    settings = session.config.settings.synchronise
    names = keypoints.cameras
    fps = keypoints.fps * rates
    found: list[ClockEvidence | None] = []
    gaps: tuple[Gap, ...] = ()
    if settings.timestamps:
        stamps, gaps = read_timestamps(stamps_file(session), names, fps)
        found.append(stamps)
    if clock_videos(session):
        videos = [session.videos[n] for n in names]
        if settings.timecode:
            found.append(read_timecode(videos, fps))
        if settings.sound:
            found.append(offsets_from_sound([read_sound(p) for p in videos], rig.centres, settings.search_s))
        if settings.flash:
            flash = offsets_from_flash([read_brightness(p) for p in videos], fps, settings.search_s, gaps)
            if flash is None:
                log.warning("synchronise.flash: no two cameras filmed one clear flash; it tells no times")
            found.append(flash)
    delays = row_delays(session)
    rows = np.array([delays[n] for n in names]) if any(delays.values()) else None
    return Recorded(tuple(f for f in found if f is not None), gaps, rows)


def stamps_file(session: Session) -> Path:
    """The table of time stamps that the settings name.

    Raises
    ------
    SettingsError
        It is not there.
    """
    named = session.config.settings.synchronise.timestamps
    path = session.resolve(named)
    if not path.is_file():
        raise SettingsError(
            "synchronise.timestamps names no file", found=named, where=str(path),
            expected="a CSV with the moment of every frame, its path relative to the session or absolute",
            hint='put the table there, correct the path in session.toml, or set synchronise.timestamps = "" to do '
            "without it (docs/synchronisation.md)",
        )  # fmt: skip
    return path


def row_delays(session: Session) -> dict[str, float]:
    """Seconds from one row to the next of each camera.

    Raises
    ------
    SettingsError
        One that no camera has (where the session has videos; else the stage itself says so).
    """
    from calibration.synchronisation import check_row_delay

    delays = {c.name: c.row_delay_s for c in session.config.cameras}
    for name, delay in delays.items():
        if delay and session.videos:
            check_row_delay(name, delay, session.footage[name].height, session.camera_fps(name))
    return delays


def check_clock_sources(session: Session) -> None:
    """Say what of the settings cannot be, before the videos are looked through.

    Raises
    ------
    SettingsError
        A table of time stamps that is not there, a row delay that no camera has.
    """
    if session.config.settings.synchronise.timestamps:
        stamps_file(session)
    row_delays(session)


def clock_videos(session: Session) -> bool:
    """Whether the synchronise stage reads the video files themselves."""
    from calibration.synchronisation import SynchronisationMethod

    settings = session.config.settings.synchronise
    looked = settings.method in (SynchronisationMethod.AUTO, SynchronisationMethod.MOTION)
    return bool(session.videos) and looked and (settings.timecode or settings.sound or settings.flash)
