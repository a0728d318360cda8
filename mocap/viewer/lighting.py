"""Light computed here rather than by the driver, so that pictures are alike everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# A lamp above and to one side, a weaker one opposite, and the light of the room: unit vectors
# towards the lamps, and how much each gives.
_KEY, _KEY_SHARE = np.array([0.48, -0.36, 0.80]), 0.55
_FILL, _FILL_SHARE = np.array([-0.60, 0.64, 0.48]), 0.22
_AMBIENT = 0.42
_GAIN = 1.12
# Above the floor by so much that the floor does not show through.
_SHADOW_HEIGHT_M = 0.003


def shade(colours: Array, normals: Array) -> Array:
    """Colours [N, 3] as the lamps light surfaces with unit normals [N, 3] in the world (Lambert)."""
    key, fill = np.maximum(normals @ _KEY, 0), np.maximum(normals @ _FILL, 0)
    from_above = 0.5 + 0.5 * normals[:, 2]
    light = _AMBIENT * (0.55 + 0.45 * from_above) + _KEY_SHARE * key + _FILL_SHARE * fill
    return np.clip(colours * light[:, None] * _GAIN, 0, 1)


def lights_in(R: Array) -> Array:
    """The lamps as a camera [3, 3] (world to camera) sees them: [4, 3].

    Rows: towards the main lamp, towards the weaker one, up, each times its share; and the room's light. What
    `shade` does with them is (row 3) * (0.775 + 0.225 up) + main + weaker.
    """
    rows = np.stack([_KEY_SHARE * _KEY, _FILL_SHARE * _FILL, np.array([0.0, 0.0, 1.0])]) @ R.T
    return np.concatenate([_GAIN * rows[:2], rows[2:], np.full((1, 3), _GAIN * _AMBIENT)])


def shadow_places(points: Array) -> Array:
    """Where the main lamp throws the shadow of points [N, 3] (metres) on the floor z = 0."""
    return np.asarray(points - points[:, 2:] * (_KEY / _KEY[2]))


def shadow(vertices: Array, *, from_above: bool = False) -> Array:
    """Where vertices [N, 3] (metres) throw their shadow on the floor z = 0.

    The main lamp throws it, or, `from_above`, the even light of a studio, straight down.
    """
    lamp = np.array([0.0, 0.0, 1.0]) if from_above else _KEY
    fallen = vertices - vertices[:, 2:] * (lamp / lamp[2])
    fallen[:, 2] = _SHADOW_HEIGHT_M
    return fallen
