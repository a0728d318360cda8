"""Bottom-up networks: people put together from tags and from part affinity fields, the published networks' keys."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mocap.detection.associative import TagGrouping, group_by_tags  # noqa: E402
from mocap.detection.bottom_up import FieldPeople, TagPeople  # noqa: E402
from mocap.detection.checkpoints import load_strictly  # noqa: E402
from mocap.detection.detector import make_detector, picture_network  # noqa: E402
from mocap.detection.heatmap_pose import IMAGENET_MEAN, IMAGENET_STD  # noqa: E402
from mocap.detection.higher_hrnet import HigherHRNet  # noqa: E402
from mocap.detection.openpose import OpenPose  # noqa: E402
from mocap.detection.part_affinity import LIMBS, FieldAssembly, assemble  # noqa: E402
from mocap.detection.peaks import Assembled, greedy_pairs  # noqa: E402
from mocap.detection.settings import DetectionSettings, DetectorName  # noqa: E402
from mocap.detection.slots import PictureDetector, likeness  # noqa: E402
from mocap.errors import WeightsError  # noqa: E402
from mocap.skeleton import COCO_17, OPENPOSE_18, Skeleton, apply_joint_map, joint_map  # noqa: E402

CPU = torch.device("cpu")
# A standing person, feet apart and arms held out, in units of its height; x to the person's left as seen.
STANDING = {
    "nose": (0, 0.1), "eye": (0.025, 0.08), "ear": (0.055, 0.09), "shoulder": (0.11, 0.2), "elbow": (0.2, 0.33),
    "wrist": (0.27, 0.45), "hip": (0.07, 0.52), "knee": (0.1, 0.74), "ankle": (0.13, 0.95),
}  # fmt: skip


def person(x, y, height, seed=0):
    """COCO-17 joints [17, 2] of somebody whose head's top is at (x, y)."""
    rng = np.random.default_rng(seed)
    rows = []
    for joint in COCO_17.joints:
        dx, dy = STANDING[joint.removeprefix("l_").removeprefix("r_")]
        rows.append((dx if joint.startswith("l_") else -dx, dy))
    return np.array([x, y]) + height * (np.array(rows) + rng.uniform(-0.01, 0.01, (17, 2)))


def bumps(points, size, sigma):
    """Heatmaps [J, H, W] with a peak at every one of points [P, J, 2] that is not NaN."""
    y, x = np.mgrid[: size[0], : size[1]]
    d2 = (x - points[..., 0, None, None]) ** 2 + (y - points[..., 1, None, None]) ** 2
    return np.nan_to_num(np.exp(-d2 / (2 * sigma**2))).max(0)


def tag_maps(points, tags, size):
    """Tags [J, H, W]: round each person's joints the person's own, far from them nonsense."""
    y, x = np.mgrid[: size[0], : size[1]]
    d2 = np.nan_to_num((x - points[..., 0, None, None]) ** 2 + (y - points[..., 1, None, None]) ** 2, nan=1e9)
    noise = np.random.default_rng(5).normal(0, 10, points.shape[1:2] + size)
    return np.where(d2.min(0) < 9, np.asarray(tags)[d2.argmin(0)], noise)


def fields(points, size, width=0.7):
    """Part affinity fields [38, H, W] of OPENPOSE_18 joints [P, 18, 2], by their definition (eq. 8-9 of the paper)."""
    y, x = np.mgrid[: size[0], : size[1]]
    out, count = np.zeros((38, *size)), np.zeros((38, *size))
    for joints in points:
        for (a, b), channels in zip(LIMBS.pairs, LIMBS.fields, strict=True):
            way = joints[b] - joints[a]
            if not np.isfinite(way).all():
                continue
            unit = way / np.linalg.norm(way)
            along = (x - joints[a][0]) * unit[0] + (y - joints[a][1]) * unit[1]
            across = np.abs((x - joints[a][0]) * unit[1] - (y - joints[a][1]) * unit[0])
            on = (along >= -0.5) & (along <= np.linalg.norm(way) + 0.5) & (across <= width)
            for channel, u in zip(channels, unit, strict=True):
                out[channel] += u * on
                count[channel] += on
    return out / np.maximum(count, 1)


def batch(*maps):
    return torch.from_numpy(np.stack(maps)).float()


def match(found, truth):
    """Largest distance of the joints of each true person [P, J, 2] from the found one that fits best."""
    distance = np.linalg.norm(found[:, None] - truth[None], axis=-1)
    return np.nanmin(np.nanmax(np.where(np.isfinite(truth).all(-1), distance, np.nan), -1), 0)


# Two who stand so close that their arms cross and each one's wrist is nearer to the other's elbow, and a third.
CROSSING = np.stack([person(60, 20, 90), person(97, 24, 92, 1), person(150, 40, 60, 2)])
SIZE = (128, 192)


def test_the_crossing_people_really_cross():
    wrist, elbow = COCO_17.index("l_wrist"), COCO_17.index("r_elbow")
    own = np.linalg.norm(CROSSING[0, wrist] - CROSSING[0, COCO_17.index("l_elbow")])
    assert np.linalg.norm(CROSSING[0, wrist] - CROSSING[1, elbow]) < own
    assert CROSSING[0, :, 0].max() > CROSSING[1, :, 0].min() + 5


def test_tags_tell_crossing_people_apart():
    maps = batch(bumps(CROSSING, SIZE, 2.0), bumps(CROSSING[:1], SIZE, 2.0), np.zeros((17, *SIZE)))
    tags = batch(*[tag_maps(CROSSING, (0.3, 1.9, 3.2), SIZE)] * 3)[:, None]
    found = group_by_tags(maps, tags, COCO_17, TagGrouping())
    assert found.points.shape == (3, 3, 17, 2)
    assert (match(found.points[0], CROSSING) < 0.35).all()  # peaks of neighbours pull a little
    assert np.isfinite(found.points).all((2, 3)).sum(1).tolist() == [3, 1, 0]
    assert np.isfinite(found.points[1:]).any((2, 3)).sum(1).tolist() == [1, 0]
    assert (found.score[0] > 0.8).all()
    assert np.allclose(found.sigma[0], 2.0, atol=0.5)


def test_missing_joints_stay_missing_and_two_tags_help():
    truth = CROSSING.copy()
    truth[0, 9], truth[1, :5] = np.nan, np.nan
    maps = batch(bumps(truth, SIZE, 2.0))
    tags = torch.stack([batch(tag_maps(truth, t, SIZE)) for t in ((0.0, 0.0, 3.0), (0.0, 2.5, 0.3))], 1)
    found = group_by_tags(maps, tags, COCO_17, TagGrouping()).points[0]
    assert (match(found, truth) < 0.35).all()
    assert np.isfinite(found).all(-1).sum() == np.isfinite(truth).all(-1).sum()
    # By the first tag alone two of them are one.
    alone = group_by_tags(maps, tags[:, :1], COCO_17, TagGrouping()).points[0]
    assert (match(alone, truth) > 5).any()


def openpose_joints(coco):
    return np.stack([apply_joint_map(joint_map(COCO_17, OPENPOSE_18), p) for p in coco])


SMALL = (46, 72)


@pytest.fixture(scope="module")
def openpose_maps():
    truth = openpose_joints(CROSSING * 0.375)
    return truth, bumps(truth, SMALL, 0.875), fields(truth, SMALL)


def test_fields_tell_crossing_people_apart(openpose_maps):
    truth, maps, paf = openpose_maps
    found = assemble(batch(maps, 0 * maps), batch(paf, paf), LIMBS, FieldAssembly())
    assert found.points.shape == (2, 3, 18, 2)
    near = [OPENPOSE_18.index(j) for j in OPENPOSE_18.joints if "e" not in j[-3:]]  # eyes and ears flow together
    assert (match(found.points[0][:, near], truth[:, near]) < 0.5).all()
    assert np.isnan(found.points[1]).all()
    # Without the fields of the arms nobody has forearms: nearness alone does not join.
    cut = paf.copy()
    cut[LIMBS.fields[[3, 5]].ravel()] = 0
    wrists = [OPENPOSE_18.index("l_wrist"), OPENPOSE_18.index("r_wrist")]
    assert np.isnan(assemble(batch(maps), batch(cut), LIMBS, FieldAssembly()).points[0][:, wrists]).all()


def test_a_field_of_the_other_direction_joins_nothing(openpose_maps):
    _, maps, paf = openpose_maps
    assert np.isnan(assemble(batch(maps), -batch(paf), LIMBS, FieldAssembly()).points).all()


def test_a_head_without_its_neck_is_joined_by_the_shoulder():
    truth = openpose_joints(person(36, 2, 40)[None])
    paf = fields(truth, SMALL)
    paf[LIMBS.fields[12]] = 0  # neck to nose
    settings = FieldAssembly(fewest_joints=3)
    whole = assemble(batch(bumps(truth, SMALL, 0.875)), batch(paf), LIMBS, settings)
    assert np.isfinite(whole.points[0]).all(-1).sum(1).tolist() == [18]
    paf[LIMBS.fields[17:]] = 0
    parts = assemble(batch(bumps(truth, SMALL, 0.875)), batch(paf), LIMBS, settings)
    assert sorted(np.isfinite(parts.points[0]).all(-1).sum(1).tolist()) == [5, 13]


@pytest.mark.parametrize("method", ["tags", "fields"])
def test_the_batch_does_not_matter(method, openpose_maps):
    _, maps, paf = openpose_maps
    rng = np.random.default_rng(3)
    noisy = [(m + rng.normal(0, 0.02, m.shape), p + rng.normal(0, 0.02, p.shape)) for m, p in [(maps, paf)] * 3]
    noisy[1] = (noisy[1][0] * (np.arange(72) < 36), noisy[1][1])

    def run(some):
        if method == "fields":
            return assemble(batch(*[s[0] for s in some]), batch(*[s[1] for s in some]), LIMBS, FieldAssembly())
        tags = batch(*[s[1][:18] for s in some])[:, None]
        return group_by_tags(batch(*[s[0] for s in some]), tags, OPENPOSE_18, TagGrouping(peak_sigma=0.875))

    whole = run(noisy)
    for k, one in enumerate(noisy):
        alone = run([one])
        people = alone.points.shape[1]
        np.testing.assert_array_equal(alone.points[0], whole.points[k, :people])
        assert np.isnan(whole.points[k, people:]).all()


def test_greedy_pairs_take_the_best_first():
    gain = np.array([[[0.9, 0.8], [0.85, -np.inf]], [[-np.inf, 0.1], [-np.inf, 0.2]]])
    assert greedy_pairs(gain).tolist() == [[0, -1], [-1, 1]]


def test_higher_hrnet_has_the_published_keys(shared):
    for width, millions in ((32, 28.65), (48, 63.83)):
        with torch.device("meta"):
            network = HigherHRNet(width, 17)
        mine = {k: list(v.shape) for k, v in network.state_dict().items()}
        backbone = json.loads((shared / "facts" / f"hrnet_w{width}_keys.json").read_text())
        backbone = {k: v for k, v in backbone.items() if not k.startswith("final_layer")}
        assert {k: v for k, v in mine.items() if k in backbone} == backbone
        head = {k: v for k, v in mine.items() if k not in backbone}
        assert head["final_layers.0.weight"] == [34, width, 1, 1]
        assert head["final_layers.1.weight"] == [17, width, 1, 1]
        assert head["deconv_layers.0.0.0.weight"] == [width + 34, width, 4, 4]
        assert head["deconv_layers.0.4.0.conv2.weight"] == [width, width, 3, 3]
        # Two output layers; a transposed convolution with its norm; four blocks of two convolutions with norms.
        assert len(head) == 2 * 2 + 1 + 5 + 4 * 2 * (1 + 5)
        assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_openpose_has_the_published_layers():
    with torch.device("meta"):
        network = OpenPose()
    shapes = {k: list(v.shape) for k, v in network.state_dict().items()}
    assert len(shapes) == 2 * (12 + 2 * (5 + 5 * 7))
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(52.31, abs=0.01)
    assert shapes["conv4_4_CPM.weight"] == [128, 256, 3, 3]
    assert shapes["conv5_5_CPM_L1.weight"] == [38, 512, 1, 1]
    assert shapes["Mconv1_stage2_L2.weight"] == [128, 185, 7, 7]
    assert shapes["Mconv7_stage6_L2.weight"] == [19, 128, 1, 1]
    assert LIMBS.fields.ravel().tolist() != sorted(LIMBS.fields.ravel())
    assert sorted(LIMBS.fields.ravel().tolist()) == list(range(38))


def filled(network):
    """Weights that differ from tensor to tensor; drawing 50 million random numbers would take seconds."""
    return {
        k: torch.full(v.shape, 1e-3 * (1 + i % 97), dtype=v.dtype)
        for i, (k, v) in enumerate(network.state_dict().items())
    }


@pytest.mark.parametrize(
    ("name", "make", "prefix", "shapes"),
    [
        # HigherHRNet's published files were saved from a wrapper whose keys start with "1.".
        (DetectorName.HIGHERHRNET_W32, lambda: HigherHRNet(32, 17), "1.", [(17, 32, 48)] * 2),
        (DetectorName.OPENPOSE, OpenPose, "", [(18, 8, 12), (38, 8, 12)]),
    ],
    ids=["higherhrnet", "openpose"],
)
def test_checkpoints_load_strictly_and_run(tmp_path, monkeypatch, name, make, prefix, shapes):
    monkeypatch.setenv("MOCAP_CACHE", str(tmp_path / "cache"))
    with torch.device("meta"):
        empty = make()
    state, file = filled(empty), tmp_path / "downloaded.pth"
    torch.save({prefix + k: v for k, v in state.items()}, file)
    settings = DetectionSettings(detector=name)
    network = picture_network(settings, CPU, file).network
    loaded = network.state_dict()
    assert all(torch.equal(v, loaded[k]) for k, v in state.items())
    with torch.inference_mode():
        assert [tuple(x.shape[1:]) for x in network(torch.zeros(1, 3, 64, 96))] == shapes
    del state[next(iter(state))]
    torch.save(state, file)
    with pytest.raises(WeightsError, match="another network"):
        load_strictly(empty, file, add_command="")
    with pytest.raises(WeightsError, match="weights are missing") as caught:
        make_detector(settings, CPU)
    assert f"mocap models add {name.value} FILE" in caught.value.hint
    file.unlink()


MARKS = Skeleton("marks", ("red", "green", "blue"), (), ())


class Dots(torch.nn.Module):
    """Stands for a trained network: heatmap j peaks where channel j of the picture does; tags tell left from right."""

    def forward(self, images):
        mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        heatmaps = (images * std + mean)[..., ::2, ::2]
        middle = 2.0 * (torch.arange(heatmaps.shape[-1]) > heatmaps.shape[-1] / 2)
        return heatmaps, middle.expand(heatmaps.shape)


@pytest.mark.parametrize("flip", [False, True], ids=["plain", "flip"])
def test_tagged_people_come_back_to_raw_pixels(flip):
    truth = np.array([[[100.3, 80.7], [141.9, 150.2], [80.4, 210.6]], [[450.8, 90.1], [500.2, 180.3], [430.5, 300.4]]])
    picture = np.round(250 * bumps(truth, (360, 640), 6.0)).astype(np.uint8).transpose(1, 2, 0)[..., ::-1]
    network = TagPeople(Dots(), CPU, 256, flip=flip, skeleton=MARKS, grouping=TagGrouping(mean_score=0.5))
    found = network(np.stack([picture, np.zeros_like(picture)]))
    assert (match(found.points[0], truth) < 0.25).all()
    assert np.isnan(found.points[1]).all()


class Drawn(torch.nn.Module):
    """Gives the maps it was made with."""

    def __init__(self, maps, paf):
        super().__init__()
        self.maps, self.paf = maps, paf

    def forward(self, images):
        assert images.shape == (1, 3, 368, 576)
        assert images[0, :, 367, 575].tolist() == [0.0, 0.0, 0.0]  # border
        return self.maps, self.paf


def test_people_of_fields_come_back_to_raw_pixels(openpose_maps):
    # 1000 x 640 px are scaled by 0.575 to 575 x 368, 8 to a cell.
    truth, maps, paf = openpose_maps
    found = FieldPeople(Drawn(batch(maps), batch(paf)), CPU)(np.zeros((1, 640, 1000, 3), np.uint8))
    raw = ((truth + 0.5) * 8 - 0.5 + 0.5) / 0.575 - 0.5
    body = [OPENPOSE_18.index(j) for j in ("neck", "l_hip", "r_knee", "l_ankle", "r_elbow")]
    assert (match(found.points[0][:, body], raw[:, body]) < 3).all()  # a fifth of a cell
    assert (found.sigma[0][:, body] < 8 / 0.575).all()


class Script:
    """A picture network that says what it is told: people [T, P, 17, 2], one frame after the other."""

    skeleton = COCO_17

    def __init__(self, people):
        self.people, self.at = people, 0

    def __call__(self, frames):
        shown = self.people[self.at : self.at + len(frames)]
        self.at += len(frames)
        there = np.isfinite(shown).all(-1)
        return Assembled(shown, np.where(there, 0.9, 0.0), np.where(there, 1.0, np.nan))


def test_people_keep_their_slots_while_crossing_and_after_a_gap():
    steps = np.arange(40)[:, None, None]
    left = person(100, 50, 200) + steps * np.array([6.0, 0.0])
    right = person(340, 90, 230, 1) - steps * np.array([6.0, 0.0])
    people = np.stack([left, right], 1)
    order = np.random.default_rng(0).integers(0, 2, 40)
    shuffled = people[np.arange(40)[:, None], np.stack([order, 1 - order], 1)]
    shuffled[12:15] = np.nan
    detector = PictureDetector(Script(shuffled), DetectionSettings(max_people=4))
    detector.start(30.0)
    blank = np.zeros((8, 4, 4, 3), np.uint8)
    keypoints = np.concatenate([detector.detect(blank).keypoints for _ in range(5)])
    assert np.isnan(keypoints[12:15]).all()
    assert np.isnan(keypoints[:, 2:]).all()
    seen = [t for t in range(40) if t not in (12, 13, 14)]
    first = 0 if order[0] == 0 else 1
    np.testing.assert_allclose(keypoints[seen, first], left[seen], rtol=1e-6)
    np.testing.assert_allclose(keypoints[seen, 1 - first], right[seen], rtol=1e-6)


def test_somebody_new_does_not_get_the_slot_of_who_was_just_lost():
    people = np.full((20, 1, 17, 2), np.nan)
    people[:5, 0], people[6:12, 0] = person(100, 50, 200), person(600, 50, 200)
    people[12:, 0] = person(600, 50, 200)
    found = PictureDetector(Script(people), DetectionSettings(max_people=2)).detect(np.zeros((20, 4, 4, 3), np.uint8))
    assert np.isfinite(found.keypoints[:5, 0]).all()
    assert np.isfinite(found.keypoints[6:, 1]).all()


def test_likeness_is_one_for_the_same_and_needs_shared_joints():
    a = person(50, 50, 100)
    half = a.copy()
    half[5:] = np.nan
    few = a.copy()
    few[2:] = np.nan
    assert likeness(a, a) == pytest.approx(1)
    assert likeness(half, a) == pytest.approx(1)
    assert likeness(few, a) == 0
    assert likeness(a + [300, 0], a) < 1e-6
