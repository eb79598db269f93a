"""Our formulas and networks against torch-fidelity, clean-fid and lpips, by numbers that were made where those run.

The real Inception weights are not needed: the same weights, made by recipe, go through both implementations.
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import recipes
import torch
from safetensors.torch import save_file

from proxymask.core.errors import ProxymaskError
from proxymask.core.published_weights import read_weights
from proxymask.metrics import backends
from proxymask.metrics.backends import distances
from proxymask.metrics.features import InceptionFeatures, SqueezeNetFeatures, load_features
from proxymask.metrics.features.convnets import ConvNet
from proxymask.metrics.features.resize import clean_resize, legacy_resize
from proxymask.metrics.features.weights import find_weights
from proxymask.metrics.frechet import FeatureStats, frechet_distance
from proxymask.metrics.kernel import kernel_distance
from proxymask.metrics.lpips import find_lpips, group_diversity, group_pairs, lpips
from proxymask.metrics.manifold import precision_recall

REFERENCE = json.loads((Path(__file__).parents[1] / "fixtures" / "reference.json").read_text())


@pytest.mark.parametrize("case", recipes.CASES)
def test_distances_match(case: str) -> None:
    real, fake = recipes.CASES[case]
    theirs, clean = (REFERENCE["distances"][case][name] for name in ("torch-fidelity", "clean-fid"))
    fid = frechet_distance(*(FeatureStats(x.shape[1]).add(x) for x in (real, fake)))
    assert fid == pytest.approx(theirs["frechet_inception_distance"], rel=1e-3)
    assert fid == pytest.approx(clean["fid"], rel=1e-3)
    found = precision_recall(real, fake, k=3)
    assert found.precision == pytest.approx(theirs["precision"], abs=0.002)
    assert found.recall == pytest.approx(theirs["recall"], abs=0.002)
    subsets, size = (REFERENCE["kid"][name] for name in ("subsets", "subset_size"))
    kid = kernel_distance(real, fake, subsets, size)
    spread = kid.std / subsets**0.5  # of the mean over the subsets
    assert spread < 0.2 * kid.mean or case == "near"  # or the comparison would say nothing
    for other in (theirs["kernel_inception_distance_mean"], clean["kid"]):
        assert abs(kid.mean - other) < 4 * spread
    assert kid.std == pytest.approx(theirs["kernel_inception_distance_std"], rel=0.35)


def inception_weights() -> dict[str, torch.Tensor]:
    """Weights by recipe, for every tensor that the network reads."""
    out = {}
    shell = InceptionFeatures.__new__(InceptionFeatures)
    torch.nn.Module.__init__(shell)
    shell.build()
    for name, conv in shell.parts():
        key = f"{name}.conv.weight"
        out[key] = torch.from_numpy(recipes.weight(key, tuple(conv.weight.shape)))
        for part in ("weight", "bias", "running_mean", "running_var"):
            key = f"{name}.bn.{part}"
            out[key] = torch.from_numpy(recipes.weight(key, (conv.out_channels,)))
    return out


def test_inception_matches_layer_by_layer(tmp_path: Path) -> None:
    weights = inception_weights()
    net = InceptionFeatures(weights)
    levels = torch.from_numpy(recipes.pictures(2, 64)).float()
    with torch.no_grad():
        found = net.layers(legacy_resize(levels, 299))
    assert list(found) == ["64", "192", "768", "2048"]
    for name, value in found.items():
        theirs = np.array(REFERENCE["inception"][name])
        assert np.abs(np.array(recipes.picked(value.numpy())) - theirs).max() < 1e-4 * np.abs(theirs).max()
    assert torch.equal(net(levels / 127.5 - 1), found["2048"])
    assert not net.is_fid  # these are not the published weights
    assert "FID" not in net.frechet_name()
    assert "legacy" in net.resize
    assert "clean" in InceptionFeatures(weights, "clean").resize
    save_file(weights, tmp_path / "some.safetensors")
    torch.save(weights | {"fc.weight": torch.zeros(1008, 2048)}, tmp_path / "pt_inception-2015-12-05-6726825d.pth")
    by_path = load_features(f"{tmp_path / 'some.safetensors'}:clean")
    assert by_path.key == "inception-clean"
    by_name = load_features("inception", tmp_path)
    assert by_name.key == "inception-legacy"
    assert not by_name.is_fid  # the name of a file proves nothing: its SHA-256 does
    published = InceptionFeatures(weights, published=True)
    assert published.frechet_name() == "FID (Inception-v3)"
    assert published.kernel_name() == "KID (Inception-v3)"
    del weights["Mixed_6b.branch7x7_2.conv.weight"]
    with pytest.raises(ProxymaskError, match=r"Mixed_6b\.branch7x7_2\.conv\.weight is missing"):
        InceptionFeatures(weights)


@pytest.mark.parametrize("size", [64, 300, 512])
def test_resizing_matches(size: int) -> None:
    levels = torch.from_numpy(recipes.pictures(1, size)).float()
    legacy = recipes.picked(legacy_resize(levels, 299).numpy(), 200)
    assert np.abs(np.array(legacy) - REFERENCE["resizing"]["legacy"][str(size)]).max() < 1e-2
    clean = recipes.picked(clean_resize(levels, 299).numpy(), 200)
    assert np.abs(np.array(clean) - REFERENCE["resizing"]["clean"][str(size)]).max() < 1e-3
    assert np.abs(np.array(clean) - np.array(legacy)).max() > 2  # the two are not the same thing


def trunk_weights(kind: str) -> dict[str, torch.Tensor]:
    """A trunk by recipe, under torchvision's names."""
    shapes = ConvNet.shapes(kind)
    return {name: torch.from_numpy(recipes.weight(name, shape)) for name, shape in shapes.items()}


CHANNELS = {
    "squeezenet": (64, 128, 256, 384, 384, 512, 512),
    "alexnet": (64, 192, 384, 256, 256),
    "vgg16": (64, 128, 256, 512, 512),
}


@pytest.mark.parametrize("kind", CHANNELS)
def test_lpips_matches(kind: str) -> None:
    channels = {"squeezenet": (64, 128, 256, 384, 384, 512, 512), "alexnet": (64, 192, 384, 256, 256), "vgg16": (64, 128, 256, 512, 512)}[
        kind
    ]
    heads = {f"lin{i}.model.1.weight": torch.from_numpy(recipes.head(f"lin{i}", c)) for i, c in enumerate(channels)}
    distance = lpips(kind, trunk_weights(kind), heads)
    a = torch.from_numpy(recipes.pictures(2, 64)).float() / 127.5 - 1
    assert distance(a, a.flip(0)).tolist() == pytest.approx(REFERENCE["perceptual"][kind], rel=1e-4)
    assert distance(a, a).tolist() == [0, 0]
    assert distance.label.startswith("LPIPS (")
    del heads["lin0.model.1.weight"]
    with pytest.raises(ProxymaskError, match="heads of LPIPS are for"):
        lpips(kind, trunk_weights(kind), heads)


def caffe_weights() -> dict[str, torch.Tensor]:
    names = {3: "fire2", 4: "fire3", 6: "fire4", 7: "fire5", 9: "fire6", 10: "fire7", 11: "fire8", 12: "fire9"}
    out = {}
    for name, value in trunk_weights("squeezenet").items():
        _, index, *rest = name.split(".")
        part = ".".join(rest).replace("squeeze.", "squeeze1x1.")
        out[f"conv1.{part}" if index == "0" else f"{names[int(index)]}.{part}"] = value
    return out


def test_squeezenet_of_caffe(tmp_path: Path) -> None:
    """The same network under other names, fed otherwise, and never called LPIPS."""
    ours, theirs = ConvNet("squeezenet", trunk_weights("squeezenet")), ConvNet("squeezenet", caffe_weights())
    assert (ours.caffe, theirs.caffe) == (False, True)
    x = torch.randn(1, 3, 63, 63)  # 31, 15, 7, 3: no pool meets an incomplete window, where the two differ
    for a, b in zip(ours.taps(x), theirs.taps(x), strict=True):
        assert torch.equal(a, b)
    fed = theirs.prepared(torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1)).flatten()
    assert fed.tolist() == pytest.approx([0 - 103.939, 127.5 - 116.779, 255 - 123.68], abs=1e-3)  # blue, green, red
    save_file(caffe_weights(), tmp_path / "squeezenet_v1.1_imagenet_features.safetensors")
    features = load_features("squeezenet", tmp_path)
    assert isinstance(features, SqueezeNetFeatures)
    assert features(torch.rand(2, 3, 40, 40)).shape == (2, 512)
    assert "Caffe" in features.label
    (tmp_path / "lpips_v0.1").mkdir()
    heads = {f"lin{i}.model.1.weight": torch.from_numpy(recipes.head(f"lin{i}", c)) for i, c in enumerate(CHANNELS["squeezenet"])}
    torch.save(heads, tmp_path / "lpips_v0.1" / "squeeze.pth")
    found, missing = find_lpips(tmp_path)
    assert found is not None
    assert found.label.startswith("LPIPS-like")
    assert "alexnet" in missing
    with pytest.raises(ProxymaskError, match="Caffe's weights of SqueezeNet"):
        ConvNet("alexnet", caffe_weights())


def test_weights_are_never_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "exploded",)  # type: ignore[return-value]

    torch.save({"features.0.weight": Bomb()}, tmp_path / "bad.pth")
    with pytest.raises(ProxymaskError, match="cannot be read as weights"):
        read_weights(tmp_path / "bad.pth")
    assert not (tmp_path / "exploded").exists()
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 truncated")
    with pytest.raises(ProxymaskError, match="cannot be read as weights"):
        read_weights(tmp_path / "cut.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(ProxymaskError, match="holds no weights"):
        read_weights(tmp_path / "list.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ProxymaskError, match="an unknown network"):
        load_features(str(tmp_path / "other.pth"))
    assert find_weights("vgg16", tmp_path) is None


def test_backends() -> None:
    real, fake = recipes.CASES["plenty"]
    own = distances(real, fake)
    assert own.frechet == pytest.approx(REFERENCE["distances"]["plenty"]["clean-fid"]["fid"], rel=1e-3)
    assert own.precision is not None
    assert distances(real[:3], fake[:3]).precision is None  # no three neighbours there
    assert backends.version_of("own") == "proxymask's own"


@pytest.mark.parametrize("name", ["torch-fidelity", "clean-fid"])
def test_other_backends(name: backends.Backend) -> None:
    real, fake = recipes.CASES["plenty"]
    if importlib.util.find_spec({"torch-fidelity": "torch_fidelity", "clean-fid": "cleanfid"}[name]) is None:
        with pytest.raises(ProxymaskError, match=f"pip install {name}"):
            distances(real, fake, name)
        return
    own, theirs = distances(real, fake), distances(real, fake, name)
    assert theirs.frechet == pytest.approx(own.frechet, rel=1e-3)
    assert theirs.kernel == pytest.approx(own.kernel, abs=0.1)
    if name == "torch-fidelity":
        assert theirs.precision == pytest.approx(own.precision, abs=0.002)


def test_diversity_of_groups() -> None:
    pairs = group_pairs(10, 10, seed=3)
    assert len(set(pairs)) == 10
    assert all(a < b < 10 for a, b in pairs)
    assert len(group_pairs(3)) == 3
    values = torch.rand(4, 10, 10, generator=torch.Generator().manual_seed(0)).double()
    found = group_diversity(torch.stack([values[:, a, b] for a, b in pairs], dim=1), 10)
    scores = torch.stack([values[:, a, b].mean() for a, b in pairs])
    assert found.mean == pytest.approx(float(scores.mean()))
    assert found.std == pytest.approx(float(scores.std(correction=0)))
    with pytest.raises(ProxymaskError, match="at least 2 groups"):
        group_diversity(torch.zeros(4, 0), 1)
