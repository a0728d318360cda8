"""Loading PyTorch checkpoints that a user downloaded: strictly, and saying what does not fit."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import nn

from mocap.errors import WeightsError

_NAMED = 4
_WRAPPERS = ("state_dict", "model", "model_state_dict")
# Of data-parallel training, and of the wrapper for half precision that HigherHRNet was trained in.
_PREFIXES = ("module.", "1.")


def load_strictly(network: nn.Module, path: Path, *, add_command: str) -> None:
    """Put a checkpoint's weights into a network.

    Parameters
    ----------
    network : nn.Module
        Made on the device "meta" it costs no drawing of random weights; it lies on the CPU afterwards.
    path : Path
        Written by `torch.save`: a state dict, or a dict that holds one as "state_dict" or "model". Prefixes that
        all keys have from training ("module.", "1.") are taken off.
    add_command : str
        The command that puts the right file in place, for the message.

    Raises
    ------
    WeightsError
        Not a checkpoint (nothing but tensors is ever unpickled), or keys or shapes that do not fit; they are named.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        lines = [] if isinstance(error, KeyError) else [line for line in str(error).splitlines() if line.strip()]
        raise WeightsError(
            "not a PyTorch checkpoint of plain tensors", found=lines[0] if lines else "no tensors",
            where=str(path), hint=add_command,
        ) from error  # fmt: skip
    state = _state_dict(content)
    if state is None:
        raise WeightsError(
            "the checkpoint holds no weights", expected="a dict of names to tensors",
            found=type(content).__name__, where=str(path), hint=add_command,
        )  # fmt: skip
    wanted = network.state_dict()
    problems = _differences(
        {k: tuple(v.shape) for k, v in wanted.items()}, {k: tuple(v.shape) for k, v in state.items()}
    )
    if problems:
        raise WeightsError(
            "the checkpoint is of another network", expected=f"{len(wanted)} weights of {type(network).__name__}",
            found="; ".join([f"{len(state)} weights", *problems]), where=str(path), hint=add_command,
        )  # fmt: skip
    if any(p.is_meta for p in network.parameters()):
        network.to_empty(device="cpu")
    network.load_state_dict(state, strict=True)


def _state_dict(content: object) -> dict[str, torch.Tensor] | None:
    if isinstance(content, dict):
        for name in _WRAPPERS:
            if isinstance(content.get(name), dict):
                content = content[name]
                break
    if not (isinstance(content, dict) and content and all(isinstance(v, torch.Tensor) for v in content.values())):
        return None
    state = {str(k): v for k, v in content.items()}
    for prefix in _PREFIXES:
        if all(k.startswith(prefix) for k in state):
            state = {k.removeprefix(prefix): v for k, v in state.items()}
    return state


def _differences(wanted: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> list[str]:
    """What does not fit, some of it by name."""
    missing, unknown = [k for k in wanted if k not in found], [k for k in found if k not in wanted]
    shapes = [f"{k} {found[k]} instead of {wanted[k]}" for k in wanted if k in found and found[k] != wanted[k]]
    return named(missing=missing, unknown=unknown, of_another_shape=shapes)


def named(**kinds: list[str]) -> list[str]:
    """Some of the keys of each kind of problem, for a message; nothing for kinds without any."""
    return [
        f"{len(names)} {what.replace('_', ' ')}: {', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''}"
        for what, names in kinds.items()
        if names
    ]
