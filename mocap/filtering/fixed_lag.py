"""The MAP smoother for live use: every frame estimated a fixed number of frames after it was seen.

At frame t the estimate of frame t - lag is made from the frames that are known by then; what is
learnt (levels of motion, outlier rates, bones) is learnt from the past alone, anew as it grows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError
from mocap.filtering.gaps import Array
from mocap.filtering.grid import Window, continuous_parts, cut, survey
from mocap.filtering.settings import FilterMethod, FilterSettings
from mocap.filtering.smoother_state import Lesson
from mocap.filtering.stage import bone_index, learn, prepare, smooth_parts, with_samples
from mocap.persistence import Persistence
from mocap.rows import MemoryRows
from mocap.types import Trajectories3D

# The past that an estimate is made from besides the lag, and that is learnt from, seconds.
_MEMORY_S, _HISTORY_S = 1.0, 10.0
# Learnt first when so much is known, then whenever the known has grown by half or so much has passed.
_FIRST_S, _AGAIN_S = 0.5, 2.0


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """A frame's joints: number, positions [P, J, 3] m, covariance [P, J, 3, 3] m2, source [P, J].

    `views` [P, J] says which views each was made from, as in `Trajectories3D.views_used`.
    """

    frame: int
    positions: Array
    covariance: Array
    source: NDArray[np.uint8]
    views: NDArray[np.uint64] | None = None


class FixedLagSmoother:
    """Smooths frames as they come.

    Parameters
    ----------
    joint_names : sequence of str
        Bones are held constant where the skeleton is known.
    fps : float
    lag_frames : int
        Frames waited for: more are nearer to the whole take's estimate. A gap is filled only when its
        end is known in time.
    settings : FilterSettings, optional
        Those of the MAP method count.
    persistence : Persistence, optional
        How the samples' errors hang together in time (`mocap.triangulation.estimate.learn_persistence`
        of a take made with the same cameras and detector); independent unless given.

    Notes
    -----
    Fixed-lag smoothing (Anderson & Moore, Optimal Filtering, 1979, 7.3) by solving again the
    window of the last `lag_frames` + 1 s. With a lag of at least the take's length, `flush` gives the
    estimate of the whole take.
    """

    def __init__(
        self, joint_names: tuple[str, ...], fps: float, lag_frames: int, settings: FilterSettings | None = None,
        persistence: Persistence | None = None,
    ) -> None:  # fmt: skip
        given = settings or FilterSettings()
        self._settings = FilterSettings(method=FilterMethod.MAP, max_gap_s=given.max_gap_s, bones=given.bones,
                                        hampel=given.hampel, hampel_window_s=given.hampel_window_s,
                                        hampel_threshold=given.hampel_threshold)  # fmt: skip
        self._persistence = persistence or Persistence()
        self._names, self._fps, self._lag = tuple(joint_names), float(fps), lag_frames
        self._bones = bone_index(self._names)
        self._known: deque[LiveFrame] = deque()
        self._next = 0  # place in `_known` of the frame that is due next
        self._lessons: list[Lesson | None] = []
        self._unseen: list[Array] = []
        self._learnt_from = 0
        self._seen = 0

    def push(self, frame: LiveFrame) -> list[LiveFrame]:
        """Take in a frame; the estimates that are due (none, one, or more after a jump of the numbers).

        Raises
        ------
        DataError
            A frame number that does not grow, or another number of persons.
        """
        if self._known and (
            frame.frame <= self._known[-1].frame or frame.positions.shape != self._known[-1].positions.shape
        ):
            raise DataError(
                "a live frame does not follow the last one",
                expected=f"a number above {self._known[-1].frame}, joints {self._known[-1].positions.shape}",
                found=f"{frame.frame}, {frame.positions.shape}", where="FixedLagSmoother.push",
                hint="start another FixedLagSmoother for another recording",
            )  # fmt: skip
        self._known.append(frame)
        self._seen += 1
        if frame.frame - self._known[self._next].frame < self._lag:
            return []
        due = [k for k in range(self._next, len(self._known)) if frame.frame - self._known[k].frame >= self._lag]
        self._learn()
        out = self._estimate(due)
        self._next += len(due)
        keep = max(self._frames(_HISTORY_S), self._lag + self._frames(_MEMORY_S))
        while len(self._known) > keep and self._next > 0:
            self._known.popleft()
            self._next -= 1
        return out

    def flush(self) -> list[LiveFrame]:
        """The estimates of all frames that are still due, with all that is known."""
        due = list(range(self._next, len(self._known)))
        if not due:
            return []
        self._learn(at_last=True)
        out = self._estimate(due, everything=True)
        self._next = len(self._known)
        return out

    def _frames(self, seconds: float) -> int:
        return max(1, round(seconds * self._fps))

    def _record(self, first: int) -> Trajectories3D:
        frames = list(self._known)[first:]
        source = np.stack([f.source for f in frames])
        empty, unknown = np.full(source.shape, np.nan), np.zeros(source.shape[1:], np.uint64)
        views = np.stack([unknown if f.views is None else f.views for f in frames])
        return Trajectories3D(
            positions=np.stack([f.positions for f in frames]), covariance=np.stack([f.covariance for f in frames]),
            source=source, reprojection_error=empty, consistency=empty, views_used=views,
            person_ids=np.arange(source.shape[1]), frames=np.array([f.frame for f in frames]),
            joint_names=self._names, fps=self._fps, lasting_share=self._persistence.share,
            lasting_s=self._persistence.seconds, constant_share=self._persistence.constant,
        )  # fmt: skip

    def _learn(self, at_last: bool = False) -> None:
        grown = self._seen - self._learnt_from
        wanted = self._frames(_FIRST_S) if not self._learnt_from else min(
            self._learnt_from // 2 + 1, self._frames(_AGAIN_S))  # fmt: skip
        if not at_last and grown < wanted:
            return
        self._learnt_from = self._seen
        record = self._record(0)
        parts = continuous_parts(record.frames, record.fps, self._settings.max_gap_s)
        whole = [Window(k, 0, p.length, 0, p.length) for k, p in enumerate(parts)]
        self._lessons, self._unseen = [], []
        squares = survey(MemoryRows(record), parts, len(record.frames)).acceleration2
        for person, unseen in enumerate(squares):
            known = [prepare(cut(record, parts[w.part], w, person), unseen, self._settings) for w in whole]
            self._unseen.append(unseen)
            self._lessons.append(learn(known, self._bones, self._settings))

    def _estimate(self, due: list[int], everything: bool = False) -> list[LiveFrame]:
        first = 0 if everything else max(0, due[0] - self._frames(_MEMORY_S))
        record = self._record(first)
        T, P, J = record.source.shape
        positions, covariance = np.full((T, P, J, 3), np.nan), np.full((T, P, J, 3, 3), np.nan)
        source = np.zeros((T, P, J), np.uint8)
        parts = continuous_parts(record.frames, record.fps, self._settings.max_gap_s)
        for person in range(P):
            unseen = self._unseen[person] if self._unseen else np.zeros(J)
            lesson = self._lessons[person] if self._lessons else None
            for k, part in enumerate(parts):
                whole = Window(k, 0, part.length, 0, part.length)
                known = prepare(cut(record, part, whole, person), unseen, self._settings)
                ((x, cov),) = smooth_parts([known], self._bones, self._settings, lesson)
                rows, index = known.grid.rows, known.grid.index
                positions[rows, person], covariance[rows, person] = x[index], cov[index]
                source[rows, person] = known.source[index]
        rows_due = [k - first for k in due]
        return [
            LiveFrame(int(record.frames[k]), positions[k], covariance[k], source[k]) for k in rows_due
        ]  # fmt: skip


def filter_live(trajectories: Trajectories3D, settings: FilterSettings) -> Trajectories3D:
    """A whole recording as a live system would have given it, `settings.lag_frames` frames behind."""
    live = FixedLagSmoother(
        trajectories.joint_names, trajectories.fps, settings.lag_frames, settings, trajectories.persistence
    )
    out: list[LiveFrame] = []
    for t, frame in enumerate(trajectories.frames.tolist()):
        out += live.push(
            LiveFrame(
                frame, trajectories.positions[t], trajectories.covariance[t], trajectories.source[t],
                trajectories.views_used[t],
            )
        )  # fmt: skip
    out += live.flush()
    return with_samples(
        trajectories,
        np.stack([f.positions for f in out]).astype(np.float32),
        np.stack([f.covariance for f in out]).astype(np.float32),
        np.stack([f.source for f in out]),
    )
