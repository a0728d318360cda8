"""Target skeletons, resampling and trimming: the same motion, whatever the file asks for."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mocap.errors import ExportError
from mocap.export import ExportSettings, LengthUnit, Preset, Rig
from mocap.export.animation import make_animation
from mocap.export.capsules import capsule_skin
from mocap.export.presets import Axes, Conventions, conventions, frame_rate
from mocap.export.sampling import sample_rotations, sample_sources, sample_values, sampling
from mocap.export.targets import target_nodes
from mocap.export.trim import reliable, trim_motion
from mocap.kinematics import joint_positions
from mocap.types import Source

HUMANIK = {"Hips", "Spine", "Head"} | {
    s + n for s in ("Left", "Right") for n in ("UpLeg", "Leg", "Foot", "Arm", "ForeArm", "Hand")
}
UNITY_REQUIRED = {"Hips", "Spine", "Head"} | {
    s + n for s in ("Left", "Right") for n in ("UpperLeg", "LowerLeg", "Foot", "UpperArm", "LowerArm", "Hand")
}
MANNEQUIN = {"root", "pelvis", "neck_01", "neck_02", "head"} | {f"spine_0{i}" for i in range(1, 6)} | {
    f"{n}_{s}" for s in "lr"
    for n in ("clavicle", "upperarm", "lowerarm", "hand", "thigh", "calf", "foot", "ball")
}  # fmt: skip


def animate(motion, rig, axes=Axes.Y_UP, unit=LengthUnit.METRES, rate=0.0, aligned=False):
    return make_animation(motion, 0, Conventions(axes, unit, rig), rate, aligned)


def test_names_programs_ask_for(motion):
    names = {rig: set(animate(motion, rig).nodes) for rig in Rig}
    assert names[Rig.HUMANIK] >= HUMANIK
    assert {n.removeprefix("mixamorig:") for n in names[Rig.MIXAMO]} >= HUMANIK | {"Spine1", "Spine2", "Neck"}
    assert all(n.startswith("mixamorig:") for n in names[Rig.MIXAMO])
    assert names[Rig.UNREAL] == MANNEQUIN
    assert names[Rig.UNITY] >= UNITY_REQUIRED | {"Chest", "UpperChest", "LeftShoulder", "LeftToes"}


@pytest.mark.parametrize("rig", list(Rig))
@pytest.mark.parametrize("axes", list(Axes))
@pytest.mark.parametrize("unit", list(LengthUnit))
def test_joints_of_a_target_are_ours(motion, rig, axes, unit):
    """Forward kinematics of what a file stores, by a loop of its own, ends at our joints."""
    animation = animate(motion, rig, axes, unit)
    local, rest = animation.local_rotations(), animation.rest_translations()
    moving = animation.moving_translations()
    turn, place = {}, {}
    for b, parent in enumerate(animation.parents):
        offset = moving if b == animation.moving else np.broadcast_to(rest[b], (len(local), 3))
        if parent < 0:
            turn[b], place[b] = local[:, b], offset
        else:
            turn[b] = turn[parent] @ local[:, b]
            place[b] = place[parent] + np.einsum("nij,nj->ni", turn[parent], offset)
    ours = joint_positions(motion)[:, 0]
    up = {Axes.Y_UP: (0, 2, 1), Axes.Z_UP: (0, 1, 2), Axes.OPENSIM: (1, 2, 0)}[axes]
    sign = {Axes.Y_UP: (1, 1, -1), Axes.Z_UP: (1, 1, 1), Axes.OPENSIM: (-1, 1, -1)}[axes]
    for node in target_nodes(rig, motion.joint_names, motion.parents):
        if node.bone and not node.along:
            b = animation.nodes.index(node.name)
            expected = ours[:, motion.joint_names.index(node.bone)][:, up] * np.array(sign) * unit.per_metre
            np.testing.assert_allclose(place[b], expected, atol=1e-5 * unit.per_metre)
            np.testing.assert_allclose(np.linalg.det(turn[b]), 1, atol=1e-9)


def test_axes_of_targets_at_rest(motion):
    """Along which of its axes a bone lies: +y for Mixamo; for Unreal x, away on the left arm, back on the right."""

    def inner(animation, name, child):
        b, c = animation.nodes.index(name), animation.nodes.index(child)
        away = animation.rest_axes[b].T @ (animation.rest_positions[c] - animation.rest_positions[b])
        return away / np.linalg.norm(away)

    mixamo, unreal = animate(motion, Rig.MIXAMO), animate(motion, Rig.UNREAL, Axes.Z_UP)
    for side in ("Left", "Right"):
        for name, child in (("Arm", "ForeArm"), ("ForeArm", "Hand"), ("UpLeg", "Leg"), ("Leg", "Foot")):
            found = inner(mixamo, f"mixamorig:{side}{name}", f"mixamorig:{side}{child}")
            np.testing.assert_allclose(found, [0, 1, 0], atol=1e-6)
    for name, child, sign in (
        ("upperarm_l", "lowerarm_l", 1), ("upperarm_r", "lowerarm_r", -1), ("thigh_l", "calf_l", -1),
        ("thigh_r", "calf_r", 1), ("spine_01", "spine_02", 1), ("lowerarm_l", "hand_l", 1),
    ):  # fmt: skip
        np.testing.assert_allclose(inner(unreal, name, child), [sign, 0, 0], atol=1e-6)
    root = unreal.nodes.index("root")
    np.testing.assert_array_equal(unreal.positions[:, root], 0)
    for animation in (mixamo, unreal, animate(motion, Rig.UNITY)):
        np.testing.assert_allclose(np.linalg.det(animation.rest_axes), 1, atol=1e-12)


def test_mirrored_bones_turn_alike_in_unreal(motion):
    """The same local rotation left and right is a mirrored movement of the body."""
    unreal = animate(motion, Rig.UNREAL, Axes.Z_UP)
    mirror = np.diag([-1.0, 1, 1])
    turn = Rotation.from_rotvec([0.1, -0.4, 0.7]).as_matrix()
    for name in ("upperarm", "lowerarm", "hand", "thigh", "calf", "foot", "clavicle", "ball"):
        left, right = (unreal.rest_axes[unreal.nodes.index(f"{name}_{s}")] for s in "lr")
        np.testing.assert_allclose(right @ turn @ right.T, mirror @ (left @ turn @ left.T) @ mirror, atol=1e-12)


def test_twist_is_spread_over_the_nodes_of_a_bone(motion):
    chest = motion.joint_names.index("Spine1")
    rotations = motion.rotations.copy()
    rotations[:, 0, chest] = Rotation.from_rotvec([0, 0, 0.9]).as_quat()
    animation = animate(replace(motion, rotations=rotations), Rig.UNREAL, Axes.Z_UP)
    local = animation.local_rotations()
    for name in ("spine_03", "spine_04", "spine_05"):
        b = animation.nodes.index(name)
        away = animation.rest_rotations()[b].T @ local[0, b]
        assert np.linalg.norm(Rotation.from_matrix(away).as_rotvec()) == pytest.approx(0.3, abs=1e-6)


def test_rest_stands_on_the_floor(motion):
    for rig in Rig:
        for axes in Axes:
            animation = animate(motion, rig, axes)
            up = "XYZ".index(animation.axes.up)
            assert animation.rest_positions[:, up].min() == pytest.approx(0, abs=1e-9)


def test_skin_is_closed_and_faces_outwards(motion):
    skin = capsule_skin(animate(motion, Rig.NATIVE))
    a, b, c = (skin.positions[skin.triangles[:, i]] for i in range(3))
    outward = np.cross(b - a, c - a)
    assert (np.einsum("ij,ij->i", outward, skin.normals[skin.triangles].sum(1)) > 0).all()
    # Every edge belongs to two triangles that run through it in opposite directions.
    edges = np.concatenate([skin.triangles[:, [0, 1]], skin.triangles[:, [1, 2]], skin.triangles[:, [2, 0]]])
    there = {tuple(e) for e in edges.tolist()}
    assert len(there) == len(edges)
    assert there == {(v, u) for u, v in there}


def test_resampled_rotations_follow_a_known_motion():
    """60 to 24 fps: a swing that is known at all times, in the worst sample within 0.02 degrees."""
    fps, rate, n = 60.0, 24.0, 181
    axis = np.array([1.0, 2.0, -2.0]) / 3

    def at(t):
        return Rotation.from_rotvec(1.2 * np.sin(2 * np.pi * 1.5 * t)[:, None] * axis)

    frames = np.arange(n)
    s = sampling(frames, fps, rate)
    assert len(s.wanted) == 73
    found = sample_rotations(at(frames / fps).as_quat()[:, None], s)[:, 0]
    off = (Rotation.from_matrix(found).inv() * at(np.arange(73) / rate)).magnitude()
    assert np.degrees(off.max()) < 0.02
    place = sample_values(np.sin(2 * np.pi * 1.5 * frames / fps)[:, None], s)
    np.testing.assert_allclose(place[:, 0], np.sin(2 * np.pi * 1.5 * np.arange(73) / rate), atol=2e-4)


@pytest.mark.parametrize(("fps", "rate", "samples"), [(60.0, 30.0, 30), (50.0, 100.0, 119), (29.97, 30.0, 60)])
def test_resampled_frames_that_exist_are_kept(motion, fps, rate, samples):
    frames = np.arange(60)
    s = sampling(frames, fps, rate)
    assert len(s.wanted) == samples
    turns = sample_rotations(motion.rotations[:, 0].astype(float), s)
    kept = np.flatnonzero(s.part == 0)
    assert len(kept) >= 1
    exact = Rotation.from_quat(motion.rotations[s.row[kept], 0].reshape(-1, 4)).as_matrix()
    np.testing.assert_allclose(turns[kept].reshape(-1, 3, 3), exact, atol=1e-12)


def test_a_gap_is_interpolated_and_a_resampled_flag_is_the_less_direct_one():
    source = np.array([1, 1, 2, 0, 1], np.uint8)[:, None]
    gap = sampling(np.array([0, 1, 3, 4, 5]), 30.0)
    np.testing.assert_array_equal(sample_sources(source, gap)[:, 0], [1, 1, Source.INTERPOLATED, 2, 0, 1])
    twice = sampling(np.arange(5), 30.0, 60.0)
    np.testing.assert_array_equal(sample_sources(source, twice)[:, 0], [1, 1, 1, 2, 2, 0, 0, 0, 1])


def test_presets_bring_odd_rates_to_ones_the_program_knows(caplog):
    def rate(fps, **settings):
        return frame_rate(ExportSettings(format="bvh", **settings), fps)

    for preset in Preset:
        for fps in (24, 25, 29.97, 30, 50, 59.94, 60, 120):
            assert rate(fps, preset=preset) == 0
    assert rate(59.83, preset="unreal") == pytest.approx(50)
    assert "no time mode of 59.83" in caplog.text
    assert rate(59.83, preset="blender") == rate(59.83) == 0
    assert frame_rate(ExportSettings(format="bvh", fps=24.0, preset="maya"), 60.0) == 24
    assert frame_rate(ExportSettings(format="bvh", fps=60.0), 60.0) == 0


def test_what_a_format_fixes_no_preset_changes():
    for preset in Preset:
        glb = conventions(ExportSettings(format="glb", preset=preset, unit="cm"))
        assert (glb.axes, glb.unit) == (Axes.Y_UP, LengthUnit.METRES)
        assert conventions(ExportSettings(format="bvh", preset=preset)).axes is Axes.Y_UP
    fbx = conventions(ExportSettings(format="fbx", preset="unreal"))
    assert (fbx.axes, fbx.unit, fbx.rig) == (Axes.Z_UP, LengthUnit.CENTIMETRES, Rig.UNREAL)


def test_trimming(motion, caplog):
    source = np.full_like(motion.source, Source.INTERPOLATED)
    source[10:50] = Source.TRIANGULATED
    source[20:23] = Source.INTERPOLATED
    source[:, :, -4:] = Source.MISSING  # never seen: says nothing about a frame
    trimmed = trim_motion(replace(motion, source=source))
    np.testing.assert_array_equal(trimmed.frames, motion.frames[10:50])
    np.testing.assert_array_equal(trimmed.rotations, motion.rotations[10:50])
    assert "20 frames are cut off" in caplog.text
    assert "in 3 frames inside (the first is 120)" in caplog.text
    assert reliable(source).sum() == 37
    with pytest.raises(ExportError, match="no frame has half"):
        trim_motion(replace(motion, source=np.full_like(source, Source.MISSING)))


def test_a_motion_without_the_bones_a_target_needs(motion):
    names = tuple("Torso" if n == "Neck" else n for n in motion.joint_names)
    with pytest.raises(ExportError, match="the motion has no Neck"):
        animate(replace(motion, joint_names=names), Rig.UNREAL)
