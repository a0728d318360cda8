"""Geometry of regions and crops against analytic images."""

import numpy as np
import pytest

from mocap.detection import regions as rg


def test_the_top_point_comes_to_lie_straight_up():
    centre, top = np.array([300.0, 200.0]), np.array([340.0, 120.0])
    region = rg.from_alignment(centre, top, 1.25)
    assert region[2] == pytest.approx(2.5 * np.hypot(40, 80))
    affine = rg.image_from_crop(region, 256)
    # The crop's centre is between its pixels; one half side / 1.25 above it is the top point.
    above = rg.apply(affine, np.array([[127.5, 127.5], [127.5, 127.5 - 128 / 1.25]]))
    assert np.allclose(above, [centre, top])


def test_an_upright_region_of_the_crops_size_is_a_cut_out():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (100, 120, 3), dtype=np.uint8)
    region = np.array([40 + 31.5, 20 + 31.5, 64.0, 0.0])
    assert (rg.crop(image, region, 64) == image[20:84, 40:104]).all()


def test_outside_is_filled_or_repeated():
    image = np.full((50, 50, 3), 200, np.uint8)
    region = np.array([0.0, 25.0, 60.0, 0.0])
    assert rg.crop(image, region, 32, fill=0)[16, 0].tolist() == [0, 0, 0]
    assert rg.crop(image, region, 32)[16, 0].tolist() == [200, 200, 200]


@pytest.mark.parametrize("size", [150.0, 700.0, 1700.0, 5000.0])
@pytest.mark.parametrize("angle", [0.0, 0.7, -2.5])
def test_crop_pixels_show_the_image_points_the_map_says(size, angle):
    # A ramp is the same under averaging and bilinear sampling, so its values tell the position, to
    # within the rounding to integers. Rising minus falling ramp: averaging rounds halves up.
    height, width = 1100, 1500
    extent = np.array([width, height])
    position = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1) * 255.0 / extent
    rising = np.dstack([position, np.zeros((height, width))]).round().astype(np.uint8)
    region = np.array([760.0, 540.0, size, angle])
    up, down = (rg.crop(i, region, 128).reshape(-1, 3)[:, :2].astype(float) for i in (rising, 255 - rising))
    seen = (up + 255 - down) / 2 * extent / 255
    grid = np.stack(np.meshgrid(np.arange(128.0), np.arange(128.0)), -1).reshape(-1, 2)
    at = rg.apply(rg.image_from_crop(region, 128), grid)
    block = 2 * size / 128
    inside = ((at > block) & (at < extent - 1 - block)).all(-1)
    assert inside.sum() > 500
    error = (seen - at)[inside]
    assert np.abs(error).max() < 1.5 * width / 255
    # A systematic shift would be a bias of every joint.
    assert np.abs(error.mean(0)).max() < 0.2


def test_maps_are_batched():
    regions = np.array([[10.0, 20, 64, 0.3], [50.0, 5, 100, -1.0]])
    points = np.random.default_rng(0).uniform(0, 64, (2, 7, 2))
    both = rg.apply(rg.image_from_crop(regions, 64), points)
    for k in range(2):
        assert np.allclose(both[k], rg.apply(rg.image_from_crop(regions[k], 64), points[k]))


def test_angles_are_interpolated_the_short_way():
    regions = np.array([[0.0, 0, 10, 3.0], [10.0, 20, 30, -3.0]])
    middle = rg.interpolate(np.array([4, 5, 6, 9]), np.array([4, 6]), regions)
    assert middle[1, :3] == pytest.approx([5, 10, 20])
    assert np.cos(middle[1, 3]) == pytest.approx(-1.0)
    assert middle[3, :3] == pytest.approx([10, 20, 30])


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1080, 1920), (1000, 1000), (640, 480), (300, 2000)])
@pytest.mark.parametrize("levels", [1, 2])
def test_windows_cover_the_frame_with_overlap(width, height, levels):
    windows = rg.search_windows(width, height, levels)
    assert windows[0].tolist() == [(width - 1) / 2, (height - 1) / 2, max(width, height), 0]
    sides = sorted(set(windows[1:, 2]))
    assert len(sides) == levels
    for side in sides:
        tiles = windows[1:][windows[1:, 2] == side]
        low, high = tiles[:, :2] - (side - 1) / 2, tiles[:, :2] + (side - 1) / 2
        assert low.min() >= 0
        assert (high.max(0) <= [width - 1, height - 1]).all()
        # Anything up to half a tile wide lies whole in some tile.
        for x in np.linspace(0, width - side / 2, 13):
            for y in np.linspace(0, height - side / 2, 13):
                whole = (low <= [x + 1, y + 1]).all(1) & (high >= [x + side / 2 - 2, y + side / 2 - 2]).all(1)
                assert whole.any(), (x, y)


def test_no_tiles():
    assert len(rg.search_windows(1920, 1080, 0)) == 1
