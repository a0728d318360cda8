"""A Dask cluster on loopback does what this machine alone does, also when a worker dies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.cache import Cache
from flows.digests import hash_file
from flows.plan import State, make_plan
from flows.run import last_run
from flows.session import Session
from mocap.storage.atomic import TEMPORARY_MARK

pytest.importorskip("prefect_dask", reason="needs the extra `cluster`")

# Started by a program of their own, so that nothing of Dask or Prefect stays in the tests' process.
# A worker that finds the file `die` takes its name away, so that only one dies, and is gone while it detects.
# Its detector is of no weight: it makes up what it sees, the same for the same part of a video.
DETECTOR = """
from dataclasses import replace
import numpy as np
from flows.config import Stage
from flows.stages import STAGES, parse_detect_unit
from mocap.skeleton import COCO_17
from mocap.types import Keypoints2D

given = STAGES[Stage.DETECT].step

def made_up(work):
    if work.session.config.session.keypoints:
        return given(work)
    camera, start, stop = parse_detect_unit(work.unit)
    shape = (1, stop - start, 1, 17)
    rng = np.random.default_rng([start, *camera.encode()])
    return Keypoints2D(
        rng.uniform(0, 320, (*shape, 2)), rng.uniform(0.1, 1, shape), np.full(shape, np.nan), np.arange(start, stop),
        (camera,), COCO_17.joints, work.session.fps,
    )

STAGES[Stage.DETECT] = replace(STAGES[Stage.DETECT], step=made_up)
"""

PROGRAM = (
    DETECTOR
    + """
import sys
from flows.cli import main
sys.argv = ["mocap", *sys.argv[1:]]
main()
"""
)

WORKER = (
    DETECTOR
    + """
import os, pathlib, signal, sys
import flows.execute
from distributed.cli import dask_worker

order, make = pathlib.Path(sys.argv.pop(1)), flows.execute._run_and_store
def dying(work, stage, made_from):
    if stage == "detect":
        try:
            order.rename(order.with_name("died"))
        except FileNotFoundError:
            pass
        else:
            (work.cache.path(stage, made_from.key).parent).mkdir(parents=True, exist_ok=True)
            (work.cache.path(stage, "x.partial-dead")).write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    return make(work, stage, made_from)
flows.execute._run_and_store = dying
dask_worker.main()
"""
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """A scheduler and two workers of one thread; their address, and the file that kills one of them."""
    folder = tmp_path_factory.mktemp("cluster")
    address_file = folder / "scheduler.json"
    variables = {**os.environ, "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "False"}
    quiet = ["--no-dashboard", "--scheduler-file", str(address_file)]
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", *quiet]
    worker = [
        sys.executable, "-c", WORKER, str(folder / "die"), *quiet, "--host", "127.0.0.1", "--nthreads", "1",
        "--no-nanny", "--local-directory", str(folder),
    ]  # fmt: skip
    log = (folder / "log").open("wb")
    started = [subprocess.Popen(c, env=variables, stdout=log, stderr=log) for c in (scheduler, worker, worker)]
    try:
        yield _address_when_ready(folder, address_file, started), folder / "die"
    finally:
        for process in started:
            process.kill()
            process.wait()
        log.close()


def _address_when_ready(folder: Path, address_file: Path, started: list[subprocess.Popen[bytes]]) -> str:
    """The scheduler's address, once both workers have reported to it."""
    code = """
import sys, time, os
from distributed import Client
while not os.path.exists(sys.argv[1]) or not os.path.getsize(sys.argv[1]):
    time.sleep(0.1)
time.sleep(0.2)
with Client(scheduler_file=sys.argv[1], timeout=600) as client:
    client.wait_for_workers(2, timeout=600)
    print(client.scheduler.address)
"""
    found = subprocess.run(
        [sys.executable, "-c", code, str(address_file)], capture_output=True, text=True, timeout=1200, check=False
    )
    assert found.returncode == 0, found.stderr + (folder / "log").read_text()
    assert all(p.poll() is None for p in started)
    return found.stdout.split()[-1]


def mocap(*arguments: object, expect: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def artifacts(root: Path) -> dict[str, str]:
    """Digest of every current artifact."""
    session = Session(root)
    plan = make_plan(session, Cache(session.state, session.digests))
    found = {f"{u.stage}/{u.unit}": u.reference.digest for u in plan if u.reference and u.state is State.UP_TO_DATE}
    for u in plan:
        if u.reference:
            assert hash_file(root / ".mocap/cache" / u.stage / f"{u.reference.key}.h5") == u.reference.digest
    return found


def test_a_cluster_makes_the_same_bytes(keypoint_session, cluster, api, monkeypatch):
    there = Path(shutil.copytree(keypoint_session, keypoint_session.with_name("there")))
    mocap("run", there, "--cluster", cluster[0])  # with a private server, which the workers reach on loopback
    monkeypatch.setenv("PREFECT_API_URL", api)
    mocap("run", keypoint_session)
    assert len(artifacts(there)) == 8
    assert artifacts(there) == artifacts(keypoint_session)
    assert not (there / ".mocap/prefect").exists()
    assert "all is up to date" in mocap("run", there, "--cluster", cluster[0])


@pytest.mark.usefixtures("studio_server")
def test_a_worker_that_dies_does_not_fail_the_run(blank_videos, cluster):
    address, order = cluster
    with (blank_videos / "session.toml").open("a") as file:
        file.write("\n[detect]\nchunk_frames = 2\n")
    here = Path(shutil.copytree(blank_videos, blank_videos.with_name("here")))
    order.write_text("")
    mocap("run", blank_videos, "--until", "detect", "--cluster", address)
    assert order.with_name("died").exists()
    assert not order.exists()
    record = last_run(Session(blank_videos).state)
    assert record is not None
    assert len([m for m in record.made if m.startswith("detect/")]) == 9
    assert not list(blank_videos.rglob(f"*{TEMPORARY_MARK}*"))
    mocap("run", here, "--until", "detect")
    assert artifacts(blank_videos) == artifacts(here)


def test_addresses_that_cannot_work_are_said(keypoint_session):
    assert "tcp://HOST:PORT" in mocap("run", keypoint_session, "--cluster", "localhost", expect=1)
    assert "PREFECT_API_URL" in mocap("run", keypoint_session, "--cluster", "tcp://192.0.2.1:8786", expect=1)
    assert "no Dask scheduler answers" in mocap("run", keypoint_session, "--cluster", "tcp://127.0.0.1:1", expect=1)
