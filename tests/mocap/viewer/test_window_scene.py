"""What the Open3D window holds, without a display; long results; pictures that hang in the scene."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.camera import CameraRig
from calibration.projection import Lenses, project
from mocap.errors import StorageError
from mocap.skeleton import H36M_17
from mocap.storage.hdf5 import write_record
from mocap.synthetic import procedural_motion, ring_rig, truth_positions
from mocap.types import Trajectories3D
from mocap.viewer import clip as clip_module
from mocap.viewer._open3d import load_open3d
from mocap.viewer.clip import FileClip, MemoryClip
from mocap.viewer.exhibit import Exhibit
from mocap.viewer.footage import Footage
from mocap.viewer.footage_window import overlay_picture
from mocap.viewer.panel import before_view, on_frustum
from mocap.viewer.player import Player, Rounds
from mocap.viewer.render import middle_frame, render_frames
from mocap.viewer.settings import Colouring, ViewSettings
from mocap.viewer.view import make_orbit, through
from mocap.viewer.window import KEYS
from mocap.viewer.window_scene import WindowScene


def _result(frames, first=0):
    X = truth_positions(procedural_motion(60, 30, seed=1, n_people=2)).astype(np.float32)
    X = np.resize(X, (frames, *X.shape[1:])) + np.random.default_rng(0).normal(0, 0.001, (frames, 1, 1, 3)).astype("f4")
    T, P, J = X.shape[:3]
    error = np.random.default_rng(1).gamma(2, 1, (T, P, J)).astype(np.float32)
    return Trajectories3D(
        positions=X, covariance=np.tile(np.eye(3, dtype=np.float32) * 1e-4, (T, P, J, 1, 1)), source=np.ones((T, P, J)),
        reprojection_error=error, consistency=np.zeros((T, P, J)), views_used=np.zeros((T, P, J)),
        person_ids=np.arange(P), frames=first + np.arange(T), joint_names=H36M_17.joints, fps=30.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A result over several parts, in memory and as a file."""
    result = _result(3 * 1024 + 100, first=7)
    path = tmp_path_factory.mktemp("long") / "long.h5"
    write_record(path, result)
    return result, path


def test_a_file_shows_what_memory_does_and_holds_only_parts(long):
    result, path = long
    whole, parts = MemoryClip(result), FileClip(path)
    assert len(parts) == len(whole)
    for t in (0, 1023, 1024, 3171, 5, 2500, 1100):
        a, b = whole.at(t), parts.at(t)
        assert (a.part.positions[a.row] == b.part.positions[b.row]).all()
        assert b.part.frames[b.row] == result.frames[t]
        assert b.row >= min(t, 512)  # trails reach back over a part's edge
        assert len(b.part.frames) <= 1024 + 512
    assert len(parts._parts) <= clip_module._KEPT
    assert np.allclose(parts.row_error, whole.row_error)
    assert (parts.joints_present == whole.joints_present).all()
    assert parts.worst(5) == whole.worst(5)
    assert len(parts.sample) < len(parts) / 3
    assert parts.row_of(8) == 1
    assert parts.row_of(3) is None
    assert middle_frame(parts) == middle_frame(whole)
    assert (next(render_frames(parts, None, ViewSettings(width=64, height=64), [9]))).shape == (64, 64, 3)


@pytest.mark.parametrize(("fps", "trail_s", "before"), [(240.0, 0.0, 960), (30.0, 30.0, 900)])
def test_parts_of_a_file_hold_the_trails(tmp_path, fps, trail_s, before):
    path = tmp_path / "fast.h5"
    write_record(path, replace(_result(2 * 1024 + 10), fps=fps))
    moment = FileClip(path, trail_s).at(2048)
    assert moment.row == before


def test_worst_rows_are_the_worst_and_apart(long):
    clip = MemoryClip(long[0])
    rows = clip.worst(8)
    assert rows[0] == int(np.argmax(clip.row_error))
    assert (np.diff(np.sort(rows)) >= 15).all()
    player, rounds = Player(len(clip), 30.0), Rounds(rows)
    rounds.next(player)
    rounds.next(player)
    assert player.row == rows[1]
    player.step(3)
    rounds.next(player)
    assert player.row == rows[0]


def test_a_damaged_file_is_said_when_it_is_opened(tmp_path):
    (tmp_path / "x.h5").write_bytes(b"no")
    with pytest.raises(StorageError, match="damaged"):
        FileClip(tmp_path / "x.h5")


def test_pictures_hang_where_their_pixels_are():
    rig = ring_rig(3, distortion=0.0, seed=2)
    for camera in rig.cameras:
        lenses, (w, h) = Lenses.of(CameraRig((camera,))), camera.size
        corners = project(lenses, on_frustum(camera, 0.35))[0]
        assert np.abs(corners - [(0, 0), (w, 0), (w, h), (0, h)]).max() < 1e-6
        panel = project(lenses, before_view(np.zeros((30, 50, 3), np.uint8), camera, (8, 9)))[0]
        assert np.abs(panel - [(8, 9), (58, 9), (58, 39), (8, 39)]).max() < 1e-6


def test_a_named_view_sees_what_the_camera_sees():
    camera = ring_rig(2, distortion=0.0, size=(600, 1000), seed=2).cameras[0]
    view = through(camera, ViewSettings(width=1280, height=720))
    X = np.random.default_rng(0).normal(0, 0.4, (20, 3)) + (0, 0, 1)
    there, here = (project(Lenses.of(CameraRig((c,))), X)[0] for c in (camera, view))
    scale = 720 / 1000
    assert np.abs((here + 0.5) - ((there + 0.5) * scale + ((1280 - 600 * scale) / 2, 0))).max() < 1e-6


def test_the_window_holds_the_scene_and_its_keys_change_it(long):
    o3d = load_open3d()
    result = long[0]
    other = replace(result, frames=result.frames + 10)
    exhibit = Exhibit(MemoryClip(result), ring_rig(3, seed=1), MemoryClip(other))
    visualizer = o3d.visualization.Visualizer()
    assert visualizer.create_window(width=320, height=240, visible=False)
    try:
        scene = WindowScene(o3d, visualizer, exhibit, ViewSettings(width=320, height=240), KEYS)
        scene.pose(20)
        n = 2 * 17 * 108  # balls of nine rings of twelve

        def balls(mesh):
            return np.asarray(mesh.vertices)[:n].reshape(2, 17, 108, 3)

        centres = (balls(scene._people).min(2) + balls(scene._people).max(2)) / 2
        assert np.abs(centres - result.positions[20]).max() < 1e-3
        compared = (balls(scene._other).min(2) + balls(scene._other).max(2)) / 2
        assert np.abs(compared - result.positions[10]).max() < 1e-3
        assert np.abs(np.asarray(scene._fallen.vertices)[:, 2]).max() < 0.01
        scene.next_person()
        scene.pose(20)
        size = np.ptp(balls(scene._people), axis=2).max((1, 2))
        assert size[0] > 0.04
        assert size[1] == 0
        scene.next_person()
        scene.next_person()  # all again
        scene.toggle_joints()
        scene.toggle_trails()
        scene.toggle_compared()
        before = np.array(scene._people.vertex_colors)
        scene.next_colouring()
        scene.pose(20)
        assert np.ptp(balls(scene._people), axis=2).max() < 1e-4
        assert len(scene._trails.lines) == 2 * 4 * 20
        assert np.ptp(np.asarray(scene._other.vertices), axis=0).max() == 0
        assert (np.asarray(scene._people.vertex_colors) != before).any()
        assert scene._settings.colour is Colouring.CERTAINTY
        player = Player(len(exhibit.clip), 30.0)
        scene.annotate(make_orbit(exhibit.clip, ViewSettings()).camera(), player)
        tall = np.asarray(scene._panels[0].textures[0]).shape[0]
        scene.toggle_keys()
        scene.annotate(make_orbit(exhibit.clip, ViewSettings()).camera(), player)
        assert np.asarray(scene._panels[0].textures[0]).shape[0] < tall / 4
    finally:
        visualizer.destroy_window()


def test_overlay_of_the_window_lies_on_the_joints(long):
    camera = ring_rig(3, seed=1).cameras[1]
    exhibit = Exhibit(MemoryClip(long[0]), CameraRig((camera,)))
    image = overlay_picture(exhibit, Footage({}, {}), camera, 40).astype(int)
    pixels = project(Lenses.of(CameraRig((camera,))), long[0].positions[40].astype(float))[0].reshape(-1, 2)
    scale = 720 / camera.size[1]
    at = np.round((pixels + 0.5) * scale - 0.5).astype(int)
    inside = (at >= 2).all(1) & (at < (image.shape[1] - 2, image.shape[0] - 2)).all(1)
    assert inside.sum() > 20
    assert (np.abs(image[at[inside, 1], at[inside, 0]] - 90).max(-1) > 40).all()
