"""Rows of the benchmark table, the machine they were measured on, and where they are written."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

BEGIN, END = "<!-- benchmarks: begin, written by `make bench` -->", "<!-- benchmarks: end -->"
PACKAGES = ("mocap", "numpy", "scipy", "torch", "opencv-python", "numba", "h5py", "prefect")


@dataclass(frozen=True)
class Row:
    """One measured figure.

    `limit` is the best that could be reached and `peer` what another program reaches, in the same
    unit; `note` says which, or why there is no figure. `main` rows stand in the README, too.
    """

    benchmark: str
    case: str
    figure: str
    value: float | None
    unit: str
    limit: float | None = None
    peer: float | None = None
    note: str = ""
    main: bool = False


@dataclass(frozen=True)
class Section:
    """One benchmark's rows and how long it took, s."""

    name: str
    rows: tuple[Row, ...]
    seconds: float


def machine() -> dict[str, str]:
    """What the figures depend on: processor, cores, memory, GPU, versions, date."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "threads": os.environ.get("OMP_NUM_THREADS", "not limited"),
        "gpu": gpu(),
        "python": platform.python_version(),
        **versions,
        **peer_versions(),
    }


def peer_versions() -> dict[str, str]:
    """What aniposelib's own environment holds, where there is one."""
    from bench_peers import MissingError, peer_python

    ask = "from importlib.metadata import version as v; print(v('aniposelib'), v('opencv-contrib-python'))"
    try:
        done = subprocess.run([peer_python(), "-c", ask], capture_output=True, text=True, check=False)
    except (MissingError, OSError):
        return {}
    if done.returncode:
        return {}
    anipose, opencv = done.stdout.split()
    return {"aniposelib": f"{anipose} (own environment, opencv-contrib-python {opencv})"}


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def gpu() -> str:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def ratio(value: float | None, other: float | None) -> str:
    return f"{value / other:.2f}" if value is not None and other else "-"


def markdown(rows: list[Row], about: dict[str, str]) -> str:
    """The table with the machine below it."""
    lines = [
        "| benchmark | case | figure | value | to limit | to peer | note |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        value = f"{number(r.value)} {r.unit}".strip() if r.value is not None else "-"
        lines.append(
            f"| {r.benchmark} | {r.case} | {r.figure} | {value} | {ratio(r.value, r.limit)} "
            f"| {ratio(r.value, r.peer)} | {r.note} |"
        )
    return "\n".join([*lines, "", ", ".join(f"{k} {v}" for k, v in about.items()) + "."])


def write(sections: list[Section], folder: Path, readme: Path | None, details: str) -> None:
    """benchmarks.md and benchmarks.json in `folder`; the main rows between the markers of the README."""
    about = machine()
    rows = [row for section in sections for row in section.rows]
    folder.mkdir(parents=True, exist_ok=True)
    took = {section.name: round(section.seconds, 1) for section in sections}
    content = {"machine": about, "seconds": took, "rows": [asdict(r) for r in rows]}
    (folder / "benchmarks.json").write_text(json.dumps(content, indent=1) + "\n")
    whole = sum(took.values())
    spent = f"Measured in {whole / 60:.0f} minutes: " + ", ".join(f"{n} {s:.0f} s" for n, s in took.items()) + "."
    head = "# Benchmarks\n\nWritten by `make bench`; ratios are value to limit and value to peer.\n"
    (folder / "benchmarks.md").write_text(f"{head}\n{markdown(rows, about)}\n\n{spent}\n{details}")
    if readme is not None:
        text = readme.read_text()
        before, _, rest = text.partition(BEGIN)
        _, found, after = rest.partition(END)
        if not found:
            raise SystemExit(f"{readme} lacks the markers {BEGIN} and {END}")
        table = markdown([r for r in rows if r.main], about)
        readme.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")
