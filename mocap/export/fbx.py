"""FBX (binary 7.4), written by Blender in a process and an environment of its own.

No Python library that writes FBX is kept up; Blender's exporter is, and its module `bpy` needs a
Python and a NumPy of its own: `make fbx-support` makes that environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mocap.errors import DependencyError, ExportError
from mocap.export.animation import Animation
from mocap.export.capsules import capsule_skin
from mocap.export.confidence import measured_fraction, source_runs
from mocap.storage.atomic import atomic_path

BLENDER_VARIABLE = "MOCAP_BLENDER_PYTHON"
"""Names a Python that has bpy, or a Blender program (4.4 or newer)."""

_SCRIPT = Path(__file__).with_name("blender_fbx.py")
_HINT = f"make fbx-support (once, in mocap's source folder), or set {BLENDER_VARIABLE} to a Blender 5 program"


def find_blender() -> list[str]:
    """The start of the command that runs a script in Blender.

    What `MOCAP_BLENDER_PYTHON` names, else the environment that `make fbx-support` makes, else a
    `blender` on the search path.

    Raises
    ------
    DependencyError
        There is none.
    """
    named = os.environ.get(BLENDER_VARIABLE, "")
    if named:
        path = shutil.which(named)
        if path is None:
            raise DependencyError("this is no program", found=named, where=BLENDER_VARIABLE, hint=_HINT)
        return _command(path)
    for folder in (Path(__file__).parents[2], Path.cwd()):
        python = folder / ".venv-blender" / "bin" / "python"
        if os.access(python, os.X_OK):
            return _command(str(python))
    program = shutil.which("blender")
    if program is not None:
        return _command(program)
    raise DependencyError("FBX files are written by Blender, which is not here", where="export.format", hint=_HINT)


def _command(program: str) -> list[str]:
    if Path(program).name.lower().startswith("blender"):
        return [program, "--background", "--factory-startup", "--python-exit-code", "1", "--python", str(_SCRIPT), "--"]
    return [program, str(_SCRIPT)]


def write_fbx(path: Path, animations: list[Animation]) -> None:
    """Write the motion of one or more people.

    The file says its axes and unit; no node but the joints that move carries a transform other than
    the T-pose's. Blender imports the file again and compares before it takes its name.

    Parameters
    ----------
    path : Path
    animations : list of Animation
        All with the same axes, unit and times.

    Raises
    ------
    DependencyError
        There is no Blender.
    StorageError
        The file cannot be written.
    ExportError
        Blender failed, or what was written does not read back.
    """
    command = find_blender()
    with atomic_path(path) as temporary, tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "take.npz", Path(folder) / "take.fbx"
        np.savez(source, **_arrays(animations))
        # A Blender's own Python must not see this environment's packages.
        inner = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        done = subprocess.run(
            [*command, str(source), str(made)], capture_output=True, text=True, check=False, env=inner, cwd=folder
        )
        if done.returncode or not made.exists():
            said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise ExportError(
                "Blender could not write the file, or read it back; nothing was kept",
                found=said[-1] if said else f"exit status {done.returncode}", where=str(path),
                hint=f"does {command[0]} have bpy 5? {_HINT}",
            )  # fmt: skip
        shutil.copyfile(made, temporary)


def _arrays(animations: list[Animation]) -> dict[str, Any]:
    first = animations[0]
    out: dict[str, Any] = {
        "people": len(animations),
        "fps": first.fps,
        "per_metre": first.unit.per_metre,
        "up": first.axes.up,
        "world_from_file": first.axes.file_from_world.T,
    }
    for i, animation in enumerate(animations):
        skin = capsule_skin(animation)
        at, parents = animation.rest_positions, animation.parents
        scale = animation.unit.per_metre
        lengths = np.full(len(parents), 0.1 * scale)
        for b, parent in enumerate(parents):
            if parent >= 0:
                lengths[parent] = max(float(np.linalg.norm(at[b] - at[parent])), 0.02 * scale)
        parts: dict[str, Any] = {
            "name": animation.name,
            "nodes": np.array(animation.nodes),
            "parents": parents,
            "rest_axes": animation.rest_axes,
            "rest_positions": at,
            "lengths": lengths,
            "rotations": animation.rotations,
            "positions": animation.positions,
            "moving": animation.moving,
            "measured": [measured_fraction(s) for s in animation.source.T],
            "runs": np.array([source_runs(s) for s in animation.source.T]),
            "vertices": skin.positions,
            "triangles": skin.triangles,
            "vertex_node": skin.node,
        }
        out |= {f"{i}_{name}": value for name, value in parts.items()}
    return out
