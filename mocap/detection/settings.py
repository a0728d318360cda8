"""Settings of the detection stage; importing this loads no network library."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mocap.detection.decoders import DecoderName
from mocap.errors import SettingsError


class DetectorName(enum.StrEnum):
    """Networks that find people in images."""

    BLAZEPOSE = "blazepose"
    HRNET_W32 = "hrnet_w32"
    HRNET_W48 = "hrnet_w48"
    VITPOSE_B = "vitpose_b"
    RTMPOSE_M = "rtmpose_m"
    HIGHERHRNET_W32 = "higherhrnet_w32"
    HIGHERHRNET_W48 = "higherhrnet_w48"
    OPENPOSE = "openpose"
    RTMO_M = "rtmo_m"
    SMALL = "small"


class FinderName(enum.StrEnum):
    """Networks that find where people are, for detectors that look at one crop per person."""

    BLAZEPOSE = "blazepose"
    YOLOX_M = "yolox_m"
    RTDETR_R50 = "rtdetr_r50"


class Precision(enum.StrEnum):
    """Numbers that networks calculate with."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


@dataclass(frozen=True)
class DetectionSettings:
    """How people are found in the videos."""

    detector: DetectorName = DetectorName.BLAZEPOSE
    """Network that finds the people and their joints."""
    finder: FinderName = FinderName.BLAZEPOSE
    """What finds the people for networks that look at one crop each (BlazePose finds its own)."""
    max_people: int = 6
    """Person slots per view; of more people who appear together the largest are kept."""
    person_score: float = 0.5
    """Lowest score (0..1) at which the person finder starts a track."""
    pose_score: float = 0.5
    """Lowest score (0..1) of a pose; below it the person counts as not seen in that frame."""
    sharpness: float = 0.5
    """Lowest sharpness (0..1, of the heatmaps) at which a track starts; it is kept down to half of that, and
    started on top of somebody else only from 1.3 times that."""
    search_interval_s: float = 0.5
    """Seconds between searches of the whole frame for newcomers; a lost track starts one at once."""
    anchor_interval_s: float = 0.08
    """Seconds between the frames that carry a track forward; the frames between them follow in one batch."""
    tile_levels: int = 2
    """Search overlapping square parts of the frame too: of its short side (1), half (2), a quarter (3) of it, ...

    Finds small and several people; each level costs about four times the one before, and the finest is
    left out of every second search. 0: whole frame only. One level more is searched when nobody is in sight."""
    refine: bool = True
    """Sharpen joints with the network's heatmap (BlazePose)."""
    decoder: DecoderName = DecoderName.DARK
    """How heatmaps become points (networks that give one heatmap per joint)."""
    flip_test: bool = True
    """Look at each crop and its mirror image and average: steadier, twice the time (not BlazePose)."""
    crops_per_person: int = 1
    """Crops of each person, turned and scaled a little, fused by inverse variance: so many times the time."""
    fused_with: tuple[DetectorName, ...] = ()
    """Further detectors of the same joints that look at the same people, fused by inverse variance."""
    dropout_samples: int = 0
    """Passes with dropout switched on, whose scatter adds to the uncertainty (networks with dropout: small)."""
    precision: Precision = Precision.FLOAT32
    """float32, or bfloat16 or float16 where that is good enough (about 0.1 px): faster on a GPU."""
    compile: bool = False
    """Have torch.compile fuse the networks' steps: a minute at the start, faster for long videos on a GPU."""
    duplicate_similarity: float = 0.6
    """Object keypoint similarity (0..1) above which two poses in one frame are the same person."""
    batch_frames: int = 16
    """Frames decoded and run through the network together; three times as many are in memory (16 of 1080p: 0.3 GB)."""
    chunk_frames: int = 1200
    """Frames per chunk: what is detected by one task, kept, and resumed after a crash."""

    def __post_init__(self) -> None:
        if not isinstance(self.detector, DetectorName):
            raise SettingsError(
                "unknown detector", expected=", ".join(DetectorName), found=repr(self.detector), where="detect.detector"
            )
        if not isinstance(self.finder, FinderName):
            raise SettingsError(
                "unknown person finder", expected=", ".join(FinderName), found=repr(self.finder), where="detect.finder"
            )
        if not isinstance(self.decoder, DecoderName):
            raise SettingsError(
                "unknown decoder", expected=", ".join(DecoderName), found=repr(self.decoder), where="detect.decoder"
            )
        if not isinstance(self.precision, Precision):
            raise SettingsError(
                "unknown precision", expected=", ".join(Precision), found=repr(self.precision), where="detect.precision"
            )
        for name in ("person_score", "pose_score", "sharpness", "duplicate_similarity"):
            self._require(name, 0 < getattr(self, name) < 1, "between 0 and 1")
        for name in ("search_interval_s", "anchor_interval_s"):
            self._require(name, 0 < getattr(self, name) <= 60, "seconds in 0..60, not 0")
        for name in ("batch_frames", "chunk_frames"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        self._require("tile_levels", 0 <= self.tile_levels <= 4, "0..4")
        self._require("crops_per_person", 1 <= self.crops_per_person <= 9, "1..9")
        self._require("dropout_samples", 0 <= self.dropout_samples <= 1000, "0..1000")
        self._require("max_people", 1 <= self.max_people <= 100, "1..100")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            found = str(getattr(self, name))
            raise SettingsError("a setting is out of range", expected=expected, found=found, where=f"detect.{name}")
