"""Joint sets that only ground truth uses, under the names of `mocap.skeleton`."""

from __future__ import annotations

from collections.abc import Sequence

from mocap.errors import DataError
from mocap.skeleton import Skeleton, identify

PANOPTIC_19 = Skeleton(
    "panoptic19",
    ("neck", "nose", "pelvis", "l_shoulder", "l_elbow", "l_wrist", "l_hip", "l_knee", "l_ankle", "r_shoulder",
     "r_elbow", "r_wrist", "r_hip", "r_knee", "r_ankle", "l_eye", "l_ear", "r_eye", "r_ear"),
    (), (),
)  # fmt: skip
"""CMU Panoptic (Joo et al., PAMI 41, 2019): `joints19`; the neck lies between the shoulders."""

MPII3D_28 = Skeleton(
    "mpii3d28",
    ("spine_3", "spine_4", "spine_2", "spine", "pelvis", "neck", "head", "head_top", "l_clavicle", "l_shoulder",
     "l_elbow", "l_wrist", "l_hand", "r_clavicle", "r_shoulder", "r_elbow", "r_wrist", "r_hand", "l_hip", "l_knee",
     "l_ankle", "l_foot", "l_toe", "r_hip", "r_knee", "r_ankle", "r_foot", "r_toe"),
    (), (),
)  # fmt: skip
"""MPI-INF-3DHP, training set (Mehta et al., 3DV 2017)."""

MPII3D_17 = Skeleton(
    "mpii3d17",
    ("head_top", "neck", "r_shoulder", "r_elbow", "r_wrist", "l_shoulder", "l_elbow", "l_wrist", "r_hip", "r_knee",
     "r_ankle", "l_hip", "l_knee", "l_ankle", "pelvis", "spine", "head"),
    (), (),
)  # fmt: skip
"""MPI-INF-3DHP, test set."""

# Not comparable though the name is the same: each data set puts it elsewhere.
_OWN_PLACE: dict[str, tuple[str, ...]] = {
    "mpii3d28": ("neck", "head", "spine"),
    "mpii3d17": ("neck", "head", "spine"),
}


def known_joints(joint_names: Sequence[str]) -> Skeleton | None:
    """The joint set these names belong to, of detectors or of ground truth; None if unknown."""
    names = tuple(joint_names)
    for skeleton in (PANOPTIC_19, MPII3D_28, MPII3D_17):
        if skeleton.joints == names:
            return skeleton
    try:
        return identify(names)
    except DataError:
        return None


def comparable(source: Skeleton, target: Skeleton, joint: str) -> bool:
    """Whether a joint of the target can be made from another skeleton's joints of that name."""
    if source.name == target.name:
        return True
    return all(joint not in _OWN_PLACE.get(name, ()) for name in (source.name, target.name))
