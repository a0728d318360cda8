"""The benchmark table: ratios, the README's part, and a benchmark that fails without taking the others along."""

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent / "benchmarks"))

import bench_table
import run_all
from bench_run import MissingError
from bench_table import Row, Section

ROWS = (
    Row("a", "one", "error", 5.0, "mm", limit=4.0, peer=10.0, note="why", main=True),
    Row("a", "two", "speed", 1234.0, "frames/s"),
)


@pytest.fixture
def about(monkeypatch):
    monkeypatch.setattr(bench_table, "machine", lambda: {"date": "2026-01-01", "cores": "2"})


def test_rows_stand_with_their_ratios(about, tmp_path):
    bench_table.write([Section("a", ROWS, 61.0)], tmp_path, None, "")
    text = (tmp_path / "benchmarks.md").read_text()
    assert "| a | one | error | 5 mm | 1.25 | 0.50 | why |" in text
    assert "| a | two | speed | 1234 frames/s | - | - |  |" in text
    assert "date 2026-01-01, cores 2." in text
    assert "Measured in 1 minutes: a 61 s." in text
    content = json.loads((tmp_path / "benchmarks.json").read_text())
    assert content["rows"][0]["peer"] == 10
    assert content["seconds"] == {"a": 61.0}


def test_the_readme_gets_the_main_rows_between_its_markers(about, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{bench_table.BEGIN}\nold\n{bench_table.END}\nafter\n")
    bench_table.write([Section("a", ROWS, 1.0)], tmp_path, readme, "")
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| a | one |" in text
    assert "two" not in text
    assert "old" not in text
    again = text
    bench_table.write([Section("a", ROWS, 1.0)], tmp_path, readme, "")
    assert readme.read_text() == again
    readme.write_text("no markers")
    with pytest.raises(SystemExit, match="lacks the markers"):
        bench_table.write([Section("a", ROWS, 1.0)], tmp_path, readme, "")


def test_the_readme_of_this_project_has_the_markers():
    text = (Path(__file__).parents[1] / "README.md").read_text()
    assert text.index(bench_table.BEGIN) < text.index(bench_table.END)


def test_a_benchmark_that_fails_or_lacks_something_is_a_row(monkeypatch):
    def fails(effort):
        yield ROWS[0]
        raise TypeError("changed under it")

    def lacks(effort):
        yield ROWS[1]
        raise MissingError("needs ../shared")

    monkeypatch.setattr(run_all, "CASES", {"a": fails, "b": lacks})
    failed = run_all.measure("a", run_all.QUICK).rows
    assert [r.figure for r in failed] == ["error", "failed"]
    assert "changed under it" in failed[1].note
    skipped = run_all.measure("b", run_all.QUICK).rows
    assert [r.figure for r in skipped] == ["speed", "skipped"]
