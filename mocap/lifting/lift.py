"""`mocap lift`: windows of 2D keypoints of one view to metric 3D with uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError, WeightsError
from mocap.lifting.body import ASSUMED_SIZE
from mocap.lifting.inference import MeanNet
from mocap.lifting.normalise import normalise
from mocap.lifting.refine import refine
from mocap.lifting.root import place_root
from mocap.lifting.smoothing import Smoothed, smooth_window
from mocap.lifting.uncertainty import Evidence, pooled_intervals
from mocap.lifting.virtual_view import across_along, middle_rays, own_std, seen_only, to_camera
from mocap.lifting.weights import SHIPPED, Weights, read_weights
from mocap.skeleton import H36M_17
from mocap.storage.atomic import atomic_path
from mocap.storage.npz import read_npz

if TYPE_CHECKING:
    import torch


Array = NDArray[np.float64]
Numbers = NDArray[np.floating]

JOINTS, BONES = 17, 16
MIN_JOINTS = 4
"""Fewest joints seen in the middle frame for a pose."""
_ARRAYS = "keypoints [N,W,17,2] px, confidence [N,W,17], K [N,3,3] px, optional bone_lengths [N,16] m"
_PELVIS_STD = 1e-4  # the pelvis is the origin; not zero, so that dividing by it stays harmless
_BATCH = 4096
_SOMEWHERE = (0.0, 0.0, 5.0)  # metres: a start for people who are not placed, and whose poses nobody gets


@dataclass(frozen=True, eq=False)
class LiftedPoses:
    """3D of the middle frames.

    Attributes
    ----------
    positions : float64 [N, 17, 3]
        Metres, camera axes, relative to the pelvis; NaN where too little was seen.
    covariance : float64 [N, 17, 3, 3]
        Metres squared, camera axes: wider along the view than across it.
    std : float64 [N, 17]
        One number (m) per joint for all three axes: 68.3 % of the coordinates err by less.
    half_95 : float64 [N, 17]
        95 % of the coordinates err by less (m). More than 1.96 times `std`, because errors are larger
        along the view than across it; the covariance tells these apart.
    root : float64 [N, 3]
        The pelvis in camera axes, metres.
    root_covariance : float64 [N, 3, 3]
    """

    positions: Array
    covariance: Array
    std: Array
    half_95: Array
    root: Array
    root_covariance: Array


@dataclass(frozen=True, eq=False)
class Estimate:
    """Poses and what their uncertainty follows from, in the axes of the virtual camera.

    Attributes
    ----------
    positions : float64 [N, 17, 3]
        Metres, relative to the pelvis; meaningless where not found.
    root : float64 [N, 3], root_covariance : float64 [N, 3, 3]
        The pelvis, and its covariance.
    camera_from_virtual : float64 [N, 3, 3]
        Axes across (first two) and along the view.
    evidence : Evidence
    known : bool [N]
        Whether bone lengths were given.
    found : bool [N]
        Whether enough was seen; what does not is anything.
    """

    positions: Array
    root: Array
    root_covariance: Array
    camera_from_virtual: Array
    evidence: Evidence
    known: NDArray[np.bool_]
    found: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the network makes of windows and their mirror images, in the axes of the virtual camera.

    Attributes
    ----------
    positions : float64 [N, 17, 3]
        Mean of both, metres.
    std : float64 [N, 17, 2]
        Across and along the view, metres, calibrated.
    mirror : float64 [N, 17, 2]
        Half the difference of both.
    camera_from_virtual : float64 [N, 3, 3]
    """

    positions: Array
    std: Array
    mirror: Array
    camera_from_virtual: Array


class Lifter:
    """A loaded network on a device.

    Parameters
    ----------
    weights : Path or Weights
    device : torch.device, optional
        CPU when None.

    Raises
    ------
    WeightsError
        Weights that are missing, damaged or of another network.
    """

    def __init__(self, weights: Path | Weights = SHIPPED, device: torch.device | None = None) -> None:
        content = weights if isinstance(weights, Weights) else read_weights(weights)
        scales = content.calibration.guessed, content.calibration.known
        self._own = np.array([(s.across, s.along) for s in scales])
        self._weights = np.array([(s.across_weights, s.along_weights) for s in scales])
        self._joint = np.array([(s.joint, s.joint_95) for s in scales])
        self._coupling: Array = np.linalg.inv(content.correlation.astype(np.float64))
        self.window = content.network.window
        try:
            self.net = MeanNet.of(content)
        except WeightsError as error:
            where = str(weights) if isinstance(weights, Path) else None
            raise WeightsError(
                error.problem, expected=error.expected, found=error.found, where=where, hint=error.hint
            ) from error
        if device is not None and device.type != "cpu":
            from mocap.lifting.network import OnDevice

            self.net = MeanNet.of(content, lambda member: OnDevice(member, device))

    def lift(self, rays: Array, confidence: Array, bone_lengths: Array | None = None) -> LiftedPoses:
        """Lift windows of undistorted rays: network, root placement, refinement.

        Parameters
        ----------
        rays : [N, W, 17, 2]
            x/z, y/z; NaN where not seen. W frames at 25 to 50 per second, the wanted one at W // 2.
        confidence : [N, W, 17]
            0..1.
        bone_lengths : [N, 16], optional
            Metres; a row with a NaN counts as not known.
        """
        parts = [
            self._lift(rays[s : s + _BATCH], confidence[s : s + _BATCH],
                       None if bone_lengths is None else bone_lengths[s : s + _BATCH])
            for s in range(0, len(rays), _BATCH)
        ]  # fmt: skip
        if not parts:
            shapes = ((0, JOINTS, 3), (0, JOINTS, 3, 3), (0, JOINTS), (0, JOINTS), (0, 3), (0, 3, 3))
            return LiftedPoses(*(np.zeros(s) for s in shapes))
        if len(parts) == 1:
            return parts[0]
        fields = ("positions", "covariance", "std", "half_95", "root", "root_covariance")
        return LiftedPoses(*(np.concatenate([getattr(p, f) for p in parts]) for f in fields))

    def _lift(self, rays: Array, confidence: Array, bone_lengths: Array | None) -> LiftedPoses:
        estimate = self.estimate(rays, confidence, bone_lengths)
        known, found, turn = estimate.known.astype(int), estimate.found, estimate.camera_from_virtual
        std = estimate.evidence.std(self._weights[known])
        inner, outer = (f[:, None] * half for f, half in zip(self._joint[known].T, pooled_intervals(std), strict=True))
        std[:, 0] = inner[:, 0] = outer[:, 0] = _PELVIS_STD
        positions, covariance = to_camera(turn, estimate.positions, std, found)
        root = (turn @ estimate.root[..., None])[..., 0]
        root_covariance = turn @ estimate.root_covariance @ turn.transpose(0, 2, 1)
        if not found.all():
            for result in (inner, outer, root, root_covariance):
                result[~found] = np.nan
        return LiftedPoses(positions, covariance, inner, outer, root, root_covariance)

    def estimate(self, rays: Array, confidence: Array, bone_lengths: Array | None) -> Estimate:
        """Poses of one batch of windows (see `lift`) and what is known of their errors."""
        if bone_lengths is None:
            bone_lengths = np.full((len(rays), BONES), np.nan)
        smooth, seen, confidence = self._smooth(rays, confidence)
        net = self.predict(smooth.rays * seen[..., None], confidence, bone_lengths, smooth.std)
        p, turn = net.positions, net.camera_from_virtual
        middle, noise, weight = middle_rays(smooth.middle, smooth.std, confidence, turn)
        root, root_covariance = place_root(p, middle, weight, net.std[..., 0])
        placed = np.atleast_1d(np.isfinite(root).all(axis=-1))
        root[~placed] = _SOMEWHERE
        refined = refine(p, net.std, self._coupling, root, middle, noise, bone_lengths)
        evidence = Evidence(
            net.std, own_std(refined.covariance), net.mirror, across_along(refined.positions - p), noise
        )  # fmt: skip
        known = np.atleast_1d(np.isfinite(bone_lengths).all(axis=-1))
        found = placed & (np.count_nonzero(seen[:, self.window // 2], axis=-1) >= MIN_JOINTS)
        return Estimate(refined.positions, refined.root, root_covariance, turn, evidence, known, found)

    def _smooth(self, rays: Array, confidence: Array) -> tuple[Smoothed, NDArray[np.bool_], Array]:
        """The network's window without noise, what of it was seen, and its confidence."""
        rays, confidence = _fit_window(rays, confidence, self.window)
        rays, confidence, seen = seen_only(rays, confidence)
        return smooth_window(rays, confidence), seen, confidence

    def predict(self, rays: Numbers, confidence: Numbers, bone_lengths: Array, ray_std: Numbers) -> Prediction:
        """Of smoothed windows [N, W, 17, 2], 0 where not seen; rows of bone lengths with a NaN are not known.

        `ray_std` [N, 17] is that of the middle frame, infinite where not seen.
        """
        known = np.atleast_1d(np.isfinite(bone_lengths).all(axis=-1))
        bones = np.where(known[:, None], bone_lengths, 0.0)
        window = normalise(rays, confidence, bones, known, ray_std)
        positions, log_std, mirror = self.net(window)
        size = np.where(known, 1.0, ASSUMED_SIZE)[:, None, None]
        std = size * self._own[known.astype(int), None] * np.exp(log_std)
        return Prediction(size * positions, std, size * mirror, window.camera_from_virtual.astype(float))


def _fit_window(rays: Array, confidence: Array, window: int) -> tuple[Array, Array]:
    """Cut or pad (with missing frames) to `window` frames about the middle one."""
    frames, half = rays.shape[1], window // 2
    if frames == window:
        return rays, confidence
    rows = frames // 2 + np.arange(-half, half + 1)
    inside = (rows >= 0) & (rows < frames)
    rows = np.clip(rows, 0, frames - 1)
    return rays[:, rows], np.where(inside[None, :, None], confidence[:, rows], 0.0)


def lift_windows(
    keypoints: Numbers,
    confidence: Numbers,
    K: Numbers,
    bone_lengths: Numbers | None = None,
    lifter: Lifter | None = None,
) -> LiftedPoses:
    """Lift windows of 2D keypoints of one view (H36M-17).

    Parameters
    ----------
    keypoints : [N, W, 17, 2]
        Undistorted image coordinates, px; NaN where missing.
    confidence : [N, W, 17]
        0..1; 0 where missing.
    K : [N, 3, 3]
        Intrinsic matrices, px.
    bone_lengths : [N, 16], optional
        Metres, in the order of `H36M_17.bones`; a row with a NaN counts as not known.
    lifter : Lifter, optional
        The shipped one on the CPU when None.

    Returns
    -------
    LiftedPoses
        NaN where fewer than `MIN_JOINTS` joints of the middle frame (W // 2) are seen.

    Raises
    ------
    DataError
        Another skeleton, an empty window, no usable intrinsics, or arrays that do not fit.
    WeightsError
        The shipped weights are missing or damaged.
    """
    pixels, weights, matrices = (np.asarray(a, np.float64) for a in (keypoints, confidence, K))
    bones = None if bone_lengths is None else np.asarray(bone_lengths, np.float64)
    _check(pixels, weights, matrices, bones)
    focal, centre = matrices[:, None, None, [0, 1], [0, 1]], matrices[:, None, None, :2, 2]
    with np.errstate(invalid="ignore"):
        rays = (pixels - centre) / focal
        rays[..., 0] -= matrices[:, None, None, 0, 1] / focal[..., 0] * rays[..., 1]  # skew
    return (lifter or Lifter()).lift(rays, weights, bones)


def _check(keypoints: Array, confidence: Array, K: Array, bones: Array | None) -> None:
    def wrong(problem: str, expected: str, found: str, hint: str | None = None) -> DataError:
        return DataError(problem, expected=expected, found=found, where="lift", hint=hint)

    if keypoints.ndim != 4 or keypoints.shape[2:] != (JOINTS, 2):
        raise wrong(
            "keypoints of another skeleton or layout", "[N, W, 17, 2] (H36M-17)", f"{keypoints.shape}",
            "map the joints with mocap.skeleton.joint_map",
        )  # fmt: skip
    n, frames = keypoints.shape[:2]
    if frames == 0:
        raise wrong("the window is too short", "at least 1 frame, best 27", "0 frames")
    if confidence.shape != keypoints.shape[:3]:
        raise wrong("confidence does not fit", f"{keypoints.shape[:3]}", f"{confidence.shape}")
    seen = confidence[np.isfinite(confidence)]
    if seen.size and (seen.min() < 0 or seen.max() > 1 + 1e-6):
        raise wrong("confidence is out of range", "0..1", f"{seen.min():g}..{seen.max():g}")
    if K.shape != (n, 3, 3):
        raise wrong("intrinsics do not fit", f"{(n, 3, 3)}", f"{K.shape}", "give one matrix per window")
    usable = np.isfinite(K).all((1, 2)) & (K[:, 0, 0] > 0) & (K[:, 1, 1] > 0)
    if not usable.all():
        raise wrong(
            "no usable intrinsics", "finite matrices with positive focal lengths",
            f"{np.count_nonzero(~usable)} of {n} are not, first at {int(np.argmin(usable))}", "calibrate the camera",
        )  # fmt: skip
    if bones is not None and bones.shape != (n, BONES):
        raise wrong("bone lengths do not fit", f"{(n, BONES)}", f"{bones.shape}")
    if bones is not None and ((bones <= 0) | (bones > 2)).any():
        raise wrong("bone lengths are out of range", "metres, 0..2", f"{np.nanmin(bones):g}..{np.nanmax(bones):g}")


def lift_file(source: Path, target: Path, device: torch.device | None = None, weights: Path = SHIPPED) -> None:
    """`mocap lift`: read windows (.npz), write `positions`, `std`, `half_95`, `root`.

    Raises
    ------
    DataError
        A file that cannot be read, lacks arrays, or whose arrays do not fit.
    WeightsError, StorageError
    """
    arrays = _read(Path(source))
    try:
        poses = lift_windows(
            arrays["keypoints"], arrays["confidence"], arrays["K"], arrays.get("bone_lengths"), Lifter(weights, device)
        )
    except DataError as error:
        raise DataError(error.problem, expected=error.expected, found=error.found,
                        where=str(source), hint=error.hint) from error  # fmt: skip
    with atomic_path(Path(target)) as path, path.open("wb") as file:
        np.savez(
            file,
            positions=poses.positions.astype(np.float32),
            std=poses.std.astype(np.float32),
            half_95=poses.half_95.astype(np.float32),
            root=poses.root.astype(np.float32),
            joint_names=np.array(H36M_17.joints),
        )


def _read(path: Path) -> dict[str, NDArray[np.floating]]:
    known = ("keypoints", "confidence", "K", "bone_lengths")
    arrays = {n: a for n, a in read_npz(path, _ARRAYS).items() if n in known}
    missing = [n for n in ("keypoints", "confidence", "K") if n not in arrays]
    if missing:
        raise DataError(
            f"the file lacks {', '.join(missing)}", expected=_ARRAYS, found=", ".join(arrays) or "none of them",
            where=str(path), hint="lifting needs the camera's intrinsics" if "K" in missing else None,
        )  # fmt: skip
    wrong = [n for n, a in arrays.items() if a.dtype.kind not in "fiu"]
    if wrong:
        raise DataError(f"{', '.join(wrong)}: not numbers", expected=_ARRAYS, where=str(path))
    return arrays
