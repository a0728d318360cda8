"""BVH against a reader of its own, that knows nothing of the writer."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mocap.export import ExportFormat, ExportSettings, LengthUnit, export_result
from mocap.export.euler import continuous_euler
from mocap.kinematics import SolveSettings, joint_positions, solve_motion

BVH = ExportSettings(format=ExportFormat.BVH)


class Bvh:
    """Recursive-descent BVH reader with scalar forward kinematics."""

    def __init__(self, path):
        words = path.read_text(encoding="ascii").split()
        self.i, self.words = 0, words
        self.joints = []  # name, parent, offset, channels
        self.take("HIERARCHY", "ROOT")
        self.node(-1)
        self.take("MOTION", "Frames:")
        count = int(self.next())
        self.take("Frame", "Time:")
        self.frame_time_text = self.next()
        self.frame_time = float(self.frame_time_text)
        values = np.array(words[self.i :], float)
        self.rows = values.reshape(count, -1)

    def next(self):
        self.i += 1
        return self.words[self.i - 1]

    def take(self, *expected):
        for word in expected:
            assert self.next() == word

    def node(self, parent):
        name = self.next()
        me = len(self.joints)
        self.take("{", "OFFSET")
        offset = [float(self.next()) for _ in range(3)]
        self.take("CHANNELS")
        channels = [self.next() for _ in range(int(self.next()))]
        self.joints.append((name, parent, offset, channels))
        while (word := self.next()) != "}":
            if word == "JOINT":
                self.node(me)
            else:
                assert word == "End"
                self.take("Site", "{", "OFFSET")
                self.i += 3
                self.take("}")

    def positions(self, frame):
        values = iter(self.rows[frame])
        world = []
        out = {}
        for name, parent, offset, channels in self.joints:
            matrix, origin = np.eye(3), np.array(offset)
            for channel in channels:
                v, axis = next(values), "XYZ".index(channel[0])
                if channel.endswith("position"):
                    origin[axis] += v
                else:
                    c, s = math.cos(math.radians(v)), math.sin(math.radians(v))
                    turn = np.eye(3)
                    a, b = (axis + 1) % 3, (axis + 2) % 3
                    turn[a, a] = turn[b, b] = c
                    turn[b, a], turn[a, b] = s, -s
                    matrix = matrix @ turn
            if parent >= 0:
                up, at = world[parent]
                origin, matrix = at + up @ origin, up @ matrix
            world.append((matrix, origin))
            out[name] = origin
        assert next(values, None) is None
        return out


@pytest.mark.parametrize("unit", list(LengthUnit))
def test_positions_and_time_are_ours(take, motion, tmp_path, unit):
    settings = ExportSettings(format=ExportFormat.BVH, unit=unit)
    read = Bvh(export_result(take, motion, settings, tmp_path / "r.bvh"))
    ours = joint_positions(motion)[:, 0]
    assert len(read.rows) == 60
    assert read.frame_time == 1 / 29.97
    assert {j[0] for j in read.joints} == set(motion.joint_names)
    for frame in (0, 6, 31, 59):
        found = read.positions(frame)
        for b, name in enumerate(motion.joint_names):
            x, y, z = found[name] / unit.per_metre
            np.testing.assert_allclose([x, -z, y], ours[frame, b], atol=1e-3)  # y up, facing z


def test_an_elbow_bends_in_one_channel(take, motion, tmp_path):
    """However far it bends, no other channel moves: in no program does the arm run into gimbal lock."""
    fore = motion.joint_names.index("LeftForeArm")
    rotations = motion.rotations.copy()
    bend = np.linspace(0, 2.6, len(rotations))
    rotations[:, 0, fore] = np.stack([0 * bend, 0 * bend, -np.sin(bend / 2), np.cos(bend / 2)], -1)
    path = export_result(take, replace(motion, rotations=rotations), BVH, tmp_path / "r.bvh")
    read = Bvh(path)
    start = sum(len(j[3]) for j in read.joints[: [j[0] for j in read.joints].index("LeftForeArm")])
    found = read.rows[:, start : start + 3]
    np.testing.assert_allclose(np.abs(found[:, 0]), np.degrees(bend), atol=1e-3)
    np.testing.assert_allclose(found[:, 1:], 0, atol=1e-3)


def test_head_and_toes_end_straight(take, motion, tmp_path):
    words = export_result(take, motion, BVH, tmp_path / "r.bvh").read_text().split("JOINT ")
    ends = {part.split()[0]: part.split("End Site")[1].split()[2:5] for part in words if "End Site" in part}
    head, toe = (np.array(ends[name], float) for name in ("Head", "LeftToeBase"))
    assert head[1] > 0.05
    assert toe[2] > 0.02
    assert head[0] == head[2] == toe[0] == toe[1] == 0


def test_default_person_is_the_one_seen_most_and_the_other_by_id(take, motion, tmp_path):
    both = joint_positions(motion)
    for settings, row in ((BVH, 0), (ExportSettings(format=ExportFormat.BVH, person=7), 1)):
        x, y, z = Bvh(export_result(take, motion, settings, tmp_path / "r.bvh")).positions(40)["Hips"]
        np.testing.assert_allclose([x, -z, y], both[40, row, 0], atol=1e-5)


def test_what_a_bvh_cannot_say_is_warned_of(take, motion, tmp_path, caplog):
    with caplog.at_level("WARNING"):
        export_result(take, motion, BVH, tmp_path / "r.bvh")
    assert "r.bvh holds person 4, seen most" in caplog.text
    assert "person 4 was not seen" not in caplog.text
    caplog.clear()
    with caplog.at_level("WARNING"):
        export_result(take, motion, ExportSettings(format=ExportFormat.BVH, person=7), tmp_path / "r.bvh")
    assert "person 7 was not seen in 30 of 60 frames (the first is 100)" in caplog.text


def test_rest_pose_faces_plus_z_left_hand_along_plus_x(take, motion, tmp_path):
    read = Bvh(export_result(take, motion, BVH, tmp_path / "r.bvh"))
    offset = {name: np.array(o) for name, _, o, _ in read.joints}
    assert offset["LeftForeArm"][0] > 0.2
    assert offset["RightForeArm"][0] < -0.2
    assert offset["LeftLeg"][1] < -0.3
    assert offset["LeftToeBase"][2] > 0.02


def test_angles_do_not_jump(take, motion, tmp_path):
    rows = Bvh(export_result(take, motion, BVH, tmp_path / "r.bvh")).rows
    assert np.isfinite(rows).all()
    assert np.abs(np.diff(rows[:, 3:], axis=0)).max() < 90


def test_small_jumps_are_filled_so_that_time_stays_exact(make_take, tmp_path):
    frames = np.delete(np.arange(0, 120, 2), [20, 21, 40])
    take = make_take(frames)
    motion = solve_motion(take, SolveSettings())
    read = Bvh(export_result(take, motion, BVH, tmp_path / "r.bvh"))
    assert len(read.rows) == 60
    assert read.frame_time == 2 / 29.97
    ours = joint_positions(motion)[:, 0]
    for row in (19, 22, 59):
        x, y, z = read.positions(row)["LeftHand"]
        at = ours[np.flatnonzero(frames == 2 * row)[0], motion.joint_names.index("LeftHand")]
        np.testing.assert_allclose([x, -z, y], at, atol=1e-3)


def test_long_jumps_are_left_out_with_a_warning(make_take, tmp_path, caplog):
    frames = np.concatenate([np.arange(30), np.arange(1030, 1060)])
    take = make_take(frames)
    with caplog.at_level("WARNING"):
        path = export_result(take, solve_motion(take, SolveSettings()), BVH, tmp_path / "r.bvh")
    assert "between frames 29 and 1030" in caplog.text
    assert len(Bvh(path).rows) == 60


@pytest.mark.parametrize("order", ["ZXY", "XYZ"])
def test_euler_angles_through_the_singularity(order):
    """A hinge about the middle axis past 90 degrees, and whole turns about the first."""
    n = 200
    angles = np.zeros((n, 3))
    angles[:, 0] = np.linspace(0, 3 * np.pi, n)
    angles[:, 1] = np.radians(np.linspace(-30, 150, n))
    matrices = np.broadcast_to(np.eye(3), (n, 3, 3))
    for i, axis in enumerate("XYZ".index(c) for c in order):
        c, s = np.cos(angles[:, i]), np.sin(angles[:, i])
        turn = np.broadcast_to(np.eye(3), (n, 3, 3)).copy()
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn[:, a, a] = turn[:, b, b] = c
        turn[:, b, a], turn[:, a, b] = s, -s
        matrices = matrices @ turn
    np.testing.assert_allclose(continuous_euler(matrices, order), angles, atol=1e-6)
