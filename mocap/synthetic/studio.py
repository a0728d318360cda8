"""A whole made-up take from one seed: people and bystanders, any rig, lens, clocks, detector; with exact truth."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from mocap.errors import SettingsError
from mocap.skeleton import COCO_17, Skeleton
from mocap.synthetic.channels import MotionKind
from mocap.synthetic.clocks import CameraClock, CameraView, SceneCurve, film, random_clocks
from mocap.synthetic.motion import procedural_motion, truth_positions
from mocap.synthetic.noise import NoiseSettings, Observation, observe_pixels
from mocap.synthetic.occlusion import hidden_joints
from mocap.synthetic.retarget import read_recording
from mocap.synthetic.rig import ring_rig
from mocap.types import Keypoints2D

Array = NDArray[np.float64]

# The scene is made at this many samples per second where cameras film at times of their own.
_FINE_FPS = 240.0

# Bystanders walk on a ring this part of the cameras' away from the middle.
_AWAY = (0.6, 0.75)


@dataclass(frozen=True)
class StudioSettings:
    """A take. The defaults: one person among four genlocked cameras, seen by a good detector."""

    seconds: float = 10.0
    fps: float = 60.0
    people: int = 1
    """Performers."""
    bystanders: int = 0
    """People who walk about near the cameras and are nobody's concern: seen, true, not to be captured."""
    kind: MotionKind = MotionKind.TAKE
    recording: Path | None = None
    """BVH or HDF5 that the first performer follows instead of `kind`; the take is no longer than it."""
    sequence: int = 0
    """Of an HDF5 recording with several."""
    cameras: int = 4
    radius_m: float = 4.0
    size: tuple[int, int] = (1080, 1080)
    focal_px: float = 1100.0
    distortion: float = 1.0
    """Strength of the lenses' distortion: 1 is a usual C-mount lens, 0 none."""
    rates: tuple[float, ...] = ()
    """Frame rates dealt to the cameras in turn; `fps` for all unless given."""
    offset_s: float = 0.0
    """Cameras start up to so much earlier or later than the first, s."""
    drift_ppm: float = 0.0
    """Frame rates are wrong by up to so many millionths; the first camera's is right."""
    readout_s: float = 0.0
    """Rolling shutter: from the first row to the last, s."""
    skeleton: Skeleton = COCO_17
    noise: NoiseSettings = field(default_factory=NoiseSettings)

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and self.fps > 0 and self.people >= 1 and self.bystanders >= 0 and self.cameras >= 1):
            raise SettingsError("no such take", expected="positive length, rate, people and cameras", found=f"{self}",
                                where="StudioSettings")  # fmt: skip

    @property
    def genlocked(self) -> bool:
        """Whether all cameras expose at frame / fps of the scene."""
        return not (self.rates or self.offset_s or self.drift_ppm or self.readout_s)


@dataclass(frozen=True, eq=False)
class StudioTake:
    """A take and its truth.

    Attributes
    ----------
    rig : CameraRig
    truth : float64 [T, P, J, 3], metres
        World, at frame / fps of the scene: what a perfect system returns. Performers first, then bystanders.
    performer : bool [P]
    curve : SceneCurve
        The truth at any time.
    clocks : tuple of CameraClock [V]
    views : tuple of CameraView [V]
        Exact pixels, their times and where the joints were then.
    observations : tuple of Observation [V]
        What the detector made of each camera (one view each), at the camera's own frames and rate.
    fps : float
        Of `truth`.
    joint_names : tuple of str [J]
    """

    rig: CameraRig
    truth: Array
    performer: NDArray[np.bool_]
    curve: SceneCurve
    clocks: tuple[CameraClock, ...]
    views: tuple[CameraView, ...]
    observations: tuple[Observation, ...]
    fps: float
    joint_names: tuple[str, ...]

    def keypoints(self) -> Keypoints2D:
        """All cameras side by side as their files would be: frame i of each, whenever that was.

        Raises
        ------
        SettingsError
            Cameras of different frame rates: each is a file of its own, `observations[v].keypoints`.
        """
        parts = [o.keypoints for o in self.observations]
        if len({k.fps for k in parts}) > 1:
            raise SettingsError(
                "cameras of different rates have no common frames", expected="one rate",
                found=", ".join(f"{k.fps:g}" for k in parts), where="StudioTake.keypoints",
            )  # fmt: skip
        frames, slots = min(len(k.frames) for k in parts), max(k.confidence.shape[2] for k in parts)

        def side_by_side(name: str, fill: float) -> NDArray[np.float32]:
            arrays = [np.asarray(getattr(k, name))[:, :frames] for k in parts]
            wide = [(0, 0), (0, 0), (0, 0), (0, 0), (0, 0)]
            padded = []
            for a in arrays:
                wide[2] = (0, slots - a.shape[2])
                padded.append(np.pad(a, wide[: a.ndim], constant_values=fill))
            return np.concatenate(padded)

        return replace(
            parts[0], keypoints=side_by_side("keypoints", np.nan), confidence=side_by_side("confidence", 0.0),
            uncertainty=side_by_side("uncertainty", np.nan), frames=np.arange(frames), cameras=self.rig.names,
        )  # fmt: skip


def make_take(settings: StudioSettings | None = None, seed: int = 0) -> StudioTake:
    """A take from its settings and one seed: the same again for the same.

    Raises
    ------
    SettingsError, DataError
        Settings that make no take, or a recording that cannot be read.
    """
    s = settings or StudioSettings()
    rig = ring_rig(s.cameras, radius=s.radius_m, size=s.size, focal=s.focal_px, distortion=s.distortion, seed=seed)
    clocks = random_clocks(
        s.cameras, fps=s.rates or (s.fps,), offset_s=s.offset_s, drift_ppm=s.drift_ppm, readout_s=s.readout_s, seed=seed
    )
    lead = max(0.0, -min(c.offset_s for c in clocks))
    tail = max(0.0, *(c.offset_s + c.readout_s + abs(c.drift) * s.seconds for c in clocks)) + 2 / s.fps
    curve = _scene(s, seed, lead, tail)
    seconds = min(s.seconds, curve.end_s - tail + 2 / s.fps)
    truth = curve.at((np.arange(round(seconds * s.fps)) / s.fps)[:, None, None])
    views, observations = [], []
    for v, (camera, clock) in enumerate(zip(rig.cameras, clocks, strict=True)):
        one = CameraRig((camera,))
        frames = np.arange(round(seconds * clock.fps))
        view = film(curve, one, (clock,), len(frames))[0]
        hidden = hidden_joints(view.positions, one, s.skeleton) if s.noise.occlusion else None
        views.append(view)
        observations.append(observe_pixels(
            view.pixels[None], one, s.noise, [seed, v], joint_names=s.skeleton.joints, fps=clock.fps, frames=frames,
            hidden=hidden,
        ))  # fmt: skip
    performer = np.arange(truth.shape[1]) < s.people
    return StudioTake(
        rig, truth, performer, curve, clocks, tuple(views), tuple(observations), s.fps, s.skeleton.joints
    )  # fmt: skip


def _scene(s: StudioSettings, seed: int, lead: float, tail: float) -> SceneCurve:
    """Performers and bystanders from `lead` s before scene time 0 to `tail` s after its end."""
    fps = s.fps if s.genlocked else max(_FINE_FPS, s.fps)
    before = int(np.ceil(lead * fps))
    length = before + int(np.ceil((s.seconds + tail) * fps)) + 1
    parts = []
    if s.recording is not None:
        recorded = read_recording(s.recording, s.sequence)
        curve = SceneCurve(truth_positions(recorded, s.skeleton), recorded.fps)
        length = min(length, int(curve.end_s * fps) + 1)
        followed = curve.at((np.arange(length) / fps)[:, None, None])
        followed[..., :2] -= np.nanmean(followed[..., :2], axis=(0, 1, 2))
        parts.append(followed)
    procedural = s.people - len(parts)
    if procedural:
        motion = procedural_motion(length, fps, seed, s.kind, n_people=procedural)
        made = truth_positions(motion, s.skeleton)
        if parts:  # beside the one who follows the recording
            made[..., 0] += 1.5
        parts.append(made)
    for b in range(s.bystanders):
        rng = np.random.default_rng([seed, b, 23])
        motion = procedural_motion(length, fps, seed + 1000 + b, MotionKind.WALK)
        angle, away = rng.uniform(0, 2 * np.pi), s.radius_m * rng.uniform(*_AWAY)
        walker = truth_positions(motion, s.skeleton)
        walker[..., :2] += away * np.array([np.cos(angle), np.sin(angle)])
        parts.append(walker)
    return SceneCurve(np.concatenate(parts, 1), fps, -before / fps)
