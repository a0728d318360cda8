"""Cameras that run each for itself, and shutters that roll: when each joint is seen, and where it is then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.projection import Lenses, project
from mocap.errors import SettingsError

Array = NDArray[np.float64]

# A joint's row changes by far less than a row per row read, so that each step gains several digits.
_STEPS = 12


@dataclass(frozen=True)
class CameraClock:
    """When a camera exposes: row r of frame i at offset_s + (1 + drift) i / fps + r / height readout_s, scene time."""

    fps: float = 30.0
    offset_s: float = 0.0
    """Scene time of the first row of frame 0, s."""
    drift: float = 0.0
    """Relative error of the frame rate: 5e-5 is 50 ppm slow."""
    readout_s: float = 0.0
    """From the first row to the last, s; 0 is a global shutter. Phones and webcams: 10 to 30 ms."""

    def __post_init__(self) -> None:
        usable = np.isfinite([self.fps, self.offset_s, self.drift, self.readout_s]).all()
        if not usable or self.fps <= 0 or abs(self.drift) >= 0.5 or not 0 <= self.readout_s <= 1 / self.fps:
            raise SettingsError(
                "no camera runs like this", expected="fps > 0, |drift| < 0.5, readout_s between 0 and 1 / fps",
                found=f"{self}", where="CameraClock",
            )  # fmt: skip

    def frame_times(self, frames: NDArray[np.int64]) -> Array:
        """Scene time of the first row of frames [T], s."""
        return np.asarray(self.offset_s + (1 + self.drift) * frames / self.fps, np.float64)


def random_clocks(
    cameras: int, *, fps: tuple[float, ...] = (60.0,), offset_s: float = 0.0, drift_ppm: float = 0.0,
    readout_s: float = 0.0, seed: int = 0,
) -> tuple[CameraClock, ...]:  # fmt: skip
    """Clocks of a rig: the first camera's is the scene's own, the others' are drawn.

    Parameters
    ----------
    cameras : int
    fps : tuple of float
        Frame rates, dealt to the cameras in turn.
    offset_s, drift_ppm : float
        Largest start and rate error of the others, either way.
    readout_s : float
        Of all.
    seed : int
    """
    rng = np.random.default_rng([seed, cameras, 17])
    offsets, drifts = rng.uniform(-offset_s, offset_s, cameras), 1e-6 * rng.uniform(-drift_ppm, drift_ppm, cameras)
    offsets[0] = drifts[0] = 0.0
    return tuple(
        CameraClock(fps[v % len(fps)], float(offsets[v]), float(drifts[v]), readout_s) for v in range(cameras)
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class SceneCurve:
    """Motion between its samples: a cubic through them (Catmull-Rom), which is the truth at any time.

    Attributes
    ----------
    samples : float64 [T, P, J, 3], metres
        NaN where somebody is away; the curve is NaN near it.
    fps : float
        Of the samples; sample 0 is at `start_s`.
    start_s : float
        Scene time of the first sample.
    """

    samples: Array
    fps: float
    start_s: float = 0.0

    @property
    def end_s(self) -> float:
        """Scene time of the last sample."""
        return self.start_s + (len(self.samples) - 1) / self.fps

    def at(self, times: Array) -> Array:
        """Positions [..., P, J, 3] at scene times [..., P, J] (or any shape that broadcasts to it), metres.

        NaN outside the samples.
        """
        P, J = self.samples.shape[1:3]
        times = np.broadcast_to(times, np.broadcast_shapes(np.shape(times), (P, J)))
        place = (times - self.start_s) * self.fps
        # At a sample the curve is the sample, whatever is known beside it.
        near = np.round(place)
        place = np.where(np.abs(place - near) < 1e-9, near, place)
        last = len(self.samples) - 1
        row = np.clip(np.floor(np.nan_to_num(place)), 0, max(last - 1, 0)).astype(np.int64)
        u = (place - row)[..., None]
        p, j = np.arange(P)[:, None], np.arange(J)
        before, a, b, after = (self.samples[np.clip(row + k, 0, last), p, j] for k in (-1, 0, 1, 2))
        # At the ends the neighbour that is missing goes on in a straight line.
        before = np.where((row == 0)[..., None], 2 * a - b, before)
        after = np.where((row + 2 > last)[..., None], 2 * b - a, after)
        m0, m1 = (b - before) / 2, (after - a) / 2
        value = a + u * (m0 + u * (3 * (b - a) - 2 * m0 - m1 + u * (2 * (a - b) + m0 + m1)))
        value = np.where(u == 0, a, value)
        inside = (place >= -1e-9) & (place <= last + 1e-9)
        return np.where(inside[..., None], value, np.nan)


@dataclass(frozen=True, eq=False)
class CameraView:
    """What one camera would see without any error.

    Attributes
    ----------
    pixels : float64 [T, P, J, 2]
        Raw (distorted) image.
    times : float64 [T, P, J]
        Scene time at which each joint's row was read, s.
    positions : float64 [T, P, J, 3]
        Where it was then, world, metres.
    """

    pixels: Array
    times: Array
    positions: Array


def film(curve: SceneCurve, rig: CameraRig, clocks: tuple[CameraClock, ...], frames: int = 0) -> list[CameraView]:
    """The exact view of every camera, each at its own times.

    A joint is seen when its row is read: the time t solves t = start + readout * y(X(t)) / height, found by
    fixed-point iteration. Rows outside the picture count as its edge.

    Parameters
    ----------
    curve : SceneCurve
    rig : CameraRig
    clocks : tuple of CameraClock, one per camera
    frames : int
        Of every camera; as many as fit the curve unless given.

    Raises
    ------
    SettingsError
        Another number of clocks than cameras, or no frame of a camera within the curve.
    """
    if len(clocks) != len(rig):
        raise SettingsError("a clock per camera", expected=f"{len(rig)}", found=f"{len(clocks)}", where="film")
    views = []
    for camera, clock in zip(rig.cameras, clocks, strict=True):
        lens = Lenses.of(CameraRig((camera,)))
        count = frames or int((curve.end_s - clock.offset_s - clock.readout_s) * clock.fps / (1 + clock.drift)) + 1
        start = clock.frame_times(np.arange(max(count, 0)))
        if count < 1 or start[0] > curve.end_s:
            raise SettingsError("a camera films nothing", expected=f"a start before {curve.end_s:g} s",
                                found=f"{clock.offset_s:g} s", where=camera.name)  # fmt: skip
        height = camera.size[1]
        times = np.broadcast_to(start[:, None, None], (len(start), *curve.samples.shape[1:3])).copy()
        for _ in range(_STEPS if clock.readout_s else 1):
            positions = curve.at(times)
            pixels = project(lens, positions)[0]
            if clock.readout_s:
                row = np.clip(np.where(np.isfinite(pixels[..., 1]), pixels[..., 1], height / 2), 0, height - 1)
                times = start[:, None, None] + clock.readout_s * row / height
        positions = curve.at(times)
        views.append(CameraView(project(lens, positions)[0], times, positions))
    return views
