"""The lift stage on a synthetic scene."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest

from mocap.errors import DataError
from mocap.lifting.fallback import lift_missing
from mocap.lifting.settings import LiftingSettings
from mocap.skeleton import BODY_25, H36M_17
from mocap.synthetic import PERFECT, observe, procedural_motion, ring_rig, truth_positions
from mocap.triangulation import triangulate
from mocap.types import Matches, Source

BURST = slice(60, 90)
FIELDS = ("positions", "covariance", "source", "reprojection_error", "consistency", "views_used")


NOTHING_MISSING = """
import sys, numpy as np
from mocap.lifting.fallback import lift_missing
from mocap.lifting.weights import weights_digest
from mocap.skeleton import H36M_17
from mocap.synthetic import ring_rig
from mocap.types import Matches, Trajectories3D
s = (2, 5, 1, 17)
common = dict(person_ids=[0], frames=np.arange(5), joint_names=H36M_17.joints, fps=50)
slots = dict(slot=np.zeros(s[:3]), score=np.zeros(s[:3]), runner_up=np.zeros(s[:3]), cameras=("cam_0", "cam_1"))
points = dict(keypoints=np.zeros((*s, 2)), confidence=np.ones(s), uncertainty=np.ones(s), observation=np.zeros(s))
space = dict(positions=np.zeros((5, 1, 17, 3)), covariance=np.zeros((5, 1, 17, 3, 3)), source=np.ones(s[1:]))
fit = dict(reprojection_error=np.zeros(s[1:]), consistency=np.zeros(s[1:]), views_used=np.full(s[1:], 3))
triangulated = Trajectories3D(**space, **fit, **common)
assert lift_missing(triangulated, Matches(**points, **slots, **common), ring_rig(2)) is triangulated
weights_digest()
assert "torch" not in sys.modules and "open3d" not in sys.modules
"""


def scene(skeleton, frames=None, n=160, seed=4):
    """Truth, rig and matches of one person whom four cameras see."""
    rig = ring_rig(4, radius=4.5, focal=800.0, seed=1)
    truth = truth_positions(procedural_motion(n, 50.0, seed), skeleton)
    noise = replace(PERFECT, sigma_px=2.0)
    seen = observe(truth, rig, noise, seed, joint_names=skeleton.joints, fps=50.0, frames=frames)
    return truth, rig, as_matches(seen)


def as_matches(seen):
    shape = seen.confidence.shape
    return Matches(
        keypoints=seen.keypoints, confidence=seen.confidence, uncertainty=seen.uncertainty,
        observation=np.zeros(shape), slot=np.zeros(shape[:3]), score=np.zeros(shape[:3]),
        runner_up=np.full(shape[:3], np.nan), person_ids=np.arange(shape[2]), frames=seen.frames,
        cameras=seen.cameras, joint_names=seen.joint_names, fps=seen.fps,
    )  # fmt: skip


def without(matches, gone):
    """The matches with observations [V, T, P, J] taken out."""
    keypoints = np.where(gone[..., None], np.nan, matches.keypoints)
    return replace(matches, keypoints=keypoints, confidence=np.where(gone, 0, matches.confidence))


def one_camera(matches, rows, view=0):
    gone = np.zeros(matches.confidence.shape, bool)
    gone[:, rows] = True
    gone[view] = False
    return without(matches, gone)


def mm(trajectories, truth, where):
    return 1000 * np.linalg.norm(trajectories.positions - truth, axis=-1)[where]


@pytest.fixture(scope="module")
def h36m():
    truth, rig, matches = scene(H36M_17)
    matches = one_camera(matches, BURST)
    before = triangulate(matches, rig)
    return truth, rig, matches, before, lift_missing(before, matches, rig)


def test_a_burst_seen_by_one_camera_is_filled(h36m):
    truth, _, _, before, after = h36m
    assert (before.source[BURST] == Source.MISSING).all()
    assert (after.source[BURST] == Source.LIFTED).all()
    error = mm(after, truth, BURST)
    held = 1000 * np.linalg.norm(truth[BURST] - truth[BURST.start - 1], axis=-1)  # the last pose, kept
    assert error.mean() < 0.5 * held.mean()
    assert error.mean() < 80


def test_what_lifted_joints_take_over_from_doubtful_ones_is_in_their_covariance(h36m):
    """A burst between triangulated joints of which less is known is known less, by about what they lack."""
    _, rig, matches, before, after = h36m
    doubt = 0.02**2 * np.eye(3)
    doubtful = replace(before, covariance=(before.covariance + doubt).astype(np.float32))
    other = lift_missing(doubtful, matches, rig)
    lifted = (after.source == Source.LIFTED) & (other.source == Source.LIFTED)
    near = lifted[BURST.start : BURST.start + 3]
    variances = [np.trace(t.covariance, axis1=-2, axis2=-1) / 3 for t in (after, other)]
    more = (variances[1] - variances[0])[BURST.start : BURST.start + 3][near]
    assert (more > 0.2 * 0.02**2).mean() > 0.95


def test_triangulated_joints_keep_their_bytes(h36m):
    _, _, _, before, after = h36m
    kept = after.source != Source.LIFTED
    assert kept[: BURST.start].all()
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(after, name)[kept], getattr(before, name)[kept])


def test_no_pop_at_the_borders(h36m):
    truth, _, _, _, after = h36m
    error = after.positions - truth
    step = 1000 * np.linalg.norm(np.diff(error, axis=0), axis=-1)
    assert step[[BURST.start - 1, BURST.stop - 1]].mean() < 25


def test_covariance_holds_the_error(h36m):
    truth, _, _, _, after = h36m
    d = (after.positions - truth)[BURST].reshape(-1, 3).astype(float)
    C = after.covariance[BURST].reshape(-1, 3, 3).astype(float)
    inside = np.einsum("ni,nij,nj->n", d, np.linalg.inv(C), d) < 7.81
    assert inside.mean() > 0.7
    assert (np.linalg.eigvalsh(C) > 0).all()
    views = after.views_used[BURST]
    assert ((views == 1) | (views == 0)).all()
    assert (views == 1).mean() > 0.8
    assert np.isfinite(after.reprojection_error[BURST][views == 1]).all()


def test_one_arm_seen_by_one_camera():
    truth, rig, matches = scene(H36M_17)
    arm = [H36M_17.index("l_elbow"), H36M_17.index("l_wrist")]
    gone = np.zeros(matches.confidence.shape, bool)
    gone[1:, 40:100, :, arm] = True
    matches = without(matches, gone)
    before = triangulate(matches, rig)
    after = lift_missing(before, matches, rig)
    filled = after.source == Source.LIFTED
    assert filled[40:100, 0][:, arm].all()
    assert filled.sum() == 60 * 2
    # Against the straight line between the last and the next triangulated position.
    share = ((np.arange(40, 100) - 39) / 61)[:, None, None]
    line = before.positions[39, 0, arm] * (1 - share) + before.positions[100, 0, arm] * share
    straight = 1000 * np.linalg.norm(line - truth[40:100, 0][:, arm], axis=-1)
    assert mm(after, truth, filled).mean() < 0.7 * straight.mean()


def test_joints_neither_of_h36m_nor_of_the_head_stay_open():
    truth, rig, matches = scene(BODY_25)
    matches = one_camera(matches, BURST, view=2)
    before = triangulate(matches, rig)
    after = lift_missing(before, matches, rig)
    face = ("nose", "l_eye", "r_eye", "l_ear", "r_ear")
    common = np.array([j in (*H36M_17.joints, *face) for j in BODY_25.joints])
    assert (after.source[BURST][..., common] == Source.LIFTED).all()
    assert (after.source[BURST][..., ~common] == Source.MISSING).all()
    assert mm(after, truth, BURST)[..., common].mean() < 120


def test_a_person_never_triangulated_is_placed_by_a_prior():
    truth, rig, matches = scene(H36M_17, n=40)
    matches = one_camera(matches, slice(None))
    before = triangulate(matches, rig)
    after = lift_missing(before, matches, rig)
    assert (after.source == Source.LIFTED).mean() > 0.9
    error = mm(after, truth, after.source == Source.LIFTED)
    # Scale is a guess: a tenth of the distance is what to expect at worst.
    assert np.median(error) < 600


def test_nothing_reaches_across_a_jump():
    """A stretch beyond a jump gives what it gives alone."""
    frames = np.concatenate([np.arange(80), 5000 + np.arange(80)])
    _, rig, matches = scene(H36M_17, frames=frames)
    matches = one_camera(matches, slice(70, 90))
    before = triangulate(matches, rig)
    after = lift_missing(before, matches, rig)

    def rows(record):
        values = {}
        for field in fields(record):
            value = getattr(record, field.name)
            if isinstance(value, np.ndarray) and field.name != "person_ids":
                axis = 1 if isinstance(record, Matches) and field.name != "frames" else 0
                values[field.name] = np.take(value, np.arange(80, 160), axis)
        return replace(record, **values)

    alone = lift_missing(rows(before), rows(matches), rig)
    again = lift_missing(before, matches, rig)
    np.testing.assert_array_equal(again.positions, after.positions)
    # The two runs know the person's bones from different frames, so they agree closely, not exactly.
    np.testing.assert_allclose(after.positions[80:], alone.positions, atol=0.02)


def test_nobody_in_sight_stays_missing():
    _, rig, matches = scene(H36M_17)
    gone = np.zeros(matches.confidence.shape, bool)
    gone[:, BURST] = True
    matches = without(matches, gone)
    before = triangulate(matches, rig)
    after = lift_missing(before, matches, rig)
    assert (after.source[BURST] == Source.MISSING).all()


def test_switched_off_and_nothing_to_do(h36m):
    _, rig, matches, before, _ = h36m
    assert lift_missing(before, matches, rig, LiftingSettings(enabled=False)) is before


def test_nothing_missing_needs_no_torch():
    subprocess.run([sys.executable, "-c", NOTHING_MISSING], check=True)


def test_records_that_do_not_belong_together(h36m):
    _, rig, matches, before, _ = h36m
    with pytest.raises(DataError, match="belong together"):
        lift_missing(before, replace(matches, frames=matches.frames + 1), rig)


def test_people_do_not_mix():
    """Only the one person whom a single camera sees is lifted."""
    rig = ring_rig(4, radius=5.0, focal=700.0, seed=2)
    truth = truth_positions(procedural_motion(110, 50.0, 9, n_people=2), H36M_17)
    # Slots carry no identity: each person is seen alone and keeps its place.
    noise = replace(PERFECT, sigma_px=1.0)
    people = [observe(truth[:, [p]], rig, noise, 9, joint_names=H36M_17.joints, fps=50.0) for p in range(2)]
    keypoints, confidence, uncertainty = (
        np.concatenate([getattr(p, name) for p in people], 2) for name in ("keypoints", "confidence", "uncertainty")
    )
    matches = as_matches(replace(people[0], keypoints=keypoints, confidence=confidence, uncertainty=uncertainty))
    gone = np.zeros(matches.confidence.shape, bool)
    gone[1:, 40:60, 1] = True
    matches = without(matches, gone)
    before = triangulate(matches, rig)
    after = lift_missing(before, matches, rig)
    lifted = after.source == Source.LIFTED
    assert not lifted[:, 0].any()
    assert lifted[40:60, 1].mean() > 0.9
    assert mm(after, truth, lifted).mean() < 80
