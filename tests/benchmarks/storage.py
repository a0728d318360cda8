"""How fast artifacts are written and read, and how small they are.

python tests/benchmarks/storage.py [--frames 1000000] [--folder DIR] [--all-bits]

Keypoints of 4 views x 33 joints: people who walk about, 1.5 px of detector noise, confidences with
noise, uncertainty unknown. MB are those of the arrays in memory. Reading an artifact of a session
also checks its digest: the line `sha256`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from flows.digests import hash_file
from mocap.skeleton import BLAZEPOSE_33
from mocap.storage.atomic import write_bytes
from mocap.storage.hdf5 import encode_record, read_frames, read_record
from mocap.storage.precision import rounded
from mocap.types import Keypoints2D


def make_keypoints(n_frames: int, *, as_detected: bool = True) -> Keypoints2D:
    """Synthetic detections [4, T, 1, 33]; float32 all the way, so that a million frames fit in memory.

    With `as_detected` they are rounded as `mocap run` rounds what it detects (1/64 px); without, all
    bits of the noise are kept.
    """
    rng = np.random.default_rng(0)
    shape = (4, n_frames, 1, 33)
    t = np.arange(n_frames, dtype=np.float32) / 60
    keypoints = rng.standard_normal((*shape, 2), np.float32)
    keypoints *= np.float32(1.5)
    keypoints += rng.uniform(-200, 200, (4, 1, 1, 33, 2)).astype(np.float32)
    keypoints[..., 0] += (960 + 400 * np.sin(0.5 * t))[None, :, None, None]
    keypoints[..., 1] += (540 + 200 * np.cos(0.3 * t))[None, :, None, None]
    confidence = rng.standard_normal(shape, np.float32)
    confidence *= np.float32(0.1)
    confidence += np.float32(0.85)
    np.clip(confidence, 0.01, 1, out=confidence)
    record = Keypoints2D(
        keypoints, confidence, np.full(shape, np.nan, np.float32), np.arange(n_frames),
        tuple("abcd"), BLAZEPOSE_33.joints, 60.0,
    )  # fmt: skip
    return rounded(record) if as_detected else record


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Timer:
    """Wall and processor seconds since it was made; the latter do not depend on who else works on the machine."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def say(self, what: str, megabytes: float) -> None:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        rates = f"{megabytes / wall:6.0f} MB/s   of one core: {cpu:6.2f} s {megabytes / cpu:6.0f} MB/s"
        say(f"{what:<34} {wall:7.2f} s {rates}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=None, help="where to write; a temporary folder if not given")
    parser.add_argument("--all-bits", action="store_true", help="not rounded to 1/64 px")
    arguments = parser.parse_args()
    record = make_keypoints(arguments.frames, as_detected=not arguments.all_bits)
    observed = record.keypoints.nbytes + record.confidence.nbytes
    n_bytes = observed + record.uncertainty.nbytes
    say(f"load of this machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    say(f"{arguments.frames} frames x 4 views x 33 joints: {n_bytes / 1e6:.0f} MB of arrays")

    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "keypoints.h5"
        whole = Timer()
        content = encode_record(record)
        whole.say("encode (compress, in memory)", n_bytes / 1e6)
        flush = Timer()
        write_bytes(path, content)
        flush.say("write and flush the file", len(content) / 1e6)
        whole.say("write, altogether", n_bytes / 1e6)
        size = len(content)
        del content
        say(f"size {size / 1e6:.0f} MB: {100 * size / n_bytes:.1f} % of the arrays, "
              f"{100 * size / observed:.1f} % of keypoints and confidence alone")  # fmt: skip
        timer = Timer()
        again = read_record(path, Keypoints2D)
        timer.say("read", n_bytes / 1e6)
        assert np.array_equal(again.keypoints, record.keypoints)
        del again
        timer = Timer()
        hash_file(path)
        timer.say("sha256", size / 1e6)
        middle = arguments.frames // 2
        for length in (1, 600):
            started = time.perf_counter()
            read_frames(path, Keypoints2D, middle, middle + length)
            say(f"read {length} frames from the middle: {1000 * (time.perf_counter() - started):.1f} ms")


if __name__ == "__main__":
    main()
