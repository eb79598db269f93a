"""Detail networks in a bundle: they act near painted borders, and off means off."""

import copy
import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from proxymask.core.errors import ProxymaskError
from proxymask.inference.bundle import Bundle
from proxymask.inference.detail_inputs import mask_inputs
from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.detail_network import DetailNetwork
from proxymask.models.growing import grow_detail_network, grow_generator
from tiny import LABELS

FAR = 11  # rows and columns that no border of the mask reaches


def trained() -> DetailNetwork:
    """One that changes something."""
    torch.manual_seed(7)
    made = DetailNetwork(tiny.N, 8, tiny.SIZE, tiny.CUT, 8)
    with torch.no_grad():
        made.leave.weight.normal_()
    return made.eval().requires_grad_(False)


def bundle_of(factor: int) -> Bundle:
    """The tiny bundle with a detail network, whose pictures are 2 ``factor`` times the cut."""
    bundle = tiny.make_bundle()
    bundle.details["mask"] = trained()
    if factor > 1:
        config = bundle.generator.config
        torch.manual_seed(8)
        grown = grow_generator(bundle.generator, factor * tiny.SIZE, config["channel_base"], config["channel_max"])
        grown.requires_grad_(False).synthesis.block(grown.resolution).torgb.weight.normal_()
        bundle.generator, bundle.segmenter = grown, None
        bundle.details["mask"] = grow_detail_network(bundle.details["mask"], factor).requires_grad_(False)
    return bundle


@pytest.fixture(params=[1, 2, 4])
def synth(request: pytest.FixtureRequest) -> Synthesizer:
    return Synthesizer(bundle_of(request.param), device="cpu", precision="fp32")


def mask() -> np.ndarray:
    ids = np.zeros((tiny.SIZE, tiny.SIZE), np.uint8)
    ids[:6, :6] = 2
    return ids


def without(synth: Synthesizer) -> Synthesizer:
    """The same without detail networks."""
    return Synthesizer(dataclasses.replace(synth.bundle, details={}), device="cpu", precision="fp32")


def test_off_is_the_picture_of_a_bundle_without_them(synth: Synthesizer) -> None:
    plain = without(synth)(mask(), 3, output_type="tensor")
    assert not torch.equal(synth(mask(), 3, output_type="tensor"), plain)
    synth.use_details = False
    assert torch.equal(synth(mask(), 3, output_type="tensor"), plain)


def test_an_untrained_one_changes_nothing(synth: Synthesizer) -> None:
    plain = without(synth)(mask(), 3, output_type="tensor")
    synth.bundle.details["mask"] = DetailNetwork(tiny.N, 8, synth.bundle.resolution, tiny.CUT, 8).eval()
    assert torch.equal(synth(mask(), 3, output_type="tensor"), plain)


def test_it_changes_pixels_near_borders_alone(synth: Synthesizer) -> None:
    changed = synth(mask(), 3, output_type="tensor")
    synth.use_details = False
    where = (changed - synth(mask(), 3, output_type="tensor")).abs().amax(dim=0) > 1e-6
    factor = synth.bundle.resolution // tiny.SIZE
    assert where[: 8 * factor, : 8 * factor].any()
    far = (FAR + 2 * (factor > 1)) * factor  # further blocks carry a change on
    assert not where[far:, far:].any()


def test_batches_generate_and_steps_agree(synth: Synthesizer) -> None:
    single = synth(mask(), 3, output_type="numpy")
    assert np.array_equal(np.asarray(synth.generate(mask(), 3).picture), single)
    style, ids = synth.make_style(3), synth.read_mask(mask())
    proxy = synth.proxy_mask(synth.map(ids[None]), style)
    pixels = synth.render(proxy, style, mask_inputs(ids[None]))
    assert torch.equal(pixels[0], synth(mask(), 3, output_type="tensor"))
    synth.batch_size = 2
    both = synth([mask(), mask().T.copy()], [3, 4], output_type="numpy")
    assert np.abs(both[0].astype(int) - single).max() <= 1


def test_a_style_for_each_label_of_one_style_is_that_style(synth: Synthesizer) -> None:
    plain = synth(mask(), 3, output_type="tensor")
    assert torch.allclose(synth(mask(), {None: 3}, output_type="tensor"), plain, atol=2e-5)


def test_masks_of_single_steps_have_the_size_of_pictures(synth: Synthesizer) -> None:
    masks, style = np.zeros((1, 20, 20), np.int64), synth.make_style(1)
    painted = mask_inputs(masks)
    proxy = synth.proxy_mask(synth.map(masks), style, painted)
    with pytest.raises(ProxymaskError, match=f"masks of 20x20 for pictures of {synth.size}x{synth.size}: synth.read_mask"):
        synth.render(proxy, style, painted)
    without = synth.render(synth.proxy_mask(synth.map(masks), style, None), style, None)
    assert torch.equal(without, synth.render(synth.proxy_mask(synth.map(masks), style), style))


def test_several_inputs_each_act_where_they_were_painted(synth: Synthesizer) -> None:
    ids = synth.read_mask(mask())
    [whole] = mask_inputs(ids[None])
    size = synth.bundle.resolution
    left = torch.zeros(size, size)
    left[:, : size // 4] = 1
    parts = [whole._replace(where=left), whole._replace(where=1 - left)]
    last = torch.randn(1, 8, tiny.SIZE, tiny.SIZE, generator=torch.Generator().manual_seed(4))
    found = {name: synth.details(inputs) for name, inputs in {"both": parts, "one": [whole], "half": parts[:1]}.items()}
    change = {name: details(last) for name, details in found.items() if details is not None}
    for part in ("features", "neighbours"):
        torch.testing.assert_close(getattr(change["both"], part), getattr(change["one"], part))
        assert (getattr(change["half"], part)[..., 4:] == 0).all()
        assert (getattr(change["half"], part) != 0).any()


def test_a_partial_mask_changes_painted_pixels_alone(synth: Synthesizer) -> None:
    colors = LABELS.colors[mask()]
    half = np.concatenate([colors, np.full((tiny.SIZE, tiny.SIZE, 1), 255, np.uint8)], axis=2)
    half[:, 5:, 3] = 0  # the border at column 6 is not painted
    partial = Image.fromarray(half)
    made = []
    for synth.use_details in (True, False):
        made.append(np.asarray(synth.generate(partial, 3, condition="mask", unpainted="style").picture).astype(int))
    changed = np.abs(made[0] - made[1]).max(axis=2) > 0
    factor = synth.bundle.resolution // tiny.SIZE
    assert changed[:, : 5 * factor].any()
    # blocks after the one that is changed carry a change two of its pixels further, and so does the reduced share
    assert not changed[:, (5 if factor == 1 else 8) * factor :].any()


def test_copies_keep_whether_they_are_used(synth: Synthesizer) -> None:
    synth.use_details = False
    wanted = synth(mask(), 3, output_type="tensor")
    for other in (copy.deepcopy(synth), pickle.loads(pickle.dumps(synth))):
        assert torch.equal(other(mask(), 3, output_type="tensor"), wanted)
    assert "detail networks: mask;" in repr(synth)


def test_it_is_saved_opened_copied_and_pickled(synth: Synthesizer, tmp_path: Path) -> None:
    wanted = synth(mask(), 3, output_type="tensor")
    synth.bundle.save(tmp_path / "bundle", half=False)
    opened = Synthesizer(Bundle.load(tmp_path / "bundle"), device="cpu", precision="fp32")
    for other in (opened, copy.deepcopy(synth), pickle.loads(pickle.dumps(synth))):
        assert torch.equal(other(mask(), 3, output_type="tensor"), wanted)


@pytest.mark.parametrize("factor", [1, 2])
def test_the_whole_generator_and_its_fused_form_are_changed_alike(factor: int) -> None:
    """A style's own fused G2, and the split generator, which several styles share."""
    synth = Synthesizer(bundle_of(factor), device="cpu", precision="fp32")
    style = synth.make_style(3)
    ids = synth.read_mask(mask())
    inputs = mask_inputs(ids[None])
    state = synth.rearrange(synth.proxy_mask(synth.map(ids[None]), style), style)
    fused = synth.render_rearranged(state, style, synth.details(inputs))
    whole = synth.render_state(state, style.w, synth.details(inputs))
    torch.testing.assert_close(fused, whole, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(whole, synth.render_state(state, style.w), atol=1e-2)
