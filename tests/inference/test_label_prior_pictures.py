"""Pictures of a bundle whose mapper has a label prior."""

import dataclasses

import numpy as np
import pytest
import torch

import tiny
from proxymask.inference.detail_inputs import DetailInput, mask_inputs
from proxymask.inference.style import join_styles
from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.few_shot_segmenter import FewShotSegmenter
from proxymask.models.label_prior import clusters_by_label


@pytest.fixture(scope="module")
def synth() -> Synthesizer:
    bundle = tiny.make_bundle()
    mapper = bundle.mappers["mask"] = tiny.make_mapper(label_prior=True).eval()
    bundle.about["proxy_mask_mode"] = "style-prior"
    _, proxy, labels = Synthesizer(bundle, "cpu", "fp32").sample(torch.randn(8, bundle.generator.w_dim))
    assert labels is not None
    mapper.count(proxy, labels)
    with torch.no_grad():
        mapper.tail.weight.mul_(10)
    return Synthesizer(bundle, "cpu", "fp32")


def mask(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, tiny.N, (4, 4), dtype=np.uint8)
    return coarse.repeat(tiny.SIZE // 4, axis=0).repeat(tiny.SIZE // 4, axis=1)


def test_a_style_counts_its_clusters_by_label(synth: Synthesizer) -> None:
    style = synth.make_style(3)
    _, proxy, labels = synth.sample(style.w)
    assert labels is not None
    assert style.by_label is not None
    assert torch.equal(style.by_label, clusters_by_label(proxy, labels, tiny.K, tiny.N))
    without = tiny.make_bundle()
    assert Synthesizer(without, "cpu", "fp32").make_style(3).by_label is None  # no mapper needs it
    without.mappers, without.segmenter = {"mask": tiny.make_mapper(label_prior=True)}, None
    alone = Synthesizer(without, "cpu", "fp32")
    assert alone.make_style(3).by_label is None  # nobody reads the style
    assert alone(mask(0), 3).size == (tiny.SIZE, tiny.SIZE)


def test_pictures_together_are_those_of_each(synth: Synthesizer) -> None:
    masks, seeds = [mask(0), mask(1), mask(2)], [3, 4, 5]
    together = synth(masks, seeds, output_type="tensor")
    for picture, one, seed in zip(together, masks, seeds, strict=True):
        assert torch.allclose(picture, synth(one, seed, output_type="tensor"), atol=1e-4)
    joined = join_styles([synth.make_style(seed) for seed in seeds])
    assert joined.by_label is not None
    assert len(joined.by_label) == 3
    assert joined.expanded(3) is joined


def test_the_style_decides_among_the_clusters_of_a_label(synth: Synthesizer) -> None:
    """Each label has the cluster that the style has most of under it."""
    ids = torch.from_numpy(mask(1)[None].copy()).long()
    counts = torch.zeros(1, tiny.K, tiny.N)
    for label in range(tiny.N):
        counts[0, (label + 1) % tiny.K, label] = 1e6
    style = dataclasses.replace(synth.make_style(3), by_label=counts)
    logits = torch.zeros(1, tiny.K, *synth.bundle.clusters.size)
    proxy = synth.proxy_mask(logits, style, mask_inputs(ids))
    step = ids.shape[-1] // proxy.shape[-1]
    assert torch.equal(proxy, (ids[:, ::step, ::step] + 1) % tiny.K)


def test_regions_have_the_priors_of_their_own_styles(synth: Synthesizer) -> None:
    names = synth.labels.names if synth.labels else ()
    one = synth(mask(1), 3, output_type="tensor")
    assert torch.allclose(synth(mask(1), {None: 3, names[0]: 3}, output_type="tensor"), one, atol=1e-3)


def test_a_style_that_is_older_than_the_mapper(synth: Synthesizer) -> None:
    """A mapper that comes later has its prior in styles that were made before."""
    bundle = tiny.make_bundle()
    bundle.about["proxy_mask_mode"] = "style-prior"
    late = Synthesizer(bundle, "cpu", "fp32")
    late(mask(1), 3)
    early = late.make_style(4)
    late.bundle.mappers["mask"] = synth.bundle.mappers["mask"]
    for style in (3, early):
        seed = style if isinstance(style, int) else 4
        assert torch.allclose(late(mask(1), style, output_type="tensor"), synth(mask(1), seed, output_type="tensor"), atol=1e-4)
    assert join_styles([early, late.make_style(5)]).by_label is None  # read again when they are used
    together = late([mask(1), mask(2)], [early, 5], output_type="tensor")
    assert torch.allclose(together[0], synth(mask(1), 4, output_type="tensor"), atol=1e-4)


def test_a_segmenter_of_other_labels_is_not_used(synth: Synthesizer) -> None:
    bundle = tiny.make_bundle()
    bundle.about["proxy_mask_mode"] = "style-prior"
    bundle.mappers["mask"] = synth.bundle.mappers["mask"]
    assert bundle.segmenter is not None
    bundle.segmenter = FewShotSegmenter(**{**bundle.segmenter.config, "num_labels": tiny.N + 1}).eval()
    assert Synthesizer(bundle, "cpu", "fp32").make_style(3).by_label is None


def test_several_inputs_have_each_its_own_prior(synth: Synthesizer) -> None:
    """Where the mask is painted its labels decide; elsewhere the prior of inputs without labels does."""
    bundle = synth.bundle
    style, size = synth.make_style(3), (tiny.SIZE, tiny.SIZE)
    left, right = torch.zeros(size, dtype=torch.bool), torch.zeros(size, dtype=torch.bool)
    left[:, : tiny.SIZE // 2] = True
    right[:, tiny.SIZE // 2 :] = True
    ids = torch.from_numpy(mask(1)[None].copy()).long()
    planes = torch.nn.functional.one_hot(ids, tiny.N).permute(0, 3, 1, 2).float() * left
    painted = (DetailInput("mask", planes, left), DetailInput("sketch", torch.zeros(1, 1, *size), right))
    found = synth._prior(style, painted)
    alone = synth._prior(style, (DetailInput("mask", ids),))
    assert found.shape == (1, tiny.K, *bundle.clusters.size)
    assert torch.allclose(found[..., 0], alone[..., 0], atol=0.15 * float(alone.abs().max()))
    coarse = style.prior[:, :, None].expand(-1, -1, found.shape[2])
    assert torch.allclose(found[..., -1], coarse, atol=0.15 * float(alone.abs().max()))
    partly = synth._prior(style, (DetailInput("mask", planes, left),))
    assert torch.allclose(partly[..., -1], coarse, atol=1e-5)  # no label there
