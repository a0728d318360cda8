"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

# One thread per worker: the tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Test the kernels as they are written, not as they were compiled; once, before there are workers."""
    from mocap.stale_kernels import drop_stale_kernels

    if not hasattr(config, "workerinput"):
        drop_stale_kernels()


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator."""
    return np.random.default_rng(20261120)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real footage and benchmarks beside the project; the test is skipped without it."""
    folder = ROOT.parent / "shared"
    if not (folder / "DESIGN.md").is_file():
        pytest.skip("needs the real footage in ../shared, which is not here")
    return folder
