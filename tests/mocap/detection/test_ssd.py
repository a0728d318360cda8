"""The person finder's anchors, decoding and suppression."""

import numpy as np
import pytest

from mocap.detection import ssd


def test_anchors_are_cell_centres():
    anchors = ssd.anchors()
    assert anchors.shape == (2254, 2)
    # 28 x 28 cells with two anchors, 14 x 14 with two, 7 x 7 with three layers of two.
    assert np.allclose(anchors[:2], 0.5 / 28)
    assert np.allclose(anchors[2], (1.5 / 28, 0.5 / 28))
    assert np.allclose(anchors[1568], 0.5 / 14)
    assert np.allclose(anchors[1960:1966], 0.5 / 7)
    assert np.allclose(anchors.mean(0), 0.5)


def test_decoding_inverts_encoding():
    rng = np.random.default_rng(1)
    anchors = ssd.anchors()
    centre, size = rng.uniform(0, 1, (1, 2254, 2)), rng.uniform(0.05, 0.5, (1, 2254, 2))
    keypoints = rng.uniform(0, 1, (1, 2254, 4, 2))
    raw = np.concatenate([(centre - anchors)[:, :, None], size[:, :, None], keypoints - anchors[:, None]], 2) * 224
    logits = rng.normal(0, 3, (1, 2254, 1))
    points, scores = ssd.decode(raw.reshape(1, 2254, 12), logits, anchors)
    assert np.allclose(points[:, :, 0], centre - size / 2)
    assert np.allclose(points[:, :, 1], centre + size / 2)
    assert np.allclose(points[:, :, 2:], keypoints)
    assert np.allclose(np.log(scores / (1 - scores)), logits[..., 0])


def test_extreme_logits_do_not_overflow():
    with np.errstate(over="raise"):
        _, scores = ssd.decode(np.zeros((1, 2254, 12)), np.tile([[[-1e4], [1e4]]], (1, 1127, 1)), ssd.anchors())
    assert scores.min() < 1e-40
    assert scores.max() == 1.0


def boxes(*corners):
    low, high = np.array([c[:2] for c in corners]), np.array([c[2:] for c in corners])
    return np.concatenate([low[:, None], high[:, None], np.repeat(((low + high) / 2)[:, None], 4, 1)], axis=1)


def test_overlap_of_boxes():
    a = boxes((0.0, 0.0, 2.0, 2.0), (1.0, 0.0, 3.0, 2.0), (5.0, 5.0, 6.0, 6.0), (1.0, 1.0, 1.0, 1.0))
    assert ssd.box_overlap(a[0, :2], a[:, :2]) == pytest.approx([1.0, 1 / 3, 0.0, 0.0])


def test_blending_weighs_by_score_and_keeps_others_apart():
    points = boxes((0.0, 0.0, 1.0, 1.0), (0.1, 0.0, 1.1, 1.0), (3.0, 3.0, 4.0, 4.0))
    blended, scores = ssd.blend(points, np.array([0.6, 0.3, 0.9]), 0.3)
    assert scores.tolist() == [0.9, 0.6]
    assert np.allclose(blended[0], points[2])
    assert np.allclose(blended[1], points[0] * 2 / 3 + points[1] / 3)


def test_blending_nothing():
    blended, scores = ssd.blend(np.zeros((0, 6, 2)), np.zeros(0), 0.3)
    assert blended.shape == (0, 6, 2)
    assert len(scores) == 0
