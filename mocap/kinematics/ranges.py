"""How far joints turn, and how they usually stand, about the axes of the rest pose.

Angles are those of the part of a rotation that turns about one axis (swing-twist decomposition,
Grassia, J. Graphics Tools 3, 1998), in the bone's own axes; for upper arms they count from
`neutral_arm`. Sources of the ranges:

- limbs: Boone & Azen, J. Bone Joint Surg. 61-A (1979), table 1, men of 20 to 54, plus two standard
  deviations of their subjects (about 12 degrees), as people differ;
- neck and trunk: American Academy of Orthopaedic Surgeons, Joint Motion (1965); the trunk's range
  is shared by its two bones;
- collar bone: Inman, Saunders & Abbott, J. Bone Joint Surg. 26 (1944).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.kinematics.rotations import swing, unit

Array = NDArray[np.float64]

_SPREAD = 12.0
_FREE = (-400.0, 400.0)
_UNTOLD = 0.0


@dataclass(frozen=True)
class Joint:
    """One joint of the model, angles in degrees, of the left side where there are two.

    Attributes
    ----------
    axes : str
        Axes about which it turns.
    x, y, z : (float, float)
        Range about each axis.
    usual : (float, float, float)
        Standard deviation of each angle about rest; 0: nothing is expected.
    """

    axes: str = "xyz"
    x: tuple[float, float] = _FREE
    y: tuple[float, float] = _FREE
    z: tuple[float, float] = _FREE
    usual: tuple[float, float, float] = (_UNTOLD, _UNTOLD, _UNTOLD)


JOINTS: dict[str, Joint] = {
    "Hips": Joint(),
    # Flexion 80, extension 25, lateral bend 35, turn 45 of the whole trunk.
    "Spine": Joint(x=(-25, 50), y=(-25, 25), z=(-30, 30), usual=(20, 15, 15)),
    "Spine1": Joint(x=(-25, 50), y=(-25, 25), z=(-30, 30), usual=(20, 15, 15)),
    # Flexion 45, extension 45, lateral bend 45, turn 60 each way of neck and head together; the head
    # takes half.
    "Neck": Joint(x=(-40, 40), y=(-35, 35), z=(-50, 50), usual=(25, 20, 20)),
    "Head": Joint(x=(-40, 40), y=(-35, 35), z=(-50, 50), usual=(25, 20, 20)),
    # The outer end up by 30 degrees, forward and back by half of that. The turn about itself shows nowhere.
    "Shoulder": Joint(y=(-40, 15), z=(-25, 25), usual=(3, 5, 5)),
    # Outward turn 100, inward turn 67 with the arm held sideways, and up to twice that where it crosses the
    # chest; the swing is left free, as its range depends on itself.
    "Arm": Joint(x=(-100 - _SPREAD, 2 * 67), usual=(35, _UNTOLD, _UNTOLD)),
    # Flexion 141, none backwards.
    "ForeArm": Joint(axes="z", z=(-141 - _SPREAD, 0.0), usual=(_UNTOLD, _UNTOLD, _UNTOLD)),
    # Supination 81, pronation 75, half of it in the hand: no skin is wrung.
    "ForeArmTwist": Joint(axes="x", x=(-41 - _SPREAD / 2, 38 + _SPREAD / 2), usual=(32, _UNTOLD, _UNTOLD)),
    # Palmar flexion 75, extension 74, towards the thumb 21, away from it 35.
    "Hand": Joint(
        x=(-41 - _SPREAD / 2, 38 + _SPREAD / 2), y=(-74 - _SPREAD, 75 + _SPREAD), z=(-21 - _SPREAD, 35 + _SPREAD),
        usual=(32, 30, 15),
    ),
    # Flexion 121, extension 12, abduction 41, adduction 26, turn 44 each way.
    "UpLeg": Joint(
        x=(-121 - _SPREAD, 12 + _SPREAD), y=(-41 - _SPREAD, 26 + _SPREAD), z=(-44 - _SPREAD, 44 + _SPREAD),
        usual=(_UNTOLD, _UNTOLD, 20),
    ),
    # Flexion 141, none backwards.
    "Leg": Joint(axes="x", x=(0.0, 141 + _SPREAD)),
    # Toes down 54, up 12; sole in and out 36 and 19.
    "Foot": Joint(
        x=(-12 - _SPREAD, 54 + _SPREAD), y=(-36 - _SPREAD, 36 + _SPREAD), z=(-30 - _SPREAD, 30 + _SPREAD),
        usual=(25, 15, 15),
    ),
}  # fmt: skip
"""By bone, without its side; bones that are not here do not turn."""


def angle_limits(bone: str, side: int) -> tuple[Array, Array]:
    """Least and greatest angle [3], [3] about each axis, radians; `side` is -1 for bones on the right."""
    joint = JOINTS[bone]
    low, high = (np.radians([joint.x[i], joint.y[i], joint.z[i]]) for i in (0, 1))
    if side < 0:  # the mirror image in the plane x = 0 turns the other way about y and z
        low[1:], high[1:] = -high[1:].copy(), -low[1:].copy()
    return low, high


def usual_precision(bone: str) -> Array:
    """One over the variance [3] of each angle about rest, 1/rad2; 0 where nothing is expected."""
    usual = np.radians(JOINTS[bone].usual)
    return np.where(usual > 0, 1 / np.maximum(usual, 1e-9) ** 2, 0.0)


def neutral_arm(direction: Array, side: int) -> Array:
    """How an upper arm that points somewhere is turned about itself when it is turned neither in nor out.

    Parameters
    ----------
    direction : float64 [T, 3]
        Along the arm in the chest's axes; of any length.
    side : int
        1 left, -1 right.

    Returns
    -------
    float64 [T, 3, 3]
        Relative to the chest.

    Notes
    -----
    An arm raised forward bends its elbow upward, one raised sideways forward: the neutral turn depends on
    the way (Codman's paradox). The shortest way from the middle of the three directions sideways,
    forward and down has its singularity where no arm points (inward, back and up); a turn that is
    linear in the direction makes the T-pose, an arm that hangs and one raised forward right.
    """
    out = np.array([side, 0.0, 0.0])
    d = unit(direction)
    down = swing(np.eye(3)[None], out, np.array([[0.0, 0.0, -1.0]]))
    middle = swing(down, out, np.array([[side, -1.0, -np.sqrt(2.0)]]))
    neutral = swing(np.broadcast_to(middle, (len(d), 3, 3)), out, d)
    # How much the shortest way to the T-pose turns the arm; to one raised forward as much the other way.
    there = (swing(middle, out, out[None])[0].T @ np.eye(3))[2, 1]
    angle = np.arcsin(there) * (side * d[:, 0] + d[:, 1])
    c, s, o = np.cos(angle), np.sin(angle), np.zeros(len(d))
    turn = np.stack([o + 1, o, o, o, c, -s, o, s, c], -1).reshape(-1, 3, 3)
    return np.asarray(neutral @ turn)
