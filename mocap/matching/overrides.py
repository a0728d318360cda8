"""Decisions made by hand: what a person slot shows, whatever the matching thinks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError
from mocap.matching.settings import MatchOverride
from mocap.types import Keypoints2D

_WHERE = "match.override"


def ignore_by_hand(keypoints: Keypoints2D, overrides: tuple[MatchOverride, ...]) -> Keypoints2D:
    """The keypoints without the slots that are to be ignored.

    Raises
    ------
    DataError
        There is no such camera, slot or frame.
    """
    chosen = [o for o in overrides if o.ignore]
    if not chosen:
        return keypoints
    confidence = keypoints.confidence.copy()
    for _, view, rows, slot in _places(keypoints, chosen):
        confidence[view, rows, slot] = 0.0
    return replace(keypoints, confidence=confidence)


def assign_by_hand(
    keypoints: Keypoints2D, slot: NDArray[np.int16], overrides: tuple[MatchOverride, ...]
) -> NDArray[np.int16]:
    """Slots [V, T, P] with those given by hand; who had them before goes without.

    Where the slot is empty the decision says nothing, and the person keeps what it has.

    Raises
    ------
    DataError
        There is no such camera, slot, frame or person.
    """
    chosen = [o for o in overrides if not o.ignore]
    if not chosen:
        return slot
    slot = slot.copy()
    seen = np.asarray((keypoints.confidence > 0).any(-1))
    for override, view, rows, s in _places(keypoints, chosen):
        if override.person >= slot.shape[2]:
            raise DataError(
                "an override names a person that there is not",
                expected=f"a person from 0 to {slot.shape[2] - 1}" if slot.shape[2] else "nobody was found",
                found=str(override.person), where=_WHERE, hint="see the persons with `mocap status SESSION --json`",
            )  # fmt: skip
        part = slot[view, rows]
        part[part == s] = -1
        part[:, override.person] = np.where(seen[view, rows, s], s, part[:, override.person])
        slot[view, rows] = part
    return slot


def _places(
    keypoints: Keypoints2D, overrides: list[MatchOverride]
) -> Iterator[tuple[MatchOverride, int, NDArray[np.int64], int]]:
    """Each override with its view, rows and slot."""
    slots = keypoints.confidence.shape[2]
    for o in overrides:
        if o.camera not in keypoints.cameras:
            raise DataError("an override names a camera that there is not", expected=", ".join(keypoints.cameras),
                            found=o.camera, where=_WHERE)  # fmt: skip
        if o.slot >= slots:
            raise DataError("an override names a slot that there is not", expected=f"0 to {slots - 1}",
                            found=str(o.slot), where=_WHERE)  # fmt: skip
        rows = np.flatnonzero((keypoints.frames >= o.frames[0]) & (keypoints.frames <= o.frames[1]))
        if not len(rows):
            known = f"frames {keypoints.frames[0]} to {keypoints.frames[-1]}" if len(keypoints.frames) else "frames"
            raise DataError("an override names frames that there are not", expected=known,
                            found=f"{o.frames[0]} to {o.frames[1]}", where=_WHERE)  # fmt: skip
        yield o, keypoints.cameras.index(o.camera), rows, o.slot
