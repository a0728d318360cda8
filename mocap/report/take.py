"""What a report is about: a session's results, read once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from mocap.errors import DataError
from mocap.storage.alignment_record import AlignmentRecord
from mocap.types import Matches, SkeletalMotion, Trajectories3D


@dataclass(frozen=True)
class StageRun:
    """How one stage went.

    Attributes
    ----------
    stage, state : str
        `state` is "up to date", or why it is not.
    parts : int
        Units it was worked on in.
    seconds, megabytes : float
        Of all parts together.
    made_at : str
        When the last part was made; empty where nothing was.
    settings : tuple of (name, value)
        That went into its content key.
    """

    stage: str
    state: str
    parts: int
    seconds: float
    megabytes: float
    made_at: str
    settings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class Take:
    """Results of one session.

    Attributes
    ----------
    name : str
    detected : bool [V, T]
        Whether the detector found anybody, per camera and frame of `matches`.
    matches : Matches
    rig : CameraRig
        The cameras of `matches`, in their order, as they stood during the take.
    raw, filtered : Trajectories3D
        Before and after smoothing, of the same frames and persons as `matches`.
    alignment : AlignmentRecord or None
    motion : SkeletalMotion or None
    calibration : str
        Quality report of a calibration from footage (JSON), empty where there is none.
    stages : tuple of StageRun
    warnings : tuple of str
        Of the last run.

    Raises
    ------
    DataError
        The records do not belong together.
    """

    name: str
    detected: NDArray[np.bool_]
    matches: Matches
    rig: CameraRig
    raw: Trajectories3D
    filtered: Trajectories3D
    alignment: AlignmentRecord | None = None
    motion: SkeletalMotion | None = None
    calibration: str = ""
    stages: tuple[StageRun, ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        m = self.matches
        shape = (len(m.frames), len(m.person_ids), len(m.joint_names))
        fits = (
            self.detected.shape == (len(m.cameras), len(m.frames))
            and self.rig.names == m.cameras
            and all(x.source.shape == shape and (x.frames == m.frames).all() for x in (self.raw, self.filtered))
        )
        if not fits:
            raise DataError(
                "the results of the stages do not belong together", expected="the same cameras, frames and persons",
                where=self.name, hint="bring the session up to date with `mocap run` and ask again",
            )  # fmt: skip
