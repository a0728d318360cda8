"""What the match stage did, for people: per camera and person, and what they should look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.types import Matches

# Another detection that fits nearly as well: error at most this many times that of the one taken.
_NEARLY = 1.5
# Shares above which a camera is worth a warning.
_MUCH_DOUBT, _MUCH_SINGLE, _MUCH_FLIPPED = 0.2, 0.2, 0.25
# A camera that sees nobody for this long, seconds, while others do.
_SILENCE_S = 1.0


@dataclass(frozen=True)
class ViewOfPerson:
    """One camera's part in one person; shares of frames or joints, 0..1.

    Attributes
    ----------
    camera : str
    person : int
    seen : float
        Share of the frames in which a slot was taken.
    score_px : float
        Median reprojection error of the slots taken; NaN where never seen.
    doubtful : float
        Share of those frames in which another slot fits nearly as well.
    flipped : float
        Share of the joints taken whose left and right were exchanged.
    moved : float
        Share of the joints taken that come from another slot than the person's.
    """

    camera: str
    person: int
    seen: float
    score_px: float
    doubtful: float
    flipped: float
    moved: float


@dataclass(frozen=True)
class MatchSummary:
    """The audit table in short, and what to look at."""

    views: tuple[ViewOfPerson, ...]
    warnings: tuple[str, ...]


def repairs(matches: Matches) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which joints [V, T, P, J] were exchanged with their left/right partner, and which taken from another slot."""
    J = matches.observation.shape[3]
    seen = matches.observation >= 0
    flipped = seen & (matches.observation % J != np.arange(J))
    moved = seen & (matches.observation // J != matches.slot[..., None])
    return flipped, moved


def summarise(matches: Matches) -> MatchSummary:
    """The audit of a match artifact in short."""
    flipped, moved = repairs(matches)
    taken = matches.observation >= 0
    rows = []
    for v, camera in enumerate(matches.cameras):
        for p in range(len(matches.person_ids)):
            seen = matches.slot[v, :, p] >= 0
            score, other = matches.score[v, seen, p], matches.runner_up[v, seen, p]
            with np.errstate(invalid="ignore"):
                doubtful = other < _NEARLY * score
            joints = max(1, int(taken[v, :, p].sum()))
            rows.append(
                ViewOfPerson(
                    camera, int(matches.person_ids[p]), _share(seen), _median(score), _share(doubtful),
                    float(flipped[v, :, p].sum() / joints), float(moved[v, :, p].sum() / joints),
                )
            )  # fmt: skip
    return MatchSummary(tuple(rows), tuple([*_about_views(matches), *_about_rows(rows)]))


def _share(mask: NDArray[np.bool_]) -> float:
    return float(mask.mean()) if mask.size else 0.0


def _median(values: NDArray[np.float32]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _about_views(matches: Matches) -> list[str]:
    """Cameras that fall silent, and people whom one camera sees."""
    if not len(matches.person_ids):
        return ["no person was found"]
    out = []
    seen = np.asarray(matches.slot >= 0)
    anybody = np.asarray(seen.any(2))
    others = np.asarray(anybody.sum(0) >= 2)
    limit = max(1, round(_SILENCE_S * matches.fps))
    for v, camera in enumerate(matches.cameras):
        if not anybody[v].any():
            out.append(f"camera {camera} shows none of the persons")
            continue
        last = int(np.flatnonzero(anybody[v])[-1])
        if others[last + 1 :].sum() >= limit:
            out.append(f"camera {camera} shows nobody after frame {matches.frames[last]}, while others do")
    for p, person in enumerate(matches.person_ids):
        count = seen[:, :, p].sum(0)
        single = float((count == 1).sum() / max(1, (count > 0).sum()))
        if single > _MUCH_SINGLE:
            out.append(f"person {person} is seen by a single camera in {100 * single:.0f} % of the frames")
    return out


def _about_rows(rows: list[ViewOfPerson]) -> list[str]:
    out = []
    for r in rows:
        if r.doubtful > _MUCH_DOUBT:
            out.append(
                f"camera {r.camera}: in {100 * r.doubtful:.0f} % of the frames another detection fits person "
                f"{r.person} nearly as well (somebody found twice, or two people who overlap)"
            )
        if r.flipped > _MUCH_FLIPPED:
            out.append(
                f"camera {r.camera}: left and right of person {r.person} were exchanged in {100 * r.flipped:.0f} %"
            )
    return out
