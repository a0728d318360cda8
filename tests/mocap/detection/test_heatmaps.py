"""Decoding of heatmaps: against the Cramer-Rao bound, independence within the batch, equivariance."""

import math

import pytest

torch = pytest.importorskip("torch")

from mocap.detection.decoders import DecoderName, DecoderSettings  # noqa: E402
from mocap.detection.heatmaps import blur, centre_bound, decode_heatmaps  # noqa: E402
from mocap.errors import SettingsError  # noqa: E402

SIGMA = 2.0
EVERY = [DecoderSettings(method=m) for m in DecoderName]


def maps_at(centres, size=(64, 48), sigma=SIGMA, noise=0.0, seed=0, amplitude=1.0, wide=None):
    """Gaussian peaks [n, H, W] at centres [n, 2]; `wide` is a covariance [2, 2] instead of sigma."""
    y, x = torch.meshgrid(torch.arange(size[0]).float(), torch.arange(size[1]).float(), indexing="ij")
    d = torch.stack([x, y], -1) - centres[:, None, None]
    inverse = torch.linalg.inv(torch.as_tensor(wide)) if wide is not None else torch.eye(2) / sigma**2
    peaks = amplitude * torch.exp(-0.5 * torch.einsum("nhwi,ij,nhwj->nhw", d, inverse, d))
    return peaks + noise * torch.randn(peaks.shape, generator=torch.Generator().manual_seed(seed))


def random_centres(n, size=(64, 48), seed=1, margin=12.0):
    u = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed))
    return margin + u * (torch.tensor([size[1], size[0]]) - 1 - 2 * margin)


def rms(points, centres):
    return (points - centres).square().mean().sqrt().item()


@pytest.mark.parametrize(
    ("settings", "limit"),
    # Uniform rounding to a cell, 1 / sqrt(12); to half a cell; nothing; what the tails of the softmax pull.
    [(EVERY[0], 0.289 * 1.05), (EVERY[1], 0.5 * 0.289 * 1.05), (EVERY[2], 1e-3), (EVERY[3], 0.05)],
    ids=lambda v: str(getattr(v, "method", "")),
)
def test_clean_maps_are_decoded_to_the_methods_own_resolution(settings, limit):
    centres = random_centres(1000)
    assert rms(decode_heatmaps(maps_at(centres), settings).points, centres) < limit


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.1])
@pytest.mark.parametrize("sigma", [1.5, 2.0, 3.0])
def test_dark_reaches_the_cramer_rao_bound(noise, sigma):
    centres = random_centres(1500)
    found = decode_heatmaps(maps_at(centres, noise=noise, sigma=sigma), DecoderSettings(peak_sigma=sigma)).points
    ratio = rms(found, centres) / centre_bound(noise, 1.0, sigma)
    assert 0.93 < ratio < 1.1  # below 1 only by the scatter of 3000 samples (1.3 %)


def test_the_bound_itself_is_the_inverse_of_the_fisher_information():
    # Numerically from the definition: J = sum over cells of (dh/dc)^2 / s^2.
    centre = torch.tensor([[23.3, 31.8]], dtype=torch.float64, requires_grad=True)
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="ij")
    d = torch.stack([x, y], -1).double() - centre[:, None, None]
    peak = 0.7 * torch.exp(-(d**2).sum(-1) / (2 * SIGMA**2))
    slopes = torch.autograd.functional.jacobian(
        lambda c: 0.7 * torch.exp(-((torch.stack([x, y], -1).double() - c) ** 2).sum(-1) / (2 * SIGMA**2)), centre[0]
    )
    assert slopes.shape[:2] == peak.shape[1:]
    information = torch.einsum("hwi,hwj->ij", slopes, slopes) / 0.05**2
    bound = torch.linalg.inv(information).diagonal().sqrt()
    assert bound.tolist() == pytest.approx([centre_bound(0.05, 0.7, SIGMA)] * 2, rel=1e-6)


@pytest.mark.parametrize("settings", EVERY, ids=lambda s: s.method.value)
def test_the_batch_does_not_matter_to_the_bit(settings):
    maps = maps_at(random_centres(32), noise=0.05).reshape(4, 8, 64, 48)
    whole = decode_heatmaps(maps, settings)
    for i, j in ((0, 0), (1, 5), (3, 7)):
        alone = decode_heatmaps(maps[i, j], settings)
        assert torch.equal(alone.points, whole.points[i, j])
        assert torch.equal(alone.covariance, whole.covariance[i, j])
        assert torch.equal(alone.score, whole.score[i, j])


@pytest.mark.parametrize("settings", EVERY, ids=lambda s: s.method.value)
def test_turning_the_map_by_quarters_turns_the_point(settings):
    maps = maps_at(random_centres(200), noise=0.02)
    points = decode_heatmaps(maps, settings).points
    turned = decode_heatmaps(torch.rot90(maps, 1, (1, 2)), settings).points
    # (x, y) of a 48-wide map goes to (y, 47 - x).
    expected = torch.stack([points[:, 1], 47 - points[:, 0]], -1)
    assert (turned - expected).abs().max() < 1e-3


@pytest.mark.parametrize(("settings", "limit"), [(EVERY[2], 0.01), (EVERY[3], 0.15)], ids=["dark", "soft"])
def test_turning_the_picture_by_any_angle_turns_the_point(settings, limit):
    # A lopsided peak, so that its shape turns as well.
    middle = torch.tensor([23.5, 31.5])
    offsets = random_centres(40, (24, 24), margin=4.0) - 11.5
    wide = torch.tensor([[9.0, 1.5], [1.5, 4.0]])
    before = decode_heatmaps(maps_at(middle + offsets, wide=wide), settings)
    for angle in (0.2, 0.7, 1.3):
        turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        after = decode_heatmaps(maps_at(middle + offsets @ turn.T, wide=turn @ wide @ turn.T), settings)
        assert (after.points - middle - (before.points - middle) @ turn.T).abs().max() < limit
        if settings.method is DecoderName.DARK:
            assert (after.covariance - turn @ before.covariance @ turn.T).abs().max() < 0.25


def test_the_covariance_is_that_of_the_peak():
    wide = torch.tensor([[7.0, -2.0], [-2.0, 5.0]])
    found = decode_heatmaps(maps_at(random_centres(20, margin=16), wide=wide), DecoderSettings()).covariance
    assert (found - wide).abs().max() < 0.1
    two = maps_at(torch.tensor([[20.0, 30.0]])) + maps_at(torch.tensor([[24.0, 30.0]]))
    doubtful = decode_heatmaps(two, DecoderSettings()).covariance[0]
    assert doubtful[0, 0] > 1.5 * SIGMA**2
    assert doubtful[1, 1] == pytest.approx(SIGMA**2, rel=0.1)


@pytest.mark.parametrize("settings", EVERY, ids=lambda s: s.method.value)
def test_flat_and_border_maps_give_finite_points(settings):
    flat = torch.zeros(1, 64, 48)
    corner = maps_at(torch.tensor([[0.0, 0.0], [47.0, 63.0]]))
    for maps in (flat, corner, -torch.ones(1, 64, 48)):
        peaks = decode_heatmaps(maps, settings)
        assert torch.isfinite(peaks.points).all()
        assert torch.isfinite(peaks.covariance).all()
        assert (peaks.points >= 0).all()
        assert (peaks.points <= torch.tensor([47.0, 63.0])).all()
    assert decode_heatmaps(flat, DecoderSettings()).covariance[0, 0, 0] > 16


def test_blur_is_a_convolution():
    maps = torch.rand(3, 20, 17, generator=torch.Generator().manual_seed(0))
    k = torch.exp(-0.5 * (torch.arange(-6, 7) / 2.0) ** 2)
    kernel = torch.outer(k, k) / k.sum() ** 2
    expected = torch.nn.functional.conv2d(maps[:, None], kernel[None, None], padding=6)[:, 0]
    assert torch.allclose(blur(maps, 2.0), expected, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"peak_sigma": -1.0}, {"temperature": float("nan")}])
def test_settings_out_of_range(wrong):
    with pytest.raises(SettingsError):
        DecoderSettings(**wrong)
