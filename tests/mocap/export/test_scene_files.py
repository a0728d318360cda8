"""GLB by trimesh and pygltflib, USD by usd-core, C3D by ezc3d, TRC by NumPy: none of them our writers."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pygltflib
import pytest

from mocap.errors import DependencyError, ExportError
from mocap.export import ExportSettings, Preset, Rig, export_files, export_result
from mocap.export.presets import conventions
from mocap.export.targets import target_nodes
from mocap.kinematics import SolveSettings, joint_positions, solve_motion
from mocap.metrics import read_ground_truth
from mocap.types import Source


def driven(motion, rig):
    """Nodes that sit at a joint of ours, by name, with the joint's index."""
    nodes = target_nodes(rig, motion.joint_names, motion.parents)
    return {n.name: motion.joint_names.index(n.bone) for n in nodes if n.bone and not n.along}


def decode(glb, index):
    accessor = glb.accessors[index]
    view = glb.bufferViews[accessor.bufferView]
    kind = {5126: "<f4", 5121: "u1", 5125: "<u4"}[accessor.componentType]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor.type]
    data = glb.binary_blob()[view.byteOffset :]
    return np.frombuffer(data, kind, accessor.count * width).reshape(accessor.count, width)


@pytest.mark.parametrize("preset", list(Preset))
def test_glb_poses_by_trimesh(take, motion, tmp_path, preset):
    """trimesh's scene graph, posed with the file's own keys, puts joints where ours are."""
    trimesh = pytest.importorskip("trimesh")
    path = export_result(take, motion, ExportSettings(format="glb", preset=preset, person=4), tmp_path / "r.glb")
    glb = pygltflib.GLTF2().load(str(path))
    (animation,) = glb.animations
    ours = joint_positions(motion)[:, 0]
    at = driven(motion, conventions(ExportSettings(preset=preset)).rig)
    for frame in (0, 31, 59):
        scene = trimesh.load(path)
        assert scene.is_valid
        graph = scene.graph
        keys = {}
        for channel in animation.channels:
            sampler = animation.samplers[channel.sampler]
            np.testing.assert_allclose(decode(glb, sampler.input)[:, 0], np.arange(60) / 29.97, rtol=1e-6)
            keys.setdefault(channel.target.node, {})[channel.target.path] = decode(glb, sampler.output)[frame]
        for node, values in keys.items():
            q = values["rotation"]
            matrix = trimesh.transformations.quaternion_matrix([q[3], *q[:3]])
            matrix[:3, 3] = values.get("translation", glb.nodes[node].translation)
            name = glb.nodes[node].name
            graph.update(frame_from=graph.transforms.parents[name], frame_to=name, matrix=matrix)
        for name, b in at.items():
            x, y, z = graph.get(name)[0][:3, 3]
            np.testing.assert_allclose([x, -z, y], ours[frame, b], atol=1e-4)


def test_glb_is_what_the_format_asks_for(take, motion, tmp_path):
    path = export_result(take, motion, ExportSettings(format="glb", one_scene=True), tmp_path / "r.glb")
    glb = pygltflib.GLTF2().load(str(path))
    assert [a.name for a in glb.animations] == [s.name for s in glb.skins] == ["person4", "person7"]
    assert glb.buffers[0].byteLength == len(glb.binary_blob())
    for view in glb.bufferViews:
        assert view.byteOffset % 4 == 0
        assert view.byteOffset + view.byteLength <= glb.buffers[0].byteLength
    for skin in glb.skins:
        inverse = decode(glb, skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
        world = {}

        def visit(index, above, world=world):
            node = glb.nodes[index]
            x, y, z, w = node.rotation or (0, 0, 0, 1)
            matrix = np.eye(4)
            matrix[:3, :3] = [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
            matrix[:3, 3] = node.translation or (0, 0, 0)
            world[index] = above @ matrix
            for child in node.children or []:
                visit(child, world[index])

        visit(skin.skeleton, np.eye(4))
        np.testing.assert_allclose(inverse @ [world[j] for j in skin.joints], np.tile(np.eye(4), (21, 1, 1)), atol=1e-5)
    for mesh in glb.meshes:
        (part,) = mesh.primitives
        weights = decode(glb, part.attributes.WEIGHTS_0)
        np.testing.assert_array_equal(weights.sum(1), 1)
        assert decode(glb, part.attributes.JOINTS_0).max() < 21
        normals = decode(glb, part.attributes.NORMAL)
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)


def test_glb_says_how_sure_it_is(take, motion, tmp_path):
    std = np.full_like(motion.rotation_std, 0.02)
    std[:, :, 3] = np.nan
    settings = ExportSettings(format="glb", person=7)
    path = export_result(take, replace(motion, rotation_std=std), settings, tmp_path / "r.glb")
    glb = pygltflib.GLTF2().load(str(path))
    (animation,) = glb.animations
    source = np.stack([decode(glb, i)[:, 0] for i in animation.extras["mocap_source_accessors"]], 1)
    np.testing.assert_array_equal(source, motion.source[:, 1])
    found = np.stack([decode(glb, i)[:, 0] for i in animation.extras["mocap_rotation_std_rad_accessors"]], 1)
    np.testing.assert_allclose(found, np.nan_to_num(std[:, 1], nan=-1))
    arm = next(n for n in glb.nodes if n.name == "LeftArm")
    assert arm.extras["mocap_measured"] == pytest.approx(0.5)
    assert arm.extras["mocap_source"].endswith("triangulated:30-59")
    assert arm.extras["mocap_rotation_std_deg"] == pytest.approx(np.degrees(0.02), abs=1e-3)


def test_glb_for_unity_is_a_vrm_animation(take, motion, tmp_path):
    path = export_result(take, motion, ExportSettings(format="glb", rig="unity", person=4), tmp_path / "r.vrma")
    glb = pygltflib.GLTF2().load_binary(str(path))
    extension = glb.extensions["VRMC_vrm_animation"]
    assert glb.extensionsUsed == ["VRMC_vrm_animation"]
    assert extension["specVersion"] == "1.0"
    bones = extension["humanoid"]["humanBones"]
    assert glb.nodes[bones["leftUpperArm"]["node"]].name == "LeftUpperArm"
    assert {"hips", "spine", "chest", "upperChest", "neck", "head", "rightToes"} <= set(bones)
    # Its rest pose: no joint turned, hips above the ground.
    for bone in bones.values():
        np.testing.assert_allclose(glb.nodes[bone["node"]].rotation, [0, 0, 0, 1], atol=1e-12)
    assert glb.nodes[bones["hips"]["node"]].translation[1] > 0.7


@pytest.mark.parametrize("preset", list(Preset))
def test_usd_by_its_own_library(take, motion, tmp_path, preset):
    pxr = pytest.importorskip("pxr", reason="usd-core is not installed")
    from pxr import Gf, Usd, UsdGeom, UsdSkel

    settings = ExportSettings(format="usd", preset=preset, one_scene=True)
    stage = Usd.Stage.Open(str(export_result(take, motion, settings, tmp_path / "r.usd")))
    wanted = conventions(settings)
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1 / wanted.unit.per_metre
    assert UsdGeom.GetStageUpAxis(stage) == wanted.axes.up
    assert stage.GetTimeCodesPerSecond() == stage.GetFramesPerSecond() == 29.97
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (0, 59)
    ours = joint_positions(motion)
    for row, name in enumerate(("person4", "person7")):
        skeleton = UsdSkel.Skeleton(stage.GetPrimAtPath(f"/Scene/{name}/Skeleton"))
        cache = UsdSkel.Cache()
        cache.Populate(UsdSkel.Root(stage.GetPrimAtPath(f"/Scene/{name}")), Usd.PrimDefaultPredicate)
        query = cache.GetSkelQuery(skeleton)
        names = list(skeleton.GetJointNamesAttr().Get())
        for frame in (0, 31, 59):
            poses = query.ComputeJointSkelTransforms(Usd.TimeCode(frame))
            for node, b in driven(motion, wanted.rig).items():
                x, y, z = np.array(poses[names.index(node)].ExtractTranslation()) / wanted.unit.per_metre
                found = [x, y, z] if wanted.axes.up == "Z" else [x, -z, y]
                np.testing.assert_allclose(found, ours[frame, row, b], atol=1e-3)
        bind = skeleton.GetBindTransformsAttr().Get()
        rest = query.ComputeJointSkelTransforms(Usd.TimeCode.Default(), True)
        assert all(Gf.IsClose(a, b, 1e-4 * wanted.unit.per_metre) for a, b in zip(bind, rest, strict=True))
        motion_prim = stage.GetPrimAtPath(f"/Scene/{name}/Animation")
        flags = motion_prim.GetAttribute("userProperties:mocap:source").Get(Usd.TimeCode(45))
        if wanted.rig is Rig.NATIVE:
            np.testing.assert_array_equal(list(flags), motion.source[45, row])
    assert pxr


def test_usd_needs_its_library(take, motion, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pxr", None)
    monkeypatch.setitem(sys.modules, "pxr.UsdSkel", None)
    with pytest.raises(DependencyError, match=r"usd-core(.|\n)*mocap\[usd\]"):
        export_result(take, motion, ExportSettings(format="usd"), tmp_path / "r.usd")
    assert not list(tmp_path.iterdir())


def test_fbx_without_blender_says_how_to_get_it(take, motion, tmp_path, monkeypatch):
    monkeypatch.setenv("MOCAP_BLENDER_PYTHON", str(tmp_path / "no-such-python"))
    with pytest.raises(DependencyError, match=r"MOCAP_BLENDER_PYTHON(.|\n)*make fbx-support"):
        export_result(take, motion, ExportSettings(format="fbx"), tmp_path / "r.fbx")
    monkeypatch.setenv("MOCAP_BLENDER_PYTHON", "false")
    with pytest.raises(ExportError, match=r"Blender could not write(.|\n)*exit status 1(.|\n)*make fbx-support"):
        export_result(take, motion, ExportSettings(format="fbx"), tmp_path / "r.fbx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("preset", ["", "visual3d", "opensim", "maya"])
def test_c3d_by_ezc3d(take, tmp_path, preset):
    ezc3d = pytest.importorskip("ezc3d")
    file = ezc3d.c3d(str(export_result(take, None, ExportSettings(format="c3d", preset=preset), tmp_path / "r.c3d")))
    point = file["parameters"]["POINT"]
    assert point["UNITS"]["value"] == ["mm"]
    assert point["RATE"]["value"] == pytest.approx([29.97])
    assert point["LABELS"]["value"][:2] == ["p4_nose", "p4_l_eye"]
    assert file["header"]["points"]["first_frame"] == 100
    x, y, z = np.moveaxis(file["data"]["points"][:3].transpose(2, 1, 0) / 1000, -1, 0)
    world = {"": (x, y, z), "visual3d": (x, y, z), "opensim": (-z, -x, y), "maya": (x, -z, y)}[preset]
    np.testing.assert_allclose(np.stack(world, -1).reshape(60, 2, 17, 3), take.positions, atol=1e-5)
    residuals = file["data"]["meta_points"]["residuals"][0].T.reshape(60, 2, 17)
    np.testing.assert_array_equal(residuals < 0, take.source == Source.MISSING)
    std = 1e3 * np.sqrt(np.trace(take.covariance, axis1=-2, axis2=-1) / 3)
    np.testing.assert_allclose(residuals[residuals >= 0], std[residuals >= 0], atol=0.15)
    source = file["data"]["analogs"][0].T.reshape(60, 2, 17)
    np.testing.assert_array_equal(source, take.source)
    assert file["parameters"]["ANALOG"]["LABELS"]["value"][0] == "SOURCE_p4_nose"
    masks = file["data"]["meta_points"]["camera_masks"].transpose(2, 1, 0).reshape(60, 2, 17, 7)
    np.testing.assert_array_equal(
        masks[take.source == 1].astype(int), np.tile([1, 1, 1, 0, 0, 0, 0], ((take.source == 1).sum(), 1))
    )


RECORDS = ("positions", "covariance", "source", "reprojection_error", "consistency", "views_used")


def test_c3d_that_is_too_long_is_refused(make_take, tmp_path):
    take = make_take(np.arange(4))
    few = {n: np.repeat(getattr(take, n)[:1, :1, :2], 70000, 0) for n in RECORDS}
    long = replace(take, frames=np.arange(70000), person_ids=[4], joint_names=("nose", "l_eye"), **few)
    with pytest.raises(ExportError, match=r"too long for C3D(.|\n)*65535"):
        export_result(long, None, ExportSettings(format="c3d"), tmp_path / "r.c3d")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("preset", "to_world"), [
    ("", lambda x, y, z: (-z, -x, y)), ("opensim", lambda x, y, z: (-z, -x, y)), ("visual3d", lambda *p: p),
])  # fmt: skip
def test_trc_by_numpy(take, tmp_path, preset, to_world):
    path = export_result(take, None, ExportSettings(format="trc", preset=preset), tmp_path / "r.trc")
    lines = path.read_text().split("\n")
    assert dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=True))["Units"] == "mm"
    assert lines[3].split("\t")[2::3][:2] == ["p4_nose", "p4_l_eye"]
    table = np.genfromtxt(path, delimiter="\t", skip_header=6)
    np.testing.assert_allclose(table[:, 1], np.arange(60) / 29.97, atol=1e-9)
    x, y, z = (table[:, 2 + i :: 3] / 1000 for i in range(3))
    np.testing.assert_allclose(np.stack(to_world(x, y, z), -1).reshape(60, 2, 17, 3), take.positions, atol=1e-6)


def test_trc_by_the_reader_of_ground_truth(take, tmp_path):
    path = export_result(take, None, ExportSettings(format="trc", person=4), tmp_path / "r.trc")
    truth = read_ground_truth(path)
    assert truth.fps == pytest.approx(29.97)
    assert len(truth.positions) == 60


@pytest.mark.parametrize("kind", ["c3d", "trc", "csv", "npz"])
def test_positions_at_another_rate(take, tmp_path, kind):
    settings = ExportSettings(format=kind, fps=29.97 / 2, person=4)
    path = export_result(take, None, settings, tmp_path / f"r.{kind}")
    if kind == "npz":
        with np.load(path) as file:
            assert float(file["fps"]) == pytest.approx(29.97 / 2)
            np.testing.assert_allclose(file["positions"], take.positions[::2, :1], atol=1e-6)
    else:
        assert path.stat().st_size > 1000


@pytest.mark.parametrize("kind", ["c3d", "trc"])
@pytest.mark.parametrize(
    ("frames", "rate"),
    [(np.arange(100, 220, 2), 29.97 / 2), (np.r_[0:30, 1030:1060], 29.97)],
    ids=["every second frame", "a jump"],
)
def test_positions_of_frames_that_are_not_numbered_one_by_one(make_take, tmp_path, kind, frames, rate):
    take = make_take(frames)
    path = export_result(take, None, ExportSettings(format=kind), tmp_path / f"r.{kind}")
    read = read_ground_truth(path)
    assert read.fps == pytest.approx(rate, rel=1e-5)
    assert len(read.frames) == len(frames)
    np.testing.assert_allclose(read.positions[:, 0, 0, 2], take.positions[:, 0, 0, 2], atol=1e-4)  # heights


@pytest.mark.parametrize("kind", ["bvh", "glb", "usd"])
def test_several_people_one_file_each(take, motion, tmp_path, kind):
    if kind == "usd":
        pytest.importorskip("pxr", reason="usd-core is not installed")
    files = export_files(take, motion, ExportSettings(format=kind), tmp_path / f"r.{kind}")
    assert [f.name for f in files] == [f"r.{kind}", f"r_person7.{kind}"]
    assert all(f.is_file() for f in files)
    one = export_files(take, motion, ExportSettings(format=kind, person=7), tmp_path / f"one.{kind}")
    assert [f.name for f in one] == [f"one.{kind}"]
    assert one[0].read_bytes() == files[1].read_bytes() or kind == "usd"


def test_a_bvh_holds_no_scene(take, motion, tmp_path):
    with pytest.raises(ExportError, match="holds one person"):
        export_result(take, motion, ExportSettings(format="bvh", one_scene=True), tmp_path / "r.bvh")


@pytest.mark.parametrize("kind", ["bvh", "glb", "usd", "c3d", "trc"])
def test_what_does_not_read_back_is_not_kept(take, motion, tmp_path, monkeypatch, kind):
    """A writer that goes wrong by a centimetre is found out, and leaves nothing."""
    if kind == "usd":
        pytest.importorskip("pxr", reason="usd-core is not installed")
    import mocap.export.points as points
    from mocap.export.animation import Animation

    true = Animation.moving_translations
    monkeypatch.setattr(Animation, "moving_translations", lambda self: true(self) + 0.01)
    files = points.file_positions
    calls = []

    def wrong(*arguments):
        calls.append(files(*arguments))
        return calls[-1]

    monkeypatch.setattr(points, "file_positions", wrong)
    for name in ("reread_c3d", "reread_trc"):
        check = getattr(points, name)
        monkeypatch.setattr(points, name, lambda p, n, x, f, check=check: check(p, n, x + 10, f))
    if kind == "bvh":  # stores the root's place itself
        settings = ExportSettings(format=kind, rig="unreal", person=4)
    else:
        settings = ExportSettings(format=kind, person=4)
    with pytest.raises(ExportError, match="does not read back"):
        export_result(take, motion, settings, tmp_path / f"r.{kind}")
    assert not list(tmp_path.iterdir())


def degenerate(make_take, case):
    take = make_take(np.arange(3 if case == "three frames" else 30), seed=5)
    source = take.source.copy()
    if case == "gaps at both ends":
        source[:8], source[24:] = 0, 0
    elif case == "waist up":
        source[:, :, 13:] = 0
    elif case == "half missing":
        source[:, 1, ::2] = 0
    take = replace(take, positions=np.where((source == 0)[..., None], np.nan, take.positions), source=source)
    if case == "three frames":
        take = replace(take, person_ids=[4], **{n: getattr(take, n)[:, :1] for n in RECORDS})
    return take, solve_motion(take, SolveSettings(min_frames=1))


def one_frame(take, motion):
    rows = slice(20, 21)
    parts = ("rotations", "root_positions", "source", "rotation_std", "contacts", "frames")
    motion = replace(motion, **{n: getattr(motion, n)[rows] for n in parts})
    return replace(take, **{n: getattr(take, n)[rows] for n in (*RECORDS, "frames")}), motion


def holds_no_nan(path):
    if path.suffix in (".bvh", ".trc"):
        return "nan" not in path.read_text().lower()
    if path.suffix == ".glb":
        glb = pygltflib.GLTF2().load(str(path))
        floats = [i for i, a in enumerate(glb.accessors) if a.componentType == 5126]
        return all(np.isfinite(decode(glb, i)).all() for i in floats)
    return path.stat().st_size > 0  # C3D and USD were read back; NaN there is a missing point


@pytest.mark.parametrize("case", ["three frames", "gaps at both ends", "waist up", "half missing"])
def test_degenerate_takes(make_take, tmp_path, caplog, case):
    """Never NaN where a format has none; what was not seen is flagged and warned of."""
    take, motion = degenerate(make_take, case)
    if case == "waist up":
        assert "left in the rest pose" in caplog.text
    caplog.clear()
    kinds = ["bvh", "glb", "c3d", "trc"] + (["usd"] if find_spec("pxr") else [])
    for kind in kinds:
        for rig in ("native", "unreal"):
            files = export_files(take, motion, ExportSettings(format=kind, rig=rig), tmp_path / f"{rig}.{kind}")
            assert all(holds_no_nan(f) for f in files)
    if case == "gaps at both ends":
        assert "was not seen in 14 of 30 frames" in caplog.text
        for kind in kinds:
            export_files(*one_frame(take, motion), ExportSettings(format=kind, person=4), tmp_path / f"one.{kind}")
