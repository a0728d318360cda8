"""How good and how fast the detectors are.

OMP_NUM_THREADS=1 python tests/benchmarks/detection.py [--only landmarks decoders rendered video gpu]

landmarks: BlazePose's landmark network in torch against the TFLite runtime, same crops, one thread
(processor time, so that a busy machine does not matter). decoders: error against the Cramer-Rao
bound. rendered: PCK, PCKh and OKS-AP on rendered pictures. video: where the time of a whole video
goes. gpu: crops/s at three batch sizes and the share of the achievable matrix throughput and memory
bandwidth, plain and compiled, and whole videos; random weights, only where there is a GPU.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from bench_table import Row, machine, markdown

from mocap import models
from mocap.detection.acceleration import accelerated
from mocap.detection.blazepose import BlazePose
from mocap.detection.decoders import DecoderName, DecoderSettings
from mocap.detection.detector import make_detector
from mocap.detection.heatmap_pose import HeatmapPose
from mocap.detection.heatmaps import centre_bound, decode_heatmaps
from mocap.detection.hrnet import HRNet
from mocap.detection.poses import Poses, RegionNetwork
from mocap.detection.rendered_set import rendered_pictures, score_detector
from mocap.detection.settings import DetectionSettings, Precision
from mocap.detection.tflite_graph import read_graph
from mocap.detection.tflite_torch import TFLiteNetwork
from mocap.detection.topdown import TopDown
from mocap.detection.tracking import RegionTracker
from mocap.devices import DeviceChoice, resolve_device
from mocap.models import BLAZEPOSE_LANDMARKS
from mocap.synthetic.render import render_camera
from mocap.synthetic.scene import make_scene
from mocap.video import read_frames, write_video

OUTPUTS = ("Identity", "Identity_1", "Identity_3")
CROPS = 32
ROUNDS = 5
BATCHES = (1, 16, 128)
NOISES = (0.01, 0.03, 0.1)


def cpu_seconds(work: Callable[[], object]) -> float:
    """Least processor time of a few rounds."""
    work()
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def landmarks() -> Iterator[Row]:
    """Landmark crops per second of one processor core, torch and TFLite runtime taking turns."""
    from ai_edge_litert.interpreter import Interpreter

    torch.set_num_threads(1)
    path = models.ensure("blazepose") / BLAZEPOSE_LANDMARKS.name
    crops = np.random.default_rng(0).random((CROPS, 256, 256, 3), dtype=np.float32)
    runtime = Interpreter(str(path), num_threads=1)
    runtime.allocate_tensors()
    index = runtime.get_input_details()[0]["index"]

    def reference() -> None:
        for crop in crops:
            runtime.set_tensor(index, crop[None])
            runtime.invoke()

    network, images = TFLiteNetwork(read_graph(path, OUTPUTS)).eval(), torch.from_numpy(crops)
    with torch.inference_mode():
        ours = CROPS / cpu_seconds(lambda: network(images))
        peer = CROPS / cpu_seconds(reference)
    yield Row("detection", "BlazePose landmarks, 1 thread", "speed", ours, "crops/s", peer=peer,
              note=f"peer: ai-edge-litert, {peer:.1f} crops/s; to peer >= 0.95 wanted")  # fmt: skip


def decoders() -> Iterator[Row]:
    """RMS error per axis of each decoder over the least that any unbiased one can have."""
    generator = torch.Generator().manual_seed(0)
    centres = 12 + torch.rand(2000, 2, generator=generator) * torch.tensor([23.0, 39.0])
    x, y = torch.arange(48.0), torch.arange(64.0)
    squared = (x - centres[:, :1]).square()[:, None, :] + (y - centres[:, 1:]).square()[:, :, None]
    for noise in NOISES:
        maps = torch.exp(-squared / 8) + noise * torch.randn(squared.shape, generator=generator)
        for method in DecoderName:
            points = decode_heatmaps(maps, DecoderSettings(method=method)).points
            error = float((points - centres).square().mean().sqrt())
            yield Row("detection", f"decoder {method.value}, noise {noise}", "RMS error", error, "cells",
                      limit=centre_bound(noise, 1.0, 2.0), note="limit: Cramer-Rao bound")  # fmt: skip


def rendered() -> Iterator[Row]:
    """Scores of the default detector on rendered pictures."""
    detector = make_detector(DetectionSettings(), torch.device("cpu"))
    scores = score_detector(detector, rendered_pictures())
    case = "BlazePose, rendered, 5 motions x 4 cameras x 2"
    for figure, value in (
        ("PCK@0.1", scores.pck_10), ("PCK@0.2", scores.pck_20), ("PCKh@0.5", scores.pckh_50),
        ("OKS-AP", scores.ap), ("OKS-AP50", scores.ap_50), ("pictures with a person", scores.found),
    ):  # fmt: skip
        yield Row("detection", case, figure, 100 * value, "%")


def video(device: torch.device | None = None) -> Iterator[Row]:
    """Frames/s of whole videos with BlazePose, and the shares of decoding, network and the rest."""
    device = torch.device("cpu") if device is None else device
    settings = DetectionSettings()
    blazepose = BlazePose(models.ensure("blazepose"), device)
    yield from whole_video("BlazePose", blazepose, settings, device)


class Held(TopDown):
    """A top-down network of random weights that does all of its work, but keeps to the region it was given."""

    def estimate(self, crops: np.ndarray, regions: np.ndarray) -> Poses:
        poses = super().estimate(crops, regions)
        sure = np.ones(len(crops))
        return replace(poses, score=sure, sharpness=sure, regions=regions)


def whole_video(
    name: str, network: RegionNetwork, settings: DetectionSettings, device: torch.device, frames: int = 96
) -> Iterator[Row]:
    """Frames/s of a rendered video; the share of the network is that of its crops alone, in batches as used."""
    scene = make_scene(frames, 30.0, 5, n_cameras=1, size=(1080, 1080))
    detector = RegionTracker(network, settings)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cam.mp4"
        write_video(path, render_camera(scene, scene.rig.cameras[0]), 30.0, (1080, 1080))
        detector.detect(next(iter(read_frames(path, batch=settings.batch_frames))))  # what is made on first use
        start = time.process_time(), time.perf_counter()
        batches = list(read_frames(path, batch=settings.batch_frames))
        decode = clock(device, start)
        start = time.process_time(), time.perf_counter()
        detector.start(30.0)
        for batch in batches:
            detector.detect(batch)
        detect = clock(device, start)
    size = network.crop_size
    crops = np.zeros((settings.batch_frames, size, size, 3), np.uint8)
    regions = np.tile([540.0, 540.0, 800.0, 0.0], (len(crops), 1))
    network.estimate(crops, regions)
    start = time.process_time(), time.perf_counter()
    network.estimate(crops, regions)
    share = clock(device, start) * frames / len(crops)
    case = f"{name}, 1080x1080 video, {device.type}"
    yield Row("detection", case, "speed", frames / (decode + detect), "frames/s", note="one after the other")
    for what, seconds in (
        ("decode", decode), ("pose network", share), ("search, crops, Python", detect - share),
    ):  # fmt: skip
        yield Row("detection", case, f"share of {what}", 100 * seconds / (decode + detect), "%")


def clock(device: torch.device, start: tuple[float, float]) -> float:
    """Processor time on the CPU, wall time on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter() - start[1]
    return time.process_time() - start[0]


def gpu(device: torch.device | None = None, batches: tuple[int, ...] = BATCHES, size: int = 8192) -> Iterator[Row]:
    """Networks on the GPU: crops/s and the share of what a large matrix product or copy reaches; whole videos.

    Another device, smaller batches and matrices are for trying out that this runs.
    """
    if device is None and not torch.cuda.is_available():
        yield Row("detection", "GPU", "skipped", None, "", note="no GPU here")
        return
    device = resolve_device(DeviceChoice.CUDA) if device is None else device
    torch.backends.cudnn.benchmark = True
    reachable = Reachable(matrix_throughput(device, size), copy_bandwidth(device, size))
    settings = DetectionSettings(precision=Precision.FLOAT16 if device.type == "cuda" else Precision.BFLOAT16)
    path = models.ensure("blazepose") / BLAZEPOSE_LANDMARKS.name
    crops = {"HRNet-W48 384x288": (HRNet(48, 17), (288, 384)), "ViTPose-B 256x192": (vitpose(), (192, 256))}
    crops = {name: (network, side) for name, (network, side) in crops.items() if network is not None}
    networks = {"BlazePose landmarks": (TFLiteNetwork(read_graph(path, OUTPUTS)), (256, 256, 3))}
    networks |= {name: (network, (3, *side[::-1])) for name, (network, side) in crops.items()}
    for fused in (False, True):
        wanted = replace(settings, compile=fused)
        for name, (network, shape) in networks.items():
            fast = accelerated(network.eval().to(device), wanted, device)
            for batch in batches:
                case = f"{name}, batch {batch}{', compiled' if fused else ''}"
                yield from throughput(case, network, fast, torch.rand(batch, *shape, device=device), reachable)
    yield from video(device)
    finder = BlazePose(models.ensure("blazepose"), device)
    for name, (network, side) in crops.items():
        pose = HeatmapPose(accelerated(network.to(device), settings, device), device, side, DecoderSettings())
        yield from whole_video(f"{name} (random weights, flip test)", Held(finder, pose), settings, device)


def vitpose() -> torch.nn.Module | None:
    try:
        from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation
    except ImportError:
        return None
    backbone = VitPoseBackboneConfig(image_size=[256, 192])
    network = VitPoseForPoseEstimation(VitPoseConfig(backbone_config=backbone, num_labels=17))

    class Heatmaps(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network(images).heatmaps

    return Heatmaps()


@dataclass(frozen=True)
class Reachable:
    """What the device reaches at best: operations/s of a matrix product, bytes/s of a copy."""

    operations: float
    bandwidth: float


def matrix_throughput(device: torch.device, size: int) -> float:
    """Operations per second of a large half-precision matrix product."""
    a = torch.randn(size, size, device=device, dtype=torch.float16 if device.type == "cuda" else torch.float32)
    return 2 * size**3 / device_seconds(device, lambda: a @ a, 20)


def copy_bandwidth(device: torch.device, size: int) -> float:
    """Bytes per second, read and written, of a large copy."""
    a = torch.empty(8 * size, size, device=device)
    b = torch.empty_like(a)
    return 2 * a.numel() * a.element_size() / device_seconds(device, lambda: b.copy_(a), 20)


def device_seconds(device: torch.device, work: Callable[[], object], rounds: int) -> float:
    """Wall time of one round."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(5 if device.type == "cuda" else 1):
        work()
    wait()
    start = time.perf_counter()
    for _ in range(rounds if device.type == "cuda" else 1):
        work()
    wait()
    return (time.perf_counter() - start) / (rounds if device.type == "cuda" else 1)


def traffic(network: torch.nn.Module, images: torch.Tensor, width: int = 2) -> float:
    """Bytes that the layers read and write when nothing is fused: activations and weights of `width` bytes."""
    total = 0

    def count(layer: torch.nn.Module, inputs: tuple, output: object) -> None:
        nonlocal total
        tensors = [t for t in (*inputs, output, *layer.parameters(recurse=False)) if isinstance(t, torch.Tensor)]
        total += sum(t.numel() for t in tensors) * width

    hooks = [m.register_forward_hook(count) for m in network.modules() if not list(m.children())]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return float(total)


def throughput(
    case: str, network: torch.nn.Module, fast: torch.nn.Module, images: torch.Tensor, reachable: Reachable
) -> Iterator[Row]:
    from torch.utils.flop_counter import FlopCounterMode

    if images.shape[1] == 3:
        images = images.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            moved = traffic(network, images)
        seconds = device_seconds(images.device, lambda: fast(images), 20)
    yield Row("detection", case, "speed", len(images) / seconds, "crops/s")
    yield Row("detection", case, "throughput", counter.get_total_flops() / seconds / 1e12, "TFLOP/s",
              limit=reachable.operations / 1e12, note="limit: large half-precision matrix product")  # fmt: skip
    yield Row("detection", case, "memory traffic", moved / seconds / 1e9, "GB/s", limit=reachable.bandwidth / 1e9,
              note="of unfused layers at 2 bytes; limit: large copy")  # fmt: skip


PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "landmarks": landmarks, "decoders": decoders, "rendered": rendered, "video": video, "gpu": gpu,
}  # fmt: skip


def rows(only: list[str] | None = None) -> list[Row]:
    """All rows, or those of some parts."""
    return [row for name in only or PARTS for row in PARTS[name]()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(PARTS))
    sys.stdout.write(markdown(rows(parser.parse_args().only), machine()) + "\n")


if __name__ == "__main__":
    main()
