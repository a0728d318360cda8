"""Options of `mocap view` that would do nothing are refused."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from flows.cli import app
from mocap.errors import SettingsError


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--port", "8090"], "--port"),
        (["--port", "8090", "--render", "a.mp4"], "--port"),
        (["--compare", "before", "--overlay", "cam_1", "--render", "a.mp4"], "exclude each other"),
    ],
)
def test_options_that_would_be_ignored_are_refused(tmp_path, options, match):
    done = CliRunner().invoke(app, ["view", str(tmp_path), *options])
    assert done.exit_code != 0
    said = str(done.exception) if isinstance(done.exception, SettingsError) else done.output
    assert match in said
