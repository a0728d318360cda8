"""How good a take is, as numbers: per camera, per joint, per person, over time."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from calibration.projection import Lenses, project
from mocap.errors import DataError
from mocap.matching.summary import repairs
from mocap.metrics.limbs import limb_spread
from mocap.report.take import Take
from mocap.skeleton import identify
from mocap.types import Source

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

_CHUNK = 4096  # frames projected at once
_BINS = 80
_NEAR_S, _NEAR_SHARE = 0.5, 0.2


class Measures:
    """Everything measured on a take; each measure is computed when first asked for."""

    def __init__(self, take: Take) -> None:
        self.take = take

    @cached_property
    def taken(self) -> Bools:
        """Bool [V, T]: whether a camera's detection was given to any person."""
        return np.asarray((self.take.matches.slot >= 0).any(2))

    @cached_property
    def detected_near(self) -> Bools:
        """Bool [V, T]: whether a camera's detector finds people around a frame: in a fifth of half a second."""
        width = max(1, round(_NEAR_S * self.take.matches.fps)) | 1
        near = uniform_filter1d(self.take.detected.astype(np.float64), width, axis=-1, mode="nearest")
        return np.asarray(near > _NEAR_SHARE)

    @cached_property
    def residual(self) -> NDArray[np.float32]:
        """Float32 [V, T, P, J]: distance of the matched 2D point from the raw 3D result, px; NaN where either lacks."""
        t = self.take
        lenses = Lenses.of(t.rig)
        out = np.empty(t.matches.confidence.shape, np.float32)
        for a in range(0, len(t.matches.frames), _CHUNK):
            part = slice(a, a + _CHUNK)
            solid = (t.raw.source[part] == Source.TRIANGULATED)[..., None]
            points = np.where(solid, t.raw.positions[part].astype(np.float64), np.nan)
            off = t.matches.keypoints[:, part] - project(lenses, points)
            out[:, part] = np.linalg.norm(off, axis=-1)
        return out

    @cached_property
    def view_error(self) -> Array:
        """Float64 [V, T]: median residual of a camera in a frame, px; NaN where it has none."""
        V, T = self.taken.shape
        return quiet_median(self.residual.reshape(V, T, -1), -1)

    @cached_property
    def camera_error(self) -> Array:
        """Float64 [V]: median residual over the take, px."""
        return quiet_median(self.residual.reshape(len(self.residual), -1), -1)

    @cached_property
    def camera_error_m(self) -> Array:
        """Float64 [V]: median residual as a length at the joint: near cameras see the same mistake in more pixels.

        At most some thousand frames are looked at.
        """
        t = self.take
        part = slice(None, None, max(1, len(t.matches.frames) // _CHUNK))
        points = t.raw.positions[part].astype(np.float64)
        out = np.empty(len(t.matches.cameras))
        for v, camera in enumerate(t.rig.cameras):
            depth = points @ camera.R[2] + camera.t[2]
            length = np.where(depth > 0, self.residual[v, part] * depth / camera.K[0, 0], np.nan)
            out[v] = quiet_median(length.ravel(), 0)
        return out

    @cached_property
    def used(self) -> Array:
        """Float64 [V]: share of a camera's samples that triangulation took as inliers; NaN where it has none."""
        t = self.take
        solid = t.raw.source == Source.TRIANGULATED
        out = np.full(len(t.matches.cameras), np.nan)
        for v in range(len(out)):
            there = solid & (t.matches.confidence[v] > 0)
            if there.any():
                bit = (t.raw.views_used >> np.uint64(v)) & np.uint64(1)
                out[v] = float(bit[there].mean())
        return out

    @cached_property
    def shares(self) -> Array:
        """Float64 [J, 4]: share of each source among a joint's samples while its person is there."""
        source = self.take.filtered.source
        present = (source != Source.MISSING).any(-1)
        count = max(1, int(present.sum()))
        return np.stack([(source == s)[present].sum(0) / count for s in range(4)], -1)

    @cached_property
    def joint_error(self) -> Array:
        """Float64 [J]: median reprojection error, px."""
        return quiet_median(np.moveaxis(self.residual, -1, 0).reshape(self.residual.shape[-1], -1), -1)

    @cached_property
    def joint_std(self) -> Array:
        """Float64 [J]: median standard deviation (root of the largest variance along an axis), metres."""
        variance = np.diagonal(self.take.filtered.covariance, axis1=-2, axis2=-1).max(-1).astype(np.float64)
        return np.sqrt(quiet_median(np.moveaxis(variance, -1, 0).reshape(variance.shape[-1], -1), -1))

    @cached_property
    def joint_consistency(self) -> Array:
        """Float64 [J]: median spread of what the view pairs say, metres."""
        c = np.moveaxis(self.take.raw.consistency, -1, 0)
        return quiet_median(c.reshape(len(c), -1).astype(np.float64), -1)

    @cached_property
    def limbs(self) -> Array:
        """Float64 [P, 12]: spread (std/mean) of `LIMBS_12` after filtering; [P, 0] without a known skeleton."""
        try:
            skeleton = identify(self.take.filtered.joint_names)
        except DataError:
            return np.zeros((len(self.take.filtered.person_ids), 0))
        return limb_spread(self.take.filtered.positions.astype(np.float64), skeleton)

    @cached_property
    def jitter(self) -> Array:
        """Float64 [2, P]: median size of the third difference over sqrt(20), metres, before and after filtering.

        White noise of standard deviation s has third differences of standard deviation sqrt(20) s, while
        smooth motion has hardly any: it reads as the noise of a joint.
        """
        steady = np.diff(self.take.filtered.frames) == 1
        runs = steady[:-2] & steady[1:-1] & steady[2:] if len(steady) >= 3 else np.zeros(0, bool)
        out = np.full((2, len(self.take.filtered.person_ids)), np.nan)
        for i, result in enumerate((self.take.raw, self.take.filtered)):
            x = result.positions.astype(np.float64)
            third = np.linalg.norm(np.diff(x, n=3, axis=0)[runs] if len(runs) else x[:0], axis=-1)
            out[i] = quiet_median(np.moveaxis(third, 1, 0).reshape(out.shape[1], -1), -1) / np.sqrt(20)
        return out

    @cached_property
    def repaired(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Int [T, P] twice: joints whose sides were exchanged back, and joints taken from another slot, all cameras."""
        flipped, moved = repairs(self.take.matches)
        return flipped.sum((0, 3)), moved.sum((0, 3))

    @cached_property
    def frame_error(self) -> Array:
        """Float64 [T]: mean residual of all cameras, persons and joints, px; NaN where there is none."""
        return quiet_mean(np.moveaxis(self.residual, 1, 0).reshape(self.residual.shape[1], -1), -1)


@dataclass(frozen=True, eq=False)
class Binned:
    """Values per stretch of frames: `frame` [N] where each starts, `value` [..., N]."""

    frame: NDArray[np.int64]
    value: Array


def binned(values: NDArray[np.generic], frames: NDArray[np.int64]) -> Binned:
    """Means of values [..., T] over at most 80 stretches of equally many frames; NaN are left out."""
    T = values.shape[-1]
    edges = np.unique(np.linspace(0, T, min(T, _BINS) + 1).round().astype(np.int64))
    means = [quiet_mean(values[..., a:b].astype(np.float64), -1) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return Binned(frames[edges[:-1]], np.stack(means, -1) if means else np.zeros((*values.shape[:-1], 0)))


def quiet_median(values: NDArray[np.floating], axis: int) -> Array:
    """Median without NaN; NaN, and no warning, where nothing is left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmedian(values, axis=axis), np.float64)


def quiet_mean(values: NDArray[np.floating], axis: int) -> Array:
    """Mean without NaN; NaN, and no warning, where nothing is left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(values, axis=axis, dtype=np.float64))


def runs_of(mask: Bools) -> list[tuple[int, int]]:
    """First row and row after the last of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
