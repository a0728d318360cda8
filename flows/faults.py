"""Which failures may pass by themselves, so that trying again is worth it."""

from __future__ import annotations

import errno

TRANSIENT = frozenset(
    getattr(errno, name)
    for name in (
        # A network drive that hiccups, or a server behind it that restarts.
        "EIO", "ESTALE", "EREMOTEIO", "ETIMEDOUT", "EAGAIN", "EBUSY", "ENOLCK",
        "ENETDOWN", "ENETUNREACH", "ENETRESET", "ECONNRESET", "ECONNABORTED", "ECONNREFUSED",
        "EHOSTDOWN", "EHOSTUNREACH",
    )
    if hasattr(errno, name)
)  # fmt: skip
"""Error numbers of the operating system. A full disk, a missing file or a forbidden one is none: people have to act."""


def is_transient(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, may be gone in a few seconds."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in TRANSIENT:
            return True
        error = error.__cause__ or error.__context__
    return False
