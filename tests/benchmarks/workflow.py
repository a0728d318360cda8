"""What the workflow costs on top of the library: nothing to do, one changed setting, a cold run.

python tests/benchmarks/workflow.py [--videos DIR --calibration FILE] [--frames N] [--direct]

By default the capture in ../shared/data/single. Every figure is the wall time of a program of its
own, from its start to its end. --direct only makes the library calls (the program measures itself
by running that). The target: nothing to do in 1 s, one filter setting in 10 s, a cold run at most
8 s + 3 % over the direct calls.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from flows.cache import Cache
from flows.config import Stage
from flows.run import last_run
from flows.session import Session
from flows.stages import STAGES, Work, unit_names
from mocap.arrays import Record
from mocap.devices import DeviceChoice
from mocap.rows import MemoryRows, Pieces, Rows, join

R = TypeVar("R", bound=Record)
SINGLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "single"


@dataclass(frozen=True)
class InMemory(Work):
    """A unit of work whose inputs are handed over as they are: no keys, no files, no engine."""

    records: dict[Stage, list[Any]]

    def read_all(self, stage: Stage, kind: type[R]) -> list[R]:
        """What the upstream stage returned."""
        return self.records[stage]

    def rows(self, stage: Stage, kind: type[R]) -> Rows[R]:
        """The same, a span of frames at a time."""
        return MemoryRows(self.records[stage][0])


def direct(root: Path) -> None:
    """The stages as calls, one after the other, everything in memory."""
    session = Session(root)
    cache = Cache(session.state, session.digests)
    records: dict[Stage, list[Any]] = {}
    for stage in Stage:
        for unit in unit_names(session, stage):
            work = InMemory(session, cache, unit, {}, DeviceChoice.AUTO, lambda _done, _total: None, records)
            made = STAGES[stage].step(work)
            records.setdefault(stage, []).append(join(made) if isinstance(made, Pieces) else made)


def timed(*arguments: object) -> float:
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")
    return seconds


def say(what: str, seconds: float, note: str = "") -> None:
    sys.stdout.write(f"{what:<34} {seconds:8.2f} s  {note}\n")
    sys.stdout.flush()


def measure(videos: Path, calibration: Path, frames: int, folder: Path) -> None:
    root, program = folder / "S", ("-m", "flows.cli")
    timed(*program, "init", root, "--videos", videos, "--calibration", calibration)
    if frames:
        text = (root / "session.toml").read_text()
        (root / "session.toml").write_text(text.replace("[session]\n", f"[session]\nframes = [0, {frames}]\n", 1))
    timed(*program, "status", root)  # the videos are hashed and looked at, which counts for neither
    library = timed(__file__, "--direct", root)
    say("direct library calls", library)
    cold = timed(*program, "run", root)
    allowed = 8 + 0.03 * library
    say("cold run", cold, f"overhead {cold - library:.1f} s, allowed {allowed:.1f} s")
    say("nothing to do, best of 3", min(timed(*program, "run", root) for _ in range(3)))
    changed = timed(*program, "run", root, "--set", "filter.cutoff_hz=4")
    record = last_run(Session(root).state)
    say("one changed filter setting", changed, f"made {', '.join(record.made if record else [])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, default=SINGLE / "videos")
    parser.add_argument("--calibration", type=Path, default=SINGLE / "calibration")
    parser.add_argument("--frames", type=int, default=0, help="only so many frames; all if not given")
    parser.add_argument("--direct", type=Path, metavar="SESSION", default=None)
    arguments = parser.parse_args()
    if arguments.direct is not None:
        direct(arguments.direct)
        return
    sys.stdout.write(f"load of this machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments.videos, arguments.calibration, arguments.frames, Path(folder))


if __name__ == "__main__":
    main()
