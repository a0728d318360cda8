"""The report names the fault of a broken take first, loads nothing from elsewhere and escapes what it is given."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from calibration.camera import CameraRig
from mocap.arrays import array_specs
from mocap.errors import DataError
from mocap.matching import match_people
from mocap.matching.settings import MatchingSettings, MatchOverride
from mocap.report import Finding, Severity, Take, find, page, summary_sentence
from mocap.report.measures import Measures, binned, runs_of
from mocap.report.report import render
from mocap.report.take import StageRun
from mocap.skeleton import COCO_17
from mocap.storage.alignment_record import AlignmentRecord
from mocap.synthetic import observe, procedural_motion, ring_rig, truth_positions
from mocap.synthetic.crowd import CrowdKind, make_crowd
from mocap.synthetic.noise import NoiseSettings
from mocap.triangulation import triangulate
from mocap.types import Keypoints2D

FRAMES = 120
VOID = {"meta", "img", "br", "link", "input", "hr"}


@cache
def crowd():
    return make_crowd(2, 4, CrowdKind.MIXED, frames=FRAMES, fps=25.0, seed=4, noise=NoiseSettings(), theft_rate=0.0)


def take_of(keypoints: Keypoints2D, rig: CameraRig, overrides: tuple[MatchOverride, ...] = ()) -> Take:
    """What the pipeline makes of keypoints and a rig, without the stages that the findings do not need."""
    matches = match_people(keypoints, rig, MatchingSettings(override=overrides))
    raw = triangulate(matches, rig)
    detected = (keypoints.confidence > 0).any((2, 3))
    order = [keypoints.cameras.index(c) for c in matches.cameras]
    stages = (StageRun("filter", "up to date", 1, 0.5, 0.1, "2026-01-01", (("cutoff_hz", "6.0"),)),)
    return Take("take", detected[order], matches, rig.select(matches.cameras), raw, raw, stages=stages)


@cache
def good() -> Take:
    return take_of(crowd().observation.keypoints, crowd().rig)


def silenced(keypoints: Keypoints2D, camera: int, rows: slice) -> Keypoints2D:
    confidence = keypoints.confidence.copy()
    confidence[camera, rows] = 0
    return replace(keypoints, confidence=confidence)


def turned(rig: CameraRig, camera: int, degrees: float) -> CameraRig:
    turn = Rotation.from_rotvec([0, np.radians(degrees), 0]).as_matrix()
    cameras = list(rig.cameras)
    c = cameras[camera]
    cameras[camera] = replace(c, R=turn @ c.R, t=turn @ c.t)
    return CameraRig(tuple(cameras))


def faults(take: Take) -> list[Finding]:
    return [f for f in find(Measures(take)) if f.severity is Severity.FAULT]


def first_screen(html: str) -> str:
    """What stands before the navigation: the summary and the findings."""
    return html[html.index("<body>") : html.index("<nav>")]


def test_a_good_take_has_no_faults() -> None:
    assert faults(good()) == []
    assert not summary_sentence(find(Measures(good()))).startswith("Fault")


def test_a_camera_that_dies_half_way_is_named_first() -> None:
    half = FRAMES // 2
    take = take_of(silenced(crowd().observation.keypoints, 2, slice(half, None)), crowd().rig)
    first = find(Measures(take))[0]
    assert first.severity is Severity.FAULT
    assert first.camera == take.matches.cameras[2]
    assert first.frames is not None
    assert abs(first.frames[0] - half) <= 2  # the detector misses somebody now and then
    assert first.text in first_screen(render(Measures(take)))


@pytest.mark.parametrize("degrees", [1.0, 3.0, 15.0])
def test_a_camera_with_a_bad_calibration_is_named(degrees: float) -> None:
    take = take_of(crowd().observation.keypoints, turned(crowd().rig, 1, degrees))
    found = faults(take)
    assert found
    assert found[0].camera == take.matches.cameras[1]
    assert "calibrat" in found[0].text + found[0].advice
    assert {f.camera for f in found} == {take.matches.cameras[1]}
    assert len(found) == 1  # what follows from it is not said again
    assert [f for f in find(Measures(take)) if f.camera] == found  # nor is another camera blamed


def test_a_camera_is_not_blamed_for_standing_near() -> None:
    """The same mistakes of the detector, in parts of the person's height, at a third of the distance."""
    rig = ring_rig(4, seed=5)
    c = rig.cameras[1]
    towards = c.centre + (np.array([0.0, 0.0, 1.0]) - c.centre) * 2 / 3
    rig = CameraRig((rig.cameras[0], replace(c, t=-c.R @ towards), *rig.cameras[2:]))
    truth = truth_positions(procedural_motion(FRAMES, 25.0, seed=6), COCO_17)
    k = observe(truth, rig, NoiseSettings(sigma_px=0.0), 7, joint_names=COCO_17.joints, fps=25.0)
    mistakes = np.random.default_rng(8).normal(0, 0.015, k.keypoints.shape)
    scale = np.linalg.norm(rig.centres - [0.0, 0.0, 1.0], axis=-1) / rig.K[:, 0, 0]
    keypoints = (k.keypoints + mistakes / scale[:, None, None, None, None]).astype(np.float32)
    m = Measures(take_of(replace(k, keypoints=keypoints), rig))
    assert m.camera_error[1] > 2.5 * np.median(np.delete(m.camera_error, 1))
    np.testing.assert_allclose(m.camera_error_m, np.median(m.camera_error_m), rtol=0.3)
    assert not [f for f in find(m) if f.camera and f.severity is Severity.FAULT]


def test_cameras_are_not_measured_by_people_whom_they_never_saw() -> None:
    """A long hall: two cameras at each end, somebody who spends most of the take at the far one."""
    near = ring_rig(2, seed=5)
    shift = np.array([25.0, 0.0, 0.0])
    far = (replace(c, name=f"far_{c.name}", t=c.t - c.R @ shift) for c in near.cameras)
    rig = CameraRig((*near.cameras, *far))
    truth = truth_positions(procedural_motion(FRAMES, 25.0, seed=6), COCO_17)
    turn = int(0.3 * FRAMES)
    truth[turn:] += shift
    k = observe(truth, rig, NoiseSettings(sigma_px=3.0), 7, joint_names=COCO_17.joints, fps=25.0)
    confidence = k.confidence.copy()
    confidence[:2, turn:] = 0
    confidence[2:, :turn] = 0
    m = Measures(take_of(replace(k, confidence=confidence), rig))
    np.testing.assert_allclose(m.camera_error_m, np.median(m.camera_error_m), rtol=0.5)
    assert not [f for f in find(m) if "mm at the person" in f.text]


def aligned(take: Take, **values) -> Take:
    """The take with what synchronisation found of its cameras; nothing unless given."""
    V = len(take.matches.cameras)
    sizes = {"V": V, "3": 3}
    empty = {
        name: np.zeros([sizes.get(d, 0) for d in spec.dims], spec.dtype)
        for name, spec in array_specs(AlignmentRecord).items()
    }
    record = AlignmentRecord(**{**empty, **values, "cameras": take.matches.cameras, "statements": ("",) * V})
    return replace(take, alignment=record)


def test_cameras_turned_along_with_a_moved_one_are_not_blamed() -> None:
    turn = np.radians([[0.0, 0.1, 0.0], [0.0, 2.5, 0.0], [0.0, 0.1, 0.0], [0.4, 0.0, 0.0]])
    take = aligned(good(), rotation=turn, offset_before=np.array([0.1, 42.0, 0.1, 0.3]), offset_after=np.full(4, 0.1))
    assert [f.camera for f in find(Measures(take)) if f.camera] == [take.matches.cameras[1]]


def test_one_late_camera_does_not_make_the_others_early() -> None:
    late = np.array([-0.015, 0.045, -0.015, -0.015])  # as measured about their mean
    take = aligned(good(), measured_s=late, measured_std_s=np.full(4, 0.001))
    found = [f for f in find(Measures(take)) if f.camera]
    assert [f.camera for f in found] == [take.matches.cameras[1]]
    assert "60 ms" in found[0].text


def swap_rows(take: Take, start: int) -> Take:
    """The take with persons 0 and 1 exchanged in 3D and in all views from a row on."""
    raw, m = take.raw, take.matches
    fields3 = ("positions", "covariance", "source", "reprojection_error", "consistency", "views_used")
    new = {f: getattr(raw, f).copy() for f in fields3}
    for a in new.values():
        a[start:, [0, 1]] = a[start:, [1, 0]]
    fields2 = ("keypoints", "confidence", "uncertainty", "observation", "slot", "score", "runner_up")
    seen = {f: getattr(m, f).copy() for f in fields2}
    for a in seen.values():
        a[:, start:, [0, 1]] = a[:, start:, [1, 0]]
    swapped = replace(raw, **new)
    return replace(take, matches=replace(m, **seen), raw=swapped, filtered=swapped)


def test_two_people_swapped_in_all_views_are_named_with_the_frame() -> None:
    row = 20  # both are there, 2.7 m apart
    found = faults(swap_rows(good(), row))
    assert found
    assert f"swapped at frame {int(good().raw.frames[row])}" in found[0].text


def test_two_people_swapped_by_hand_in_one_camera_are_named() -> None:
    take = good()
    camera, rows = take.matches.cameras[0], np.arange(5, 30)
    slots = take.matches.slot[0, rows]  # [n, P]
    overrides = tuple(
        MatchOverride(camera=camera, frames=(int(take.matches.frames[r]), int(take.matches.frames[r])),
                      slot=int(s[1 - p]), person=p)
        for r, s in zip(rows, slots, strict=True) for p in (0, 1) if (s >= 0).all()
    )  # fmt: skip
    assert len(overrides) > 20
    found = faults(take_of(crowd().observation.keypoints, crowd().rig, overrides))
    assert any("swapped" in f.text and f.camera == camera for f in found)


def test_a_failed_or_stale_stage_is_said() -> None:
    stage = StageRun("filter", "failed: the disk is full", 1, 0, 0, "")
    assert "disk is full" in find(Measures(replace(good(), stages=(stage,))))[0].text
    late = replace(stage, state="stale: setting cutoff_hz")
    assert any("earlier result" in f.text for f in find(Measures(replace(good(), stages=(late,)))))


def test_findings_are_ordered_and_the_summary_says_the_first() -> None:
    one = Finding(Severity.LOOK, "one")
    two = Finding(Severity.FAULT, "two")
    assert summary_sentence((two, one)) == "Fault: two (1 more below)."
    assert summary_sentence((one,)) == "Look here: one."
    assert summary_sentence((Finding(Severity.NOTE, "x"),)).startswith("Good")


class Page(HTMLParser):
    """Checks nesting, and collects attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_self_contained_and_described() -> None:
    html = render(Measures(good()), scores=[[("a", "b"), ("x", "1")]], provenance=[("video", "abc")])
    tags = Page(html).tags
    assert not {t for t, _ in tags} & {"script", "iframe", "link", "object", "embed"}
    for tag, attributes in tags:
        for name in ("src", "href", "srcset", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#"))
        if tag == "img":
            assert len(attributes["alt"] or "") > 20
    anchors = {a["href"] for t, a in tags if t == "a"}
    assert {a.removeprefix("#") for a in anchors if a} <= {a["id"] for _, a in tags if a.get("id")}
    for data in re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', html):
        svg = base64.b64decode(data).decode()
        references = re.findall(r'(?:href|src)="([^"]+)"', svg) + re.findall(r"url\(([^)]+)\)", svg)
        assert all(r.startswith(("#", "data:image/")) for r in references)


def test_the_same_take_gives_the_same_bytes() -> None:
    assert render(Measures(good())) == render(Measures(good()))


def test_names_are_escaped() -> None:
    evil = '<script>alert("1")</script>&_$x$'
    take = good()
    names = (evil, *take.matches.cameras[1:])
    rig = CameraRig((replace(take.rig.cameras[0], name=evil), *take.rig.cameras[1:]))
    bad = replace(take, name=evil, matches=replace(take.matches, cameras=names), rig=rig, warnings=(evil,))
    html = render(Measures(bad), scores=[[(evil, evil), (evil, evil)]], provenance=[(evil, evil)])
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    Page(html)
    assert 'alt="&lt;b&gt;&quot;"' in page.picture(b"", "image/png", '<b>"', "")


def test_records_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(DataError, match="belong together"):
        replace(good(), detected=good().detected[:, 1:])


def test_bins_are_means_of_equal_stretches_without_nan() -> None:
    values = np.arange(160.0)
    values[3] = np.nan
    found = binned(values, np.arange(100, 260))
    assert len(found.value) == 80
    assert found.value[:2].tolist() == [0.5, 2.0]
    assert found.frame[:2].tolist() == [100, 102]


def test_runs() -> None:
    assert runs_of(np.array([True, True, False, True])) == [(0, 2), (3, 4)]
    assert runs_of(np.zeros(3, bool)) == []


def test_the_skeleton_of_the_scene_is_known() -> None:
    assert Measures(good()).limbs.shape == (2, 12)
    assert good().matches.joint_names == COCO_17.joints
