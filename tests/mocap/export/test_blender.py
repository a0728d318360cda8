"""Animations as Blender opens them, for every preset: `make test-blender`."""

import os
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from mocap.export import ExportFormat, ExportSettings, Preset, export_result
from mocap.export.presets import conventions
from mocap.export.targets import target_nodes
from mocap.kinematics import SolveSettings, joint_positions, joint_rotations, solve_motion

PYTHON = os.environ.get("MOCAP_BLENDER_PYTHON")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="MOCAP_BLENDER_PYTHON names no Python with bpy; run make test-blender"),
]

ROW = 1  # person 7

CASES = [(kind, preset) for kind in ("bvh", "glb", "fbx") for preset in Preset] + [
    pytest.param(
        ("usd", Preset.BLENDER),
        id="usd-blender",
        marks=pytest.mark.skipif(find_spec("pxr") is None, reason="needs mocap[usd]"),
    )
]


def read(path, per_metre):
    script = Path(__file__).with_name("blender_import.py")
    target = path.with_suffix(".npz")
    command = [str(PYTHON), str(script), str(path), str(target), str(per_metre)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with np.load(target) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def solved(make_take):
    """Takes by frame rate, with their motions."""
    out = {}
    for fps, frames in (
        (29.97, np.arange(60)),
        (60.0, np.arange(60)),
        (120.0, np.delete(np.arange(0, 90, 2), [20, 21])),
    ):
        take = make_take(frames, fps=fps)
        out[fps] = take, solve_motion(take, SolveSettings())
    return out


@pytest.fixture(scope="module", params=CASES, ids=lambda c: f"{c[0]}-{c[1]}")
def imported(request, solved, tmp_path_factory):
    """The motion, the settings, our driving bone of each node, and what Blender read."""
    kind, preset = request.param
    # Every rate and the gaps meet every format.
    take, motion = solved[[29.97, 60.0, 120.0][list(Preset).index(preset) % 3]]
    settings = ExportSettings(format=ExportFormat(kind), preset=preset, person=7)
    path = export_result(take, motion, settings, tmp_path_factory.mktemp("blender") / f"take.{kind}")
    wanted = conventions(settings)
    nodes = target_nodes(wanted.rig, motion.joint_names, motion.parents)
    return motion, settings, nodes, read(path, wanted.unit.per_metre)


def rows_of(motion):
    """Where each frame of the motion lies in a file of even steps."""
    step = int(np.gcd.reduce(np.diff(motion.frames)))
    return (motion.frames - motion.frames[0]) // step, step


def undivided(nodes):
    """Nodes that sit at a joint of ours."""
    return [n for n in nodes if n.bone and not n.along]


def column(file, name):
    return file["names"].tolist().index(name)


def test_joints_are_where_ours_are(imported):
    motion, _, nodes, file = imported
    rows, _ = rows_of(motion)
    ours = joint_positions(motion)[:, ROW]
    for node in undivided(nodes):
        found = file["positions"][rows][:, column(file, node.name)]
        assert np.abs(found - ours[:, motion.joint_names.index(node.bone)]).max() < 1e-3, node.name


def test_nodes_turn_as_our_bones_do(imported):
    motion, _, nodes, file = imported
    rows, _ = rows_of(motion)
    turned = joint_rotations(motion)[:, ROW]
    for node in (n for n in nodes if n.bone and n.share >= 1):
        found = file["rotations"][rows][:, column(file, node.name)]
        cosine = (np.einsum("tij,tij->t", found, turned[:, motion.joint_names.index(node.bone)]) - 1) / 2
        assert cosine.min() > np.cos(np.radians(0.1)), node.name


def test_hierarchy_is_the_targets(imported):
    _, _, nodes, file = imported
    names = file["names"].tolist()
    assert sorted(names) == sorted(n.name for n in nodes)
    parents = {n.name: n.parent for n in nodes}
    for name, parent in zip(names, file["parents"], strict=True):
        assert (names[parent] if parent >= 0 else "") == parents[name]


def test_keys_are_at_the_frames_times(imported):
    motion, settings, _, file = imported
    rows, step = rows_of(motion)
    assert len(file["times"]) == rows[-1] + 1
    if settings.format is ExportFormat.USD:  # its time codes become frames, whatever the scene's rate
        np.testing.assert_allclose(np.diff(file["keys"]), 1, atol=1e-6)
        return
    # Blender keeps keys, and the base of a rate that is no whole number, in float32.
    np.testing.assert_allclose(file["times"], np.arange(rows[-1] + 1) * step / motion.fps, rtol=3e-6, atol=2e-6)
    if settings.format is not ExportFormat.GLB:  # glTF has times, no rate
        assert float(file["fps"]) == pytest.approx(motion.fps / step, rel=2e-6)


def test_rest_is_an_upright_t_pose_in_metres_that_faces_minus_y(imported):
    motion, settings, nodes, file = imported
    ours = np.zeros((len(motion.joint_names), 3))
    for b, parent in enumerate(motion.parents):
        if parent >= 0:
            ours[b] = ours[parent] + motion.offsets[ROW, b]
    at = {n.bone: file["rest"][column(file, n.name)] for n in undivided(nodes)}
    for name, expected in zip(motion.joint_names, ours, strict=True):
        np.testing.assert_allclose(at[name] - at["Hips"], expected, atol=1e-3)
    assert at["LeftHand"][0] > at["LeftForeArm"][0] > at["LeftArm"][0] > 0 > at["RightArm"][0] > at["RightHand"][0]
    assert np.ptp([at[f"{s}{n}"][2] for s in ("Left", "Right") for n in ("Arm", "ForeArm", "Hand")]) < 1e-3
    assert at["Head"][2] > at["Neck"][2] > at["Hips"][2] > at["LeftLeg"][2] > at["LeftFoot"][2]
    assert at["LeftToeBase"][1] < at["LeftFoot"][1]
    if settings.format is not ExportFormat.BVH:
        assert min(p[2] for p in at.values()) == pytest.approx(0, abs=1e-3)


def test_the_skin_follows(imported):
    _, settings, nodes, file = imported
    if settings.format is ExportFormat.BVH:
        assert np.isnan(file["top"]).all()
        return
    head = file["positions"][:, column(file, next(n.name for n in nodes if n.bone == "Head")), 2]
    raised = file["positions"][..., 2].max(1)
    assert (file["top"] > raised - 0.01).all()
    assert (file["top"] < raised + 0.25).all()
    assert (head > 0.5).all()


def test_heads_and_toes_end_where_they_should(imported):
    _, settings, nodes, file = imported
    if settings.format is not ExportFormat.BVH:
        pytest.skip("only BVH says where bones end")
    tip = file["tips_at_rest"] - file["rest"]
    by_bone = {n.bone: tip[column(file, n.name)] for n in nodes}
    np.testing.assert_allclose(by_bone["Head"][:2], 0, atol=1e-5)
    assert by_bone["Head"][2] > 0.05
    for side in ("Left", "Right"):
        assert by_bone[f"{side}ToeBase"][1] < -0.02
        assert abs(by_bone[f"{side}ToeBase"][2]) < 1e-5


def test_flags_are_custom_properties(imported):
    _, settings, nodes, file = imported
    if settings.format in (ExportFormat.BVH, ExportFormat.USD):
        pytest.skip("not as properties of bones")
    said = file["properties"][column(file, next(n.name for n in nodes if n.bone == "LeftArm"))]
    assert "triangulated:" in said


def test_an_fbx_root_has_no_scale(solved, tmp_path):
    """Centimetres are the file's unit, not a scale of 0.01 or 100 on a node."""
    take, motion = solved[60.0]
    path = export_result(take, motion, ExportSettings(format="fbx", preset="unreal", person=4), tmp_path / "u.fbx")
    data = path.read_bytes()
    assert data.startswith(b"Kaydara FBX Binary  \x00")
    (unit,) = re.findall(rb"UnitScaleFactorS.{1,60}?D(.{8})", data.replace(b"Original", b""), re.DOTALL)[:1]
    assert np.frombuffer(unit, "<f8")[0] == pytest.approx(1, abs=1e-7)  # Blender keeps it in float32
    scales = re.findall(rb"Lcl ScalingS.{1,60}?A\+?D(.{8})D(.{8})D(.{8})", data, re.DOTALL)
    assert len(scales) > 20
    assert np.abs(np.array([[np.frombuffer(v, "<f8")[0] for v in s] for s in scales]) - 1).max() < 1e-5
