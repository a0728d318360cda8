"""How the errors of a detector hang together in time."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

# A decaying share may be all there is, but for the equations to stay regular.
_MOST = 0.999


@dataclass(frozen=True)
class Persistence:
    """Shares of the variance of 2D errors that last from frame to frame; what is left is new in every frame.

    Attributes
    ----------
    share : float
        Share whose correlation decays.
    seconds : float
        Time after which its correlation has fallen to 1/e.
    constant : float
        Share that stays as it is: what a view's detector keeps beside the joint.
    """

    share: float = 0.0
    seconds: float = 0.0
    constant: float = 0.0

    @property
    def is_white(self) -> bool:
        """Whether the errors of different frames are independent, but for a constant."""
        return not (self.share > 0 and self.seconds > 0)

    @property
    def changing(self) -> float:
        """Share of the variance that is not constant."""
        return max(1.0 - self.constant, 1.0 - _MOST)

    def correlation(self, dt: float) -> tuple[float, float]:
        """Of the changing part of errors one and two samples apart, dt seconds each."""
        if self.is_white:
            return 0.0, 0.0
        decay, share = exp(-dt / self.seconds), min(self.share / self.changing, _MOST)
        return share * decay, share * decay**2
