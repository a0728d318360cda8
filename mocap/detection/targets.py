"""What pose networks are trained to draw: Gaussian heatmaps and part affinity fields.

Sources: J. Tompson et al., Joint Training of a Convolutional Network and a Graphical Model (NeurIPS 2014)
for heatmaps; Z. Cao et al., OpenPose (PAMI 2021), eq. 8-9 for the fields; B. Cheng et al., HigherHRNet (CVPR
2020), section 3.3 for several resolutions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mocap.detection.part_affinity import LimbTree

_TAIL = 3.0


def heatmap_targets(
    points: torch.Tensor, labelled: torch.Tensor, size: tuple[int, int], sigma: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gaussian peaks of height 1 at the joints.

    Parameters
    ----------
    points : float [n, P, J, 2]
        x, y in cells; NaN allowed where not labelled.
    labelled : bool [n, P, J]
        Whether anybody said where the joint is. Who has no labelled joint is nobody.
    size : (int, int)
        Height and width, cells.
    sigma : float
        Standard deviation, cells.

    Returns
    -------
    heatmaps : float [n, J, H, W]
        The highest of all people's peaks; the tails beyond 3 sigma are cut, as is usual.
    weight : float [n, J]
        1 where all people's joint is labelled: elsewhere an unlabelled joint would be taught as background. A joint
        labelled outside the map counts: there is nothing of it to see, which is to be learnt too.
    """
    height, width = size
    where = torch.where(labelled[..., None], points, torch.full_like(points, -1e4))
    x = torch.arange(width, device=points.device, dtype=points.dtype) - where[..., 0, None]
    y = torch.arange(height, device=points.device, dtype=points.dtype) - where[..., 1, None]
    squared = y.square()[..., :, None] + x.square()[..., None, :]
    peaks = torch.exp(-squared / (2 * sigma**2)) * (squared <= (_TAIL * sigma) ** 2)
    return peaks.amax(1), _complete(labelled).to(points.dtype)


def multi_scale_targets(
    points: torch.Tensor, labelled: torch.Tensor, sizes: Sequence[tuple[int, int]], strides: Sequence[float],
    sigma: float,
) -> list[tuple[torch.Tensor, torch.Tensor]]:  # fmt: skip
    """Targets of several resolutions for points in image px; each cell i lies at pixel stride * i.

    The peaks are equally wide in cells, so finer maps ask for finer answers.
    """
    return [
        heatmap_targets(points / stride, labelled, size, sigma) for size, stride in zip(sizes, strides, strict=True)
    ]


def field_targets(
    points: torch.Tensor, labelled: torch.Tensor, limbs: LimbTree, size: tuple[int, int], width: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Part affinity fields: on each limb the unit vector along it.

    Parameters
    ----------
    points : float [n, P, J, 2]
        x, y in cells.
    labelled : bool [n, P, J]
    limbs : LimbTree
    size : (int, int)
        Height and width, cells.
    width : float
        Half the width of a limb, cells.

    Returns
    -------
    fields : float [n, 2 L, H, W]
        Where limbs of several people cross, the mean of those that are there.
    weight : float [n, 2 L]
        1 where both ends of all people's limb are labelled.
    """
    pairs = torch.from_numpy(limbs.pairs).to(points.device)
    known = labelled[:, :, pairs[:, 0]] & labelled[:, :, pairs[:, 1]]  # [n, P, L]
    start, end = (torch.where(known[..., None], points[:, :, pairs[:, k]], torch.zeros(())) for k in (0, 1))
    way = (end - start).to(points.dtype)
    length = way.norm(dim=-1)
    unit = way / length.clamp_min(1e-6)[..., None]
    x = torch.arange(size[1], device=points.device, dtype=points.dtype) - start[..., 0, None]
    y = torch.arange(size[0], device=points.device, dtype=points.dtype) - start[..., 1, None]
    ux, uy = unit[..., 0, None, None], unit[..., 1, None, None]
    along = x[..., None, :] * ux + y[..., :, None] * uy  # [n, P, L, H, W]
    across = x[..., None, :] * uy - y[..., :, None] * ux
    on = (along >= 0) & (along <= length[..., None, None]) & (across.abs() <= width) & known[..., None, None]
    on = on & (length > 0)[..., None, None]
    total = (on[..., None] * unit[..., None, None, :]).sum(1)  # [n, L, H, W, 2]
    mean = total / on.sum(1).clamp_min(1)[..., None]
    fields = torch.zeros(len(points), 2 * len(pairs), *size, device=points.device, dtype=points.dtype)
    weight = torch.zeros(len(points), 2 * len(pairs), device=points.device, dtype=points.dtype)
    complete, channels = _complete(labelled), torch.from_numpy(limbs.fields).to(points.device)
    for k in (0, 1):
        fields[:, channels[:, k]] = mean[..., k]
        weight[:, channels[:, k]] = (complete[:, pairs[:, 0]] & complete[:, pairs[:, 1]]).to(points.dtype)
    return fields, weight


def _complete(labelled: torch.Tensor) -> torch.Tensor:
    """Whether all people of a picture have the joint labelled: bool [n, J]."""
    nobody = ~labelled.any(-1, keepdim=True)
    return (labelled | nobody).all(1)
