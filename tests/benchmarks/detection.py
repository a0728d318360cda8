"""How good and how fast the detectors are.

OMP_NUM_THREADS=1 python tests/benchmarks/detection.py [--only landmarks decoders rendered video gpu]

landmarks: BlazePose's landmark network in torch against the TFLite runtime, same crops, one thread
(processor time, so that a busy machine does not matter). decoders: error against the Cramer-Rao
bound. rendered: PCK, PCKh and OKS-AP on rendered pictures. video: where the time of a whole video
goes. gpu: crops/s at three batch sizes and the share of the achievable matrix throughput; random
weights, only where there is a GPU.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from bench_table import Row, machine, markdown

from mocap import models
from mocap.detection.blazepose import BlazePose
from mocap.detection.decoders import DecoderName, DecoderSettings
from mocap.detection.detector import make_detector
from mocap.detection.heatmaps import centre_bound, decode_heatmaps
from mocap.detection.hrnet import HRNet
from mocap.detection.rendered_set import rendered_pictures, score_detector
from mocap.detection.settings import DetectionSettings
from mocap.detection.tflite_graph import read_graph
from mocap.detection.tflite_torch import TFLiteNetwork
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
    """Frames/s of whole videos, and the shares of decoding, network and the rest."""
    device = torch.device("cpu") if device is None else device
    scene = make_scene(96, 30.0, 5, n_cameras=1, size=(1080, 1080))
    settings = DetectionSettings()
    detector = make_detector(settings, device)
    blazepose = BlazePose(models.ensure("blazepose"), device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cam.mp4"
        write_video(path, render_camera(scene, scene.rig.cameras[0]), 30.0, (1080, 1080))
        start = time.process_time(), time.perf_counter()
        batches = list(read_frames(path, batch=settings.batch_frames))
        decode = clock(device, start)
        start = time.process_time(), time.perf_counter()
        detector.start(30.0)
        for batch in batches:
            detector.detect(batch)
        detect = clock(device, start)
    frames = sum(len(b) for b in batches)
    crops = np.zeros((settings.batch_frames, 256, 256, 3), np.uint8)
    regions = np.tile([540.0, 540.0, 800.0, 0.0], (len(crops), 1))
    blazepose.estimate(crops, regions)
    start = time.process_time(), time.perf_counter()
    blazepose.estimate(crops, regions)
    network = clock(device, start) * frames / len(crops)
    name = f"BlazePose, 1080x1080 video, {device.type}"
    yield Row("detection", name, "speed", frames / (decode + detect), "frames/s", note="one after the other")
    for what, seconds in (
        ("decode", decode),
        ("landmark network", network),
        ("search, crops, Python", detect - network),
    ):
        yield Row("detection", name, f"share of {what}", 100 * seconds / (decode + detect), "%")


def clock(device: torch.device, start: tuple[float, float]) -> float:
    """Processor time on the CPU, wall time on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter() - start[1]
    return time.process_time() - start[0]


def gpu() -> Iterator[Row]:
    """Networks on the GPU: crops/s and the share of what a large matrix product reaches."""
    if not torch.cuda.is_available():
        yield Row("detection", "GPU", "skipped", None, "", note="no GPU here")
        return
    device = resolve_device(DeviceChoice.CUDA)
    torch.backends.cudnn.benchmark = True
    reachable = matrix_throughput(device)
    path = models.ensure("blazepose") / BLAZEPOSE_LANDMARKS.name
    blazepose = TFLiteNetwork(read_graph(path, OUTPUTS)).eval().to(device)
    networks = {
        "BlazePose landmarks": (blazepose, (256, 256, 3)),
        "HRNet-W48 384x288": (HRNet(48, 17).eval().to(device, memory_format=torch.channels_last), (3, 384, 288)),
    }
    try:
        networks["ViTPose-B 256x192"] = (vitpose().eval().to(device), (3, 256, 192))
    except ImportError:
        yield Row("detection", "ViTPose-B 256x192", "skipped", None, "", note="transformers is not installed")
    for name, (network, shape) in networks.items():
        for batch in BATCHES:
            yield from throughput(name, network, torch.rand(batch, *shape, device=device), reachable)
    yield from video(device)


def vitpose() -> torch.nn.Module:
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

    backbone = VitPoseBackboneConfig(image_size=[256, 192])
    return VitPoseForPoseEstimation(VitPoseConfig(backbone_config=backbone, num_labels=17))


def matrix_throughput(device: torch.device, size: int = 8192) -> float:
    """Operations per second of a large half-precision matrix product: what is achievable."""
    a = torch.randn(size, size, device=device, dtype=torch.float16)
    return 2 * size**3 / gpu_seconds(lambda: a @ a, 20)


def gpu_seconds(work: Callable[[], object], rounds: int) -> float:
    for _ in range(5):
        work()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(rounds):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / rounds


def throughput(name: str, network: torch.nn.Module, images: torch.Tensor, reachable: float) -> Iterator[Row]:
    from torch.utils.flop_counter import FlopCounterMode

    if images.shape[1] == 3:
        images = images.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast("cuda", dtype=torch.float16):
        with FlopCounterMode(display=False) as counter:
            network(images)
        seconds = gpu_seconds(lambda: network(images), 20)
    case = f"{name}, batch {len(images)}"
    yield Row("detection", case, "speed", len(images) / seconds, "crops/s")
    yield Row("detection", case, "throughput", counter.get_total_flops() / seconds / 1e12, "TFLOP/s",
              limit=reachable / 1e12, note="limit: 8192^3 half-precision matrix product")  # fmt: skip


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
