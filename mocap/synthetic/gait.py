"""Where the feet and the pelvis go, and the legs that join them.

Footprints are planned on the floor along the path, so a planted foot does not slide; the legs
follow by two-bone inverse kinematics, so knees never bend backwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from mocap.synthetic.body import Body

Array = NDArray[np.float64]

STANCE = 0.6
"""Share of a gait cycle that a foot is on the floor (Perry, Gait Analysis, ch. 1)."""

_MID_STANCE = 0.3
_CLEARANCE_M = 0.05
# Pitch of the foot over the cycle: landing on the heel, flat, rolling off the toe, swinging through.
_PITCH_AT = np.array([0.0, 0.08, 0.38, 0.6, 0.8, 1.0])
_PITCH_RAD = np.array([-0.22, 0.0, 0.0, 0.65, -0.05, -0.22])
_REACH = 0.994  # of the leg's length: people do not lock their knees


@dataclass(frozen=True)
class Path:
    """What the body does as a whole, per frame.

    Attributes
    ----------
    position : [T, 2], metres
        Of the body on the floor.
    heading : [T], radians
        0 faces -y; continuous.
    phase : [T], gait cycles
        The left foot lands at whole numbers.
    spread : [T], metres
        How much further apart than usual the feet are, each.
    hop : [T], metres
        Height of both feet above the floor.
    drop, back : [T], metres
        How much lower and further back than standing the pelvis is.
    """

    position: Array
    heading: Array
    phase: Array
    spread: Array
    hop: Array
    drop: Array
    back: Array


@dataclass(frozen=True)
class Feet:
    """Per frame and foot (left, right): ankles [T, 2, 3] m, orientations [T, 2, 3, 3], planted bool [T, 2]."""

    ankles: Array
    orientations: Array
    planted: NDArray[np.bool_]


def smoothstep(s: Array) -> Array:
    """0 to 1 over s in 0..1 with vanishing first and second derivatives at both ends."""
    s = np.clip(s, 0.0, 1.0)
    return s**3 * (10 - 15 * s + 6 * s * s)


def turn_z(angle: Array) -> Array:
    """Rotations [..., 3, 3] about the vertical by `angle` [...] radians."""
    c, s, o = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    return np.stack([c, -s, o, s, c, o, o, o, o + 1], -1).reshape(*angle.shape, 3, 3)


def turn_x(angle: Array) -> Array:
    """Rotations [..., 3, 3] about x by `angle` [...] radians."""
    c, s, o = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    return np.stack([o + 1, o, o, o, c, -s, o, s, c], -1).reshape(*angle.shape, 3, 3)


def turn_y(angle: Array) -> Array:
    """Rotations [..., 3, 3] about y by `angle` [...] radians."""
    c, s, o = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    return np.stack([c, o, s, o, o + 1, o, -s, o, c], -1).reshape(*angle.shape, 3, 3)


def plan_feet(path: Path, body: Body) -> Feet:
    """Feet that step along the path.

    Returns
    -------
    Feet
        Planted feet keep heel or toe where it is; the lowest point of the lower foot is on the
        floor except in a hop.
    """
    feet = [_plan_foot(path, body, side) for side in (0, 1)]
    ankles, orientations, planted = (np.stack(parts, 1) for parts in zip(*feet, strict=True))
    return Feet(ankles, orientations, planted)


def _plan_foot(path: Path, body: Body, side: int) -> tuple[Array, Array, NDArray[np.bool_]]:
    offset = 0.5 * side
    # A tiny slope makes the phase invertible where the person stands.
    phase = path.phase + offset + 1e-9 * np.arange(len(path.phase))
    cycle = np.floor(phase)
    f = phase - cycle
    here, yaw_here = _footprint(cycle, phase, path)
    there, yaw_there = _footprint(cycle + 1, phase, path)
    swing = np.clip((f - STANCE) / (1 - STANCE), 0.0, 1.0)
    s = smoothstep(swing)
    yaw = yaw_here + s * (yaw_there - yaw_here)
    flat = here + s[:, None] * (there - here)
    sign = 1.0 - 2 * side
    half_width = 0.75 * body.offsets[4, 0] + path.spread
    flat = flat + sign * half_width[:, None] * np.stack([np.cos(yaw), np.sin(yaw)], -1)
    length = np.linalg.norm(there - here, axis=-1)
    stepping = np.clip(np.gradient(path.phase) / (np.abs(np.gradient(path.phase)).max() + 1e-12) * 4, 0, 1)
    briskness = np.clip(length / 0.9, 0.0, 1.0) * stepping
    at = np.clip(np.searchsorted(_PITCH_AT, f, side="right") - 1, 0, len(_PITCH_AT) - 2)
    within = smoothstep((f - _PITCH_AT[at]) / (_PITCH_AT[at + 1] - _PITCH_AT[at]))
    pitch = briskness * (_PITCH_RAD[at] + within * (_PITCH_RAD[at + 1] - _PITCH_RAD[at]))
    toe_out = sign * 0.12
    orientation = turn_z(yaw + toe_out) @ turn_x(pitch)
    ankle = np.column_stack([flat, np.full(len(flat), body.sole_height)])
    ankle += _pivot(pitch, turn_z(yaw + toe_out), orientation, body)
    ankle[:, 2] += _CLEARANCE_M * np.sin(np.pi * swing) ** 2 * np.clip(0.4 + briskness, 0, 1) + path.hop
    return ankle, orientation, (swing == 0) & (path.hop < 1e-6)


def _footprint(cycle: Array, phase: Array, path: Path) -> tuple[Array, Array]:
    """Position [T, 2] and yaw [T] of the footprint of a cycle: where the body is at mid-stance."""
    at = np.interp(cycle + _MID_STANCE, phase, np.arange(len(phase), dtype=np.float64))
    rows = np.arange(len(phase), dtype=np.float64)
    position = np.stack([np.interp(at, rows, path.position[:, i]) for i in (0, 1)], -1)
    return position, np.interp(at, rows, path.heading)


def _pivot(pitch: Array, flat: Array, pitched: Array, body: Body) -> Array:
    """How the ankle moves when the foot rolls over its toe (heel up) or heel (toe up)."""
    toe, heel = body.landmarks["l_big_toe"][1], body.landmarks["l_heel"][1]
    point = np.where((pitch > 0)[:, None], toe, heel) * (0.0, 1.0, 1.0)
    return np.einsum("tij,tj->ti", flat - pitched, point)


def place_pelvis(path: Path, feet: Feet, pelvis_orientation: Array, body: Body, fps: float) -> Array:
    """Pelvis positions [T, 3]: as high as both legs reach, less the drop asked for."""
    back = turn_z(path.heading) @ np.array([0.0, 1.0, 0.0])
    xy = path.position + path.back[:, None] * back[:, :2]
    # Weight goes over the foot that stands.
    sway = 0.02 * np.cos(2 * np.pi * (path.phase - _MID_STANCE)) * (path.hop < 1e-6)
    stepping = np.clip(np.gradient(path.phase) * fps, 0, 1)
    sway = gaussian_filter1d(sway * stepping, 0.08 * fps, mode="nearest")
    xy = xy + sway[:, None] * np.stack([np.cos(path.heading), np.sin(path.heading)], -1)
    length = np.linalg.norm(body.offsets[2]) + np.linalg.norm(body.offsets[3])
    hips = np.einsum("tij,sj->tsi", pelvis_orientation, body.offsets[[4, 1]])
    across = feet.ankles[..., :2] - xy[:, None] - hips[..., :2]
    d2 = (across**2).sum(-1)

    def highest(reach: float) -> Array:
        up = np.sqrt(np.maximum((reach * length) ** 2 - d2, (0.3 * length) ** 2))
        return (feet.ankles[..., 2] + up - hips[..., 2]).min(1)

    z = gaussian_filter1d(highest(_REACH) - path.drop, 0.05 * fps, mode="nearest")
    return np.column_stack([xy, np.minimum(z, highest(0.999) - 1e-4)])


def solve_legs(hips: Array, feet: Feet, pelvis_orientation: Array, body: Body) -> tuple[Array, Array]:
    """World orientations of thighs and shins [T, 2, 3, 3] by two-bone inverse kinematics.

    Parameters
    ----------
    hips : [T, 2, 3], metres
        Left and right hip centres.
    feet : Feet
    pelvis_orientation : [T, 3, 3]
    body : Body
    """
    thigh, shin = np.linalg.norm(body.offsets[2]), np.linalg.norm(body.offsets[3])
    reach = feet.ankles - hips
    D = np.linalg.norm(reach, axis=-1, keepdims=True)
    d = reach / D
    # Knees point between where the pelvis and the foot point.
    pelvis_forward, foot_forward = -pelvis_orientation[:, None, :, 1], -feet.orientations[..., 1]
    foot_forward = foot_forward * (1.0, 1.0, 0.0)
    hinge = np.cross(pelvis_forward + foot_forward, d)
    hinge /= np.linalg.norm(hinge, axis=-1, keepdims=True)
    ahead = np.cross(d, hinge)
    along = (thigh**2 - shin**2 + D**2) / (2 * D)
    out = np.sqrt(np.maximum(thigh**2 - along**2, 0.0))
    knee = along * d + out * ahead

    def frame(bone: Array) -> Array:
        z = -bone / np.linalg.norm(bone, axis=-1, keepdims=True)
        return np.stack([hinge, np.cross(z, hinge), z], -1)

    return frame(knee), frame(reach - knee)
