"""glTF 2.0, binary (GLB): skeleton, a skin of capsules, animation, and how sure each joint is.

Y up, metres, as the format has it; persons face +Z in the rest pose. Node extras say in words where
a joint's motion comes from (importers keep them as custom properties); the animation's extras name
the accessors with the flags and standard deviations of every sample. The Unity target also carries
the bone map that makes the file a VRM animation (.vrma): VRMC_vrm_animation 1.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pygltflib as gl
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mocap.export.animation import Animation
from mocap.export.capsules import capsule_skin
from mocap.export.confidence import measured_fraction, median_degrees, source_runs
from mocap.export.reread import reread_glb
from mocap.export.settings import Rig
from mocap.export.targets import vrm_bone
from mocap.storage.atomic import atomic_path

_KINDS = {1: gl.SCALAR, 3: gl.VEC3, 4: gl.VEC4, 16: gl.MAT4}
_COMPONENTS = {np.dtype("f4"): gl.FLOAT, np.dtype("u1"): gl.UNSIGNED_BYTE, np.dtype("u4"): gl.UNSIGNED_INT}


class _Buffer:
    """Arrays laid one after the other, each with a view and an accessor."""

    def __init__(self, file: gl.GLTF2) -> None:
        self.file, self.parts, self.size = file, [], 0  # type: tuple[gl.GLTF2, list[bytes], int]

    def add(self, values: NDArray[Any], target: int | None = None) -> int:
        """Index of a new accessor to the values: [n] or [n, k]; with bounds, which times and positions need."""
        array = np.ascontiguousarray(values)
        data = array.tobytes()
        self.file.bufferViews.append(gl.BufferView(buffer=0, byteOffset=self.size, byteLength=len(data), target=target))
        flat = array.reshape(len(array), -1)
        self.file.accessors.append(
            gl.Accessor(
                bufferView=len(self.file.bufferViews) - 1, componentType=_COMPONENTS[array.dtype], count=len(array),
                type=_KINDS[flat.shape[1]], min=flat.min(0).tolist() if np.isfinite(flat).all() else None,
                max=flat.max(0).tolist() if np.isfinite(flat).all() else None,
            )
        )  # fmt: skip
        padding = -len(data) % 4
        self.parts.append(data + b"\0" * padding)
        self.size += len(data) + padding
        return len(self.file.accessors) - 1


def write_glb(path: Path, animations: list[Animation], rig: Rig) -> None:
    """Write the motion of one or more people.

    Parameters
    ----------
    path : Path
    animations : list of Animation
        Y up, metres, all with the same times.
    rig : Rig
        Their target skeleton.

    Raises
    ------
    StorageError
        The file cannot be written.
    ExportError
        What was written does not read back.
    """
    file = gl.GLTF2(asset=gl.Asset(version="2.0", generator="mocap"), scene=0, scenes=[gl.Scene(nodes=[])])
    buffer = _Buffer(file)
    file.materials.append(gl.Material(name="capsules", pbrMetallicRoughness=gl.PbrMetallicRoughness(
        baseColorFactor=[0.6, 0.65, 0.7, 1.0], metallicFactor=0.0, roughnessFactor=0.8)))  # fmt: skip
    for animation in animations:
        first = _add_nodes(file, animation)
        _add_skin(file, buffer, animation, first)
        _add_motion(file, buffer, animation, first)
    if rig is Rig.UNITY and len(animations) == 1:
        bones = {vrm_bone(n): {"node": i + 1} for i, n in enumerate(animations[0].nodes)}
        file.extensionsUsed.append("VRMC_vrm_animation")
        file.extensions["VRMC_vrm_animation"] = {"specVersion": "1.0", "humanoid": {"humanBones": bones}}
    file.buffers.append(gl.Buffer(byteLength=buffer.size))
    file.set_binary_blob(b"".join(buffer.parts))
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"".join(file.save_to_bytes()))
        reread_glb(temporary, animations)


def _add_nodes(file: gl.GLTF2, animation: Animation) -> int:
    """Index of the first joint's node; the node before it is the person."""
    turns = Rotation.from_matrix(animation.rest_rotations()).as_quat()
    places = animation.rest_translations()
    person = len(file.nodes)
    first = person + 1
    roots = np.flatnonzero(animation.parents < 0)
    file.nodes.append(gl.Node(name=animation.name, children=(first + roots).tolist(), extras=_take(animation)))
    for b, name in enumerate(animation.nodes):
        children = (first + np.flatnonzero(animation.parents == b)).tolist()
        extras: dict[str, Any] = {
            "mocap_measured": round(measured_fraction(animation.source[:, b]), 4),
            "mocap_source": source_runs(animation.source[:, b]),
        }
        std = median_degrees(animation.rotation_std[:, b])
        if std is not None:
            extras["mocap_rotation_std_deg"] = std
        file.nodes.append(gl.Node(
            name=name, children=children, rotation=turns[b].tolist(), translation=places[b].tolist(), extras=extras
        ))  # fmt: skip
    file.scenes[0].nodes.append(person)
    return first


def _take(animation: Animation) -> dict[str, Any]:
    return {"mocap_fps": animation.fps, "mocap_first_frame": float(animation.frames[0])}


def _add_skin(file: gl.GLTF2, buffer: _Buffer, animation: Animation, first: int) -> None:
    bind = np.broadcast_to(np.eye(4), (len(animation.nodes), 4, 4)).copy()
    bind[:, :3, :3], bind[:, :3, 3] = animation.rest_axes, animation.rest_positions
    inverse = np.linalg.inv(bind)
    inverse[:, 3] = [0, 0, 0, 1]  # exactly: the format asks for it
    skin = capsule_skin(animation)
    joints = np.zeros((len(skin.node), 4), np.uint8)
    joints[:, 0] = skin.node
    weights = np.zeros((len(skin.node), 4), np.float32)
    weights[:, 0] = 1
    # The format's matrices lie column by column.
    columns = buffer.add(inverse.swapaxes(1, 2).reshape(-1, 16).astype(np.float32))
    attributes = gl.Attributes(
        POSITION=buffer.add(skin.positions.astype(np.float32), gl.ARRAY_BUFFER),
        NORMAL=buffer.add(skin.normals.astype(np.float32), gl.ARRAY_BUFFER),
        JOINTS_0=buffer.add(joints, gl.ARRAY_BUFFER),
        WEIGHTS_0=buffer.add(weights, gl.ARRAY_BUFFER),
    )
    indices = buffer.add(skin.triangles.reshape(-1).astype(np.uint32), gl.ELEMENT_ARRAY_BUFFER)
    name = f"{animation.name}_body"
    file.meshes.append(
        gl.Mesh(name=name, primitives=[gl.Primitive(attributes=attributes, indices=indices, material=0)])
    )
    file.skins.append(gl.Skin(
        name=animation.name, inverseBindMatrices=columns, joints=[first + b for b in range(len(animation.nodes))],
        skeleton=first - 1,
    ))  # fmt: skip
    file.nodes.append(gl.Node(name=name, mesh=len(file.meshes) - 1, skin=len(file.skins) - 1))
    file.scenes[0].nodes.append(len(file.nodes) - 1)


def _add_motion(file: gl.GLTF2, buffer: _Buffer, animation: Animation, first: int) -> None:
    times = buffer.add(animation.times.astype(np.float32))
    turns = animation.local_quaternions().astype(np.float32)
    motion = gl.Animation(name=animation.name)
    for b in range(len(animation.nodes)):
        _channel(motion, times, buffer.add(turns[:, b]), first + b, gl.ROTATION)
    places = buffer.add(animation.moving_translations().astype(np.float32))
    _channel(motion, times, places, first + animation.moving, gl.TRANSLATION)
    motion.extras = {
        **_take(animation),
        "mocap_source_accessors": [buffer.add(animation.source[:, b]) for b in range(len(animation.nodes))],
        "mocap_sources": "0 missing, 1 triangulated, 2 lifted, 3 interpolated",
    }
    if np.isfinite(animation.rotation_std).any():
        # The format has no NaN: -1 says that nothing is known.
        std = np.nan_to_num(animation.rotation_std, nan=-1.0).astype(np.float32)
        motion.extras["mocap_rotation_std_rad_accessors"] = [buffer.add(std[:, b]) for b in range(std.shape[1])]
    file.animations.append(motion)


def _channel(motion: gl.Animation, times: int, values: int, node: int, path: str) -> None:
    motion.samplers.append(gl.AnimationSampler(input=times, output=values, interpolation=gl.ANIM_LINEAR))
    target = gl.AnimationChannelTarget(node=node, path=path)
    motion.channels.append(gl.AnimationChannel(sampler=len(motion.samplers) - 1, target=target))
