"""Associative embedding: joints whose tags are alike belong to one person.

Source: A. Newell, Z. Huang, J. Deng, "Associative Embedding: End-to-End Learning for Joint Detection and
Grouping" (NeurIPS 2017), section 3.3. Pairs are taken best first instead of by the Hungarian method:
tags of different people are far apart or useless.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mocap.detection.peaks import Assembled, Candidates, at_cells, collect, find_peaks, greedy_pairs
from mocap.skeleton import Skeleton

Floats = NDArray[np.float64]

# From the most reliable joints to the least, as in the paper's code: head and trunk first.
_ORDER = ("nose", "eye", "ear", "shoulder", "hip", "elbow", "wrist", "knee", "ankle")
# Tags tell people apart, scores only between equals.
_SCORE_WEIGHT = 0.01


@dataclass(frozen=True)
class TagGrouping:
    """How joints are grouped by their tags."""

    peak_sigma: float = 2.0
    """Standard deviation of the peaks the network was trained to draw, cells."""
    max_people: int = 30
    """Peaks per joint and people per picture."""
    threshold: float = 0.1
    """Lowest value of a peak."""
    tag_distance: float = 1.0
    """Largest difference between a joint's tag and the mean of the person's."""
    fewest_joints: int = 3
    """Joints without which nobody is reported."""
    mean_score: float = 0.2
    """Lowest mean score of a person's joints."""


def group_by_tags(heatmaps: torch.Tensor, tags: torch.Tensor, skeleton: Skeleton, settings: TagGrouping) -> Assembled:
    """People from heatmaps and tags.

    Parameters
    ----------
    heatmaps : float [n, J, H, W]
    tags : float [n, D, J, H, W]
        D values per joint (two where the mirror image was looked at too).
    skeleton : Skeleton
    settings : TagGrouping

    Returns
    -------
    Assembled
        In cells.
    """
    candidates = find_peaks(heatmaps, settings.max_people, settings.threshold, settings.peak_sigma)
    values = torch.stack([at_cells(t, candidates.cells) for t in tags.unbind(1)], -1)
    chosen = _group(candidates, values.double().cpu().numpy(), joint_order(skeleton), settings)
    return collect(chosen, candidates, fewest=settings.fewest_joints, least=settings.mean_score)


def joint_order(skeleton: Skeleton) -> list[int]:
    """Joints from the most reliable to the least."""

    def rank(joint: str) -> int:
        kind = joint.removeprefix("l_").removeprefix("r_")
        return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)

    return sorted(range(len(skeleton.joints)), key=lambda j: (rank(skeleton.joints[j]), j))


def _group(candidates: Candidates, tags: Floats, order: list[int], settings: TagGrouping) -> NDArray[np.int64]:
    """Candidate of every joint of every group, int [n, G, J]; tags [n, J, K, D]."""
    score = candidates.score.cpu().double().numpy()
    n, joints, _ = score.shape
    groups = settings.max_people
    chosen = np.full((n, groups, joints), -1)
    total, members = np.zeros((n, groups, tags.shape[-1])), np.zeros((n, groups))
    used = np.zeros(n, int)
    for j in order:
        there = score[:, j] > 0
        mean = total / np.maximum(members, 1)[..., None]
        distance = np.linalg.norm(tags[:, j, :, None] - mean[:, None], axis=-1)  # [n, K, G]
        possible = there[..., None] & (members > 0)[:, None] & (distance < settings.tag_distance)
        gain = np.where(possible, _SCORE_WEIGHT * score[:, j, :, None] - distance, -np.inf)
        group = greedy_pairs(gain)
        # Who fits nobody is somebody new.
        new = there & (group < 0)
        number = used[:, None] + np.cumsum(new, 1) - 1
        group = np.where(new & (number < groups), number, group)
        used = np.minimum(used + new.sum(1), groups)
        image, peak = np.nonzero(group >= 0)
        mine = group[image, peak]
        chosen[image, mine, j] = peak
        total[image, mine] += tags[image, j, peak]
        members[image, mine] += 1
    return chosen
