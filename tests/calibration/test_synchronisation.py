"""Camera times as stated by the user."""

import numpy as np
import pytest

from calibration.errors import CalibrationError, SettingsError
from calibration.synchronisation import SynchronisationSettings, TimeModel, parse_offsets, synchronise


def given(text):
    return SynchronisationSettings(method="given", offsets_s=text)


def test_a_rate_of_its_own():
    times = TimeModel(("a", "b"), [0.0, 0.1], [0, 0], [0, 0], "test", rate=[1.0, 0.5])
    assert not times.is_identity
    np.testing.assert_allclose(times.exposure_times(1, np.array([0.0, 25.0]), 50.0), [0.1, 1.1])
    np.testing.assert_allclose(times.frames_at(1, np.array([1.1]), 50.0), [25.0])
    with pytest.raises(CalibrationError, match="rates"):
        TimeModel(("a",), [0.0], [0], [0], "test", rate=[0.0])


def test_genlocked_unless_the_motion_says_otherwise():
    times = synchronise(["a", "b"], SynchronisationSettings())
    assert times.is_identity
    assert times.cameras == ("a", "b")
    assert not times.offset_s.any()


def test_given_offsets_go_to_their_cameras():
    times = synchronise(["a", "cam=b", "c"], given("cam=b = -0.25, a=1e-3"))
    np.testing.assert_array_equal(times.offset_s, [1e-3, -0.25, 0])
    assert not times.is_identity


def test_times_and_frames_are_inverse():
    times = TimeModel(("a",), [0.013], [2e-4], [np.nan], "test")
    frames = np.array([0.0, 10.5, 1000])
    seconds = times.exposure_times(0, frames, 25.0)
    assert seconds[2] == pytest.approx(40 * 1.0002 + 0.013)
    np.testing.assert_allclose(times.frames_at(0, seconds, 25.0), frames, atol=1e-9)


@pytest.mark.parametrize("text", ["a", "a=", "=1", "a=one", "a=1, a=2", "a=inf"])
def test_text_that_is_no_offset(text):
    with pytest.raises(SettingsError, match=r"synchronise\.offsets_s"):
        parse_offsets(text)


def test_settings_that_contradict_themselves():
    with pytest.raises(SettingsError, match="no offsets"):
        SynchronisationSettings(method="given")
    for method in ("auto", "genlocked", "motion"):
        with pytest.raises(SettingsError, match=method):
            SynchronisationSettings(method=method, offsets_s="a=1")
    with pytest.raises(SettingsError, match="search_s"):
        SynchronisationSettings(search_s=0.0)
    with pytest.raises(SettingsError, match=r"synchronise\.method"):
        SynchronisationSettings(method="sound")


def test_an_unknown_camera_names_the_nearest():
    with pytest.raises(SettingsError, match="'left'"):
        synchronise(["left", "right"], given("lefd=0.1"))


def test_a_time_model_that_does_not_fit():
    with pytest.raises(CalibrationError, match="offset_s"):
        TimeModel(("a", "b"), [0.0], [0, 0], [0, 0], "test")
    with pytest.raises(CalibrationError, match="drift"):
        TimeModel(("a",), [0.0], [0.5], [0], "test")
