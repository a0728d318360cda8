"""Averages as papers take them: over joint samples, over groups of frames, and over groups that count alike.

Human3.6M's tables give one error per action, over all its frames, and as their average the mean over
the actions, each counting alike (Martinez et al., ICCV 2017; Pavllo et al., CVPR 2019); other papers
average over all frames. The two differ where actions differ in length, so both are here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


def mean_error(errors: Array, axis: tuple[int, ...] | None = None) -> Array:
    """Mean over the known samples along `axis`, every one counting alike; NaN where none is known."""
    known = np.isfinite(errors)
    count = known.sum(axis)
    total = np.where(known, errors, 0.0).sum(axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def mean_over_joints(errors: Array) -> float:
    """Mean of the joints' own means, each joint of [..., J] counting alike however often it is known."""
    return mean_of_groups(mean_error(errors, tuple(range(errors.ndim - 1))))


def mean_over_frames(errors: Array) -> float:
    """Mean of the frames' own means, each frame of [T, ...] counting alike however much is known in it."""
    return mean_of_groups(mean_error(errors, tuple(range(1, errors.ndim))))


def mean_by_group(errors: Array, group: Rows, groups: int) -> Array:
    """Mean [groups] over the known samples of errors [T, ...] whose frame's `group` [T] it is; -1 is in none."""
    known = np.isfinite(errors)
    inside = group >= 0
    axes = tuple(range(1, errors.ndim))
    count = np.bincount(group[inside], known.sum(axes)[inside], groups)
    total = np.bincount(group[inside], np.where(known, errors, 0.0).sum(axes)[inside], groups)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def mean_of_groups(means: Array) -> float:
    """Mean of groups' means, each counting alike; groups without any figure are left out, NaN without groups."""
    known = means[np.isfinite(means)]
    return float(known.mean()) if len(known) else float("nan")


def action_rows(actions: Sequence[str]) -> tuple[tuple[str, ...], Rows]:
    """Names of the actions, sorted, and the row [T] of each frame's in them; frames named "" are in none."""
    names = tuple(sorted(set(actions) - {""}))
    row = {name: i for i, name in enumerate(names)}
    return names, np.array([row.get(a, -1) for a in actions], np.int64)


def action_of(sequence: str) -> str:
    """The action of a sequence of Human3.6M: "S9/Walking 1" and "S11/Walking" are both "Walking"."""
    name = sequence.rpartition("/")[2].strip()
    head, _, last = name.rpartition(" ")
    return head if head and last.isdigit() else name


def sample_counts(absolute: Array, relative: Array, aligned: Array) -> tuple[int, int, int]:
    """How many joint samples are known of each."""
    return int(np.isfinite(absolute).sum()), int(np.isfinite(relative).sum()), int(np.isfinite(aligned).sum())
