"""From tracklets to persons: who is too fleeting to count, who continues whom, who comes back."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mocap.matching.settings import MatchingSettings

Array = NDArray[np.float64]


@dataclass(eq=False)
class Tracklet:
    """One unbroken track.

    Attributes
    ----------
    ident : int
    first, last : int
        Rows of `frames` where it was first and last seen.
    first_pose, last_pose : float64 [J, 3], metres
    seen : int
        Frames in which enough views saw it.
    limbs : float64 [L]
        Mean limb lengths, metres; NaN where never measured.
    segment : int
        Continuous piece of the recording it lies in.
    """

    ident: int
    first: int
    last: int
    first_pose: Array
    last_pose: Array
    seen: int = 0
    limbs: Array = field(default_factory=lambda: np.empty(0))
    weight: Array = field(default_factory=lambda: np.empty(0))
    segment: int = 0


def collect(
    tracklets: dict[int, Tracklet],
    rows: slice,
    owner: NDArray[np.int64],
    poses: NDArray[np.float32],
    tracks: NDArray[np.int64],
    limb_index: NDArray[np.int64],
    segment: NDArray[np.int64],
    min_views: int,
) -> None:
    """Add what a chunk of frames says about each tracklet.

    Parameters
    ----------
    tracklets : changed in place.
    rows : slice
        Rows of the chunk.
    owner : int [V, T, S], poses : [T, M, J, 3], tracks : int [T, M]
        Of the chunk, from `track_frames`.
    limb_index : int [L, 2]
    segment : int [T_all]
    min_views : int
        Views that must see a person for the frame to count.
    """
    for m in range(tracks.shape[1]):
        for ident in np.unique(tracks[:, m][tracks[:, m] >= 0]):
            at = np.flatnonzero(tracks[:, m] == ident)
            views = (owner[:, at] == ident).any(-1).sum(0)
            limbs = poses[at, m][:, limb_index]
            length = np.linalg.norm(limbs[:, :, 0] - limbs[:, :, 1], axis=-1).astype(float)
            length[views < 2] = np.nan
            number = np.isfinite(length).sum(0).astype(float)
            middle = np.array([np.median(x[np.isfinite(x)]) if np.isfinite(x).any() else 0.0 for x in length.T])
            new = Tracklet(
                int(ident), rows.start + int(at[0]), rows.start + int(at[-1]), poses[at[0], m].astype(float),
                poses[at[-1], m].astype(float), int((views >= min_views).sum()), middle, number,
                int(segment[rows.start + at[0]]),
            )  # fmt: skip
            old = tracklets.get(new.ident)
            if old is not None:
                total = old.weight + new.weight
                new.limbs = (old.limbs * old.weight + middle * number) / np.maximum(total, 1.0)
                new.weight, new.first, new.first_pose = total, old.first, old.first_pose
                new.seen += old.seen
            tracklets[new.ident] = new


def link(
    tracklets: list[Tracklet], frames: NDArray[np.int64], fps: float, settings: MatchingSettings
) -> dict[int, int]:
    """Person index of every tracklet that counts.

    Parameters
    ----------
    tracklets : list of Tracklet
    frames : int [T]
    fps : float
    settings : MatchingSettings

    Returns
    -------
    dict of int to int
        Tracklet number -> person index, counted from 0 in order of appearance.

    Notes
    -----
    Within a continuous piece, tracklets are chained by a least-cost matching of ends to
    beginnings that a walking person can reach. Chains become persons in order: one that begins
    when a person is away is that person if the limb lengths agree. Across a jump of `frames`
    the persons are taken up again by limb length alone, so that their number stays bounded.
    """
    chains = _chains([t for t in tracklets if t.seen >= max(1.0, settings.min_duration_s * fps)], frames, fps, settings)
    persons: list[_Person] = []
    result: dict[int, int] = {}
    for segment in sorted({c[0].segment for c in chains}):
        here = sorted((c for c in chains if c[0].segment == segment), key=lambda c: (c[0].first, c[0].ident))
        # Those who are there when the piece begins are told apart together, later ones one by one.
        together = sum(c[0].first <= min(b[-1].last for b in here) for c in here)
        for batch in [here[:together], *([c] for c in here[together:])]:
            for chain, known in zip(batch, _take_up(batch, persons, settings), strict=True):
                person = known if known >= 0 else len(persons)
                if known < 0:
                    persons.append(_Person())
                persons[person].add(chain)
                result.update({t.ident: person for t in chain})
    return result


@dataclass(eq=False)
class _Person:
    """What is known of a person so far."""

    last: int = -1
    segment: int = -1
    limbs: Array | None = None
    weight: Array | None = None

    def add(self, chain: list[Tracklet]) -> None:
        for t in chain:
            total = t.weight if self.weight is None else self.weight + t.weight
            old = 0.0 if self.limbs is None or self.weight is None else self.limbs * self.weight
            self.limbs, self.weight = (old + t.limbs * t.weight) / np.maximum(total, 1.0), total
        self.last, self.segment = chain[-1].last, chain[-1].segment

    def difference(self, chain: list[Tracklet]) -> float:
        """Median relative difference of limb lengths; inf where nothing can be compared."""
        other = _Person()
        other.add(chain)
        if self.limbs is None or self.weight is None or other.limbs is None or other.weight is None:
            return np.inf
        both = (self.weight > 0) & (other.weight > 0)
        if both.sum() < 3:
            return np.inf
        return float(np.median(np.abs(np.log(self.limbs[both] / other.limbs[both]))))


def _take_up(chains: list[list[Tracklet]], persons: list[_Person], settings: MatchingSettings) -> list[int]:
    """Known person of each chain, -1 where new; the chains are there at the same time."""
    new_segment = bool(persons) and all(p.segment < chains[0][0].segment for p in persons)
    result = [-1] * len(chains)
    if not persons:
        return result
    cost = np.full((len(chains), len(persons)), 1e6)
    for i, chain in enumerate(chains):
        for k, person in enumerate(persons):
            free = person.segment < chain[0].segment or person.last < chain[0].first
            if free:
                difference = person.difference(chain)
                if new_segment:
                    cost[i, k] = min(difference, 1e3)
                elif difference < settings.max_reentry_difference:
                    cost[i, k] = difference
    for row, column in zip(*linear_sum_assignment(cost), strict=True):
        if cost[row, column] < 1e6:
            result[int(row)] = int(column)
    return result


def _chains(
    tracklets: list[Tracklet], frames: NDArray[np.int64], fps: float, settings: MatchingSettings
) -> list[list[Tracklet]]:
    """Tracklets joined over occlusions."""
    n = len(tracklets)
    if n == 0:
        return []
    cost = np.full((n, n), 1e6)
    for i, a in enumerate(tracklets):
        for k, b in enumerate(tracklets):
            gap = (frames[b.first] - frames[a.last]) / fps
            if a.segment != b.segment or not 0 < gap <= 3 * settings.max_occlusion_s:
                continue
            distance = _centre_distance(a.last_pose, b.first_pose)
            if distance <= settings.max_track_distance_m + settings.max_speed_m_s * min(gap, settings.max_occlusion_s):
                cost[i, k] = distance + 0.1 * gap
    following = {int(i): int(k) for i, k in zip(*linear_sum_assignment(cost), strict=True) if cost[i, k] < 1e6}
    heads = set(range(n)) - set(following.values())
    chains = []
    for i in sorted(heads, key=lambda i: (tracklets[i].first, tracklets[i].ident)):
        chain = [i]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        chains.append([tracklets[k] for k in chain])
    return chains


def _centre_distance(a: Array, b: Array) -> float:
    both = np.isfinite(a[:, 0]) & np.isfinite(b[:, 0])
    return float(np.linalg.norm((a[both] - b[both]).mean(0))) if both.any() else np.inf
