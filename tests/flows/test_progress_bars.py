"""Progress bars that an error ends."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from flows.progress import gone_on_error


@pytest.mark.parametrize("terminal", [True, False])
def test_an_error_takes_the_bars_away(terminal):
    said = io.StringIO()
    bars = Progress(console=Console(file=said, force_terminal=terminal, width=60))

    def fail() -> None:
        with gone_on_error(bars) as progress:
            progress.update(progress.add_task("drawing", total=4), completed=2)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    if terminal:
        assert said.getvalue().rstrip().endswith("\x1b[2K")  # the line was erased last
    else:
        assert said.getvalue() == ""


def test_what_went_well_stays_to_be_seen():
    said = io.StringIO()
    with gone_on_error(Progress(console=Console(file=said, width=60))) as progress:
        progress.update(progress.add_task("drawing", total=4), completed=4)
    assert "drawing" in said.getvalue()
