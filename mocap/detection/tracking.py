"""Following several people through one view with a network that sees one person at a time.

Every few frames is an *anchor*: there each person's region is carried forward from the anchor
before, and, when somebody is lost or some time has passed, the whole frame is searched. In all
frames between, the regions are interpolated, so that the network runs once over the whole batch:
faster than frame by frame, and a region that looks both ways in time jitters less.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mocap.detection import regions as rg
from mocap.detection.poses import People, Poses, RegionNetwork
from mocap.detection.settings import DetectionSettings
from mocap.detection.similarity import region_overlap, similarity

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Images = NDArray[np.uint8]

_NETWORK_BATCH = 32
_SAME_REGION = 0.65
_MIN_SIZE = 24.0
_LOST_MARGIN = 1.5
# A newcomer on top of somebody must be this much sharper than one beside everybody.
_ON_SOMEBODY = 1.3


@dataclass
class _Track:
    """A person in one slot, from where found until lost."""

    slot: int
    region: Floats
    keypoints: Floats
    anchors: list[int] = field(default_factory=list)
    regions: list[Floats] = field(default_factory=list)
    lost: bool = False

    def record(self, frame: int, region: Floats, keypoints: Floats) -> None:
        self.region, self.keypoints = region, keypoints
        self.anchors.append(frame)
        self.regions.append(region)


class RegionTracker:
    """A `Detector` for top-down networks; see `mocap.detection.detector.Detector`."""

    def __init__(self, network: RegionNetwork, settings: DetectionSettings) -> None:
        self.network, self.settings = network, settings
        self.skeleton = network.skeleton
        self.start(30.0)

    def start(self, fps: float) -> None:
        """Begin another recording: forget everybody."""
        self._tracks: list[_Track] = []
        self._anchor_step = max(1, round(self.settings.anchor_interval_s * fps))
        self._search_step = max(1, round(self.settings.search_interval_s * fps))
        self._since_search, self._since_deep = self._search_step, 2 * self._search_step

    def detect(self, frames: Images) -> People:
        """People in the next frames [n, H, W, 3]."""
        anchors = self._anchors(len(frames))
        for track in self._tracks:
            track.anchors, track.regions = [], []
        everyone = list(self._tracks)
        for previous, at in zip((-1, *anchors[:-1]), anchors, strict=True):
            self._since_search += at - previous
            self._since_deep += at - previous
            self._carry_forward(frames[at], at)
            lost = [t for t in self._tracks if t.lost]
            self._tracks = [t for t in self._tracks if not t.lost]
            if lost or not self._tracks or self._since_search >= self._search_step:
                found = self._search(frames[at], at, lost)
                self._tracks += found
                everyone += found
        return self._between(frames, [t for t in everyone if t.anchors])

    def _anchors(self, n: int) -> list[int]:
        """Anchors of a batch: evenly spread, first and last frame included."""
        count = 1 + -(-(n - 1) // self._anchor_step)
        return sorted({round(float(a)) for a in np.linspace(0, n - 1, count)})

    def _carry_forward(self, frame: Images, at: int) -> None:
        if not self._tracks:
            return
        poses = self._estimate([frame] * len(self._tracks), np.stack([t.region for t in self._tracks]))
        usable = self._usable(poses, frame, self.settings.sharpness / 2)
        kept: list[_Track] = []
        for k, track in enumerate(self._tracks):
            # Tracks stand in order of age: of two on the same person the older one stays.
            track.lost = not usable[k] or any(
                similarity(poses.keypoints[k], t.keypoints, t.region, self.skeleton) > self._same for t in kept
            )
            if not track.lost:
                track.record(at, poses.regions[k], poses.keypoints[k])
                kept.append(track)

    def _search(self, frame: Images, at: int, lost: list[_Track]) -> list[_Track]:
        """Newcomers in the whole frame, and those just lost near where they were."""
        height, width = frame.shape[:2]
        levels = self.settings.tile_levels
        # The finest tiles cost more than all others together: they wait for every second search.
        deep = self._since_deep >= 2 * self._search_step
        self._since_search, self._since_deep = 0, 0 if deep else self._since_deep
        windows = rg.search_windows(width, height, levels if deep else max(levels - 1, 0))
        nearby = [[*t.region[:2], t.region[2] * _LOST_MARGIN, 0.0] for t in lost]
        found = self._newcomers(frame, at, np.concatenate([windows, np.reshape(nearby, (-1, 4))]))
        if deep and not found and not self._tracks:
            finer = rg.search_windows(width, height, levels + 1)[len(windows) :]
            found = self._newcomers(frame, at, finer)
        return found

    def _newcomers(self, frame: Images, at: int, windows: Floats) -> list[_Track]:
        """Tracks for the people in the windows who have none yet, as many as there are free slots."""
        free = [s for s in range(self.settings.max_people) if s not in {t.slot for t in self._tracks}]
        if not free:
            return []
        regions = self._find(frame, windows)
        known = [t.region for t in self._tracks]
        candidates: list[Floats] = []
        for region in regions:
            others = np.array(known + candidates).reshape(-1, 4)
            if region[2] >= _MIN_SIZE and not (region_overlap(region, others) > _SAME_REGION).any():
                candidates.append(region)
        if not candidates:
            return []
        poses = self._estimate([frame] * len(candidates), np.stack(candidates))
        usable = self._usable(poses, frame, self.settings.sharpness)
        found: list[_Track] = []
        for k in np.argsort(-poses.score * poses.sharpness, kind="stable"):
            same = any(
                similarity(poses.keypoints[k], t.keypoints, t.region, self.skeleton) > self._same
                for t in self._tracks + found
            )
            # Phantoms mostly sit on somebody: on a pair of shorts, in the crook of an arm.
            on_somebody = any(_covers(t.region, poses.regions[k]) for t in self._tracks + found)
            needed = self.settings.sharpness * (_ON_SOMEBODY if on_somebody else 1.0)
            if usable[k] and not same and poses.sharpness[k] >= needed:
                track = _Track(-1, poses.regions[k], poses.keypoints[k])
                track.record(at, poses.regions[k], poses.keypoints[k])
                found.append(track)
        chosen = sorted(found, key=lambda t: -t.region[2])[: len(free)]
        for slot, track in zip(free, chosen, strict=False):
            track.slot = slot
        return chosen

    def _between(self, frames: Images, tracks: list[_Track]) -> People:
        """All frames of the batch with regions interpolated between the anchors."""
        n, people, joints = len(frames), self.settings.max_people, len(self.skeleton.joints)
        keypoints = np.full((n, people, joints, 2), np.nan)
        confidence, uncertainty = np.zeros((n, people, joints)), np.full((n, people, joints), np.nan)
        reach = self._anchor_step - 1
        for track in tracks:
            at = np.arange(max(0, track.anchors[0] - reach), min(n, track.anchors[-1] + reach + 1))
            regions = rg.interpolate(at, np.array(track.anchors), np.stack(track.regions))
            poses = self._estimate([frames[t] for t in at], regions)
            usable = self._usable(poses, frames[0], self.settings.sharpness / 2)
            size = regions[usable, 2]
            shown, mine = at[usable], poses.keypoints[usable]
            # Where an older track already has this pose in a slot, it is the same person.
            others = keypoints[shown].swapaxes(0, 1)
            alike = [similarity(mine, other, np.column_stack([mine[:, 0], size, size]), self.skeleton)
                     for other in others]  # fmt: skip
            own = (np.array(alike) <= self._same).all(0) & np.isnan(keypoints[shown, track.slot, 0, 0])
            keypoints[shown[own], track.slot] = mine[own]
            confidence[shown[own], track.slot] = poses.confidence[usable][own]
            uncertainty[shown[own], track.slot] = poses.uncertainty[usable][own]
            if len(usable) and usable[-1] and at[-1] == n - 1:
                track.region = poses.regions[-1]
        return People(*(a.astype(np.float32) for a in (keypoints, confidence, uncertainty)))

    @property
    def _same(self) -> float:
        return self.settings.duplicate_similarity

    def _estimate(self, images: list[Images], regions: Floats) -> Poses:
        """Landmarks of regions [m, 4], each in its own image."""
        parts = []
        for first in range(0, len(images), _NETWORK_BATCH):
            some = slice(first, first + _NETWORK_BATCH)
            crops = np.stack(
                [rg.crop(i, r, self.network.crop_size) for i, r in zip(images[some], regions[some], strict=True)]
            )
            parts.append(self.network.estimate(crops, regions[some]))
        return Poses(*(np.concatenate([getattr(p, name) for p in parts]) for name in Poses.__dataclass_fields__))

    def _find(self, frame: Images, windows: Floats) -> Floats:
        """Regions of people in the windows, best first."""
        parts = [windows[k : k + _NETWORK_BATCH] for k in range(0, len(windows), _NETWORK_BATCH)]
        found = [self.network.find(frame, part, self.settings.person_score) for part in parts]
        scores = np.concatenate([f[1] for f in found])
        return np.concatenate([f[0] for f in found])[np.argsort(-scores, kind="stable")]

    def _usable(self, poses: Poses, frame: Images, sharpness: float) -> NDArray[np.bool_]:
        """Poses that are a person and whose region the next frame can be looked at with."""
        height, width = frame.shape[:2]
        x, y, size, _ = poses.regions.T
        inside = (x > -size / 2) & (x < width + size / 2) & (y > -size / 2) & (y < height + size / 2)
        sound = np.isfinite(poses.regions).all(-1) & (size >= _MIN_SIZE) & (size <= 4 * max(height, width))
        return inside & sound & (poses.score >= self.settings.pose_score) & (poses.sharpness >= sharpness)


def _covers(region: Floats, other: Floats) -> bool:
    """Whether the centre of `other` lies within the region, taken as an upright square."""
    return bool(np.abs(other[:2] - region[:2]).max() < region[2] / 2)
