"""Where the program keeps what is not part of a session: weights, the workflow engine's database."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """``$MOCAP_CACHE``, else ``mocap`` in the platform's folder for caches. Not created."""
    if explicit := os.environ.get("MOCAP_CACHE"):
        return Path(explicit).expanduser()
    return _platform_caches() / "mocap"


def _platform_caches() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser()
