"""Ground truth in the forms people have it: one file per format, one way in."""

from mocap.metrics.ground_truth.npz import read_result_npz
from mocap.metrics.ground_truth.read import read_ground_truth

__all__ = ["read_ground_truth", "read_result_npz"]
