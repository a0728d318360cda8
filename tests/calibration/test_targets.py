"""Board definitions, and the corners of rendered boards against the truth."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.board_detection import BoardDetector
from calibration.errors import CalibrationError
from calibration.projection import Lenses, project
from calibration.targets import BoardDefinition, TargetKind, read_board
from calibration.transforms import RigidTransform

CHARUCO = BoardDefinition(TargetKind.CHARUCO, 5, 4, 0.12, 0.09, "DICT_4X4_50")
# 8 x 5 looks different upside down; 7 x 5 and 6 x 6 do not.
CHESS = BoardDefinition(TargetKind.CHESSBOARD, 8, 5, 0.1)
BOARDS = {
    "charuco": CHARUCO,
    "charuco, inverted": BoardDefinition(TargetKind.CHARUCO, 4, 5, 0.12, 0.09, "DICT_5X5_100", inverted=True),
    "charuco, old layout": BoardDefinition(TargetKind.CHARUCO, 5, 4, 0.12, 0.09, "DICT_4X4_50", legacy=True),
    "charuco, AprilTags": BoardDefinition(TargetKind.CHARUCO, 5, 4, 0.12, 0.09, "DICT_APRILTAG_36h11"),
    "chessboard": CHESS,
    "chessboard, inverted": BoardDefinition(TargetKind.CHESSBOARD, 8, 5, 0.1, inverted=True),
}


@pytest.mark.parametrize("name", BOARDS)
def test_corners_are_where_the_board_has_them(name, render, small_rig, board_poses):
    board, poses = BOARDS[name], board_poses(BOARDS[name], 6, seed=3, spread=0.1, tilt=0.35)
    errors = []
    for k in range(6):
        camera = small_rig.cameras[k % 3]
        pose = RigidTransform(poses.R[k], poses.t[k])
        view = BoardDetector(board).detect(render(board, camera, pose))
        truth = project(Lenses.of(small_rig.select([camera.name])), pose.apply(board.points[view.ids]))[0]
        errors.append(np.linalg.norm(view.pixel - truth, axis=1))
    assert sum(len(e) > 0 for e in errors) >= 5
    # A wrong number is a square off, some 30 px.
    assert np.concatenate(errors).max() < 2.0
    assert np.median(np.concatenate(errors)) < 0.2


def test_a_part_of_a_larger_chessboard_is_not_the_board(render, small_rig, board_poses):
    poses = board_poses(CHESS, 4, seed=3, spread=0.1, tilt=0.3)
    smaller = BoardDefinition(TargetKind.CHESSBOARD, 7, 5, 0.1)
    for k in range(4):
        image = render(CHESS, small_rig.cameras[1], RigidTransform(poses.R[k], poses.t[k]))
        assert len(BoardDetector(smaller).detect(image)) == 0


def _write(tmp_path, text):
    path = tmp_path / "board.toml"
    path.write_text(text)
    return path


GOOD = """[board]
kind = "charuco"
columns = 4
rows = 5
square_m = 0.054
marker_m = 0.0405
dictionary = "DICT_4X4_50"
"""


def test_a_definition_is_read(tmp_path):
    board = read_board(_write(tmp_path, GOOD + "inverted = true\n"))
    assert board == BoardDefinition(TargetKind.CHARUCO, 4, 5, 0.054, 0.0405, "DICT_4X4_50", inverted=True)
    assert board.points.shape == (12, 3)
    np.testing.assert_allclose(board.points[1], [0.108, 0.054, 0])
    wand = read_board(_write(tmp_path, '[board]\nkind = "wand"\nmarkers_m = [0, 0.2, 0.5]\nimage_size = [640, 480]\n'))
    np.testing.assert_allclose(wand.points[:, 0], [0, 0.2, 0.5])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[board", "not valid TOML"),
        ("[plate]\nkind = 1", "no \\[board\\]"),
        ('[board]\nkind = "dots"', "kind of target"),
        (GOOD.replace("rows = 5\n", ""), "rows of the charuco is missing"),
        (GOOD + "colour = 3\n", "has no 'colour'"),
        (GOOD.replace("columns", "colums"), "did you mean 'columns'"),
        (GOOD.replace("rows = 5", 'rows = "5"'), "wrong type"),
        (GOOD.replace("rows = 5", "rows = 1"), "at least 2 squares"),
        (GOOD.replace("0.0405", "0.054"), "marker_m between"),
        (GOOD.replace("0.054\n", "54\n"), "in metres"),
        (GOOD.replace("DICT_4X4_50", "DICT_4x4"), "a dictionary of OpenCV"),
        ('[board]\nkind = "wand"\nmarkers_m = [0.2, 0.1]\n', "rising places"),
    ],
)
def test_a_wrong_definition_is_refused(tmp_path, text, said):
    path = _write(tmp_path, text)
    with pytest.raises(CalibrationError, match=said) as raised:
        read_board(path)
    assert str(path) in str(raised.value)
