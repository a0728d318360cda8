"""Running a session's tasks on a Dask cluster.

The workers see the session at the same path (shared storage), have the same version of this package,
and reach the Prefect server: the studio's own, or the private one when all are on this machine.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import logging
import os
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mocap.errors import DependencyError, SettingsError

if TYPE_CHECKING:
    from prefect_dask import DaskTaskRunner

_CONNECT_LIMIT_S = 10.0


def check_cluster(address: str) -> None:
    """See before anything is started that an address can work.

    Raises
    ------
    SettingsError
        Not the address of a scheduler, or one on another machine without a Prefect server that it reaches.
    DependencyError
        The extra is not installed, or no scheduler listens there.
    """
    parts = urlsplit(address)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme not in ("tcp", "tls") or not host or not port:
        raise SettingsError(
            "not the address of a Dask scheduler", expected="tcp://HOST:PORT", found=address, where="--cluster"
        )
    # Looked for, not imported: Prefect reads its environment when imported, and that is not set up yet.
    if importlib.util.find_spec("prefect_dask") is None:
        raise DependencyError("running on a cluster needs the extra `cluster`", hint="pip install 'mocap[cluster]'")
    if not os.environ.get("PREFECT_API_URL") and not _is_loopback(host):
        raise SettingsError(
            "workers on other machines need a Prefect server that they reach", found="no PREFECT_API_URL",
            where=f"--cluster {address}",
            hint="start one with `prefect server start --host 0.0.0.0`, and set PREFECT_API_URL=http://THIS_HOST:4200/api",
        )  # fmt: skip
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_LIMIT_S):
            pass
    except OSError as error:
        raise DependencyError(
            "no Dask scheduler answers", found=str(error), where=address,
            hint="start one with `dask scheduler`, and workers with `dask worker ADDRESS --nthreads 1`",
        ) from error  # fmt: skip


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def dask_runner(address: str) -> DaskTaskRunner:
    """Prefect's task runner for the cluster at an address."""
    from prefect_dask import DaskTaskRunner

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a lost worker is reported on its side
    return DaskTaskRunner(address=address)
