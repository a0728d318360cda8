"""Whether two tracks are one person: against SciPy's normals, and on bodies drawn from the population."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from mocap.matching import likeness
from mocap.matching.likeness import BLOCK_ROWS, LimbLengths, block_std, body_likeness, place_likeness


def drawn(rng: np.random.Generator, log_length: np.ndarray, blocks: int, std: float) -> LimbLengths:
    """A track of so many blocks, whose limbs are off by `std` (log) in each block and a little in each frame."""
    per_block = log_length + std * rng.standard_normal((blocks, len(log_length)))
    length = np.exp(np.repeat(per_block, BLOCK_ROWS, axis=0))
    length *= np.exp(0.02 * rng.standard_normal(length.shape))
    return LimbLengths.measured(length, np.arange(len(length)))


def test_ratio_is_that_of_the_two_normals():
    rng = np.random.default_rng(0)
    L, std = 7, np.full(7, 0.04)
    a, b = (drawn(rng, np.log(0.4) + 0.05 * rng.standard_normal(L), n, 0.03) for n in (3, 5))
    r = a.mean - b.mean
    error = np.diag(2 * likeness._LASTING_STD**2 + std**2 * (1 / a.blocks + 1 / b.blocks))
    people = 2 * (likeness._SIZE_STD**2 * np.ones((L, L)) + likeness._SHAPE_STD**2 * np.eye(L))
    expected = multivariate_normal.logpdf(r, cov=error) - multivariate_normal.logpdf(r, cov=error + people)
    assert body_likeness([a], [b], std)[0, 0] == pytest.approx(expected, abs=1e-9)


def test_limbs_never_measured_do_not_count():
    rng = np.random.default_rng(1)
    length = np.exp(np.log(0.4) + 0.1 * rng.standard_normal((2, 40, 6)))
    full = [LimbLengths.measured(x[:, :4], np.arange(40)) for x in length]
    length[0, :, 4:] = np.nan
    part = [LimbLengths.measured(x, np.arange(40)) for x in length]
    std = np.full(6, 0.04)
    assert body_likeness(part[:1], part[1:], std) == pytest.approx(body_likeness(full[:1], full[1:], std[:4]))
    length[0, :, 2:] = np.nan
    two_limbs = LimbLengths.measured(length[0], np.arange(40))
    assert body_likeness([two_limbs], part[1:], std) == 0


def test_log_odds_of_bodies_of_the_population_are_odds():
    """Pairs that get the ratio L are exp(L) times as frequent among one person's as among two people's."""
    rng = np.random.default_rng(2)
    N, std = 1200, 0.05
    people = np.log(0.4) + likeness._SIZE_STD * rng.standard_normal((N, 1))
    people = people + likeness._SHAPE_STD * rng.standard_normal((N, 10))
    lasting = likeness._LASTING_STD
    first, second = (
        [drawn(rng, body + lasting * rng.standard_normal(10), 2, std) for body in people] for _ in range(2)
    )
    learnt = block_std([*first, *second])
    assert learnt == pytest.approx(np.full(10, std), rel=0.1)
    worth = body_likeness(first, second, learnt)
    same, other = np.diag(worth), worth[~np.eye(N, dtype=bool)]
    assert (same > 0).mean() > 0.9
    assert (other < 0).mean() > 0.75
    for low in (-2.0, -1.0, 0.0, 1.0):
        a, b = (x[(x >= low) & (x < low + 1)] for x in (same, other))
        odds = (len(a) / len(same)) / (len(b) / len(other))
        assert odds == pytest.approx(np.exp(low + 0.5), rel=0.35)


def test_block_spread_falls_back_to_the_prior():
    rng = np.random.default_rng(3)
    short = drawn(rng, np.zeros(5), 1, 0.2)
    assert block_std([short]) == pytest.approx(np.full(5, likeness._BLOCK_STD))


def test_the_same_rows_in_two_parts_are_the_same_body():
    rng = np.random.default_rng(4)
    length = np.exp(rng.normal(-1, 0.1, (4 * BLOCK_ROWS, 5)))
    rows = 64 + np.arange(len(length))
    whole = LimbLengths.measured(length, rows)
    parts = LimbLengths.measured(length[: 2 * BLOCK_ROWS], rows[: 2 * BLOCK_ROWS]) + LimbLengths.measured(
        length[2 * BLOCK_ROWS :], rows[2 * BLOCK_ROWS :]
    )
    for name in ("total", "square", "blocks"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-12)


def test_near_and_soon_speaks_for_the_same_far_against():
    assert place_likeness(0.1, 0.1) > 3
    assert place_likeness(3.0, 0.5) < -5
    assert abs(place_likeness(2.0, 3.0)) < 1
