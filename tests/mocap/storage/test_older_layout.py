from __future__ import annotations

import h5py
import numpy as np
import pytest

from mocap.errors import StorageError
from mocap.storage.hdf5 import Provenance, read_frames, read_record, write_record
from mocap.types import Trajectories3D


@pytest.mark.parametrize("lost", ["consistency", "fps"])
def test_an_older_layout_is_called_that_and_names_the_command(tmp_path, lost):
    path = tmp_path / "take" / ".mocap" / "cache" / "filter" / "key.h5"
    record = Trajectories3D(
        positions=np.zeros((4, 1, 2, 3)), covariance=np.zeros((4, 1, 2, 3, 3)), source=np.ones((4, 1, 2)),
        reprojection_error=np.zeros((4, 1, 2)), consistency=np.zeros((4, 1, 2)), views_used=np.zeros((4, 1, 2)),
        person_ids=np.arange(1), frames=np.arange(4), joint_names=("a", "b"), fps=30.0,
    )  # fmt: skip
    path.parent.mkdir(parents=True)
    write_record(path, record, Provenance("filter", "", "key", 3, package_version="0.0.9"))
    assert read_record(path, Trajectories3D).fps == 30.0
    with h5py.File(path, "r+") as file:
        del (file if lost in file else file.attrs)[lost]
    for read in (lambda: read_record(path, Trajectories3D), lambda: read_frames(path, Trajectories3D, 0, 2)):
        with pytest.raises(StorageError, match="older version") as caught:
            read()
        assert lost in str(caught.value)
        assert "0.0.9" in str(caught.value)
        assert f"mocap run {tmp_path / 'take'} --from filter" in str(caught.value)
