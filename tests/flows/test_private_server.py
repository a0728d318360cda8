"""What a run prepares while and before its private Prefect server starts."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from flows import prefect_server, server_folder, warm_up
from flows.config import Stage


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folder of a private server, in a cache without a prepared database."""
    monkeypatch.setenv("MOCAP_CACHE", str(tmp_path))
    folder = server_folder.home_of(tmp_path / "S")
    folder.mkdir(parents=True)
    return folder


def make_database(path, rows=2000):
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES ('0123abcd')")
        database.execute("CREATE TABLE flow (name TEXT)")
        database.executemany("INSERT INTO flow VALUES (?)", ((f"flow {n}",) for n in range(rows)))


def test_a_kept_database_serves_the_next_run(home):
    assert not server_folder.copy_prepared_database(home)
    make_database(home / "prefect.db")
    server_folder.keep_prepared_database(home)
    (home / "prefect.db").unlink()
    assert server_folder.copy_prepared_database(home)
    with closing(sqlite3.connect(home / "prefect.db")) as database:
        assert database.execute("SELECT count(*) FROM flow").fetchone() == (2000,)


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty", "no database"])
def test_a_damaged_prepared_database_is_made_anew(home, harm):
    prepared = server_folder._prepared_database(home)
    make_database(prepared)
    good = prepared.read_bytes()
    middle = len(good) // 2 // 4096 * 4096
    bad = {
        "cut": good[: middle + 100],
        "flipped": good[:middle] + bytes(b ^ 255 for b in good[middle : middle + 64]) + good[middle + 64 :],
        "empty": b"",
        "no database": b"something else entirely" * 1000,
    }
    prepared.write_bytes(bad[harm])
    assert not server_folder.copy_prepared_database(home)
    assert not prepared.exists()
    assert not (home / "prefect.db").exists()


def test_the_folder_of_a_killed_run_goes_with_the_next_server_and_that_of_a_living_one_stays(home):
    caches = home.parent
    owner = "import sys; from pathlib import Path; from flows.server_folder import taken\n"
    owner += (
        "with taken(Path(sys.argv[1])): (Path(sys.argv[1]) / 'prefect.db').touch(); print('in', flush=True); input()"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", owner, str(caches / name)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for name in ("killed", "alive")
    ]
    try:
        assert [run.stdout.readline() for run in runs] == [b"in\n"] * 2
        runs[0].kill()
        runs[0].wait()
        for name, age in (("of an earlier version", 8 * 86400), ("just made", 0)):
            (caches / name).mkdir()
            os.utime(caches / name, (time.time() - age,) * 2)
        with server_folder.taken(home):
            assert [p.name for p in home.iterdir()] == ["in-use"]
            assert not (caches / "killed").exists()
            assert not (caches / "of an earlier version").exists()
            assert (caches / "just made").exists()
            assert (caches / "alive" / "prefect.db").exists()
        assert not home.exists()
    finally:
        for run in runs:
            run.kill()
            run.communicate()


def test_the_private_server_keeps_away_from_the_users_database(home, monkeypatch):
    for name in ("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL"):
        monkeypatch.setenv(name, "postgresql+asyncpg://studio/prefect")
    monkeypatch.setenv("PREFECT_HOME", "/somewhere/else")
    made = prefect_server._server_environment(home, prepared=True)
    assert made["PREFECT_HOME"] == str(home)
    places = [value for name, value in made.items() if "CONNECTION_URL" in name]
    assert places == [f"sqlite+aiosqlite:///{home}/prefect.db"] * 2


def test_the_private_server_wants_no_tokens_that_its_client_does_not_send(home, monkeypatch):
    names = ("PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED", "PREFECT_SERVER_CSRF_PROTECTION_ENABLED")
    for name in names:
        monkeypatch.setenv(name, "true")
    made = prefect_server._server_environment(home, prepared=False)
    assert [made[name] for name in names] == ["false", "false"]


def test_what_the_user_set_for_clients_is_back_after_a_run(monkeypatch):
    monkeypatch.setenv("PREFECT_CLIENT_CSRF_SUPPORT_ENABLED", "true")
    monkeypatch.delenv("PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED", raising=False)
    before = dict(os.environ)
    with prefect_server._environment(prefect_server._KNOWN):
        assert prefect_server._KNOWN.items() <= os.environ.items()
    assert dict(os.environ) == before


def test_each_stage_names_modules_that_exist():
    assert set(warm_up._OF_STAGE) == set(Stage)
    for name in {*warm_up._ENGINE, *(m for modules in warm_up._OF_STAGE.values() for m in modules)}:
        assert importlib.util.find_spec(name) is not None, name


def test_once_the_server_is_up_nothing_more_is_loaded_ahead(monkeypatch):
    loaded = []
    monkeypatch.setattr(warm_up.importlib, "import_module", loaded.append)
    warm_up.warm_up([Stage.FILTER, Stage.SOLVE], lambda: "mocap.filtering.stage" in loaded)
    assert loaded == [*warm_up._ENGINE, "mocap.filtering.stage"]


def test_what_cannot_be_loaded_ahead_is_left_to_its_stage(monkeypatch):
    def broken(name):
        if name == "mocap.filtering.stage":
            raise OSError("a library of it is damaged")

    monkeypatch.setattr(warm_up.importlib, "import_module", broken)
    warm_up.warm_up([Stage.FILTER], lambda: False)
    monkeypatch.setattr(warm_up.importlib, "import_module", lambda name: None)
    monkeypatch.setattr(warm_up, "_start_numba", lambda: 1 / 0)
    warm_up.warm_up([Stage.SOLVE], lambda: False)
