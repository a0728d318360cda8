"""Motion for training: recordings on the H36M-17 skeleton, split by subject, and real cameras."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError
from mocap.skeleton import H36M_17

Array = NDArray[np.float32]

# Left/right bones share their length: which of the 16 bones each of the ten free lengths sets.
FREE_BONES = np.array([0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 7, 8, 9])
HELD_OUT_CAMERAS = ("S9", "S11")


@dataclass(frozen=True, eq=False)
class Motion:
    """Recordings behind each other.

    Attributes
    ----------
    directions : float32 [F, 16, 3]
        Unit vector of each bone (order of H36M_17.bones), world, z up.
    roots : float32 [F, 3]
        Pelvis, world, metres.
    lengths : float32 [F, 16]
        Bone lengths of the person, metres.
    starts, counts : int64 [S]
        First frame and number of frames of each recording.
    subjects : tuple of str, one per recording
    fps : float
    """

    directions: Array
    roots: Array
    lengths: Array
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    subjects: tuple[str, ...]
    fps: float

    def select(self, keep: NDArray[np.bool_]) -> Motion:
        """The recordings [S] that are to be kept."""
        rows = [np.arange(s, s + n) for s, n in zip(self.starts[keep], self.counts[keep], strict=True)]
        index = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        counts = self.counts[keep]
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]]) if len(counts) else counts
        subjects = tuple(s for s, k in zip(self.subjects, keep, strict=True) if k)
        return Motion(
            self.directions[index], self.roots[index], self.lengths[index],
            starts.astype(np.int64), counts, subjects, self.fps,
        )  # fmt: skip

    def split(self, validation: Sequence[str]) -> tuple[Motion, Motion]:
        """(training, validation), by subject.

        Raises
        ------
        DataError
            A validation subject that the data does not have, or nothing left to train on.
        """
        unknown = sorted(set(validation) - set(self.subjects))
        held = np.isin(np.array(self.subjects), list(validation))
        if unknown or held.all():
            raise DataError(
                "the motion cannot be split by subject",
                expected=f"some of {', '.join(sorted(set(self.subjects)))}",
                found=", ".join(unknown) or "every subject kept for validation",
                hint="set validation_subjects",
            )
        return self.select(~held), self.select(held)

    def positions(self, frames: NDArray[np.int64]) -> Array:
        """Joints [..., 17, 3] of the given frames in the world, metres."""
        bones = self.directions[frames] * self.lengths[frames][..., None]
        return np.einsum("jb,...bc->...jc", tree_sums(), bones) + self.roots[frames][..., None, :]


def tree_sums() -> Array:
    """float32 [17, 16]: which bones lead from the pelvis to each joint."""
    sums = np.zeros((len(H36M_17.joints), len(H36M_17.bones)), np.float32)
    for bone, (parent, child) in enumerate(H36M_17.bone_index):
        sums[child] = sums[parent]
        sums[child, bone] = 1
    return sums


def read_motion(paths: Sequence[Path]) -> Motion:
    """Read motion files, and folders of BVH files (see `mocap.lifting.bvh_motion`).

    A motion file is HDF5 with `pose_rel` [F,16,3] mm, `root` [F,3] mm, `start`, `length`, `subject`.

    Raises
    ------
    DataError
        A file that is missing, is no HDF5 file or lacks one of these datasets; a folder without BVH
        files, or a BVH file whose rig is not understood.
    """
    parts = [_read_folder(Path(p)) if Path(p).is_dir() else _read_one(Path(p)) for p in paths]
    if not parts:
        raise DataError(
            "no motion data", expected="at least one HDF5 file or folder of BVH files", hint="name the file"
        )
    offsets = np.cumsum([0] + [len(p.roots) for p in parts])
    return Motion(
        np.concatenate([p.directions for p in parts]),
        np.concatenate([p.roots for p in parts]),
        np.concatenate([p.lengths for p in parts]),
        np.concatenate([p.starts + o for p, o in zip(parts, offsets, strict=False)]),
        np.concatenate([p.counts for p in parts]),
        tuple(s for p in parts for s in p.subjects),
        parts[0].fps,
    )


def _read_one(path: Path) -> Motion:
    names = ("pose_rel", "root", "start", "length", "subject")
    try:
        with h5py.File(path, "r") as file:
            missing = [n for n in names if n not in file]
            if missing:
                raise DataError(
                    "not a motion file", expected=", ".join(names), found=f"no {', '.join(missing)}", where=str(path)
                )
            relative, root, start, length, subject = (file[n][...] for n in names)
            fps = float(file.attrs.get("fps", 50))
            unit = 1.0 if str(file.attrs.get("units", "mm")) == "m" else 1e-3
    except OSError as error:
        raise DataError("cannot be read as HDF5", found=str(error), where=str(path)) from error
    if relative.ndim != 3 or relative.shape[1:] != (16, 3) or root.shape != (len(relative), 3):
        raise DataError(
            "motion of another skeleton", expected="pose_rel [F, 16, 3], root [F, 3]",
            found=f"{relative.shape}, {root.shape}", where=str(path),
        )  # fmt: skip
    joints = np.concatenate([np.zeros_like(relative[:, :1], np.float32), relative.astype(np.float32)], 1) * unit
    people = tuple(s.decode() if isinstance(s, bytes) else str(s) for s in subject)
    return _motion(joints, root * unit, start.astype(np.int64), length.astype(np.int64), people, fps)


def _read_folder(folder: Path) -> Motion:
    from mocap.lifting.bvh_motion import FPS, bvh_files, read_bvh_h36m, subject_of

    files = bvh_files(folder)
    if not files:
        raise DataError("no BVH files in this folder", expected="*.bvh, in it or in sub-folders", where=str(folder))
    takes = [read_bvh_h36m(f) for f in files]
    counts = np.array([len(t) for t in takes])
    joints = np.concatenate(takes)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    names = tuple(subject_of(f, folder) for f in files)
    return _motion(joints - joints[:, :1], joints[:, 0], starts, counts, names, FPS)


def _motion(
    joints: NDArray[np.floating], root: NDArray[np.floating], starts: NDArray[np.int64], counts: NDArray[np.int64],
    subjects: tuple[str, ...], fps: float,
) -> Motion:  # fmt: skip
    """From joints [F, 17, 3] about the pelvis and pelvis [F, 3], metres."""
    bones = joints[:, H36M_17.bone_index[:, 1]] - joints[:, H36M_17.bone_index[:, 0]]
    lengths = np.linalg.norm(bones, axis=-1)
    directions = bones / np.maximum(lengths, 1e-6)[..., None]
    directions, root, lengths = (a.astype(np.float32) for a in (directions, root, lengths))
    return Motion(directions, root, lengths, starts, counts, subjects, fps)


def bone_statistics(motion: Motion) -> tuple[Array, Array]:
    """Mean [10] and Cholesky factor [10, 10] of the log lengths of the free bones over subjects.

    Shrunk towards equal, half-correlated bones, because there are few people.
    """
    subjects = np.array(motion.subjects)
    first = [int(np.flatnonzero(subjects == s)[0]) for s in sorted(set(motion.subjects))]
    people = np.stack([
        np.median(motion.lengths[motion.starts[i] : motion.starts[i] + motion.counts[i]], 0) for i in first
    ])  # fmt: skip
    free = np.stack([people[:, b == FREE_BONES].mean(1) for b in range(10)], 1)
    logs = np.log(np.maximum(free, 1e-3))
    spread = 0.04
    plain = spread**2 * (0.5 * np.eye(10) + 0.5)
    own = np.cov(logs.T) if len(people) > 2 else plain
    covariance = 1.2 * (0.7 * own + 0.3 * plain)
    return logs.mean(0).astype(np.float32), np.linalg.cholesky(covariance).astype(np.float32)


def read_cameras(path: Path, subjects: Sequence[str] | None = None) -> tuple[Array, Array, Array]:
    """Real cameras of the Human3.6M parameter file: K [C,3,3] px, R [C,3,3], t [C,3] m.

    `subjects` are the recording sessions to take; all but those kept for validation when None.

    Raises
    ------
    DataError
        The file is missing or laid out otherwise.
    """
    try:
        content = json.loads(Path(path).read_text())
        sessions = content["extrinsics"]
        wanted = [s for s in sessions if s not in HELD_OUT_CAMERAS] if subjects is None else list(subjects)
        poses = [(content["intrinsics"][c], pose) for s in wanted for c, pose in sessions[s].items()]
        K = np.array([i["calibration_matrix"] for i, _ in poses], np.float32)
        R = np.array([pose["R"] for _, pose in poses], np.float32)
        t = np.array([pose["t"] for _, pose in poses], np.float32)[..., 0] * 1e-3
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            "not a camera parameter file", expected="JSON with intrinsics and extrinsics per session",
            found=f"{type(error).__name__}: {error}", where=str(path),
        ) from error  # fmt: skip
    return K, R, t
