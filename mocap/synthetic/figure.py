"""A human-like figure for a synthetic body: tapered limbs, a face, clothes.

All measures are fractions of stature, in the rest pose of `mocap.synthetic.body` (T-pose, facing
-y, pelvis at the origin). The parts overlap at the joints, so that no gap opens when they bend.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mocap.synthetic.body import JOINTS, PARENTS, Body
from mocap.synthetic.gait import smoothstep
from mocap.synthetic.mesh import Mesh, ellipsoid, loft, merge, rigid

Array = NDArray[np.float64]

_X = (1.0, 0.0, 0.0)
_Y = (0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Look:
    """Colours of a figure, RGB 0..1."""

    skin: tuple[float, float, float] = (0.86, 0.66, 0.54)
    hair: tuple[float, float, float] = (0.16, 0.10, 0.06)
    shirt: tuple[float, float, float] = (0.72, 0.18, 0.16)
    trousers: tuple[float, float, float] = (0.13, 0.18, 0.34)
    shoes: tuple[float, float, float] = (0.12, 0.12, 0.13)
    eyes: tuple[float, float, float] = (0.20, 0.13, 0.08)

    @staticmethod
    def random(seed: int | list[int]) -> Look:
        """Colours drawn from plausible ones."""
        rng = np.random.default_rng(seed)
        skins = [(0.90, 0.72, 0.61), (0.82, 0.61, 0.47), (0.64, 0.44, 0.31), (0.45, 0.29, 0.20)]
        hairs = [(0.10, 0.07, 0.05), (0.25, 0.15, 0.08), (0.45, 0.30, 0.14), (0.35, 0.33, 0.31)]
        shirts = [(0.72, 0.18, 0.16), (0.20, 0.45, 0.30), (0.85, 0.78, 0.55), (0.25, 0.40, 0.70), (0.85, 0.45, 0.15)]
        trousers = [(0.13, 0.18, 0.34), (0.25, 0.23, 0.20), (0.40, 0.36, 0.27), (0.10, 0.10, 0.12)]
        shoes = [(0.12, 0.12, 0.13), (0.45, 0.28, 0.15), (0.75, 0.75, 0.76)]
        pick = [options[int(rng.integers(len(options)))] for options in (skins, hairs, shirts, trousers, shoes)]
        return Look(*pick)


class _Builder:
    """Collects the parts of one figure."""

    def __init__(self, body: Body) -> None:
        self.scale = body.stature
        self.rest = rest_positions(body) / body.stature
        self.parts: list[Mesh] = []

    def joint(self, name: str) -> Array:
        return self.rest[JOINTS.index(name)]

    def add(self, shape: tuple[Array, NDArray[np.int32]], colour: ArrayLike, follows: str | Array) -> None:
        """A part in one colour [3] or one per vertex [N, 3], that follows a joint or has weights [N, B]."""
        vertices, triangles = shape
        n = len(vertices)
        weights = rigid(n, JOINTS.index(follows), len(JOINTS)) if isinstance(follows, str) else follows
        colours = np.broadcast_to(np.asarray(colour, dtype=np.float64), (n, 3))
        self.parts.append(Mesh(vertices * self.scale, triangles, colours, weights))

    def ball(self, follows: str, centre: ArrayLike, radii: ArrayLike, colour: ArrayLike, fine: int = 1) -> None:
        """An ellipsoid at an offset from the joint it follows."""
        radii = np.broadcast_to(np.asarray(radii, dtype=np.float64), (3,))
        self.add(ellipsoid(self.joint(follows) + np.asarray(centre), radii, 14 * fine, 20 * fine), colour, follows)


def rest_positions(body: Body) -> Array:
    """Joints of the rest pose [17, 3], metres, pelvis at the origin."""
    rest = np.zeros((len(JOINTS), 3))
    for b, parent in enumerate(PARENTS):
        if parent >= 0:
            rest[b] = rest[parent] + body.offsets[b]
    return rest


def build_figure(body: Body, look: Look | None = None) -> Mesh:
    """The figure of a body in its rest pose.

    Parameters
    ----------
    body : Body
    look : Look, optional

    Returns
    -------
    Mesh
        Weights over the 17 joints of the tree.
    """
    builder, look = _Builder(body), look or Look()
    _trunk(builder, look)
    _head(builder, look)
    for side, sign in (("l", 1.0), ("r", -1.0)):
        _leg(builder, look, side, sign)
        _arm(builder, look, side, sign)
    return merge(builder.parts)


def _blend(along: Array, stops: list[tuple[float, float]], names: list[str]) -> Array:
    """Weights that pass from joint to joint over the ranges `stops` of the coordinate `along`."""
    weights = np.zeros((len(along), len(JOINTS)))
    rest = np.ones(len(along))
    for (start, end), name, following in zip(stops, names[:-1], names[1:], strict=True):
        passed = smoothstep((along - start) / (end - start))
        weights[:, JOINTS.index(name)] += rest * (1 - passed)
        rest = rest * passed
        last = following
    weights[:, JOINTS.index(last)] += rest
    return weights


def _trunk(b: _Builder, look: Look) -> None:
    shoulder, hip = b.joint("l_shoulder"), b.joint("l_hip")
    top, x, h = shoulder[2], shoulder[0], hip[0]
    # height above the pelvis, half width, half depth, how far back the middle is
    rings = np.array(
        [
            (-0.052, 0.30 * h + 0.045, 0.050, 0.006),
            (-0.022, 0.030 + 1.08 * h, 0.066, 0.010),
            (0.012, 0.038 + h, 0.067, 0.010),
            (0.055, 0.028 + h, 0.060, 0.004),
            (0.095, 0.022 + h, 0.055, 0.002),
            (0.140, 0.80 * x, 0.057, 0.002),
            (0.190, 0.93 * x, 0.064, 0.003),
            (0.225, 0.99 * x, 0.065, 0.005),
            (top - 0.020, 1.00 * x, 0.056, 0.007),
            (top + 0.008, 0.88 * x, 0.043, 0.008),
            (top + 0.026, 0.48 * x, 0.036, 0.008),
            (top + 0.036, 0.33 * x, 0.030, 0.006),
        ]
    )
    centres = np.column_stack([np.zeros(len(rings)), rings[:, 3], rings[:, 0]])
    vertices, triangles = loft(centres, rings[:, 1:3], _X, around=48, between=4)
    z = vertices[:, 2]
    spine, thorax = b.joint("spine")[2], b.joint("thorax")[2]
    weights = _blend(z, [(spine - 0.07, spine + 0.04), (thorax - 0.07, thorax + 0.02)], ["pelvis", "spine", "thorax"])
    colours = np.where((z < 0.045)[:, None], look.trousers, look.shirt)
    belt = np.abs(z - 0.047) < 0.007
    colours[belt] = np.array(look.trousers) * 0.4
    placket = (np.abs(vertices[:, 0]) < 0.004) & (vertices[:, 1] < 0) & (z > 0.06)
    colours[placket] = np.array(look.shirt) * 0.6
    b.add((vertices, triangles), colours, weights)
    for sign in (1.0, -1.0):  # the slope from neck to shoulder
        slope = [
            (sign * 0.012, 0.008, top + 0.030),
            (sign * 0.60 * x, 0.007, top + 0.014),
            (sign * 0.92 * x, 0.004, top + 0.001),
        ]
        b.add(loft(slope, [(0.024, 0.024), (0.026, 0.024), (0.030, 0.029)], _Y), look.shirt, "thorax")


def _head(b: _Builder, look: Look) -> None:
    neck, head = b.joint("neck"), b.joint("head")
    tube = loft(
        [neck + (0, 0.010, -0.045), neck + (0, 0.005, 0.0), head + (0, 0.008, -0.030)],
        [(0.033, 0.034), (0.030, 0.032), (0.030, 0.032)], _X,
    )  # fmt: skip
    z = tube[0][:, 2] - neck[2]
    b.add(tube, look.skin, _blend(z, [(-0.03, 0.03)], ["thorax", "neck"]))
    collar = loft([neck + (0, 0.011, -0.036), neck + (0, 0.008, -0.022)], [(0.038, 0.038), (0.035, 0.036)], _X)
    b.add(collar, np.array(look.shirt) * 0.75, "thorax")
    _skull(b, look, head)
    b.ball("head", (0, -0.012, -0.026), (0.036, 0.040, 0.038), look.skin, 2)  # jaw
    b.ball("head", (0, -0.036, -0.050), (0.017, 0.015, 0.013), look.skin)  # chin
    _face(b, look)


def _skull(b: _Builder, look: Look, head: Array) -> None:
    vertices, triangles = ellipsoid(head + (0, 0.003, 0.012), (0.0435, 0.054, 0.054), 60, 80)
    local = vertices - head
    # The hairline falls from the forehead over the temples to the nape.
    line = np.interp(
        local[:, 1], [-0.052, -0.035, -0.010, 0.006, 0.020, 0.055], [0.036, 0.040, 0.022, -0.004, -0.030, -0.034]
    )
    above = local[:, 2] - line
    hair = above > 0
    outward = local / np.linalg.norm(local, axis=-1, keepdims=True)
    vertices = vertices + outward * (0.0055 * smoothstep(above / 0.012))[:, None]
    strands = 1 + 0.18 * np.sin(9 * np.arctan2(local[:, 0], local[:, 1]) * 6)
    colours = np.where(hair[:, None], np.array(look.hair) * strands[:, None], look.skin)
    b.add((vertices, triangles), colours, "head")
    b.ball("head", (0, 0.022, -0.012), (0.036, 0.034, 0.036), look.hair)  # hair on the nape


def _face(b: _Builder, look: Look) -> None:
    skin = np.array(look.skin)
    b.ball("head", (0, -0.0535, -0.006), (0.0060, 0.0085, 0.0150), skin * 0.98)  # bridge
    b.ball("head", (0, -0.0575, -0.017), (0.0095, 0.0095, 0.0065), skin * 0.95)  # tip
    b.ball("head", (0, -0.0500, -0.0355), (0.0145, 0.0045, 0.0030), skin * (0.80, 0.48, 0.48))  # lips
    b.ball("head", (0, -0.0505, -0.0390), (0.0120, 0.0045, 0.0030), skin * (0.88, 0.55, 0.55))
    b.ball("head", (0, -0.0524, -0.0371), (0.0125, 0.0022, 0.0009), skin * 0.25)
    for sign in (1.0, -1.0):
        x = sign * 0.0185
        b.ball("head", (x, -0.0425, 0.0020), (0.0105, 0.0060, 0.0080), skin * (0.80, 0.74, 0.72))  # socket
        b.ball("head", (x, -0.0445, 0.0020), (0.0082, 0.0055, 0.0050), (0.96, 0.96, 0.95))
        b.ball("head", (x, -0.0482, 0.0022), (0.0040, 0.0025, 0.0042), look.eyes)
        b.ball("head", (x, -0.0497, 0.0022), (0.0022, 0.0015, 0.0023), (0.02, 0.02, 0.02))
        b.ball("head", (sign * 0.0190, -0.0452, 0.0068), (0.0098, 0.0058, 0.0016), skin * 0.35)  # lid
        b.ball("head", (sign * 0.0195, -0.0445, 0.0140), (0.0120, 0.0045, 0.0026), np.array(look.hair) * 0.9)
        b.ball("head", (sign * 0.0440, 0.004, -0.005), (0.0050, 0.0100, 0.0160), skin * 0.95)  # ear
        b.ball("head", (sign * 0.0475, 0.001, -0.004), (0.0025, 0.0050, 0.0090), skin * 0.70)
        b.ball("head", (sign * 0.021, -0.0285, -0.018), (0.017, 0.019, 0.020), skin * (1.0, 0.96, 0.95))  # cheek


def _leg(b: _Builder, look: Look, side: str, sign: float) -> None:
    hip, knee, ankle = b.joint(f"{side}_hip"), b.joint(f"{side}_knee"), b.joint(f"{side}_ankle")
    dark = np.array(look.trousers)
    centres = [
        hip + (0, 0.010, 0.010), hip + (sign * 0.002, 0.008, -0.05), 0.5 * (hip + knee) + (0, 0.002, 0),
        knee + (0, 0.0, 0.045), knee, knee + (0, 0.004, -0.035), knee + (0, 0.010, -0.08),
        0.45 * knee + 0.55 * ankle + (0, 0.007, 0), ankle + (0, 0.003, 0.03), ankle + (0, 0.0, -0.004),
    ]  # fmt: skip
    radii = [
        (0.051, 0.058), (0.050, 0.056), (0.043, 0.049), (0.034, 0.039), (0.032, 0.036), (0.032, 0.035),
        (0.033, 0.037), (0.031, 0.034), (0.025, 0.028), (0.026, 0.029),
    ]  # fmt: skip
    vertices, triangles = loft(centres, radii, _X, around=28)
    down = hip[2] - vertices[:, 2]
    bend = hip[2] - knee[2]
    weights = _blend(down, [(bend - 0.045, bend + 0.045)], [f"{side}_hip", f"{side}_knee"])
    shade = 1 - 0.12 * (np.abs(vertices[:, 0] - hip[0] - sign * 0.03) < 0.003)
    b.add((vertices, triangles), dark * shade[:, None], weights)
    b.ball(f"{side}_hip", (-sign * 0.004, 0.018, -0.012), (0.052, 0.054, 0.062), dark)
    b.ball(f"{side}_knee", (0, -0.003, 0), (0.031, 0.034, 0.036), dark)
    _shoe(b, look, side, sign)


def _shoe(b: _Builder, look: Look, side: str, sign: float) -> None:
    ankle = b.joint(f"{side}_ankle")
    sole = -0.041
    # along the foot: y, middle x, half width, height of the upper
    rings = np.array(
        [
            (0.030, 0.000, 0.017, 0.030), (0.020, 0.000, 0.020, 0.048), (0.000, 0.000, 0.021, 0.050),
            (-0.025, 0.001, 0.023, 0.040), (-0.055, 0.003, 0.027, 0.030), (-0.078, 0.002, 0.026, 0.024),
            (-0.092, -0.002, 0.020, 0.018),
        ]
    )  # fmt: skip
    centres = np.column_stack([sign * rings[:, 1], rings[:, 0], sole + 0.5 * rings[:, 3]])
    vertices, triangles = loft(centres, np.column_stack([rings[:, 2], 0.62 * rings[:, 3]]), _X, around=28)
    vertices[:, 2] = np.maximum(vertices[:, 2], sole)
    rim = vertices[:, 2] < sole + 0.007
    colours = np.where(rim[:, None], (0.92, 0.92, 0.90), look.shoes)
    laces = (vertices[:, 2] > sole + 0.022) & (vertices[:, 1] < -0.015) & (vertices[:, 1] > -0.055)
    colours[laces & (np.abs(vertices[:, 0]) < 0.010)] = (0.85, 0.85, 0.85)
    b.add((vertices + ankle, triangles), colours, f"{side}_ankle")
    b.ball(f"{side}_ankle", (0, 0.002, 0.004), (0.021, 0.023, 0.020), look.shoes)


def _arm(b: _Builder, look: Look, side: str, sign: float) -> None:
    shoulder, elbow, wrist = b.joint(f"{side}_shoulder"), b.joint(f"{side}_elbow"), b.joint(f"{side}_wrist")
    out = sign * np.array(_X)
    bend = abs(elbow[0] - shoulder[0])
    centres = [
        shoulder, shoulder + 0.3 * (elbow - shoulder), shoulder + 0.65 * (elbow - shoulder), elbow - 0.015 * out,
        elbow + 0.012 * out, elbow + 0.25 * (wrist - elbow), elbow + 0.6 * (wrist - elbow), wrist,
    ]  # fmt: skip
    radii = [
        (0.026, 0.026), (0.026, 0.026), (0.024, 0.024), (0.020, 0.020), (0.021, 0.021), (0.0225, 0.021),
        (0.018, 0.016), (0.0155, 0.012),
    ]  # fmt: skip
    vertices, triangles = loft(centres, radii, _Y)
    along = np.abs(vertices[:, 0] - shoulder[0])
    joints = [f"{side}_shoulder", f"{side}_elbow"]
    b.add((vertices, triangles), look.skin, _blend(along, [(bend - 0.03, bend + 0.03)], joints))
    b.ball(joints[1], (0, 0, 0), 0.0205, look.skin)
    cuff = shoulder + 0.62 * (elbow - shoulder)
    sleeve = loft([shoulder - 0.006 * out, shoulder + 0.4 * (elbow - shoulder), cuff],
                  [(0.030, 0.029), (0.030, 0.029), (0.029, 0.028)], _Y)  # fmt: skip
    shade = 1 - 0.3 * (np.abs(sleeve[0][:, 0] - cuff[0]) < 0.008)
    b.add(sleeve, np.array(look.shirt) * shade[:, None], joints[0])
    b.ball(joints[0], (-sign * 0.003, 0, 0), (0.0315, 0.031, 0.030), look.shirt)
    _hand(b, look, side, sign)


def _hand(b: _Builder, look: Look, side: str, sign: float) -> None:
    wrist, follows = b.joint(f"{side}_wrist"), f"{side}_wrist"
    skin = np.array(look.skin)
    palm = [(-0.006, 0.0), (0.020, 0.0), (0.048, 0.0)]
    b.add(loft([wrist + (sign * x, y, 0) for x, y in palm], [(0.0150, 0.0115), (0.0210, 0.0100), (0.0225, 0.0075)], _Y),
          skin, follows)  # fmt: skip
    # across the knuckles: offset, length, how far they spread
    for y, length, spread in (
        (-0.0165, 0.040, -0.004),
        (-0.0055, 0.045, -0.001),
        (0.0055, 0.042, 0.001),
        (0.0155, 0.033, 0.004),
    ):
        start = wrist + (sign * 0.048, y, 0)
        tip = start + (sign * length, spread, -0.006)
        b.add(loft([start, tip], [(0.0055, 0.0055), (0.0043, 0.0043)], _Y, around=12), skin * 0.97, follows)
    base, tip = wrist + (sign * 0.012, -0.014, -0.002), wrist + (sign * 0.048, -0.038, -0.008)
    b.add(loft([base, tip], [(0.0085, 0.0085), (0.0055, 0.0055)], (0.0, 0.0, 1.0), around=12), skin * 0.97, follows)
