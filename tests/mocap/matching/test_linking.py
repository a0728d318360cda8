"""Tracks to persons: who is there still is nobody else, whatever the frame rate."""

from __future__ import annotations

import numpy as np
import pytest

from mocap.matching import MatchingSettings, match_people
from mocap.matching.likeness import LimbLengths
from mocap.matching.linking import Tracklet, frames_needed, link, merge_renewed
from mocap.matching.looks import Body, Looks
from mocap.metrics.identity import identity_score, person_distances
from mocap.synthetic.crowd import CrowdKind, make_crowd
from mocap.triangulation import triangulate

FPS, FRAMES = 30.0, np.arange(400)


def track(ident: int, rows: range, place: float, parent: int = -1, held: int | None = None) -> Tracklet:
    """A track of two views over these rows, of one and the same body, `place` metres along x."""
    rng = np.random.default_rng(ident)
    pose = np.array([[place, 0.0, z] for z in (0.0, 0.5, 1.0, 1.5)])
    length = np.exp(rng.normal(np.log(0.4), 0.02, (len(rows), 8)))
    at = np.array(rows)
    body = Body(LimbLengths.measured(length, at), Looks.measured(np.empty((2, len(at), 0)), at))
    seen = len(rows) if held is None else held
    return Tracklet(ident, rows[0], rows[-1], pose, pose, body, seen, seen, dead=rows[-1] + 1, parent=parent)


def persons(tracks: list[Tracklet]) -> dict[int, int]:
    settings = MatchingSettings()
    merged = merge_renewed(tracks, frames_needed(FPS, settings), always=False)
    return link(merged, FRAMES, FPS, settings)


def test_who_is_gone_for_a_moment_is_the_same():
    assert persons([track(0, range(100), 0.0), track(1, range(130, 300), 0.4)]) == {0: 0, 1: 0}


def test_who_is_there_in_short_pieces_is_not_continued_by_somebody_else():
    first = track(0, range(100), 0.0)
    pieces = [track(2 + k, range(103 + 9 * k, 108 + 9 * k), 0.0, parent=1 + k if k else 0) for k in range(30)]
    found = persons([first, *pieces, track(50, range(150, 400), 0.6)])
    assert {found[t.ident] for t in pieces} == {found[0]}
    assert found[50] != found[0]


def test_a_few_chance_frames_do_not_stand_in_the_way():
    tail = [track(2, range(160, 162), 0.2, parent=0), track(3, range(180, 181), 0.1, parent=2)]
    found = persons([track(0, range(100), 0.0), *tail, track(9, range(150, 300), 0.4)])
    assert found[9] == found[0]


@pytest.mark.parametrize("fps", [5.0, 8.0])
def test_low_frame_rates(fps):
    """Where frames are far apart, a track that was never lost is not taken for lost."""
    crowd = make_crowd(3, 4, CrowdKind.CROSSING, frames=60, fps=fps, seed=2, theft_rate=0.0)
    matches = match_people(crowd.observation.keypoints, crowd.rig)
    assert len(matches.person_ids) == 3
    X = triangulate(matches, crowd.rig).positions
    present = np.isfinite(crowd.truth).any((2, 3))
    assert identity_score(person_distances(X, crowd.truth), present, np.isfinite(X).any((2, 3))).idf1 > 0.95
