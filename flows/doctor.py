"""What a machine needs to run everything, checked by doing it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mocap.errors import MocapError


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it is well, and details or the next step."""

    subject: str
    ok: bool
    text: str


def examine() -> list[Finding]:
    """Run all checks; none raises."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("python", lambda: f"{platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores"),
        ("packages", _packages),
        ("torch", _torch),
        ("weights", _weights),
        ("video", _video),
        ("drawing", _drawing),
    ]
    return [_check(subject, check) for subject, check in checks]


def _check(subject: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, True, check())
    except (MocapError, OSError, ImportError, RuntimeError) as error:
        return Finding(subject, False, str(error).replace("\n", " "))


def _packages() -> str:
    names = ("mocap", "prefect", "numpy", "scipy", "torch", "opencv-python", "h5py", "open3d")
    return ", ".join(f"{n} {importlib.metadata.version(n)}" for n in names)


def _torch() -> str:
    import torch

    if torch.cuda.is_available():
        return f"CUDA {torch.version.cuda}, {torch.cuda.get_device_name(0)}"
    return f"no GPU in use; {torch.get_num_threads()} CPU threads"


def _weights() -> str:
    from mocap.models import MODELS, UserSource, is_available, model_path

    # Those that only the user can download need not be here.
    wanted = [n for n, model in MODELS.items() if is_available(n) or not isinstance(model.source, UserSource)]
    return ", ".join(f"{name} at {model_path(name)}" for name in wanted)


def _video() -> str:
    import numpy as np

    from mocap.video import probe, write_video

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.mp4"
        write_video(path, (np.full((64, 64, 3), 20 * i, np.uint8) for i in range(10)), 30.0, (64, 64))
        info = probe(path)
    return f"writes and reads {info.codec} ({info.n_frames} frames)"


def _drawing() -> str:
    from mocap.viewer._open3d import load_open3d

    return f"Open3D {load_open3d().__version__}"
