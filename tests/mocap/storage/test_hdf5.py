"""Artifacts: round trip, equal bytes, damage noticed, nothing half-written."""

from __future__ import annotations

import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from mocap.errors import StorageError
from mocap.skeleton import COCO_17
from mocap.storage.atomic import atomic_path
from mocap.storage.chunks import FILTERS, _deflate, read_chunks, write_chunks
from mocap.storage.hdf5 import Provenance, encode_record, read_frames, read_provenance, read_record, write_record
from mocap.storage.precision import PIXEL_STEP, rounded
from mocap.storage.rig_record import RigRecord
from mocap.synthetic.rig import ring_rig
from mocap.types import Keypoints2D, Matches


@pytest.fixture
def record(rng: np.random.Generator) -> Keypoints2D:
    shape = (2, 300, 1, 17)
    return Keypoints2D(
        rng.uniform(0, 1000, (*shape, 2)), rng.uniform(0.1, 1, shape), np.full(shape, np.nan), np.arange(300),
        ("a", "b"), COCO_17.joints, 59.94,
    )  # fmt: skip


PROVENANCE = Provenance("detect", "a/0-300", "k" * 32, 1, {"x": 1.5}, {"file": "d" * 64}, "0.1.0")


def test_round_trip_and_self_description(tmp_path, record):
    path = tmp_path / "a.h5"
    write_record(path, record, PROVENANCE)
    again = read_record(path, Keypoints2D)
    np.testing.assert_array_equal(again.keypoints, record.keypoints)
    assert (again.cameras, again.joint_names, again.fps) == (record.cameras, record.joint_names, record.fps)
    assert read_provenance(path) == PROVENANCE
    with h5py.File(path) as file:
        assert file["keypoints"].attrs["dims"] == "V T P J 2"
        assert file["keypoints"].attrs["units"] == "px"
        assert file["keypoints"].chunks is not None


def test_equal_content_is_equal_bytes(tmp_path, record):
    write_record(tmp_path / "a.h5", record, PROVENANCE)
    write_record(tmp_path / "b.h5", record, PROVENANCE)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_span_of_frames_is_what_the_whole_holds_there(tmp_path, rng):
    shape = (2, 9000, 1, 17)
    frames = np.concatenate([np.arange(4500), 8000 + np.arange(4500)])
    record = Keypoints2D(
        rng.uniform(0, 1000, (*shape, 2)), rng.uniform(0.1, 1, shape), np.full(shape, np.nan), frames,
        ("a", "b"), COCO_17.joints, 59.94,
    )  # fmt: skip
    path = tmp_path / "a.h5"
    write_record(path, record)
    with h5py.File(path) as file:
        assert file["keypoints"].chunks[1] < 9000
    for start, stop in ((0, 1), (4400, 8010), (-5, 3), (12_400, 19_999), (5000, 6000), (7, 7)):
        part = read_frames(path, Keypoints2D, start, stop)
        inside = (frames >= start) & (frames < stop)
        np.testing.assert_array_equal(part.frames, frames[inside])
        np.testing.assert_array_equal(part.keypoints, record.keypoints[:, inside])
        np.testing.assert_array_equal(part.confidence, record.confidence[:, inside])
        assert part.cameras == record.cameras


def test_a_damaged_chunk_does_not_keep_others_from_being_read(tmp_path, rng):
    """A span is read without the rest: damage outside of it is not even noticed."""
    shape = (1, 20_000, 1, 17)
    record = Keypoints2D(
        rng.uniform(0, 1000, (*shape, 2)), rng.uniform(0.1, 1, shape), np.full(shape, np.nan), np.arange(20_000),
        ("a",), COCO_17.joints, 60.0,
    )  # fmt: skip
    path = tmp_path / "a.h5"
    write_record(path, record)
    with h5py.File(path) as file:
        chunk = file["keypoints"].id.get_chunk_info_by_coord((0, 19_999, 0, 0, 0))
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + 64] = bytes(64)
    path.write_bytes(content)
    np.testing.assert_array_equal(read_frames(path, Keypoints2D, 0, 50).keypoints, record.keypoints[:, :50])
    with pytest.raises(StorageError, match="damaged"):
        read_record(path, Keypoints2D)


def test_other_layouts_are_read_too(tmp_path, rng):
    """Files of other HDF5 programs need not be chunked, compressed or parted as ours are."""
    value = rng.uniform(size=(4, 30, 5))
    layouts = (
        {}, {"chunks": (4, 7, 5)}, {"chunks": (2, 7, 5), **FILTERS}, {"chunks": (4, 7, 5), "compression": "lzf"},
        {"chunks": (4, 7, 5), "fletcher32": True, **FILTERS},
    )  # fmt: skip
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for n, layout in enumerate(layouts):
            dataset = file.create_dataset(str(n), data=value, **layout)
            np.testing.assert_array_equal(read_chunks(dataset, 1, slice(3, 20)), value[:, 3:20])
        dataset = file.create_dataset("big", value.shape, ">f8", chunks=(4, 7, 5), **FILTERS)
        dataset[()] = value
        np.testing.assert_array_equal(read_chunks(dataset, 1, slice(None)), value)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "u1", "?"])
@pytest.mark.parametrize("length", [1, 9, 10, 11, 20])
def test_chunks_are_what_hdf5_itself_reads(tmp_path, rng, dtype, length):
    value = rng.integers(0, 2, (3, length, 50)).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("a", value.shape, value.dtype, chunks=(3, min(10, length), 50), **FILTERS)
        write_chunks(dataset, value, 1)
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["a"][()], value)
        assert file["a"].dtype == value.dtype
        for rows in (slice(None), slice(0, 1), slice(3, 10), slice(3, 11), slice(5, 5), slice(8, 99), slice(9, 2)):
            np.testing.assert_array_equal(read_chunks(file["a"], 1, rows), value[:, rows])


def test_rigs_round_trip(tmp_path):
    rig = ring_rig(n_cameras=3, seed=3)
    write_record(tmp_path / "rig.h5", RigRecord.of(rig))
    again = read_record(tmp_path / "rig.h5", RigRecord).to_rig()
    assert again.names == rig.names
    assert again.covariance is None
    np.testing.assert_array_equal(again.K, rig.K)
    np.testing.assert_array_equal(again.t, rig.t)


def test_what_is_no_artifact_is_said(tmp_path, record):
    path = tmp_path / "a.h5"
    with pytest.raises(StorageError, match="no such artifact"):
        read_record(path, Keypoints2D)
    write_record(path, record)
    with pytest.raises(StorageError, match="another kind"):
        read_record(path, Matches)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(StorageError, match="damaged"):
        read_record(path, Keypoints2D)


def test_a_failure_leaves_nothing_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("name", [".", "folder"])
def test_a_folder_is_no_file_to_write(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="a folder"), atomic_path(tmp_path / name):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_clear_error(tmp_path):
    def fill() -> None:
        with atomic_path(tmp_path / "x.h5") as temporary:
            temporary.touch()
            with Path("/dev/full").open("wb") as file:
                file.write(b"x" * 100_000)
                os.fsync(file.fileno())

    with pytest.raises(StorageError, match="disk is full"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_measurements_keep_the_digits_that_mean_something(rng):
    shape = (2, 40, 1, 17)
    keypoints = rng.uniform(-100, 4000, (*shape, 2)).astype(np.float32)
    confidence = (10.0 ** rng.uniform(-9, 0, shape)).astype(np.float32)
    confidence[0, :9], keypoints[0, :9] = 0, np.nan
    confidence[1, 0] = 1
    exact = Keypoints2D(
        keypoints, confidence, np.full(shape, np.nan), np.arange(40), ("a", "b"), COCO_17.joints, 60.0
    )  # fmt: skip
    kept = rounded(exact)
    np.testing.assert_array_equal(np.isnan(kept.keypoints), np.isnan(exact.keypoints))
    assert np.nanmax(np.abs(kept.keypoints - exact.keypoints)) <= PIXEL_STEP / 2
    np.testing.assert_array_equal(kept.confidence > 0, exact.confidence > 0)
    np.testing.assert_allclose(kept.confidence, exact.confidence, rtol=2.0**-8)
    assert kept.confidence.max() == 1
    assert np.isnan(kept.uncertainty).all()
    again = rounded(kept)
    np.testing.assert_array_equal(again.keypoints, kept.keypoints)
    np.testing.assert_array_equal(again.confidence, kept.confidence)


def test_byte_planes_of_every_kind_are_one_stream_that_zlib_reads(rng):
    """Constant, noisy, repetitive and skewed planes, and lengths around those of stored blocks."""
    for length in (1, 2, 4095, 65_535, 65_536, 200_001):
        noise = rng.integers(0, 256, length, dtype=np.uint8)
        skewed = rng.geometric(0.4, length).astype(np.uint8)
        planes = np.stack([np.full(length, 7, np.uint8), noise, skewed, np.resize(noise[:2], length)])
        packed = _deflate(planes)
        assert zlib.decompress(packed) == planes.tobytes()
        assert packed == _deflate(planes.copy())
    assert len(packed) < 1.6 * length  # of 4: a constant, noise, 2 bits, a repetition


def test_records_are_encoded_side_by_side(record):
    """As parts of detect are, in threads that finish at the same time."""
    with ThreadPoolExecutor(4) as pool:
        encoded = list(pool.map(lambda _: encode_record(record, PROVENANCE), range(24)))
    assert set(encoded) == {encode_record(record, PROVENANCE)}
