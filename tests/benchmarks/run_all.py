"""All benchmarks in one go: one table as Markdown and JSON, and the README's from it.

python tests/benchmarks/run_all.py [--only geometry metrics ...] [--output docs] [--no-readme] [--details] [--quick]

Synthetic scenes are the project's own; what needs ../shared or another program says so where it is
absent. The heavy benchmarks run in a reduced form here, the draws stand in the table; --details also runs
the packages' own programs (geometry.py, lifting.py, ...) at full length into benchmarks.md. A part of
the benchmarks (--only) or --quick (tiny draws, to see whether all runs) never changes README or docs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bench_cases as cases
import bench_parts as parts
from bench_run import FULL, QUICK, Effort, MissingError
from bench_table import Row, Section, write

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DETAILS = ("detection.py", "geometry.py", "lifting.py", "lifting_bursts.py", "storage.py", "workflow.py")
DETAIL_SECONDS = 400
CASES: dict[str, Callable[[Effort], Iterator[Row]]] = {
    "workflow": cases.workflow,
    "metrics": parts.metrics,
    "storage": parts.storage,
    "calibration": parts.calibration,
    "calibration-real": cases.real_board,
    "synchronisation": parts.synchronisation,
    "detection": parts.detection,
    "geometry": cases.synthetic_geometry,
    "geometry-shared": cases.shared_geometry,
    "triangulation": parts.triangulation,
    "people": cases.synthetic_people,
    "matching": parts.matching,
    "shelf": cases.shared_shelf,
    "lifting": parts.lifting,
    "kinematics": parts.kinematics,
    "real": cases.real_clip,
    "demo": cases.demo,
}


def measure(name: str, effort: Effort) -> Section:
    """One benchmark; a failure becomes a row, so that the others still run."""
    rows: list[Row] = []
    start = time.perf_counter()
    try:
        for row in CASES[name](effort):
            rows.append(row)
            if row.value is not None:
                say(f"  {row.case}: {row.figure} {row.value:.4g} {row.unit}")
    except MissingError as missing:
        rows.append(Row(name, "-", "skipped", None, "", note=str(missing)))
    except Exception as error:  # noqa: BLE001 -- what one benchmark raises is its row; the others go on
        said = (str(error).splitlines() or [type(error).__name__])[0]
        rows.append(Row(name, "-", "failed", None, "", note=f"{type(error).__name__}: {said}", main=True))
        say(f"  failed: {error!r}")
    return Section(name, tuple(rows), time.perf_counter() - start)


def details() -> str:
    """What the packages' own benchmarks print."""
    found = []
    for script in DETAILS:
        say(script)
        try:
            done = subprocess.run([sys.executable, str(HERE / script)], capture_output=True, text=True,
                                  timeout=DETAIL_SECONDS, check=False)  # fmt: skip
            text = done.stdout.strip() or (done.stderr.strip().splitlines() or ["nothing"])[-1]
        except subprocess.TimeoutExpired:
            text = f"stopped after {DETAIL_SECONDS} s"
        fenced = text if "|---" in text else f"```\n{text}\n```"
        found.append(f"\n## {script}\n\n{fenced}\n")
    return "".join(found)


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--output", type=Path, help="docs for the whole, else a new temporary folder")
    parser.add_argument("--no-readme", action="store_true")
    parser.add_argument("--details", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    whole = set(options.only) == set(CASES) and not options.quick
    folder = options.output or (ROOT / "docs" if whole else Path(tempfile.mkdtemp(prefix="mocap-bench-")))
    sections: list[Section] = []
    for name in options.only:
        say(name)
        sections.append(measure(name, QUICK if options.quick else FULL))
        say(f"  ({sections[-1].seconds:.0f} s)")
        # After each, so that nothing is lost when a run is stopped.
        if not whole:
            write(sections, folder, None, "")
    write(sections, folder, ROOT / "README.md" if whole and not options.no_readme else None,
          details() if options.details else "")  # fmt: skip
    rows = [row for section in sections for row in section.rows]
    say(f"{len(rows)} rows in {sum(s.seconds for s in sections):.0f} s: {folder / 'benchmarks.md'}")
    return int(any(r.figure == "failed" for r in rows))


if __name__ == "__main__":
    sys.exit(main())
