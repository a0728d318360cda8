from __future__ import annotations

from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

from calibration.camera import CameraRig
from calibration.projection import Lenses, project
from mocap.errors import DataError, DependencyError, SettingsError, VideoError
from mocap.skeleton import BLAZEPOSE_33, H36M_17, SKELETONS
from mocap.synthetic import PERFECT, MotionKind, make_scene, observe, procedural_motion, ring_rig, truth_positions
from mocap.types import Source, Trajectories3D
from mocap.video import write_video
from mocap.viewer import _open3d, encode, window
from mocap.viewer.clip import MemoryClip
from mocap.viewer.exhibit import Exhibit
from mocap.viewer.labels import ink_of
from mocap.viewer.overlay import overlay_clip, overlay_keypoints, overlay_trajectories
from mocap.viewer.player import Player
from mocap.viewer.render import middle_frame, render, render_frames
from mocap.viewer.scene import SkeletonModel, camera_frustums, floor_tiles, known_skeleton, person_colour, trails
from mocap.viewer.settings import ViewSettings
from mocap.viewer.view import make_orbit

SMALL = ViewSettings(width=320, height=240)


def _result(positions, joint_names, source=None, fps=30.0):
    positions = positions.astype(np.float32)
    T, P, J = positions.shape[:3]
    present = np.isfinite(positions).all(-1)
    return Trajectories3D(
        positions=positions,
        covariance=np.zeros((T, P, J, 3, 3)),
        source=present.astype(np.uint8) if source is None else source,
        reprojection_error=np.zeros((T, P, J)),
        consistency=np.zeros((T, P, J)),
        views_used=np.zeros((T, P, J)),
        person_ids=np.arange(P),
        frames=np.arange(T),
        joint_names=tuple(joint_names),
        fps=fps,
    )


@pytest.fixture(scope="module")
def result():
    motion = procedural_motion(12, 30, seed=1, n_people=2)
    return _result(truth_positions(motion), H36M_17.joints)


def _blob(model, surface, part):
    """Vertices of a ball (part < P*J) of the model's surface."""
    n = len(model._ball)
    return surface.vertices[part * n : (part + 1) * n]


@pytest.mark.parametrize("skeleton", list(SKELETONS.values()), ids=lambda s: s.name)
def test_balls_lie_on_joints_and_bones_between_them(skeleton):
    X = truth_positions(procedural_motion(3, 30, seed=1, n_people=2), skeleton)
    model = SkeletonModel(_result(X, skeleton.joints), ViewSettings())
    surface = model.frame(1)
    assert len(surface.vertices) == len(surface.colours)
    assert surface.triangles.max() == len(surface.vertices) - 1
    for part, joint in enumerate(X[1].reshape(-1, 3)):
        ball = _blob(model, surface, part)
        assert np.abs((ball.min(0) + ball.max(0)) / 2 - joint).max() < 1e-3
    n_balls = X.shape[1] * X.shape[2] * len(model._ball)
    bones = surface.vertices[n_balls:].reshape(2, len(skeleton.bones), -1, 3)
    for p in range(2):
        for (a, b), tube in zip(skeleton.bone_index, bones[p], strict=True):
            start, end = X[1, p, a], X[1, p, b]
            axis = (end - start) / np.linalg.norm(end - start)
            across = (tube - start) - ((tube - start) @ axis)[:, None] * axis
            assert np.linalg.norm(across, axis=1).max() == pytest.approx(ViewSettings().bone_radius_m, rel=1e-3)


def test_faces_look_outward(result):
    surface = SkeletonModel(result, ViewSettings()).frame(0)
    a, b, c = (surface.vertices[surface.triangles[:, i]] for i in range(3))
    assert np.einsum("ni,ni->", a, np.cross(b, c)) > 0


def test_missing_joints_and_their_bones_vanish(result):
    positions = result.positions.copy()
    wrist = H36M_17.index("l_wrist")
    positions[:, 0, wrist] = np.nan
    model = SkeletonModel(_result(positions, H36M_17.joints), ViewSettings())
    surface = model.frame(5)
    assert np.isfinite(surface.vertices).all()
    assert np.ptp(_blob(model, surface, wrist), axis=0).max() == 0
    n_balls = 2 * 17 * len(model._ball)
    tubes = surface.vertices[n_balls:].reshape(2, len(H36M_17.bones), -1, 3)
    extent = np.ptp(tubes, axis=2).max(-1)
    bone = H36M_17.bones.index(("l_elbow", "l_wrist"))
    assert extent[0, bone] == 0
    assert (np.delete(extent[0], bone) > 0.02).all()
    assert (extent[1] > 0.02).all()


def test_sources_differ_in_shape(result):
    sizes, shapes, widths = {}, {}, {}
    for kind in (Source.TRIANGULATED, Source.LIFTED, Source.INTERPOLATED):
        source = np.full(result.source.shape, kind, np.uint8)
        model = SkeletonModel(replace(result, source=source), ViewSettings())
        surface = model.frame(0)
        ball = _blob(model, surface, 0) - result.positions[0, 0, 0]
        sizes[kind] = np.linalg.norm(ball, axis=1).max()
        shapes[kind] = np.ptp(np.linalg.norm(ball, axis=1)) / sizes[kind]
        n_balls = 2 * 17 * len(model._ball)
        tube = surface.vertices[n_balls:].reshape(2, 16, -1, 10, 3)[0, 2]  # rings of one bone
        widths[kind] = np.ptp(tube, axis=1).max(-1)
    assert sizes[Source.LIFTED] < 0.7 * sizes[Source.TRIANGULATED]
    assert shapes[Source.INTERPOLATED] > 0.2 > shapes[Source.TRIANGULATED]
    assert widths[Source.LIFTED].max() < 0.5 * widths[Source.TRIANGULATED].max()
    inner = slice(1, -1)
    assert (widths[Source.TRIANGULATED][inner] > 0).all()
    assert (widths[Source.INTERPOLATED][inner] < 1e-9).sum() >= 4


def test_people_differ_by_colour_and_keep_it():
    colours = [tuple(person_colour(p)) for p in range(7)]
    assert len(set(colours)) == 7
    assert ink_of(3) == tuple(int(255 * c) for c in person_colour(3)[::-1])


def test_unknown_joints_are_points_without_bones():
    result = _result(np.random.default_rng(0).normal(size=(4, 1, 3, 3)), ("a", "b", "c"))
    assert known_skeleton(result.joint_names) is None
    model = SkeletonModel(result, ViewSettings())
    assert len(model.bones) == 0
    assert len(model.frame(0).vertices) == 3 * len(model._ball)
    assert next(render_frames(result, None, SMALL, [0])).shape == (240, 320, 3)


def test_floor_is_at_zero_and_tiles_lie_on_the_grid():
    floor = floor_tiles(np.array([1.3, -0.4, 1.0]), 2.0, 0.5)
    assert (floor.vertices[:, 2] == 0).all()
    assert np.abs(floor.vertices / 0.5 - np.round(floor.vertices / 0.5)).max() < 1e-9
    assert floor.vertices[:, 0].min() <= -0.5
    assert floor.vertices[:, 0].max() >= 3.0


def test_frustums_start_at_the_cameras_and_enclose_their_image():
    rig = ring_rig(3, distortion=0.0, seed=2)
    lines = camera_frustums(rig, 0.4)
    points = lines.points.reshape(3, 6, 3)
    assert np.abs(points[:, 0] - rig.centres).max() < 1e-9
    for v, camera in enumerate(rig.cameras):
        corners = project(Lenses.of(CameraRig((camera,))), points[v, 1:5])[0]
        assert np.abs(corners - np.array([(0, 0), (1080, 0), (1080, 1080), (0, 1080)])).max() < 1e-6
    assert lines.segments.max() < len(lines.points)


def test_trails_show_the_last_while_and_skip_gaps(result):
    lines = trails(result, 9, 0.1)  # three frames and the present one
    assert len(lines.segments) == 3 * 2 * 4
    positions = result.positions.copy()
    positions[8, 0, H36M_17.index("l_wrist")] = np.nan
    broken = trails(_result(positions, H36M_17.joints), 9, 0.1)
    assert len(broken.segments) == 3 * 2 * 4 - 2
    assert trails(result, 0, 0.1).segments.shape == (0, 2)


def test_view_holds_everybody_and_the_first_person_from_the_front(result):
    orbit = make_orbit(result, ViewSettings())
    for share in (0.0, 0.3, 1.0):
        camera = orbit.camera(share)
        pixels = project(Lenses.of(CameraRig((camera,))), result.positions.astype(float))[0]
        assert (pixels > 0).all()
        assert (pixels < (1280, 720)).all()
        height = np.ptp(pixels[0, 0, :, 1])
        assert height > 0.2 * 720
    pixels = project(Lenses.of(CameraRig((orbit.camera(),))), result.positions.astype(float))[0, 6, 0]
    # seen from the front, the left hand side is on the right
    assert pixels[H36M_17.index("l_shoulder"), 0] > pixels[H36M_17.index("r_shoulder"), 0]


def test_picture_shows_people_where_they_project():
    motion = procedural_motion(5, 30, seed=2, kind=MotionKind.STAND)
    result = _result(truth_positions(motion), H36M_17.joints)
    settings = ViewSettings(width=640, height=480, show_text=False)
    picture = next(render_frames(result, None, settings, [2])).astype(int)
    camera = make_orbit(result, settings).camera()
    pixels = np.round(project(Lenses.of(CameraRig((camera,))), result.positions[2, 0].astype(float))[0]).astype(int)
    spread = np.ptp(picture, axis=-1)  # floor and background are grey, the person is not
    assert (spread[pixels[:, 1], pixels[:, 0]] > 40).all()
    assert 0.002 < (spread > 40).mean() < 0.2


def test_files(result, tmp_path):
    steps = []
    render(result, tmp_path / "a.png", ring_rig(3, seed=1), SMALL)
    assert cv2.imread(str(tmp_path / "a.png")).shape == (240, 320, 3)
    render(result, tmp_path / "b.png", ring_rig(3, seed=1), SMALL)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    render(result, tmp_path / "new" / "a.mp4", None, replace(SMALL, trail_s=0.2), lambda *s: steps.append(s))
    video = cv2.VideoCapture(str(tmp_path / "new" / "a.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 12
    assert steps[-1] == (12, 12)


def test_videos_are_what_browsers_play(tmp_path, monkeypatch, caplog):
    ramp = np.tile(np.linspace(0, 255, 64, dtype=np.uint8)[:, None, None], (1, 65, 3))
    pictures = [np.roll(ramp, 5 * k, 0) for k in range(9)]
    assert encode.write_h264(tmp_path / "a.mp4", pictures, 29.97, (65, 64)) == 9
    with av.open(str(tmp_path / "a.mp4")) as video:
        stream = video.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.average_rate) == pytest.approx(29.97, abs=1e-3)
        decoded = [f.to_ndarray(format="bgr24") for f in video.decode(stream)]
    assert len(decoded) == 9
    for before, after in zip(pictures, decoded, strict=True):  # an odd column is left out
        assert np.abs(before[:, :64].astype(int) - after).mean() < 4
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with pytest.raises(VideoError, match="does not fit"):
        encode.write_h264(tmp_path / "b.mp4", [ramp, ramp[:32]], 30, (65, 64))
    with pytest.raises(VideoError, match="no frames"):
        encode.write_h264(tmp_path / "b.mp4", [], 30, (65, 64))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4"]
    monkeypatch.setattr(encode, "can_encode", lambda: False)
    encode.write_h264(tmp_path / "c.mp4", [p[:, :64].copy() for p in pictures], 30, (64, 64))
    assert "browsers do not play" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("wrong", [MemoryError("full"), cv2.error("bad picture"), SystemExit()])
def test_an_encoder_that_fails_stops_its_caller(tmp_path, monkeypatch, wrong):
    def fail(self, frame, number):
        raise wrong

    monkeypatch.setattr(encode._Encoder, "_encode", fail)
    # A thread that ends without a word (SystemExit) must not be waited for either.
    expected = VideoError if isinstance(wrong, SystemExit) else type(wrong)
    with pytest.raises(expected):
        encode.write_h264(tmp_path / "a.mp4", [np.zeros((32, 32, 3), np.uint8)] * 20, 30, (32, 32))
    with pytest.raises(VideoError, match="too small"):
        encode.write_h264(tmp_path / "a.mp4", [np.zeros((1, 1, 3), np.uint8)] * 20, 30, (1, 1))
    assert not list(tmp_path.iterdir())


def test_middle_frame_is_a_full_one(result):
    positions = result.positions.copy()
    positions[4:9] = np.nan
    assert middle_frame(_result(positions, H36M_17.joints)) in (3, 9)


def test_nothing_to_show_is_said(result, tmp_path):
    empty = _result(np.full((3, 1, 17, 3), np.nan), H36M_17.joints)
    with pytest.raises(DataError, match="nothing to show"):
        render(empty, tmp_path / "a.png")
    nobody = _result(np.zeros((3, 0, 17, 3)), H36M_17.joints)
    with pytest.raises(DataError, match="nothing to show"):
        render(nobody, tmp_path / "a.png")
    with pytest.raises(DataError, match="mp4"):
        render(result, tmp_path / "a.gif")
    with pytest.raises(SettingsError, match="width"):
        ViewSettings(width=3)


def test_overlay_draws_the_skeleton_on_the_person(tmp_path):
    scene = make_scene(6, 30, seed=3, n_cameras=2, size=(320, 320))
    camera = scene.rig.cameras[1]
    path = tmp_path / "v.mp4"
    write_video(path, [np.full((320, 320, 3), 90, np.uint8)] * 6, 30, camera.size)
    X = truth_positions(scene.motion, BLAZEPOSE_33)
    result = _result(X, BLAZEPOSE_33.joints)
    assert overlay_trajectories(path, result, camera, tmp_path / "o.mp4") == 6
    image = _frame(tmp_path / "o.mp4", 3)
    pixels = project(Lenses.of(scene.rig), X)[1, 3, 0]
    knee = np.round(pixels[BLAZEPOSE_33.index("l_knee")]).astype(int)
    patch = image[knee[1] - 1 : knee[1] + 2, knee[0] - 1 : knee[0] + 2].astype(int)
    assert np.abs(patch - 90).max() > 60
    assert np.abs(image[:10, -40:].astype(int) - 90).max() < 12  # nothing drawn elsewhere
    seen = observe(X, scene.rig, PERFECT, joint_names=BLAZEPOSE_33.joints)
    late = replace(
        seen, keypoints=seen.keypoints[:, 2:5], confidence=seen.confidence[:, 2:5],
        uncertainty=seen.uncertainty[:, 2:5], frames=seen.frames[2:5],
    )  # fmt: skip
    assert overlay_keypoints(path, late, "cam_1", tmp_path / "k.mp4") == 3
    again = _frame(tmp_path / "k.mp4", 1).astype(int)
    assert np.abs(again[60:] - image.astype(int)[60:]).mean() < 1.0  # same frame, same drawing
    with pytest.raises(DataError, match="cam_9"):
        overlay_keypoints(path, seen, "cam_9", tmp_path / "k.mp4")
    with pytest.raises(DataError, match="do not fit"):
        overlay_keypoints(path, replace(seen, frames=seen.frames + 4), "cam_1", tmp_path / "k.mp4")


def test_overlay_of_a_camera_with_half_the_rate(tmp_path):
    scene = make_scene(12, 60, seed=3, n_cameras=2, size=(320, 320))
    camera = scene.rig.cameras[1]
    write_video(tmp_path / "v.mp4", [np.full((320, 320, 3), 90, np.uint8)] * 6, 30, camera.size)
    clip = MemoryClip(_result(truth_positions(scene.motion, BLAZEPOSE_33), BLAZEPOSE_33.joints, fps=60.0))
    assert overlay_clip(tmp_path / "v.mp4", clip, camera, tmp_path / "o.mp4", np.arange(12) // 2) == 6
    with pytest.raises(DataError, match="do not fit"):
        overlay_clip(tmp_path / "v.mp4", clip, camera, tmp_path / "o.mp4", np.arange(12) // 2 + 3)


def _frame(path, number):
    video = cv2.VideoCapture(str(path))
    for _ in range(number + 1):
        ok, image = video.read()
        assert ok
    return image


def test_player_plays_steps_and_wraps():
    player = Player(10, 25.0)
    player.advance(0.2)
    assert player.row == 5
    player.toggle()
    player.advance(1.0)
    assert player.row == 5
    player.step(-7)
    assert player.row == 8
    assert not player.playing
    player.go(-1)
    assert player.row == 9
    player.step(1)
    assert player.row == 0
    player.toggle()
    player.faster(1)
    player.advance(0.1)
    assert player.row == 5
    for _ in range(20):
        player.faster(1)
    assert player.speed == 16
    player.loop = False
    player.advance(1.0)
    assert (player.row, player.playing) == (9, False)
    player.toggle()
    assert (player.row, player.playing) == (0, True)


def test_window_without_a_display_is_refused(result, monkeypatch):
    monkeypatch.setattr(window.sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(DependencyError, match="--render"):
        window.show(Exhibit(MemoryClip(result)))


def test_missing_open3d_names_the_command(monkeypatch):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(_open3d.importlib, "import_module", absent)
    with pytest.raises(DependencyError, match="pip install open3d libusb-package"):
        _open3d.load_open3d()
