"""What the detection tests share: weights where they can be had, the real capture where it lies."""

import pytest

from mocap import models
from mocap.errors import WeightsError


@pytest.fixture(scope="session")
def blazepose_folder():
    try:
        return models.ensure("blazepose")
    except WeightsError as error:
        pytest.skip(f"BlazePose's weights cannot be had here: {error.problem}")


@pytest.fixture(scope="session")
def capture(shared):
    return shared / "data" / "single" / "videos"
