"""Universal Scene Description (UsdSkel): skeleton, skin of capsules, animation (needs usd-core).

The stage says its up axis, metres per unit and frames per second; time code 0 is the first sample.
Where each joint's motion comes from stands in `userProperties:mocap:source` of the animation, one
flag per joint and sample, its uncertainty in `userProperties:mocap:rotationStd` (radians, -1 unknown).
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mocap.errors import DependencyError
from mocap.export.animation import Animation
from mocap.export.capsules import capsule_skin
from mocap.export.reread import reread_usd
from mocap.storage.atomic import atomic_path

Array = NDArray[np.float64]

_ENDINGS = (".usd", ".usda", ".usdc")


def need_usd() -> None:
    """Make sure that usd-core is there.

    Raises
    ------
    DependencyError
        It is not.
    """
    try:
        import pxr.UsdSkel  # noqa: F401
    except ImportError as error:
        raise DependencyError(
            "USD files need usd-core", where="export.format = usd", hint='pip install "mocap[usd]"'
        ) from error


def write_usd(path: Path, animations: list[Animation]) -> None:
    """Write the motion of one or more people; the suffix tells text (.usda) from binary (.usd, .usdc).

    Parameters
    ----------
    path : Path
    animations : list of Animation
        All with the same axes, unit and times.

    Raises
    ------
    DependencyError
        usd-core is not installed.
    StorageError
        The file cannot be written.
    ExportError
        What was written does not read back.
    """
    need_usd()
    from pxr import Usd, UsdGeom, UsdSkel

    first = animations[0]
    with atomic_path(path) as temporary:
        # In memory first: the library tells failures to write only in its own log.
        stage = Usd.Stage.CreateInMemory()
        UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z if first.axes.up == "Z" else UsdGeom.Tokens.y)
        UsdGeom.SetStageMetersPerUnit(stage, 1 / first.unit.per_metre)
        stage.SetTimeCodesPerSecond(first.fps)
        stage.SetFramesPerSecond(first.fps)
        stage.SetStartTimeCode(0)
        stage.SetEndTimeCode(len(first.frames) - 1)
        stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/Scene").GetPrim())
        for animation in animations:
            root = UsdSkel.Root.Define(stage, f"/Scene/{animation.name}")
            UsdSkel.BindingAPI.Apply(root.GetPrim())
            skeleton = _add_skeleton(stage, animation)
            _add_motion(stage, animation, skeleton)
            _add_skin(stage, animation, skeleton)
        ending = path.suffix if path.suffix.lower() in _ENDINGS else ".usd"
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / f"take{ending}"  # the library goes by the ending
            stage.GetRootLayer().Export(str(made))
            reread_usd(made, animations)
            shutil.copyfile(made, temporary)


def joint_paths(animation: Animation) -> list[str]:
    """Names of the joints as the format has them: the way from the root."""
    paths: list[str] = []
    for name, parent in zip(_tokens(animation), animation.parents, strict=True):
        paths.append(f"{paths[parent]}/{name}" if parent >= 0 else name)
    return paths


def _tokens(animation: Animation) -> list[str]:
    from pxr import Tf

    return [Tf.MakeValidIdentifier(name) for name in animation.nodes]


def _matrices(rotations: Array, places: Array) -> Any:
    """Transforms [B] as the format has them: row vectors, the place in the last row."""
    from pxr import Vt

    out = np.broadcast_to(np.eye(4), (len(places), 4, 4)).copy()
    out[:, :3, :3], out[:, 3, :3] = np.swapaxes(rotations, 1, 2), places
    return Vt.Matrix4dArray.FromNumpy(out)


def _add_skeleton(stage: Any, animation: Animation) -> Any:
    from pxr import UsdSkel

    skeleton = UsdSkel.Skeleton.Define(stage, f"/Scene/{animation.name}/Skeleton")
    skeleton.CreateJointsAttr(joint_paths(animation))
    skeleton.CreateJointNamesAttr(list(animation.nodes))
    skeleton.CreateBindTransformsAttr(_matrices(animation.rest_axes, animation.rest_positions))
    skeleton.CreateRestTransformsAttr(_matrices(animation.rest_rotations(), animation.rest_translations()))
    return skeleton


def _add_motion(stage: Any, animation: Animation, skeleton: Any) -> None:
    from pxr import Sdf, Usd, UsdSkel, Vt

    n, b = animation.source.shape
    motion = UsdSkel.Animation.Define(stage, f"/Scene/{animation.name}/Animation")
    motion.CreateJointsAttr(joint_paths(animation))
    motion.CreateScalesAttr(Vt.Vec3hArray.FromNumpy(np.ones((b, 3), np.float16)))
    rotations, translations = motion.CreateRotationsAttr(), motion.CreateTranslationsAttr()
    prim = motion.GetPrim()
    source = prim.CreateAttribute("userProperties:mocap:source", Sdf.ValueTypeNames.UCharArray, True)
    std = prim.CreateAttribute("userProperties:mocap:rotationStd", Sdf.ValueTypeNames.FloatArray, True)
    prim.CreateAttribute("userProperties:mocap:firstFrame", Sdf.ValueTypeNames.Double, True).Set(
        float(animation.frames[0])
    )
    turns = animation.local_quaternions().astype(np.float32)
    places = np.broadcast_to(animation.rest_translations(), (n, b, 3)).copy()
    places[:, animation.moving] = animation.moving_translations()
    places32 = places.astype(np.float32)
    flags, known = animation.source.astype(np.uint8), np.nan_to_num(animation.rotation_std, nan=-1.0)
    changes = np.concatenate([[True], (np.diff(flags, axis=0) != 0).any(1)])
    for k in range(n):
        time = Usd.TimeCode(k)
        rotations.Set(Vt.QuatfArray.FromNumpy(turns[k]), time)
        translations.Set(Vt.Vec3fArray.FromNumpy(places32[k]), time)
        if changes[k]:  # flags hold until the next ones
            source.Set(Vt.UCharArray(flags[k].tolist()), time)
        std.Set(Vt.FloatArray.FromNumpy(known[k].astype(np.float32)), time)
    UsdSkel.BindingAPI.Apply(skeleton.GetPrim()).CreateAnimationSourceRel().SetTargets([prim.GetPath()])


def _add_skin(stage: Any, animation: Animation, skeleton: Any) -> None:
    from pxr import UsdGeom, UsdSkel, Vt

    skin = capsule_skin(animation)
    mesh = UsdGeom.Mesh.Define(stage, f"/Scene/{animation.name}/Body")
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(skin.positions.astype(np.float32)))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(skin.triangles), 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(skin.triangles.reshape(-1).astype(np.int32)))
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    low, high = skin.positions.min(0), skin.positions.max(0)
    mesh.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([low, high]).astype(np.float32)))
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    binding.CreateSkeletonRel().SetTargets([skeleton.GetPath()])
    binding.CreateJointIndicesPrimvar(False, 1).Set(Vt.IntArray.FromNumpy(skin.node.astype(np.int32)))
    binding.CreateJointWeightsPrimvar(False, 1).Set(Vt.FloatArray.FromNumpy(np.ones(len(skin.node), np.float32)))


def pose_at(stage: Any, name: str, times: Array) -> tuple[Array, Array]:
    """World positions [N, B, 3] and rotations [N, B, 3, 3] of a person's joints, as the library computes them."""
    from pxr import Gf, Usd, UsdSkel

    cache = UsdSkel.Cache()
    root = UsdSkel.Root(stage.GetPrimAtPath(f"/Scene/{name}"))
    cache.Populate(root, Usd.PrimDefaultPredicate)
    query = cache.GetSkelQuery(UsdSkel.Skeleton(stage.GetPrimAtPath(f"/Scene/{name}/Skeleton")))
    transforms = [query.ComputeJointSkelTransforms(Usd.TimeCode(float(t))) for t in times]
    out = np.array([[np.array(Gf.Matrix4d(m)) for m in row] for row in transforms])
    return out[..., 3, :3], Rotation.from_matrix(np.swapaxes(out[..., :3, :3], -1, -2).reshape(-1, 3, 3)).as_matrix(
    ).reshape(*out.shape[:2], 3, 3)  # fmt: skip
