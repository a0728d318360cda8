"""What a detector's confidence is worth in each camera, learnt from how far the views disagree.

The multi-view consistency loss of `mocap.triangulation.consistency` used for training: no 3D truth is
needed, only that all views see the same joints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.projection import Lenses
from mocap.triangulation.consistency import view_pairs

Array = NDArray[np.float64]

# Degrees of freedom of the distances' tails: wrong detections must not set a camera's noise.
_TAIL = 4.0


@dataclass(frozen=True, eq=False)
class ConfidenceCalibration:
    """Pixel noise of every camera as a function of confidence: sigma_v c^(-exponent_v).

    Attributes
    ----------
    sigma : float64 [V]
        Standard deviation per axis at confidence 1, px.
    exponent : float64 [V]
    """

    sigma: Array
    exponent: Array

    def sigma_of(self, confidence: Array) -> Array:
        """Standard deviation per axis [V, ...], px, at confidences [V, ...]; infinite at confidence 0."""
        shape = (-1,) + (1,) * (confidence.ndim - 1)
        with np.errstate(divide="ignore"):
            return np.asarray(self.sigma.reshape(shape) * confidence ** -self.exponent.reshape(shape))

    def weights(self, confidence: Array) -> Array:
        """Inverse variance [V, ...], px^-2; 0 where not seen."""
        return np.where(confidence > 0, self.sigma_of(np.maximum(confidence, 1e-6)) ** -2.0, 0.0)


def disagreement(
    lenses: Lenses, keypoints: torch.Tensor, confidence: torch.Tensor, log_sigma: torch.Tensor, exponent: torch.Tensor
) -> torch.Tensor:
    """Consistency loss anchored by the noise that is claimed: mean over joints and view pairs.

    Parameters
    ----------
    lenses : Lenses
        Torch arrays of the V cameras.
    keypoints : float [V, ..., 2]
        Raw image coordinates, px; NaN where not seen.
    confidence : float [V, ...]
        0 where not seen.
    log_sigma, exponent : float [V]
        Noise per axis exp(log_sigma) c^-exponent, px.

    Notes
    -----
    The distance between the 3D estimates of two views (the nearest points of their rays) is, for
    noise of sigma_a and sigma_b pixels, normal along the rays' common normal with variance
    (sigma_a m_a)^2 + (sigma_b m_b)^2; m: metres per pixel at the point. The loss is the negative
    log likelihood of that distance with Student-t tails.

    What it is: a function that falls when views that disagree claim more noise, and rises when views
    that agree do; differentiable with respect to keypoints and parameters, so that a detector
    can be trained with it. What it is not: the plain loss, whose weights could all go to zero; nor a
    measure of accuracy: an error that all views share does not show, and with two views only the sum of
    their variances does.
    """
    pairs = view_pairs(lenses, keypoints, confidence)
    a, b = pairs.views
    gap2 = (pairs.points[0] - pairs.points[1]).square().sum(-1)
    focal = (lenses.K[:, 0, 0] * lenses.K[:, 1, 1]).sqrt()
    c = confidence.reshape(len(confidence), -1).clamp(min=1e-6)
    sigma2 = torch.exp(2 * log_sigma[:, None] - 2 * exponent[:, None] * torch.log(c))
    metres2 = (pairs.depth / focal[pairs.views][..., None]).square()
    variance = metres2[0] * sigma2[a] + metres2[1] * sigma2[b]
    live = (pairs.weight > 0) & (pairs.depth > 0).all(0)
    variance = torch.where(live, variance, torch.ones_like(variance))
    nll = 0.5 * torch.log(variance) + 0.5 * (_TAIL + 1) * torch.log1p(gap2 / (_TAIL * _SCALE * variance))
    return torch.where(live, nll, torch.zeros_like(nll)).sum() / live.sum().clamp(min=1)


# A Student-t's width that is right for normal data: the scale at which the likelihood peaks at the true variance.
_SCALE = 0.6906


def learn_confidence(
    lenses: Lenses, keypoints: torch.Tensor, confidence: torch.Tensor, steps: int = 60
) -> ConfidenceCalibration:
    """Noise and confidence exponent of every camera, by minimising `disagreement`.

    Parameters
    ----------
    lenses, keypoints, confidence : as of `disagreement`
        A few hundred joints that three or more views see are enough.
    steps : int
        L-BFGS iterations.

    Notes
    -----
    The exponent has a weak pull towards 0 (as one joint of deviation 1 would), which decides where
    the confidence does not vary. Deterministic.
    """
    V = len(confidence)
    log_sigma = torch.full((V,), float(np.log(3.0)), dtype=keypoints.dtype, requires_grad=True)
    exponent = torch.zeros(V, dtype=keypoints.dtype, requires_grad=True)
    count = float((confidence > 0).sum())
    optimiser = torch.optim.LBFGS([log_sigma, exponent], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = disagreement(lenses, keypoints, confidence, log_sigma, exponent)
        loss = loss + exponent.square().sum() / max(count, 1.0)
        loss.backward()
        return loss

    optimiser.step(closure)
    return ConfidenceCalibration(
        torch.exp(log_sigma).detach().cpu().numpy().astype(float), exponent.detach().cpu().numpy().astype(float)
    )
