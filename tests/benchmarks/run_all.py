"""All benchmarks in one go: one table as Markdown and JSON, and the README's from it.

python tests/benchmarks/run_all.py [--only geometry metrics ...] [--output docs] [--no-readme] [--details]

Synthetic scenes are the project's own; what needs ../shared says so where it is absent. --details
also runs the long tables of each package (geometry.py, lifting.py, ...) into benchmarks.md. A part
of the benchmarks (--only) never changes the README.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from bench_cases import CASES, MissingError
from bench_table import Row, write

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DETAILS = ("detection.py", "geometry.py", "lifting.py", "lifting_bursts.py", "storage.py", "workflow.py")
DETAIL_SECONDS = 400


def rows_of(name: str) -> list[Row]:
    """Rows of one benchmark; a failure becomes a row, so that the others still run."""
    rows: list[Row] = []
    try:
        for row in CASES[name]():
            rows.append(row)
            say(f"  {row.case}: {row.figure} {row.value:.4g} {row.unit}")
    except MissingError as missing:
        rows.append(Row(name, "-", "skipped", None, "", note=str(missing)))
    except (RuntimeError, ValueError, OSError, KeyError) as error:
        rows.append(Row(name, "-", "failed", None, "", note=str(error).splitlines()[0]))
        say(f"  failed: {error}")
    return rows


def details() -> str:
    """What the packages' own benchmarks print."""
    parts = []
    for script in DETAILS:
        say(script)
        try:
            done = subprocess.run([sys.executable, str(HERE / script)], capture_output=True, text=True,
                                  timeout=DETAIL_SECONDS, check=False)  # fmt: skip
            text = done.stdout.strip() or (done.stderr.strip().splitlines() or ["nothing"])[-1]
        except subprocess.TimeoutExpired:
            text = f"stopped after {DETAIL_SECONDS} s"
        fenced = text if "|---" in text else f"```\n{text}\n```"
        parts.append(f"\n## {script}\n\n{fenced}\n")
    return "".join(parts)


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--output", type=Path, default=ROOT / "docs")
    parser.add_argument("--no-readme", action="store_true")
    parser.add_argument("--details", action="store_true")
    options = parser.parse_args()
    rows = []
    start = time.perf_counter()
    for name in options.only:
        say(name)
        rows += rows_of(name)
    whole = set(options.only) == set(CASES) and not options.no_readme
    write(rows, options.output, ROOT / "README.md" if whole else None, details() if options.details else "")
    say(f"{len(rows)} rows in {time.perf_counter() - start:.0f} s: {options.output / 'benchmarks.md'}")
    return int(any(r.figure == "failed" for r in rows))


if __name__ == "__main__":
    sys.exit(main())
