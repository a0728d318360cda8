"""Heads completed from what is left of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mocap.lifting.fallback import lift_missing
from mocap.lifting.head import complete_heads
from mocap.lifting.settings import LiftingSettings
from mocap.lifting.torso_frame import torso_frames
from mocap.skeleton import COCO_17, H36M_17
from mocap.synthetic import PERFECT, observe, procedural_motion, ring_rig, truth_positions
from mocap.triangulation import triangulate
from mocap.types import Matches, Source

EARS = [COCO_17.index("l_ear"), COCO_17.index("r_ear")]
FACE = [COCO_17.index(j) for j in ("nose", "l_eye", "r_eye", "l_ear", "r_ear")]
GAP = slice(60, 110)


@pytest.fixture(scope="module")
def scene():
    """Truth, rig and matches of one person whom four cameras see, 2 px off."""
    rig = ring_rig(4, radius=4.5, focal=800.0, seed=1)
    truth = truth_positions(procedural_motion(160, 50.0, 4), COCO_17)
    seen = observe(truth, rig, replace(PERFECT, sigma_px=2.0), 4, joint_names=COCO_17.joints, fps=50.0)
    shape = seen.confidence.shape
    matches = Matches(
        keypoints=seen.keypoints, confidence=seen.confidence, uncertainty=seen.uncertainty,
        observation=np.zeros(shape), slot=np.zeros(shape[:3]), score=np.zeros(shape[:3]),
        runner_up=np.full(shape[:3], np.nan), person_ids=np.arange(1), frames=seen.frames,
        cameras=seen.cameras, joint_names=seen.joint_names, fps=seen.fps,
    )  # fmt: skip
    return truth, rig, matches


def without(matches, joints, rows, views):
    gone = np.zeros(matches.confidence.shape, bool)
    gone[np.ix_(views, np.arange(rows.start, rows.stop), [0], joints)] = True
    keypoints = np.where(gone[..., None], np.nan, matches.keypoints)
    return replace(matches, keypoints=keypoints, confidence=np.where(gone, 0, matches.confidence))


def error_mm(result, truth, rows, joints):
    return 1000 * np.linalg.norm(result.positions[rows, 0][:, joints] - truth[rows, 0][:, joints], axis=-1)


@pytest.mark.parametrize(("views", "limit"), [([0, 1, 2], 20), ([0, 1, 2, 3], 25)])
def test_an_ear_follows_from_the_face(scene, views, limit):
    """One view, or none, sees the left ear for a second; eyes, nose and the other ear are there."""
    truth, rig, matches = scene
    matches = without(matches, EARS[:1], GAP, views)
    before = triangulate(matches, rig)
    after = lift_missing(before, matches, rig)
    assert (before.source[GAP, 0, EARS[0]] == Source.MISSING).all()
    assert (after.source[GAP, 0, EARS[0]] == Source.LIFTED).all()
    assert error_mm(after, truth, GAP, EARS[:1]).mean() < limit


def test_a_head_that_one_view_sees(scene):
    truth, rig, matches = scene
    matches = without(matches, FACE, GAP, [1, 2, 3])
    after = lift_missing(triangulate(matches, rig), matches, rig)
    assert (after.source[GAP, 0][:, FACE] == Source.LIFTED).all()
    assert error_mm(after, truth, GAP, FACE).mean() < 40


def test_the_covariance_covers_the_error_and_says_something(scene):
    truth, rig, matches = scene
    matches = without(matches, FACE, GAP, [1, 2, 3])
    after = lift_missing(triangulate(matches, rig), matches, rig)
    e = (after.positions[GAP, 0][:, FACE] - truth[GAP, 0][:, FACE]).astype(float)
    C = after.covariance[GAP, 0][:, FACE].astype(float)
    square = np.einsum("tki,tkij,tkj->tk", e, np.linalg.inv(C), e)
    assert np.mean(square < 7.81) > 0.95  # 95 % of a chi-square of three
    assert np.sqrt(np.trace(C, axis1=-2, axis2=-1) / 3).mean() < 0.08


def test_a_torso_that_is_not_known_leaves_the_head_open(scene):
    _, rig, matches = scene
    shoulders = [COCO_17.index(j) for j in ("l_shoulder", "r_shoulder")]
    matches = without(matches, [*EARS[:1], *shoulders], GAP, [0, 1, 2, 3])
    before = triangulate(matches, rig)
    after = complete_heads(before, matches, rig, COCO_17, LiftingSettings())
    assert (after.source[GAP, 0, EARS[0]] == Source.MISSING).all()


def test_nothing_missing_is_the_same_object(scene):
    _, rig, matches = scene
    before = triangulate(matches, rig)
    assert complete_heads(before, matches, rig, COCO_17, LiftingSettings()) is before


def test_a_skeleton_without_a_face_is_left_alone(scene):
    _, rig, matches = scene
    before = triangulate(without(matches, EARS, GAP, [0, 1, 2, 3]), rig)
    assert complete_heads(before, matches, rig, H36M_17, LiftingSettings()) is before


def test_torso_frame_of_an_upright_person():
    p = np.full((1, 17, 3), np.nan)
    for name, x in {"l_shoulder": (0.2, 0, 1.4), "r_shoulder": (-0.2, 0, 1.4), "l_hip": (0.1, 0, 0.9),
                    "r_hip": (-0.1, 0, 0.9)}.items():  # fmt: skip
        p[0, COCO_17.index(name)] = x
    torso = torso_frames(p, COCO_17)
    np.testing.assert_allclose(torso.R[0], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(torso.origin[0], (0, 0, 1.4))
    # Turned by 90 degrees about z, the frame turns with it.
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(torso_frames(p @ quarter.T, COCO_17).R[0], quarter, atol=1e-12)
