"""Runs that are killed anywhere, on sessions whose files were damaged, end with the same bytes.

The short form takes a few random points, the long one (slow) hundreds. A run is killed either at a
random moment or at a random file operation: before or after a rename, a flush or a removal, or in
the middle of a write. The latter is where it could hurt, and rarely what a random moment hits.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.cache import Cache
from flows.config import Stage
from flows.digests import hash_file
from flows.initialise import NewSession, initialise
from flows.plan import State, make_plan
from flows.results import Results
from flows.session import Session
from mocap.export import ExportSettings, export_result
from mocap.export.settings import ExportFormat
from mocap.storage.atomic import TEMPORARY_MARK
from mocap.types import SkeletalMotion, Trajectories3D

LETHAL = """
import os, pathlib, signal, sys
from flows import cli

fatal, count_file = int(sys.argv.pop(1)), sys.argv.pop(1)
count = 0

def step():
    global count
    count += 1
    if count == fatal:
        os.kill(os.getpid(), signal.SIGKILL)

def lethal(function):
    def call(*arguments, **options):
        step()
        result = function(*arguments, **options)
        step()
        return result
    return call

def write_bytes(path, content):
    with path.open("wb", buffering=0) as file:
        file.write(content[: len(content) // 2])
        step()
        file.write(content[len(content) // 2 :])
        step()

os.replace, os.fsync, os.unlink = lethal(os.replace), lethal(os.fsync), lethal(os.unlink)
pathlib.Path.write_bytes = write_bytes
try:
    cli.main()
finally:
    pathlib.Path(count_file).write_text(str(count))
"""

# Match never ends by itself.
ENDLESS = """
import sys, time
import mocap.matching
mocap.matching.match_people = lambda *_: time.sleep(100_000)
from flows.cli import main
sys.argv = ["mocap", "run", sys.argv[1]]
main()
"""


@dataclass(frozen=True)
class Undisturbed:
    """A processed session, how long that took, and how many points there were to die at."""

    fresh: Path
    done: Path
    content: dict[str, str]
    seconds: float
    steps: int


def program(*arguments: object, code: str = "") -> list[str]:
    return [sys.executable, *(["-c", code] if code else ["-m", "flows.cli"]), *map(str, arguments)]


def environment(api: str) -> dict[str, str]:
    return {**os.environ, **({"PREFECT_API_URL": api} if api else {})}


def complete(root: Path, api: str) -> None:
    done = subprocess.run(
        program("run", root), env=environment(api), capture_output=True, text=True, timeout=1200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def kill_at_step(root: Path, api: str, step: int, count: Path) -> bool:
    """Run until a given file operation; True when it came to that."""
    run = subprocess.run(
        program(step, count, "run", root, code=LETHAL),
        env=environment(api), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=1200, check=False,
    )  # fmt: skip
    assert run.returncode in (0, -signal.SIGKILL)
    return run.returncode != 0


def kill_after(root: Path, api: str, seconds: float) -> None:
    run = subprocess.Popen(
        program("run", root), env=environment(api), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        run.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        run.send_signal(signal.SIGKILL)
        run.wait()


def content(root: Path, scratch: Path) -> dict[str, str]:
    """Digests of all current artifacts and of everything that is exported from them."""
    session = Session(root)
    plan = make_plan(session, Cache(session.state, session.digests))
    assert {u.state for u in plan} == {State.UP_TO_DATE}
    cache = root / ".mocap/cache"
    found = {f"{u.stage}/{u.unit}": hash_file(cache / u.stage / f"{u.reference.key}.h5") for u in plan if u.reference}
    results = Results(root)
    trajectories, motion = results.read(Stage.FILTER, Trajectories3D), results.read(Stage.SOLVE, SkeletalMotion)
    for kind in (ExportFormat.NPZ, ExportFormat.BVH, ExportFormat.CSV):
        path = scratch / f"export.{kind}"
        export_result(trajectories, motion, ExportSettings(format=kind), path, results.provenance(Stage.FILTER))
        found[f"export {kind}"] = hash_file(path)
        path.unlink()
    return found


def damage(root: Path, rng: random.Random) -> None:
    """Delete, flip a bit of, or cut short, up to three files of what the program keeps."""
    files = sorted(p for p in (root / ".mocap").rglob("*") if p.is_file() and p.name != "lock")
    for path in rng.sample(files, min(len(files), rng.randint(1, 3))):
        good = path.read_bytes()
        match rng.choice(("delete", "flip", "cut", "empty")):
            case "delete":
                path.unlink()
            case "flip" if good:
                at = rng.randrange(len(good))
                path.write_bytes(good[:at] + bytes([good[at] ^ (1 << rng.randrange(8))]) + good[at + 1 :])
            case "cut":
                path.write_bytes(good[: len(good) // 2])
            case _:
                path.write_bytes(b"")


def servers_of(root: Path) -> list[int]:
    """Process ids of the private Prefect servers of a session."""
    from flows.server_folder import home_of

    mark = f"PREFECT_HOME={home_of(root.resolve())}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, variables = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:  # ended, or of another user
            continue
        if b"flows.prefect_server" in command and mark in variables.split(b"\0"):
            found.append(int(process.name))
    return found


def gone_within(root: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while servers_of(root):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, keypoint_files, api) -> Undisturbed:
    """A session and what comes out of it when nothing happens."""
    folder = tmp_path_factory.mktemp("undisturbed")
    fresh, done = folder / "fresh", folder / "done"
    fresh.mkdir()
    keypoints, rig = (Path(shutil.copy(p, fresh)) for p in (keypoint_files.keypoints, keypoint_files.rig))
    initialise(NewSession(fresh, [], keypoints, rig, None))
    shutil.copytree(fresh, done)
    started = time.monotonic()
    assert not kill_at_step(done, api, 0, folder / "count")
    seconds = time.monotonic() - started
    return Undisturbed(fresh, done, content(done, folder), seconds, int((folder / "count").read_text()))


def endure(rounds: int, seed: int, undisturbed: Undisturbed, api: str, folder: Path) -> int:
    """Kill twice per round and damage files; then all has to be as in the undisturbed session.

    Returns how many runs died at a file operation.
    """
    rng = random.Random(seed)
    deaths = 0
    for n in range(rounds):
        root = folder / f"round{n}"
        shutil.copytree(undisturbed.done if n % 3 == 2 else undisturbed.fresh, root)
        if n % 3 == 2:
            damage(root, rng)
        deaths += kill_at_step(root, api, rng.randrange(1, undisturbed.steps), folder / "count")
        if n % 2:
            damage(root, rng)
        if n % 3 == 1:
            kill_after(root, api, rng.uniform(0, undisturbed.seconds))
        else:
            # What is left to do is less than all of it.
            deaths += kill_at_step(root, api, rng.randrange(1, undisturbed.steps // 2), folder / "count")
        complete(root, api)
        assert content(root, folder) == undisturbed.content, f"round {n} of seed {seed}"
        assert not list(root.rglob(f"*{TEMPORARY_MARK}*"))
        assert not list((root / ".mocap/progress").glob("*"))
        shutil.rmtree(root)
    return deaths


def test_killed_anywhere_and_damaged_the_result_is_the_same(undisturbed, api, tmp_path):
    assert endure(3, 20261120, undisturbed, api, tmp_path) >= 2


@pytest.mark.slow
def test_killed_at_three_hundred_points(undisturbed, api, tmp_path):
    rounds = int(os.environ.get("MOCAP_SOAK_ROUNDS", "150"))
    assert endure(rounds, int(os.environ.get("MOCAP_SOAK_SEED", "1")), undisturbed, api, tmp_path) >= rounds // 2


def test_the_private_server_ends_with_its_killed_parent(undisturbed, tmp_path):
    root = Path(shutil.copytree(undisturbed.fresh, tmp_path / "S"))
    run = subprocess.Popen(
        program(root, code=ENDLESS), env=environment(""), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not servers_of(root):
        assert run.poll() is None
        time.sleep(0.1)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert gone_within(root, 240)
    complete(root, "")
    assert not servers_of(root)
    assert content(root, tmp_path) == undisturbed.content


def test_two_runs_at_once(undisturbed, api, tmp_path):
    root = Path(shutil.copytree(undisturbed.fresh, tmp_path / "S"))
    both = [
        subprocess.Popen(
            program("run", root), env=environment(api), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [run.communicate(timeout=1200)[1] for run in both]
    codes = [run.returncode for run in both]
    # One of them refuses, unless the other had finished before it looked.
    assert 0 in codes
    for code, text in zip(codes, said, strict=True):
        assert code == 0 or "another `mocap run` works on this session" in text
    assert content(root, tmp_path) == undisturbed.content
