"""``synth(masks, styles)``: one or many masks in every form, styles, output types, threads, copies."""

import copy
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import proxymask
import tiny
from proxymask.core.errors import ProxymaskError
from proxymask.imaging.masks import write_mask
from proxymask.inference.style import STYLE_CACHE, Style
from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.unet_mapper import UNetMapper


def make_synth() -> Synthesizer:
    """Float32, and a mapper on whose logits the mask has some effect."""
    bundle = tiny.make_bundle()
    with torch.no_grad():
        bundle.mappers["mask"].tail.weight.mul_(30)
    return Synthesizer(bundle, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def synth() -> Synthesizer:
    """Read only."""
    return make_synth()


def mask(seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, tiny.N, (4, 4), dtype=np.uint8)
    return coarse.repeat(4, axis=0).repeat(4, axis=1)


MASKS = np.stack([mask(i) for i in range(5)])


def planes(ids: np.ndarray, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Ids (..., H, W) as one-hot planes (..., N, H, W)."""
    return torch.nn.functional.one_hot(torch.from_numpy(ids).long(), tiny.N).movedim(-1, -3).to(dtype)


def alone(synth: Synthesizer, index: int, style: Any) -> np.ndarray:
    return np.asarray(synth.generate(MASKS[index], style).picture)


# --------------------------------------------------------------------------------------------------------------------- masks


def test_one_mask_in_every_form(synth: Synthesizer, tmp_path: Path) -> None:
    write_mask(tmp_path / "mask.png", MASKS[0], tiny.LABELS)
    wanted = alone(synth, 0, 3)
    for given in (
        tmp_path / "mask.png",
        str(tmp_path / "mask.png"),
        Image.open(tmp_path / "mask.png"),
        MASKS[0],
        MASKS[0].astype(np.int64),
        torch.from_numpy(MASKS[0]),
        torch.from_numpy(MASKS[0]).long(),
        tiny.LABELS.colors[MASKS[0]],
        torch.from_numpy(tiny.LABELS.colors[MASKS[0]]),
        planes(MASKS[0]),
        planes(MASKS[0], torch.bfloat16),
        planes(MASKS[0], torch.bool),
        planes(MASKS[0]).numpy(),
        planes(MASKS[0].repeat(2, axis=0).repeat(2, axis=1)),  # any size
    ):
        picture = synth(given, 3)
        assert isinstance(picture, Image.Image)
        assert np.array_equal(np.asarray(picture), wanted)
        assert np.array_equal(np.asarray(synth([given], [3])[0]), wanted)
        assert np.array_equal(synth.read_mask(given), MASKS[0])


def test_many_masks_in_every_form(synth: Synthesizer, tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(len(MASKS))]
    for path, ids in zip(paths, MASKS, strict=True):
        write_mask(path, ids, tiny.LABELS)
    wanted = [alone(synth, index, 3) for index in range(len(MASKS))]
    mixed = [paths[0], str(paths[1]), Image.open(paths[2]), torch.from_numpy(MASKS[3]), planes(MASKS[4])]
    tensor = torch.from_numpy(MASKS)
    for given in (paths, mixed, tuple(mixed), list(MASKS), MASKS, tensor, tensor.long(), tiny.LABELS.colors[MASKS], planes(MASKS)):
        pictures = synth(given, 3)
        assert isinstance(pictures, list)
        assert all(np.array_equal(np.asarray(one), other) for one, other in zip(pictures, wanted, strict=True))
    assert np.array_equal(synth(planes(MASKS, torch.int64), 3, output_type="numpy"), wanted)
    assert len(synth(MASKS[:1], 3)) == 1  # a batch of one is a batch


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (5, "an input is a path, a PIL image, or an array or tensor of label ids, not of type int"),
        (None, "not of type NoneType"),
        ({"a": 1}, "not of type dict"),
        ([], "there are no masks"),
        ([MASKS[0], 7], r"masks\[1\]: an input is .*, not of type int"),
        ([MASKS[:2]], r"masks\[0\]: this is a batch of 2 masks where one is wanted"),
        ([[MASKS[0]]], r"masks\[0\]: one mask is .*, not a list"),
        ([MASKS[0], MASKS[0] + 9], r"masks\[1\]: .*no class"),
        (["nothing.png"], r"^nothing\.png does not exist"),
        (torch.from_numpy(MASKS[0]).float(), "round it first"),
        (torch.zeros(5, 16, 16), r"one-hot planes \(4, H, W\) or \(B, 4, H, W\), got float32 of shape \(5, 16, 16\)"),
        (torch.zeros(2, 5, 16, 16), r"got float32 of shape \(2, 5, 16, 16\)"),
        (torch.full((3, 16, 16), 0.5), "128"),
        (torch.zeros(4, 16, 16), "not one-hot"),
        (torch.full((1, 4, 16, 16), 0.25), "not one-hot .* take their argmax"),
        (planes(MASKS[0], torch.int64), "may be 4 masks or one in one-hot planes"),
        (torch.zeros(16, dtype=torch.int64), r"got int64 of shape \(16,\)"),
        (np.zeros((0, 16, 16), np.uint8), r"got uint8 of shape \(0, 16, 16\)"),
    ],
)
def test_what_is_no_mask(synth: Synthesizer, given: Any, words: str) -> None:
    with pytest.raises(ProxymaskError, match=words) as caught:
        synth(given, 3)
    assert "\n" not in str(caught.value)
    assert "truncated" not in str(caught.value)


def test_one_mask_where_many_are_given(synth: Synthesizer) -> None:
    for given in (MASKS, list(MASKS)):
        with pytest.raises(ProxymaskError, match=r"synth\(masks, styles\)"):
            synth.generate(given, 3)


# -------------------------------------------------------------------------------------------------------------------- styles


def test_styles(synth: Synthesizer) -> None:
    """One for all, one each; seeds and styles mixed; with their truncation."""
    style, near = synth.make_style(seed=4), synth.make_style(seed=4, truncation=0.5)
    for given in ([3, 4, style, near, 3], (3, 4, style, near, 3)):
        wanted = [alone(synth, index, one) for index, one in enumerate(given)]
        assert np.array_equal(synth(MASKS, given, output_type="numpy"), wanted)
    seeds = [alone(synth, index, index) for index in range(5)]
    for given in (range(5), np.arange(5), torch.arange(5), [np.int64(i) for i in range(5)]):
        assert np.array_equal(synth(MASKS, given, output_type="numpy"), seeds)
    for given in (style, [style], 4, [4], np.int32(4)):
        assert np.array_equal(synth(MASKS[1], given, output_type="numpy"), alone(synth, 1, 4))
    assert np.array_equal(synth(MASKS[1], 4, truncation=0.5, output_type="numpy"), alone(synth, 1, near))
    assert np.array_equal(np.asarray(synth.generate(MASKS[1], 4, truncation=0.5).picture), alone(synth, 1, near))
    assert not np.array_equal(alone(synth, 1, near), alone(synth, 1, style))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (True, r"a style is a seed \(an integer\) or a Style of synth.make_style, not True \(bool\)"),
        ("3", r"not '3' \(str\)"),
        (3.0, r"not 3.0 \(float\)"),
        ([3, "4", 5, 6, 7], r"not '4' \(str\)"),
        ({"hair": 3}, "unknown class .hair."),
        ([{"hair": 3}], "unknown class .hair."),
        ([1, 2], "2 styles for 5 masks: give one style, or one for each mask"),
        ([], "0 styles for 5 masks"),
        (None, "give a style, a seed or a Style"),
    ],
)
def test_what_is_no_style(synth: Synthesizer, given: Any, words: str) -> None:
    with pytest.raises(ProxymaskError, match=words):
        synth(MASKS, given)


def test_seeds_are_integers(synth: Synthesizer) -> None:
    for seed in (True, "3", 3.0):
        for call in (lambda s=seed: synth.make_style(seed=s), lambda s=seed: synth.w([s]), lambda s=seed: synth.transfer(s, 1)):
            with pytest.raises(ProxymaskError, match=rf"seeds? must be a whole number.*, not {seed!r}|is .*an integer.*, not {seed!r}"):
                call()
    for truncation in ("1", None, True, float("nan")):
        with pytest.raises(ProxymaskError, match="truncation must be a number"):
            synth(MASKS[0], 3, truncation=truncation)
    with pytest.raises(ProxymaskError, match=r"w is a tensor \(1, 16\) or \(1, \d+, 16\), got \(2, 16\)"):
        synth.make_style(w=synth.w([1, 2]))
    with pytest.raises(ProxymaskError, match="this Style holds 2 styles"):
        synth(MASKS[0], synth.encode_styles(synth.w([1, 2])))


def test_a_style_of_another_bundle(synth: Synthesizer) -> None:
    style = synth.make_style(seed=1)
    other = synth.encode_styles(synth.w([1]))
    wider = Style(style.w, style.state, style.kv, torch.ones(1, tiny.K + 1), style.prior)
    with pytest.raises(ProxymaskError, match="made with another bundle"):
        synth(MASKS[0], wider)
    changed = copy.deepcopy(synth.bundle)
    with torch.no_grad():
        changed.generator.synthesis.block(tiny.SIZE).conv1.weight.add_(0.1)
    with pytest.raises(ProxymaskError, match="made with another bundle"):
        Synthesizer(changed, "cpu", "fp32")(MASKS[0], style)
    far = Style(style.w.to("meta"), style.state, style.kv, style.present, style.prior)
    with pytest.raises(ProxymaskError, match="this Style is on meta, the synthesizer on cpu: make it again"):
        synth(MASKS[0], far)
    assert np.allclose(np.asarray(synth(MASKS[0], other)), alone(synth, 0, 1), atol=1)  # without the fused G2


def test_every_call_takes_a_seed_or_a_style(synth: Synthesizer) -> None:
    one, two = synth.make_style(seed=1), synth.make_style(seed=2)
    wanted = synth.transfer(1, 2)
    for given in ((one, two), (1, two), (one, 2)):
        assert np.array_equal(np.asarray(synth.transfer(*given).picture), np.asarray(wanted.picture))
    inputs = [("mask", MASKS[0])]
    assert np.array_equal(np.asarray(synth.generate_mixed(inputs, 2).picture), np.asarray(synth.generate_mixed(inputs, two).picture))
    kept = [synth.generate(MASKS[0], given, unpainted="style").proxy_mask for given in (2, two)]
    assert np.array_equal(*kept)


def test_styles_of_seeds_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    synth, made = make_synth(), []
    real = synth.encode_styles
    monkeypatch.setattr(synth, "encode_styles", lambda w: made.append(1) or real(w))
    first = synth(MASKS[0], 3, output_type="numpy")
    assert np.array_equal(synth(MASKS[0], 3, output_type="numpy"), first)
    assert len(made) == 1
    synth(MASKS, 3)
    assert len(made) == 1
    synth(MASKS[0], 3, truncation=0.5)  # another style
    synth.bundle.generator.seed_style = "torch"  # and another
    other = synth(MASKS[0], 3, output_type="numpy")
    assert len(made) == 3
    assert not np.array_equal(other, first)
    synth.bundle.generator.seed_style = "nvidia"
    for seed in range(100, 100 + 2 * STYLE_CACHE):
        synth(MASKS[0], seed)
    assert len(synth._cache) == STYLE_CACHE
    assert np.array_equal(synth(MASKS[0], 3, output_type="numpy"), first)  # made anew
    assert len(made) == 4 + 2 * STYLE_CACHE


# -------------------------------------------------------------------------------------------------------------------- output


def test_output_types(synth: Synthesizer) -> None:
    tensor = synth(MASKS, 3, output_type="tensor")
    assert (tensor.shape, tensor.dtype, tensor.device.type) == ((5, 3, tiny.SIZE, tiny.SIZE), torch.float32, "cpu")
    assert -1 <= float(tensor.min()) < float(tensor.max()) <= 1
    array = synth(MASKS, 3, output_type="numpy")
    assert (array.shape, array.dtype) == ((5, tiny.SIZE, tiny.SIZE, 3), np.uint8)
    assert np.array_equal(array, ((tensor + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    assert np.array_equal(array, [np.asarray(picture) for picture in synth(MASKS, 3)])
    assert torch.equal(synth(MASKS[2], 3, output_type="tensor"), tensor[2])
    assert np.array_equal(synth(MASKS[2], 3, output_type="numpy"), array[2])
    factor = torch.ones((), requires_grad=True)
    (tensor * factor).sum().backward()  # an ordinary tensor, which autograd takes
    with pytest.raises(ProxymaskError, match="output_type 'jpg': unknown; use pil, numpy or tensor"):
        synth(MASKS, 3, output_type="jpg")


def test_a_picture_does_not_depend_on_the_others(synth: Synthesizer) -> None:
    """To the last bit of float32 on a CPU, where pictures are computed one by one."""
    assert synth.batch_size == 1
    masks = np.concatenate([MASKS, MASKS[::-1], MASKS])
    styles = list(range(len(masks)))
    together = synth(masks, styles, output_type="tensor")
    for index in range(len(masks)):
        assert torch.equal(together[index], synth(masks[index], styles[index], output_type="tensor"))
        part = synth(masks[index : index + 3], styles[index : index + 3], output_type="tensor")
        assert torch.equal(together[index : index + 3], part)


@pytest.mark.parametrize("kind", ["soft", "hard", "style-prior"])
def test_batches_of_several_styles(kind: str) -> None:
    """As on a GPU: blocks whose pictures have a style each, one style, or latents for each layer, up to rounding."""
    synth = make_synth()
    synth.proxy_mask_mode = kind
    layers = synth.make_style(w=synth.bundle.generator.broadcast(synth.w([9])))
    styles = [3, 4, layers, 3, 3]
    for given in (styles, 3, layers):
        wanted = synth(MASKS, given, output_type="tensor")
        for size in (2, 3, 8):
            synth.batch_size = size
            assert torch.allclose(synth(MASKS, given, output_type="tensor"), wanted, atol=1e-4)
        synth.batch_size = 1


def test_mappers_of_other_conditions() -> None:
    synth = make_synth()
    synth.bundle.mappers["sketch"] = UNetMapper(1, tiny.K, tiny.CUT, tiny.SIZE, channel_base=128, channel_max=16).eval()
    synth.bundle.conditions["sketch"] = {"condition": "sketch", "channels": 1}
    with pytest.raises(ProxymaskError, match=r"the mapper 'sketch' reads sketch, not masks: synth\.generate"):
        synth(MASKS[0], 3, mapper="sketch")
    with pytest.raises(ProxymaskError, match=r"has no mapper 'pen' \(it has: mask, sketch\)"):
        synth(MASKS[0], 3, mapper="pen")
    drawing = np.full((16, 16), 255, np.uint8)
    drawing[4:12, 8] = 0
    first = synth.generate(drawing, 3, condition="sketch").picture
    assert np.array_equal(np.asarray(first), np.asarray(synth.generate(torch.from_numpy(drawing), 3, condition="sketch").picture))
    with pytest.raises(ProxymaskError, match="the mapper 'mask' reads mask, not sketch: leave mapper out"):
        synth.generate(drawing, 3, "mask", condition="sketch")
    with pytest.raises(ProxymaskError, match=r"an input is .*, not of type int"):
        synth.generate(5, 3, condition="sketch")
    assert synth.config.conditions == {"mask": "mask", "sketch": "sketch"}
    assert "mappers: mask, sketch;" in repr(synth)


# ------------------------------------------------------------------------------------------------------------------- threads


def test_threads_share_a_synthesizer() -> None:
    """Four threads, twenty pictures, each in a style of its own; also the very first calls."""
    styles = list(range(20))
    wanted = [alone(make_synth(), index % 5, style) for index, style in enumerate(styles)]
    synth, found, errors = make_synth(), [None] * len(styles), []
    start = threading.Barrier(4)

    def work(first: int) -> None:
        try:
            start.wait()
            for index in range(first, len(styles), 4):
                found[index] = synth(MASKS[index % 5], styles[index], output_type="numpy")
                synth.transfer(index, styles[index])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert np.array_equal(found, wanted)


def test_threads_that_set_a_style_get_their_own() -> None:
    """``set_style`` and then calls, in four threads at once; a thread that sets none has the one set last."""
    synth, wrong, turn = make_synth(), [], threading.Barrier(4)
    wanted = {seed: alone(make_synth(), 0, seed) for seed in range(8)}

    def work(seed: int) -> None:
        for seed_ in (seed, seed + 4):
            turn.wait()
            synth.set_style(seed=seed_)
            turn.wait()  # all have set theirs
            wrong.extend(seed_ for _ in range(3) if not np.array_equal(synth(MASKS[0], output_type="numpy"), wanted[seed_]))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    synth.set_style(seed=2)
    shared: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: shared.append(synth(MASKS[0], output_type="numpy")))
    thread.start()
    thread.join()
    assert np.array_equal(shared[0], wanted[2])


# ------------------------------------------------------------------------------------------------------- moving, copying, naming


def test_to_another_precision(synth: Synthesizer) -> None:
    other = make_synth()
    other.set_style(seed=3)
    before = synth(MASKS[0], 3, output_type="tensor")
    assert other.to(dtype=torch.bfloat16) is other
    assert (other.device, other.dtype, other.batch_size) == (torch.device("cpu"), torch.bfloat16, 1)
    rough = other(MASKS[0], 3, output_type="tensor")
    assert 0 < float((rough - before).abs().mean()) < 0.05
    assert torch.equal(rough, Synthesizer(make_synth().bundle, "cpu", "bf16")(MASKS[0], 3, output_type="tensor"))
    assert torch.equal(other(MASKS[0], output_type="tensor"), rough)  # the style that was set, too
    assert torch.equal(other.to("cpu", "fp32")(MASKS[0], 3, output_type="tensor"), before)  # the bundle kept its float32
    with pytest.raises(ProxymaskError, match="precision fp16: unknown"):
        other.to(dtype="fp16")
    with pytest.raises(ProxymaskError, match=r"precision torch\.float16: unknown"):
        other.to(dtype=torch.float16)
    assert other.dtype == torch.float32


@pytest.mark.parametrize("name", ["gpu", "meta", "", "cuda:x"])
def test_device_names(name: str) -> None:
    with pytest.raises(ProxymaskError, match=f"device {name}: unknown; use auto, cpu, cuda"):
        Synthesizer(tiny.make_bundle(), device=name)


def test_what_it_holds(synth: Synthesizer) -> None:
    config = synth.config
    assert (config.name, config.size, config.cut, config.num_clusters) == ("tiny", tiny.SIZE, tiny.CUT, tiny.K)
    assert config.labels == ("ground", "left", "right", "top")
    assert config.mappers == ("mask",)
    assert config.proxy_mask_mode == "soft"
    assert synth.labels is tiny.LABELS
    assert (
        repr(synth)
        == "Synthesizer('tiny': 16x16 pictures, split at 8, 5 clusters, 4 labels, mappers: mask; detail networks: none; cpu, float32)"
    )
    assert repr(synth.make_style(seed=1)) == "Style(1 of w (16,), cpu)"


def test_pickle_and_deepcopy() -> None:
    """Without the folder it came from; with the style that was set; another process makes the same picture."""
    synth = make_synth()
    wanted = synth(MASKS, [1, 2, 3, 4, 5], output_type="numpy")
    synth.set_style(seed=6, truncation=0.7)
    chosen = synth(MASKS[0], output_type="numpy")
    for again in (pickle.loads(pickle.dumps(synth)), copy.deepcopy(synth)):
        assert np.array_equal(again(MASKS, [1, 2, 3, 4, 5], output_type="numpy"), wanted)
        assert np.array_equal(again(MASKS[0], output_type="numpy"), chosen)
        assert repr(again) == repr(synth)
        again.to(dtype="bf16")
        assert synth.dtype == torch.float32
    style = pickle.loads(pickle.dumps(synth.make_style(seed=1)))
    assert np.array_equal(synth(MASKS[0], style, output_type="numpy"), wanted[0])
    assert np.array_equal(synth(MASKS[0], copy.deepcopy(style), output_type="numpy"), wanted[0])


# ------------------------------------------------------------------------------------------------------------------ package


def test_the_package() -> None:
    assert tiny.EMBEDDED_BUNDLE in proxymask.list_bundles()
    assert proxymask.Synthesizer is Synthesizer
    assert proxymask.Style is Style
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        proxymask.Nothing  # noqa: B018


def test_names_are_imported_when_they_are_used() -> None:
    code = "import sys, proxymask; proxymask.list_bundles(); print('torch' in sys.modules, 'numpy' in sys.modules); print(dir(proxymask))"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.splitlines()
    assert shown[0] == "False False"
    assert all(repr(name) in shown[1] for name in proxymask.__all__)


def test_logits_and_styles_of_different_numbers(synth: Synthesizer) -> None:
    with pytest.raises(ProxymaskError, match="2 inputs do not go with 3 styles"):
        synth.proxy_mask(synth.map(MASKS[:2]), synth.encode_styles(synth.w([1, 2, 3])))
