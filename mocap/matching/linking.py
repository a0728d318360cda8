"""From tracklets to persons: who is too fleeting to count, who continues whom, who comes back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mocap.matching.settings import MatchingSettings

Array = NDArray[np.float64]

# Limb lengths that differ by this many times `max_reentry_difference` are another body's, however near.
_OTHER_BODY = 2.5
# Standard deviation of the relative difference of one body's limb lengths, at best and for a single frame.
_LIMB_STD, _LIMB_FRAME_STD = 0.015, 0.15
# A person who is not seen is this far from where they were (metres), and this much farther per second.
_PLACE_STD, _WALK_STD = 0.2, 0.8


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
    held : int
        Frames in which two views or more did.
    limbs : float64 [L]
        Mean limb lengths, metres; NaN where never measured.
    segment : int
        Continuous piece of the recording it lies in.
    dead : int
        First row in which it lives no more.
    confirmed : int
        Row of the frame that completes the shortest duration or leaves no doubt, -1 before.
    early : (limbs, weight), optional
        What was known of the limbs then.
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
    dead: int = 0
    confirmed: int = -1
    held: int = 0
    early: tuple[Array, Array] | None = None


def collect(
    tracklets: dict[int, Tracklet],
    rows: slice,
    owner: NDArray[np.int64],
    poses: NDArray[np.float32],
    tracks: NDArray[np.int64],
    limb_index: NDArray[np.int64],
    segment: NDArray[np.int64],
    min_views: int,
    needed: int,
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
    needed : int
        Frames that make a person of a tracklet.
    """
    for m in range(tracks.shape[1]):
        for ident in np.unique(tracks[:, m][tracks[:, m] >= 0]):
            alive = np.flatnonzero(tracks[:, m] == ident)
            views = (owner[:, alive] == ident).any(-1).sum(0)
            old = tracklets.get(int(ident))
            at, views = alive[views > 0], views[views > 0]
            if len(at):
                new = _measure(int(ident), rows.start, at, views, poses[:, m], limb_index, min_views)
                new.segment = int(segment[rows.start + at[0]])
                last = _confirmed_at(views, min_views, needed - (old.seen if old is not None else 0))
                if last >= 0 and (old is None or old.confirmed < 0):
                    part = _measure(new.ident, rows.start, at[: last + 1], views[: last + 1], poses[:, m], limb_index,
                                    min_views)  # fmt: skip
                    _continue(part, old)
                    new.confirmed, new.early = rows.start + int(at[last]), (part.limbs, part.weight)
                _continue(new, old)
                tracklets[new.ident] = new
            if int(ident) in tracklets:
                tracklets[int(ident)].dead = rows.start + int(alive[-1]) + 1


def _confirmed_at(views: NDArray[np.int64], min_views: int, needed: int) -> int:
    """First place in `views` [n] where a tracklet that needs so many more frames is beyond doubt; -1 if none.

    One view more than necessary leaves no doubt: chance does not bring so many rays together.
    """
    full = np.flatnonzero(views >= min_views)
    sure = np.flatnonzero(views > min_views)
    ends = [int(full[needed - 1])] if 0 < needed <= len(full) else []
    return min(ends + [int(i) for i in sure[:1]], default=-1)


def _measure(
    ident: int, start: int, at: NDArray[np.int64], views: NDArray[np.int64], poses: NDArray[np.float32],
    limb_index: NDArray[np.int64], min_views: int,
) -> Tracklet:  # fmt: skip
    """A tracklet as the rows `at` of a chunk that begins at row `start` show it."""
    limbs = poses[at][:, limb_index]
    length = np.linalg.norm(limbs[:, :, 0] - limbs[:, :, 1], axis=-1).astype(float)
    length[views < 2] = np.nan
    number = np.isfinite(length).sum(0)
    ordered = np.sort(length, axis=0)  # NaN last
    low, high = (np.take_along_axis(ordered, k[None], 0)[0] for k in (np.maximum(number - 1, 0) // 2, number // 2))
    middle = np.where(number > 1, (low + high) / 2, np.where(number > 0, low, 0.0))
    return Tracklet(
        ident, start + int(at[0]), start + int(at[-1]), poses[at[0]].astype(float), poses[at[-1]].astype(float),
        int((views >= min_views).sum()), middle, number.astype(float), held=int((views >= 2).sum()),
    )  # fmt: skip


def _continue(new: Tracklet, old: Tracklet | None) -> None:
    """Add what was known of the tracklet before."""
    if old is None:
        return
    total = old.weight + new.weight
    new.limbs = (old.limbs * old.weight + new.limbs * new.weight) / np.maximum(total, 1.0)
    new.weight, new.first, new.first_pose = total, old.first, old.first_pose
    new.seen += old.seen
    new.held += old.held
    if old.confirmed >= 0:
        new.confirmed, new.early = old.confirmed, old.early


def frames_needed(fps: float, settings: MatchingSettings) -> int:
    """Frames in which enough views must see a tracklet before it counts."""
    return max(1, int(np.ceil(settings.min_duration_s * fps - 1e-9)))


def link_causally(
    tracklets: list[Tracklet], frames: NDArray[np.int64], fps: float, settings: MatchingSettings
) -> dict[int, int]:
    """Person index of every tracklet that counts, each decided at the frame that confirms it.

    Parameters and result as for `link`; persons are counted in the order of confirmation, and
    nothing that happens later changes a decision.
    """
    persons: list[_Person] = []
    latest: list[Tracklet] = []
    result: dict[int, int] = {}
    for t in sorted((t for t in tracklets if t.confirmed >= 0), key=lambda t: (t.confirmed, t.ident)):
        now = replace(t, last=t.confirmed)
        if t.early is not None:
            now.limbs, now.weight = t.early
        cost = np.full(len(persons), np.inf)
        for k, person in enumerate(persons):
            before = latest[k]
            if before.dead > t.confirmed or before.last >= t.first:
                continue  # still there
            difference = person.difference([now])
            if before.segment != t.segment:
                cost[k] = 1e3 + min(difference, 1e3)
            elif _reach(before, t, frames, fps, settings) < np.inf:
                cost[k] = _reach(before, t, frames, fps, settings)
            elif difference < settings.max_reentry_difference:
                cost[k] = 1e2 + difference
        index = int(np.argmin(cost)) if len(cost) and np.isfinite(cost.min()) else len(persons)
        if index == len(persons):
            persons.append(_Person())
            latest.append(t)
        # What a tracklet shows after it was confirmed counts once it has ended: see `before.dead`.
        persons[index].add([t])
        latest[index] = t
        result[t.ident] = index
    return result


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
    needed = frames_needed(fps, settings)
    lasting = [t for t in tracklets if t.held >= needed]
    chains = [c for c in _chains(lasting, frames, fps, settings) if sum(t.seen for t in c) >= needed]
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

    @staticmethod
    def of(tracklet: Tracklet) -> _Person:
        person = _Person()
        person.add([tracklet])
        return person

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
            cost[i, k] = min(cost[i, k], _reach(a, b, frames, fps, settings))
    following = {int(i): int(k) for i, k in zip(*linear_sum_assignment(cost), strict=True) if cost[i, k] < 1e6}
    heads = set(range(n)) - set(following.values())
    chains = []
    for i in sorted(heads, key=lambda i: (tracklets[i].first, tracklets[i].ident)):
        chain = [i]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        chains.append([tracklets[k] for k in chain])
    return chains


def _reach(a: Tracklet, b: Tracklet, frames: NDArray[np.int64], fps: float, settings: MatchingSettings) -> float:
    """Cost of b being a, gone on after an occlusion; inf where a walking person cannot be that quick."""
    gap = (frames[b.first] - frames[a.last]) / fps
    if a.segment != b.segment or not 0 < gap <= 3 * settings.max_occlusion_s:
        return np.inf
    distance = _centre_distance(a.last_pose, b.first_pose)
    reach = settings.max_track_distance_m + settings.max_speed_m_s * min(gap, settings.max_occlusion_s)
    person = _Person.of(a)
    difference = person.difference([b])
    if distance > reach or (np.isfinite(difference) and difference > _OTHER_BODY * settings.max_reentry_difference):
        return np.inf
    # Minus the log likelihood: over a long absence the body says more than the place.
    cost = 0.5 * (distance / (_PLACE_STD + _WALK_STD * gap)) ** 2 + 0.1 * gap
    if np.isfinite(difference):
        frames_seen = max(1.0, float(min(a.weight.max(initial=0.0), b.weight.max(initial=0.0))))
        cost += 0.5 * (difference / (_LIMB_STD + _LIMB_FRAME_STD / np.sqrt(frames_seen))) ** 2
    return float(cost)


def _centre_distance(a: Array, b: Array) -> float:
    both = np.isfinite(a[:, 0]) & np.isfinite(b[:, 0])
    return float(np.linalg.norm((a[both] - b[both]).mean(0))) if both.any() else np.inf
