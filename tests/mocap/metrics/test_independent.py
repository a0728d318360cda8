"""Our figures against other people's programs: pycocotools, py-motmetrics, SciPy's bootstrap and optimiser."""

import contextlib
import io

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation
from scipy.stats import bootstrap

from calibration.camera import CameraRig
from mocap.metrics import (
    average_precision,
    bootstrap_interval,
    foot_slide,
    identity_score,
    n_mpjpe,
    oks,
    rig_error,
)
from mocap.metrics.keypoints2d import COCO_SIGMAS
from mocap.synthetic import ring_rig


def coco_scene(seed):
    """Images with 0-3 people and detections of all qualities: truth [n, 17, 2], area, visible; detections, scores."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(12):
        n, m = rng.integers(0, 4), rng.integers(0, 7)
        truth = rng.uniform(0, 400, (n, 1, 2)) + rng.uniform(-60, 60, (n, 17, 2))
        visible = rng.random((n, 17)) < 0.8
        visible[:, 0] = True
        area = rng.uniform(2000, 20000, n)
        found = rng.uniform(0, 400, (m, 1, 2)) + rng.uniform(-60, 60, (m, 17, 2))
        for d in range(m):
            if n and rng.random() < 0.8:
                found[d] = truth[rng.integers(n)] + rng.normal(0, rng.uniform(0.5, 15), (17, 2))
        images.append((truth, area, visible, found, np.round(rng.random(m), 2)))
    return images


def coco_api(images):
    """AP, AP50, AP75 and AR as COCOeval prints them."""
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    truths, found = [], []
    for i, (truth, area, visible, detections, scores) in enumerate(images):
        for X, a, v in zip(truth, area, visible, strict=True):
            keypoints = np.c_[np.where(v[:, None], X, 0), np.where(v, 2, 0)].ravel().tolist()
            truths.append({"id": len(truths) + 1, "image_id": i, "category_id": 1, "keypoints": keypoints, "iscrowd": 0,
                           "num_keypoints": int(v.sum()), "area": float(a), "bbox": [0, 0, 1, 1]})  # fmt: skip
        for X, s in zip(detections, scores, strict=True):
            found.append({"image_id": i, "category_id": 1, "keypoints": np.c_[X, np.ones(17)].ravel().tolist(),
                          "score": float(s)})  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        data = coco.COCO()
        data.dataset = {"images": [{"id": i} for i in range(len(images))], "annotations": truths,
                        "categories": [{"id": 1, "name": "person", "keypoints": [""] * 17}]}  # fmt: skip
        data.createIndex()
        evaluation = COCOeval(data, data.loadRes(found), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    s = evaluation.stats
    return s[0], s[1], s[2], s[5]


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_that_of_the_coco_api(seed):
    images = coco_scene(seed)
    similarity = []
    for truth, area, visible, found, _ in images:
        known = np.where(visible[..., None], truth, np.nan)
        similarity.append(oks(found[:, None], known[None], area[None], COCO_SIGMAS))
    ours = average_precision(similarity, [image[4] for image in images])
    assert 0.05 < ours.ap < 0.95
    assert (ours.ap, ours.ap50, ours.ap75, ours.ar) == pytest.approx(coco_api(images), abs=1e-9)


def tracking(seed, people=4, tracks=5, frames=60):
    """People on a line in random walks, tracks that follow them, change hands and invent: distances, presence."""
    rng = np.random.default_rng(seed)
    truth = np.cumsum(rng.normal(0, 0.15, (frames, people)), 0) + np.arange(people)
    there = rng.random((frames, people)) < 0.9
    who = np.argsort(rng.random((frames // 12, tracks)), 1).repeat(12, 0)
    place = np.where(who < people, np.take_along_axis(truth, np.minimum(who, people - 1), 1), 99.0)
    place = place + rng.normal(0, 0.15, place.shape)
    return np.abs(truth[:, :, None] - place[:, None]), there, rng.random((frames, tracks)) < 0.85


@pytest.mark.parametrize("seed", range(5))
def test_identities_are_those_of_py_motmetrics(seed):
    mm = pytest.importorskip("motmetrics")
    distance, there, seen = tracking(seed)
    accumulator = mm.MOTAccumulator(auto_id=True)
    for d, a, p in zip(distance, there, seen, strict=True):
        some = d[np.ix_(a, p)]
        accumulator.update(np.flatnonzero(a), np.flatnonzero(p), np.where(some < 0.5, some, np.nan))
    names = ["mota", "motp", "idf1", "idp", "idr", "num_misses", "num_false_positives", "num_switches"]
    theirs = mm.metrics.create().compute(accumulator, metrics=names).iloc[0]
    ours = identity_score(distance, there, seen)
    assert ours.switches > 3
    assert ours.misses + ours.switches + ours.false_positives > 50
    for name in ("mota", "motp", "idf1", "idp", "idr"):
        assert getattr(ours, name) == pytest.approx(theirs[name], abs=1e-12), name
    for name in ("misses", "false_positives", "switches"):
        assert getattr(ours, name) == theirs[f"num_{name}"], name


def test_bootstrap_is_that_of_scipy():
    """The same percentile interval, up to the draws' own spread."""
    rng = np.random.default_rng(1)
    x = rng.gamma(2.0, 1.0, 80)
    theirs = bootstrap((x,), np.mean, method="percentile", n_resamples=20000, rng=rng).confidence_interval
    ours = bootstrap_interval(x, np.ones(80), draws=20000)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.02 * x.std())
    # Frames with several people: the mean is over samples, not over frames.
    counts = rng.integers(0, 5, 300)
    totals = np.array([rng.exponential(1.0, n).sum() for n in counts])
    low, high = bootstrap_interval(totals, counts)
    assert low < totals.sum() / counts.sum() < high
    spread = np.sqrt(((totals - counts * totals.sum() / counts.sum()) ** 2).sum()) / counts.sum()
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.05)


def test_calibration_error_against_an_optimiser():
    """The gauge that the closed form takes off is the one that least squares over rotation and shift finds."""
    rng = np.random.default_rng(2)
    truth = ring_rig(6, seed=4)
    turn, shift = Rotation.random(random_state=3), np.array([2.0, -1, 0.5])
    cameras = []
    for c in truth.cameras:
        R = Rotation.from_rotvec(0.02 * rng.normal(size=3)).as_matrix() @ c.R @ turn.as_matrix().T
        centre = turn.apply(c.centre) + shift + 0.03 * rng.normal(size=3)
        cameras.append(type(c)(c.name, c.size, c.K, c.distortion, R, -R @ centre))
    estimate = CameraRig(tuple(cameras))
    found = rig_error(estimate, truth)

    def chords(p):
        G = Rotation.from_rotvec(p).as_matrix()
        return np.concatenate([(e.R @ G - t.R).ravel() for e, t in zip(cameras, truth.cameras, strict=True)])

    G = Rotation.from_rotvec(least_squares(chords, turn.as_rotvec(), xtol=1e-15, ftol=1e-15).x)
    angles = [(Rotation.from_matrix(e.R @ G.as_matrix() @ t.R.T)).magnitude()
              for e, t in zip(cameras, truth.cameras, strict=True)]  # fmt: skip
    np.testing.assert_allclose(found.rotation, angles, atol=1e-7)
    C = np.array([G.inv().apply(e.centre) for e in cameras])
    D = C - truth.centres
    np.testing.assert_allclose(found.centre, np.linalg.norm(D - D.mean(0), axis=-1), atol=1e-6)


def test_best_scale_against_an_optimiser():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 1, 9, 3))
    a, b = x[0] - x[0, 2], y[0] - y[0, 2]
    scale = least_squares(lambda s: (s * a - b).ravel(), [1.0]).x[0]
    assert n_mpjpe(x, y, root=2) == pytest.approx(np.linalg.norm(scale * a - b, axis=-1).mean(), rel=1e-7)


def test_foot_slide_against_a_loop():
    """Frame by frame as the definition reads."""
    rng = np.random.default_rng(4)
    feet = np.cumsum(rng.normal(0, 0.01, (200, 2, 3)), 0)
    frames = np.concatenate([np.arange(120), np.arange(500, 580)])
    low = np.percentile(feet[..., 2], 5, axis=0)
    slides = []
    for t in range(1, 200):
        for f in range(2):
            height = max(feet[t, f, 2], feet[t - 1, f, 2]) - low[f]
            if frames[t] - frames[t - 1] == 1 and height < 0.05:
                step = np.hypot(*(feet[t, f, :2] - feet[t - 1, f, :2]))
                slides.append(step * (2 - 2 ** (max(height, 0) / 0.05)))
    assert foot_slide(feet, frames) == pytest.approx(np.mean(slides), rel=1e-12)
