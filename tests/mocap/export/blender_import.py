"""What Blender makes of a BVH file. Run by a Python that has bpy: blender_import.py IN.bvh OUT.npz.

Imports with the defaults of File > Import > Motion Capture, but for the scene's frame rate taken from
the file, and writes what an animator sees, in Blender's world (z up, scene units): `names`,
`parents`; `rest` and `tips_at_rest` [B, 3], where bones begin and end at rest; `positions` and
`tips` [T, B, 3], where they do in the take; `rotations` [T, B, 3, 3], their world rotations away
from rest; `fps`; and the keyed frame numbers `keys`.
"""

import sys

import bpy
import numpy as np


def import_bvh(path):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    result = bpy.ops.import_anim.bvh(filepath=path, update_scene_fps=True)
    assert result == {"FINISHED"}, result
    (armature,) = [o for o in bpy.data.objects if o.type == "ARMATURE"]
    return armature


def keyed_frames(armature):
    (layer,) = armature.animation_data.action.layers
    (strip,) = layer.strips
    (bag,) = strip.channelbags
    times = {tuple(k.co[0] for k in curve.keyframe_points) for curve in bag.fcurves}
    (common,) = times  # every channel is keyed at the same times
    return np.array(common)


def main(source, target):
    armature = import_bvh(source)
    scene = bpy.context.scene
    bones = armature.data.bones
    to_world = np.array(armature.matrix_world)
    keys = keyed_frames(armature)
    rest = np.array([b.matrix_local for b in bones])
    heads, tips, rotations = [], [], []
    for key in keys:
        scene.frame_set(int(key))
        pose = [armature.pose.bones[b.name] for b in bones]
        # Copies: a vector of bpy is a view that moves on with the scene.
        heads.append([tuple(p.head) for p in pose])
        tips.append([tuple(p.tail) for p in pose])
        rotations.append([np.array(p.matrix)[:3, :3] @ r[:3, :3].T for p, r in zip(pose, rest, strict=True)])

    def place(points):
        return np.array(points) @ to_world[:3, :3].T + to_world[:3, 3]

    turn = to_world[:3, :3]
    names = [b.name for b in bones]
    np.savez(
        target,
        names=names,
        parents=[names.index(b.parent.name) if b.parent else -1 for b in bones],
        rest=place(rest[:, :3, 3]),
        tips_at_rest=place([tuple(b.tail_local) for b in bones]),
        positions=place(heads),
        tips=place(tips),
        rotations=turn @ np.array(rotations) @ turn.T,
        fps=scene.render.fps / scene.render.fps_base,
        keys=keys,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
