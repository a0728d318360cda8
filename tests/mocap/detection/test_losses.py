"""Targets and losses of pose networks: by their definitions, and gradients against finite differences."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mocap.detection.decoders import DecoderSettings  # noqa: E402
from mocap.detection.heatmaps import decode_heatmaps, soft_argmax  # noqa: E402
from mocap.detection.losses import coordinate_loss, map_mse, tag_loss  # noqa: E402
from mocap.detection.part_affinity import LIMBS, FieldAssembly, LimbTree, assemble  # noqa: E402
from mocap.detection.targets import field_targets, heatmap_targets, multi_scale_targets  # noqa: E402

NAN = math.nan


def points(*people):
    """Float64 [1, P, J, 2] and what of it is labelled."""
    p = torch.tensor([people], dtype=torch.float64)
    return p.nan_to_num(), torch.isfinite(p).all(-1)


def test_heatmap_targets_peak_where_the_joints_are():
    p, labelled = points([[10.3, 7.8], [3.0, 4.0]], [[20.6, 12.1], [NAN, NAN]])
    maps, weight = heatmap_targets(p, labelled, (20, 30), 2.0)
    assert maps.shape == (1, 2, 20, 30)
    y, x = np.mgrid[:20, :30]
    for px, py in ((10.3, 7.8), (20.6, 12.1)):
        d2 = (x - px) ** 2 + (y - py) ** 2
        near = d2 < 16
        np.testing.assert_allclose(maps[0, 0].numpy()[near], np.exp(-d2[near] / 8), atol=0.02)
    assert maps[0, 1, 4, 3] == 1
    assert maps.max() <= 1
    assert (maps[0, 0, 0] == 0).all()
    # The second person's second joint is unknown: that map teaches nothing.
    assert weight.tolist() == [[1.0, 0.0]]


def test_nobody_and_joints_outside_are_background_to_be_learnt():
    p, labelled = points([[40.0, 5.0]], [[NAN, NAN]])
    maps, weight = heatmap_targets(p, labelled, (10, 10), 2.0)
    assert maps.max() == 0
    assert weight.tolist() == [[1.0]]
    maps, weight = heatmap_targets(p, torch.zeros_like(labelled), (10, 10), 2.0)
    assert (maps.max(), weight.min()) == (0, 1)


def test_decoding_a_target_gives_the_joint_back_at_every_scale():
    rng = torch.Generator().manual_seed(0)
    p = 24 + 80 * torch.rand(6, 1, 5, 2, generator=rng)
    labelled = torch.ones(p.shape[:-1], dtype=torch.bool)
    for stride, (maps, weight) in zip(
        (4.0, 2.0), multi_scale_targets(p, labelled, [(32, 32), (64, 64)], (4.0, 2.0), 2.0), strict=True
    ):
        assert weight.min() == 1
        found = decode_heatmaps(maps, DecoderSettings()).points * stride
        assert (found - p[:, 0]).abs().max() < 0.03 * stride  # the cut tails


def test_field_targets_are_unit_vectors_along_the_limb_and_are_read_back():
    limbs = LimbTree(np.array([[0, 1]]), np.array([[0, 1]]), 1)
    p, labelled = points([[5.0, 5.0], [17.0, 14.0]], [[NAN, NAN], [3.0, 3.0]])
    fields, weight = field_targets(p, labelled, limbs, (20, 24), 1.0)
    assert fields[0, :, 8, 9].tolist() == pytest.approx([0.8, 0.6])
    assert fields[0, :, 8, 20].tolist() == [0, 0]
    on = fields[0].norm(dim=0) > 0
    assert fields[0].norm(dim=0)[on].tolist() == pytest.approx([1.0] * int(on.sum()))
    assert 25 < on.sum() < 40  # 15 long, 2 wide
    assert weight.tolist() == [[0.0, 0.0]]  # the second person's limb is unknown
    crossing, both = points([[4.0, 10.0], [16.0, 10.0]], [[10.0, 4.0], [10.0, 16.0]])
    fields, weight = field_targets(crossing, both, limbs, (20, 24), 1.0)
    assert fields[0, :, 10, 10].tolist() == pytest.approx([0.5, 0.5])
    assert weight.min() == 1


def test_what_is_drawn_is_assembled_to_the_same_people():
    rng = np.random.default_rng(2)
    grid = np.stack([np.tile([6.0, 14.0, 22.0, 30.0, 38.0, 46.0], 3), np.repeat([8.0, 22.0, 36.0], 6)], -1)
    people = np.stack([grid + rng.uniform(-1, 1, grid.shape), grid + [52.0, 3.0] + rng.uniform(-1, 1, grid.shape)])
    p = torch.from_numpy(people[None]).float()
    labelled = torch.ones(p.shape[:-1], dtype=torch.bool)
    maps, _ = heatmap_targets(p, labelled, (54, 110), 0.875)
    fields, _ = field_targets(p, labelled, LIMBS, (54, 110), 0.7)
    found = assemble(maps, fields, LIMBS, FieldAssembly()).points[0]
    best = np.linalg.norm(found[:, None] - people[None], axis=-1).max(-1).min(0)
    assert found.shape == (2, 18, 2)
    assert (best < 0.2).all()


def test_map_loss_is_the_mean_over_what_is_known():
    maps, target = torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, 4, 5)
    maps[0, 1], maps[1, 2] = 2.0, 7.0
    weight = torch.ones(2, 3)
    weight[1, 2] = 0
    assert map_mse(maps, target, weight).item() == pytest.approx(4 / 5)
    assert map_mse(maps, target, 0 * weight).item() == 0


def test_tag_loss_by_its_definition():
    # Two people of two joints with tags 1, 3 and 2, 2; a third joint of the second unknown.
    p, labelled = points([[1.0, 1.0], [5.0, 2.0]], [[8.0, 8.0], [NAN, NAN]])
    tags = torch.zeros(1, 2, 10, 10, dtype=torch.float64)
    tags[0, 0, 1, 1], tags[0, 1, 2, 5], tags[0, 0, 8, 8] = 1.0, 3.0, 2.5
    pull, push = tag_loss(tags, p, labelled)
    assert pull.item() == pytest.approx((1.0 + 0.0) / 2)  # mean of squares about 2; one joint alone: 0
    assert push.item() == pytest.approx(math.exp(-0.5 * 0.5**2))
    alone, nothing = tag_loss(tags, p[:, :1], labelled[:, :1])
    assert (alone.item(), nothing.item()) == (pytest.approx(1.0), 0.0)
    outside = p + 20
    assert tag_loss(tags, outside, labelled)[0].item() == 0


def test_training_tags_alone_separates_the_people():
    rng = torch.Generator().manual_seed(3)
    p = (2 + 26 * torch.rand(1, 3, 6, 2, generator=rng)).double()
    labelled = torch.ones(1, 3, 6, dtype=torch.bool)
    tags = (0.1 * torch.randn(1, 6, 30, 30, generator=rng)).double().requires_grad_()
    optimiser = torch.optim.Adam([tags], lr=0.1)
    for _ in range(80):
        optimiser.zero_grad()
        sum(tag_loss(tags, p, labelled)).backward()
        optimiser.step()
    cells = p[0].round().long()
    values = tags[0, torch.arange(6)[None], cells[..., 1], cells[..., 0]]
    assert values.std(1).max() < 0.2
    means = values.mean(1).sort().values
    assert means.diff().min() > 1.0


def test_coordinate_loss_weighs_and_is_robust():
    found = torch.tensor([[[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]])
    truth = torch.tensor([[[0.5, 0.0], [10.0, 0.0], [NAN, NAN]]])
    assert coordinate_loss(found, truth, torch.tensor([[1.0, 0.0, 0.0]])).item() == pytest.approx(0.125)
    assert coordinate_loss(found, truth, torch.tensor([[1.0, 0.5, 0.0]])).item() == pytest.approx(
        (0.125 + 0.5 * 9.5) / 1.5
    )
    assert coordinate_loss(found, truth, torch.zeros(1, 3)).item() == 0


def test_gradients_are_those_of_finite_differences():
    rng = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.rand(*shape, generator=rng, dtype=torch.float64).requires_grad_()

    target, weight = torch.rand(2, 3, 6, 7, generator=rng).double(), torch.tensor([[1.0, 0, 0.5], [1, 1, 0]]).double()
    assert torch.autograd.gradcheck(lambda m: map_mse(m, target, weight), random(2, 3, 6, 7))
    p = 6 * torch.rand(2, 2, 3, 2, generator=rng).double()
    labelled = torch.tensor([[[1, 1, 0], [1, 1, 1]], [[1, 0, 1], [0, 0, 0]]]).bool()
    assert torch.autograd.gradcheck(lambda t: tag_loss(t, p, labelled), random(2, 3, 7, 7))
    truth, confidence = 3 * torch.rand(2, 4, 2, generator=rng).double(), torch.rand(2, 4, generator=rng).double()
    confidence[0, 0], truth[0, 0] = 0, NAN
    assert torch.autograd.gradcheck(lambda q: coordinate_loss(q, truth, confidence, beta=0.4), random(2, 4, 2))


def test_coordinates_are_trained_through_the_heatmap():
    maps = torch.randn(1, 1, 16, 12, generator=torch.Generator().manual_seed(1)).requires_grad_()
    truth = torch.tensor([[[7.3, 9.6]]])
    optimiser = torch.optim.Adam([maps], lr=0.05)
    for _ in range(200):
        optimiser.zero_grad()
        coordinate_loss(soft_argmax(maps, 0.07), truth, torch.ones(1, 1)).backward()
        optimiser.step()
    assert (soft_argmax(maps, 0.07) - truth).abs().max() < 0.1
