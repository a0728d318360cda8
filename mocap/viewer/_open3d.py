"""The one place that imports Open3D."""

from __future__ import annotations

import ctypes
import importlib
import os
import tempfile
from types import ModuleType

from mocap.errors import DependencyError

_HINT = "install them: pip install open3d libusb-package (and Debian's libgl1, libgomp1 where missing)"


def load_open3d() -> ModuleType:
    """The Open3D module, loaded when first asked for.

    Open3D's wheel links libusb but does not bring it; the package libusb-package does, and its
    library must be in the process before Open3D is imported.

    Raises
    ------
    DependencyError
        Open3D or libusb-package is not installed, or a system library they need is missing.
    """
    # Its window library complains on stderr where a desktop session is absent.
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    try:
        libusb = importlib.import_module("libusb_package")
        ctypes.CDLL(str(libusb.get_library_path()), mode=ctypes.RTLD_GLOBAL)
        module = importlib.import_module("open3d")
    except (ImportError, OSError) as error:
        raise DependencyError(
            "Open3D cannot be loaded", expected="open3d and libusb-package", found=str(error), hint=_HINT
        ) from error
    module.utility.set_verbosity_level(module.utility.VerbosityLevel.Error)
    return module
