"""Compiled kernels that their sources have left behind.

numba keeps what it compiled beside each source file and compiles anew when that file changes; of a kernel in
another file that was compiled in, it knows nothing. After an update in place the old arithmetic would go on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path


def drop_stale_kernels(folders: Iterable[Path] | None = None) -> int:
    """Remove compiled kernels that are older than any source file with kernels; they are compiled when next used.

    Parameters
    ----------
    folders : iterable of Path, optional
        Folders of Python packages; those of this program unless given. What cannot be removed stays.

    Returns
    -------
    int
        Files removed.
    """
    if folders is None:
        here = Path(__file__).resolve().parent
        folders = (here, here.parent / "calibration")
    folders = tuple(folders)
    compiled = [p for folder in folders for p in folder.rglob("__pycache__/*.nb[ic]")]
    if not compiled:
        return 0
    sources = [p for folder in folders for p in folder.rglob("*.py") if b"njit" in p.read_bytes()]
    newest = max((p.stat().st_mtime for p in sources), default=0.0)
    removed = 0
    for path in sorted(compiled, key=lambda p: p.suffix, reverse=True):  # the index of a kernel before what it names
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < newest:
                path.unlink()
                removed += 1
    return removed
