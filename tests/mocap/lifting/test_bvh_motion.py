"""BVH folders as training motion."""

from __future__ import annotations

import numpy as np
import pytest

from mocap.errors import DataError
from mocap.lifting.dataset import read_motion
from mocap.skeleton import H36M_17

# A person of centimetres who stands with arms out, facing +z, y up: name, parent, offset.
RIG = [
    ("Hips", None, (0, 0, 0)),
    ("RightUpLeg", "Hips", (-12, -4, 0)), ("RightLeg", "RightUpLeg", (0, -44, 0)),
    ("RightFoot", "RightLeg", (0, -42, 0)),
    ("LeftUpLeg", "Hips", (12, -4, 0)), ("LeftLeg", "LeftUpLeg", (0, -44, 0)), ("LeftFoot", "LeftLeg", (0, -42, 0)),
    ("Spine", "Hips", (0, 10, 0)), ("Spine1", "Spine", (0, 14, 0)), ("Neck", "Spine1", (0, 26, 0)),
    ("Head", "Neck", (0, 12, 0)),
    ("LeftArm", "Spine1", (18, 24, 0)), ("LeftForeArm", "LeftArm", (28, 0, 0)), ("LeftHand", "LeftForeArm", (25, 0, 0)),
    ("RightArm", "Spine1", (-18, 24, 0)), ("RightForeArm", "RightArm", (-28, 0, 0)),
    ("RightHand", "RightForeArm", (-25, 0, 0)),
]  # fmt: skip


def bvh_text(headings_deg, fps, rename=None):
    """The rig turning about the vertical, 95 cm above the floor, walking along +x by 1 cm per frame."""
    children = {name: [r for r in RIG if r[1] == name] for name, _, _ in RIG}

    def node(name, offset, depth):
        pad = "  " * depth
        channels = "6 Xposition Yposition Zposition" if depth == 0 else "3"
        label = (rename or {}).get(name, name)
        lines = [
            f"{pad}{'ROOT' if depth == 0 else 'JOINT'} {label}",
            f"{pad}{{",
            f"{pad}  OFFSET {' '.join(map(str, offset))}",
        ]
        lines.append(f"{pad}  CHANNELS {channels} Yrotation Xrotation Zrotation")
        for child, _, o in children[name]:
            lines += node(child, o, depth + 1)
        return [
            *lines,
            *([] if children[name] else [f"{pad}  End Site", f"{pad}  {{", f"{pad}    OFFSET 0 1 0", f"{pad}  }}"]),
            f"{pad}}}",
        ]

    rows = [" ".join(map(str, [i, 95, 0, h, 0, 0] + [0] * 3 * (len(RIG) - 1))) for i, h in enumerate(headings_deg)]
    head = ["HIERARCHY", *node("Hips", (0, 0, 0), 0), "MOTION", f"Frames: {len(rows)}", f"Frame Time: {1 / fps:.9f}"]
    return "\n".join([*head, *rows]) + "\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "anna_walk.bvh").write_text(bvh_text(np.zeros(40), 50))
    (tmp_path / "anna_turn.bvh").write_text(bvh_text(np.linspace(0, 90, 121), 120))
    (tmp_path / "ben").mkdir()
    (tmp_path / "ben" / "take1.BVH").write_text(bvh_text(np.full(50, 90.0), 100))
    return tmp_path


def test_a_folder_of_bvh_is_motion(folder):
    motion = read_motion([folder])
    assert motion.subjects == ("anna", "anna", "ben")
    # One second at 120 per second has 51 frames at 50, half a second less one at 100 has 25.
    assert motion.counts.tolist() == [51, 40, 25]
    names = H36M_17.joints
    walk = motion.positions(np.arange(51, 91))
    truth = {
        "pelvis": (0, 0, 0.91), "l_hip": (0.12, 0, 0.91), "r_knee": (-0.12, 0, 0.47), "l_ankle": (0.12, 0, 0.05),
        "spine": (0, 0, 1.19), "thorax": (0, 0, 1.45), "neck": (0, 0, 1.57), "head": (0, 0, 1.685),
        "l_shoulder": (0.18, 0, 1.43), "r_wrist": (-0.71, 0, 1.43),
    }  # fmt: skip
    for joint, place in truth.items():
        for frame in (0, 39):
            there = np.array(place) + [0.01 * frame, 0, 0]
            np.testing.assert_allclose(walk[frame, names.index(joint)], there, atol=1e-5, err_msg=joint)
    # Turned by 90 degrees about the vertical, left points where the back was: +z up keeps -y for it in front.
    across = motion.positions(motion.starts[2:3])[0]
    left = across[names.index("l_wrist")] - across[names.index("r_wrist")]
    np.testing.assert_allclose(left, [0, 1.42, 0], atol=1e-5)
    turning = motion.positions(np.arange(51))
    across = turning[:, names.index("l_hip")] - turning[:, names.index("r_hip")]
    heading = np.degrees(np.arctan2(across[:, 1], across[:, 0]))
    np.testing.assert_allclose(heading, np.linspace(0, 90, 51), atol=0.02)


def test_motion_files_and_folders_mix_and_split(folder):
    held_in, held_out = read_motion([folder, folder / "ben"]).split(["anna"])
    assert set(held_out.subjects) == {"anna"}
    assert set(held_in.subjects) == {"ben", "take1"}


def test_what_is_no_motion_is_said(folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no BVH files"):
        read_motion([empty])
    (empty / "odd.bvh").write_text(bvh_text(np.zeros(3), 50, rename={"LeftFoot": "hoof"}))
    with pytest.raises(DataError, match="lacks joints") as error:
        read_motion([empty])
    assert "l_ankle" in str(error.value)
