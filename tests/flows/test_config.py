"""session.toml: what is accepted, what is refused and how the refusal helps."""

from __future__ import annotations

import pytest

from flows.config import Assignment, Stage, assign, parse_config, read_config
from mocap.errors import SessionError, SettingsError

GOOD = """
# made by hand
[session]
version = 1
calibration = "rig.toml"

[[camera]]
name = "a"
calibration = "cam_0"
video = "a.mp4"

[[camera]]
name = "b"
calibration = "cam_1"
video = "b.mp4"

[filter]
cutoff_hz = 5  # whole numbers are numbers
"""


def test_values_arrive_typed():
    config = parse_config(GOOD)
    assert config.settings.filter.cutoff_hz == 5.0
    assert isinstance(config.settings.filter.cutoff_hz, float)
    assert [c.name for c in config.cameras] == ["a", "b"]
    assert config.settings.of(Stage.FILTER)["cutoff_hz"] == 5.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("cutoff_hz", "cutof_hz"), "did you mean 'cutoff_hz'"),
        (("[filter]", "[fliter]"), "did you mean 'filter'"),
        (("cutoff_hz = 5", 'cutoff_hz = "5"'), "a number"),
        (("cutoff_hz = 5", "cutoff_hz = true"), "a number"),
        (("cutoff_hz = 5", 'method = "buterworth"'), "did you mean 'butterworth'"),
        (("version = 1", "version = 7"), "another version"),
        (("[session]", "[session"), "not valid TOML"),
        (('name = "a"', 'nam = "a"'), "did you mean 'name'"),
        ((GOOD[GOOD.index("[[camera]]") : GOOD.index("[filter]")], ""), "no camera"),
        ((GOOD[GOOD.index('[[camera]]\nname = "b"') : GOOD.index("[filter]")], ""), "one camera alone"),
        (('video = "b.mp4"', ""), "none for b"),
        (('video = "b.mp4"', 'video = "a.mp4"'), "same video"),
        (('name = "b"', 'name = ""'), "is empty"),
        (("version = 1", "version = 1\nfps = -5"), "fps is out of range"),
        (("version = 1", "version = 1\nfps = nan"), "fps is out of range"),
        (("version = 1", 'version = 1\nkeypoints = "k.npz"'), "footage and cameras do not fit"),
        (("version = 1", 'version = 1\nkeypoints = "k.npz"\nframes = [0, 5]'), "sessions with videos"),
        (("[filter]", '[[camera]]\nname="a"\ncalibration="b"\n[filter]'), "twice"),
    ],
)
def test_mistakes_are_named_with_the_nearest_valid_key(change, said):
    with pytest.raises(SettingsError, match=said):
        parse_config(GOOD.replace(*change), "S/session.toml")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("", ""), ""),
        (('camera = "b"', 'camera = "cam_1"'), "camera that there is not"),
        (("slot = 5", "slot = 6"), "slot that there is not"),
        (("frames = [3, 9]", "frames = [9, 3]"), "first frame <= last frame"),
        (("slot = 5", "slot = -1"), "slot 0 or more"),
    ],
)
def test_overrides_are_checked_before_anything_runs(change, said):
    override = '[[match.override]]\nframes = [3, 9]\ncamera = "b"\nslot = 5\nignore = true\n'.replace(*change)
    if not said:
        assert parse_config(GOOD + override).settings.match.override[0].camera == "b"
        return
    with pytest.raises(SettingsError, match=said):
        parse_config(GOOD + override, "S/session.toml")


def test_set_keeps_comments_and_checks_first(tmp_path):
    path = tmp_path / "session.toml"
    path.write_text(GOOD)
    config = assign(path, [Assignment.parse("filter.cutoff_hz=4.5"), Assignment.parse("filter.method=none")])
    assert config.settings.filter.cutoff_hz == 4.5
    text = path.read_text()
    assert "# made by hand" in text
    assert read_config(path).settings.filter.method == "none"
    with pytest.raises(SettingsError, match="cutoff_hz"):
        assign(path, [Assignment.parse("filter.cutof=4")])
    assert path.read_text() == text


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    path = tmp_path / "session.toml"
    path.write_text(GOOD, encoding="utf-8-sig")
    assert read_config(path) == parse_config(GOOD)
    assert assign(path, [Assignment.parse("filter.cutoff_hz=4.5")]).settings.filter.cutoff_hz == 4.5
    assert read_config(path).settings.filter.cutoff_hz == 4.5


@pytest.mark.parametrize("text", ["filter", "filter.cutoff_hz", "cutoff_hz=3", "filter.=3", "fliter.cutoff_hz=3"])
def test_set_that_is_not_understood(text):
    with pytest.raises(SettingsError):
        Assignment.parse(text)


def test_a_folder_without_session_is_said(tmp_path):
    with pytest.raises(SessionError, match="not a session folder"):
        read_config(tmp_path / "session.toml")
