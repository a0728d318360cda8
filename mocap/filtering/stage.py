"""The filter stage: outliers out, short gaps filled, trajectories smoothed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError
from mocap.filtering.butterworth import low_pass
from mocap.filtering.gaps import Array, Mask, fill, fillable, neighbours
from mocap.filtering.grid import (
    Grid,
    Part,
    Window,
    continuous_parts,
    cut,
    read_together,
    rows_of_window,
    survey,
    windows,
)
from mocap.filtering.outliers import hampel_outliers
from mocap.filtering.settings import FilterMethod, FilterSettings
from mocap.rows import MemoryRows, Pieces, Rows, join, spans, take
from mocap.skeleton import identify
from mocap.types import Source, Trajectories3D

if TYPE_CHECKING:
    from mocap.filtering.smoother_state import Lesson, Samples

_log = logging.getLogger(__name__)

# Context of a window on either side, seconds: what lies farther away no longer matters.
_CONTEXT_S = 5.0
# What is learnt about a long take is learnt from this many joint samples, in blocks of so many frames.
_LEARNING_SAMPLES, _LEARNING_BLOCK = 300_000, 512
# Rows that are only looked through are read so many at a time.
_READ_ROWS = 4096
# Standard deviation per axis of a sample that came without a covariance, metres.
_UNKNOWN_STD = 0.05
# The error of a lifted joint lasts, as its estimate leans on the frames and joints around it: this
# long (seconds), its samples count as one. Measured on made-up takes: correlation 0.5 after 0.13 s,
# none after 0.27 s, and as much again for what it shares with the triangulated joints.
_LIFTED_ERROR_S = 0.5
# A lifted joint is placed by the triangulated ones around it, in time and along the body: what it adds
# to the certainty of the result is this share of what it adds to the estimate.
_LIFTED_CREDIT = 0.25


def filter_trajectories(trajectories: Trajectories3D, settings: FilterSettings) -> Trajectories3D:
    """Smooth trajectories with short gaps filled.

    Parameters
    ----------
    trajectories : Trajectories3D
        As triangulated and lifted.
    settings : FilterSettings

    Returns
    -------
    Trajectories3D
        Same frames, persons and joints. Filled samples and removed outliers have source
        INTERPOLATED, a covariance that grows towards the middle of the gap, no reprojection
        error and no views; TRIANGULATED and LIFTED samples keep their flag, reprojection error
        and consistency. Gaps longer than `max_gap_s`, and jumps of `frames` longer than that, stay
        open: nothing is filtered across them.

    Notes
    -----
    Errors that last over frames count as such, as far as `trajectories.lasting_share` and `lasting_s` say how
    (the map and fixed_lag methods). What never changes is in the covariance as far as views disagree about it
    (`constant_share`, the map method); what all of them share (a detector's bias along the body) is not. Those of
    lifted joints are known to last, and count as fewer samples.
    """
    if settings.smoother is FilterMethod.NONE or not trajectories.positions.size:
        return trajectories
    return join(filter_rows(MemoryRows(trajectories), settings))


def filter_rows(source: Rows[Trajectories3D], settings: FilterSettings) -> Pieces[Trajectories3D]:
    """As `filter_trajectories`, of a recording that is read and made piece by piece: memory does not grow with it.

    But for `fixed_lag`, which takes the whole recording.
    """
    T, (P, J) = len(source.frames), source.head.source.shape[1:]
    if settings.smoother is FilterMethod.NONE or not T * P * J:
        return Pieces(T, (source.read(rows) for rows in spans(T, _READ_ROWS)) if T else iter([source.head]))
    if settings.smoother is FilterMethod.FIXED_LAG:
        from mocap.filtering.fixed_lag import filter_live

        return Pieces(T, iter([filter_live(source.read(slice(0, T)), settings)]))
    return Pieces(T, _filtered(source, settings))


def _filtered(source: Rows[Trajectories3D], settings: FilterSettings) -> Iterator[Trajectories3D]:
    """Batch of windows by batch, all persons of each."""
    joint_names = source.head.joint_names
    parts = continuous_parts(source.frames, source.head.fps, settings.max_gap_s)
    context = max(_CONTEXT_S, 10 / settings.butterworth_cutoff_hz, 2 * settings.max_gap_s)
    batches = windows(parts, min(settings.chunk_frames, _most_frames(len(joint_names))), context)
    known = survey(source, parts, _READ_ROWS)
    persons = [_Person(k, known.acceleration2[k]) for k in range(len(source.head.person_ids))]
    bones = bone_index(joint_names)
    if settings.smoother is FilterMethod.MAP and len(batches) > 1:
        for person in persons:
            sample = _sample(parts, known.there[:, person.place], len(joint_names))
            read = read_together(source, [rows_of_window(parts[w.part], w) for w in sample], _READ_ROWS)
            prepared = [person.prepared(parts, w, r, settings) for w, r in zip(sample, read, strict=True)]
            person.lesson = learn(prepared, bones, settings)
    outliers = interpolated = 0
    for batch in batches:
        begin, end = (rows_of_window(parts[w.part], w) for w in (batch[0], batch[-1]))
        held = source.read(slice(begin.start, end.stop)), begin.start
        first, last = (_own_rows(parts, w) for w in (batch[0], batch[-1]))
        piece = take(held[0], slice(first.start - begin.start, last.stop - begin.start))
        out = _Output.of(piece.source.shape, first.start)
        for person in persons:
            prepared = [person.prepared(parts, w, held, settings) for w in batch]
            outliers += _filter_person(person, prepared, batch, bones, settings, out)
        interpolated += int((out.source == Source.INTERPOLATED).sum())
        yield with_samples(piece, out.positions, out.covariance, out.source)
    _log.info("filtered: %d outliers removed, %d samples interpolated", outliers, interpolated)


def _most_frames(joints: int) -> int:
    """Frames that hold as many joint samples as are worked on at a time."""
    return max(_LEARNING_BLOCK, _LEARNING_SAMPLES // joints)


_Held = tuple[Trajectories3D, int]
"""Rows that were read, and the first one's place in the recording."""


def _own_rows(parts: list[Part], window: Window) -> slice:
    """Rows of the recording in a window without its context."""
    return rows_of_window(parts[window.part], replace(window, low=window.start, high=window.stop))


@dataclass(eq=False)
class _Person:
    """A person's place in the arrays, and what was learnt: mean square second difference [J] and more."""

    place: int
    unseen: Array
    lesson: Lesson | None = None

    def prepared(self, parts: list[Part], window: Window, held: _Held, settings: FilterSettings) -> Prepared:
        """The person's samples in a window."""
        record, offset = held
        return prepare(cut(record, parts[window.part], window, self.place, offset), self.unseen, settings)


def with_samples(
    trajectories: Trajectories3D, positions: NDArray[np.float32], covariance: NDArray[np.float32],
    source: NDArray[np.uint8],
) -> Trajectories3D:  # fmt: skip
    """The record with other samples; those that are new have neither reprojection error nor views."""
    filled = source == Source.INTERPOLATED
    new = filled & (trajectories.source != Source.INTERPOLATED) | (source == Source.MISSING)
    return replace(
        trajectories,
        positions=positions,
        covariance=covariance,
        source=source,
        reprojection_error=np.where(new, np.nan, trajectories.reprojection_error),
        consistency=np.where(new, np.nan, trajectories.consistency),
        views_used=np.where(new, np.uint64(0), trajectories.views_used),
    )


@dataclass(frozen=True, eq=False)
class _Output:
    """Arrays [T, P, J, ...] that windows write their rows to; `offset` is the first row's place in the recording."""

    positions: NDArray[np.float32]
    covariance: NDArray[np.float32]
    source: NDArray[np.uint8]
    offset: int

    @staticmethod
    def of(shape: tuple[int, ...], offset: int) -> _Output:
        """Nothing there yet."""
        return _Output(
            np.full((*shape, 3), np.nan, np.float32), np.full((*shape, 3, 3), np.nan, np.float32),
            np.zeros(shape, np.uint8), offset,
        )  # fmt: skip


def _filter_person(
    person: _Person, known: list[Prepared], batch: list[Window], bones: NDArray[np.int64], settings: FilterSettings,
    out: _Output,
) -> int:  # fmt: skip
    """Filter one person's windows of a batch into `out`; returns the number of outliers removed."""
    removed = 0
    smoothed = smooth_parts(known, bones, settings, person.lesson)
    for window, part, (x, cov) in zip(batch, known, smoothed, strict=True):
        own = (part.grid.index >= window.start - window.low) & (part.grid.index < window.stop - window.low)
        rows = np.arange(part.grid.rows.start, part.grid.rows.stop)[own] - out.offset
        index = part.grid.index[own]
        out.positions[rows, person.place], out.covariance[rows, person.place] = x[index], cov[index]
        out.source[rows, person.place] = part.source[index]
        removed += int(part.removed[window.start - window.low : window.stop - window.low].sum())
    return removed


def _sample(parts: list[Part], there: NDArray[np.bool_], joints: int) -> list[Window]:
    """Windows, spread evenly over the person's presence [T], to learn from: all there is where it is not too much."""
    budget = _most_frames(joints)
    blocks = [w for batch in windows(parts, _LEARNING_BLOCK, 0.0) for w in batch]
    if sum(w.stop - w.start for w in blocks) <= budget:
        return [Window(k, 0, part.length, 0, part.length) for k, part in enumerate(parts)]
    blocks = [w for w in blocks if there[rows_of_window(parts[w.part], w)].any()]
    every = max(1.0, len(blocks) * _LEARNING_BLOCK / budget)
    return [blocks[int(k)] for k in np.arange(every / 2, len(blocks), every)] if every > 1 else blocks


@dataclass(frozen=True, eq=False)
class Prepared:
    """A grid with outliers out and short gaps filled for a start; masks [N, J]."""

    grid: Grid
    positions: Array
    covariance: Array
    valid: Mask
    present: Mask
    source: NDArray[np.uint8]
    removed: Mask


def prepare(grid: Grid, unseen: Array, settings: FilterSettings) -> Prepared:
    """Outliers out, short gaps filled; `unseen` [J] is the mean square second difference, m2."""
    max_gap = int(settings.max_gap_s * grid.rate + 1e-9)
    valid = np.asarray(np.isfinite(grid.positions).all(-1))
    prior = known_covariance(grid.covariance, valid)
    prior[grid.source == Source.LIFTED] *= max(1.0, _LIFTED_ERROR_S * grid.rate)
    hampel = settings.hampel or settings.smoother is FilterMethod.HAMPEL
    removed = _outliers(grid, prior, valid, settings) if hampel else np.zeros_like(valid)
    valid = valid & ~removed
    near = neighbours(valid)
    target = fillable(valid, near, max_gap)
    present = valid | target
    x = fill(np.where(valid[..., None], grid.positions, np.nan), valid, target, near)
    cov = _gap_covariance(prior, target, near.before, near.after, unseen)
    source = np.where(target, Source.INTERPOLATED, np.where(valid, grid.source, Source.MISSING)).astype(np.uint8)
    return Prepared(grid, x, cov, valid, present, source, removed)


def smooth_parts(
    parts: list[Prepared], bones: NDArray[np.int64], settings: FilterSettings, lesson: Lesson | None = None
) -> list[tuple[Array, Array]]:
    """Smoothed positions and covariance of every part; NaN where nothing is present."""
    if settings.smoother is FilterMethod.MAP:
        from mocap.filtering.map_smoother import smooth_with

        lengths = [len(p.valid) for p in parts]
        x, cov, _ = smooth_with(samples_of(parts), bones, None, settings.bones, lesson)
        ends = np.cumsum(lengths)[:-1]
        return list(zip(np.split(x, ends), np.split(cov, ends), strict=True))
    out = []
    for p in parts:
        x, cov = _classic(p, settings)
        x[~p.present], cov[~p.present] = np.nan, np.nan
        out.append((x, cov))
    return out


def _classic(p: Prepared, settings: FilterSettings) -> tuple[Array, Array]:
    from mocap.filtering import classic

    rate = p.grid.rate
    match settings.smoother:
        case FilterMethod.SAVITZKY_GOLAY:
            return classic.savitzky_golay(
                p.positions, p.covariance, p.present, rate, settings.savgol_window_s, settings.savgol_degree
            )
        case FilterMethod.ONE_EURO:
            return classic.one_euro(
                p.positions, p.covariance, p.present, rate, settings.one_euro_cutoff_hz, settings.one_euro_beta
            )
        case FilterMethod.KALMAN:
            return classic.kalman_rts(
                p.positions, p.covariance, p.valid, p.present, rate, settings.kalman_acceleration
            )  # fmt: skip
        case FilterMethod.HAMPEL:
            return p.positions.copy(), p.covariance.copy()
    x, cov = low_pass(p.positions, p.covariance, p.present, rate, settings.butterworth_cutoff_hz, settings.order)
    return x.copy(), cov.copy()


def learn(parts: list[Prepared], bones: NDArray[np.int64], settings: FilterSettings) -> Lesson | None:
    """What these parts teach the MAP smoother; None where they hold no run to learn from."""
    from mocap.filtering.map_smoother import smooth_with

    return smooth_with(samples_of(parts), bones, None, settings.bones)[2].completed() if parts else None


def samples_of(parts: list[Prepared]) -> Samples:
    """The parts one after the other, as the MAP smoother takes them."""
    from mocap.filtering.smoother_state import Samples

    lengths = [len(p.valid) for p in parts]
    return Samples(
        np.concatenate([p.positions for p in parts]),
        np.concatenate([p.covariance for p in parts]),
        np.concatenate([p.valid for p in parts]),
        np.concatenate([p.present for p in parts]),
        np.repeat([1 / p.grid.rate for p in parts], lengths),
        np.repeat(np.arange(len(parts)), lengths),
        np.concatenate([np.where(p.source == Source.LIFTED, _LIFTED_CREDIT, 1.0) for p in parts]),
        parts[0].grid.persistence,
        np.concatenate([view_overlap(p.grid.views, p.grid.source == Source.LIFTED) for p in parts]),
    )


def view_overlap(views: NDArray[np.uint64], alone: Mask) -> Array:
    """How far samples one and two before were made from the same views: float64 [N, J, 2], 0..1.

    Parameters
    ----------
    views : uint64 [N, J]
        Bits of the views; none where unknown, which counts as the same.
    alone : bool [N, J]
        Samples that have nothing in common with any other.

    Notes
    -----
    Of errors that are each view's own, the mean of n has in common with that of m, k of which are the same, a
    correlation of k / sqrt(n m).
    """
    out = np.zeros((*views.shape, 2))
    count = np.bitwise_count(views).astype(float)
    for k in (1, 2):
        if len(views) > k:
            same, size = np.bitwise_count(views[k:] & views[:-k]), np.sqrt(count[k:] * count[:-k])
            share = np.where(size > 0, same / np.maximum(size, 1), 1.0)
            out[k:, :, k - 1] = np.where(alone[k:] | alone[:-k], 0.0, share)
    return out


def bone_index(joint_names: tuple[str, ...]) -> NDArray[np.int64]:
    """Int [B, 2]: bones of a known skeleton; none of an unknown one."""
    try:
        return identify(joint_names).bone_index
    except DataError:
        _log.debug("unknown skeleton: joints are smoothed each on its own")
        return np.empty((0, 2), np.int64)


def known_covariance(covariance: Array, valid: Mask) -> Array:
    """Covariances [N, S, 3, 3] without holes: a valid sample that came without one gets a wide one."""
    usable = np.isfinite(covariance).all((-1, -2)) & valid
    return np.where(usable[..., None, None], covariance, np.eye(3) * _UNKNOWN_STD**2)


def _outliers(grid: Grid, covariance: Array, valid: Mask, settings: FilterSettings) -> Mask:
    window = max(5, 2 * int(settings.hampel_window_s * grid.rate / 2) + 1)
    if len(valid) < window:
        return np.zeros_like(valid)
    near = neighbours(valid)
    bounded = ~valid & (near.before >= 0) & (near.after < len(valid))
    x = fill(grid.positions, valid, bounded, near)
    return hampel_outliers(x, covariance, valid, window, settings.hampel_threshold)


def _gap_covariance(
    covariance: Array, target: Mask, before: NDArray[np.int64], after: NDArray[np.int64], unseen: Array
) -> Array:
    """Covariance in filled gaps: of the two ends, plus what an unseen acceleration could do.

    A body that accelerates by `a` between the ends lies off the chord by a tau_1 tau_2 / 2 (tau:
    time to either end); a^2 is the series' own mean square second difference, `unseen` [J].
    """
    out = covariance.copy()
    row, series = np.nonzero(target)
    if not len(row):
        return out
    a, b = before[row, series], after[row, series]
    u = ((row - a) / (b - a))[:, None, None]
    ends = (1 - u) ** 2 * covariance[a, series] + u**2 * covariance[b, series]
    off = unseen[series] * (0.5 * (row - a) * (b - row)) ** 2
    out[row, series] = ends + off[:, None, None] * np.eye(3)
    return out
