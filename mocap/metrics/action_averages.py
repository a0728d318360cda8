"""Several sequences of a data set together: per action, over actions, over joint samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.metrics.averages import action_of, mean_of_groups
from mocap.metrics.scores import Evaluation

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ActionAverages:
    """Errors of several sequences: absolute, root-aligned (protocol 1) and Procrustes-aligned (protocol 2), mm.

    Attributes
    ----------
    actions : tuple of str [A]
    by_action : float64 [A, 3]
        Over all joint samples of the action's sequences.
    of_actions : float64 [3]
        Mean of `by_action`, each action counting alike: the average of Human3.6M's tables.
    of_samples : float64 [3]
        Over all joint samples of all sequences.
    """

    actions: tuple[str, ...]
    by_action: Array
    of_actions: Array
    of_samples: Array


def average_actions(sequences: Sequence[str], evaluations: Sequence[Evaluation]) -> ActionAverages:
    """Averages over sequences, named as "S9/Walking 1": trials and subjects of one action belong together."""
    errors = np.array([(e.mpjpe, e.root_mpjpe, e.pa_mpjpe) for e in evaluations]) * 1000
    counts = np.array([e.samples for e in evaluations], np.float64)
    group = [action_of(s) for s in sequences]
    names = tuple(sorted(set(group)))
    rows = [np.array([g == name for g in group]) for name in names]
    by_action = np.array([_pooled(errors[r], counts[r]) for r in rows])
    return ActionAverages(
        names, by_action, np.array([mean_of_groups(column) for column in by_action.T]), _pooled(errors, counts)
    )


def _pooled(errors: Array, counts: Array) -> Array:
    total = np.where(counts > 0, errors * counts, 0.0).sum(0)
    return np.where(counts.sum(0) > 0, total / np.maximum(counts.sum(0), 1), np.nan)
