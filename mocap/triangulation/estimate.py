"""The triangulate stage: matched 2D people to 3D joints with covariance, errors and flags."""

from __future__ import annotations

import enum
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.projection import Lenses
from mocap.errors import DataError
from mocap.lens_kernels import normalise
from mocap.persistence import Persistence
from mocap.rows import MemoryRows, Pieces, Rows, join, pick, spans
from mocap.triangulation import kernels
from mocap.triangulation.consistency import pair_spread
from mocap.triangulation.finish import drop_lost, finish_points
from mocap.triangulation.kernels import all_directions
from mocap.triangulation.noise import NoiseModel
from mocap.triangulation.persistence import agreement, persistence
from mocap.triangulation.plain import plain_points
from mocap.triangulation.robust import robust_points
from mocap.triangulation.settings import TriangulationSettings
from mocap.types import Matches, Source, Trajectories3D

log = logging.getLogger(__name__)

Array = NDArray[np.float64]

# Observations worked on at a time; bounds memory.
_CHUNK_OBSERVATIONS = 2_000_000
# Frames that follow each other, in which errors are watched: seconds.
_BLOCK_S = 1.5


class Reason(enum.IntEnum):
    """Why a joint has no point."""

    FOUND = kernels.OK
    TOO_FEW_VIEWS = kernels.FEW_VIEWS
    PARALLEL_RAYS = kernels.PARALLEL
    BEHIND_CAMERA = kernels.BEHIND
    VIEWS_DISAGREE = kernels.DISAGREE
    TOO_UNCERTAIN = kernels.UNCERTAIN


@dataclass(frozen=True, eq=False)
class Points:
    """Triangulated joints of a batch; N joints, V views.

    Attributes
    ----------
    positions : float64 [N, 3], m, world
    covariance : float64 [N, 3, 3], m2
    inlier : float64 [N, V]
        Probability that the view's observation is an inlier.
    squared_residual : float64 [N, V], px2
    reprojection_error : float64 [N], px
        Mean distance over the inlier views.
    consistency : float64 [N], m
    reason : uint8 [N]
        A `Reason`.
    """

    positions: Array
    covariance: Array
    inlier: Array
    squared_residual: Array
    reprojection_error: Array
    consistency: Array
    reason: NDArray[np.uint8]


def triangulate(matches: Matches, rig: CameraRig, settings: TriangulationSettings | None = None) -> Trajectories3D:
    """3D joints of every person and frame.

    Parameters
    ----------
    matches : Matches
    rig : CameraRig
        Must have every camera of `matches`; 2 to 64 of them are used.
    settings : TriangulationSettings, optional

    Returns
    -------
    Trajectories3D
        NaN with source MISSING where fewer than `min_views` views agree, or the geometry does not
        say where the joint is; the log says how many joints for which reason (`triangulate_points`
        gives each joint's).

    Raises
    ------
    DataError
        Fewer than 2 or more than 64 cameras.
    CalibrationError
        The rig lacks a camera.

    Notes
    -----
    Per joint and frame, no use of time: mixture-of-inliers weights with noise learnt from the take
    (`NoiseModel`), subset hypotheses where a view is doubtful, Gauss-Newton on the reprojection
    error, covariance (J^T W J)^-1 plus the spread of rival hypotheses.
    """
    return join(triangulate_rows(MemoryRows(matches), rig, settings))


def triangulate_rows(
    matches: Rows[Matches], rig: CameraRig, settings: TriangulationSettings | None = None
) -> Pieces[Trajectories3D]:
    """As `triangulate`, of a recording that is read and made piece by piece: memory does not grow with it.

    What is learnt is learnt from a sample of bounded size, spread evenly over the recording, before the first
    piece is made; so the result does not depend on the pieces.
    """
    settings = settings or TriangulationSettings()
    rig = rig.select(matches.head.cameras)
    if not 2 <= len(rig) <= 64:
        raise DataError(
            "the number of cameras is not usable", expected="2 to 64 cameras", found=str(len(rig)),
            where="triangulate", hint="add cameras to the session",
        )  # fmt: skip
    return Pieces(len(matches.frames), _triangulated(matches, rig, settings))


def _triangulated(matches: Rows[Matches], rig: CameraRig, settings: TriangulationSettings) -> Iterator[Trajectories3D]:
    noise = learn_noise(matches, rig, settings)
    V, _, P, J = matches.head.confidence.shape
    # Of large rigs and crowds fewer frames at a time.
    size = max(1, min(settings.chunk_frames, _CHUNK_OBSERVATIONS // max(1, V * P * J)))
    reasons = np.zeros(len(Reason), np.int64)
    T = len(matches.frames)
    # A take in one piece is fitted once, for what it teaches too.
    whole = _fitted(_observations(matches.read(slice(0, T))), rig, noise, settings) if size >= T else None
    lasting = learn_persistence(matches, rig, noise, settings, whole)
    for rows in spans(T, size) if T else [slice(0, 0)]:
        part = matches.read(rows)
        points = _finished(whole or _fitted(_observations(part), rig, noise, settings), rig)
        shape = (len(part.frames), P, J)
        found = points.reason == Reason.FOUND
        bits = (points.inlier > 0.5) @ (np.uint64(1) << np.arange(V, dtype=np.uint64))
        reasons += np.bincount(points.reason, minlength=len(Reason))
        yield Trajectories3D(
            positions=points.positions.astype("f4").reshape(*shape, 3),
            covariance=points.covariance.astype("f4").reshape(*shape, 3, 3),
            source=np.where(found, Source.TRIANGULATED, Source.MISSING).reshape(shape),
            reprojection_error=points.reprojection_error.astype("f4").reshape(shape),
            consistency=points.consistency.astype("f4").reshape(shape),
            views_used=np.where(found, bits, 0).reshape(shape), person_ids=part.person_ids, frames=part.frames,
            joint_names=part.joint_names, fps=part.fps, lasting_share=lasting.share, lasting_s=lasting.seconds,
            constant_share=lasting.constant,
        )  # fmt: skip
    said = ", ".join(f"{n} {r.name.lower().replace('_', ' ')}" for r, n in zip(Reason, reasons, strict=True) if n)
    log.info("triangulated joints: %s", said or "none")


@dataclass(frozen=True, eq=False)
class Observations:
    """A batch of joints as float64: pixels [V, N, 2], confidence [V, N], uncertainty [V, N] px (or NaN)."""

    pixels: Array
    confidence: Array
    uncertainty: Array


def _observations(matches: Matches) -> Observations:
    V = len(matches.cameras)
    return Observations(
        matches.keypoints.reshape(V, -1, 2).astype(float),
        matches.confidence.reshape(V, -1).astype(float),
        matches.uncertainty.reshape(V, -1).astype(float),
    )


def learn_noise(matches: Matches | Rows[Matches], rig: CameraRig, settings: TriangulationSettings) -> NoiseModel:
    """The take's own noise model, from evenly spread frames.

    Parameters
    ----------
    matches : Matches, or its rows
    rig : CameraRig
        In the order of `matches.cameras`.
    settings : TriangulationSettings

    Notes
    -----
    Expectation-maximisation; joints that fewer than three views saw say nothing about inliers and
    are left out, unless there are no others.
    """
    source = MemoryRows(matches) if isinstance(matches, Matches) else matches
    (V, _, P, J), T = source.head.confidence.shape, len(source.frames)
    every = max(1, int(np.ceil(T * P * J / settings.learning_points)))
    batch = _observations(pick(source, np.arange(0, T, every)))
    enough = (batch.confidence > 0).sum(0) >= min(3, V)
    batch = Observations(batch.pixels[:, enough], batch.confidence[:, enough], batch.uncertainty[:, enough])
    diagonal = float(np.median([np.hypot(*c.size) for c in rig.cameras]))
    known = np.isfinite(batch.uncertainty).any()
    pixels = 0.005 * diagonal
    start = pixels / float(np.nanmedian(batch.uncertainty)) if known else pixels
    model = NoiseModel.start(V, batch.confidence, settings.use_confidence, start, 0.03 * diagonal)
    if not settings.robust or batch.pixels.shape[1] < 30:
        return model
    view = _normalised(batch, rig)
    fit = None
    for k in range(settings.learning_passes):
        # Between the first and the last pass the modes that were found are followed as the noise changes.
        follow = 0 < k < settings.learning_passes - 1
        fit = _fit(batch, view, rig, model, settings, fit if follow else None, learn=True)
        model = model.updated(batch.confidence, batch.uncertainty, fit.gamma, fit.squared_residual, fit.leverage)
    log.debug("pixel noise %s, inliers %s, outlier scale %.1f px", model.sigma, model.inlier, model.spread)
    return model


def learn_persistence(
    matches: Matches | Rows[Matches], rig: CameraRig, noise: NoiseModel, settings: TriangulationSettings,
    whole: _Fitted | None = None,
) -> Persistence:  # fmt: skip
    """How errors hang together in time (`mocap.triangulation.persistence`), from blocks of frames of the take.

    `whole` is the fit of all its frames, where there is one.
    """
    source = MemoryRows(matches) if isinstance(matches, Matches) else matches
    head, T = source.head, len(source.frames)
    V, _, P, J = head.confidence.shape
    if not T * P * J:
        return Persistence()
    length = max(16, int(_BLOCK_S * head.fps))
    blocks = max(1, settings.learning_points // max(1, length * P * J))
    starts = np.unique(np.linspace(0, max(0, T - length), blocks).astype(np.int64))
    rows = np.minimum(starts[:, None] + np.arange(length), T - 1)
    # Blocks of a short take meet: no row twice.
    rows, first = np.unique(rows, return_index=True)
    if whole is None:
        fitted, joints = _fitted(_observations(pick(source, rows)), rig, noise, settings), np.arange(len(rows) * P * J)
    else:
        fitted, joints = whole, (rows[:, None] * (P * J) + np.arange(P * J)).ravel()
    fit, view = fitted.fit, fitted.view
    used = (fit.gamma[joints] > 0.5) & (fit.reason[joints] == Reason.FOUND)[:, None]
    used[used.sum(1) < min(3, V)] = False
    found = agreement(rig.R, rig.t, view.u[joints], view.A[joints], fit.sigma[joints], used, fit.X[joints])
    lasting = persistence(found, first // length, source.frames[rows], head.fps)
    log.debug("errors: %s", lasting)
    return lasting


def triangulate_points(
    batch: Observations, rig: CameraRig, noise: NoiseModel, settings: TriangulationSettings
) -> Points:
    """Triangulate N joints with a known noise model."""
    return _finished(_fitted(batch, rig, noise, settings), rig)


def _finished(fitted: _Fitted, rig: CameraRig) -> Points:
    """A step on the full lens model, errors and consistency; the points of the fit move with it."""
    lenses, fit, view = Lenses.of(rig), fitted.fit, fitted.view
    error = np.empty(len(fit.X))
    finish_points(
        lenses.K, lenses.distortion, np.asarray(lenses.fisheye, bool), _poses(rig), fitted.batch.pixels, fit.gamma,
        fit.sigma, fit.X, error,
    )  # fmt: skip
    used = fit.gamma > 0.5
    direction, spread = np.empty((*used.shape, 3)), np.empty(len(used))
    all_directions(rig.R, view.u, used, direction)
    pair_spread(rig.centres, direction, used, 8, spread)
    return Points(fit.X, fit.C, fit.gamma, fit.squared_residual, error, spread, fit.reason)


def _poses(rig: CameraRig) -> Array:
    """Camera from world, [R | t]: float64 [V, 3, 4]."""
    return np.concatenate([rig.R, rig.t[:, :, None]], 2)


@dataclass(frozen=True, eq=False)
class _Normalised:
    """Ideal coordinates u [N, V, 2] of a batch and d pixel / d u, A [N, V, 2, 2]."""

    u: Array
    A: Array


def _normalised(batch: Observations, rig: CameraRig) -> _Normalised:
    lenses = Lenses.of(rig)
    V, N = batch.confidence.shape
    u, A = np.empty((N, V, 2)), np.empty((N, V, 2, 2))
    normalise(lenses.K, lenses.distortion, np.asarray(lenses.fisheye, bool), batch.pixels, u, A)
    return _Normalised(u, A)


@dataclass(frozen=True, eq=False)
class _Fit:
    """What `robust_points` finds for N joints, and the sigma [N, V] px it was given."""

    X: Array
    C: Array
    gamma: Array
    squared_residual: Array
    leverage: Array
    reason: NDArray[np.uint8]
    sigma: Array


@dataclass(frozen=True, eq=False)
class _Fitted:
    """A batch, its ideal coordinates, and what was found."""

    batch: Observations
    view: _Normalised
    fit: _Fit


def _fitted(batch: Observations, rig: CameraRig, noise: NoiseModel, settings: TriangulationSettings) -> _Fitted:
    view = _normalised(batch, rig)
    return _Fitted(batch, view, _fit(batch, view, rig, noise, settings))


def _fit(
    batch: Observations, view: _Normalised, rig: CameraRig, noise: NoiseModel, settings: TriangulationSettings,
    start: _Fit | None = None, *, learn: bool = False,
) -> _Fit:  # fmt: skip
    """Fit all joints; from the modes of `start` where it found them, without looking for others.

    `leverage` is made where the fit is one to learn from.
    """
    V, N = batch.confidence.shape
    sigma, prior = noise.by_joint(batch.confidence, batch.uncertainty)
    X, gamma = (np.empty((N, 3)), np.empty((N, V))) if start is None else (start.X.copy(), start.gamma.copy())
    C, r2, leverage = np.empty((N, 3, 3)), np.empty((N, V)), np.zeros((N if learn else 0, V))
    reason = np.zeros(N, np.uint8)
    min_sin2 = np.sin(np.radians(settings.min_angle_deg)) ** 2
    if settings.robust:
        robust_points(
            rig.R, _poses(rig), rig.centres, view.u, view.A, sigma, prior, noise.spread, start is not None,
            settings.min_views, settings.max_doubt, min_sin2, settings.max_hypothesis_views, X, C, gamma, r2, leverage,
            reason,
        )  # fmt: skip
    else:
        plain_points(
            rig.R, rig.t, rig.centres, view.u, view.A, sigma, prior, settings.min_views, min_sin2, X, C, gamma, r2,
            reason,
        )  # fmt: skip
    drop_lost(C, settings.max_std_m, X, gamma, reason)
    return _Fit(X, C, gamma, r2, leverage, reason, sigma)
