"""What the report says of camera times."""

import numpy as np

from calibration.refinement import RigCorrection
from calibration.synchronisation import Gap, TimeModel
from calibration.time_scan import OffsetCurve
from mocap.report.synchronisation import curves, lowest, section
from mocap.storage.alignment_record import AlignmentRecord
from mocap.synchronisation import Alignment, MotionTimes
from mocap.synchronisation.coarse import CoarseOffsets


def record():
    offset, std = np.array([0.0, 0.04]), np.array([0.0, 2e-4])
    times = TimeModel(("left", "right"), offset, [0, 12e-6], std, "motion in the take", drift_std=[0, 1e-6],
                      gaps=(Gap(1, 140, 4),))  # fmt: skip
    axis = np.linspace(-0.1, 0.1, 11)
    # What the late camera's clock shows for a moment is earlier.
    curve = OffsetCurve(axis, np.abs(axis + 0.04), -0.04, 9.0)
    coarse = CoarseOffsets(offset, 0, np.ones(2), (None, curve), {})
    evidence = MotionTimes(times, ("left: reference", "right: <late>"), offset, std, coarse)
    return AlignmentRecord.of(Alignment(times, RigCorrection.none(2), evidence))


def test_offsets_gaps_and_curves_are_shown():
    html = section(record())
    for text in ("40.00", "0.20", "12.0", "4 before 140", "&lt;late&gt;", "right at 40 ms", "<figure"):
        assert text in html
    assert abs(lowest(record(), 1) - 0.04) < 1e-9
    assert "how late" in curves(record())


def test_nothing_measured_is_nothing_drawn():
    times = TimeModel.genlocked(("a", "b"))
    stated = AlignmentRecord.of(Alignment(times, RigCorrection.none(2)))
    assert curves(stated) == ""
    assert "genlocked" in section(stated)
    assert section(None) == ""


def test_gaps_survive_the_record():
    assert record().to_time_model().gaps == (Gap(1, 140, 4),)
