"""BVH as Blender opens it: `make test-blender`."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mocap.export import ExportFormat, ExportSettings, LengthUnit, export_result
from mocap.kinematics import SolveSettings, joint_positions, joint_rotations, solve_motion

PYTHON = os.environ.get("MOCAP_BLENDER_PYTHON")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="MOCAP_BLENDER_PYTHON names no Python with bpy; run make test-blender"),
]


@pytest.fixture(scope="module", params=["m", "cm", "jumps"])
def imported(request, make_take, tmp_path_factory):
    """Our motion of person 7, the lengths' unit, and what Blender read of it."""
    folder = tmp_path_factory.mktemp("blender")
    frames = np.arange(300) if request.param != "jumps" else np.delete(np.arange(0, 240, 2), [20, 21, 70])
    take = make_take(frames, fps={"m": 29.97, "cm": 60.0, "jumps": 120.0}[request.param])
    motion = solve_motion(take, SolveSettings())
    unit = LengthUnit.CENTIMETRES if request.param == "cm" else LengthUnit.METRES
    settings = ExportSettings(format=ExportFormat.BVH, person=7, unit=unit)
    path = export_result(take, motion, settings, folder / "take.bvh")
    script = Path(__file__).with_name("blender_import.py")
    command = [str(PYTHON), str(script), str(path), str(folder / "read.npz")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with np.load(folder / "read.npz") as file:
        return motion, unit, {name: file[name] for name in file.files}


def rows_of(motion):
    """Where each frame of the motion lies in a file of even steps."""
    step = np.diff(motion.frames).min()
    return (motion.frames - motion.frames[0]) // step, step


def test_joints_are_where_ours_are(imported):
    motion, unit, read = imported
    rows, _ = rows_of(motion)
    order = [read["names"].tolist().index(name) for name in motion.joint_names]
    ours = joint_positions(motion)[:, 1]
    assert np.abs(read["positions"][rows][:, order] / unit.per_metre - ours).max() < 1e-3
    turned = joint_rotations(motion)[:, 1]
    cosine = (np.einsum("tbij,tbij->tb", read["rotations"][rows][:, order], turned) - 1) / 2
    assert cosine.min() > np.cos(np.radians(0.1))


def test_hierarchy_is_ours(imported):
    motion, _, read = imported
    names = read["names"].tolist()
    assert sorted(names) == sorted(motion.joint_names)
    for name, parent in zip(names, read["parents"], strict=True):
        ours = motion.parents[motion.joint_names.index(name)]
        assert (names[parent] if parent >= 0 else "") == (motion.joint_names[ours] if ours >= 0 else "")


def test_one_key_per_frame_at_the_files_rate(imported):
    motion, _, read = imported
    rows, step = rows_of(motion)
    np.testing.assert_array_equal(read["keys"], np.arange(1, rows[-1] + 2))
    # Blender keeps the base of a rate that is no whole number in float32.
    assert float(read["fps"]) == pytest.approx(motion.fps / step, rel=0 if motion.fps % 1 == 0 else 1e-7)


def test_rest_is_an_upright_t_pose_that_faces_minus_y(imported):
    motion, unit, read = imported
    at = dict(zip(read["names"].tolist(), read["rest"] / unit.per_metre, strict=True))
    ours = np.zeros((len(motion.joint_names), 3))
    for b, parent in enumerate(motion.parents):
        if parent >= 0:
            ours[b] = ours[parent] + motion.offsets[1, b]
    for name, expected in zip(motion.joint_names, ours, strict=True):
        np.testing.assert_allclose(at[name], expected, atol=1e-3)
    assert at["LeftHand"][0] > at["LeftForeArm"][0] > at["LeftArm"][0] > 0 > at["RightArm"][0] > at["RightHand"][0]
    assert np.ptp([at[f"{s}{n}"][2] for s in ("Left", "Right") for n in ("Arm", "ForeArm", "Hand")]) < 1e-3
    assert at["Head"][2] > at["Neck"][2] > at["Hips"][2] > at["LeftLeg"][2] > at["LeftFoot"][2]
    assert at["LeftToeBase"][1] < at["LeftFoot"][1]


def test_heads_and_toes_end_where_they_should(imported):
    _, unit, read = imported
    tip = read["tips_at_rest"] / unit.per_metre - read["rest"] / unit.per_metre
    end = dict(zip(read["names"].tolist(), tip, strict=True))
    np.testing.assert_allclose(end["Head"][:2], 0, atol=1e-5)
    assert end["Head"][2] > 0.05
    for side in ("Left", "Right"):
        assert end[f"{side}ToeBase"][1] < -0.02
        assert abs(end[f"{side}ToeBase"][2]) < 1e-5
