"""OptiTrack Motive's .mcal (XML since Motive 3.2) and .cal: recognised, not read.

The names and units of its attributes are not documented by the maker, and no file with known truth was at
hand to establish them. A guess would give poses that look right and are not.
"""

from __future__ import annotations

from pathlib import Path

from calibration.errors import CalibrationError
from calibration.formats.common import Imported, ReadOptions

SUFFIXES = (".mcal", ".cal")


def read_optitrack(path: Path, options: ReadOptions) -> Imported:
    """Refuse, with the reason and the next step.

    Raises
    ------
    CalibrationError
        Always.
    """
    del options
    raise CalibrationError(
        "OptiTrack calibrations cannot be read: their attributes, units and axes are not documented",
        where=str(path),
        hint="read the cameras' poses and lenses out with the Motive API and write them as a rig TOML "
        "(docs/formats.md), or film a board with the video cameras and run mocap calibrate",
    )
