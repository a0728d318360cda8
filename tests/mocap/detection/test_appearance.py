"""Colours of clothes: exact on painted figures, nothing where a part is not seen, and told apart over time."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from calibration.synchronisation import TimeModel
from mocap.detection.appearance import COLOURS, describe_people
from mocap.detection.merge import free_running, merge_cameras, merge_chunks
from mocap.interchange import read_keypoints, write_keypoints
from mocap.resampling import to_common_time
from mocap.skeleton import BODY_25, COCO_17, H36M_17
from mocap.synthetic.crowd import CrowdKind, make_crowd

SHIRT, TROUSERS = (40, 60, 200), (180, 90, 20)  # BGR
PLACES = {
    "l_shoulder": (120.0, 60.0), "r_shoulder": (80.0, 60.0), "l_hip": (115.0, 130.0), "r_hip": (85.0, 130.0),
    "l_knee": (118.0, 190.0), "r_knee": (82.0, 190.0),
}  # fmt: skip


def lab(bgr: tuple[int, int, int]) -> np.ndarray:
    return cv2.cvtColor(np.array([[bgr]], np.float32) / 255, cv2.COLOR_BGR2Lab)[0, 0]


def painted(skeleton=COCO_17):
    """A person in a shirt and trousers before a grey wall: frames [1, H, W, 3], keypoints, confidence."""
    frame = np.full((240, 200, 3), 128, np.uint8)
    for colour, names in ((SHIRT, ("l_shoulder", "r_shoulder", "r_hip", "l_hip")),
                          (TROUSERS, ("l_hip", "r_hip", "r_knee", "l_knee"))):  # fmt: skip
        cv2.fillConvexPoly(frame, np.array([PLACES[n] for n in names], np.int32), colour)
    keypoints = np.full((1, 1, len(skeleton.joints), 2), np.nan, np.float32)
    for name, place in PLACES.items():
        keypoints[0, 0, skeleton.index(name)] = place
    return frame[None], keypoints, np.where(np.isfinite(keypoints).all(-1), 0.9, 0).astype(np.float32)


@pytest.mark.parametrize("skeleton", [COCO_17, BODY_25, H36M_17], ids=lambda s: s.name)
def test_colours_of_shirt_and_trousers(skeleton):
    look = describe_people(*painted(skeleton), skeleton)[0, 0]
    np.testing.assert_allclose(look[:3], lab(SHIRT), atol=0.1)
    np.testing.assert_allclose(look[3:], lab(TROUSERS), atol=0.1)


def test_parts_not_seen_or_outside_are_unknown():
    frames, keypoints, confidence = painted()
    confidence[..., COCO_17.index("l_knee")] = 0.1
    look = describe_people(frames, keypoints, confidence, COCO_17)[0, 0]
    assert np.isfinite(look[:3]).all()
    assert np.isnan(look[3:]).all()
    look = describe_people(frames, keypoints + 500, np.ones_like(confidence), COCO_17)
    assert np.isnan(look).all()
    assert describe_people(frames, keypoints[:, :0], confidence[:, :0], COCO_17).shape == (1, 0, COLOURS)


def test_appearance_travels_with_the_slots(tmp_path):
    """Through files, merging of chunks and cameras, and resampling."""
    k = make_crowd(2, 3, CrowdKind.APART, frames=12, seed=0).observation.keypoints
    rng = np.random.default_rng(0)
    k = replace(k, appearance=rng.normal(size=(*k.confidence.shape[:3], 4)))
    write_keypoints(k, tmp_path / "k.npz")
    np.testing.assert_array_equal(read_keypoints(tmp_path / "k.npz").appearance, k.appearance)

    def part(views: slice, rows: slice):
        arrays = ("keypoints", "confidence", "uncertainty", "appearance")
        return replace(k, **{n: getattr(k, n)[views, rows] for n in arrays}, frames=k.frames[rows],
                       cameras=k.cameras[views])  # fmt: skip

    every = slice(None)
    chunks = merge_chunks([part(every, slice(0, 5)), part(every, slice(5, 12))])
    np.testing.assert_array_equal(chunks.appearance, k.appearance)
    views = [part(slice(v, v + 1), every) for v in range(3)]
    np.testing.assert_array_equal(merge_cameras(views).appearance, k.appearance)
    np.testing.assert_array_equal(merge_cameras(free_running(views, k.fps)).appearance, k.appearance)
    undescribed = replace(views[0], appearance=views[0].appearance[..., :0])
    assert merge_cameras([undescribed, *views[1:]]).appearance.shape[3] == 0

    zero = np.zeros(3)
    moved = to_common_time(k, TimeModel(k.cameras, np.array([0.0, 3 / k.fps, 0.0]), zero, zero, "test"))
    np.testing.assert_array_equal(moved.appearance[0], k.appearance[0])
    here, there = slice(0, 9), slice(3, 12)
    if not np.array_equal(moved.keypoints[1, here], k.keypoints[1, there], equal_nan=True):
        here, there = there, here
        np.testing.assert_array_equal(moved.keypoints[1, here], k.keypoints[1, there])
    np.testing.assert_array_equal(moved.appearance[1, here], k.appearance[1, there])
