"""Process a session from Python: make it, run it, read the result.

Usage: python examples/01_process_session.py KEYPOINTS.npz RIG.toml SESSION
"""

import sys
from contextlib import nullcontext
from pathlib import Path

from flows.config import Stage
from flows.initialise import NewSession, initialise
from flows.results import Results
from flows.run import RunOptions, run_session
from mocap.types import Trajectories3D


def main(keypoints: Path, rig: Path, root: Path) -> None:
    """Make a session from 2D keypoints and bring it up to date."""
    initialise(NewSession(root, videos=[], keypoints=keypoints, calibration=rig, fps=None))
    run_session(root, RunOptions(), display=lambda session, units: nullcontext())
    result = Results(root).read(Stage.FILTER, Trajectories3D)
    print(f"{len(result.frames)} frames, {len(result.person_ids)} person(s), {len(result.joint_names)} joints")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
