"""Sessions for the workflow's tests: small, synthetic, made once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from calibration.formats import write_rig_toml
from flows.initialise import NewSession, initialise
from mocap.interchange import write_keypoints
from mocap.skeleton import H36M_17
from mocap.synthetic.motion import procedural_motion, truth_positions
from mocap.synthetic.noise import NoiseSettings, observe
from mocap.synthetic.rig import ring_rig
from mocap.video import write_video

SERVER = """
import os, sys
from pathlib import Path
from flows.prefect_server import prefect_api
with prefect_api(Path(sys.argv[1])):
    print(os.environ["PREFECT_API_URL"], flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True)
class KeypointFiles:
    """A rig, 2D keypoints of one person seen by it, and the truth [T, P, J, 3] in metres."""

    rig: Path
    keypoints: Path
    truth: np.ndarray


@pytest.fixture(scope="session")
def keypoint_files(tmp_path_factory: pytest.TempPathFactory) -> KeypointFiles:
    """Four cameras, one person, 80 frames, 2 px noise."""
    folder = tmp_path_factory.mktemp("keypoints")
    rig = ring_rig(n_cameras=4, seed=1)
    write_rig_toml(rig, folder / "rig.toml")
    motion = procedural_motion(80, 50.0, seed=3)
    truth = truth_positions(motion, H36M_17)
    keypoints = observe(truth, rig, NoiseSettings(), seed=5, fps=50.0, joint_names=H36M_17.joints)
    write_keypoints(keypoints, folder / "keypoints.npz")
    return KeypointFiles(folder / "rig.toml", folder / "keypoints.npz", truth)


@pytest.fixture
def keypoint_session(tmp_path: Path, keypoint_files: KeypointFiles) -> Path:
    """A fresh session made from `keypoint_files`."""
    root = tmp_path / "session"
    initialise(NewSession(root, [], keypoint_files.keypoints, keypoint_files.rig, None))
    return root


@pytest.fixture
def blank_videos(tmp_path: Path) -> Path:
    """A session with three cameras that film an empty room for six frames: to search one for people takes long."""
    rig = ring_rig(n_cameras=3, size=(320, 320), focal=300.0, seed=1)
    write_rig_toml(rig, tmp_path / "rig.toml")
    (tmp_path / "videos").mkdir()
    noise = np.random.default_rng(0).integers(90, 110, (320, 320, 3), dtype=np.uint8)
    for name in rig.names:
        write_video(tmp_path / "videos" / f"{name}.mp4", (noise for _ in range(6)), 30.0, (320, 320))
    initialise(NewSession(tmp_path / "S", [tmp_path / "videos"], None, tmp_path / "rig.toml", None))
    return tmp_path / "S"


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server for many runs, as a studio has it: starting one takes longer than a short run."""
    variables = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
    home = tmp_path_factory.mktemp("api")
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(home)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        assert server.stdin is not None
        server.stdin.close()
        server.wait(timeout=240)


@pytest.fixture
def studio_server(api: str, monkeypatch: pytest.MonkeyPatch, _own_prefect_home: None) -> None:
    """Programs that the test starts use the shared Prefect server: most have nothing to do with whose it is."""
    monkeypatch.setenv("PREFECT_API_URL", api)


@pytest.fixture(autouse=True)
def _own_prefect_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests never talk to a Prefect server that the user runs."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
