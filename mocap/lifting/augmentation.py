"""Endless training windows: people, cameras and 2D errors drawn at random, on the training device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mocap.lifting.dataset import FREE_BONES, Motion, bone_statistics, tree_sums
from mocap.lifting.pose_variation import Draw, PoseVariation, rotation, rotation_z
from mocap.lifting.settings import TrainingSettings
from mocap.skeleton import H36M_17

_LEG = slice(1, 3)  # thigh and shin
_SPREAD = 0.04  # metres: how far the real cameras are moved at random; tripods return to about the same place
_AIM = 0.01  # radians: how far they are turned
_FOCAL = 1146.0  # px; only to state 2D errors in pixels of a camera like Human3.6M's, 5 m away
_DISTANCE = 5.0

# Range of the logarithm of each free bone over its mean, for people and skeletons of any proportions.
_BROAD = (
    (-0.8, 0.25), (-0.15, 0.15), (-0.15, 0.15), (-0.25, 0.2), (-0.3, 0.2),
    (-0.8, 0.3), (-0.3, 0.6), (-0.5, 0.25), (-0.2, 0.2), (-0.2, 0.2),
)  # fmt: skip
_COMPARED, _NEAREST_FEW, _RARITY = 1000, 8, (0.5, 3.0)

# Joints that go missing together: limbs, legs (desk, crowd), upper body, head.
_PARTS = ((2, 3), (5, 6), (12, 13), (15, 16), (1, 2, 3, 4, 5, 6), (9, 10), (11, 12, 13), (14, 15, 16))


@dataclass(frozen=True)
class Windows:
    """A batch of training windows.

    Attributes
    ----------
    rays : float32 [B, W, 17, 2]
        Undistorted x/z, y/z with 2D errors; 0 where missing.
    confidence : float32 [B, W, 17]
    bones : float32 [B, 16]
        Bone lengths as measured, metres.
    bones_known : bool [B]
    positions : float32 [B, 17, 3]
        Truth of the middle frame: metres, camera axes, relative to the pelvis.
    root : float32 [B, 3]
        The pelvis in the middle frame, camera axes, metres.
    ray_std : float32 [B, 17]
        What the 2D errors of the middle frame are thought to be; infinite before smoothing.
    """

    rays: Tensor
    confidence: Tensor
    bones: Tensor
    bones_known: Tensor
    positions: Tensor
    root: Tensor
    ray_std: Tensor


def both_ways(windows: Windows) -> Windows:
    """The windows and, behind them, what a mirror shows of them.

    To the network the mirror image is another window; it costs neither drawing nor smoothing.
    """
    swap, swap_bones = list(H36M_17.mirror), list(H36M_17.mirror[1:] - 1)
    w = windows
    x = torch.tensor([-1.0, 1.0, 1.0], device=w.rays.device)
    images = (
        w.rays[:, :, swap] * x[:2], w.confidence[:, :, swap], w.bones[:, swap_bones], w.bones_known,
        w.positions[:, swap] * x, w.root * x, w.ray_std[:, swap],
    )  # fmt: skip
    own = (w.rays, w.confidence, w.bones, w.bones_known, w.positions, w.root, w.ray_std)
    return Windows(*(torch.cat(pair) for pair in zip(own, images, strict=True)))


def _rarity(motion: Motion) -> NDArray[np.float64]:
    """How far each frame's pose is from the others' [F], as a weight: many frames walk, few tumble.

    The distance to the nearest few of a thousand frames, with the heading turned away.
    """
    bones = motion.directions
    heading = -np.arctan2(*(bones[:, 0] - bones[:, 3])[:, 1::-1].T)
    c, s = np.cos(heading)[:, None], np.sin(heading)[:, None]
    x, y, z = (bones[..., i] for i in range(3))
    poses = np.concatenate([c * x - s * y, s * x + c * y, z], -1)
    some = poses[:: max(1, len(poses) // _COMPARED)]
    few = min(_NEAREST_FEW, len(some) - 1)
    near = np.empty(len(poses))
    for start in range(0, len(poses), 4096):
        part = poses[start : start + 4096]
        square = (part**2).sum(1)[:, None] + (some**2).sum(1) - 2 * part @ some.T
        near[start : start + 4096] = np.partition(square, few, 1)[:, :few].mean(1)
    near = np.sqrt(np.maximum(near, 1e-6))
    return np.clip(near / np.median(near), *_RARITY)


class WindowSampler:
    """Draws windows from motion.

    Parameters
    ----------
    motion : Motion
    cameras : (R [C,3,3], t [C,3] m), optional
        Real cameras; random ones only when None.
    settings : TrainingSettings
    window : int
        Frames per window (odd).
    device : torch.device
    """

    def __init__(
        self,
        motion: Motion,
        cameras: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
        settings: TrainingSettings,
        window: int,
        device: torch.device,
    ) -> None:
        self.window, self.settings, self.device = window, settings, device
        self.directions = torch.as_tensor(motion.directions, device=device).reshape(-1, 48)
        self.roots = torch.as_tensor(motion.roots, device=device)
        self.lengths = torch.as_tensor(motion.lengths, device=device)
        self.cameras = None if cameras is None else tuple(torch.as_tensor(c, device=device) for c in cameras)
        sequence = np.repeat(np.arange(len(motion.starts)), motion.counts)
        self.first = torch.as_tensor(motion.starts[sequence], device=device)
        self.last = torch.as_tensor((motion.starts + motion.counts - 1)[sequence], device=device)
        subjects = np.array(motion.subjects)[sequence]
        _, inverse, frames = np.unique(subjects, return_inverse=True, return_counts=True)
        # People with few recordings weigh more than their frames, but are not repeated endlessly.
        weights = (frames[inverse] / len(subjects)) ** -0.4 * _rarity(motion)
        self.weights = torch.as_tensor(np.cumsum(weights) / weights.sum(), device=device)
        mean, factor = bone_statistics(motion)
        self.bone_mean, self.bone_factor = (torch.as_tensor(a, device=device) for a in (mean, factor))
        self.free = torch.as_tensor(FREE_BONES, device=device)
        self.broad = torch.tensor(_BROAD, device=device)
        # One product takes all bones of a frame to its joints.
        self.sums = torch.as_tensor(np.kron(tree_sums().T, np.eye(3, dtype=np.float32)), device=device)
        self.swap = torch.as_tensor(H36M_17.mirror, device=device)
        self.poses = PoseVariation(settings.mix, settings.perturb)
        self.parts = torch.zeros(len(_PARTS), 17, device=device)
        for row, part in enumerate(_PARTS):
            self.parts[row, list(part)] = 1

    def draw(self, batch: int, generator: torch.Generator) -> Windows:
        """A batch; the same generator state gives the same batch."""
        draw = Draw(generator, self.device)
        known = draw.uniform(batch) < 0.5
        lengths = self._lengths(known, draw)
        joints, root, outside = self._motion(lengths, draw)
        half = batch // 2  # the batch is random, so mirroring its first half is random too
        flip = torch.tensor([-1.0, 1.0, 1.0], device=self.device)
        joints = torch.cat([joints[:half].index_select(2, self.swap) * flip, joints[half:]])
        root = torch.cat([root[:half] * flip, root[half:]])
        R, t, place = self._view(batch, root[:, self.window // 2, 2], draw)
        path = root - root[:, self.window // 2, None] + place[:, None]
        points = joints + path[:, :, None]
        flat = torch.bmm(points.reshape(batch, -1, 3), R.transpose(1, 2)) + t[:, None]
        camera = flat.reshape(batch, self.window, 17, 3)
        middle = camera[:, self.window // 2]
        rays = camera[..., :2] / camera[..., 2:].clamp_min(0.3)
        rays, confidence = self._observe(rays, middle[:, 0, 2], draw)
        confidence = confidence * (camera[..., 2] > 0.3) * ~outside[..., None]
        rays = rays * (confidence > 0)[..., None]
        wrong = draw.normal(batch, 10)[:, self.free] * 0.02 * (draw.uniform(batch, 1) < 0.3)
        unknown = torch.full((batch, 17), torch.inf, device=self.device)
        return Windows(rays, confidence, lengths * (1 + wrong), known, middle - middle[:, :1], middle[:, 0], unknown)

    def _motion(self, lengths: Tensor, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
        """Of people with these bones: joints about the pelvis [B, W, 17, 3], pelvis [B, W, 3]; lost frames [B, W]."""
        batch, middle = len(lengths), self.window // 2
        centre = torch.searchsorted(self.weights, draw.uniform(batch).double()).clamp_max(len(self.weights) - 1)
        stride = torch.where(draw.uniform(batch) < 0.2, 2, 1)
        steps = torch.arange(self.window, device=self.device) - self.window // 2
        wanted = centre[:, None] + steps * (stride * torch.where(draw.uniform(batch) < 0.3, -1, 1))[:, None]
        frames = torch.minimum(torch.maximum(wanted, self.first[centre, None]), self.last[centre, None])
        # Callers pad at the ends of a recording either way: by repeating or by leaving out.
        outside = (wanted != frames) & (draw.uniform(batch) < 0.5)[:, None]
        short = draw.uniform(batch) < 0.1
        reach = (draw.uniform(batch) * (self.window // 2 + 1)).long()
        outside |= (short[:, None]) & (steps.abs() > reach[:, None])
        bones, root = self.directions[frames], self.roots[frames]
        clearance = root[:, middle, 2] + self._joints(bones[:, middle], self.lengths[centre])[..., 2].amin(-1)
        joints = self._joints(self.poses.vary(bones, draw), lengths[:, None])
        # Taller people take longer steps, and whoever stood on the floor still does: where the floor
        # is tells how far away, and so how tall, somebody is.
        longer = (lengths[:, _LEG].sum(-1) / self.lengths[centre][:, _LEG].sum(-1))[:, None]
        here = root[:, middle].clone()
        path = (root - here[:, None]) * longer[..., None]
        here[:, 2] = clearance * longer[:, 0] - joints[:, middle, :, 2].amin(-1)
        return joints, here[:, None] + path, outside

    def _joints(self, bones: Tensor, lengths: Tensor) -> Tensor:
        """Joints [..., 17, 3] about the pelvis, of bone directions [..., 48] and lengths [..., 16]."""
        scaled = bones * lengths.repeat_interleave(3, -1)
        return (scaled.reshape(-1, 48) @ self.sums).reshape(*bones.shape[:-1], 17, 3)

    def _lengths(self, known: Tensor, draw: Draw) -> Tensor:
        """Bone lengths [B, 16]: like those of the data; where known, half the time of any proportions.

        Joint definitions differ (hip and neck joints of another skeleton may lie half as far from
        the trunk's axis), and what is told need not be guessed.
        """
        batch = len(known)
        plain = draw.normal(batch, 10) @ self.bone_factor.T
        low, high = self.broad[:, 0], self.broad[:, 1]
        broad = low + (high - low) * draw.uniform(batch, 10)
        broad = broad + draw.normal(batch, 10) * 0.06 + draw.normal(batch, 1) * 0.12
        wide = draw.uniform(batch) < torch.where(known, 0.5, 0.05)
        return torch.exp(self.bone_mean + torch.where(wide[:, None], broad, plain))[:, self.free]

    def _view(self, batch: int, height: Tensor, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
        """World to camera R [B,3,3], t [B,3]; where the person stands [B,3] in the middle frame."""
        place = torch.cat([draw.normal(batch, 2).clamp(-2.5, 2.5), torch.zeros(batch, 1, device=self.device)], -1)
        lift = torch.where(draw.uniform(batch) < 0.1, draw.uniform(batch) * 0.8 - 0.3, draw.normal(batch) * 0.02)
        place[:, 2] = height + lift
        R, t = self._random_cameras(place, draw)
        if self.cameras is not None:
            pick = (draw.uniform(batch) * len(self.cameras[0])).long()
            real = draw.uniform(batch) < self.settings.real_cameras
            aim = rotation(draw.normal(batch, 3) * _AIM)
            theirs = self.cameras[1][pick] + draw.normal(batch, 3) * _SPREAD
            R = torch.where(real[:, None, None], aim @ self.cameras[0][pick], R)
            t = torch.where(real[:, None], torch.einsum("bij,bj->bi", aim, theirs), t)
        turn = rotation_z(draw.uniform(batch) * 2 * math.pi)
        # The person turns about the own vertical axis: the camera turns the other way round it.
        pivot = place * torch.tensor([1.0, 1.0, 0.0], device=self.device)
        shift = torch.einsum("bij,bj->bi", R, pivot - torch.einsum("bij,bj->bi", turn, pivot))
        return torch.bmm(R, turn), t + shift, place

    def _random_cameras(self, target: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        batch = len(target)
        azimuth = draw.uniform(batch) * 2 * math.pi
        distance = 1.8 + 7 * draw.uniform(batch) ** 1.3
        height = 0.3 + 3.2 * draw.uniform(batch)
        centre = torch.stack(
            [target[:, 0] + distance * torch.cos(azimuth), target[:, 1] + distance * torch.sin(azimuth), height], -1
        )
        aim = target + draw.normal(batch, 3) * 0.12 * distance[:, None] - centre
        z = torch.nn.functional.normalize(aim, dim=-1)
        roll = draw.normal(batch) * 0.1
        down = torch.tensor([0.0, 0.0, -1.0], device=self.device).expand_as(z)
        x = torch.nn.functional.normalize(torch.linalg.cross(down, z), dim=-1)
        y = torch.linalg.cross(z, x)
        c, s = torch.cos(roll)[:, None], torch.sin(roll)[:, None]
        R = torch.stack([c * x + s * y, c * y - s * x, z], 1)
        return R, -torch.einsum("bij,bj->bi", R, centre)

    def _observe(self, rays: Tensor, depth: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """2D errors of a detector: noise, bias, outliers, left/right flips, missing parts, confidence."""
        batch, frames = rays.shape[:2]
        pixel = (_DISTANCE / _FOCAL / depth.clamp_min(0.5))[:, None, None, None]  # of a person 5 m away
        kind = draw.uniform(batch)[:, None, None]  # a third of the windows is exact
        noisy = (kind > 0.33).float()
        sigma = 8 * draw.uniform(batch)[:, None, None] * noisy
        bias = draw.normal(batch, 1, 17, 2) * 0.4 * (kind > 0.8)[..., None]
        far = draw.uniform(batch, frames, 17) < 0.06 * draw.uniform(batch)[:, None, None] * noisy
        reach = sigma + far * (20 + 100 * draw.uniform(batch)[:, None, None])
        error = (draw.normal(batch, frames, 17, 2) * reach[..., None] + bias * sigma[..., None]) * pixel
        flipped = (draw.uniform(batch, frames) < 0.02) & (kind[:, 0] > 0.7)
        rays = torch.where(flipped[..., None, None], rays.index_select(2, self.swap), rays) + error

        # Half the detectors know how sure they are; the other half says 1 throughout.
        honest = (draw.uniform(batch) < 0.5).float()[:, None, None]
        doubt = draw.uniform(batch, frames, 17)
        confidence = 1 - honest * torch.where(far, 0.3 + 0.6 * doubt, 0.3 * doubt)
        rate = 0.5 * draw.uniform(batch)[:, None, None] * (draw.uniform(batch) < 0.25)[:, None, None]
        lost = draw.uniform(batch, frames, 17) < rate
        lost |= (draw.uniform(batch, 17) < 0.15)[:, None] & (draw.uniform(batch) < 0.2)[:, None, None]
        part = self.parts[(draw.uniform(batch) * len(_PARTS)).long()][:, None] > 0
        since = (draw.uniform(batch) * 2 * frames - frames).long()[:, None]
        during = torch.arange(frames, device=self.device)[None] >= since
        blind = 0.5 * draw.uniform(batch, 1) * (draw.uniform(batch, 1) < 0.1)
        lost |= (draw.uniform(batch, frames) < blind)[..., None]  # frames without a detection
        lost |= part & (draw.uniform(batch) < 0.2)[:, None, None] & during[..., None]
        return rays, confidence * ~lost
