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
    """Time stamps, timecode, sound and a flash, as far as there are and the settings want them.

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
            flash = offsets_from_flash([read_brightness(p) for p in videos], fps, settings.search_s)
            if flash is None:
                log.warning("synchronise.flash: no two cameras filmed one clear flash; it tells no times")
            found.append(flash)
    return Recorded(tuple(f for f in found if f is not None), gaps)


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


def clock_videos(session: Session) -> bool:
    """Whether the synchronise stage reads the video files themselves."""
    from calibration.synchronisation import SynchronisationMethod

    settings = session.config.settings.synchronise
    looked = settings.method in (SynchronisationMethod.AUTO, SynchronisationMethod.MOTION)
    return bool(session.videos) and looked and (settings.timecode or settings.sound or settings.flash)
