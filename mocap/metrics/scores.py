"""What an evaluation holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.metrics.identity import IdentityScore

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Errors of a reconstruction.

    Root-aligned means relative to the pelvis (the middle of the hips, else the first joint); the
    root counts, with error 0.

    Attributes
    ----------
    joint_names : tuple of str
        Joints that were compared.
    joints_left_out : tuple of str
        Joints of the truth that the prediction has nothing to compare with.
    mpjpe, root_mpjpe, pa_mpjpe, n_mpjpe : float, metres
        Absolute, root-aligned (protocol 1), Procrustes-aligned (protocol 2) and root-aligned with
        the best scale, over all joint samples that both have.
    mpjpe_interval : (float, float), metres
        Bootstrap confidence interval of `mpjpe`, in blocks of time.
    mpjpe_filled : float, metres
        Absolute, over all joint samples of the truth, frames that the prediction lacks included;
        gaps filled as `mocap.metrics.filling` does.
    median, p95 : float, metres
        Of the absolute errors.
    missing : float
        Share of the truth's joint samples that the reconstruction lacks, in the frames compared.
    missing_of_truth : float
        The same over all frames of the truth.
    pck150, auc : float
        3DPCK at 150 mm and its AUC, root-aligned, 0..1; missing joints are wrong.
    root_mpjpe_without_root, pck150_without_root, auc_without_root : float
        The same without the root among the joints, as 3d-pose-baseline's 16 joints and MPI-INF-3DHP's 14
        are scored; equal to the others where the root is no joint of its own.
    rigid_mpjpe : float, metres
        Each pose aligned by rotation and shift, its size kept.
    cps : float, metres
        Correct poses score, at best 0.3.
    mpjve : float, metres per frame
        Root-aligned.
    acceleration : float, metres per frame squared
        Absolute ("jitter").
    fps : float
        Of the truth, else of the prediction; NaN unknown. Times it, or its square, the two above are per second.
    foot_slide : float, metres per frame
        Of the prediction's ankles when low; NaN without ankles.
    limb_error : float, metres
        Mean absolute error of the lengths of the twelve limbs; NaN without limbs.
    per_joint, root_per_joint, pa_per_joint : float64 [J], metres
    per_person, root_per_person, pa_per_person : float64 [P_truth], metres
        NaN for a person who was not found.
    per_frame, root_per_frame, pa_per_frame : float64 [T], metres
        Of the frames compared.
    actions : tuple of str [A]
        Of the truth's frames that were compared, in order of their names; empty where it names none.
    per_action, root_per_action, pa_per_action : float64 [A], metres
        Over the joint samples of each.
    action_mpjpe, action_root_mpjpe, action_pa_mpjpe : float, metres
        Mean over the actions, each counting alike (the "average" column of Human3.6M's tables); NaN without.
    samples : (int, int, int)
        Joint samples behind `mpjpe`, `root_mpjpe` and `pa_mpjpe`.
    worst_joint : int [T]
        Row in `joint_names` of the frame's largest error; -1 where nothing is known.
    frame_numbers : int [T]
    person_pairs : tuple of (truth id, predicted id)
    frames : int
        Frames compared.
    limb_spread : float
        Mean over limbs and persons of std/mean of the prediction's limb lengths; NaN without limbs.
    identity : IdentityScore
    frame_offset : int
        Frames that were added to the prediction's numbers.
    notes : tuple of str
        What a reader of the figures should know: other sizes, another world, rates that nobody states.
    """

    joint_names: tuple[str, ...]
    joints_left_out: tuple[str, ...]
    mpjpe: float
    root_mpjpe: float
    pa_mpjpe: float
    n_mpjpe: float
    mpjpe_interval: tuple[float, float]
    mpjpe_filled: float
    median: float
    p95: float
    missing: float
    missing_of_truth: float
    pck150: float
    auc: float
    root_mpjpe_without_root: float
    pck150_without_root: float
    auc_without_root: float
    rigid_mpjpe: float
    cps: float
    mpjve: float
    acceleration: float
    fps: float
    foot_slide: float
    limb_error: float
    per_joint: Array
    root_per_joint: Array
    pa_per_joint: Array
    per_person: Array
    root_per_person: Array
    pa_per_person: Array
    per_frame: Array
    root_per_frame: Array
    pa_per_frame: Array
    actions: tuple[str, ...]
    per_action: Array
    root_per_action: Array
    pa_per_action: Array
    action_mpjpe: float
    action_root_mpjpe: float
    action_pa_mpjpe: float
    samples: tuple[int, int, int]
    worst_joint: NDArray[np.int64]
    frame_numbers: NDArray[np.int64]
    person_pairs: tuple[tuple[int, int], ...]
    frames: int
    limb_spread: float
    identity: IdentityScore
    frame_offset: int = 0
    notes: tuple[str, ...] = ()
