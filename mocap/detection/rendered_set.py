"""A picture set with exact truth for judging detectors: rendered people, and the field's scores on it.

Motions x cameras x rooms; every picture is looked at by itself, as in the image benchmarks of the
field. Rendering needs Open3D, which is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.projection import Lenses, project
from mocap.detection.detector import Detector
from mocap.metrics.keypoints2d import COCO_SIGMAS, average_precision, box_size, oks, pck, pckh
from mocap.skeleton import BLAZEPOSE_33, COCO_17, Skeleton, apply_joint_map, joint_map
from mocap.synthetic.channels import MotionKind
from mocap.synthetic.motion import truth_positions
from mocap.synthetic.scene import make_scene

Floats = NDArray[np.float64]

MOTIONS = (MotionKind.WALK, MotionKind.WAVE, MotionKind.SQUAT, MotionKind.JUMPING_JACK, MotionKind.SWING)
_FPS = 30.0
_SECONDS = 4
# MPII's head size is 0.6 of the diagonal of the head's box: 0.17 x 0.25 m on an adult.
_HEAD_M = 0.6 * float(np.hypot(0.17, 0.25))
# COCO's area is that of the person's outline, about half of the box.
_OUTLINE_OVER_BOX = 0.53


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of one person.

    Attributes
    ----------
    image : uint8 [H, W, 3]
        BGR.
    joints : float64 [17, 2]
        COCO-17, raw-image px.
    head_size : float
        px.
    motion : MotionKind
    camera : str
    """

    image: NDArray[np.uint8]
    joints: Floats
    head_size: float
    motion: MotionKind
    camera: str


@dataclass(frozen=True)
class Scores:
    """How good a detector is on a picture set; all 0..1 but the error.

    Attributes
    ----------
    pck_10, pck_20 : float
        Share of joints within 0.1 and 0.2 of the person's box.
    pckh_50 : float
        Share of joints within half a head.
    ap, ap_50 : float
        COCO average precision over OKS 0.50..0.95, and at 0.50.
    found : float
        Share of pictures in which somebody was found.
    median_error : float
        Of the joints found, as a share of the person's box.
    """

    pck_10: float
    pck_20: float
    pckh_50: float
    ap: float
    ap_50: float
    found: float
    median_error: float


def rendered_pictures(
    *, cameras: int = 4, frames: int = 2, size: tuple[int, int] = (640, 640), seed: int = 40
) -> Iterator[Picture]:
    """Pictures of every motion from every camera, each motion in a room and clothes of its own.

    Parameters
    ----------
    cameras, frames : int
        Per motion.
    size : (int, int)
        px.
    seed : int
        Of people, rooms and cameras.

    Raises
    ------
    DependencyError
        Open3D cannot be loaded.
    """
    from mocap.synthetic.render import render_camera

    to_coco = joint_map(BLAZEPOSE_33, COCO_17)
    for k, kind in enumerate(MOTIONS):
        scene = make_scene(int(_FPS * _SECONDS), _FPS, seed + k, n_cameras=cameras, kind=kind, size=size)
        rows = np.linspace(0, scene.motion.n_frames - 1, frames + 2).astype(int)[1:-1]
        world = apply_joint_map(to_coco, truth_positions(scene.motion, BLAZEPOSE_33)[rows, 0])
        pixels = project(Lenses.of(scene.rig), world)
        head = world[:, 3:5].mean(1)[:, None] + np.array([[0, 0, -_HEAD_M / 2], [0, 0, _HEAD_M / 2]])
        heads = np.linalg.norm(np.diff(project(Lenses.of(scene.rig), head), axis=-2)[..., 0, :], axis=-1)
        for v, camera in enumerate(scene.rig.cameras):
            for t, image in enumerate(render_camera(scene, camera, rows.tolist())):
                yield Picture(image, pixels[v, t], float(heads[v, t]), kind, camera.name)


def score_detector(detector: Detector, pictures: Iterable[Picture]) -> Scores:
    """Run a detector on single pictures and compare with the truth.

    Parameters
    ----------
    detector : Detector
        Of any skeleton that COCO-17 can be made from.
    pictures : iterable of Picture
    """
    best, truths, heads, similarities, confidences = [], [], [], [], []
    for picture in pictures:
        people, confidence = _people(detector, picture.image)
        truth = picture.joints
        area = _OUTLINE_OVER_BOX * float(np.prod(np.ptp(truth, axis=0)))
        similar = oks(people, np.broadcast_to(truth, people.shape), np.full(len(people), area), COCO_SIGMAS)
        similarities.append(np.asarray(similar).reshape(len(people), 1))
        confidences.append(confidence)
        best.append(people[int(np.argmax(similar))] if len(people) else np.full_like(truth, np.nan))
        truths.append(truth)
        heads.append(picture.head_size)
    found, truth = np.stack(best), np.stack(truths)
    size = box_size(truth)
    precision = average_precision(similarities, confidences)
    errors = np.linalg.norm(found - truth, axis=-1) / size[:, None]
    known = errors[np.isfinite(errors)]
    return Scores(
        pck_10=pck(found, truth, size, 0.1),
        pck_20=pck(found, truth, size, 0.2),
        pckh_50=pckh(found, truth, np.array(heads)),
        ap=precision.ap,
        ap_50=precision.ap50,
        found=float(np.isfinite(found).any((1, 2)).mean()),
        median_error=float(np.median(known)) if len(known) else float("nan"),
    )


def _people(detector: Detector, image: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """COCO-17 joints [n, 17, 2] and scores [n] of the people in a picture."""
    detector.start(_FPS)
    result = detector.detect(image[None])
    keypoints = _as_coco(detector.skeleton, result.keypoints[0].astype(np.float64))
    there = np.isfinite(keypoints).any((1, 2))
    return keypoints[there], result.confidence[0].mean(-1).astype(np.float64)[there]


def _as_coco(skeleton: Skeleton, keypoints: Floats) -> Floats:
    return apply_joint_map(joint_map(skeleton, COCO_17), keypoints)
