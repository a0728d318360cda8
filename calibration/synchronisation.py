"""When each camera exposes its frames, relative to the rig's common clock."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError, SettingsError

Array = NDArray[np.float64]


class SynchronisationMethod(enum.StrEnum):
    """Where the cameras' times come from.

    AUTO: from the motion in the take, where it shows beyond doubt that cameras were not genlocked.
    GENLOCKED: all cameras expose together.
    GIVEN: the user states each camera's offset.
    MOTION: from the motion in the take, whatever the evidence for an offset.
    """

    AUTO = "auto"
    GENLOCKED = "genlocked"
    GIVEN = "given"
    MOTION = "motion"


class CameraRefinement(enum.StrEnum):
    """Whether cameras that were nudged after calibration are turned back.

    AUTO: where the take itself shows it beyond doubt. ON: whatever the evidence. OFF: never.
    """

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True)
class SynchronisationSettings:
    """How the cameras' times are found, and whether their orientation is checked on the take."""

    method: SynchronisationMethod = SynchronisationMethod.AUTO
    """Where the times come from."""
    offsets_s: str = ""
    """Method given: "camera=seconds, camera=seconds"; how much later than frame / fps on the common
    clock a camera exposes its frames. Cameras that are not named have offset 0."""
    search_s: float = 10.0
    """Methods auto and motion: largest offset between two cameras that is looked for, s."""
    timestamps: str = ""
    """Methods auto and motion: CSV with the moment of every frame (docs/synchronisation.md), relative to the
    session folder or absolute; empty where there is none."""
    timecode: bool = True
    """Methods auto and motion: use the timecode that the video files carry."""
    sound: bool = True
    """Methods auto and motion: use the sound in the video files."""
    flash: bool = False
    """Methods auto and motion: use a flash of light that several cameras filmed. All videos are decoded once more."""
    refine_cameras: CameraRefinement = CameraRefinement.AUTO
    """Turn cameras back that were nudged after calibration (a fraction of a degree), found from the people
    in the take; what was done is logged with the error before and after."""

    def __post_init__(self) -> None:
        if self.refine_cameras not in list(CameraRefinement):
            raise SettingsError(
                "no such choice", expected=" | ".join(CameraRefinement), found=f"{self.refine_cameras}",
                where="synchronise.refine_cameras",
            )  # fmt: skip
        object.__setattr__(self, "refine_cameras", CameraRefinement(self.refine_cameras))
        if self.method not in list(SynchronisationMethod):
            raise SettingsError(
                "no such method", expected=" | ".join(SynchronisationMethod), found=f"{self.method}",
                where="synchronise.method",
            )  # fmt: skip
        object.__setattr__(self, "method", SynchronisationMethod(self.method))
        given = parse_offsets(self.offsets_s)
        if self.method is SynchronisationMethod.GIVEN and not given:
            raise SettingsError(
                "no offsets are given", expected='e.g. "left=0.012, right=-0.004" (seconds)',
                found=repr(self.offsets_s), where="synchronise.offsets_s",
            )  # fmt: skip
        if not (np.isfinite(self.search_s) and self.search_s > 0):
            raise SettingsError(
                "search_s is out of range", expected="a positive number of seconds", found=f"{self.search_s}",
                where="synchronise.search_s",
            )  # fmt: skip
        if self.method is not SynchronisationMethod.GIVEN and given:
            raise SettingsError(
                f"offsets are given though synchronise.method is {self.method.value}",
                where="synchronise.offsets_s",
                hint='set synchronise.method = "given", or leave the offsets out',
            )


def parse_offsets(text: str) -> dict[str, float]:
    """Offsets in seconds by camera name, from "camera=seconds, ...".

    Raises
    ------
    SettingsError
        Text of another form, or a camera named twice.
    """
    out: dict[str, float] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = (s.strip() for s in item.rpartition("="))
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if not name or not np.isfinite(value) or name in out:
            raise SettingsError(
                "cannot be read as offsets", expected='"camera=seconds, camera=seconds"', found=repr(item),
                where="synchronise.offsets_s",
            )  # fmt: skip
        out[name] = value
    return out


@dataclass(frozen=True)
class Gap:
    """Frames that a camera took no picture of, though its file goes on as if it had.

    Attributes
    ----------
    camera : int
        View.
    frame : int
        First stored frame behind the gap, as the file counts.
    missing : int
        How many are missing before it.
    """

    camera: int
    frame: int
    missing: int


@dataclass(frozen=True, eq=False)
class TimeModel:
    """When frames are exposed: camera v's frame f at (1 + drift[v]) f / (rate[v] fps) + offset_s[v].

    With a rolling shutter that is the picture's row 0; row y follows y * row_delay_s[v] later.

    Attributes
    ----------
    cameras : tuple of str
    offset_s : float64 [V]
        Seconds on the common clock; positive: the camera is late.
    drift : float64 [V]
        Relative excess length of the camera's second, dimensionless (1e-5 = 10 ppm).
    offset_std_s : float64 [V]
        Standard deviation of the offset, seconds; NaN where not known.
    method : str
        How this is known, in words.
    rate : float64 [V], optional
        Frames per second of each camera as a share of the session's; 1 unless given.
    drift_std : float64 [V], optional
        Standard deviation of the drift; NaN where not known.
    gaps : tuple of Gap
        A camera's frames behind one count as that many later.
    row_delay_s : float64 [V], optional
        Seconds from one row of the picture to the next, negative where it is read from below; 0 unless given.

    Raises
    ------
    CalibrationError
        Shapes that do not fit, non-finite offsets or row delays, a drift of more than 10 %, or no positive rate.
    """

    cameras: tuple[str, ...]
    offset_s: Array
    drift: Array
    offset_std_s: Array
    method: str
    rate: Array = field(default=None)  # type: ignore[arg-type]
    drift_std: Array = field(default=None)  # type: ignore[arg-type]
    gaps: tuple[Gap, ...] = ()
    row_delay_s: Array = field(default=None)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        object.__setattr__(self, "cameras", tuple(self.cameras))
        object.__setattr__(self, "gaps", tuple(sorted(self.gaps, key=lambda g: (g.camera, g.frame))))
        for name, usual in (("rate", 1.0), ("drift_std", np.nan), ("row_delay_s", 0.0)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.full(len(self.cameras), usual))
        for name in ("offset_s", "drift", "offset_std_s", "rate", "drift_std", "row_delay_s"):
            value = np.array(getattr(self, name), dtype=np.float64)
            if value.shape != (len(self.cameras),):
                raise CalibrationError(
                    f"{name} does not fit the cameras", expected=f"{len(self.cameras)} numbers",
                    found=f"shape {value.shape}", where="TimeModel",
                )  # fmt: skip
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        usable = np.isfinite([self.offset_s, self.row_delay_s]).all() and (np.abs(self.drift) < 0.1).all()
        if not (usable and np.isfinite(self.rate).all() and (self.rate > 0).all()):
            raise CalibrationError(
                "times that no camera has", expected="finite offsets, drift below 10 %, positive rates",
                found=f"offsets {self.offset_s}, drift {self.drift}, rates {self.rate}, row delays {self.row_delay_s}",
                where="TimeModel",
            )  # fmt: skip

    @staticmethod
    def genlocked(cameras: Sequence[str]) -> TimeModel:
        """All cameras expose together."""
        zero = np.zeros(len(cameras))
        return TimeModel(tuple(cameras), zero, zero, zero, "genlocked: stated, not measured")

    @property
    def is_identity(self) -> bool:
        """Whether all cameras expose at the common times, every row of them."""
        moved = self.offset_s.any() or self.drift.any() or self.row_delay_s.any()
        return not (moved or (self.rate != 1).any() or self.gaps)

    def counts(self, camera: int, frames: Array) -> Array:
        """What a camera's stored frame numbers would be had none been lost."""
        frames = np.asarray(frames, np.float64)
        lost = [g.missing * (frames >= g.frame) for g in self.gaps if g.camera == camera]
        return frames + sum(lost, np.zeros_like(frames))

    def stored(self, camera: int, counts: Array) -> Array:
        """The inverse of `counts`, NaN within a gap."""
        counts = np.asarray(counts, np.float64)
        out, lost = counts.copy(), 0
        for g in (g for g in self.gaps if g.camera == camera):
            # Between the last frame before the gap and the first behind it.
            within = (counts > g.frame + lost - 1) & (counts < g.frame + lost + g.missing)
            lost += g.missing
            out = np.where(within, np.nan, np.where(counts >= g.frame + lost, counts - lost, out))
        return out

    def exposure_times(self, camera: int, frames: Array, fps: float) -> Array:
        """Seconds on the common clock of a camera's frame numbers (may be fractional).

        `fps` is the session's; the camera's own follows from its rate.
        """
        own = self.counts(camera, frames) / (fps * self.rate[camera])
        return (1 + self.drift[camera]) * own + self.offset_s[camera]

    def counts_at(self, camera: int, times: Array, fps: float) -> Array:
        """Fractional counts (see `counts`) of a camera at times (seconds) of the common clock."""
        own = (np.asarray(times, np.float64) - self.offset_s[camera]) / (1 + self.drift[camera])
        return own * fps * self.rate[camera]

    def frames_at(self, camera: int, times: Array, fps: float) -> Array:
        """Fractional frame numbers of a camera at times (seconds) of the common clock; NaN within a gap."""
        return self.stored(camera, self.counts_at(camera, times, fps))

    def nearest_frames(self, camera: int, times: Array, fps: float) -> NDArray[np.int64]:
        """The frames of a camera nearest to times (seconds) of the common clock; -1, no picture, within a gap."""
        at = self.frames_at(camera, times, fps)
        return np.where(np.isfinite(at), np.round(at), -1).astype(np.int64)


def check_row_delay(camera: str, delay_s: float, height: int, fps: float) -> None:
    """Refuse a row delay that no camera has.

    Parameters
    ----------
    camera : str
    delay_s : float
        From one row to the next, s.
    height : int
        Rows of the picture.
    fps : float
        Frames per second of the camera.

    Raises
    ------
    SettingsError
        Not a number, or a frame would still be read when the next begins.
    """
    if not abs(delay_s) * height * fps <= 1:
        raise SettingsError(
            f"the row delay of camera {camera} is out of range",
            expected=f"seconds per row, at most {1 / (height * fps):.3g} ({height} rows within one frame)",
            found=f"{delay_s}", where="row_delay_s of its [[camera]] section",
            hint="the time in which the sensor is read, divided by the rows of the picture; 0 for a global shutter",
        )  # fmt: skip


def synchronise(cameras: Sequence[str], settings: SynchronisationSettings, rate: Array | None = None) -> TimeModel:
    """The cameras' times, as the settings state them.

    Parameters
    ----------
    cameras : sequence of str
        Names, in the order of the keypoints' views.
    settings : SynchronisationSettings
    rate : float64 [V], optional
        Frame rates as shares of the session's.

    Raises
    ------
    SettingsError
        An offset for a camera that does not exist.
    """
    if settings.method is not SynchronisationMethod.GIVEN:
        return TimeModel.genlocked(cameras)
    given = parse_offsets(settings.offsets_s)
    for name in given:
        if name not in cameras:
            near = difflib.get_close_matches(name, cameras, n=1)
            raise SettingsError(
                f"an offset for camera {name!r}, which is not there", expected=f"one of {', '.join(cameras)}",
                where="synchronise.offsets_s", hint=f"did you mean {near[0]!r}?" if near else None,
            )  # fmt: skip
    offsets = np.array([given.get(name, 0.0) for name in cameras])
    unknown = np.full(len(offsets), np.nan)
    return TimeModel(
        tuple(cameras), offsets, np.zeros(len(offsets)), unknown, "given by the user",
        np.ones(len(offsets)) if rate is None else rate,
    )  # fmt: skip
