from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from calibration.camera import Camera, CameraRig
from calibration.formats import read_rig
from calibration.projection import Lenses, project, undistort
from mocap.errors import DataError
from mocap.skeleton import H36M_17
from mocap.synthetic import Body, named_positions, procedural_motion, ring_rig, truth_positions
from mocap.synthetic.body import JOINTS, SOLE
from mocap.synthetic.capture import write_capture
from mocap.synthetic.figure import Look, build_figure, rest_positions
from mocap.synthetic.mesh import ellipsoid, loft, skin
from mocap.synthetic.render import CameraRenderer, pinhole_view, render_camera
from mocap.synthetic.scene import build_room, make_scene


@pytest.fixture(scope="module")
def figure():
    return build_figure(Body(), Look())


def _volume(vertices, triangles):
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    return np.einsum("ni,ni->", a, np.cross(b, c)) / 6


def test_surfaces_face_outward_and_have_their_volume():
    assert _volume(*ellipsoid((1, 2, 3), (0.1, 0.2, 0.3), 60, 80)) == pytest.approx(4 / 3 * np.pi * 0.006, rel=0.01)
    for start, end in (((0, 0, 0), (0, 0, 1)), ((0, 0, 1), (0, 0, 0))):
        tube = _volume(*loft([start, end], [(0.1, 0.2), (0.1, 0.2)], (1.0, 0, 0), around=60))
        assert np.pi * 0.02 < tube < 1.25 * np.pi * 0.02


def test_figure_fits_the_body(figure):
    assert np.allclose(figure.weights.sum(1), 1)
    rest = rest_positions(Body())
    span = np.ptp(figure.vertices, axis=0)
    assert span[2] == pytest.approx(1.75, rel=0.02)  # stature
    assert 1.65 < span[0] < 1.95  # arm span is about stature
    nose = figure.vertices[np.abs(figure.vertices[:, 2] - rest[JOINTS.index("head"), 2]) < 0.05]
    assert nose[:, 1].min() < rest[JOINTS.index("head"), 1] - 0.1  # the face looks along -y
    # Left and right are alike, but for the order of vertices.
    mirrored = figure.vertices * (-1, 1, 1)
    assert np.sort(mirrored[:, 0]) == pytest.approx(np.sort(figure.vertices[:, 0]), abs=2e-3)


def test_skinning_keeps_the_rest_pose_and_moves_rigidly(figure):
    rest, normals = rest_positions(Body()), figure.normals()
    eye = np.tile(np.eye(3), (17, 1, 1))
    vertices, turned = skin(figure, normals, rest, eye, rest)
    assert np.abs(vertices - figure.vertices).max() < 1e-12
    assert np.abs(turned - normals).max() < 1e-9
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    vertices, _ = skin(figure, normals, rest, np.tile(quarter, (17, 1, 1)), rest @ quarter.T + (1, 2, 3))
    assert np.abs(vertices - (figure.vertices @ quarter.T + (1, 2, 3))).max() < 1e-12


def test_posed_figure_surrounds_its_joints_and_stands_on_the_floor():
    motion = procedural_motion(60, 30, seed=4)
    body = motion.bodies[0]
    mesh = build_figure(body)
    positions, orientations = motion.world
    vertices, _ = skin(mesh, mesh.normals(), rest_positions(body), orientations[30, 0], positions[30, 0])
    lowest = named_positions(motion, SOLE)[30, 0, :, 2].min()
    assert vertices[:, 2].min() == pytest.approx(lowest, abs=0.02)
    for joint in positions[30, 0]:
        assert np.linalg.norm(vertices - joint, axis=1).min() < 0.15


def _markers(points, renderer):
    for point in points:
        vertices, triangles = ellipsoid(point, (0.012,) * 3, 24, 32)
        renderer.add_mesh(vertices, triangles, np.ones_like(vertices))


def test_pixels_match_the_lens_model():
    """Centroids of small spheres against `project`, with strong distortion, off-centre principal point."""
    rig = ring_rig(2, distortion=1.8, size=(1080, 900), seed=3)
    skewed = np.array([[1100.0, 3.0, 500.0], [0.0, 1090.0, 470.0], [0.0, 0.0, 1.0]])
    rig = CameraRig((rig.cameras[0], replace(rig.cameras[1], K=skewed)))
    points = np.random.default_rng(1).uniform([-1.3, -1.3, 0.1], [1.3, 1.3, 1.9], (40, 3))
    expected = project(Lenses.of(rig), points)
    for v, camera in enumerate(rig.cameras):
        with CameraRenderer(camera, background=(0, 0, 0)) as renderer:
            _markers(points, renderer)
            picture = renderer.picture()[..., 0].astype(np.float64)
        assert picture.shape == (900, 1080)
        bright = (picture > 40).astype(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(bright)
        errors = []
        apart = np.linalg.norm(expected[v][:, None] - expected[v], axis=-1) + 1e3 * np.eye(len(points))
        for u, nearest in zip(expected[v], apart.min(1), strict=True):
            column, row = np.round(u).astype(int)
            if not (10 < column < 1070 and 10 < row < 890) or nearest < 16:
                continue
            label = labels[row, column]
            x, y, w, h = stats[label, :4]
            assert label > 0
            window = picture[y - 2 : y + h + 2, x - 2 : x + w + 2]
            rows, columns = np.mgrid[y - 2 : y + h + 2, x - 2 : x + w + 2]
            errors.append(np.array([(window * columns).sum(), (window * rows).sum()]) / window.sum() - u)
        errors = np.array(errors)
        assert len(errors) > 25
        assert np.linalg.norm(errors, axis=1).max() < 0.3
        assert np.abs(errors.mean(0)).max() < 0.06  # no half-pixel shift


def test_way_from_lens_to_pinhole_is_exact():
    camera = ring_rig(1, distortion=1.8, size=(640, 480), focal=520, seed=3).cameras[0]
    view = pinhole_view(camera)
    pixels = np.random.default_rng(0).integers(0, (640, 480), (200, 2))
    ideal = undistort(Lenses.of(CameraRig((camera,))), pixels[None].astype(float))[0]
    expected = view.focal * ideal + (np.array(view.size) - 1) / 2
    found = np.stack([m[pixels[:, 1], pixels[:, 0]] for m in (view.map_x, view.map_y)], -1)
    assert np.abs(found - expected).max() < 1e-3
    assert found.min() >= 0
    assert (found <= np.array(view.size) - 1).all()


def test_person_is_where_the_truth_says():
    scene = make_scene(3, 30, seed=1, n_cameras=3, size=(360, 360))
    empty = make_scene(3, 30, seed=1, n_cameras=3, size=(360, 360))
    joints = project(Lenses.of(scene.rig), truth_positions(scene.motion, H36M_17))
    for v, camera in enumerate(scene.rig.cameras):
        picture = next(render_camera(scene, camera, [1])).astype(int)
        with CameraRenderer(camera) as renderer:
            room = build_room(empty.seed)
            renderer.add_mesh(room.vertices, room.triangles, room.colours)
            background = renderer.picture().astype(int)
        changed = np.abs(picture - background).max(-1) > 8
        u = np.round(joints[v, 1, 0]).astype(int)
        assert changed[u[:, 1], u[:, 0]].all()
        assert 0.005 < changed.mean() < 0.25


def test_pictures_are_the_same_for_the_same_seed():
    def picture(seed):
        scene = make_scene(2, seed=seed, size=(200, 200))
        return next(render_camera(scene, scene.rig.cameras[0], [1]))

    first = picture(2)
    assert np.array_equal(first, picture(2))
    assert not np.array_equal(first, picture(3))


def test_lens_that_cannot_be_rendered_is_refused():
    K = np.array([[300.0, 0, 539.5], [0, 300, 539.5], [0, 0, 1]])
    wide = Camera("wide", (1080, 1080), K, np.zeros(5), np.eye(3), np.zeros(3))
    with pytest.raises(DataError, match="wide"):
        pinhole_view(wide)
    folding = replace(wide, K=np.diag([900.0, 900, 1]) + np.array([[0, 0, 540.0], [0, 0, 540], [0, 0, 0]]),
                      distortion=np.array([-1.5, 0, 0, 0, 0]))  # fmt: skip
    with pytest.raises(DataError, match="folds over"):
        pinhole_view(folding)
    with pytest.raises(DataError, match="look"):
        replace(make_scene(2), looks=())


def test_capture_on_disk(tmp_path):
    scene = make_scene(4, 25, seed=5, n_cameras=2, size=(240, 200))
    steps = []
    capture = write_capture(tmp_path / "take", scene, lambda done, total: steps.append((done, total)))
    assert steps[-1] == (8, 8)
    rig = read_rig(capture.calibration)
    assert rig.names == scene.rig.names
    assert np.abs(rig.K - scene.rig.K).max() < 1e-9
    video = cv2.VideoCapture(str(capture.videos[1]))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(25)
    assert video.read()[1].shape == (200, 240, 3)
    truth = np.load(capture.ground_truth)
    assert truth["positions"].shape == (4, 1, 17, 3)
    assert tuple(truth["joint_names"]) == H36M_17.joints
    assert np.abs(truth["positions"] - truth_positions(scene.motion)).max() < 1e-6
    assert np.load(capture.surface_truth)["positions"].shape == (4, 1, 33, 3)


def test_same_scene_gives_the_same_bytes(tmp_path):
    one, two = (
        write_capture(tmp_path / name, make_scene(3, 25, seed=6, n_cameras=1, size=(160, 120))) for name in "ab"
    )
    for a, b in zip(
        (*one.videos, one.calibration, one.ground_truth), (*two.videos, two.calibration, two.ground_truth), strict=True
    ):
        assert a.read_bytes() == b.read_bytes()
