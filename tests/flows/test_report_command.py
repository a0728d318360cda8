"""`mocap report` on sessions that have nothing to report on."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.report import write_report
from mocap.errors import SessionError


def test_a_session_that_never_ran_says_what_to_run(keypoint_session: Path) -> None:
    with pytest.raises(SessionError, match="has no result to report on") as caught:
        write_report(keypoint_session)
    assert caught.value.hint is not None
    assert "mocap run" in caught.value.hint
    assert not (keypoint_session / "reports").exists()


def test_a_folder_that_is_no_session_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert done.exit_code != 0
