"""Files that are no archives of arrays."""

import numpy as np
import pytest

from mocap.errors import DataError
from mocap.storage.npz import read_npz


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"x", "another kind of file"), ({"a": np.array([{}], object)}, "pickled objects"), (np.zeros(3), "single array")],
    ids=["text", "objects", "npy"],
)
def test_refused_without_advice_to_load_it_unsafely(tmp_path, content, found):
    path = tmp_path / "a.npz"
    with path.open("wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        elif isinstance(content, dict):
            np.savez(file, **content)
        else:
            np.save(file, content)
    with pytest.raises(DataError) as error:
        read_npz(path, "keypoints")
    assert found in str(error.value)
    assert "allow_pickle" not in str(error.value)
