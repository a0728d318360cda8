"""A session folder: where things are, who is working on it, and what its footage is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

from calibration.synchronisation import SynchronisationMethod
from flows.config import SessionConfig, read_config
from flows.digests import DigestMemo, seal, unseal
from flows.footage import Footage, check_footage, probe_footage
from mocap.errors import SessionError, StorageError, VideoError
from mocap.storage.atomic import write_bytes


class Session:
    """An existing session folder.

    Parameters
    ----------
    root : Path
    paranoid : bool
        Read every input and artifact anew instead of trusting size and times.

    Raises
    ------
    SessionError, SettingsError
        Not a session folder, or a session.toml that is wrong.
    """

    def __init__(self, root: Path, *, paranoid: bool = False) -> None:
        self.root = root.resolve()
        self.config: SessionConfig = read_config(self.root / "session.toml")
        self.digests = DigestMemo(self.state / "digests.json", paranoid=paranoid)

    @property
    def settings_file(self) -> Path:
        """The session.toml."""
        return self.root / "session.toml"

    @property
    def state(self) -> Path:
        """The folder that the program keeps for itself."""
        return self.root / ".mocap"

    def resolve(self, path: str) -> Path:
        """A path of session.toml: absolute, or relative to the session folder."""
        return (self.root / path).resolve()

    @cached_property
    def videos(self) -> dict[str, Path]:
        """Video of each camera; empty in sessions made from keypoints."""
        return {c.name: self.resolve(c.video) for c in self.config.cameras if c.video}

    @cached_property
    def footage(self) -> dict[str, Footage]:
        """What each camera's video is; checked to fit together.

        Raises
        ------
        VideoError
            A missing or unreadable video, or videos of different lengths or frame rates.
        """
        known = _read_known(self.state / "videos.json")
        found = {}
        for name, path in self.videos.items():
            if not path.is_file():
                raise VideoError(
                    f"the video of camera {name} is missing", where=str(path),
                    hint=f"put it back, or change `video` of this camera in {self.settings_file}",
                )  # fmt: skip
            digest = self.digests.digest(path)
            if digest not in known:
                known[digest] = probe_footage(path)
                with contextlib.suppress(StorageError):  # only a memo: a full disk shows where results are written
                    write_bytes(self.state / "videos.json", seal({d: asdict(f) for d, f in known.items()}))
            found[name] = known[digest]
        check_footage(found, free_running=self.free_running)
        return found

    @property
    def free_running(self) -> bool:
        """Whether the cameras may have started, and may run, each for itself."""
        return self.config.settings.synchronise.method in (SynchronisationMethod.MOTION, SynchronisationMethod.GIVEN)

    @property
    def fps(self) -> float:
        """Frames per second of the recording (sessions with videos): the fastest camera's."""
        return self.config.session.fps or max(f.fps for f in self.footage.values())

    def camera_fps(self, camera: str) -> float:
        """Frames per second of one camera (sessions with videos)."""
        rates = {f.fps for f in self.footage.values()}
        return self.fps if len(rates) == 1 or not self.free_running else self.footage[camera].fps

    def frame_range(self, camera: str) -> tuple[int, int]:
        """A camera's first frame and the frame after its last (sessions with videos)."""
        n_frames = self.footage[camera].n_frames
        start, stop = self.config.session.frames
        if (start, stop) == (0, 0):
            return 0, n_frames
        if self.free_running and 0 <= start < min(stop, n_frames):
            return start, min(stop, n_frames)
        if not 0 <= start < stop <= n_frames:
            raise SessionError(
                "`frames` does not fit the videos", expected=f"0 <= first < last <= {n_frames}",
                found=f"[{start}, {stop}]", where=str(self.settings_file),
            )  # fmt: skip
        return start, stop

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the session for one run; the lock ends with the process, however it ends.

        Raises
        ------
        SessionError
            Another process holds it (named with host and pid).
        """
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            lock = (self.state / "lock").open("a+")
        except OSError as error:
            raise SessionError(
                "this session cannot be written", found=str(error), where=str(self.root),
                hint="make the folder writable, or copy the session; `mocap status` works without",
            ) from error  # fmt: skip
        with lock as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                raise SessionError(
                    "another `mocap run` works on this session", found=file.read().strip() or None,
                    where=str(self.root), hint="wait until it has finished, or stop it",
                ) from error  # fmt: skip
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
            yield


def _read_known(path: Path) -> dict[str, Footage]:
    """Footage by digest of the video, as far as it was looked at before."""
    try:
        return {digest: Footage.parse(fields) for digest, fields in (unseal(path) or {}).items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
