"""Merging chunks in time and cameras side by side."""

import dataclasses

import numpy as np
import pytest

from mocap.detection.merge import merge_cameras, merge_chunks
from mocap.errors import DataError
from mocap.types import Keypoints2D


def part(camera="a", start=0, frames=4, people=2, seed=0, fps=50.0):
    rng = np.random.default_rng(seed)
    return Keypoints2D(
        keypoints=rng.uniform(0, 100, (1, frames, people, 3, 2)),
        confidence=rng.uniform(0.1, 1, (1, frames, people, 3)),
        uncertainty=rng.uniform(1, 5, (1, frames, people, 3)),
        frames=np.arange(start, start + frames),
        cameras=(camera,),
        joint_names=("x", "y", "z"),
        fps=fps,
    )


def test_chunks_follow_each_other_with_slots_padded():
    a, b = part(people=1), part(start=4, frames=3, people=3, seed=1)
    merged = merge_chunks([a, b])
    assert merged.keypoints.shape == (1, 7, 3, 3, 2)
    assert merged.frames.tolist() == list(range(7))
    assert (merged.keypoints[:, :4, :1] == a.keypoints).all()
    assert (merged.uncertainty[:, 4:] == b.uncertainty).all()
    assert np.isnan(merged.keypoints[:, :4, 1:]).all()
    assert np.isnan(merged.uncertainty[:, :4, 1:]).all()
    assert (merged.confidence[:, :4, 1:] == 0).all()


def test_cameras_stack():
    a, b = part("a", people=2), part("b", people=1, seed=1)
    merged = merge_cameras([a, b])
    assert merged.cameras == ("a", "b")
    assert merged.keypoints.shape == (2, 4, 2, 3, 2)
    assert (merged.confidence[0] == a.confidence[0]).all()
    assert (merged.keypoints[1, :, :1] == b.keypoints[0]).all()


def test_merging_one_part_changes_nothing():
    for merged in (merge_chunks([part()]), merge_cameras([part()])):
        for field in dataclasses.fields(Keypoints2D):
            assert np.array_equal(getattr(merged, field.name), getattr(part(), field.name))


@pytest.mark.parametrize("merge", [merge_chunks, merge_cameras])
def test_nothing_to_merge(merge):
    with pytest.raises(DataError, match="no detections"):
        merge([])


@pytest.mark.parametrize(
    "other",
    [part("b", start=4), part(start=4, fps=25.0), part(start=2), dataclasses.replace(part(start=4), joint_names="xyw")],
    ids=["camera", "fps", "overlap", "joints"],
)
def test_chunks_that_do_not_fit(other):
    with pytest.raises(DataError):
        merge_chunks([part(), other])


@pytest.mark.parametrize(
    ("other", "says"),
    [(part("b", frames=5), "0..4"), (part("b", fps=25.0), "fps"), (part("a"), "twice"), (part("b", start=1), "1..4")],
)
def test_cameras_that_do_not_fit(other, says):
    with pytest.raises(DataError, match=says):
        merge_cameras([part(), other])
