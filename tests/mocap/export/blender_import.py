"""What Blender makes of a file. Run by a Python that has bpy: blender_import.py IN OUT.npz PER_METRE.

Imports with the importer's defaults (BVH: the scene's rate taken from the file) and writes what an
animator sees, in Blender's world (z up), BVH divided by PER_METRE, which that format does not tell:
`names`, `parents`; `rest` and `tips_at_rest` [B, 3], where bones begin and end at rest; `positions`
and `tips` [T, B, 3], where they do in the take; `rotations` [T, B, 3, 3], their world rotations away
from rest; `fps`; `times` [T] of the keys in seconds from the first; `scale` of the armature; `top`,
the world height [T] of the skin's highest vertex (NaN without skin).
"""

import sys
from pathlib import Path

import bpy
import numpy as np


def import_file(path):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    ending = Path(path).suffix
    if ending == ".bvh":
        result = bpy.ops.import_anim.bvh(filepath=path, update_scene_fps=True)
    elif ending == ".glb":
        result = bpy.ops.import_scene.gltf(filepath=path)
    elif ending == ".fbx":
        result = bpy.ops.import_scene.fbx(filepath=path)
    else:
        result = bpy.ops.wm.usd_import(filepath=path)
    assert result == {"FINISHED"}, result
    (armature,) = [o for o in bpy.data.objects if o.type == "ARMATURE"]
    return armature


def keyed_frames(armature):
    (layer,) = armature.animation_data.action.layers
    (strip,) = layer.strips
    (bag,) = [b for b in strip.channelbags if b.slot == armature.animation_data.action_slot]
    times = {tuple(k.co[0] for k in curve.keyframe_points) for curve in bag.fcurves if len(curve.keyframe_points) > 1}
    (common,) = times  # every channel is keyed at the same times
    return np.array(common, np.float64)


def skin_top(depsgraph):
    tops = []
    for body in (o for o in bpy.data.objects if o.type == "MESH" and o.find_armature()):
        seen = body.evaluated_get(depsgraph)
        points = np.array([tuple(v.co) for v in seen.data.vertices])
        to_world = np.array(seen.matrix_world)
        tops.append((points @ to_world[:3, :3].T + to_world[:3, 3])[:, 2].max())
    return max(tops, default=np.nan)


def main(source, target, per_metre):
    armature = import_file(source)
    scene = bpy.context.scene
    bones = armature.data.bones
    to_world = np.array(armature.matrix_world)
    scale = 1.0 if source.endswith(".bvh") else np.cbrt(np.linalg.det(to_world[:3, :3]))
    keys = keyed_frames(armature)
    rest = np.array([b.matrix_local for b in bones])
    heads, tips, rotations, top = [], [], [], []
    for key in keys:
        scene.frame_set(int(key), subframe=float(key % 1))
        pose = [armature.pose.bones[b.name] for b in bones]
        # Copies: a vector of bpy is a view that moves on with the scene.
        heads.append([tuple(p.head) for p in pose])
        tips.append([tuple(p.tail) for p in pose])
        rotations.append([np.array(p.matrix)[:3, :3] @ r[:3, :3].T for p, r in zip(pose, rest, strict=True)])
        top.append(skin_top(bpy.context.evaluated_depsgraph_get()))

    def place(points):
        points = np.array(points) @ to_world[:3, :3].T + to_world[:3, 3]
        return points / float(per_metre) if source.endswith(".bvh") else points

    turn = to_world[:3, :3] / np.cbrt(np.linalg.det(to_world[:3, :3]))
    names = [b.name for b in bones]
    fps = scene.render.fps / scene.render.fps_base
    # The FBX importer of Blender 5.0 counts in frames of the rounded rate (30 for 29.97).
    counted = scene.render.fps if source.endswith(".fbx") else fps
    np.savez(
        target,
        names=names,
        parents=[names.index(b.parent.name) if b.parent else -1 for b in bones],
        rest=place(rest[:, :3, 3]),
        tips_at_rest=place([tuple(b.tail_local) for b in bones]),
        positions=place(heads),
        tips=place(tips),
        rotations=turn @ np.array(rotations) @ turn.T,
        fps=fps,
        keys=keys,
        times=(keys - keys[0]) / counted,
        scale=scale,
        top=top,
        properties=[str(dict(b.items()).get("mocap_source", "")) for b in bones],
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
