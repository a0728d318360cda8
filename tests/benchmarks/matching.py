"""Matching: how fast, how it grows, how well it keeps a crowd apart, what each step gains on Shelf.

python tests/benchmarks/matching.py [--only speed growth crowd shelf] [--quick]

Times are per frame of one core (process time, least of several runs). Growth is on synthetic scenes,
with the exponent of the time over people and over cameras. Crowds have known identities.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from calibration.camera import CameraRig
from calibration.formats.rig_toml import read_rig_toml
from mocap.interchange import read_keypoints
from mocap.matching import MatchingSettings, match_people
from mocap.matching.settings import AssignmentMethod, MatchMode
from mocap.metrics.association import association_score
from mocap.metrics.identity import identity_score, person_distances
from mocap.synthetic.crowd import CrowdKind, make_crowd
from mocap.synthetic.noise import NoiseSettings
from mocap.triangulation import TriangulationSettings, triangulate
from mocap.triangulation.estimate import Observations, learn_noise, triangulate_points
from mocap.types import Keypoints2D, Matches

BENCH = Path(__file__).resolve().parents[3] / "shared" / "bench" / "shelf"
FRAME_LIMIT_MS, SPEED_LIMIT = 5.0, 2000.0


@dataclass(frozen=True)
class CrowdRow:
    """One crowd: shares 0..1."""

    case: str
    idf1: float
    mota: float
    precision: float
    recall: float
    switches: int
    limbs_given_back: float


def least_time(run: Callable[[], object], repeats: int = 5) -> float:
    """Least process time, seconds, after one run that compiles."""
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def say(text: str = "") -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def cut(keypoints: Keypoints2D, rows: slice) -> Keypoints2D:
    return replace(
        keypoints, keypoints=keypoints.keypoints[:, rows], confidence=keypoints.confidence[:, rows],
        uncertainty=keypoints.uncertainty[:, rows], frames=keypoints.frames[rows],
    )  # fmt: skip


def speed() -> Iterator[str]:
    """Shelf: match + triangulate."""
    if not BENCH.exists():
        yield "Shelf is not here (../shared/bench/shelf)"
        return
    rig = read_rig_toml(BENCH / "rig.toml")
    for joints in ("coco17", "body25"):
        keypoints = read_keypoints(BENCH / f"keypoints_{joints}.npz")
        matches = match_people(keypoints, rig)
        a = least_time(lambda k=keypoints: match_people(k, rig))
        b = least_time(lambda m=matches: triangulate(m, rig))
        T = len(keypoints.frames)
        rate = T / (a + b)
        yield f"Shelf {joints}: match {1e3 * a / T:.3f} + triangulate {1e3 * b / T:.3f} ms/frame"
        yield f"Shelf {joints}: {rate:.0f} frames/s, {rate / SPEED_LIMIT:.2f} of the {SPEED_LIMIT:.0f} asked"
        frames = [cut(keypoints, slice(t, t + 1)) for t in range(0, T, 25)]
        yield f"Shelf {joints}: a single frame alone, no track known before: {single_frames(frames, matches, rig)}"


def single_frames(frames: list[Keypoints2D], take: Matches, rig: CameraRig) -> str:
    """Times of frames matched and triangulated one by one, with the pixel noise of the take known, as live."""
    settings = TriangulationSettings()
    noise = learn_noise(take, rig, settings)

    def both(frame: Keypoints2D) -> None:
        matches = match_people(frame, rig, QUICK)
        V = len(matches.cameras)
        batch = Observations(
            matches.keypoints.reshape(V, -1, 2).astype(float), matches.confidence.reshape(V, -1).astype(float),
            matches.uncertainty.reshape(V, -1).astype(float),
        )  # fmt: skip
        triangulate_points(batch, rig, noise, settings)

    times = [1e3 * least_time(lambda k=k: both(k), 9) for k in frames]
    worst = max(times)
    return (f"median {np.median(times):.2f}, worst {worst:.2f} ms, "
            f"{worst / FRAME_LIMIT_MS:.2f} of the {FRAME_LIMIT_MS:.0f} ms allowed")  # fmt: skip


QUICK = MatchingSettings(min_duration_s=0.0)


PEOPLE, CAMERAS = (1, 2, 4, 8, 16), (3, 5, 8, 16, 32)


def spent(people: int, cameras: int, frames: int) -> float:
    """Time of match and triangulate, ms per frame, of people who stand apart."""
    crowd = make_crowd(people, cameras, CrowdKind.APART, frames=frames, noise=NoiseSettings(), seed=1, theft_rate=0.0)
    matches = match_people(crowd.observation.keypoints, crowd.rig)

    def both() -> None:
        match_people(crowd.observation.keypoints, crowd.rig)
        triangulate(matches, crowd.rig)

    return 1e3 * least_time(both, 3) / frames


def growth(frames: int = 40) -> Iterator[str]:
    """Time per frame over people and over cameras, and the exponents of growth."""
    sizes, times = [], []
    for people, cameras in dict.fromkeys([(p, 5) for p in PEOPLE] + [(4, c) for c in CAMERAS] + [(8, 16), (16, 32)]):
        sizes.append((people, cameras))
        times.append(spent(people, cameras, frames))
        yield f"{people:3d} people, {cameras:3d} cameras: {times[-1]:8.3f} ms/frame"
    P, C = np.log(np.array(sizes, float)).T
    rows = {
        "people": sizes_with(sizes, 1, 5),
        "cameras": sizes_with(sizes, 0, 4),
        "people x cameras": range(len(sizes)),
    }
    for name, chosen in rows.items():
        x = {"people": P, "cameras": C}.get(name, P + C)[list(chosen)]
        y = np.log(times)[list(chosen)]
        last = (y[-1] - y[-2]) / (x[-1] - x[-2])
        yield (f"grows with {name} to the power {np.polyfit(x, y, 1)[0]:.2f} (least squares), "
               f"{last:.2f} between the two largest; at most 2")  # fmt: skip


def sizes_with(sizes: list[tuple[int, int]], axis: int, value: int) -> list[int]:
    """Rows whose people (axis 0) or cameras (1) are so many, in order of the other."""
    return sorted((i for i, s in enumerate(sizes) if s[axis] == value), key=lambda i: sizes[i])


def score_crowd(
    people: int,
    cameras: int,
    kind: CrowdKind,
    frames: int = 250,
    seed: int = 1,
    settings: MatchingSettings | None = None,
) -> CrowdRow:
    """One crowd matched, triangulated and scored."""
    crowd = make_crowd(people, cameras, kind, frames=frames, seed=seed)
    matches = match_people(crowd.observation.keypoints, crowd.rig, settings)
    X = triangulate(matches, crowd.rig).positions
    distance = person_distances(X, crowd.truth)
    identity = identity_score(distance, np.isfinite(crowd.truth).any((2, 3)), np.isfinite(X).any((2, 3)))
    pairs = association_score(matches.slot, crowd.observation.person)
    return CrowdRow(f"{people} people, {cameras} cameras, {kind}", identity.idf1, identity.mota, pairs.precision,
                    pairs.recall, identity.switches, stolen_left(matches, crowd.stolen))  # fmt: skip


def stolen_left(matches: Matches, stolen: np.ndarray) -> float:
    """Share of the joints that detections had from neighbours and that were not taken over."""
    J = matches.confidence.shape[3]
    own = np.take_along_axis(stolen, np.maximum(matches.slot, 0).astype(int)[..., None], axis=2)
    own &= (matches.slot >= 0)[..., None]
    # Still as the detector had it: the observation is the slot's own joint.
    kept = matches.observation == matches.slot[..., None].astype(int) * J + np.arange(J)
    return 1 - float((own & kept).sum() / own.sum()) if own.any() else float("nan")


def crowds(quick: bool = False) -> Iterator[CrowdRow]:
    """Crowds of 1 to 8 people and 3 to 8 cameras."""
    sizes = ((2, 4), (4, 5)) if quick else ((1, 3), (2, 3), (2, 4), (4, 5), (6, 6), (8, 8))
    for people, cameras in sizes:
        for kind in CrowdKind:
            if people > 1 or kind in (CrowdKind.APART, CrowdKind.LEAVING):
                yield score_crowd(people, cameras, kind, 120 if quick else 250)


def methods() -> Iterator[CrowdRow]:
    """The three assignments, and causal mode, on one crowd."""
    for settings in (*(MatchingSettings(method=m) for m in AssignmentMethod), MatchingSettings(mode=MatchMode.CAUSAL)):
        row = score_crowd(4, 5, CrowdKind.MIXED, settings=settings)
        yield replace(row, case=f"{row.case}, {settings.method}, {settings.mode}")


def shelf() -> Iterator[str]:
    """Shelf, dev frames: the whole rig, causal mode, and mean over all subsets of 3 and 2 cameras; PCP by step."""
    if not BENCH.exists():
        yield "Shelf is not here (../shared/bench/shelf)"
        return
    rig = read_rig_toml(BENCH / "rig.toml")
    for joints in ("coco17", "body25"):
        keypoints = read_keypoints(BENCH / f"keypoints_{joints}.npz")
        yield f"{joints}, 5 cameras: {steps_text([pcp_by_step(keypoints, rig, MatchingSettings())])}"
        causal = MatchingSettings(mode=MatchMode.CAUSAL)
        yield f"{joints}, 5 cameras, causal: {steps_text([pcp_by_step(keypoints, rig, causal)])}"
        for count in (3, 2):
            rows = []
            for views in combinations(range(5), count):
                part = select(keypoints, list(views))
                rows.append(pcp_by_step(part, rig.select(part.cameras), MatchingSettings()))
            yield f"{joints}, mean over all subsets of {count} cameras: {steps_text(rows)}"


def select(keypoints: Keypoints2D, views: list[int]) -> Keypoints2D:
    return replace(
        keypoints, keypoints=keypoints.keypoints[views], confidence=keypoints.confidence[views],
        uncertainty=keypoints.uncertainty[views], cameras=tuple(keypoints.cameras[v] for v in views),
    )  # fmt: skip


def pcp_by_step(keypoints: Keypoints2D, rig: CameraRig, settings: MatchingSettings) -> list[float]:
    """PCP after triangulation, + lift, + filter."""
    import importlib.util
    import tempfile

    from mocap.export.npz import write_npz
    from mocap.filtering import filter_trajectories
    from mocap.filtering.settings import FilterSettings
    from mocap.lifting.fallback import lift_missing

    spec = importlib.util.spec_from_file_location("shelf_score", BENCH / "score.py")
    assert spec is not None
    assert spec.loader is not None
    score = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(score)
    matches = match_people(keypoints, rig, settings)
    triangulated = triangulate(matches, rig)
    lifted = lift_missing(triangulated, matches, rig)
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for result in (triangulated, lifted, filter_trajectories(lifted, FilterSettings())):
            path = Path(folder) / "r.npz"
            write_npz(path, result)
            out.append(score.score(path, [BENCH / "truth_dev_300_449.npz"])["pcp_average"])
    return out


def steps_text(rows: list[list[float]]) -> str:
    a, b, c = np.mean(rows, 0)
    return f"triangulated {a:.2f}, + lift {b:.2f}, + filter {c:.2f} PCP"


def print_crowds(rows: Iterator[CrowdRow]) -> None:
    say(f"{'crowd':46s} {'IDF1':>6s} {'MOTA':>6s} {'prec.':>6s} {'rec.':>6s} switches  limbs given back")
    for r in rows:
        say(f"{r.case:46s} {100 * r.idf1:6.1f} {100 * r.mota:6.1f} {100 * r.precision:6.1f} {100 * r.recall:6.1f} "
              f"{r.switches:8d}  {100 * r.limbs_given_back:6.1f} %")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["speed", "growth", "crowd", "shelf"])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    for name, lines in (("speed", speed), ("growth", growth), ("shelf", shelf)):
        if name in options.only:
            say(f"\n{name}")
            for line in lines():
                say(line)
    if "crowd" in options.only:
        say("\ncrowds")
        print_crowds(crowds(options.quick))
        print_crowds(methods())


if __name__ == "__main__":
    main()
