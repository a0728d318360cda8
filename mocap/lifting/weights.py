"""The weights file: an npz of float16 arrays and a description, read without pickle or torch."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mocap.errors import SettingsError, WeightsError
from mocap.lifting.settings import NetworkSettings
from mocap.storage.atomic import write_bytes

FORMAT = "mocap-liftnet-5"
SHIPPED = Path(__file__).parent / "weights" / "liftnet.npz"
_UNREADABLE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, SettingsError,
)  # fmt: skip
_FEATURES, _ERRORS = 5, 48
_CORRELATION = "correlation"  # its name in the file, beside the network's arrays
_STEP = ".step"
_TRAIN = "mocap train-lifter DATA --output FILE makes one"


@dataclass(frozen=True)
class StdScales:
    """What turns predicted into true standard deviations, fitted on the validation people.

    Attributes
    ----------
    across, along : float
        Factors of the network's own prediction, across and along the view; the fit to rays and bones
        weighs it by them.
    across_weights, along_weights : tuple of float
        Weights of `mocap.lifting.uncertainty.FEATURES`.
    joint, joint_95 : float
        Factors of `mocap.lifting.uncertainty.pooled_intervals`: what 68.3 % and what 95 % of the
        coordinates of all three axes lie within.
    """

    across: float = 1.0
    along: float = 1.0
    across_weights: tuple[float, ...] = (0.0, 0.5, 0.0, 0.0, 0.0)
    along_weights: tuple[float, ...] = (0.0, 0.5, 0.0, 0.0, 0.0)
    joint: float = 1.0
    joint_95: float = 1.0

    def __post_init__(self) -> None:
        for name in ("across_weights", "along_weights"):
            values = tuple(float(v) for v in getattr(self, name))
            if len(values) != _FEATURES:
                raise ValueError(f"{name}: {len(values)} values instead of {_FEATURES}")
            object.__setattr__(self, name, values)


@dataclass(frozen=True)
class StdCalibration:
    """The factors without and with known bone lengths."""

    guessed: StdScales = field(default_factory=StdScales)
    known: StdScales = field(default_factory=StdScales)


@dataclass(frozen=True, eq=False)
class Member:
    """One network as arrays.

    Attributes
    ----------
    network : NetworkSettings
    arrays : dict of str to float32
        torch's state dict.
    share : float
        In the mean of all networks' predictions, above 0.
    bits : int
        16, or 8 if `in_8_bits` made the arrays so.
    """

    network: NetworkSettings
    arrays: Mapping[str, NDArray[np.float32]]
    share: float
    bits: int = 16

    def in_8_bits(self) -> Member:
        """The network with weights of 8 bits and a scale for each output: half as much to read for each window."""
        arrays = {n: np.rint(a / _scale(a)) * _scale(a) if a.ndim == 2 else a for n, a in self.arrays.items()}
        return replace(self, arrays=arrays, bits=8)


def _scale(a: NDArray[np.float32]) -> NDArray[np.float32]:
    """For each row [out, 1] the step of 8 bits, in 11 bits so that products with it are exact, and found again."""
    mantissa, exponent = np.frexp(np.maximum(np.abs(a).max(1, keepdims=True), 1e-12) / np.float32(127))
    return np.ldexp(np.ceil(mantissa * 2048) / 2048, exponent).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Weights:
    """A trained network, or several whose predictions are averaged, as arrays.

    Attributes
    ----------
    network : NetworkSettings
    arrays : dict of str to float32
        torch's state dict.
    calibration : StdCalibration
    correlation : float32 [2, 48, 48]
        Of the errors of joints 1-16 (x, y across and z along the view), without and with known bones.
    others : tuple of Member
        Further networks of the same window; together they leave a share for the first.
    bits : int
        See `Member`.
    notes : dict of str to str
        Data, settings, code version: what the model card says.

    Raises
    ------
    SettingsError
        The others' shares are not above 0, or leave nothing for the first network.
    """

    network: NetworkSettings
    arrays: Mapping[str, NDArray[np.float32]]
    calibration: StdCalibration
    notes: Mapping[str, str]
    correlation: NDArray[np.float32] = field(
        default_factory=lambda: np.tile(np.eye(_ERRORS, dtype=np.float32), (2, 1, 1))
    )
    others: tuple[Member, ...] = ()
    bits: int = 16

    def __post_init__(self) -> None:
        shares = [m.share for m in self.others]
        if not (all(share > 0 for share in shares) and sum(shares) < 1):
            raise SettingsError(
                "shares that leave no mean of the networks", expected="each above 0, their sum below 1",
                found=", ".join(f"{share:g}" for share in shares), where="weights.others",
            )  # fmt: skip

    @property
    def members(self) -> tuple[Member, ...]:
        """All networks."""
        return Member(self.network, self.arrays, 1 - sum(m.share for m in self.others), self.bits), *self.others


def write_weights(weights: Weights, path: Path) -> None:
    """Write atomically; equal weights give equal bytes.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    description = {
        "format": FORMAT,
        "network": asdict(weights.network),
        "bits": weights.bits,
        "others": [{"network": asdict(m.network), "share": m.share, "bits": m.bits} for m in weights.others],
        "calibration": asdict(weights.calibration),
        "notes": dict(weights.notes),
    }
    text = json.dumps(description, sort_keys=True).encode()
    content: dict[str, NDArray[np.generic]] = {"description": np.frombuffer(text, np.uint8)}
    arrays: dict[str, NDArray[np.generic]] = {_CORRELATION: np.asarray(weights.correlation, np.float16)}
    for i, member in enumerate(weights.members):
        arrays |= {f"{_prefix(i)}{name}": a for name, a in _packed(member).items()}
    content |= dict(sorted(arrays.items()))
    buffer = io.BytesIO()
    # numpy's own savez stamps the time of day into the archive.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in content.items():
            file = io.BytesIO()
            np.lib.format.write_array(file, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), file.getvalue(), zipfile.ZIP_DEFLATED)
    write_bytes(path, buffer.getvalue())


def read_weights(path: Path = SHIPPED) -> Weights:
    """Read a weights file.

    Raises
    ------
    WeightsError
        The file is missing, damaged, or of another format or network.
    """
    if not path.is_file():
        raise WeightsError("there are no lifting weights", expected="a LiftNet npz file", where=str(path), hint=_TRAIN)
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        description = json.loads(bytes(arrays.pop("description")).decode())
        found = description["format"]
        if found != FORMAT:
            raise WeightsError(
                "weights of another format", expected=FORMAT, found=str(found), where=str(path), hint=_TRAIN
            )
        network = NetworkSettings(**description["network"])
        calibration = StdCalibration(**{k: StdScales(**v) for k, v in description["calibration"].items()})
        notes = {str(k): str(v) for k, v in description["notes"].items()}
        correlation = _symmetric(arrays.pop(_CORRELATION))
        bits, others = int(description["bits"]), []
        for i, shape in enumerate(description["others"]):
            names = [n for n in arrays if n.startswith(_prefix(i + 1))]
            own = _unpacked({n.removeprefix(_prefix(i + 1)): arrays.pop(n) for n in names})
            others.append(Member(NetworkSettings(**shape["network"]), own, float(shape["share"]), int(shape["bits"])))
        return Weights(network, _unpacked(arrays), calibration, notes, correlation, tuple(others), bits)
    except _UNREADABLE as error:
        raise WeightsError(
            "the lifting weights cannot be read", expected=f"a {FORMAT} npz file",
            found=f"{type(error).__name__}: {error}", where=str(path), hint=_TRAIN,
        ) from error  # fmt: skip


def _prefix(number: int) -> str:
    """What the names of a network's arrays begin with."""
    return f"other_{number - 1}." if number else ""


def _packed(member: Member) -> dict[str, NDArray[np.generic]]:
    """The arrays as they are stored: float16, or int8 with its steps beside it."""
    packed: dict[str, NDArray[np.generic]] = {}
    for name, a in member.arrays.items():
        if member.bits == 8 and a.ndim == 2:
            packed[name], packed[f"{name}{_STEP}"] = np.rint(a / _scale(a)).astype(np.int8), _scale(a)
        else:
            packed[name] = np.asarray(a, np.float16)
    return packed


def _unpacked(arrays: Mapping[str, NDArray[np.floating]]) -> dict[str, NDArray[np.float32]]:
    return {
        n: a.astype(np.float32) * arrays.get(f"{n}{_STEP}", np.float32(1))
        for n, a in arrays.items() if not n.endswith(_STEP)
    }  # fmt: skip


def _symmetric(correlation: NDArray[np.float16]) -> NDArray[np.float32]:
    if correlation.shape != (2, _ERRORS, _ERRORS):
        raise ValueError(f"correlation {correlation.shape} instead of {(2, _ERRORS, _ERRORS)}")
    full = correlation.astype(np.float32)
    return 0.5 * (full + full.transpose(0, 2, 1))


def weights_digest(path: Path = SHIPPED) -> str:
    """SHA-256 of the weights file, for cache keys; torch is not imported.

    Raises
    ------
    WeightsError
        The file is missing or cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(
            "there are no lifting weights",
            expected="a LiftNet npz file",
            found=str(error),
            where=str(path),
            hint=_TRAIN,
        ) from error
