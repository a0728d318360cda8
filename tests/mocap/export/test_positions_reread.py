"""Result files that do not hold what was handed to them are noticed before they take their name."""

import numpy as np
import pytest

from mocap.errors import ExportError
from mocap.export.csv import write_csv
from mocap.export.npz import write_npz
from mocap.export.reread import reread_csv, reread_npz
from mocap.export.settings import CsvLayout
from mocap.types import Trajectories3D


@pytest.fixture
def take() -> Trajectories3D:
    rng = np.random.default_rng(0)
    T, P, J = 7, 2, 3
    positions = rng.normal(0, 2, (T, P, J, 3)).astype(np.float32)
    positions[2, 1] = np.nan
    source = np.isfinite(positions).all(-1).astype(np.uint8)
    covariance = np.tile(np.eye(3, dtype=np.float32), (T, P, J, 1, 1))
    scores = np.zeros((T, P, J), np.float32)
    return Trajectories3D(
        positions, covariance, source, scores, scores, np.zeros((T, P, J), np.uint64), np.arange(P), np.arange(T),
        ("a", "b", "c"), 30.0,
    )  # fmt: skip


def altered(take: Trajectories3D) -> Trajectories3D:
    positions = take.positions.copy()
    positions[3, 0, 1, 2] += 0.01
    return Trajectories3D(
        positions, take.covariance, take.source, take.reprojection_error, take.consistency, take.views_used,
        take.person_ids, take.frames, take.joint_names, take.fps,
    )  # fmt: skip


@pytest.mark.parametrize("layout", list(CsvLayout))
def test_csv(tmp_path, take, layout):
    write_csv(tmp_path / "a.csv", take, layout)
    with pytest.raises(ExportError, match="read back"):
        reread_csv(tmp_path / "a.csv", altered(take))


def test_npz(tmp_path, take):
    write_npz(tmp_path / "a.npz", take)
    with pytest.raises(ExportError, match="read back"):
        reread_npz(tmp_path / "a.npz", altered(take))
