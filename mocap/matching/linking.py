"""From tracklets to persons: who is too fleeting to count, who continues whom, who comes back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mocap.matching.held import limb_lengths, views_that_hold
from mocap.matching.likeness import LimbLengths, block_std, body_likeness, limb_differences, place_likeness
from mocap.matching.looks import Body, Looks, look_likeness
from mocap.matching.settings import MatchingSettings

Array = NDArray[np.float64]

# Limb lengths that differ by this many times `max_reentry_difference` are another body's, however near.
_OTHER_BODY = 2.5
# Log odds that somebody who appears was there before, and that a track that was renewed shows the same person.
_RETURN, _SAME_TRACK = 2.0, 2.0
# Short pieces of a track show that its person is there if they make up this many times the shortest duration,
# and this share of the frames: chance brings two views together now and then.
_STILL_THERE, _STILL_SHARE = 2, 1 / 3


@dataclass(eq=False)
class Tracklet:
    """One unbroken track.

    Attributes
    ----------
    ident : int
    first, last : int
        Rows of `frames` where it was first seen, and last by two views: one may have seen anybody.
    first_pose, last_pose : float64 [J, 3], metres
        Of these rows.
    body : Body
    seen : int
        Frames in which enough views saw it.
    held : int
        Frames in which two views or more did.
    segment : int
        Continuous piece of the recording it lies in.
    dead : int
        First row in which it lives no more.
    confirmed : int
        Row of the frame that completes the shortest duration or leaves no doubt, -1 before.
    early : Body, optional
        What was known of the body then.
    parent : int
        The tracklet that this one goes on from if it shows the same person; -1 none.
    merged : list of int
        Tracklets that became part of this one.
    pieces : list of (int, int)
        Their first rows, and the frames in which two views saw them.
    """

    ident: int
    first: int
    last: int
    first_pose: Array
    last_pose: Array
    body: Body
    seen: int = 0
    held: int = 0
    segment: int = 0
    dead: int = 0
    confirmed: int = -1
    early: Body | None = None
    parent: int = -1
    merged: list[int] = field(default_factory=list)
    pieces: list[tuple[int, int]] = field(default_factory=list)

    @property
    def idents(self) -> list[int]:
        """All tracklets that this one stands for."""
        return [self.ident, *self.merged]


def collect(
    tracklets: dict[int, Tracklet],
    rows: slice,
    owner: NDArray[np.int64],
    poses: NDArray[np.float32],
    tracks: NDArray[np.int64],
    parents: NDArray[np.int64],
    appearance: NDArray[np.float32],
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
    owner : int [V, T, S], poses : [T, M, J, 3], tracks, parents : int [T, M]
        Of the chunk, from `track_frames`.
    appearance : float [V, T, S, E]
        Of the chunk.
    limb_index : int [L, 2]
    segment : int [T_all]
    min_views : int
        Views that must see a person for the frame to count.
    needed : int
        Frames that make a person of a tracklet.
    """
    held = np.zeros(tracks.shape, np.int64)
    views_that_hold(owner, tracks, held)
    for m in np.flatnonzero((tracks >= 0).any(0)).tolist():
        for ident in np.unique(tracks[:, m][tracks[:, m] >= 0]):
            alive = np.flatnonzero(tracks[:, m] == ident)
            views = held[alive, m]
            old = tracklets.get(int(ident))
            at, views = alive[views > 0], views[views > 0]
            if len(at):
                look = _look(owner[:, at] == ident, appearance[:, at])
                new = _measure(int(ident), rows.start, at, views, poses[:, m], look, limb_index, min_views)
                new.segment = int(segment[rows.start + at[0]])
                new.parent = int(parents[alive[0], m])
                last = _confirmed_at(views, min_views, needed - (old.seen if old is not None else 0))
                if last >= 0 and (old is None or old.confirmed < 0):
                    early = slice(last + 1)
                    part = _measure(new.ident, rows.start, at[early], views[early], poses[:, m], look[:, early],
                                    limb_index, min_views)  # fmt: skip
                    _continue(part, old)
                    new.confirmed, new.early = rows.start + int(at[last]), part.body
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
    look: Array, limb_index: NDArray[np.int64], min_views: int,
) -> Tracklet:  # fmt: skip
    """A tracklet as the rows `at` of a chunk that begins at row `start` show it."""
    length = np.empty((len(at), len(limb_index)))
    limb_lengths(poses, at, views, limb_index, length)
    end = int(at[views >= 2][-1] if (views >= 2).any() else at[0])
    rows = start + at
    body = Body(LimbLengths.measured(length, rows), Looks.measured(look, rows))
    return Tracklet(
        ident, start + int(at[0]), start + end, poses[at[0]].astype(float), poses[end].astype(float), body,
        int((views >= min_views).sum()), int((views >= 2).sum()),
    )  # fmt: skip


def _look(mine: NDArray[np.bool_], appearance: NDArray[np.float32]) -> Array:
    """What each view saw of a track [V, n, E] in the slots that are its own, mine [V, n, S]; NaN where none is."""
    if not appearance.shape[3]:
        return np.empty((*mine.shape[:2], 0))
    slot = mine.argmax(2)
    taken = np.take_along_axis(appearance, slot[..., None, None], 2)[:, :, 0].astype(float)
    taken[~mine.any(2)] = np.nan
    return np.asarray(taken)


def _continue(new: Tracklet, old: Tracklet | None) -> None:
    """Add what was known of the tracklet before."""
    if old is None:
        return
    new.body, new.first, new.first_pose, new.parent = old.body + new.body, old.first, old.first_pose, old.parent
    if not new.held:
        new.last, new.last_pose = old.last, old.last_pose
    new.seen += old.seen
    new.held += old.held
    if old.confirmed >= 0:
        new.confirmed, new.early = old.confirmed, old.early


def merge_renewed(tracklets: list[Tracklet], needed: int, always: bool) -> list[Tracklet]:
    """Tracklets that go on from another and are too short to be judged, or all of them, made one with it.

    What is too short may be noise: of a lasting track it neither moves the end nor changes the body.
    """
    home: dict[int, Tracklet] = {}
    for t in sorted(tracklets, key=lambda t: t.ident):
        before = home.get(t.parent)
        if before is None or not (always or min(before.held, t.held) < needed):
            home[t.ident] = t
            continue
        whole = replace(t)
        _continue(whole, before)
        if always or before.held < needed:
            before.last, before.last_pose, before.body = whole.last, whole.last_pose, whole.body
        before.seen, before.held, before.dead = whole.seen, whole.held, whole.dead
        before.confirmed, before.early = whole.confirmed, whole.early
        before.merged.append(t.ident)
        before.pieces.append((t.first, t.held))
        home[t.ident] = before
    return list({id(t): t for t in home.values()}.values())


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
        now = t if t.early is None else replace(t, body=t.early)
        away = [k for k, b in enumerate(latest) if b.dead <= t.confirmed and b.last < t.first]
        here = [k for k in away if latest[k].segment == t.segment]
        index = len(persons)
        if here:
            # As known so far: what a track showed before it ended counts for the whole person.
            before = [replace(latest[k], body=persons[k].body) for k in here]
            worth = _worth(before, [now], frames, fps, settings)[:, 0]
            if worth.max() > 0:
                index = here[int(worth.argmax())]
        if index == len(persons) and len(away) > len(here):
            known = [k for k in away if k not in here]
            index = known[int(_differences(now.body, [persons[k].body for k in known]).argmin())]
        if index == len(persons):
            persons.append(_Person(t.body, t.segment))
            latest.append(t)
        else:
            persons[index] = persons[index].with_chain([t])
            latest[index] = t
        result.update(dict.fromkeys(t.idents, index))
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
    Within a continuous piece, ends of tracklets are matched to beginnings so that the sum of the log
    likelihood ratios "same person" to "two people" is greatest: of limb lengths and, for a short
    absence, of the place. Across a jump of `frames` the persons are taken up again by limb length
    alone, so that their number stays bounded.
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
                    persons.append(_Person.of(chain))
                else:
                    persons[person] = persons[person].with_chain(chain)
                result.update(dict.fromkeys([i for t in chain for i in t.idents], person))
    return result


@dataclass(frozen=True, eq=False)
class _Person:
    """What is known of a person so far: limbs, and the last piece of the recording they were in."""

    body: Body
    segment: int

    @staticmethod
    def of(chain: list[Tracklet]) -> _Person:
        person = _Person(chain[0].body, chain[0].segment)
        return person.with_chain(chain[1:])

    def with_chain(self, chain: list[Tracklet]) -> _Person:
        body, segment = self.body, self.segment
        for t in chain:
            body, segment = body + t.body, t.segment
        return _Person(body, segment)


def _differences(body: Body, others: list[Body]) -> Array:
    """Median relative differences [M] of limb lengths; inf where fewer than three can be compared."""
    return limb_differences(body.limbs, *(np.stack([getattr(o.limbs, n) for o in others]) for n in ("blocks", "mean")))


def _take_up(chains: list[list[Tracklet]], persons: list[_Person], settings: MatchingSettings) -> list[int]:
    """Known person, from earlier pieces, of each chain, -1 where new; the chains are there at the same time."""
    segment = chains[0][0].segment
    nobody_yet = all(p.segment < segment for p in persons)
    result = [-1] * len(chains)
    if not persons:
        return result
    cost = np.full((len(chains), len(persons)), 1e6)
    away = np.array([person.segment < segment for person in persons])
    for i, chain in enumerate(chains):
        difference = _differences(_Person.of(chain).body, [person.body for person in persons])
        known = away & (nobody_yet | (difference < settings.max_reentry_difference))
        cost[i, known] = np.minimum(difference[known], 1e3)
    for row, column in zip(*linear_sum_assignment(cost), strict=True):
        if cost[row, column] < 1e6:
            result[int(row)] = int(column)
    return result


def _chains(
    tracklets: list[Tracklet], frames: NDArray[np.int64], fps: float, settings: MatchingSettings
) -> list[list[Tracklet]]:
    """Tracklets of one person each, in order."""
    n = len(tracklets)
    if n == 0:
        return []
    worth = np.maximum(_worth(tracklets, tracklets, frames, fps, settings), 0.0)
    following = {int(i): int(k) for i, k in zip(*linear_sum_assignment(-worth), strict=True) if worth[i, k] > 0}
    heads = set(range(n)) - set(following.values())
    chains = []
    for i in sorted(heads, key=lambda i: (tracklets[i].first, tracklets[i].ident)):
        chain = [i]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        chains.append([tracklets[k] for k in chain])
    return chains


def _worth(
    before: list[Tracklet], after: list[Tracklet], frames: NDArray[np.int64], fps: float, settings: MatchingSettings
) -> Array:
    """Log odds [N, M] of tracklets `after` showing the persons of `before` again; -inf where they cannot."""
    last, first = (np.array([getattr(t, end) for t in side]) for side, end in ((before, "last"), (after, "first")))
    gap = (frames[first][None] - frames[last][:, None]) / fps
    segments = (np.array([t.segment for t in side]) for side in (before, after))
    possible = (gap > 0) & np.equal.outer(*segments)
    if not possible.any():
        return np.full(possible.shape, -np.inf)
    std = block_std([t.body.limbs for t in {id(t): t for t in (*before, *after)}.values()])
    worth = _RETURN + body_likeness([t.body.limbs for t in before], [t.body.limbs for t in after], std)
    worth += look_likeness([t.body.looks for t in before], [t.body.looks for t in after])
    near = gap <= 3 * settings.max_occlusion_s
    allowed = settings.max_reentry_difference * np.where(near, _OTHER_BODY, 1.0)
    poses = np.stack([t.first_pose for t in after])
    limbs = [np.stack([getattr(t.body.limbs, n) for t in after]) for n in ("blocks", "mean")]
    parent = np.array([t.parent for t in after])
    needed = frames_needed(fps, settings)
    for i, a in enumerate(before):
        difference = limb_differences(a.body.limbs, *limbs)
        distance = _centre_distances(a.last_pose, poses)
        reach = settings.max_track_distance_m + settings.max_speed_m_s * gap[i]
        # Too few limbs to compare: over a short absence the place says it all, over a long one nothing does.
        alike = (difference < allowed[i]) | (near[i] & np.isinf(difference))
        possible[i] &= alike & (~near[i] | (distance <= reach))
        if a.pieces:  # each too short to be judged, but together they may show that somebody is there still
            rows, held = np.array(a.pieces).T
            later = (held * (rows >= first[:, None])).sum(1)
            span = np.maximum((rows + held).max() - first, 1)
            possible[i] &= (later < _STILL_THERE * needed) | (later < _STILL_SHARE * span)
        here = place_likeness(np.where(np.isfinite(distance), distance, 0.0), gap[i])
        worth[i] += np.where(near[i], here + _SAME_TRACK * np.isin(parent, a.idents), 0.0)
    return np.where(possible, worth, -np.inf)


def _centre_distances(pose: Array, others: Array) -> Array:
    """Distances [M] of the mean of the joints that a pose [J, 3] and others [M, J, 3] both have, m; inf if none."""
    both = np.isfinite(pose[:, 0]) & np.isfinite(others[..., 0])
    shift = np.where(both[..., None], pose - others, 0.0).sum(1) / np.maximum(both.sum(1), 1)[:, None]
    return np.where(both.any(1), np.linalg.norm(shift, axis=-1), np.inf)
