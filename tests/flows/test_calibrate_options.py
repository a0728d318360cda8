"""Every option of `mocap calibrate` reaches the work."""

from dataclasses import fields
from pathlib import Path

from typer.testing import CliRunner

import flows.calibration
from flows.calibration import CalibrationJob
from flows.cli import app
from mocap.errors import CalibrationError

OPTIONS = {
    "--board": Path("b.toml"),
    "--output": Path("r.toml"),
    "--intrinsics": Path("i.toml"),
    "--plots": Path("plots"),
    "--floor-frame": 7,
    "--world": Path("w.toml"),
    "--max-frames": 11,
}
FLAGS = ("--intrinsics-only", "--fisheye")


def test_every_option_reaches_the_job(monkeypatch):
    jobs = []

    def record(job, progress):
        jobs.append(job)
        raise CalibrationError("far enough")

    monkeypatch.setattr(flows.calibration, "run_calibration", record)
    arguments = [str(part) for item in OPTIONS.items() for part in item]
    result = CliRunner().invoke(app, ["calibrate", "footage", *arguments, *FLAGS])
    assert isinstance(result.exception, CalibrationError), result.output
    wanted = {name.removeprefix("--").replace("-", "_"): value for name, value in OPTIONS.items()}
    wanted |= {"folder": Path("footage"), "intrinsics_only": True, "fisheye": True}
    (job,) = jobs
    assert {f.name: getattr(job, f.name) for f in fields(CalibrationJob)} == wanted
