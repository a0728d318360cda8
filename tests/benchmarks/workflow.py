"""What the workflow costs on top of the library: nothing to do, one changed setting, a cold run.

python tests/benchmarks/workflow.py [--videos DIR --calibration FILE] [--frames N] [--direct]

By default the capture in ../shared/data/single. Every figure is the wall time of a program of its
own, from its start to its end. --direct only makes the library calls (the program measures itself
by running that). The target: nothing to do in 1 s, one filter setting in 10 s, a cold run at most
8 s + 3 % over the direct calls.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flows.run import last_run
from flows.session import Session

SINGLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "single"


def direct(root: Path) -> None:
    """The stages as library calls, one after the other, everything in memory."""
    from calibration.formats import read_rig
    from calibration.synchronisation import synchronise
    from flows.rig_fit import fit_rig_to_images
    from mocap.detection.merge import merge_cameras
    from mocap.detection.stage import detect_video
    from mocap.devices import DeviceChoice, resolve_device
    from mocap.filtering import filter_trajectories
    from mocap.kinematics import solve_motion
    from mocap.lifting.fallback import lift_missing
    from mocap.matching import match_people
    from mocap.resampling import to_common_time
    from mocap.rig_check import check_rig
    from mocap.triangulation import triangulate

    session = Session(root)
    settings, device = session.config.settings, resolve_device(DeviceChoice.AUTO)
    rig = read_rig(session.resolve(session.config.session.calibration))
    rig = fit_rig_to_images(rig, session.config.cameras, session.footage, settings.calibrate.crop_tolerance_px)
    span = range(*session.frame_range)
    views = [detect_video(v, settings.detect, device, span, camera=name) for name, v in session.videos.items()]
    keypoints = merge_cameras(views)
    rig = rig.select(keypoints.cameras)
    times = synchronise(rig.names, settings.synchronise)
    keypoints = to_common_time(keypoints, times)
    rig = check_rig(keypoints, rig, settings.synchronise.refine_cameras).apply(rig)
    matches = match_people(keypoints, rig, settings.match)
    lifted = lift_missing(triangulate(matches, rig, settings.triangulate), matches, rig, settings.lift)
    solve_motion(filter_trajectories(lifted, settings.filter), settings.solve)


def timed(*arguments: object) -> float:
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")
    return seconds


def say(what: str, seconds: float, note: str = "") -> None:
    sys.stdout.write(f"{what:<34} {seconds:8.2f} s  {note}\n")
    sys.stdout.flush()


def measure(videos: Path, calibration: Path, frames: int, folder: Path) -> None:
    root, program = folder / "S", ("-m", "flows.cli")
    timed(*program, "init", root, "--videos", videos, "--calibration", calibration)
    if frames:
        text = (root / "session.toml").read_text()
        (root / "session.toml").write_text(text.replace("[session]\n", f"[session]\nframes = [0, {frames}]\n", 1))
    timed(*program, "status", root)  # the videos are hashed and looked at, which counts for neither
    library = timed(__file__, "--direct", root)
    say("direct library calls", library)
    cold = timed(*program, "run", root)
    allowed = 8 + 0.03 * library
    say("cold run", cold, f"overhead {cold - library:.1f} s, allowed {allowed:.1f} s")
    say("nothing to do, best of 3", min(timed(*program, "run", root) for _ in range(3)))
    changed = timed(*program, "run", root, "--set", "filter.cutoff_hz=4")
    record = last_run(Session(root).state)
    say("one changed filter setting", changed, f"made {', '.join(record.made if record else [])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, default=SINGLE / "videos")
    parser.add_argument("--calibration", type=Path, default=SINGLE / "calibration")
    parser.add_argument("--frames", type=int, default=0, help="only so many frames; all if not given")
    parser.add_argument("--direct", type=Path, metavar="SESSION", default=None)
    arguments = parser.parse_args()
    if arguments.direct is not None:
        direct(arguments.direct)
        return
    sys.stdout.write(f"load of this machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments.videos, arguments.calibration, arguments.frames, Path(folder))


if __name__ == "__main__":
    main()
