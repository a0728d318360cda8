"""Camera times from a flash: truth from light that is summed over exposures, and from small videos."""

import numpy as np
import pytest

from calibration.synchronisation import Gap
from mocap.synchronisation.flash import flash_frame, offsets_from_flash, read_brightness
from mocap.video import write_video

FPS = np.array([60.0, 50.0, 30.0])


def filmed(rng, offset, fps, at, exposure, seconds=4.0, duration=np.inf):
    """Grey levels of frames exposed about offset + k / fps: people, noise, and light from `at` on."""
    middle = offset + np.arange(round(seconds * fps)) / fps
    begin, end = middle - exposure / fps / 2, middle + exposure / fps / 2
    lit = np.clip(np.minimum(end, at + duration) - np.maximum(begin, at), 0, None) / (end - begin)
    if np.isfinite(duration):  # short and strong: as much light as the lamp in a whole exposure
        lit = lit / min(duration * fps / exposure, 1.0)
    people = 3 * np.sin(middle * rng.uniform(1, 4) + rng.uniform(0, 6))
    return 90 + people + 40 * lit + rng.normal(0, 0.3, len(middle))


@pytest.mark.parametrize("duration", [np.inf, 0.25])
def test_offsets_have_their_stated_uncertainty(duration):
    z = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        offset, at = rng.uniform(-0.5, 0.5, 3), rng.uniform(1.5, 2.5)
        levels = [
            filmed(rng, o, f, at, rng.uniform(0.1, 0.95), duration=duration) for o, f in zip(offset, FPS, strict=True)
        ]
        there, std = offsets_from_flash(levels, FPS, 10.0).against(0)
        z.append((there - (offset - offset[0]))[1:] / std[1:])
    assert np.abs(z).max() < 3
    assert 0.75 < np.sqrt(np.mean(np.square(z))) < 1.15


def test_cameras_of_different_rates_are_not_shifted():
    fps, z = np.array([120.0, 25.0, 25.0]), []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        offset, at = rng.uniform(-0.5, 0.5, 3), rng.uniform(1.5, 2.5)
        levels = [filmed(rng, o, f, at, rng.uniform()) for o, f in zip(offset, fps, strict=True)]
        there, std = offsets_from_flash(levels, fps, 10.0).against(0)
        z.append((there - (offset - offset[0]))[1:] / std[1:])
    # The fast camera's error, in both, is a fourth of theirs.
    assert np.abs(np.mean(z, 0)).max() < 3 / np.sqrt(len(z))


def test_lost_frames_count():
    rng = np.random.default_rng(0)
    whole, short = (filmed(rng, 0.0, 60.0, 2.0, 0.5) for _ in range(2))
    short = np.delete(short, [*range(30, 50), *range(150, 160)])
    known = [Gap(1, 30, 20), Gap(1, 130, 10)]
    for gaps, late in (([], 20), (known[1:], 20), (known, 0)):
        offset, _ = offsets_from_flash([whole, short], np.full(2, 60.0), 10.0, gaps).against(0)
        assert offset[1] == pytest.approx(late / 60)
    # The light went on while frames were lost: at any of them.
    lost = np.delete(whole, range(110, 125))
    assert offsets_from_flash([whole, lost], np.full(2, 60.0), 10.0, [Gap(1, 110, 15)]) is None


def test_a_rise_from_the_first_frame_on_has_no_frame_before_it():
    rise = np.linspace(20, 60, 19)  # the largest one is as far from the start as an event may reach
    levels = np.concatenate([[0], np.cumsum(rise), np.full(150, rise.sum())])
    assert flash_frame(levels, 60.0) is None
    assert flash_frame(np.concatenate([[0, 0], levels]), 60.0) is not None


def test_a_short_flash_is_seen_in_its_frame():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        at = 2 + 0.3 * (rng.uniform() - 0.5) / 60
        assert flash_frame(filmed(rng, 0.0, 60.0, at, 0.9, duration=1e-3), 60.0) == 120


@pytest.mark.parametrize("case", ["none", "slow", "two", "off", "start", "short", "missing", "unknown"])
def test_no_clear_flash_says_nothing(case):
    rng = np.random.default_rng(0)
    at = {"none": 9.0, "start": 0.1, "unknown": 9.0}.get(case, 2.0)
    levels = filmed(rng, 0.0, 60.0, at, 0.5)
    if case == "slow":  # exposure that adapts
        levels = 90 + 40 / (1 + np.exp(-(np.arange(240) - 120) / 6)) + rng.normal(0, 0.3, 240)
    elif case == "two":
        levels = levels + filmed(rng, 0.0, 60.0, 3.0, 0.5)
    elif case == "off":
        levels = 200 - levels
    elif case == "short":
        levels = levels[116:125]
    elif case == "missing":
        levels[119:121] = np.nan
    elif case == "unknown":
        levels[:] = np.nan
    assert flash_frame(levels, 60.0) is None


def test_cameras_that_saw_none_or_another_are_silent():
    rng = np.random.default_rng(1)
    levels = [filmed(rng, 0.0, 60.0, at, 0.5, seconds=8.0) for at in (2.0, 2.5, 6.5, 20.0)]
    found = offsets_from_flash(levels, np.full(4, 60.0), 1.0)
    np.testing.assert_array_equal(found.told, [True, True, False, False])
    assert found.against(0)[0][1] == pytest.approx(-0.5, abs=0.02)
    assert offsets_from_flash(levels[2:], np.full(2, 60.0), 1.0) is None


def test_a_flash_in_videos(tmp_path):
    levels = []
    for first in (30, 41):
        pictures = (np.full((64, 96, 3), 60 + 100 * (k >= first), np.uint8) for k in range(60))
        write_video(tmp_path / f"{first}.mp4", pictures, 25.0, (96, 64))
        levels.append(read_brightness(tmp_path / f"{first}.mp4"))
    assert len(levels[0]) == 60
    assert levels[0][:30] == pytest.approx(60, abs=4)
    assert levels[0][30:] == pytest.approx(160, abs=4)
    assert offsets_from_flash(levels, np.full(2, 25.0), 10.0).against(0)[0][1] == pytest.approx(-11 / 25)
