"""Takes longer than memory: read and made piece by piece, from disk to disk."""

from __future__ import annotations

import errno
import resource
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mocap.errors import StorageError
from mocap.filtering import FilterSettings, filter_trajectories, stage
from mocap.filtering.stage import filter_rows
from mocap.rows import MemoryRows, Pieces, join, pick, spans
from mocap.skeleton import H36M_17
from mocap.storage import hdf5, rows
from mocap.storage.hdf5 import encode_record, read_record, write_record
from mocap.storage.rows import StoredRows, write_pieces
from mocap.synthetic.motion import procedural_motion, truth_positions
from mocap.synthetic.noise import NoiseSettings, observe
from mocap.synthetic.rig import ring_rig
from mocap.triangulation import TriangulationSettings, triangulate
from mocap.triangulation.estimate import triangulate_rows
from mocap.types import Matches, Source, Trajectories3D

NOISE = NoiseSettings(sigma_px=3.0, outlier_rate=0.03, miss_rate=0.05, person_miss_rate=0.0, shuffle=False)
RIG = ring_rig(3, seed=3)
ARRAYS = ("positions", "covariance", "source", "reprojection_error", "consistency", "views_used")


def make_matches(frames: int) -> Matches:
    """One person's leg: the same motion to and fro, with a jump of the numbers."""
    truth = truth_positions(procedural_motion(400, 30.0, seed=4), H36M_17)
    k = observe(truth, RIG, NOISE, 5, joint_names=H36M_17.joints, fps=30.0)
    leg = slice(1, 4)
    row = np.arange(frames) % 798
    row = np.minimum(row, 798 - row)
    slot = np.zeros((3, frames, 1), np.int16)
    nothing = np.full(slot.shape, np.nan)
    return Matches(
        keypoints=k.keypoints[:, row, :, leg], confidence=k.confidence[:, row, :, leg],
        uncertainty=k.uncertainty[:, row, :, leg],
        observation=np.broadcast_to(np.arange(3), (3, frames, 1, 3)), slot=slot, score=nothing, runner_up=nothing,
        person_ids=np.arange(1), frames=np.arange(frames) + np.where(np.arange(frames) < frames // 3, 0, 1000),
        cameras=k.cameras, joint_names=H36M_17.joints[leg], fps=k.fps,
    )  # fmt: skip


def run(folder: Path, matches: Matches, chunk: int) -> Path:
    """Triangulate and filter as the workflow does: artifact to artifact."""
    write_record(folder / "m.h5", matches)
    settings = TriangulationSettings(chunk_frames=chunk)
    write_pieces(folder / "t.h5", triangulate_rows(StoredRows(folder / "m.h5", Matches), RIG, settings))
    found = StoredRows(folder / "t.h5", Trajectories3D)
    write_pieces(folder / "f.h5", filter_rows(found, FilterSettings(chunk_frames=chunk)))
    return folder / "f.h5"


def test_piece_by_piece_from_disk_is_what_the_whole_gives_in_memory(tmp_path):
    matches = make_matches(600)
    whole = filter_trajectories(triangulate(matches, RIG), FilterSettings())
    parts = read_record(run(tmp_path, matches, 101), Trajectories3D)
    np.testing.assert_array_equal(whole.source, parts.source)
    np.testing.assert_array_equal(whole.frames, parts.frames)
    assert (whole.source == Source.INTERPOLATED).any()
    assert np.nanmax(np.abs(whole.positions - parts.positions)) < 1e-5
    size = np.trace(whole.covariance, axis1=-2, axis2=-1)
    assert np.nanmax(np.abs(np.trace(parts.covariance, axis1=-2, axis2=-1) / size - 1)) < 1e-2


def test_memory_does_not_grow_with_the_take(tmp_path, monkeypatch):
    """The peak of what Python holds, from artifact to artifact, for takes one and three times as long."""
    monkeypatch.setattr(stage, "_LEARNING_SAMPLES", 3 * 256)
    monkeypatch.setattr(stage, "_LEARNING_BLOCK", 64)
    monkeypatch.setattr(stage, "_READ_ROWS", 256)
    monkeypatch.setattr(hdf5, "_CHUNK_BYTES", 1 << 14)

    def peak(frames: int) -> int:
        folder = tmp_path / str(frames)
        folder.mkdir()
        write_record(folder / "m.h5", make_matches(frames))
        settings = TriangulationSettings(chunk_frames=256, learning_points=600)
        tracemalloc.start()
        write_pieces(folder / "t.h5", triangulate_rows(StoredRows(folder / "m.h5", Matches), RIG, settings))
        found = StoredRows(folder / "t.h5", Trajectories3D)
        write_pieces(folder / "f.h5", filter_rows(found, FilterSettings(chunk_frames=256)))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    run(tmp_path, make_matches(400), 200)  # what is loaded and compiled once does not count
    short, long = peak(1000), peak(3000)
    # Frame numbers, places on the grid and the like may grow: eight numbers of eight bytes. A frame's samples
    # are 195 bytes, and more than a kilobyte where there are 17 joints.
    assert long - short < 2000 * 8 * 8


def test_pieces_make_the_record_they_were_cut_from(tmp_path, rng):
    shape = (7000, 1, 5)
    whole = Trajectories3D(
        positions=rng.normal(size=(*shape, 3)), covariance=rng.normal(size=(*shape, 3, 3)), source=np.ones(shape),
        reprojection_error=rng.random(shape), consistency=rng.random(shape), views_used=np.full(shape, 3),
        person_ids=[4], frames=np.arange(7000) * 2, joint_names=tuple("abcde"), fps=50.0, lasting_share=0.3,
    )  # fmt: skip
    source = MemoryRows(whole)
    np.testing.assert_array_equal(pick(source, np.array([3, 4, 90])).frames, [6, 8, 180])
    for name in ("a", "b"):
        write_pieces(tmp_path / name, Pieces(7000, (source.read(rows) for rows in spans(7000, 333))))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    read, stored = read_record(tmp_path / "a", Trajectories3D), StoredRows(tmp_path / "a", Trajectories3D)
    again = join(Pieces(7000, (stored.read(rows) for rows in spans(7000, 999))))
    for record in (read, again):
        assert (record.person_ids, record.lasting_share, record.fps) == ([4], 0.3, 50.0)
        for name in (*ARRAYS, "frames"):
            np.testing.assert_array_equal(getattr(record, name), getattr(whole, name), err_msg=name)
    assert stored.head.positions.shape == (0, 1, 5, 3)
    write_pieces(tmp_path / "c", Pieces(7000, iter([whole])))
    assert (tmp_path / "c").read_bytes() == encode_record(whole)
    with pytest.raises(ValueError, match="7000"):
        join(Pieces(7000, iter([source.read(slice(0, 5))])))


def test_a_file_that_cannot_grow_is_one_error_and_leaves_nothing(tmp_path):
    matches = make_matches(6000)
    source = MemoryRows(replace(matches, score=np.random.default_rng(0).normal(size=matches.score.shape)))

    def write() -> None:
        write_pieces(tmp_path / "m.h5", Pieces(6000, (source.read(rows) for rows in spans(6000, 500))))

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(StorageError, match="cannot be written"):
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
    write()
    assert len(StoredRows(tmp_path / "m.h5", Matches).frames) == 6000


def test_a_full_disk_is_told_though_hdf5_fails_of_it_first(tmp_path, monkeypatch):
    source = MemoryRows(make_matches(200))

    class Full(rows._Guarded):
        def write(self, content):
            self._error = OSError(errno.ENOSPC, "No space left on device")
            return memoryview(content).nbytes

    def fail(columns, piece):
        columns[0].dataset.file.flush()
        raise RuntimeError("HDF5 finds its file damaged")

    def write() -> None:
        write_pieces(tmp_path / "m.h5", Pieces(200, (source.read(part) for part in spans(200, 100))))

    monkeypatch.setattr(rows, "_add", fail)
    with pytest.raises(RuntimeError, match="damaged"):
        write()
    monkeypatch.setattr(rows, "_Guarded", Full)
    with pytest.raises(StorageError, match="the disk is full"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_many_jumps_of_the_numbers_are_not_as_many_reads():
    source = MemoryRows(replace(triangulate(make_matches(120), RIG), frames=np.arange(120) * 30))
    spans_read = []

    class Counted(MemoryRows[Trajectories3D]):
        def read(self, rows):
            spans_read.append(rows)
            return super().read(rows)

    out = join(filter_rows(Counted(source.record), FilterSettings()))
    np.testing.assert_array_equal(out.frames, source.frames)
    assert sum(rows.stop > rows.start for rows in spans_read) <= 3
