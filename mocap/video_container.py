"""Whether a video file is whole, from its container alone (no decoding).

MP4 and QuickTime files are sequences of boxes (size, type): ISO/IEC 14496-12, section 4.2. The
frame index is the box `moov`, the frames lie in `mdat`; a file that ends within a box was cut off.
"""

from __future__ import annotations

import enum
import struct
from pathlib import Path

from mocap.errors import VideoError

_TOP_LEVEL = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"moof", b"uuid", b"styp", b"sidx"}


class Container(enum.Enum):
    """What a file's container says about its frame count."""

    EXACT = "exact"
    """MP4 or QuickTime with an index, whole, nothing edited out: the frame count is in the index."""
    TRUNCATED = "truncated"
    """MP4 or QuickTime that ends in the middle of its frames."""
    NO_INDEX = "no index"
    """MP4 or QuickTime without an index: nothing can be decoded."""
    ESTIMATED = "estimated"
    """Another container, or one that hides some of its frames: the promised frame count is an estimate."""


def inspect(path: Path) -> Container:
    """Walk the top-level boxes of a file.

    Raises
    ------
    VideoError
        No such file, a folder, unreadable, or empty.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            found: set[bytes] = set()
            index = b""
            at = 0
            while at + 8 <= size:
                stream.seek(at)
                length, kind = struct.unpack(">I4s", stream.read(8))
                if length == 1:
                    raw = stream.read(8)
                    length = struct.unpack(">Q", raw)[0] if len(raw) == 8 else size
                elif length == 0:
                    length = size - at
                if kind not in _TOP_LEVEL and not found:
                    return _not_boxes(path, size)
                found.add(kind)
                if kind == b"moov" and at + length <= size:
                    stream.seek(at)
                    index = stream.read(length)
                if length < 8:
                    break
                at += length
    except OSError as error:
        reason = "is a folder" if path.is_dir() else error.strerror or str(error)
        hint = "check the path of this camera's video in session.toml"
        raise VideoError("the video cannot be read", found=reason, where=str(path), hint=hint) from error
    if not found:
        return _not_boxes(path, size)
    if b"moov" not in found:
        return Container.NO_INDEX
    if at > size:
        return Container.TRUNCATED
    # Fragmented files count their frames per fragment.
    try:
        estimated = b"moof" in found or _hides_frames(index)
    except (struct.error, IndexError):  # an index that the decoder may still make sense of
        estimated = True
    return Container.ESTIMATED if estimated else Container.EXACT


def _not_boxes(path: Path, size: int) -> Container:
    if size == 0:
        raise VideoError("the video file is empty", where=str(path), hint="copy the file from the camera again")
    return Container.ESTIMATED


def _hides_frames(index: bytes) -> bool:
    """Whether the video track's edit list may leave out frames that the index counts (a trimmed copy).

    An edit that only starts at the first frame's presentation time (frames stored out of order) and
    runs to the end hides nothing. ISO/IEC 14496-12, sections 8.6.1.3 (ctts) and 8.6.6 (elst).
    """
    movie = _boxes(index, 8)
    tracks = [_boxes(index, at) for kind, at in _children(index, 8) if kind == b"trak"]
    for track in tracks:
        media = _boxes(index, track[b"mdia"]) if b"mdia" in track else {}
        if b"hdlr" not in media or index[media[b"hdlr"] + 8 : media[b"hdlr"] + 12] != b"vide" or b"edts" not in track:
            continue
        edits = _boxes(index, track[b"edts"]).get(b"elst")
        if edits is None or b"mvhd" not in movie or b"mdhd" not in media:
            continue
        count = struct.unpack_from(">I", index, edits + 4)[0]
        wide = index[edits] == 1
        length, start = struct.unpack_from(">Qq" if wide else ">Ii", index, edits + 8)
        movie_scale, _ = _clock(index, movie[b"mvhd"])
        scale, total = _clock(index, media[b"mdhd"])
        shown = length / movie_scale * scale
        # One movie tick of rounding, in media ticks.
        return count != 1 or start != _first_offset(index, media) or shown < total - start - scale / movie_scale
    return False


def _children(data: bytes, at: int, end: int | None = None) -> list[tuple[bytes, int]]:
    """(type, first byte of the content) of the boxes from `at` to the end of their parent."""
    end = at - 8 + struct.unpack_from(">I", data, at - 8)[0] if end is None else end
    found = []
    while at + 8 <= min(end, len(data)):
        length, kind = struct.unpack_from(">I4s", data, at)
        found.append((kind, at + 8))
        if length < 8:
            break
        at += length
    return found


def _boxes(data: bytes, at: int) -> dict[bytes, int]:
    """The boxes in the one whose content starts at `at`, by type."""
    return dict(_children(data, at))


def _clock(data: bytes, at: int) -> tuple[int, int]:
    """Ticks per second and duration in ticks of a mvhd or mdhd box."""
    scale, duration = struct.unpack_from(">IQ" if data[at] == 1 else ">II", data, at + (20 if data[at] == 1 else 12))
    return max(scale, 1), duration


def _first_offset(data: bytes, media: dict[bytes, int]) -> int:
    """Presentation time of the first stored frame, ticks."""
    at = media.get(b"minf")
    at = _boxes(data, at).get(b"stbl") if at is not None else None
    at = _boxes(data, at).get(b"ctts") if at is not None else None
    if at is None or struct.unpack_from(">I", data, at + 4)[0] == 0:
        return 0
    return int(struct.unpack_from(">i", data, at + 12)[0])
