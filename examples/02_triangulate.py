"""The library without sessions: a synthetic take, matched, triangulated, filtered and scored.

Usage: python examples/02_triangulate.py
"""

import numpy as np

from mocap.filtering import FilterSettings, filter_trajectories
from mocap.matching import MatchingSettings, match_people
from mocap.skeleton import H36M_17
from mocap.synthetic.motion import procedural_motion, truth_positions
from mocap.synthetic.noise import NoiseSettings, observe
from mocap.synthetic.rig import ring_rig
from mocap.triangulation import TriangulationSettings, triangulate


def main() -> None:
    """Print the error after each step."""
    rig = ring_rig(n_cameras=4, seed=7)
    truth = truth_positions(procedural_motion(200, 50.0, seed=7), H36M_17)
    keypoints = observe(truth, rig, NoiseSettings(flip_rate=0.05), seed=7, joint_names=H36M_17.joints, fps=50.0)
    matches = match_people(keypoints, rig, MatchingSettings())
    triangulated = triangulate(matches, rig, TriangulationSettings())
    filtered = filter_trajectories(triangulated, FilterSettings())
    for name, result in (("triangulated", triangulated), ("filtered", filtered)):
        error = np.linalg.norm(result.positions - truth, axis=-1)
        print(f"{name}: MPJPE {1000 * np.nanmean(error):.1f} mm")


if __name__ == "__main__":
    main()
