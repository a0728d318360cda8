"""NumPy archives that people hand in."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError


def read_npz(path: Path, expected: str) -> dict[str, NDArray[Any]]:
    """All arrays of a .npz file, by name; nothing pickled is loaded.

    Parameters
    ----------
    path : Path
    expected : str
        What the file should hold, for messages.

    Raises
    ------
    DataError
        No such file, or not a .npz file that can be read.
    """
    if not path.is_file():
        raise DataError("no such file", expected=expected, where=str(path))
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ValueError("a single array (.npy), not an archive of named ones")
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        found = str(error) or type(error).__name__
        if "pickle" in found:  # NumPy takes whatever it does not know for a pickle, and says how to load one unsafely
            found = "pickled objects, which are not read" if zipfile.is_zipfile(path) else "another kind of file"
        raise DataError("not a .npz file that can be read", expected=expected, found=found, where=str(path)) from error
