"""Labelled pictures to train detectors on: rendered people, or files in COCO's format; crops of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.projection import Lenses, project
from mocap.detection import regions as rg
from mocap.detection.training_settings import WHOLE_PICTURE, DetectorTraining, TrainedNetwork
from mocap.errors import DataError
from mocap.skeleton import BLAZEPOSE_33, COCO_17, OPENPOSE_18, Skeleton, apply_joint_map, joint_map
from mocap.synthetic.channels import MotionKind
from mocap.synthetic.motion import truth_positions
from mocap.synthetic.scene import make_scene

Floats = NDArray[np.float64]

_FPS = 30.0
_MARGIN = 1.25 * 1.1  # as the top-down pipeline's crops: joints span less than the person
_FEWEST = 4
_EVERYBODY = -1
_RENDERED_TOGETHER = 2


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """A picture and the joints of everybody in it.

    Attributes
    ----------
    image : uint8 [H, W, 3] (BGR), or the Path of an image file
    joints : float64 [P, J, 2]
        Raw-image px; NaN where not labelled.
    scene : int, optional
        Pictures of one scene show the same people in the same room; None: of no other picture's scene.
    """

    image: NDArray[np.uint8] | Path
    joints: Floats
    scene: int | None = None

    def pixels(self) -> NDArray[np.uint8]:
        """The picture, uint8 [H, W, 3], BGR.

        Raises
        ------
        DataError
            The file is missing or no image.
        """
        if not isinstance(self.image, Path):
            return self.image
        image = cv2.imread(str(self.image), cv2.IMREAD_COLOR)
        if image is None:
            raise DataError("not an image that can be read", where=str(self.image), hint="check the folder of images")
        return np.asarray(image, np.uint8)


@dataclass(frozen=True, eq=False)
class Crops:
    """A training batch.

    Attributes
    ----------
    images : uint8 [n, H, W, 3]
        RGB.
    points : float32 [n, P, J, 2]
        Crop px; NaN where not labelled.
    """

    images: NDArray[np.uint8]
    points: NDArray[np.float32]

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Whether a joint's place is known: bool [n, P, J]."""
        return np.asarray(np.isfinite(self.points).all(-1))


def rendered_people(
    count: int, *, seed: int = 0, people: int = 1, size: tuple[int, int] = (320, 320), skeleton: Skeleton = COCO_17,
    frames: int = 5, cameras: int = 4,
) -> list[LabelledPicture]:  # fmt: skip
    """Rendered people with exact labels.

    Parameters
    ----------
    count : int
        Pictures.
    seed : int
        Of people, motions, rooms and cameras: other seeds, other people.
    people : int
        Per picture.
    size : (int, int)
        Width and height, px.
    skeleton : Skeleton
        Made from BlazePose's joints.
    frames, cameras : int
        Pictures of the same person in the same room: from so many cameras at so many times.

    Raises
    ------
    DependencyError
        Open3D cannot be loaded.
    """
    from mocap.synthetic.render import render_camera

    kinds, to = list(MotionKind), joint_map(BLAZEPOSE_33, skeleton)
    pictures: list[LabelledPicture] = []
    scene_seed = 100_000 * (1 + seed)
    while len(pictures) < count:
        kind = kinds[scene_seed % len(kinds)]
        scene = make_scene(int(4 * _FPS), _FPS, scene_seed, n_cameras=cameras, n_people=people, kind=kind, size=size)
        rows = np.sort(np.random.default_rng(scene_seed).choice(scene.motion.n_frames, frames, replace=False))
        joints = apply_joint_map(to, truth_positions(scene.motion, BLAZEPOSE_33)[rows])
        pixels = project(Lenses.of(scene.rig), joints)
        for v, camera in enumerate(scene.rig.cameras):
            images = render_camera(scene, camera, rows.tolist())
            pictures += [LabelledPicture(image, pixels[v, t], scene_seed) for t, image in enumerate(images)]
        scene_seed += 1
    return pictures[:count]


def read_coco(annotations: Path, images: Path, *, everybody: bool = False) -> list[LabelledPicture]:
    """Pictures of a data set in COCO's keypoint format.

    Parameters
    ----------
    annotations : Path
        person_keypoints_*.json.
    images : Path
        Folder of the image files.
    everybody : bool
        Only pictures in which everybody is labelled, for networks that see whole pictures: pictures with crowds
        and with people without keypoints are left out.

    Raises
    ------
    DataError
        Not such a file, or no labelled person in it.
    """
    try:
        content = json.loads(annotations.read_text())
        files = {i["id"]: str(i["file_name"]) for i in content["images"]}
        people: dict[int, list[Floats]] = {}
        incomplete = set()
        for a in content["annotations"]:
            joints = np.array(a.get("keypoints", []), np.float64).reshape(-1, 3)
            labelled = joints[:, 2] > 0
            if a.get("iscrowd") or labelled.sum() < _FEWEST:
                incomplete.add(a["image_id"])
                continue
            if len(joints) != len(COCO_17.joints):
                raise DataError("not COCO's joints", expected="17", found=f"{len(joints)}", where=str(annotations))
            # COCO counts from the corner of the first pixel, we from its centre.
            where = np.where(labelled[:, None], joints[:, :2] - 0.5, np.nan)
            people.setdefault(a["image_id"], []).append(where)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            "not a file of keypoints in COCO's format", expected="JSON with images and annotations",
            found=f"{type(error).__name__}: {error}", where=str(annotations),
        ) from error  # fmt: skip
    chosen = [i for i in people if not (everybody and i in incomplete)]
    if not chosen:
        raise DataError("no labelled person", expected="annotations with keypoints", where=str(annotations))
    unlisted = [i for i in chosen if i not in files]
    if unlisted:
        raise DataError(
            "annotations of images that are not listed", expected="every image_id among the images",
            found=", ".join(map(str, unlisted[:3])), where=str(annotations),
            hint="keep an image's entry when its annotations stay",
        )  # fmt: skip
    return [LabelledPicture(images / files[i], np.stack(people[i])) for i in chosen]


def gather(
    settings: DetectorTraining, *, rendered: int = 0, coco: Path | None = None, images: Path | None = None
) -> list[LabelledPicture]:
    """Pictures for the settings' network: of a COCO file, then rendered ones (so these are the validation's).

    Raises
    ------
    DataError
        Neither kind was asked for, annotations without images, or files that cannot be read.
    """
    whole = settings.network in WHOLE_PICTURE
    skeleton = OPENPOSE_18 if settings.network is TrainedNetwork.OPENPOSE else COCO_17
    if not rendered and coco is None:
        raise DataError(
            "nothing to train on", expected="rendered pictures or annotations", found="neither",
            hint="--rendered 2000, or --coco ANNOTATIONS.json --images FOLDER",
        )  # fmt: skip
    pictures: list[LabelledPicture] = []
    if coco is not None:
        if images is None or not images.is_dir():
            found = "none" if images is None else str(images)
            raise DataError("annotations need their images", expected="a folder", found=found, hint="--images FOLDER")
        weights = joint_map(COCO_17, skeleton)
        some = read_coco(coco, images, everybody=whole)
        pictures += [LabelledPicture(p.image, apply_joint_map(weights, p.joints)) for p in some]
    people = _RENDERED_TOGETHER if whole else 1
    return pictures + rendered_people(rendered, seed=settings.seed, people=people, skeleton=skeleton)


class CropSampler:
    """Crops of labelled pictures, each varied at random.

    Parameters
    ----------
    pictures : sequence of LabelledPicture
    skeleton : Skeleton
    crop_size : (int, int)
        Width and height, px.
    settings : DetectorTraining
    whole : bool
        Whole pictures with everybody in them, instead of one person per crop.
    """

    def __init__(
        self, pictures: Sequence[LabelledPicture], skeleton: Skeleton, crop_size: tuple[int, int],
        settings: DetectorTraining, *, whole: bool,
    ) -> None:  # fmt: skip
        self.pictures, self.crop_size, self.settings, self.whole = list(pictures), crop_size, settings, whole
        self._mirror = np.array(skeleton.mirror)
        one = [(i, p) for i, s in enumerate(self.pictures) for p in range(len(s.joints))]
        self.targets = [(i, _EVERYBODY) for i in range(len(self.pictures))] if whole else one

    def draw(self, count: int, rng: np.random.Generator) -> Crops:
        """Crops chosen and varied at random."""
        which = rng.integers(0, len(self.targets), count)
        return self._stack([self._crop(self.targets[k], rng) for k in which])

    def plain(self, chosen: Sequence[int]) -> Crops:
        """Crops of some targets as they are, for scoring."""
        return self._stack([self._crop(self.targets[k], None) for k in chosen])

    def _crop(
        self, target: tuple[int, int], rng: np.random.Generator | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        (picture, person), (width, height) = target, self.crop_size
        sample = self.pictures[picture]
        image = sample.pixels()
        joints = sample.joints if person == _EVERYBODY else sample.joints[person : person + 1]
        region = self._region(image, joints)
        side = max(width, height)
        flip = False
        if rng is not None:
            s = self.settings
            region[:2] += rng.uniform(-s.shift, s.shift, 2) * region[2]
            region[2] *= rng.uniform(1 - s.scale, 1 + s.scale)
            region[3] = np.deg2rad(rng.uniform(-s.rotation_degrees, s.rotation_degrees))
            flip = s.flip and rng.random() < 0.5
        crop = rg.crop(image, region, side)
        to_image = rg.image_from_crop(region, side)
        points = np.linalg.solve(to_image[:, :2], (joints - to_image[:, 2])[..., None])[..., 0]
        left, top = (side - width) // 2, (side - height) // 2
        crop = crop[top : top + height, left : left + width, ::-1]
        points = points - [left, top]
        if flip:
            crop, points = crop[:, ::-1], points[:, self._mirror]
            points[..., 0] = width - 1 - points[..., 0]
        if rng is not None:
            gain = rng.uniform(1 - self.settings.colour, 1 + self.settings.colour, 3)
            crop = np.clip(crop * gain + rng.normal(0, 4, crop.shape), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(crop), points.astype(np.float32)

    def _region(self, image: NDArray[np.uint8], joints: Floats) -> Floats:
        """Upright square round a person, or round the whole picture."""
        height, width = image.shape[:2]
        if self.whole:
            return np.array([(width - 1) / 2, (height - 1) / 2, float(max(width, height)), 0.0])
        low, high = np.nanmin(joints, (0, 1)), np.nanmax(joints, (0, 1))
        aspect = self.crop_size[0] / self.crop_size[1]
        size = max(high[1] - low[1], (high[0] - low[0]) / aspect) * _MARGIN
        return np.array([*(low + high) / 2, max(size, 8.0), 0.0])

    def _stack(self, crops: list[tuple[NDArray[np.uint8], NDArray[np.float32]]]) -> Crops:
        people = max(len(points) for _, points in crops)
        joints = crops[0][1].shape[1]
        points = np.full((len(crops), people, joints, 2), np.nan, np.float32)
        for row, (_, some) in zip(points, crops, strict=True):
            row[: len(some)] = some
        return Crops(np.stack([image for image, _ in crops]), points)
