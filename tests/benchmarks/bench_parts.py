"""Benchmarks of single packages, by their own scripts' functions in a reduced form: rows with the draws stated."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from bench_peers import anipose, opencv_calibration, pairwise_opencv
from bench_pose2sim import pose2sim
from bench_run import SHARED, Effort, MissingError, core_seconds, seconds, shared
from bench_table import Row

from mocap.metrics import mpjpe, pa_mpjpe
from mocap.storage.hdf5 import encode_record, read_record, write_record
from mocap.types import Keypoints2D


def calibration(effort: Effort) -> Iterator[Row]:
    """Joint calibration against the Cramer-Rao bound, and against OpenCV's calibrate + stereo chain."""
    import calibration_bound as bench

    settings = bench.CalibrationSettings()
    for name, points, poses in (("board", bench.board(), 200), ("wand", bench.WAND, 1000)):
        error, least, _, coverage, spent = bench.compare(4, points, poses, effort.bound_draws, settings)
        case = f"synthetic, 4 cameras, {name}, {poses} poses"
        draws = f"{effort.bound_draws} draws"
        yield Row("calibration", case, "3D error", error, "mm", limit=least, note=f"limit: Cramer-Rao bound; {draws}",
                  main=True)  # fmt: skip
        yield Row("calibration", case, "truth in the 95 % ellipsoids", 100 * coverage, "%", limit=95.0,
                  note=f"{4 * effort.bound_draws} cameras")  # fmt: skip
        yield Row("calibration", case, "time", spent, "s of one core")
    ours, theirs, spent = [], [], []
    for seed in range(effort.peer_draws):
        scene = bench.studio(4, 200, bench.board(), 1000 + seed)
        solution = bench.calibrate_cameras(scene.observations, settings)
        spent.append(core_seconds(lambda scene=scene: theirs.append(_error(bench, scene, opencv_calibration(
            scene.observations)))))  # fmt: skip
        ours.append(_error(bench, scene, solution))
    rms = [1000 * float(np.sqrt(np.mean(x))) for x in (ours, theirs)]
    case = "synthetic, 4 cameras, board, 200 poses"
    yield Row("calibration", case, "3D error beside OpenCV", rms[0], "mm", peer=rms[1],
              note=f"peer: calibrateCamera + stereoCalibrate, 60 views each, {rms[1]:.2f} mm, "
              f"{np.mean(spent):.0f} s of one core; {effort.peer_draws} draws")  # fmt: skip


def _error(bench: object, scene: object, solution: object) -> float:
    reference = bench.reference_of(solution)  # type: ignore[attr-defined]
    rig = scene.rig  # type: ignore[attr-defined]
    test = bench.RigidTransform(rig.R[reference], rig.t[reference]).apply(bench.volume())  # type: ignore[attr-defined]
    return float(bench.triangulation_error(bench.true_state(scene, reference), solution, test))  # type: ignore[attr-defined]


def triangulation(effort: Effort) -> Iterator[Row]:
    """Frames/s of one core of triangulation and filter beside OpenCV and aniposelib, on the same take."""
    import geometry_peers as bench

    matches, rig = bench.scene(min(bench.FRAMES, 10 * effort.scene_frames))
    frames, case = len(matches.frames), "4 views x 17 joints, one core"
    pixels = matches.keypoints[:, :, 0].astype(float)
    peer = frames / core_seconds(lambda: pairwise_opencv(pixels, rig), 2)
    note = f"peer: OpenCV view pairs, {peer:.0f} frames/s"
    rate: dict[str, float] = dict(bench.ours(matches, rig))
    yield Row("geometry", case, "triangulate", rate["mocap triangulate"], "frames/s", peer=peer, note=note)
    yield Row("geometry", case, "triangulate + filter", rate["mocap triangulate + filter"], "frames/s", limit=1500.0,
              note=f"limit: asked; {frames} frames, studio-like noise", main=True)  # fmt: skip
    try:
        other = anipose(pixels, rig, 50)
    except MissingError as missing:
        yield Row("geometry", case, "aniposelib", None, "", note=str(missing))
        return
    for name, theirs in (("linear", frames / other.linear_seconds), ("RANSAC", 50 / other.robust_seconds)):
        yield Row("geometry", case, f"triangulate beside aniposelib, {name}", rate["mocap triangulate"], "frames/s",
                  peer=theirs, note=f"peer: aniposelib {other.version}, {theirs:.0f} frames/s")  # fmt: skip
    few = bench.as_keypoints(matches, 300)
    slow = pose2sim(few, rig)
    theirs = len(few.frames) / slow.seconds
    yield Row("geometry", case, "triangulate + filter beside Pose2Sim", rate["mocap triangulate + filter"], "frames/s",
              peer=theirs, note=f"peer: Pose2Sim {slow.version}, {theirs:.0f} frames/s with its files")  # fmt: skip


def matching(effort: Effort) -> Iterator[Row]:
    """Identities in crowds with known truth, and the speed on Shelf."""
    import matching as bench

    kinds = bench.CrowdKind
    for people, cameras, kind in ((4, 5, kinds.CROSSING), (4, 5, kinds.HUGGING), (4, 5, kinds.LEAVING),
                                  (8, 8, kinds.MIXED)):  # fmt: skip
        crowd = bench.score_crowd(people, cameras, kind, effort.crowd_frames)
        note = f"{effort.crowd_frames} frames, 1 draw; {crowd.switches} switches"
        yield Row("people", crowd.case, "IDF1", 100 * crowd.idf1, "%", limit=100.0, note=note, main=people == 8)
        yield Row("people", crowd.case, "MOTA", 100 * crowd.mota, "%", limit=100.0)
        pairs = 100 * min(crowd.precision, crowd.recall)
        yield Row("people", crowd.case, "pairs of views, worse of precision and recall", pairs, "%", limit=100.0)
    folder = shared("bench", "shelf")
    rig = bench.read_rig_toml(folder / "rig.toml")
    for joints in ("coco17", "body25"):
        k = bench.read_keypoints(folder / f"keypoints_{joints}.npz")
        matches = bench.match_people(k, rig)
        spent = [core_seconds(run, 3) for run in (lambda k=k: bench.match_people(k, rig),
                                                  lambda m=matches: bench.triangulate(m, rig))]  # fmt: skip
        yield Row("people", f"Shelf, {joints}, one core", "match + triangulate", len(k.frames) / sum(spent), "frames/s",
                  limit=bench.SPEED_LIMIT, note="limit: asked", main=joints == "coco17")  # fmt: skip


def kinematics(effort: Effort) -> Iterator[Row]:
    """The solve on known rotations, lengths and contacts."""
    import kinematics as bench

    for i, skeleton in enumerate(bench.SKELETONS[: effort.kinematics_skeletons]):
        motion, found = bench.scene(skeleton, bench.LEVELS["studio"], 100 + 10 * i)
        result = bench.solve_motion(found, bench.SolveSettings())
        case = f"{skeleton.name}, studio noise, {bench.FRAMES} frames, 1 draw"
        for figure, bones, names in (
            ("elbow angle", ("Arm", "ForeArm"), ("shoulder", "elbow", "wrist")),
            ("knee angle", ("UpLeg", "Leg"), ("hip", "knee", "ankle")),
        ):
            error = bench.angle_error(result, motion, bones, names)
            yield Row("solve", case, figure, error, "degrees", limit=2.0, note="limit: asked; median", main=i == 0)
        yield Row("solve", case, "bone length", bench.length_error(result, motion), "mm", limit=3.0,
                  note="limit: asked; worst of four")  # fmt: skip
        slide = 1e3 * float(np.nanmax(result.slide_after))
        yield Row("solve", case, "foot slide", slide, "mm", limit=3.0, note="limit: asked; contacts found, worse foot")
        start = time.process_time()
        bench.solve_motion(found, bench.SolveSettings())
        rate = len(found.frames) / (time.process_time() - start)
        yield Row("solve", case, "speed", rate, "frames/s", limit=300.0, note="limit: asked; one core")


def synchronisation(effort: Effort) -> Iterator[Row]:
    """Camera times from motion: made-up takes with known clocks."""
    import synchronisation as bench

    kinds = bench.KINDS[: effort.sync_kinds]
    for sigma, asked in ((3.0, 0.6), (5.0, 1.5)):
        _, row = bench.measure("", kinds, effort.sync_draws, sigma, 10.0, 0.0)[0]
        case = f"10 s at 60 fps, 4 cameras, {sigma:g} px, {len(kinds) * effort.sync_draws} takes"
        yield Row("time", case, "offset, RMS", row.rms_ms, "ms", limit=asked, main=True,
                  note=f"limit: asked; {row.undecided} cameras undecided")  # fmt: skip
        yield Row("time", case, "within one standard deviation", 100 * row.within_one_std, "%", limit=68.3)
        yield Row("time", case, "time", row.seconds / row.takes, "s of one core", note="per take")


def detection(effort: Effort) -> Iterator[Row]:
    """The default detector beside the TFLite runtime, decoders against their bound, rendered pictures."""
    import detection as bench

    for name in ("landmarks", "decoders", "rendered", "gpu"):
        try:
            for row in bench.PARTS[name]():
                yield replace(row, main=row.figure in ("PCK@0.2", "OKS-AP") or name == "landmarks")
        except ImportError as missing:
            yield Row("detection", name, "skipped", None, "", note=str(missing).splitlines()[0])


def lifting(effort: Effort) -> Iterator[Row]:
    """One camera, people and cameras the network never saw; peer: the nearest training pose."""
    shared("data", "motion")
    import lifting as bench

    from mocap.lifting.lift import Lifter

    data, lifter = bench.Data.read(SHARED), Lifter()
    pool = bench.Pool(data)
    for case, observation in (("exact 2D", bench.EXACT), ("noisy 2D", bench.NOISY)):
        w = data.windows(observation)
        truth = w.positions.numpy()
        near = 1000 * mpjpe(pool.nearest(w, False), truth)
        for bones in (False, True):
            p = bench.lift(lifter, w, bones).positions
            label = f"CMU, {case}{', known bones' if bones else ''}, {len(truth)} windows"
            note = f"pelvis-relative; peer: nearest training pose, {near:.1f} mm"
            yield Row("lifting", label, "MPJPE", 1000 * mpjpe(p, truth), "mm", peer=near, note=note, main=True)
            yield Row("lifting", label, "PA-MPJPE", 1000 * pa_mpjpe(p, truth), "mm")


def storage(effort: Effort) -> Iterator[Row]:
    """An artifact of 2D keypoints as detectors make it: write, read, size; beside NumPy's compressed file."""
    import storage as bench

    k = bench.make_keypoints(effort.storage_frames)
    arrays = (k.keypoints, k.confidence, k.uncertainty)
    megabytes = sum(a.nbytes for a in arrays) / 1e6
    with tempfile.TemporaryDirectory() as name:
        path, other = Path(name) / "k.h5", Path(name) / "k.npz"
        write, read = seconds(lambda: write_record(path, k), 2), seconds(lambda: read_record(path, Keypoints2D), 2)
        size = len(encode_record(k)) / 1e6
        # NumPy's compression is slow: a part of the frames is enough.
        part = [a[:, : max(1, a.shape[1] // 20)] for a in arrays]
        theirs = seconds(lambda: np.savez_compressed(other, *part), 1), seconds(lambda: _load(other), 2)
        their_size, some = other.stat().st_size / 1e6, sum(a.nbytes for a in part) / 1e6
    case = f"{effort.storage_frames} frames x 4 views x 33, {megabytes:.0f} MB"
    note = "limit: asked; peer: numpy.savez_compressed"
    yield Row("storage", case, "write", megabytes / write, "MB/s", limit=200.0, peer=some / theirs[0], note=note,
              main=True)  # fmt: skip
    yield Row("storage", case, "read", megabytes / read, "MB/s", limit=200.0, peer=some / theirs[1], note=note,
              main=True)  # fmt: skip
    yield Row("storage", case, "size on disk", size / megabytes, "of memory", limit=0.6, peer=their_size / some,
              note=note)  # fmt: skip


def _load(path: Path) -> list[np.ndarray]:
    with np.load(path) as z:
        return [z[n] for n in z.files]


def metrics(effort: Effort) -> Iterator[Row]:
    """A million poses of 17 joints; peer: SciPy one pose at a time."""
    from scipy.spatial import procrustes

    rng = np.random.default_rng(0)
    truth = rng.normal(size=(effort.poses, 17, 3))
    prediction = truth + 0.1 * rng.normal(size=truth.shape)
    some, million = 2000, effort.poses / 1e6
    slow = core_seconds(lambda: [procrustes(truth[i], prediction[i]) for i in range(some)]) * 1e6 / some
    runs: dict[str, tuple[Callable[..., float], float, float | None]] = {
        "MPJPE": (mpjpe, 1.0, None), "PA-MPJPE": (pa_mpjpe, 5.0, slow),
    }  # fmt: skip
    for name, (metric, asked, peer) in runs.items():
        metric(prediction[:10], truth[:10])
        spent = core_seconds(lambda metric=metric: metric(prediction, truth), 3) / million
        note = "limit: asked"
        if peer is not None:
            note += f"; peer: scipy.spatial.procrustes in a loop, {peer:.0f} s ({some} poses measured)"
        yield Row(
            "metrics",
            "1 000 000 frames x 17",
            name,
            spent,
            "s of one core",
            limit=asked,
            peer=peer,
            note=note,
            main=True,
        )
