"""Offsets between cameras from the sound in their files.

Generalised cross-correlation with phase transform (GCC-PHAT; Knapp & Carter 1976, "The generalized
correlation method for estimation of time delay"): coarse over all lags, then per window with a peak
between the samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.time_evidence import ClockEvidence

Array = NDArray[np.float64]

_RATE = 16_000
_MOST_S = 120.0  # from the start of the files; more tells no more
_SOUND_M_S = 343.0
# A peak is believed that stands above all others by so many standard deviations of the correlation; those
# next to it are its echoes in the room.
_CLEAR, _ECHO_S = 5.0, 0.02
# Cameras put sound and picture together no better than this.
_LEAST_STD_S = 1e-3


def read_sound(path: Path) -> Array:
    """Samples [N] at 16 kHz, one channel, the first at the moment of the first picture; empty without sound."""
    import av
    from av.error import FFmpegError

    parts: list[Array] = []
    try:
        with av.open(str(path)) as file:
            if not file.streams.audio:
                return np.zeros(0)
            stream = file.streams.audio[0]
            video = file.streams.video[0] if file.streams.video else None
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=_RATE)
            start, count = 0.0, 0
            for frame in file.decode(stream):
                if not parts and frame.time is not None:
                    picture = float((video.start_time or 0) * (video.time_base or 0)) if video else 0.0
                    start = float(frame.time) - picture
                out = [np.asarray(f.to_ndarray()[0], np.float64) for f in resampler.resample(frame)]
                parts += out
                count += sum(len(o) for o in out)
                if count > _MOST_S * _RATE:
                    break
    except (FFmpegError, OSError):
        return np.zeros(0)  # the detect stage says what is wrong with the file
    samples = np.concatenate(parts) if parts else np.zeros(0)
    lead = round(start * _RATE)
    return np.concatenate([np.zeros(lead), samples]) if lead > 0 else samples[-lead:]


def delay(first: Array, second: Array, search_s: float, rate: float = _RATE) -> tuple[float, float]:
    """How much later (s) a sound lies in the second signal than in the first, and how far the peak stands out.

    Parameters
    ----------
    first, second : float64 [N], [M]
    search_s : float
        Largest delay.
    rate : float
        Samples per second.

    Returns
    -------
    seconds, certainty : float
        NaN and 0 where either is silent; by how many standard deviations of the correlation its peak
        stands above all others.
    """
    if not (len(first) and len(second) and first.std() > 0 and second.std() > 0):
        return float("nan"), 0.0
    size = 1 << int(np.ceil(np.log2(len(first) + len(second))))
    a, b = (np.fft.rfft(s - s.mean(), size) for s in (first, second))
    cross = np.conj(a) * b
    # Frequencies that hold nothing but rounding count for nothing.
    level = np.abs(cross)
    whitened = cross / np.maximum(level, 1e-3 * float(np.median(level)) + 1e-300)
    correlation = np.fft.irfft(whitened, size)
    reach = min(round(search_s * rate), size // 2 - 1)
    lags = np.arange(-reach, reach + 1)
    values = correlation[lags]
    k = int(np.argmax(values))
    noise = 1.4826 * float(np.median(np.abs(values - np.median(values)))) + 1e-12
    far = np.abs(lags - lags[k]) > _ECHO_S * rate
    rival = float(values[far].max()) if far.any() else 0.0
    return (float(lags[k]) + _peak(values, k)) / rate, (float(values[k]) - rival) / noise


def _peak(values: Array, k: int) -> float:
    """Where between the samples the peak lies, by the parabola through three."""
    if not 0 < k < len(values) - 1:
        return 0.0
    left, middle, right = (float(v) for v in values[k - 1 : k + 2])
    bend = left - 2 * middle + right
    return float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def offsets_from_sound(sounds: Sequence[Array], centres: Array, search_s: float) -> ClockEvidence | None:
    """Offsets of the cameras whose files hold the same sound.

    Parameters
    ----------
    sounds : sequence of float64 [N]
        See `read_sound`; empty where there is none.
    centres : float64 [V, 3]
        Camera centres, metres: sound reaches the far camera later, by an amount that depends on where it
        was made. Half of the largest difference is the standard deviation.
    search_s : float

    Returns
    -------
    ClockEvidence or None
        None where no two files hold the same sound.
    """
    V = len(sounds)
    loud = [v for v in range(V) if len(sounds[v]) and sounds[v].std() > 0]
    best: tuple[int, dict[int, float]] | None = None
    for reference in loud[:2]:  # the first may be the one that heard nothing
        found = {reference: 0.0}
        for v in loud:
            if v != reference:
                seconds, certainty = delay(sounds[reference], sounds[v], search_s)
                if certainty >= _CLEAR:
                    found[v] = -seconds  # heard later in the file: the file began earlier
        if best is None or len(found) > len(best[1]):
            best = (reference, found)
    if best is None or len(best[1]) < 2:
        return None
    reference, found = best
    offset, std = np.full((2, V), np.nan)
    for v, seconds in found.items():
        others = [w for w in found if w != v]
        reach = max(float(np.linalg.norm(centres[v] - centres[w])) for w in others) / _SOUND_M_S
        offset[v], std[v] = seconds, np.hypot(reach / 2 / np.sqrt(2), _LEAST_STD_S)
    return ClockEvidence("sound", offset, std)
