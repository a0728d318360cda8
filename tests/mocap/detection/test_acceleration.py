"""Half precision and compiled graphs by setting; the default changes nothing."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mocap.detection.acceleration import MixedPrecision, accelerated, to_device  # noqa: E402
from mocap.detection.decoders import DecoderSettings  # noqa: E402
from mocap.detection.heatmap_pose import HeatmapPose  # noqa: E402
from mocap.detection.settings import DetectionSettings, Precision  # noqa: E402
from mocap.detection.small import SmallPose  # noqa: E402
from mocap.errors import SettingsError  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return SmallPose(17).eval()


def test_the_default_is_the_network_itself(network):
    assert accelerated(network, DetectionSettings(), CPU) is network
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert to_device(array, CPU).numpy().base is not None
    assert (to_device(array[:, ::-1], CPU).numpy() == array[:, ::-1]).all()


@pytest.mark.parametrize("precision", [Precision.BFLOAT16, Precision.FLOAT16])
def test_half_precision_says_nearly_the_same(network, precision):
    half = accelerated(network, DetectionSettings(precision=precision), CPU)
    assert isinstance(half, MixedPrecision)
    images = torch.randn(2, 3, 128, 96, generator=torch.Generator().manual_seed(0))
    seen = []
    hook = network.last[1].register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    with torch.inference_mode():
        maps, exact = half(images), network(images)
    hook.remove()
    assert seen == [{"bfloat16": torch.bfloat16, "float16": torch.float16}[precision.value], torch.float32]
    assert maps.dtype == torch.float32
    steps = {"bfloat16": 2**-8, "float16": 2**-11}[precision.value]
    assert 0 < (maps - exact).abs().max() < 20 * steps * exact.abs().max()
    pose = HeatmapPose(half, CPU, (96, 128), DecoderSettings(), flip=True)
    assert torch.isfinite(pose(np.zeros((1, 128, 96, 3), np.uint8)).points).all()


def test_several_outputs_are_all_float32():
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 2, 1)

        def forward(self, images):
            return self.layer(images), images.sum((1, 2, 3))

    outputs = accelerated(Two(), DetectionSettings(precision=Precision.BFLOAT16), CPU)(torch.ones(1, 3, 4, 4))
    assert [o.dtype for o in outputs] == [torch.float32] * 2


def test_compiling_is_a_setting(network, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda module, **options: asked.append(options) or module)
    assert accelerated(network, DetectionSettings(compile=True), CPU) is network
    assert asked == [{"dynamic": True}]


def test_unknown_precisions_are_refused():
    with pytest.raises(SettingsError, match="unknown precision"):
        DetectionSettings(precision="half")


@pytest.mark.slow
def test_a_compiled_network_says_the_same_for_every_batch(network):
    compiled = accelerated(network, DetectionSettings(compile=True), CPU)
    for n in (1, 3, 8):
        images = torch.randn(n, 3, 128, 96, generator=torch.Generator().manual_seed(n))
        with torch.inference_mode():
            assert (compiled(images) - network(images)).abs().max() < 1e-4
