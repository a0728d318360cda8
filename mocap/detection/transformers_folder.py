"""Networks from folders as the transformers library writes and reads them: strictly, saying what does not fit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mocap.detection.checkpoints import named
from mocap.errors import DependencyError, WeightsError


def load_folder(class_name: str, folder: Path, *, add_command: str) -> Any:
    """A network with its weights; nothing is fetched from anywhere.

    Parameters
    ----------
    class_name : str
        Of the class in transformers.
    folder : Path
        config.json and model.safetensors.
    add_command : str
        The command that puts the right folder in place, for messages.

    Raises
    ------
    DependencyError
        transformers is not installed, or knows no such network.
    WeightsError
        Not such a folder, or weights of another network; their keys are named.
    """
    try:
        import transformers
        from transformers.utils import logging

        kind: Any = getattr(transformers, class_name)
    except (ImportError, AttributeError) as error:
        raise DependencyError(
            f"{class_name} needs transformers, which is not installed", found=str(error),
            hint="pip install 'mocap[transformers]'",
        ) from error  # fmt: skip
    with _quiet(logging):
        try:
            network, info = kind.from_pretrained(
                str(folder), local_files_only=True, output_loading_info=True, use_safetensors=True
            )
        except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            raise WeightsError(
                f"not a folder of {class_name}", expected="config.json and model.safetensors",
                found=str(error).splitlines()[0], where=str(folder), hint=add_command,
            ) from error  # fmt: skip
    problems = named(
        missing=sorted(info["missing_keys"]),
        unknown=sorted(info["unexpected_keys"]),
        of_another_shape=sorted(str(k[0]) for k in info["mismatched_keys"]),
    )
    if problems:
        raise WeightsError(
            "the weights are of another network", expected="those that config.json describes",
            found="; ".join(problems), where=str(folder), hint=add_command,
        )  # fmt: skip
    return network


@contextlib.contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """No report of the library's own: ours says the same in one message."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()
