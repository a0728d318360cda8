"""Rendering 1080p without a display, and opening and playing a take of 100 000 frames.

    python tests/benchmarks/viewer.py

Each is measured in a process of its own, so that memory is that of the task alone.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from bench_table import Row

LONG, FPS, PEOPLE = 100_000, 60.0, 2
_RENDERED = 240


def rows() -> list[Row]:
    """Rendering at 1080p, overlay on 1080p footage, a long take."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        _child("write", path)
        render, overlay, long = (_child(what, path) for what in ("render", "overlay", "open"))
    return [
        Row("viewer", "orbit, 1 person, 1920x1080", "speed", render["rate"], "frames/s", 20.0, note="limit: the aim"),
        Row("viewer", "overlay on 1080p H.264", "speed", overlay["rate"], "frames/s", 20.0, note="limit: the aim"),
        Row("viewer", "100 000 frames, browser view", "time to first picture", long["open_s"], "s", 3.0),
        Row("viewer", "100 000 frames, browser view", "slowest jump", long["jump_s"], "s"),
        Row(
            "viewer", "100 000 frames, browser view", "playing", long["rate"], "frames/s", FPS, note="limit: real time"
        ),
        Row("viewer", "100 000 frames, browser view", "memory", long["peak_mb"], "MB", 1000.0),
    ]


def _child(what: str, folder: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, what, str(folder)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _result(frames: int, people: int):
    from mocap.skeleton import BLAZEPOSE_33
    from mocap.synthetic import procedural_motion, truth_positions
    from mocap.types import Trajectories3D

    short = truth_positions(procedural_motion(600, FPS, seed=1, n_people=people), BLAZEPOSE_33).astype(np.float32)
    X = np.resize(short, (frames, *short.shape[1:]))
    rng = np.random.default_rng(0)
    X += rng.normal(0, 0.003, X.shape).astype(np.float32)
    T, P, J = X.shape[:3]
    covariance = np.tile(np.eye(3, dtype=np.float32) * 1e-5, (T, P, J, 1, 1))
    covariance += rng.normal(0, 1e-7, (T, P, J, 1, 1)).astype(np.float32)
    return Trajectories3D(
        positions=X, covariance=covariance, source=np.ones((T, P, J)), consistency=np.zeros((T, P, J)),
        reprojection_error=rng.gamma(2, 1, (T, P, J)), views_used=np.full((T, P, J), 15), person_ids=np.arange(P),
        frames=np.arange(T), joint_names=BLAZEPOSE_33.joints, fps=FPS,
    )  # fmt: skip


def _rig():
    """Four cameras round the origin, without what takes long to import."""
    from calibration.camera import Camera, CameraRig
    from mocap.viewer.view import look_at

    K = np.array([[1000.0, 0, 959.5], [0, 1000.0, 539.5], [0, 0, 1]])
    places = [(4.0 * np.cos(a), 4.0 * np.sin(a), 2.0) for a in np.radians([45, 135, 225, 315])]
    poses = [look_at(place, (0, 0, 1)) for place in places]
    return CameraRig(tuple(Camera(f"cam_{i}", (1920, 1080), K, np.zeros(5), *p) for i, p in enumerate(poses)))


def _write(folder: Path) -> dict[str, float]:
    from mocap.storage.hdf5 import write_record

    write_record(folder / "long.h5", _result(LONG, PEOPLE))
    write_record(folder / "short.h5", _result(_RENDERED, 1))
    return {}


def _render(folder: Path) -> dict[str, float]:
    from mocap.viewer.clip import FileClip
    from mocap.viewer.render import render, render_frames
    from mocap.viewer.settings import ViewSettings

    clip, rig, settings = FileClip(folder / "short.h5"), _rig(), ViewSettings(width=1920, height=1080)
    next(render_frames(clip, rig, settings, [0]))  # compiled once per installation
    start = time.perf_counter()
    render(clip, folder / "orbit.mp4", rig, settings)
    return {"rate": len(clip) / (time.perf_counter() - start)}


def _overlay(folder: Path) -> dict[str, float]:
    from mocap.viewer.clip import FileClip
    from mocap.viewer.overlay import overlay_clip

    clip, camera = FileClip(folder / "short.h5"), _rig().cameras[0]
    start = time.perf_counter()
    overlay_clip(folder / "orbit.mp4", clip, camera, folder / "overlay.mp4", clip.frames)
    return {"rate": len(clip) / (time.perf_counter() - start)}


def _open(folder: Path) -> dict[str, float]:
    start = time.perf_counter()
    from mocap.viewer._viser import stop
    from mocap.viewer.clip import FileClip
    from mocap.viewer.exhibit import Exhibit
    from mocap.viewer.settings import ViewSettings
    from mocap.viewer.web import WebView

    view = WebView(Exhibit(FileClip(folder / "long.h5"), _rig()), ViewSettings(trail_s=1.0), 0)
    show = view._scene.show
    show(0)
    opened, processor = time.perf_counter() - start, time.process_time()
    start = time.perf_counter()
    for row in range(3000):
        show(row)
    rate = 3000 / (time.perf_counter() - start)
    jumps = []
    for row in np.random.default_rng(1).integers(0, LONG, 30):
        start = time.perf_counter()
        show(int(row))
        jumps.append(time.perf_counter() - start)
    view._exhibit.clip.worst()
    stop(view._server)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"open_s": opened, "open_cpu_s": processor, "rate": rate, "jump_s": max(jumps), "peak_mb": peak}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        tasks = {"write": _write, "render": _render, "overlay": _overlay, "open": _open}
        sys.stdout.write(json.dumps(tasks[sys.argv[1]](Path(sys.argv[2]))) + "\n")
    else:
        for row in rows():
            limit = "" if row.limit is None else f" (aim {row.limit:g})"
            sys.stdout.write(f"{row.case:32} {row.figure:24} {row.value:8.2f} {row.unit}{limit}\n")
