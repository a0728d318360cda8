"""Part affinity fields: joints between which the field points from one to the other are one limb.

Source: Z. Cao, G. Hidalgo, T. Simon, S.-E. Wei, Y. Sheikh, "OpenPose: Realtime Multi-Person 2D Pose Estimation
using Part Affinity Fields" (PAMI 2021), section 3.3 and eq. 10-13. Every limb's pairs are taken best
first; limbs of a tree then make whole people, and two limbs more join heads that lost their neck.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from mocap.detection.peaks import Assembled, Candidates, collect, find_peaks, greedy_pairs
from mocap.skeleton import OPENPOSE_18

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LimbTree:
    """Limbs that part affinity fields were trained for.

    Attributes
    ----------
    pairs : int64 [L, 2]
        From and to which joint. The first of a joint stand in the order of a tree: every limb but the first
        begins where one before ended or began.
    fields : int64 [L, 2]
        Channels of the field's x and y.
    tree : int
        So many limbs, from the first, make a tree; those after only join parts of people.
    """

    pairs: Ints
    fields: Ints
    tree: int


def _limbs() -> LimbTree:
    """The limbs of OpenPose's COCO model, and where its network draws them."""
    names = (
        ("neck", "r_shoulder", 12), ("neck", "l_shoulder", 20), ("r_shoulder", "r_elbow", 14),
        ("r_elbow", "r_wrist", 16), ("l_shoulder", "l_elbow", 22), ("l_elbow", "l_wrist", 24), ("neck", "r_hip", 0),
        ("r_hip", "r_knee", 2), ("r_knee", "r_ankle", 4), ("neck", "l_hip", 6), ("l_hip", "l_knee", 8),
        ("l_knee", "l_ankle", 10), ("neck", "nose", 28), ("nose", "r_eye", 30), ("r_eye", "r_ear", 34),
        ("nose", "l_eye", 32), ("l_eye", "l_ear", 36), ("r_shoulder", "r_ear", 18), ("l_shoulder", "l_ear", 26),
    )  # fmt: skip
    index = OPENPOSE_18.index
    return LimbTree(
        np.array([(index(a), index(b)) for a, b, _ in names]), np.array([(c, c + 1) for _, _, c in names]), 17
    )


LIMBS = _limbs()


@dataclass(frozen=True)
class FieldAssembly:
    """How joints are joined along part affinity fields."""

    peak_sigma: float = 0.5
    """Smoothing before peaks are looked for, cells."""
    max_people: int = 20
    """Peaks per joint."""
    threshold: float = 0.1
    """Lowest value of a peak."""
    samples: int = 10
    """Points along a limb at which the field is read."""
    field: float = 0.05
    """Lowest component of the field along the limb at such a point ..."""
    share: float = 0.8
    """... and the share of the points that must have it."""
    fewest_joints: int = 4
    """Joints without which nobody is reported."""
    mean_score: float = 0.2
    """Lowest mean score of a person's joints."""


def assemble(heatmaps: torch.Tensor, fields: torch.Tensor, limbs: LimbTree, settings: FieldAssembly) -> Assembled:
    """People from heatmaps and part affinity fields.

    Parameters
    ----------
    heatmaps : float [n, J, H, W]
    fields : float [n, 2 L, H, W]
        Unit vectors along the limbs (x right, y down).
    limbs : LimbTree
    settings : FieldAssembly

    Returns
    -------
    Assembled
        In cells.
    """
    candidates = find_peaks(heatmaps, settings.max_people, settings.threshold, settings.peak_sigma)
    gain = limb_gain(fields, candidates, limbs, settings).double().cpu().numpy()
    n, count, k, _ = gain.shape
    partner = greedy_pairs(gain.reshape(-1, k, k)).reshape(n, count, k)
    there = candidates.score.cpu().numpy() > 0
    labels = _label(there, partner, limbs)
    return collect(_table(labels), candidates, fewest=settings.fewest_joints, least=settings.mean_score)


def limb_gain(
    fields: torch.Tensor, candidates: Candidates, limbs: LimbTree, settings: FieldAssembly
) -> torch.Tensor:  # fmt: skip
    """How well each pair of candidates makes a limb: float [n, L, K, K], -inf where it makes none.

    The mean of the field's component along the straight line between them (eq. 11-12), less what the line
    is longer than half the picture is high.
    """
    n, _, height, width = fields.shape
    pairs = torch.from_numpy(limbs.pairs).to(fields.device)
    start, end = candidates.points[:, pairs[:, 0], :, None], candidates.points[:, pairs[:, 1], None]  # [n, L, K, K, 2]
    way = end - start
    length = way.norm(dim=-1)
    steps = torch.linspace(0, 1, settings.samples, device=fields.device)
    at = start[..., None, :] + way[..., None, :] * steps[:, None]
    # grid_sample counts from -1 at the first cell's centre to 1 at the last's.
    grid = at * (2 / torch.tensor([max(width - 1, 1), max(height - 1, 1)], device=fields.device)) - 1
    k = grid.shape[2]
    chosen = fields[:, torch.from_numpy(limbs.fields.ravel()).to(fields.device)].float()
    read = functional.grid_sample(
        chosen.reshape(-1, 2, height, width), grid.reshape(-1, k * k, settings.samples, 2).float(), align_corners=True
    )
    read = read.reshape(n, len(pairs), 2, k, k, settings.samples)
    direction = way / length.clamp_min(1e-6)[..., None]
    along = (read * direction.movedim(-1, 2)[..., None]).sum(2)  # [n, L, K, K, S]
    gain = along.mean(-1) + (0.5 * height / length.clamp_min(1e-6) - 1).clamp_max(0)
    there = (candidates.score[:, pairs[:, 0], :, None] > 0) & (candidates.score[:, pairs[:, 1], None] > 0)
    good = there & (gain > 0) & ((along > settings.field).float().mean(-1) >= settings.share) & (length > 0)
    return torch.where(good, gain, torch.full_like(gain, -torch.inf))


def _label(there: NDArray[np.bool_], partner: Ints, limbs: LimbTree) -> Ints:
    """Person of each candidate, int [n, J, K], -1 for none; there [n, J, K], partner [n, L, K].

    In a tree whose limbs are paired one to one, what hangs together has no joint twice.
    """
    n, joints, k = there.shape
    labels = np.full((n, joints, k), -1)
    root = int(limbs.pairs[0, 0])
    labels[:, root] = np.where(there[:, root], np.cumsum(there[:, root], 1) - 1, -1)
    used = there[:, root].sum(1)
    for limb, (a, b) in enumerate(limbs.pairs[: limbs.tree]):
        image, first = np.nonzero(partner[:, limb] >= 0)
        labels[image, b, partner[image, limb, first]] = labels[image, a, first]
        # Who hangs on nobody is somebody new.
        new = there[:, b] & (labels[:, b] < 0)
        labels[:, b] = np.where(new, used[:, None] + np.cumsum(new, 1) - 1, labels[:, b])
        used = used + new.sum(1)
    for limb in range(limbs.tree, len(limbs.pairs)):
        _join(labels, partner[:, limb], *limbs.pairs[limb])
    return labels


def _join(labels: Ints, partner: Ints, a: int, b: int) -> None:
    """Make one person of two that a further limb joins, unless they have a joint in common; changes labels."""
    n, _, k = labels.shape
    rows = np.arange(n)
    for first in range(k):
        second = partner[:, first]
        one, other = labels[:, a, first], labels[rows, b, np.maximum(second, 0)]
        has_one, has_other = ((labels == w[:, None, None]).any(-1) for w in (one, other))
        join = (second >= 0) & (one != other) & ~(has_one & has_other).any(-1)
        labels[:] = np.where(join[:, None, None] & (labels == other[:, None, None]), one[:, None, None], labels)


def _table(labels: Ints) -> Ints:
    """Candidate of every joint of every person, int [n, G, J], -1 for none."""
    n, joints, _ = labels.shape
    table = np.full((n, int(labels.max(initial=0)) + 1, joints), -1)
    image, joint, peak = np.nonzero(labels >= 0)
    table[image, labels[image, joint, peak], joint] = peak
    return table
