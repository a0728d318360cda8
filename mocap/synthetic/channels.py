"""Kinds of motion as smooth channels (angles, speeds, offsets) that can be blended."""

from __future__ import annotations

import enum
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mocap.synthetic.gait import smoothstep

Array = NDArray[np.float64]


class MotionKind(enum.StrEnum):
    """What the person does; TAKE is a seeded sequence of all the others."""

    TAKE = "take"
    STAND = "stand"
    WALK = "walk"
    WAVE = "wave"
    RAISE_ARMS = "raise_arms"
    SQUAT = "squat"
    TURN = "turn"
    JUMPING_JACK = "jumping_jack"
    SWING = "swing"


class Channel(enum.IntEnum):
    """Radians unless told; an arm's angles start from hanging down, palm to the thigh."""

    BEND = 0  # trunk forward
    LEAN = enum.auto()  # trunk to the left
    TWIST = enum.auto()  # trunk to the left about the vertical
    NOD = enum.auto()
    LOOK = enum.auto()  # head to the left
    L_RAISE = enum.auto()  # arm sideways and up
    L_REACH = enum.auto()  # arm forward and up
    L_ROLL = enum.auto()  # upper arm about itself: the elbow then bends upward
    L_ELBOW = enum.auto()
    R_RAISE = enum.auto()
    R_REACH = enum.auto()
    R_ROLL = enum.auto()
    R_ELBOW = enum.auto()
    DROP = enum.auto()  # pelvis down, metres
    BACK = enum.auto()  # pelvis back, metres
    SPREAD = enum.auto()  # each foot outward, metres
    HOP = enum.auto()  # both feet up, metres
    SPEED = enum.auto()  # along the path, m/s
    STEP = enum.auto()  # steps are being made: 0 or 1
    YAW = enum.auto()  # body about the vertical


C = Channel
_ARM = {
    "l": (C.L_RAISE, C.L_REACH, C.L_ROLL, C.L_ELBOW),
    "r": (C.R_RAISE, C.R_REACH, C.R_ROLL, C.R_ELBOW),
}

DURATION_S: dict[MotionKind, tuple[float, float]] = {
    MotionKind.STAND: (0.8, 1.5),
    MotionKind.WALK: (3.5, 5.0),
    MotionKind.WAVE: (2.2, 3.2),
    MotionKind.RAISE_ARMS: (1.8, 2.6),
    MotionKind.SQUAT: (2.0, 2.8),
    MotionKind.TURN: (3.0, 4.0),
    MotionKind.JUMPING_JACK: (2.4, 3.2),
    MotionKind.SWING: (1.8, 2.6),
}
"""Shortest and longest stretch of each kind within a take, seconds."""


def neutral(times: Array, rng: np.random.Generator) -> Array:
    """Standing with hanging arms, breathing and swaying a little: [T, channels]."""
    values = np.zeros((len(times), len(Channel)))
    for side in _ARM.values():
        values[:, side[0]], values[:, side[3]] = 0.13, 0.28
    for channel in (C.BEND, C.LEAN, C.TWIST, C.NOD, C.LOOK, *_ARM["l"], *_ARM["r"]):
        f, start = rng.uniform(0.15, 0.5), rng.uniform(0, 2 * np.pi)
        values[:, channel] += 0.025 * np.sin(2 * np.pi * f * times + start)
    return values


def plateau(s: Array, duration: float, ramp: float) -> Array:
    """1 within the stretch, smoothly 0 at its ends; `s` 0..1 over `duration`, `ramp` in seconds."""
    edge = min(ramp / duration, 0.5)
    return smoothstep(s / edge) * smoothstep((1 - s) / edge)


def _walk(s: Array, duration: float, rng: np.random.Generator) -> dict[Channel, Array]:
    # The arms follow the gait phase and are added when it is known.
    held = np.clip(duration - 1.6, 0.5, None)
    ramp = min(1.1, 0.5 * held)
    lead = 0.8 / duration
    inner = np.clip((s - lead) / (1 - 2 * lead), 0, 1)
    speed = rng.uniform(1.0, 1.35) * plateau(inner, held, ramp)
    return {C.SPEED: speed, C.STEP: plateau(s, duration, 0.35), C.BEND: 0.04 * plateau(s, duration, 0.6)}


def _wave(s: Array, duration: float, rng: np.random.Generator) -> dict[Channel, Array]:
    up = plateau(s, duration, 0.7)
    raise_, reach, roll, elbow = _ARM[str(rng.choice(["l", "r"]))]
    swing = np.sin(2 * np.pi * rng.uniform(1.2, 1.7) * duration * s)
    return {raise_: 1.35 * up, reach: 0.25 * up, roll: 1.45 * up, elbow: up * (1.15 + 0.45 * swing), C.NOD: -0.08 * up}


def _raise_arms(s: Array, duration: float, rng: np.random.Generator) -> dict[Channel, Array]:
    up = plateau(s, duration, 0.4 * duration)
    sideways = bool(rng.integers(2))
    height = rng.uniform(2.2, 2.8)
    channels = (C.L_RAISE, C.R_RAISE) if sideways else (C.L_REACH, C.R_REACH)
    return {c: height * up for c in channels} | {C.NOD: -0.15 * up, C.BEND: -0.05 * up}


def _squat(s: Array, duration: float, rng: np.random.Generator) -> dict[Channel, Array]:
    down = plateau(s, duration, 0.45 * duration)
    depth = rng.uniform(0.28, 0.42)
    reach = 1.3 * down
    return {
        C.DROP: depth * down, C.BACK: 0.35 * depth * down, C.BEND: 1.5 * depth * down, C.NOD: -0.7 * depth * down,
        C.SPREAD: 0.0 * down, C.L_REACH: reach, C.R_REACH: reach,
    }  # fmt: skip


def _turn(s: Array, duration: float, rng: np.random.Generator) -> dict[Channel, Array]:
    lead = 0.35 / duration
    inner = np.clip((s - lead) / (1 - 2 * lead), 0, 1)
    angle = rng.choice([-1, 1]) * rng.uniform(1.2, 2.2)
    there_and_back = smoothstep(inner / 0.45) * smoothstep((1 - inner) / 0.45)
    look = np.gradient(there_and_back, s) / 6
    return {C.YAW: angle * there_and_back, C.STEP: plateau(s, duration, 0.3), C.LOOK: 0.25 * angle * look}


def _jumping_jack(s: Array, duration: float, rng: np.random.Generator) -> dict[Channel, Array]:
    n = max(1, round(duration * rng.uniform(0.75, 0.95)))
    cycle = (s * n) % 1.0
    leap, rest = 0.3, 0.2  # shares of the cycle: out, rest, in, rest
    out = smoothstep(cycle / leap) * (1 - smoothstep((cycle - leap - rest) / leap))
    within = np.where(cycle < leap + rest, cycle, cycle - leap - rest) / leap
    hop = np.where(within < 1, np.sin(np.pi * np.clip(within, 0, 1)) ** 2, 0.0)
    crouch = np.clip(1 - np.abs(within - 1.2) / 0.35, 0, None) * 0.04
    return {
        C.SPREAD: 0.22 * out, C.HOP: 0.11 * hop, C.DROP: crouch, C.L_RAISE: 2.5 * out, C.R_RAISE: 2.5 * out,
        C.L_ELBOW: 0.1 * out, C.R_ELBOW: 0.1 * out,
    }  # fmt: skip


def _swing(s: Array, duration: float, rng: np.random.Generator) -> dict[Channel, Array]:
    # Both hands wind up to one side and swing through to the other.
    sign = float(rng.choice([-1, 1]))
    held = plateau(s, duration, 0.35)
    wind = sign * held * (smoothstep(s / 0.45) - 2 * smoothstep((s - 0.5) / 0.2))
    reach = 1.05 * held + 0.25 * np.abs(wind)
    return {
        C.TWIST: 0.85 * wind, C.YAW: 0.12 * wind, C.BEND: 0.18 * held, C.DROP: 0.05 * held, C.LOOK: -0.5 * wind,
        C.L_REACH: reach, C.R_REACH: reach, C.L_RAISE: -0.25 * held, C.R_RAISE: -0.25 * held,
        C.L_ELBOW: 0.25 * held, C.R_ELBOW: 0.25 * held,
    }  # fmt: skip


_Maker = Callable[[Array, float, np.random.Generator], dict[Channel, Array]]
_MAKERS: dict[MotionKind, _Maker] = {
    MotionKind.WALK: _walk,
    MotionKind.WAVE: _wave,
    MotionKind.RAISE_ARMS: _raise_arms,
    MotionKind.SQUAT: _squat,
    MotionKind.TURN: _turn,
    MotionKind.JUMPING_JACK: _jumping_jack,
    MotionKind.SWING: _swing,
}


def add_stretch(values: Array, times: Array, kind: MotionKind, start: float, duration: float,
                rng: np.random.Generator) -> None:  # fmt: skip
    """Add a stretch of one kind, from `start` for `duration` seconds, to the channels in place."""
    if kind is MotionKind.STAND:
        return
    s = (times - start) / duration
    inside = (s > 0) & (s < 1)
    if inside.sum() < 2:
        return
    for channel, value in _MAKERS[kind](s[inside], duration, rng).items():
        values[inside, channel] += value


Stretch = tuple[MotionKind, float, float]


def schedule(kind: MotionKind, first: float, last: float, rng: np.random.Generator) -> list[Stretch]:
    """Stretches (kind, start, duration) in seconds that fill the time from `first` to `last`.

    A TAKE draws every kind once before it repeats one, walking more often than the rest. A single
    kind fills the time with repetitions; walking is one long walk.
    """
    if kind is MotionKind.STAND:
        return []
    if kind is MotionKind.WALK:
        return [(kind, first, last - first)]
    stretches: list[Stretch] = []
    bag: list[MotionKind] = []
    t = first
    while t < last:
        if not bag:
            bag = [k for k in _MAKERS for _ in range(2 if k is MotionKind.WALK else 1)]
            rng.shuffle(bag)  # type: ignore[arg-type]
        chosen = bag.pop() if kind is MotionKind.TAKE else kind
        duration = float(rng.uniform(*DURATION_S[chosen]))
        stretches.append((chosen, t, duration))
        t += duration
    return stretches
