"""Looking after a session: previews, the cache's size, damage, and where results come from."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from flows.cache import Cache
from flows.cli import app
from flows.config import Assignment, Stage, assign
from flows.digests import hash_file, seal, unseal
from flows.execute import make_unit
from flows.initialise import NewSession, initialise
from flows.maintenance import clean, format_size, parse_size, verify
from flows.provenance import read_chain
from flows.session import Session
from mocap.devices import DeviceChoice
from mocap.errors import DataError, SessionError, SettingsError, StorageError
from mocap.storage.atomic import TEMPORARY_MARK


@pytest.fixture(scope="session")
def processed(tmp_path_factory, keypoint_files) -> Path:
    """A processed session that holds its own inputs, so that it can be copied."""
    root = tmp_path_factory.mktemp("processed") / "session"
    root.mkdir()
    keypoints, rig = (shutil.copy(p, root) for p in (keypoint_files.keypoints, keypoint_files.rig))
    initialise(NewSession(root, [], Path(keypoints), Path(rig), None))
    make(root, *Stage)
    return root


@pytest.fixture
def made(processed, tmp_path) -> Path:
    """A session of its own with everything up to date."""
    return Path(shutil.copytree(processed, tmp_path / "made"))


def inputs(root: Path) -> list[Path]:
    session = Session(root)
    return [session.resolve(p) for p in (session.config.session.keypoints, session.config.session.calibration)]


def make(root: Path, *stages: Stage) -> None:
    for stage in stages:
        make_unit(root, stage, "", DeviceChoice.CPU)


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def artifacts(root: Path) -> set[Path]:
    return {p.relative_to(root) for p in root.rglob("*.h5")}


def problems(root: Path) -> dict[str, str]:
    return {f.name.split("/")[0]: f.problem for f in verify(root) if f.problem}


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("20GB", 20 * 10**9), ("1.5 TiB", 3 << 39), ("0", 0), ("7", 7), ("3k", 3000), (" 2 mb ", 2_000_000)],
)
def test_sizes_are_understood(text, n_bytes):
    assert parse_size(text) == n_bytes


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1.2.3", "5 parsecs", "1e3"])
def test_sizes_that_are_none_are_refused(text):
    with pytest.raises(SettingsError, match="not a size"):
        parse_size(text)


def test_sizes_for_people():
    assert [format_size(n) for n in (0, 999, 1000, 2_500_000, 7 * 10**12)] == [
        "0 B", "999 B", "1.0 kB", "2.5 MB", "7.0 TB",
    ]  # fmt: skip


def test_a_preview_says_why_and_changes_nothing(made):
    before = (made / "session.toml").read_bytes()
    assert "all is up to date" in run("run", made, "--dry-run")
    lines = run("run", made, "--dry-run", "--set", "filter.cutoff_hz=4").splitlines()
    assert [line.split()[2] for line in lines] == ["filter", "solve"]
    assert "cutoff_hz: 0.0 -> 4.0" in lines[0]
    assert lines[1].startswith("may run")
    assert "forced" in run("run", made, "--dry-run", "--force", "match")
    assert (made / "session.toml").read_bytes() == before
    assert not (made / ".mocap/runs").exists()


def test_clean_drops_the_longest_unused_and_never_what_is_current(made):
    everything = artifacts(made)
    assert clean(made, 0).removed == ()  # all is current
    settings = made / "session.toml"
    old: list[set[Path]] = []
    for cutoff in (3, 4, 5):
        assign(settings, [Assignment.parse(f"filter.cutoff_hz={cutoff}")])
        make(made, Stage.FILTER, Stage.SOLVE)
        old.append(artifacts(made) - everything - set().union(*old))
    for n, paths in enumerate(old):  # used last at known times, an hour apart, in the past
        for file in (f for path in paths for f in (made / path, (made / path).with_suffix(".json"))):
            os.utime(file, (1e9 + 3600 * n,) * 2)
    # 5 Hz is current; 3 Hz is older than 4 Hz; the first results are the latest used of the old ones.
    first = {p for p in everything if p.parts[2] in ("filter", "solve")}
    sizes = {p: (made / p).stat().st_size + (made / p).with_suffix(".json").stat().st_size for p in artifacts(made)}
    done = clean(made, sum(sizes.values()) - sum(sizes[p] for p in old[0]))
    assert everything | old[1] | old[2] == artifacts(made)
    assert done.freed == sum(sizes[p] for p in old[0])
    assert done.kept == sum(sizes[p] for p in artifacts(made))
    done = clean(made, 0)
    assert artifacts(made) == (everything - first) | old[2]
    assert done.kept == done.current
    assert run("run", made, "--dry-run") == "all is up to date\n"


def test_what_went_out_of_use_last_goes_last(made):
    """An artifact that was made long ago but used until now outlives one that was not."""
    settings = made / "session.toml"
    first = next((made / ".mocap/cache/filter").glob("*.h5"))
    for file in (first, first.with_suffix(".json")):
        os.utime(file, (1e9, 1e9))
    for cutoff in (3, 4):
        assign(settings, [Assignment.parse(f"filter.cutoff_hz={cutoff}")])
        make(made, Stage.FILTER)
        if cutoff == 3:
            second = next(p for p in (made / ".mocap/cache/filter").glob("*.h5") if p != first)
    for file in (second, second.with_suffix(".json")):  # made after the first, but not used until now
        os.utime(file, (1e9 + 5,) * 2)
    assert clean(made, 10**12).removed == ()
    assert clean(made, sum(p.stat().st_size for p in (made / ".mocap/cache").rglob("*.*")) - 1).removed == (
        f"filter/{second.stem}",
    )


def test_leavings_of_killed_runs_go_first(made):
    folder = made / ".mocap/cache/filter"
    artifact = next(folder.glob("*.h5"))
    (folder / f"{'0' * 32}.h5").write_bytes(b"written, but its reference was not")
    (folder / f"x{TEMPORARY_MARK}1.h5").write_bytes(b"half")
    done = clean(made, 10**12)
    assert done.removed == (f"filter/{'0' * 32}",)
    assert list(folder.glob("*.h5")) == [artifact]


def test_clean_and_verify_keep_away_from_a_session_in_use(made):
    with Session(made).lock():
        with pytest.raises(SessionError, match="another"):
            clean(made, 0)
        with pytest.raises(SessionError, match="another"):
            list(verify(made))


def test_verify_finds_damage_that_leaves_size_and_times_as_they_were(made):
    assert problems(made) == {}
    session = Session(made)
    session.digests.save()
    for path in (next((made / ".mocap/cache/match").glob("*.h5")), inputs(made)[0]):
        status = path.stat()
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    found = problems(made)
    assert set(found) == {"artifact match", "input keypoints"}
    assert "damaged" in found["artifact match"]
    assert CliRunner().invoke(app, ["verify", str(made)]).exit_code == 1


def test_verify_finds_what_is_gone(made):
    next((made / ".mocap/cache/filter").glob("*.h5")).unlink()
    next((made / ".mocap/cache/solve").glob("*.json")).unlink()
    inputs(made)[1].unlink()
    assert set(problems(made)) == {"artifact filter", "artifact solve", "input calibration"}


def test_the_chain_leads_back_to_the_inputs(made, tmp_path):
    artifact = next((made / ".mocap/cache/solve").glob("*.h5"))
    made_from = read_chain(artifact)
    assert made_from[0].stage == "solve"
    assert made_from[0].digest == hash_file(artifact)
    assert {m.stage for m in made_from} == {s.value for s in Stage}
    files = {d for m in made_from for name, d in m.inputs.items() if name.startswith("file ")}
    assert files == {hash_file(p) for p in inputs(made)}
    text = run("provenance", artifact)
    assert all(digest in text for digest in files)

    run("export", made, "--format", "npz", "--output", tmp_path / "a.npz")
    run("export", made, "--format", "npz", "--output", tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    exported = read_chain(tmp_path / "a.npz")
    assert exported[0].stage == "filter"
    assert {m.digest for m in exported} < {m.digest for m in made_from}
    assert json.loads(run("provenance", tmp_path / "a.npz", "--json"))["made"][0]["key"] == exported[0].key


def test_files_without_provenance_are_said(made, tmp_path):
    np.savez(tmp_path / "x.npz", positions=np.zeros(3))
    (tmp_path / "x.bvh").write_text("HIERARCHY")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04")
    np.savez(tmp_path / "y.npz", provenance=np.array("{}"))
    for name, said in {
        "x.npz": "carries no provenance", "x.bvh": "holds no provenance", "broken.npz": "not a .npz file",
        "y.npz": "not readable", "none.h5": "no such file",
    }.items():  # fmt: skip
        with pytest.raises((StorageError, DataError), match=said):
            read_chain(tmp_path / name)


def test_an_artifact_that_was_copied_says_what_it_was_made_from(made, tmp_path):
    artifact = next((made / ".mocap/cache/filter").glob("*.h5"))
    copy = tmp_path / "elsewhere" / "copy.h5"
    copy.parent.mkdir()
    copy.write_bytes(artifact.read_bytes())
    assert read_chain(copy)[0] == read_chain(artifact)[0]
    assert len(read_chain(copy)) == 1


def test_entries_show_what_is_incomplete(made):
    session = Session(made)
    cache = Cache(session.state, session.digests)
    assert all(e.reference is not None and len(e.files) == 2 for e in cache.entries())
    assert len(list(cache.entries())) == len(Stage)


def test_paranoid_reads_what_seems_unchanged(made):
    """Bits that rot on a disk change no time: the memo is made to believe the file is as it was."""
    path = next((made / ".mocap/cache/match").glob("*.h5"))
    session = Session(made)
    good = session.digests.digest(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    bad = session.digests.digest(path)
    session.digests.save()
    memo = made / ".mocap/artifacts.json"
    memo.write_bytes(seal({k: [s, good if d == bad else d] for k, (s, d) in unseal(memo).items()}))
    assert "all is up to date" in run("run", made, "--dry-run")
    assert "damaged" in run("run", made, "--dry-run", "--paranoid")
    assert problems(made) == {"artifact match": problems(made)["artifact match"]}
    # What `verify` found is remembered.
    assert "damaged" in run("run", made, "--dry-run")
