"""The examples run as their first lines say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from calibration.formats import write_rig_toml
from mocap.interchange import write_keypoints
from mocap.skeleton import COCO_17
from mocap.synthetic.motion import procedural_motion, truth_positions
from mocap.synthetic.noise import observe
from mocap.synthetic.rig import ring_rig

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *map(str, arguments)],
        capture_output=True, text=True, check=False, cwd=EXAMPLES.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_here():
    named = re.findall(r'run\("(\d\d_\w+\.py)"', Path(__file__).read_text())
    assert sorted(set(named)) == sorted(p.name for p in EXAMPLES.glob("*.py"))


def test_process_session(tmp_path):
    rig = ring_rig(n_cameras=3, seed=1)
    truth = truth_positions(procedural_motion(40, 30.0, seed=2), COCO_17)
    write_rig_toml(rig, tmp_path / "rig.toml")
    write_keypoints(observe(truth, rig, seed=2, joint_names=COCO_17.joints), tmp_path / "keypoints.npz")
    output = run("01_process_session.py", tmp_path / "keypoints.npz", tmp_path / "rig.toml", tmp_path / "session")
    assert output.strip() == "40 frames, 1 person(s), 17 joints"


def test_triangulate():
    errors = [float(x) for x in re.findall(r"MPJPE ([\d.]+) mm", run("02_triangulate.py"))]
    triangulated, filtered = errors
    assert filtered < triangulated < 20
