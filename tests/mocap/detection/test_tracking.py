"""Tracking of several people with a stand-in network that knows where everybody is."""

import numpy as np
import pytest

from mocap.detection import regions as rg
from mocap.detection.poses import Poses
from mocap.detection.settings import DetectionSettings
from mocap.detection.similarity import region_overlap, similarity
from mocap.detection.tracking import RegionTracker
from mocap.skeleton import BLAZEPOSE_33

J = len(BLAZEPOSE_33.joints)
BODY = np.random.default_rng(3).uniform(-0.3, 0.3, (J, 2))
SIZE = 200.0
WIDTH, HEIGHT = 1600, 900


class Stage:
    """People on known paths; frame t is an image of the value t, so that a crop tells its time."""

    skeleton = BLAZEPOSE_33
    crop_size = 256

    def __init__(self, *paths):
        self.paths = paths  # functions of t: (x, y) or None
        self.crops = self.searches = 0

    def frames(self, start, stop):
        times = np.arange(start, stop, dtype=np.uint8)
        return np.broadcast_to(times[:, None, None, None], (stop - start, HEIGHT, WIDTH, 3)).copy()

    def where(self, t):
        return [p for path in self.paths if (p := path(t)) is not None]

    def find(self, frame, windows, min_score):
        self.searches += 1
        t = int(frame[0, 0, 0])
        found = [
            [*p, SIZE * 1.1, 0.1]
            for w in windows
            for p in self.where(t)
            if abs(p[0] - w[0]) < w[2] / 2 and abs(p[1] - w[1]) < w[2] / 2
        ]
        return np.array(found).reshape(-1, 4), np.full(len(found), 0.9)

    def estimate(self, crops, regions):
        self.crops += len(crops)
        keypoints, score = np.zeros((len(crops), J, 2)), np.zeros(len(crops))
        for k, (image, region) in enumerate(zip(crops, regions, strict=True)):
            people = self.where(int(image[128, 128, 0]))
            near = [p for p in people if np.hypot(p[0] - region[0], p[1] - region[1]) < 0.4 * region[2]]
            if near:
                best = min(near, key=lambda p: np.hypot(p[0] - region[0], p[1] - region[1]))
                keypoints[k], score[k] = np.array(best) + SIZE * BODY, 0.99
        centre = keypoints - SIZE * BODY
        again = np.column_stack([centre[:, 0], np.full(len(crops), SIZE), np.zeros(len(crops))])
        ones = np.ones((len(crops), J))
        return Poses(keypoints, 0.8 * ones, 2 * ones, score, score, again)


def centres(people):
    return (people.keypoints - SIZE * BODY).mean(2)


def run(stage, n=48, batch=16, fps=50.0, **settings):
    tracker = RegionTracker(stage, DetectionSettings(**settings))
    tracker.start(fps)
    parts = [tracker.detect(stage.frames(t, min(t + batch, n))) for t in range(0, n, batch)]
    return np.concatenate([centres(p) for p in parts]), parts


def moving(x, y, vx, vy=0.0, start=0, stop=1000):
    return lambda t: (x + vx * t, y + vy * t) if start <= t < stop else None


def test_people_are_followed_in_their_slots():
    stage = Stage(moving(300, 400, 5), moving(1200, 500, -3, 1))
    at, parts = run(stage)
    for slot in range(2):
        path = np.array([stage.paths[slot](t) for t in range(48)])
        other = np.array([stage.paths[1 - slot](t) for t in range(48)])
        error = min(np.abs(at[:, slot] - p).max() for p in (path, other))
        assert error < 1e-3
    assert np.isnan(at[:, 2:]).all()
    assert (parts[0].confidence[:, 2:] == 0).all()
    assert np.isnan(parts[0].uncertainty[:, 2:]).all()


def test_batches_of_any_length_find_everybody():
    stage = Stage(moving(300, 400, 5))
    for batch in (1, 3, 16, 48):
        at, _ = run(stage, batch=batch)
        assert np.isfinite(at[:, 0]).all()


def test_a_newcomer_is_seen_by_the_next_search_and_a_leaver_ends():
    stage = Stage(moving(300, 400, 0), moving(1200, 400, 0, start=20, stop=40))
    at, _ = run(stage, n=64, fps=50.0, search_interval_s=0.2)
    seen = np.flatnonzero(np.isfinite(at[:, 1, 0]))
    assert seen.min() >= 20
    assert seen.min() <= 30
    assert seen.max() == 39
    assert np.isfinite(at[:, 0]).all()


def test_somebody_who_returns_gets_a_slot_again():
    path = moving(300, 400, 0)
    stage = Stage(lambda t: path(t) if t < 15 or t >= 30 else None)
    at, _ = run(stage, n=48)
    assert np.isfinite(at[:15, 0]).all()
    assert np.isnan(at[15:30]).all()
    assert np.isfinite(at[36:, 0]).all()


def test_one_person_never_fills_two_slots():
    # Two people walk into each other and one of them is gone afterwards.
    stage = Stage(moving(400, 400, 8), moving(1000, 400, -8, stop=36))
    at, _ = run(stage, n=64)
    for t in range(64):
        shown = at[t][np.isfinite(at[t, :, 0])]
        for i in range(len(shown)):
            for j in range(i):
                assert np.linalg.norm(shown[i] - shown[j]) > 1.0
    assert np.isfinite(at[50:, :, 0]).sum(1).tolist() == [1] * 14


def test_no_more_people_than_allowed():
    stage = Stage(*(moving(200 + 300 * k, 400, 0) for k in range(5)))
    at, _ = run(stage, max_people=3)
    assert at.shape[1] == 3
    assert np.isfinite(at).all()


def test_nobody():
    stage = Stage()
    at, parts = run(stage)
    assert np.isnan(at).all()
    assert all((p.confidence == 0).all() for p in parts)


def test_the_network_runs_little_more_than_once_per_person_and_frame():
    stage = Stage(moving(300, 400, 2))
    run(stage, n=64, fps=50.0, tile_levels=1)
    assert stage.crops < 64 * 1.6
    assert stage.searches <= 1 + 64 / 25  # batches of windows


def test_when_nobody_is_in_sight_finer_tiles_are_searched():
    class Far(Stage):
        def find(self, frame, windows, min_score):
            return super().find(frame, windows[windows[:, 2] < 500], min_score)

    for level, seen in ((0, False), (1, True), (2, True)):
        at, _ = run(Far(moving(300, 400, 0)), n=16, tile_levels=level)
        assert np.isfinite(at[:, 0]).all() == seen


def test_of_people_who_appear_together_the_largest_come_first():
    class Sizes(Stage):
        def estimate(self, crops, regions):
            poses = super().estimate(crops, regions)
            poses.regions[:, 2] *= np.where(poses.regions[:, 0] > 800, 1.5, 1.0)
            return poses

    at, _ = run(Sizes(moving(300, 400, 0), moving(1200, 400, 0)), n=16)
    assert at[0, 0, 0] == pytest.approx(1200)
    alone, _ = run(Sizes(moving(300, 400, 0), moving(1200, 400, 0)), n=16, max_people=1)
    assert np.allclose(alone[:, 0, 0], 1200)


def test_start_forgets_everybody():
    stage = Stage(moving(300, 400, 0))
    tracker = RegionTracker(stage, DetectionSettings(tile_levels=1))
    tracker.start(50.0)
    first = tracker.detect(stage.frames(0, 8)).keypoints
    tracker.start(50.0)
    assert np.array_equal(tracker.detect(stage.frames(0, 8)).keypoints, first, equal_nan=True)
    assert stage.searches == 2


def test_similarity_is_one_on_itself_even_mirrored_and_falls_with_distance():
    pose = 300 + SIZE * BODY
    region = np.array([300.0, 300, SIZE, 0])
    assert similarity(pose, pose, region, BLAZEPOSE_33) == pytest.approx(1.0)
    assert similarity(pose, pose[BLAZEPOSE_33.mirror], region, BLAZEPOSE_33) == pytest.approx(1.0)
    values = [float(similarity(pose, pose + d, region, BLAZEPOSE_33)) for d in (0, 5, 10, 20, 100)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 1e-3
    assert similarity(pose, np.full_like(pose, np.nan), region, BLAZEPOSE_33) == 0


def test_overlap_of_regions():
    region = np.array([100.0, 100, 40, 0.3])
    others = np.array([[100.0, 100, 40, 0], [120.0, 100, 40, 0], [300.0, 100, 40, 0]])
    assert region_overlap(region, others) == pytest.approx([1, 1 / 3, 0])
    assert len(region_overlap(region, np.zeros((0, 4)))) == 0


def test_regions_are_kept_in_the_crop_geometry():
    # The stand-in relies on crop centres; make sure a crop of a frame of one value has that value.
    assert (rg.crop(Stage().frames(7, 8)[0], np.array([50.0, 50, 900, 0.4]), 256) == 7).all()
