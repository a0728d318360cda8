"""Detection of rendered people, whose joints in the pictures are known exactly."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from calibration.projection import Lenses, project  # noqa: E402
from mocap.detection.detector import make_detector  # noqa: E402
from mocap.detection.settings import DetectionSettings  # noqa: E402
from mocap.detection.stage import detect_video  # noqa: E402
from mocap.errors import DependencyError  # noqa: E402
from mocap.skeleton import BLAZEPOSE_33, LIMBS_12  # noqa: E402

LIMB_JOINTS = sorted({BLAZEPOSE_33.index(j) for limb in LIMBS_12 for j in limb})


@pytest.fixture(scope="module")
def found_and_truth(blazepose_folder, tmp_path_factory):
    from mocap.synthetic.capture import write_capture
    from mocap.synthetic.motion import truth_positions
    from mocap.synthetic.scene import make_scene

    scene = make_scene(8, 30.0, 11, n_cameras=2, n_people=2, size=(960, 640))
    try:
        capture = write_capture(tmp_path_factory.mktemp("capture"), scene)
    except DependencyError as error:
        pytest.skip(f"nothing can be rendered here: {error.problem}")
    device = torch.device("cpu")
    settings = DetectionSettings()
    detector = make_detector(settings, device)
    views = [detect_video(path, settings, device, detector=detector) for path in capture.videos]
    truth = project(Lenses.of(scene.rig), truth_positions(scene.motion, BLAZEPOSE_33))
    return views, truth  # truth [V, T, P, J, 2]


def paired(view, truth):
    """Errors [T, P, J, 2] and uncertainty [T, P, J] of the slot nearest to each person."""
    found = view.keypoints[0].astype(float)
    distance = np.linalg.norm(found[:, :, None] - truth[:, None], axis=-1)[..., LIMB_JOINTS].mean(-1)
    slot = np.argmin(np.where(np.isnan(distance), np.inf, distance), axis=1)  # [T, P]
    rows = np.arange(len(found))[:, None]
    return found[rows, slot] - truth, view.uncertainty[0][rows, slot], slot


def test_every_person_is_found_in_every_frame_and_keeps_a_slot(found_and_truth):
    for view, truth in zip(found_and_truth[0], found_and_truth[1], strict=True):
        _, _, slot = paired(view, truth)
        assert (slot == slot[0]).all()
        assert sorted(slot[0].tolist()) == [0, 1]
        assert np.isfinite(view.keypoints[0, :, :2]).all()
        assert view.keypoints.shape[2] == 2


def test_joints_are_where_they_were_rendered(found_and_truth):
    for view, truth in zip(found_and_truth[0], found_and_truth[1], strict=True):
        error, _, _ = paired(view, truth)
        distance = np.linalg.norm(error, axis=-1)[..., LIMB_JOINTS]
        height = np.ptp(truth[..., 1], axis=-1).mean()
        # BlazePose's joints are not quite those of the figure: 2 % of the body height.
        assert np.median(distance) < 0.02 * height
        # No common shift, as wrong pixel centres or crops would give.
        assert np.abs(np.median(error[..., LIMB_JOINTS, :], axis=(0, 1, 2))).max() < 0.01 * height


def test_the_stated_uncertainty_is_that_of_the_errors(found_and_truth):
    ratios = []
    for view, truth in zip(found_and_truth[0], found_and_truth[1], strict=True):
        error, sigma, _ = paired(view, truth)
        ratios.append(np.abs(error / sigma[..., None])[..., LIMB_JOINTS, :].ravel())
    # 0.6745 for normal errors.
    assert 0.3 < np.median(np.concatenate(ratios)) < 1.4
