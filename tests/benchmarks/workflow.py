"""What the workflow costs on top of the library: nothing to do, one changed setting, a cold run.

python tests/benchmarks/workflow.py [--videos DIR --calibration FILE] [--frames N] [--direct]

By default the capture in ../shared/data/single. Every figure is the wall time of a program of its
own, from its start to its end, beside it the processor seconds of all its processes. --direct only
makes the library calls (the program measures itself by running that), cameras side by side as the
run has them. The target: nothing to do in 1 s, one filter setting in 10 s, a cold run at most
8 s + 3 % over the direct calls. Before them a short run prepares the engine's empty database, as the
first one on a machine does. Where numba's kernels have not been compiled yet, measure twice.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

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
    """The stages as calls, one after the other, their units side by side, everything in memory."""
    session = Session(root)
    cache = Cache(session.state, session.digests)
    records: dict[Stage, list[Any]] = {}

    def make(stage: Stage, unit: str) -> Record:
        work = InMemory(session, cache, unit, {}, DeviceChoice.AUTO, lambda _done, _total: None, records)
        made = STAGES[stage].step(work)
        return join(made) if isinstance(made, Pieces) else made

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for stage in Stage:
            records[stage] = list(pool.map(partial(make, stage), unit_names(session, stage)))


class Timing(NamedTuple):
    """Seconds by the clock, and of processors."""

    wall: float
    cpu: float


def timed(*arguments: object) -> Timing:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")
    return Timing(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def say(what: str, took: Timing, note: str = "") -> None:
    sys.stdout.write(f"{what:<34} {took.wall:8.2f} s  (processors {took.cpu:6.2f} s)  {note}\n")
    sys.stdout.flush()


def measure(videos: Path, calibration: Path, frames: int, folder: Path) -> None:
    root, program = folder / "S", ("-m", "flows.cli")
    timed(*program, "init", root, "--videos", videos, "--calibration", calibration)
    if frames:
        text = (root / "session.toml").read_text()
        (root / "session.toml").write_text(text.replace("[session]\n", f"[session]\nframes = [0, {frames}]\n", 1))
    timed(*program, "status", root)  # the videos are hashed and looked at, which counts for neither
    timed(*program, "run", root, "--until", "calibrate")
    library = timed(__file__, "--direct", root)
    say("direct library calls", library)
    cold = timed(*program, "run", root, "--from", "calibrate")
    allowed = 8 + 0.03 * library.wall
    say("cold run", cold, f"overhead {cold.wall - library.wall:.1f} s, allowed {allowed:.1f} s")
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
