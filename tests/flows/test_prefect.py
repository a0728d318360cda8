"""What a run shows on a Prefect server, and how it gets on with one."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from flows.faults import is_transient
from mocap.errors import StorageError

# A detector that sees nobody, at once; what stands before it may change more.
CLI = """
import sys
from dataclasses import replace
import numpy as np
from flows.config import Stage
from flows.stages import STAGES, parse_detect_unit
from mocap.skeleton import COCO_17
from mocap.types import Keypoints2D

def nobody(work):
    camera, start, stop = parse_detect_unit(work.unit)
    shape = (1, stop - start, 1, 17)
    return Keypoints2D(
        np.full((*shape, 2), np.nan), np.zeros(shape), np.full(shape, np.nan), np.arange(start, stop),
        (camera,), COCO_17.joints, work.session.fps,
    )

STAGES[Stage.DETECT] = replace(STAGES[Stage.DETECT], step=nobody)
from flows.cli import main
sys.argv = ["mocap", *sys.argv[1:]]
main()
"""

FAIL_TWICE = """
import errno
import flows.execute
from mocap.errors import StorageError
good, left = flows.execute._run_and_store, [2]
def flaky(work, stage, made_from):
    if stage == "calibrate" and left[0]:
        left[0] -= 1
        raise StorageError("cannot be read") from OSError(errno.ESTALE, "Stale file handle")
    return good(work, stage, made_from)
flows.execute._run_and_store = flaky
"""

TWO_GPUS = """
import flows.gpu_limit
flows.gpu_limit.count_gpus = lambda: 2
flows.gpu_limit.gpu_tag = lambda: "mocap-gpu-of-the-test"
"""


def mocap(*arguments: object, api: str = "", code: str = "", expect: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the program, changed by `code`, with a server."""
    done = subprocess.run(
        [sys.executable, "-c", code + CLI, *map(str, arguments)],
        env={**os.environ, "PREFECT_API_URL": api}, capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def ask(api: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """What the server answers; a question without a body is a GET."""
    request = urllib.request.Request(
        f"{api}/{path}", None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


def test_runs_have_names_tags_and_artifacts(blank_videos, api):
    root = Path(blank_videos).rename(blank_videos.with_name("Take 7"))
    done = mocap("run", root, "--until", "detect", "--set", "detect.chunk_frames=2", api=api)
    assert [line for line in done.stderr.splitlines() if "done after" not in line] == []
    runs = ask(api, "flow_runs/filter", {"flow_runs": {"tags": {"all_": ["Take 7"]}}})
    assert [r["name"] for r in runs] == ["Take 7 until detect"]
    assert runs[0]["state_type"] == "COMPLETED"
    assert set(runs[0]["tags"]) == {"mocap", "Take 7"}

    of_run = {"flow_runs": {"id": {"any_": [runs[0]["id"]]}}}
    found = ask(api, "artifacts/filter", of_run)
    kinds = {a["key"]: a for a in found}
    assert {(k, a["type"]) for k, a in kinds.items()} == {
        ("take-7-folder", "markdown"), ("take-7-detect-progress", "progress"), ("take-7-made", "table"),
    }  # fmt: skip
    assert root.as_uri() in kinds["take-7-folder"]["data"]
    assert float(kinds["take-7-detect-progress"]["data"]) == 100
    rows = json.loads(kinds["take-7-made"]["data"])
    assert [r["stage"] for r in rows] == ["calibrate", *["detect"] * 9]
    names = {t["name"] for t in ask(api, "task_runs/filter", of_run)}
    assert "calibrate" in names
    assert len([n for n in names if n.startswith("detect ")]) == 9


def test_what_may_pass_is_tried_again(keypoint_session, api):
    mocap("run", keypoint_session, "--until", "calibrate", api=api, code=FAIL_TWICE)


def test_what_may_pass_and_what_may_not():
    def caused_by(number: int) -> StorageError:
        error = StorageError("cannot be written")
        error.__cause__ = OSError(number, os.strerror(number))
        return error

    assert all(is_transient(caused_by(n)) for n in (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ECONNRESET))
    assert not any(is_transient(caused_by(n)) for n in (errno.ENOSPC, errno.ENOENT, errno.EACCES, errno.EDQUOT))
    assert not is_transient(StorageError("the artifact is damaged"))


def test_the_gpu_has_a_limit_that_users_may_change(blank_videos, api):
    mocap("run", blank_videos, "--until", "detect", api=api, code=TWO_GPUS)
    tag = "mocap-gpu-of-the-test"
    assert ask(api, f"concurrency_limits/tag/{tag}")["concurrency_limit"] == 4
    tagged = ask(api, "task_runs/filter", {"task_runs": {"tags": {"all_": [tag]}}})
    assert len(tagged) == 3
    assert all(t["name"].startswith("detect ") for t in tagged)
    ask(api, "concurrency_limits/", {"tag": tag, "concurrency_limit": 1})
    mocap("run", blank_videos, "--until", "detect", "--force", "detect", api=api, code=TWO_GPUS)
    assert ask(api, f"concurrency_limits/tag/{tag}")["concurrency_limit"] == 1


@pytest.mark.parametrize(
    ("url", "found"), [("http://127.0.0.1:1/api", "refused"), ("127.0.0.1", "unknown url"), ("API/nowhere", "404")]
)
def test_a_server_that_does_not_answer_is_one_message(keypoint_session, api, url, found):
    done = mocap("run", keypoint_session, api=url.replace("API", api.removesuffix("/api")), expect=1)
    assert done.stderr.count("mocap: ") == 1
    assert "the Prefect server does not answer" in done.stderr
    assert found in done.stderr
    assert "PREFECT_API_URL" in done.stderr


def test_a_deployment_names_the_module(api):
    said = mocap("deploy", "--pool", "pool-of-the-test", "--name", "here", api=api).stdout
    assert "prefect worker start --pool pool-of-the-test" in said
    found = ask(api, "deployments/name/mocap-run/here")
    assert found["entrypoint"] == "flows.deployment.run_deployed"
    assert found["work_pool_name"] == "pool-of-the-test"
    assert found["parameter_openapi_schema"]["required"] == ["session"]
    assert "no Prefect server is named" in mocap("deploy", expect=1).stderr
