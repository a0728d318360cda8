"""Errors of reconstructed motion against ground truth, by the field's definitions."""

from mocap.metrics.averages import (
    action_of,
    mean_by_group,
    mean_error,
    mean_of_groups,
    mean_over_frames,
    mean_over_joints,
)
from mocap.metrics.bootstrap import bootstrap_interval
from mocap.metrics.evaluation import evaluate, evaluate_shelf
from mocap.metrics.ground_truth import read_ground_truth, read_result_npz
from mocap.metrics.identity import IdentityScore, identity_score, person_distances
from mocap.metrics.keypoints2d import KeypointAP, average_precision, box_size, oks, pck, pck_by_joint, pckh
from mocap.metrics.limbs import limb_length_error, limb_lengths, limb_spread
from mocap.metrics.motion_error import (
    acceleration_error,
    acceleration_errors,
    foot_slide,
    mpjve,
    velocity_errors,
)
from mocap.metrics.pcp import SHELF_PARTS, ShelfScore, pcp_mean, pcp_strict, shelf_score
from mocap.metrics.poses import Poses3D
from mocap.metrics.position_error import (
    joint_errors,
    mpjpe,
    mpjpe_without_root,
    n_joint_errors,
    n_mpjpe,
    pa_joint_errors,
    pa_mpjpe,
    procrustes,
    rigid_joint_errors,
    rigid_mpjpe,
)
from mocap.metrics.rig_error import RigError, rig_error
from mocap.metrics.scores import Evaluation
from mocap.metrics.settings import Alignment, Association, EvaluationSettings
from mocap.metrics.shelf_joints import SHELF_JOINTS, to_shelf
from mocap.metrics.tables import action_table, comparison_table, table, time_table, worst_frames
from mocap.metrics.thresholds import auc3d, cps, pck3d

__all__ = [
    "SHELF_JOINTS",
    "SHELF_PARTS",
    "Alignment",
    "Association",
    "Evaluation",
    "EvaluationSettings",
    "IdentityScore",
    "KeypointAP",
    "Poses3D",
    "RigError",
    "ShelfScore",
    "acceleration_error",
    "acceleration_errors",
    "action_of",
    "action_table",
    "auc3d",
    "average_precision",
    "bootstrap_interval",
    "box_size",
    "comparison_table",
    "cps",
    "evaluate",
    "evaluate_shelf",
    "foot_slide",
    "identity_score",
    "joint_errors",
    "limb_length_error",
    "limb_lengths",
    "limb_spread",
    "mean_by_group",
    "mean_error",
    "mean_of_groups",
    "mean_over_frames",
    "mean_over_joints",
    "mpjpe",
    "mpjpe_without_root",
    "mpjve",
    "n_joint_errors",
    "n_mpjpe",
    "oks",
    "pa_joint_errors",
    "pa_mpjpe",
    "pck",
    "pck3d",
    "pck_by_joint",
    "pckh",
    "pcp_mean",
    "pcp_strict",
    "person_distances",
    "procrustes",
    "read_ground_truth",
    "read_result_npz",
    "rig_error",
    "rigid_joint_errors",
    "rigid_mpjpe",
    "shelf_score",
    "table",
    "time_table",
    "to_shelf",
    "velocity_errors",
    "worst_frames",
]
