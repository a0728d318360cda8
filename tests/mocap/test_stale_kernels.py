"""What numba compiled goes when a kernel in any file is newer, and stays otherwise."""

from __future__ import annotations

import os

import pytest

from mocap.stale_kernels import drop_stale_kernels


@pytest.fixture
def package(tmp_path):
    """Kernels compiled at time 100, from sources written at time 50."""
    (tmp_path / "inner" / "__pycache__").mkdir(parents=True)
    files = {
        "inner/kernels.py": "from numba import njit\n", "callers.py": "from numba import njit\n", "plain.py": "x = 1\n",
        "inner/__pycache__/kernels.f-1.py311.nbi": "", "inner/__pycache__/kernels.f-1.py311.1.nbc": "",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        when = 100 if "__pycache__" in name else 50
        os.utime(tmp_path / name, (when, when))
    return tmp_path


@pytest.mark.parametrize(("changed", "gone"), [("callers.py", 2), ("plain.py", 0), (None, 0)])
def test_a_newer_kernel_anywhere_makes_all_compiled_ones_stale(package, changed, gone):
    if changed:
        os.utime(package / changed, (150, 150))
    assert drop_stale_kernels([package]) == gone
    assert len(list((package / "inner/__pycache__").iterdir())) == 2 - gone


def test_packages_without_kernels_are_left_alone(tmp_path):
    assert drop_stale_kernels([tmp_path]) == 0
