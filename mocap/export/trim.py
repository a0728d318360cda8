"""Head and tail of a take in which most of the body is not measured."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mocap.errors import ExportError
from mocap.types import SkeletalMotion, Source, Trajectories3D

_log = logging.getLogger(__name__)

# A frame is reliable when at least this part of the joints was triangulated or lifted.
_LEAST_MEASURED = 0.5


def reliable(source: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Frames [T] in which at least half of somebody's joints are measured; `source` is [T, P, J]."""
    measured = (source == Source.TRIANGULATED) | (source == Source.LIFTED)
    # Joints that the take never has (a waist-up shot's feet) say nothing about a single frame.
    ever = measured.any(0)
    part = (measured & ever).sum(-1) / np.maximum(ever.sum(-1), 1)
    return np.asarray((part >= _LEAST_MEASURED).any(-1))


def trim_motion(motion: SkeletalMotion) -> SkeletalMotion:
    """The motion from its first to its last reliable frame; raises ExportError when there is none."""
    rows = _rows(reliable(motion.source), motion.frames, f"person {', '.join(map(str, motion.person_ids))}")
    return replace(
        motion,
        rotations=motion.rotations[rows],
        root_positions=motion.root_positions[rows],
        source=motion.source[rows],
        rotation_std=motion.rotation_std[rows],
        contacts=motion.contacts[rows],
        frames=motion.frames[rows],
    )


def trim_trajectories(trajectories: Trajectories3D) -> Trajectories3D:
    """The trajectories from their first to their last reliable frame; raises ExportError when there is none."""
    rows = _rows(reliable(trajectories.source), trajectories.frames, "the take")
    names = ("positions", "covariance", "source", "reprojection_error", "consistency", "views_used", "frames")
    return replace(trajectories, **{name: getattr(trajectories, name)[rows] for name in names})


def _rows(good: NDArray[np.bool_], frames: NDArray[np.int64], who: str) -> slice:
    at = np.flatnonzero(good)
    if not len(at):
        raise ExportError(
            f"{who}: no frame has half of its joints measured", where="--trim-unreliable",
            hint="export without --trim-unreliable; the flags say what is measured",
        )  # fmt: skip
    rows = slice(int(at[0]), int(at[-1]) + 1)
    cut = len(good) - (rows.stop - rows.start)
    if cut:
        _log.warning("%s: %d frames are cut off; frames %d to %d stay", who, cut, frames[at[0]], frames[at[-1]])
    bad = np.flatnonzero(~good[rows])
    if len(bad):
        _log.warning(
            "%s: in %d frames inside (the first is %d) less than half of the joints are measured; their flags say so",
            who, len(bad), frames[rows][bad[0]],
        )  # fmt: skip
    return rows
