"""When each camera exposed its frames, found from the people it filmed."""

from mocap.synchronisation.align import Alignment, align_cameras
from mocap.synchronisation.motion import MotionTimes, times_from_motion

__all__ = ["Alignment", "MotionTimes", "align_cameras", "times_from_motion"]
