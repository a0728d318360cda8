"""Writes FBX with Blender and reads it back. Run by a Blender or a Python that has bpy, never imported.

    python blender_fbx.py IN.npz OUT.fbx          blender -b --factory-startup --python blender_fbx.py -- IN.npz OUT.fbx

IN.npz comes from `mocap.export.fbx`. The armature is built in the file's own axes and unit, so that
neither it nor its root bone carries a rotation or a scale that an importer has to undo.
"""

from __future__ import annotations

import sys
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

# Metres; the reread must agree this well.
_TOLERANCE = 1e-3
# Seconds; Blender keeps keys in float32 frames.
_TIME_TOLERANCE = 1e-5


class Take:
    """One person's arrays by name."""

    def __init__(self, file: Any, index: int) -> None:
        self._file, self._prefix = file, f"{index}_"

    def __getitem__(self, name: str) -> Any:
        return self._file[self._prefix + name]


def main(source: str, target: str) -> None:
    """Write, read back, compare; an AssertionError says what differs."""
    with np.load(source, allow_pickle=False) as file:
        takes = [Take(file, i) for i in range(int(file["people"]))]
        new_scene(float(file["fps"]), 1 / float(file["per_metre"]), len(takes[0]["rotations"]))
        for take in takes:
            add_person(take, file["world_from_file"], "Armature" if len(takes) == 1 else str(take["name"]))
        up_z = str(file["up"]) == "Z"
        bpy.ops.export_scene.fbx(
            filepath=target, check_existing=False, object_types={"ARMATURE", "MESH"},
            axis_forward="Y" if up_z else "-Z", axis_up="Z" if up_z else "Y",
            apply_unit_scale=True, apply_scale_options="FBX_SCALE_UNITS", bake_space_transform=False,
            add_leaf_bones=False, primary_bone_axis="Y", secondary_bone_axis="X", use_armature_deform_only=False,
            use_custom_props=True, mesh_smooth_type="FACE", bake_anim=True, bake_anim_use_all_bones=True,
            bake_anim_use_nla_strips=False, bake_anim_use_all_actions=False, bake_anim_force_startend_keying=True,
            bake_anim_step=1.0, bake_anim_simplify_factor=0.0,
        )  # fmt: skip
        reread(target, takes, file)


def new_scene(fps: float, metres: float, samples: int) -> None:
    """An empty scene with the file's unit, rate and length."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.unit_settings.scale_length = metres
    scene.render.fps = max(1, round(fps))
    scene.render.fps_base = scene.render.fps / fps
    scene.frame_start, scene.frame_end = 0, max(samples - 1, 0)


def add_person(take: Take, world_from_file: Any, name: str) -> None:
    """An armature with its motion and a body bound to it."""
    armature = bpy.data.objects.new(name, bpy.data.armatures.new(name))
    bpy.context.collection.objects.link(armature)
    armature.matrix_world = Matrix(world_from_file.tolist()).to_4x4()
    names = [str(n) for n in take["nodes"]]
    add_bones(armature, names, take)
    add_motion(armature, names, take)
    add_body(armature, names, take)


def add_bones(armature: Any, names: list[str], take: Take) -> None:
    """Bones with the rest axes that the target skeleton asks for."""
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    bones = armature.data.edit_bones
    for b, (name, parent) in enumerate(zip(names, take["parents"], strict=True)):
        bone = bones.new(name)
        bone.head, bone.tail = (0, 0, 0), (0, float(take["lengths"][b]), 0)
        bone.matrix = matrix(take["rest_axes"][b], take["rest_positions"][b])
        if parent >= 0:
            bone.parent = bones[names[parent]]
    bpy.ops.object.mode_set(mode="OBJECT")
    for b, name in enumerate(names):
        bone = armature.data.bones[name]
        bone["mocap_measured"], bone["mocap_source"] = float(take["measured"][b]), str(take["runs"][b])


def matrix(rotation: Any, place: Any) -> Any:
    """A 4x4 transform."""
    out = Matrix(rotation.tolist()).to_4x4()
    out.translation = place.tolist()
    return out


def add_motion(armature: Any, names: list[str], take: Take) -> None:
    """Keys of all bones: away from the rest pose that Blender made of the one asked for."""
    rest = np.array([np.array(armature.data.bones[n].matrix_local) for n in names])
    wanted = np.zeros((*take["positions"].shape[:2], 4, 4))
    wanted[..., :3, :3], wanted[..., :3, 3], wanted[..., 3, 3] = take["rotations"], take["positions"], 1
    action = bpy.data.actions.new(armature.name)
    armature.animation_data_create().action = action
    at = np.arange(len(wanted), dtype=np.float32)
    for b, (name, parent) in enumerate(zip(names, take["parents"], strict=True)):
        local, local_rest = wanted[:, b], rest[b]
        if parent >= 0:
            local, local_rest = np.linalg.inv(wanted[:, parent]) @ local, np.linalg.inv(rest[parent]) @ local_rest
        basis = np.linalg.inv(local_rest) @ local
        armature.pose.bones[name].rotation_mode = "QUATERNION"
        quaternions = np.array([Matrix(m[:3, :3].tolist()).to_quaternion() for m in basis])
        sign = np.where((quaternions[1:] * quaternions[:-1]).sum(-1) < 0, -1.0, 1.0)
        quaternions[1:] *= np.cumprod(sign)[:, None]
        path = f'pose.bones["{bpy.utils.escape_identifier(name)}"].'
        curves = [(path + "rotation_quaternion", quaternions)]
        if b == int(take["moving"]):
            curves.append((path + "location", basis[:, :3, 3]))
        for where, values in curves:
            for i in range(values.shape[1]):
                add_curve(action, armature, where, i, at, values[:, i])


def add_curve(action: Any, armature: Any, path: str, index: int, at: Any, values: Any) -> None:
    """One channel with a key per sample."""
    curve = action.fcurve_ensure_for_datablock(armature, path, index=index)
    curve.keyframe_points.add(len(at))
    curve.keyframe_points.foreach_set("co", np.stack([at, values], 1).astype(np.float32).ravel())
    curve.update()


def add_body(armature: Any, names: list[str], take: Take) -> None:
    """The capsules, each vertex bound to its bone."""
    mesh = bpy.data.meshes.new(f"{armature.name}_body")
    mesh.from_pydata(take["vertices"].tolist(), [], take["triangles"].tolist())
    body = bpy.data.objects.new(mesh.name, mesh)
    bpy.context.collection.objects.link(body)
    body.parent = armature
    for b, name in enumerate(names):
        group = body.vertex_groups.new(name=name)
        group.add(np.flatnonzero(take["vertex_node"] == b).tolist(), 1.0, "REPLACE")
    body.modifiers.new("Armature", "ARMATURE").object = armature


def reread(path: str, takes: list[Take], file: Any) -> None:
    """Import the file into an empty scene and compare the joints' world positions."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.fbx(filepath=path)
    scene = bpy.context.scene
    fps = scene.render.fps / scene.render.fps_base
    assert abs(fps / float(file["fps"]) - 1) < 1e-5, f"{fps} frames per second instead of {float(file['fps'])}"
    armatures = [o for o in bpy.data.objects if o.type == "ARMATURE"]
    assert len(armatures) == len(takes), f"{len(armatures)} armatures instead of {len(takes)}"
    for take in takes:
        many = len(takes) > 1
        (armature,) = [a for a in armatures if not many or a.name == str(take["name"])]
        # Blender 5.0's import counts time in frames of the rounded rate (30 for 29.97): exact, but between frames.
        curve = next(c for c in curves_of(armature) if "location" not in c.data_path)
        keys = np.array([k.co[0] for k in curve.keyframe_points], np.float64)
        times = (keys - keys[0]) / scene.render.fps
        count = len(take["positions"])
        assert len(keys) == count, f"{len(keys)} keys instead of {count}"
        late = np.abs(times - np.arange(count) / float(file["fps"])).max()
        assert late < _TIME_TOLERANCE + 1e-7 * times[-1], f"keys up to {late} s from their times"
        for k in sorted({0, count // 2, count - 1}):
            scene.frame_set(int(keys[k]), subframe=float(keys[k] % 1))
            found = [armature.matrix_world @ armature.pose.bones[str(n)].head for n in take["nodes"]]
            wanted = take["positions"][k] @ file["world_from_file"].T / float(file["per_metre"])
            error = np.abs(np.array([tuple(p) for p in found]) - wanted).max()
            assert error < _TOLERANCE, f"joints up to {1000 * error:.2f} mm from where they were solved, sample {k}"


def curves_of(armature: Any) -> Any:
    """The channels of an imported action."""
    (layer,) = armature.animation_data.action.layers
    (strip,) = layer.strips
    return [c for bag in strip.channelbags for c in bag.fcurves]


if __name__ == "__main__":
    arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    main(*arguments)
