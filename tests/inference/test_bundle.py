"""The bundle on disk: what goes in comes out, and what is wrong with a damaged one is said."""

import copy
import errno
import json
import os
import pickle
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from proxymask import __version__
from proxymask.conditions import get_condition
from proxymask.conditions.depth import DepthCondition
from proxymask.core.config_model import ConfigModel
from proxymask.core.errors import ProxymaskError
from proxymask.inference import find as module
from proxymask.inference.bundle import Bundle, check_bundle
from proxymask.inference.find import find_bundle, list_bundles
from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.depth_net import DepthNet
from proxymask.models.unet_mapper import UNetMapper

PARTS = ("clusters", "generator", "mappers/mask", "rearranger", "segmenter")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return tiny.make_bundle()


@pytest.fixture(scope="module")
def saved(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In half precision; read only."""
    return tiny.make_bundle().save(tmp_path_factory.mktemp("b") / "tiny")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def tensors(bundle: Bundle) -> dict[str, torch.Tensor]:
    return {f"{name}/{k}": v for name, part in bundle.parts().items() for k, v in part.state_dict().items()}


def test_files(saved: Path) -> None:
    wanted = {f"{part}/{name}" for part in PARTS for name in ("config.json", "model.safetensors")}
    assert content(saved).keys() == wanted | {"bundle.json", "labels.json", "README.md"}
    about = json.loads((saved / "bundle.json").read_text())
    assert about["format"] == 1
    assert about["proxymask"] == __version__
    assert (about["resolution"], about["cut"], about["mappers"], about["segmenter"]) == (16, 8, ["mask"], True)
    assert about["sha256"].keys() == content(saved).keys() - {"bundle.json"}
    card = (saved / "README.md").read_text()
    for words in ("# tiny", "16x16", "cut at 8", "1 left", "licence: none"):
        assert words in card


@pytest.mark.parametrize("half", [False, True])
def test_round_trip(bundle: Bundle, half: bool, tmp_path: Path) -> None:
    bundle = tiny.make_bundle()
    before = {k: v.clone() for k, v in tensors(bundle).items()}
    again = Bundle.load(bundle.save(tmp_path / "b", half=half))
    assert (again.name, again.cut, again.resolution, again.about, again.labels) == ("tiny", 8, 16, {"licence": "none"}, tiny.LABELS)
    assert again.folder == bundle.folder == tmp_path / "b"
    got = tensors(again)
    assert got.keys() == before.keys()
    differ = tiny.differing(before, got)
    if half:
        assert not any(name.startswith("clusters") for name in differ)  # never rounded: they draw the proxy masks
        for name in differ:
            assert torch.allclose(before[name], got[name], rtol=1e-3, atol=1e-4), name
        z = torch.randn(4, tiny.Z, generator=torch.Generator().manual_seed(0))
        exact, rounded = bundle.generator(z), again.generator(z)
        assert float((exact - rounded).norm() / exact.norm()) < 5e-3
    else:
        assert differ == []
    for name, part in again.parts().items():
        assert part.config == bundle.parts()[name].config
        assert not part.training
        assert not any(p.requires_grad for p in part.parameters())


def test_half_is_half(saved: Path, bundle: Bundle, tmp_path: Path) -> None:
    full = tiny.make_bundle().save(tmp_path / "full", half=False)
    sizes = [(path / "rearranger/model.safetensors").stat().st_size for path in (saved, full)]
    assert sizes[0] < 0.6 * sizes[1]
    again = Bundle.load(saved).save(tmp_path / "again")  # rounding twice is rounding once
    assert content(again) == content(saved)


def test_without_labels(tmp_path: Path) -> None:
    """What training without labels leaves: generator, clusters and rearranger."""
    bundle = tiny.make_bundle()
    bundle.labels = bundle.segmenter = None
    bundle.mappers = {}
    again = Bundle.load(bundle.save(tmp_path / "b", card="# Mine\n"))
    assert again.labels is None
    assert again.segmenter is None
    assert again.mappers == {}
    assert (tmp_path / "b/README.md").read_text() == "# Mine\n"


@pytest.mark.parametrize("part", PARTS)
def test_damaged_file_is_named(part: str, folder: Path) -> None:
    path = folder / part / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-10] ^= 1  # one bit
    path.write_bytes(data)
    with pytest.raises(ProxymaskError, match=rf"{part}/model\.safetensors is damaged \(its SHA-256 differs\): copy the bundle again"):
        Bundle.load(folder)
    path.write_bytes(data[:100])
    assert len(check_bundle(folder)) == 1
    assert check_bundle(folder, hashes=False) == []
    path.unlink()
    with pytest.raises(ProxymaskError, match=rf"{part}/model\.safetensors is missing"):
        Bundle.load(folder)


def test_every_problem_is_told(folder: Path) -> None:
    (folder / "labels.json").unlink()
    (folder / "generator/config.json").write_text("{}")
    problems = check_bundle(folder)
    assert len(problems) == 2
    with pytest.raises(ProxymaskError) as caught:
        Bundle.load(folder)
    assert all(p in str(caught.value) for p in problems)
    assert "\n" not in str(caught.value)


def test_own_words_in_the_card_are_no_damage(folder: Path) -> None:
    (folder / "README.md").write_text("my notes")
    assert check_bundle(folder) == []
    (folder / "my picture.png").write_bytes(b"x")
    Bundle.load(folder)


def test_broken_index(folder: Path) -> None:
    path, whole = folder / "bundle.json", json.loads((folder / "bundle.json").read_text())
    path.write_text(json.dumps(whole | {"format": 9, "proxymask": "7.0"}))
    with pytest.raises(
        ProxymaskError, match=rf"bundle format 9 \(made by proxymask 7\.0\), this is proxymask {__version__} and reads format 1"
    ):
        Bundle.load(folder)
    for text, words in ((path.read_text()[:50], "not valid JSON"), ("[]", "lacks fields"), ('{"format": 1}', "lacks fields")):
        path.write_text(text)
        with pytest.raises(ProxymaskError, match=words):
            Bundle.load(folder)
    for field, value in (("sha256", []), ("mappers", 3), ("about", ["x"]), ("cut", "abc"), ("name", None)):
        path.write_text(json.dumps(whole | {field: value}))
        with pytest.raises(ProxymaskError, match=rf"bundle\.json holds no {field} that can be read"):
            Bundle.load(folder)
    for name in ("../other.safetensors", "/etc/hostname"):
        path.write_text(json.dumps(whole | {"sha256": whole["sha256"] | {name: "0" * 64}}))
        with pytest.raises(ProxymaskError, match="which is outside of it"):
            Bundle.load(folder)
    path.unlink()
    with pytest.raises(ProxymaskError, match=r"no bundle\.json here: this is no bundle, or an unfinished one"):
        Bundle.load(folder)


@pytest.mark.parametrize("kind", ["disk", "stop"])
def test_unfinished_save_leaves_the_old_one(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tiny.make_bundle()
    bundle.save(tmp_path / "b")
    before = content(tmp_path / "b")
    real, calls = ConfigModel.save_pretrained, []

    def fails(self: ConfigModel, path: Path, half: bool = False) -> Path:
        calls.append(path)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if kind == "disk" else KeyboardInterrupt
        return real(self, path, half)

    bundle.name = "other"
    with monkeypatch.context() as patch:
        patch.setattr(ConfigModel, "save_pretrained", fails)
        if kind == "disk":
            with pytest.raises(
                ProxymaskError, match=r"cannot write the bundle .*b \(No space left on device\); nothing of the old one was touched"
            ):
                bundle.save(tmp_path / "b")
        else:
            with pytest.raises(KeyboardInterrupt):
                bundle.save(tmp_path / "b")
    assert len(calls) == 3
    assert content(tmp_path / "b") == before
    assert Bundle.load(tmp_path / "b").name == "tiny"
    bundle.save(tmp_path / "b")  # and the next one goes through
    assert Bundle.load(tmp_path / "b").name == "other"
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_saving_over_something_else(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(b"x")
    with pytest.raises(ProxymaskError, match="is not empty and holds no bundle: choose another out"):
        bundle.save(tmp_path / "photos")
    with pytest.raises(ProxymaskError, match="is a file"):
        bundle.save(tmp_path / "photos/a.png")
    assert content(tmp_path / "photos") == {"a.png": b"x"}
    (tmp_path / "empty").mkdir()
    assert Bundle.load(tiny.make_bundle().save(tmp_path / "empty")).name == "tiny"


def test_names(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_bundle(saved) == find_bundle(str(saved)) == saved
    monkeypatch.setattr(module, "EMBEDDED", tmp_path)
    with pytest.raises(ProxymaskError, match=r"no bundle 'avatar': no such folder, and the embedded ones are: none"):
        find_bundle("avatar")
    for name in ("cats", "avatars"):
        shutil.copytree(saved, tmp_path / name)
    (tmp_path / "unfinished").mkdir()
    with pytest.raises(ProxymaskError, match=r"no bundle 'avatar': no such folder, and the embedded ones are: avatars, cats"):
        find_bundle("avatar")
    assert find_bundle("cats") == tmp_path / "cats"
    assert list_bundles() == ["avatars", "cats"]
    assert Bundle.load("cats").name == "tiny"
    with pytest.raises(ProxymaskError, match=r"bundle\.json is a file; a bundle is a folder"):
        find_bundle(saved / "bundle.json")


def test_hub_name_without_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ProxymaskError, match=r"user/model is no folder; to take it from the hub: pip install 'proxymask\[hub\]'"):
        find_bundle("user/model")


def test_hub_name(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the hub's package is called with, recorded in its place."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def snapshot_download(name: str, **given: Any) -> str:
        if name == "user/private":
            raise OSError("401 Client Error\nmore lines")
        calls.append((name, given))
        return str(saved)

    hub = ModuleType("huggingface_hub")
    hub.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    given = {"revision": "v2", "token": "secret", "cache_dir": saved.parent}
    assert Bundle.from_pretrained("user/model", **given).name == "tiny"
    assert Synthesizer.from_pretrained("user/model", "cpu", "fp32", **given).bundle.name == "tiny"
    assert Synthesizer.from_pretrained("user/model", "cpu").bundle.name == "tiny"
    files = ["*.json", "*.safetensors", "*.md"]
    assert calls[:2] == [("user/model", {**given, "allow_patterns": files})] * 2
    assert calls[2] == ("user/model", {"revision": None, "token": None, "cache_dir": None, "allow_patterns": files})
    with pytest.raises(ProxymaskError, match=r"user/private is no folder, and the hub did not give it: 401 Client Error$"):
        find_bundle("user/private")
    with pytest.raises(ProxymaskError, match="revision 'v2' is for names on the hub"):
        find_bundle(saved, revision="v2")


def test_pickle_and_deepcopy(bundle: Bundle) -> None:
    """The copy has the weights, also those of parametrized layers, and shares none."""
    bundle.generator.seed_style = "torch"
    for again in (pickle.loads(pickle.dumps(bundle)), copy.deepcopy(bundle)):
        assert tiny.differing(tensors(bundle), tensors(again)) == []
        assert (again.name, again.cut, again.about, again.labels) == (bundle.name, bundle.cut, bundle.about, bundle.labels)
        assert torch.equal(again.generator.z([3]), bundle.generator.z([3]))
        assert not any(p.requires_grad or p.data_ptr() == q.data_ptr() for p, q in zip(*map(parameters, (again, bundle)), strict=True))
    bundle.generator.seed_style = "nvidia"


def with_extractor() -> Bundle:
    """The tiny bundle with a mapper of depth that learned from a depth network, which the bundle carries."""
    bundle = tiny.make_bundle()
    torch.manual_seed(3)
    bundle.mappers["depth"] = UNetMapper(1, tiny.K, tiny.CUT, tiny.SIZE, channel_base=128, channel_max=16).eval().requires_grad_(False)
    bundle.conditions["depth"] = get_condition("depth", extractor="depth-net").about()
    bundle.extractors["depth"] = DepthNet(8).eval().requires_grad_(False)
    return bundle


def photo() -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)).resize((40, 40), Image.Resampling.BICUBIC)


def test_an_extractor_of_ones_own_is_carried(saved: Path, tmp_path: Path) -> None:
    """On disk, in pickles and in copies; a bundle without one says nothing of it."""
    bundle = with_extractor()
    folder = bundle.save(tmp_path / "b", half=False)
    about = json.loads((folder / "bundle.json").read_text())
    assert about["extractors"] == ["depth"]
    assert {"extractors/depth/config.json", "extractors/depth/model.safetensors"} <= about["sha256"].keys()
    assert "extractors" not in json.loads((saved / "bundle.json").read_text())
    assert Bundle.load(saved).extractors == {}
    for again in (Bundle.load(folder), pickle.loads(pickle.dumps(bundle)), copy.deepcopy(bundle)):
        assert list(again.extractors) == ["depth"]
        assert tiny.differing(tensors(bundle), tensors(again)) == []
        assert not any(p.requires_grad for p in again.extractors["depth"].parameters())
    again.remove_mapper("depth")
    again.save(folder)
    assert not (folder / "extractors").exists()
    assert Bundle.load(folder).conditions == again.extractors == {}


def test_a_photo_is_read_with_the_extractor_of_the_bundle(tmp_path: Path) -> None:
    """The planes are those of the same network by ``weights``; other mappers, extractors and weights are not affected."""
    bundle = with_extractor()
    bundle.mappers["far"], bundle.conditions["far"] = bundle.mappers["depth"], dict(bundle.conditions["depth"])
    one, two = bundle.extractors["depth"].save_pretrained(tmp_path / "one"), DepthNet(8).save_pretrained(tmp_path / "two")
    synth = Synthesizer(bundle, device="cpu", precision="fp32")
    planes = synth.read_condition(photo(), "depth", from_photo=True).planes
    assert torch.equal(planes, synth.read_condition(photo(), synth.condition("depth", weights=one), from_photo=True).planes)
    assert not torch.equal(planes, synth.read_condition(photo(), synth.condition("depth", weights=two), from_photo=True).planes)
    assert torch.equal(planes, synth.condition("depth", "depth-net").read_photo(photo(), tiny.SIZE).planes)
    pictures = [synth.generate(photo(), 3, condition="depth", from_photo=True, mapper=name).picture for name in (None, "depth")]
    assert np.array_equal(*map(np.asarray, pictures))
    missing = "depth-net is a network that you train .proxymask train depth.: name its folder with weights"
    with pytest.raises(ProxymaskError, match=missing):
        synth.generate(photo(), 3, condition="depth", from_photo=True, mapper="far")  # has none of its own
    other = synth.condition("depth", "midas")
    assert isinstance(other, DepthCondition)
    assert other.own_network() is None
    del bundle.extractors["depth"]
    with pytest.raises(ProxymaskError, match=missing):
        synth.read_condition(photo(), "depth", from_photo=True)


def parameters(bundle: Bundle) -> list[torch.nn.Parameter]:
    return [p for part in bundle.parts().values() for p in part.parameters()]


def test_a_bundle_behind_a_link_is_replaced_there(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Path(shutil.copytree(saved, tmp_path / "disk" / "target"))
    (target / "painted.png").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(target)
    bundle = Bundle.load(saved)
    for _ in range(2):
        bundle.save(tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert (target / "painted.png").read_bytes() == b"mine"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "link"]
    monkeypatch.chdir(target)
    bundle.save(".")
    assert check_bundle(target) == []


@pytest.mark.parametrize("name", ["../../../evil", "/evil", "a/b", "..", ".hidden", "a\\b", "a\nb", "", 3])
def test_names_that_lead_out_of_a_bundle_are_refused(name: object, folder: Path) -> None:
    about = json.loads((folder / "bundle.json").read_text())
    for field in ("conditions", "mappers"):
        changed = {str(name): {"condition": "sketch", "channels": 1}} if field == "conditions" else [*about["mappers"], name]
        (folder / "bundle.json").write_text(json.dumps(about | {field: changed}))
        if field == "mappers" or name != 3:
            with pytest.raises(ProxymaskError, match="which is no name"):
                Bundle.load(folder)


def test_a_folder_with_an_embedded_name_hides_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "avatars" / "images").mkdir(parents=True)
    assert find_bundle("avatars") == module.EMBEDDED / "avatars"
    shutil.copytree(saved, tmp_path / "avatars", dirs_exist_ok=True)
    assert find_bundle("avatars") == Path("avatars")


def test_the_mode_of_proxy_masks_is_checked(bundle: Bundle) -> None:
    synth = Synthesizer(bundle, "cpu", "fp32")
    with pytest.raises(ProxymaskError, match="style-prior"):
        synth.proxy_mask_mode = "style_prior"  # type: ignore[assignment]
    assert synth.proxy_mask_mode == "soft"


def test_the_switch_of_the_detail_network_is_checked(bundle: Bundle) -> None:
    synth = Synthesizer(bundle, "cpu", "fp32")
    with pytest.raises(ProxymaskError, match="use_details must be True or False"):
        synth.use_details = "no"  # type: ignore[assignment]
    assert synth.use_details


def test_the_only_mapper_of_masks_is_taken_whatever_its_name(bundle: Bundle) -> None:
    other = copy.deepcopy(bundle)
    other.mappers["mask-1"] = other.mappers.pop("mask")
    mask = np.zeros((tiny.SIZE, tiny.SIZE), np.uint8)
    wanted = Synthesizer(bundle, "cpu", "fp32").generate(mask, 3)
    synth = Synthesizer(other, "cpu", "fp32")
    assert np.array_equal(synth.generate(mask, 3).proxy_mask, wanted.proxy_mask)
    for call in (synth.generate, synth.read_condition):
        with pytest.raises(ProxymaskError, match="has no mapper 'nope'"):
            call(mask, **({"style": 3} if call == synth.generate else {}), condition="mask", mapper="nope")


@pytest.mark.parametrize(("field", "value"), [("details", 5), ("conditions", ["mask"]), ("extractors", "hed")])
def test_an_optional_field_of_another_kind_is_damage(field: str, value: object, folder: Path) -> None:
    about = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(about | {field: value}))
    assert check_bundle(folder) == [f"bundle.json holds no {field} that can be read: it is damaged; copy the bundle again"]
