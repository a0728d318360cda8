"""A limit on how many units use this machine's GPU at once, over all runs that share a Prefect server."""

from __future__ import annotations

import socket

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from flows.config import Stage
from flows.session import Session
from mocap.devices import DeviceChoice

_PER_GPU = 2
"""One decodes its video while the other computes."""


def gpu_tag() -> str:
    """The tag of task runs on this machine's GPU; its limit is seen and changed in Prefect's UI."""
    return f"mocap-gpu-{socket.gethostname()}"


def gpu_tags(session: Session, stage: Stage, device: DeviceChoice, cluster: str) -> list[str]:
    """The tags that hold a stage's units back while the GPU is taken; sets up the limit at the first need.

    Empty on a cluster: there each worker has its own GPU and takes one unit at a time.
    """
    if stage is not Stage.DETECT or session.config.session.keypoints or cluster or device is DeviceChoice.CPU:
        return []
    n_gpus = count_gpus()
    if not n_gpus:
        return []
    with get_client(sync_client=True) as client:
        try:
            client.read_concurrency_limit_by_tag(gpu_tag())
        except ObjectNotFound:
            client.create_concurrency_limit(gpu_tag(), _PER_GPU * n_gpus)
    return [gpu_tag()]


def count_gpus() -> int:
    """GPUs that torch can use."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
