"""The detector on rendered pictures of five motions from four cameras: scores that must not fall."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mocap.detection.detector import make_detector  # noqa: E402
from mocap.detection.poses import People  # noqa: E402
from mocap.detection.rendered_set import MOTIONS, Picture, rendered_pictures, score_detector  # noqa: E402
from mocap.detection.settings import DetectionSettings  # noqa: E402
from mocap.errors import DependencyError  # noqa: E402
from mocap.skeleton import COCO_17  # noqa: E402


def pictures(**size):
    try:
        return list(rendered_pictures(**size))
    except DependencyError as error:
        pytest.skip(f"nothing can be rendered here: {error.problem}")


def assert_floors(scores):
    # BlazePose's joints are not quite the figure's, so the strict thresholds of AP cannot be reached.
    assert scores.found == 1.0
    assert scores.pck_10 > 0.93
    assert scores.pck_20 > 0.97
    assert scores.pckh_50 > 0.92
    assert scores.ap_50 > 0.93
    assert scores.ap > 0.65
    assert scores.median_error < 0.025


def test_scores_do_not_fall(blazepose_folder):
    # People are large in these pictures: the search needs no tiles.
    shown = pictures(frames=1)
    assert len({(p.motion, p.camera) for p in shown}) == len(MOTIONS) * 4 == 20
    assert_floors(score_detector(make_detector(DetectionSettings(tile_levels=0), torch.device("cpu")), shown))


@pytest.mark.slow
def test_scores_of_the_default_settings_do_not_fall(blazepose_folder):
    assert_floors(score_detector(make_detector(DetectionSettings(), torch.device("cpu")), pictures(frames=2)))


class Oracle:
    """Says what it is told, off by some pixels; or nothing."""

    skeleton = COCO_17

    def __init__(self, truths, off):
        self.truths, self.off = iter(truths), off

    def start(self, fps):
        """Nothing to forget."""

    def detect(self, frames):
        truth = next(self.truths)
        joints = truth + self.off if self.off is not None else np.full_like(truth, np.nan)
        shape = (1, 1, 17)
        return People(joints[None, None].astype(np.float32), np.ones(shape, np.float32), np.ones(shape, np.float32))


@pytest.mark.parametrize(
    ("off", "expected"),
    [((0, 0), (1, 1, 1, 1)), ((15, 0), (0, 1, 1, 0)), ((30, 0), (0, 0, 0, 0)), (None, (0, 0, 0, 0))],
    ids=["exact", "15 % of the box", "30 % of the box", "nobody"],
)
def test_the_scores_themselves(off, expected):
    rng = np.random.default_rng(0)
    joints = rng.uniform(0, 100, (6, 17, 2))
    joints[:, 0], joints[:, 1] = 0, 100  # boxes of 100 px
    shown = [Picture(np.zeros((8, 8, 3), np.uint8), j, 40.0, MOTIONS[0], "a") for j in joints]
    scores = score_detector(Oracle(joints, None if off is None else np.array(off)), shown)
    assert (scores.pck_10, scores.pck_20, scores.pckh_50) == expected[:3]
    assert scores.found == (off is not None)
    assert scores.ap == pytest.approx(expected[3], abs=0.35 if off == (15, 0) else 1e-9)
