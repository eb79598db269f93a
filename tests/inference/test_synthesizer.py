"""Single pictures with an untrained bundle: what depends on what, and to the last bit."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from proxymask.core.errors import ProxymaskError
from proxymask.imaging.masks import write_mask
from proxymask.inference.output import Result
from proxymask.inference.style import Style
from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.logits_to_proxy_mask import logits_to_proxy_mask


@pytest.fixture(scope="module")
def synth() -> Synthesizer:
    """Float32, and a mapper that looks at its mask."""
    bundle = tiny.make_bundle()
    with torch.no_grad():
        bundle.mappers["mask"].tail.weight.mul_(30)
    return Synthesizer(bundle, device="cpu", precision="fp32")


def mask(seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, tiny.N, (4, 4), dtype=np.uint8)
    return coarse.repeat(4, axis=0).repeat(4, axis=1)


def pixels(picture: Image.Image) -> np.ndarray:
    assert picture.mode == "RGB"
    assert picture.size == (tiny.SIZE, tiny.SIZE)
    return np.asarray(picture)


def planes(synth: Synthesizer, masks: np.ndarray, style: Style) -> torch.Tensor:
    """Masks (B, R, R) to proxy masks (B, K, r, r)."""
    return logits_to_proxy_mask(synth.map(masks), synth.proxy_mask_mode, style.prior)


def test_without_a_style() -> None:
    fresh = Synthesizer(tiny.make_bundle(), "cpu", "fp32")
    with pytest.raises(ProxymaskError, match=r"give a style, a seed or a Style: synth\(mask, 3\)"):
        fresh(mask())
    with pytest.raises(ProxymaskError, match="give one of the two"):
        fresh.set_style()
    with pytest.raises(ProxymaskError, match="give one of the two"):
        fresh.set_style(seed=1, w=torch.zeros(1, tiny.Z))


def test_repeats_exactly(synth: Synthesizer) -> None:
    synth.set_style(seed=3)
    first = pixels(synth(mask()))
    synth.set_style(seed=4)
    synth(mask(1))
    synth.set_style(seed=3)
    assert np.array_equal(pixels(synth(mask())), first)
    bundle = tiny.make_bundle()
    with torch.no_grad():
        bundle.mappers["mask"].tail.weight.mul_(30)
    other = Synthesizer(bundle, "cpu", "fp32")
    other.set_style(seed=3)
    assert np.array_equal(pixels(other(mask())), first)  # another object, another day


def test_what_a_picture_depends_on(synth: Synthesizer) -> None:
    synth.set_style(seed=3)
    one = pixels(synth(mask()))
    assert not np.array_equal(one, pixels(synth(mask(1))))  # the mask
    synth.set_style(seed=4)
    assert not np.array_equal(one, pixels(synth(mask())))  # the style
    synth.set_style(seed=3, truncation=0.3)
    assert not np.array_equal(one, pixels(synth(mask())))  # and its truncation


def test_cached_style_equals_a_fresh_one(synth: Synthesizer) -> None:
    style = synth.make_style(seed=7)
    proxy = planes(synth, mask()[None], style)
    cached = synth.render(proxy, style)
    assert torch.equal(cached, synth.render(proxy, synth.make_style(seed=7)))
    w = synth.w([7])
    assert torch.equal(style.w, w)
    with torch.inference_mode():
        fresh = synth.split.render(synth.bundle.rearranger(synth.split.features(w), proxy), w).clamp(-1, 1)
    assert torch.allclose(cached, fresh, atol=1e-4)  # the weights hold the style: up to rounding
    ids = proxy.argmax(dim=1)
    hot = synth.bundle.clusters.one_hot(ids)
    assert torch.allclose(synth.render(ids, style), synth.render(hot, style), atol=1e-4)  # ids and their planes
    assert torch.equal(cached, synth.render(proxy, synth.make_style(w=w)))
    ws = synth.bundle.generator.broadcast(w)
    assert torch.equal(cached, synth.render(proxy, synth.make_style(w=ws)))  # a w for each layer


def test_another_style_does_not_replace_the_set_one(synth: Synthesizer) -> None:
    synth.set_style(seed=3)
    wanted = pixels(synth(mask()))
    other = synth.make_style(seed=5)
    assert not np.array_equal(pixels(synth.generate(mask(), other).picture), wanted)
    assert np.array_equal(pixels(synth(mask())), wanted)


def test_batches(synth: Synthesizer) -> None:
    style = synth.make_style(seed=3)
    masks = np.stack([mask(i) for i in range(3)])
    together = synth.render(planes(synth, masks, style), style)
    assert together.shape == (3, 3, tiny.SIZE, tiny.SIZE)
    for i in range(3):
        assert torch.allclose(together[i], synth.render(planes(synth, masks[i : i + 1], style), style)[0], atol=1e-4)


def test_kinds_of_masks(synth: Synthesizer, tmp_path: Path) -> None:
    synth.set_style(seed=3)
    ids = mask()
    wanted = pixels(synth(ids))
    write_mask(tmp_path / "mask.png", ids, tiny.LABELS)
    colours = tiny.LABELS.colors[ids]
    Image.fromarray(colours).save(tmp_path / "rgb.png")
    for source in (
        tmp_path / "mask.png",
        str(tmp_path / "rgb.png"),
        Image.open(tmp_path / "mask.png"),
        Image.fromarray(ids),
        ids.astype(np.int64),
        colours,
        Image.fromarray(ids).resize((64, 64), Image.Resampling.NEAREST),  # any size
    ):
        result = synth.generate(source)
        assert np.array_equal(pixels(result.picture), wanted)
        assert np.array_equal(result.mask, ids)
    with pytest.raises(ProxymaskError, match=r"nothing\.png"):
        synth(tmp_path / "nothing.png")
    with pytest.raises(ProxymaskError):
        synth(np.full((16, 16), 9, np.uint8))


def test_result(synth: Synthesizer) -> None:
    synth.set_style(seed=3)
    result = synth.generate(mask())
    assert isinstance(result, Result)
    assert result.proxy_mask.shape == (tiny.CUT, tiny.CUT)
    assert result.proxy_mask.dtype == np.uint8
    style = synth.make_style(seed=3)
    proxy = planes(synth, mask()[None], style)
    assert np.array_equal(result.proxy_mask, proxy[0].argmax(dim=0).numpy())
    assert torch.allclose(proxy.sum(dim=1), torch.ones(()), atol=1e-5)
    wanted = ((synth.render(proxy, style)[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(pixels(result.picture), wanted)


@pytest.mark.parametrize("kind", ["soft", "hard", "style-prior"])
def test_proxy_mask_mode_of_the_bundle(kind: str) -> None:
    """The bundle says how; "style-prior" also goes by the clusters that the style's own features have."""
    bundle = tiny.make_bundle()
    bundle.about["proxy_mask_mode"] = kind
    synth = Synthesizer(bundle, "cpu", "fp32")
    style = synth.set_style(seed=3)
    logits = synth.map(mask()[None])
    with torch.inference_mode():
        own = bundle.clusters.assign(synth.split.features(style.w).features).unique()
        assert style.kv.counts[0].nonzero().flatten().tolist() == own.tolist()
        wanted = logits_to_proxy_mask(logits, kind, bundle.clusters.prior(style.kv.counts))
        assert torch.equal(synth.proxy_mask(logits, style), wanted if kind == "soft" else wanted.argmax(dim=1))
    other = dataclasses.replace(style, prior=torch.tensor([[0.0, 99.0, 0.0, 0.0, 0.0]]))
    proxy = planes(synth, mask()[None], other)
    assert bool((proxy.argmax(dim=1) == 1).all()) == (kind == "style-prior")
    result = synth.generate(mask(), other)
    assert np.array_equal(result.proxy_mask, proxy[0].argmax(dim=0).numpy())


def test_transfer(synth: Synthesizer) -> None:
    result = synth.transfer(shape_seed=1, style_seed=2)
    assert result.mask is None
    clusters, style = synth.bundle.clusters, synth.make_style(seed=2)
    with torch.inference_mode():
        shape = clusters.assign(synth.split.features(synth.w([1])).features)
        given = clusters.substitute(shape, clusters.available(style.kv.counts))  # what the style lacks is replaced
        assert np.array_equal(result.proxy_mask, given[0].numpy())
        wanted = synth.render(given, style)
    assert np.array_equal(pixels(result.picture), ((wanted[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())
    assert not np.array_equal(pixels(result.picture), pixels(synth.transfer(2, 2).picture))
    assert not np.array_equal(pixels(result.picture), pixels(synth.transfer(1, 3).picture))


def test_sample(synth: Synthesizer) -> None:
    w = synth.w([1, 2, 3], truncation=0.7)
    picture, proxy, labels = synth.sample(w)
    with torch.inference_mode():
        assert torch.equal(picture, synth.bundle.generator.synthesis(synth.bundle.generator.broadcast(w)).clamp(-1, 1))
        assert torch.equal(proxy, synth.bundle.clusters.assign(synth.split.features(w).features))
        levels, _ = synth.split.feature_pyramid(w)
        assert torch.equal(labels, synth.bundle.segmenter(levels).argmax(dim=1))
    bare = tiny.make_bundle()
    bare.segmenter = None
    assert Synthesizer(bare, "cpu", "fp32").sample(w)[2] is None


def test_the_only_mapper_of_masks_needs_no_name() -> None:
    bundle = tiny.make_bundle()
    wanted = Synthesizer(bundle, "cpu", "fp32")(mask(), 1, output_type="tensor")
    bundle.mappers = {"mask-1": bundle.mappers["mask"]}
    synth = Synthesizer(bundle, "cpu", "fp32")
    assert torch.equal(synth(mask(), 1, output_type="tensor"), wanted)
    assert torch.equal(
        synth(mask(), {0: 1, 1: 2}, output_type="tensor"), synth(mask(), {0: 1, 1: 2}, mapper="mask-1", output_type="tensor")
    )


def test_what_a_bundle_lacks() -> None:
    bundle = tiny.make_bundle()
    bundle.mappers = {}
    bare = Synthesizer(bundle, "cpu", "fp32")
    bare.set_style(seed=1)
    with pytest.raises(ProxymaskError, match=r"the bundle tiny has no mapper for mask \(it reads: none\)"):
        bare(mask())
    bundle.labels = None
    with pytest.raises(ProxymaskError, match="has no labels yet"):
        bare(mask())
    bare.transfer(1, 2)  # which needs neither


def test_from_pretrained(tmp_path: Path) -> None:
    folder = tiny.make_bundle().save(tmp_path / "b", half=False)
    synth, direct = Synthesizer.from_pretrained(folder, "cpu", "fp32"), Synthesizer(tiny.make_bundle(), "cpu", "fp32")
    assert synth.size == tiny.SIZE
    for each in (synth, direct):
        each.set_style(seed=3)
    assert np.array_equal(pixels(synth(mask())), pixels(direct(mask())))
    with pytest.raises(ProxymaskError, match="no bundle 'nobody'"):
        Synthesizer.from_pretrained("nobody")


def test_bf16_is_near(synth: Synthesizer) -> None:
    rough = Synthesizer(synth.bundle, "cpu", "bf16")
    styles = [each.make_style(seed=3) for each in (synth, rough)]
    one, two = (each.render(planes(each, mask()[None], style), style) for each, style in zip((synth, rough), styles, strict=True))
    assert two.dtype == torch.float32
    assert float((one - two).abs().mean()) < 0.05
    assert not torch.equal(one, two)


def test_render_refuses_logits(synth: Synthesizer) -> None:
    with pytest.raises(ProxymaskError, match=r"synth\.proxy_mask"):
        synth.render(synth.map(mask()[None]) - 1.0, synth.make_style(seed=1))


def test_a_style_for_each_picture() -> None:
    """Several styles at once give what each gives alone."""
    synth = Synthesizer(tiny.make_bundle(), "cpu", "fp32")
    logits = synth.map(np.stack([mask(), mask()[::-1].copy()]))
    both = synth.encode_styles(synth.w([3, 4]))
    pictures = synth.render(synth.proxy_mask(logits, both), both)
    for index, seed in enumerate((3, 4)):
        alone = synth.make_style(seed=seed)
        part = logits[index : index + 1]
        assert torch.allclose(pictures[index], synth.render(synth.proxy_mask(part, alone), alone)[0], atol=1e-4)
