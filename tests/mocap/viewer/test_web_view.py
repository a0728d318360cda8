"""The browser view: what the server holds, whom it answers, and what a real browser shows."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from mocap.errors import DependencyError
from mocap.skeleton import H36M_17
from mocap.synthetic import procedural_motion, ring_rig, truth_positions
from mocap.types import Source, Trajectories3D
from mocap.viewer import _viser
from mocap.viewer.clip import MemoryClip
from mocap.viewer.exhibit import Exhibit
from mocap.viewer.settings import Colouring, ViewSettings
from mocap.viewer.shapes import ball, octahedron, tube

viser = pytest.importorskip("viser", reason="pip install 'mocap[web]'")

from mocap.viewer.web import WebView  # noqa: E402


def _exhibit(frames=240, other=None):
    X = truth_positions(procedural_motion(frames, 30, seed=1, n_people=2)).astype(np.float32)
    T, P, J = X.shape[:3]
    source = np.ones((T, P, J), np.uint8)
    source[:, 1, :3] = Source.INTERPOLATED
    error = np.ones((T, P, J), np.float32)
    error[70 % T] = 9.0
    result = Trajectories3D(
        positions=X, covariance=np.tile(np.eye(3, dtype=np.float32) * 1e-4, (T, P, J, 1, 1)), source=source,
        reprojection_error=error, consistency=np.zeros((T, P, J)), views_used=np.zeros((T, P, J)),
        person_ids=np.arange(P), frames=np.arange(T), joint_names=H36M_17.joints, fps=30.0,
    )  # fmt: skip
    return Exhibit(MemoryClip(result), ring_rig(3, seed=1), None if other is None else MemoryClip(other(result)))


@pytest.fixture
def serve():
    """Start views; all are ended afterwards."""
    ended, threads = threading.Event(), []

    def start(exhibit, settings=None):
        view = WebView(exhibit, settings, 0)
        threads.append(threading.Thread(target=view.run, args=(ended,)))
        threads[-1].start()
        return view

    yield start
    ended.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("shape", [ball, octahedron, tube])
def test_unit_shapes_are_closed_and_face_outward(shape):
    vertices, triangles = shape()
    a, b, c = (vertices[triangles[:, i]].astype(float) for i in range(3))
    volume = np.einsum("ni,ni->", a, np.cross(b, c)) / 6
    whole = {ball: 4 / 3 * np.pi, octahedron: 4 / 3, tube: np.pi}[shape]
    assert 0.9 * whole < volume <= whole + 1e-6


def test_instances_stand_where_the_joints_are():
    exhibit = _exhibit(other=lambda r: replace(r, positions=r.positions + np.float32(0.1), frames=r.frames + 5))
    view = WebView(exhibit, None, 0)
    try:
        scene, X = view._scene, exhibit.clip.at(7).part.positions[7]
        scene.show(7)
        shapes = scene._people._shapes
        assert np.allclose(shapes["balls"].batched_positions, X.reshape(-1, 3), atol=1e-6)
        solid = shapes["balls"].batched_scales.max(1).reshape(2, 17) > 1e-3
        angular = shapes["octahedra"].batched_scales.max(1).reshape(2, 17) > 1e-3
        assert (solid != angular).all()
        assert angular[1, :3].all()
        assert angular.sum() == 3
        # a tube reaches from joint to joint: its far end is its turn of (0, 0, length)
        w, x, y, z = shapes["tubes"].batched_wxyzs.reshape(2, 16, 4, 4)[0, :, 0].T.astype(float)
        end = np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], -1)
        length = shapes["tubes"].batched_scales.reshape(2, 16, 4, 3)[0, :, 0, 2:]
        far = X[0, H36M_17.bone_index[:, 0]] + end * length
        assert np.abs(far - X[0, H36M_17.bone_index[:, 1]]).max() < 1e-5
        # the second result has no frame 3, and its frame 7 is its row 2
        other = scene._other._shapes["balls"]
        before = exhibit.other.at(2).part.positions[2].reshape(-1, 3)
        assert np.allclose(other.batched_positions, before, atol=1e-6)
        scene.show(3)
        assert other.batched_scales.max() < 1e-3
        scene.switches()["person 0"].turn(False)
        scene.show(7)
        assert (shapes["balls"].batched_scales.reshape(2, 17, 3)[0] < 1e-3).all()
        by_person = np.array(shapes["balls"].batched_colors)
        scene.colour_by(Colouring.CERTAINTY)
        scene.show(7)
        assert (shapes["balls"].batched_colors != by_person).any(1).all()
        assert len(np.unique(shapes["balls"].batched_colors, axis=0)) == 1  # all are as certain
    finally:
        _viser.stop(view._server)


def test_footage_switched_off_while_it_is_read_is_not_shown(monkeypatch):
    exhibit = _exhibit(5)
    view = WebView(exhibit, None, 0)
    try:
        scene = view._scene
        monkeypatch.setattr(scene._footage, "picture", lambda name, row: np.zeros((4, 6, 3), np.uint8))
        scene._show_footage(True)
        pictures = scene.footage(0)
        assert set(pictures) == set(exhibit.rig.names)
        scene._show_footage(False)
        scene.hang(pictures)
        assert all(f.image is None for f in scene._frustums.values())
        scene._show_footage(True)
        scene.hang(pictures)
        assert all(f.image is not None for f in scene._frustums.values())
        scene._show_footage(False)
        assert scene.footage(0) == {}
    finally:
        _viser.stop(view._server)


def test_only_this_machine_and_only_its_own_page_are_answered(serve):
    connect = pytest.importorskip("websockets.sync.client").connect
    closed = pytest.importorskip("websockets.exceptions").ConnectionClosed
    view = serve(_exhibit(30))
    port = view._server.get_port()
    assert view.url == f"http://127.0.0.1:{port}"
    protocol = [f"viser-v{viser.__version__}"]

    def hears(origin):
        with connect(f"ws://127.0.0.1:{port}", origin=origin, subprotocols=protocol, max_size=None) as socket:
            try:
                return len(socket.recv(timeout=60)) > 0
            except closed:
                return False

    assert hears(f"http://127.0.0.1:{port}")
    assert hears(f"http://localhost:{port}")
    assert not hears("http://example.org")
    assert not hears(None)
    assert view._server.request_share_url() is None
    assert view._server._share_tunnel is None


def test_browser_shows_the_people_and_plays(serve, page):
    view = serve(_exhibit(), ViewSettings(trail_s=1.0))
    page.open(view.url)
    page.wait("document.querySelector('canvas') !== null")

    def coloured():
        """Where the picture is orange, as the first person is."""
        picture = page.screenshot()[:, :470].astype(int)
        b, r = picture[..., 0], picture[..., 2]
        return (r > 100) & (r - b > 60)

    page.until(lambda: coloured().sum() > 200, "the first person is drawn")
    assert view.player.row == 0
    page.click("Worst frame")
    page.wait("document.body.innerText.includes('frame 70 of 239')")
    assert not view.player.playing
    still = coloured()
    page.click("Play")
    page.wait("[...document.querySelectorAll('button')].some(b => b.innerText.trim() == 'Pause')")
    page.until(lambda: view.player.row not in (70, 71), "the timeline moves on")
    page.until(lambda: (coloured() != still).sum() > 50, "the picture changes")
    page.click("Pause")
    page.wait("[...document.querySelectorAll('button')].some(b => b.innerText.trim() == 'Play')")
    row = view.player.row
    page.click(">")
    page.wait(f"document.body.innerText.includes('frame {(row + 1) % 240} of 239')")
    own = view.url, view.url.replace("http", "ws")
    assert [u for u in page.requests if not u.startswith((*own, "data:", "blob:"))] == []
    assert page.errors == []


def test_missing_viser_names_the_command(monkeypatch):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(_viser.importlib, "import_module", absent)
    with pytest.raises(DependencyError, match=r"pip install 'mocap\[web\]'"):
        WebView(_exhibit(3), None, 0)
