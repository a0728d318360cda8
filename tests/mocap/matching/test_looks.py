"""Looks: each view compared with itself, spreads learnt from the tracks, nothing said where all look alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from mocap.matching import looks as module
from mocap.matching import match_people
from mocap.matching.likeness import BLOCK_ROWS
from mocap.matching.looks import Looks, look_likeness
from mocap.metrics.identity import identity_score, person_distances
from mocap.synthetic.crowd import CrowdKind, make_crowd
from mocap.triangulation import triangulate


def drawn(rng: np.random.Generator, look: np.ndarray, blocks: int = 4) -> Looks:
    """A track that looks like [V, E], off by 1 in every block of rows."""
    seen = look[:, None] + np.repeat(rng.standard_normal((len(look), blocks, look.shape[1])), BLOCK_ROWS, axis=1)
    return Looks.measured(seen, np.arange(blocks * BLOCK_ROWS))


def test_one_view_and_number_is_the_ratio_of_two_normals():
    rng = np.random.default_rng(0)
    people = [drawn(rng, np.array([[x]])) for x in (0.0, 30.0, -20.0, 5.0)]
    within, between = module._look_spread(people)
    error = within * (2 / 4 + 2 * module._LASTING_SHARE)
    r = float(people[0].mean[0, 0] - people[3].mean[0, 0])
    expected = norm.logpdf(r, 0, np.sqrt(error)) - norm.logpdf(r, 0, np.sqrt(error + 2 * between))
    everybody = look_likeness(people, people)
    assert everybody[0, 3] == pytest.approx(np.clip(expected, -8, 8).item(), abs=1e-6)
    assert np.diag(everybody).min() > 0.5
    assert everybody[0, 1] == everybody[1, 0] == -module._LOOK_LIMIT


def test_cameras_need_not_agree_about_colours():
    rng = np.random.default_rng(1)
    person = rng.normal(0, 20, (5, 1, 3))
    camera = rng.normal(0, 50, (1, 4, 3))
    first, second = ([drawn(rng, look) for look in person + camera] for _ in range(2))
    worth = look_likeness(first, second)
    assert (np.diag(worth) > 1).all()
    assert (worth[~np.eye(5, dtype=bool)] < 0).all()


def test_nothing_is_said_where_all_look_alike_or_no_view_saw_both():
    rng = np.random.default_rng(2)
    alike = [drawn(rng, np.zeros((3, 4))) for _ in range(6)]
    assert np.abs(look_likeness(alike[:3], alike[3:])).max() < 1.5
    length = 4 * BLOCK_ROWS
    left, right = np.full((2, 2, length, 3), np.nan)
    left[0], right[1] = 1.0, 50.0
    apart = [Looks.measured(x, np.arange(length)) for x in (left, right)]
    assert look_likeness(apart[:1], apart[1:]) == 0
    without = Looks.measured(np.empty((3, 10, 0)), np.arange(10))
    assert look_likeness([without], [without]) == 0


def test_tracks_too_short_to_know_their_own_spread_say_little():
    """A person seen twice for a second and a half, in one shirt, must not become two."""
    rng = np.random.default_rng(4)
    rows = np.arange(50)

    def short(look: float) -> Looks:
        return Looks.measured(look + rng.standard_normal((2, 50, 3)), rows)

    people = [short(look) for look in (0.0, 20.0, 0.0, 20.0)]
    assert np.abs(look_likeness(people, people)).max() < 1
    longer = [Looks.measured(x + rng.standard_normal((1, 70, 3)), np.arange(70)) for x in (0.0, 3.0)]
    assert np.abs(look_likeness(longer[:1], longer[1:])).max() < 6


def test_people_of_one_size_who_leave_are_known_by_their_clothes():
    """Four people leave at once, two of nearly one size: limb lengths exchange them, clothes do not."""
    crowd = make_crowd(4, 5, CrowdKind.LEAVING, frames=250, seed=16, theft_rate=0.0)
    k, person = crowd.observation.keypoints, crowd.observation.person
    rng = np.random.default_rng(3)
    clothes = rng.normal(0, 20, (5, 6))  # the last: false detections
    camera = rng.normal(0, 10, (len(person), 1, 1, 6))
    look = clothes[person] + camera + rng.normal(0, 6, (*person.shape, 6))

    def idf1(keypoints):
        X = triangulate(match_people(keypoints, crowd.rig), crowd.rig).positions
        present = np.isfinite(crowd.truth).any((2, 3))
        return identity_score(person_distances(X, crowd.truth), present, np.isfinite(X).any((2, 3))).idf1

    assert idf1(k) < 0.9
    assert idf1(replace(k, appearance=look)) > 0.97
