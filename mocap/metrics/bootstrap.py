"""How sure a mean error is: bootstrap over stretches of time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mocap.errors import SettingsError

Array = NDArray[np.float64]


def bootstrap_interval(
    totals: Array, counts: Array, level: float = 0.95, draws: int = 2000, block: int = 1, seed: int = 0
) -> tuple[float, float]:
    """Confidence interval of a mean, sum(totals) / sum(counts), by the percentile bootstrap.

    Efron & Tibshirani, An introduction to the bootstrap (1993), ch. 13; in blocks of consecutive
    units because errors of neighbouring frames are alike (Kuensch, Ann. Statist. 17, 1989; blocks
    here do not overlap).

    Parameters
    ----------
    totals, counts : [N]
        Sum of the errors of each unit (a frame, a sequence) and how many there were.
    level : float
        Between 0 and 1.
    draws : int
    block : int
        Units drawn together.
    seed : int

    Returns
    -------
    low, high : float
        NaN when fewer than two blocks hold anything.

    Raises
    ------
    SettingsError
        A level outside 0..1, or draws or blocks below 1.
    """
    if not (0 < level < 1 and draws >= 1 and block >= 1):
        raise SettingsError(
            "no such bootstrap", expected="0 < level < 1, draws and block at least 1",
            found=f"level {level}, draws {draws}, block {block}",
        )  # fmt: skip
    edges = np.arange(0, len(totals), block)
    if not len(edges):
        return float("nan"), float("nan")
    sums, sizes = np.add.reduceat(totals, edges), np.add.reduceat(np.asarray(counts, float), edges)
    sums, sizes = sums[sizes > 0], sizes[sizes > 0]
    n = len(sums)
    if n < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    # How often each block is drawn: one multinomial per draw, whatever the take's length.
    times = rng.multinomial(n, np.full(n, 1 / n), size=draws)
    means = (times @ sums) / (times @ sizes)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
