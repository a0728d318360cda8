"""Monte-Carlo dropout: an alternative to the predicted uncertainty (Gal & Ghahramani 2016)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from mocap.lifting.augmentation import Windows
from mocap.lifting.network import LiftNet
from mocap.lifting.training import network_input, smoothed
from mocap.lifting.weights import Weights

Array = NDArray[np.float64]


def monte_carlo(
    weights: Weights, windows: Windows, bones: bool, rate: float, samples: int, seed: int
) -> tuple[Array, Array]:
    """Mean [N, 17, 3] and standard deviation [N, 17, 2] (across, along) of the network's samples, m, virtual axes.

    Parameters
    ----------
    weights : Weights
    windows : Windows
    bones : bool
        Whether bone lengths are told.
    rate : float
        Share of features dropped, whatever the network was trained with.
    samples, seed : int
    """
    net = LiftNet(replace(weights.network, dropout=rate))
    net.load_state_dict({k: torch.from_numpy(np.array(a)) for k, a in weights.arrays.items()})
    net.eval()
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.train()
    known = torch.full((len(windows.rays),), bones)
    windows = smoothed(windows, weights.network.window, torch.device("cpu"))
    seen = network_input(replace(windows, bones_known=known))
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(seed)
        drawn = np.stack([net(seen).positions.numpy().astype(np.float64) for _ in range(samples)])
    variance = drawn.var(0, ddof=1)
    return drawn.mean(0), np.sqrt(np.stack([variance[..., :2].mean(-1), variance[..., 2]], -1))
