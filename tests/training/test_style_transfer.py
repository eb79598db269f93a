"""Samples in the look of a labelled one."""

import dataclasses
from pathlib import Path

import pytest
import torch

import tiny
from proxymask.core.errors import ProxymaskError
from proxymask.models.stylegan2 import seed_to_z
from proxymask.training import loop
from proxymask.training.parts import Frozen
from proxymask.training.segmenter import SegmenterConfig
from proxymask.training.stages.segmenter import SegmenterDefinition
from proxymask.training.style_transfer import StyleTransferLabeler, warp, warp_grid


def looks(ws: torch.Tensor) -> StyleTransferLabeler:
    split = tiny.make_cut()
    clusters = tiny.make_clusters(split)
    return StyleTransferLabeler(Frozen(split, clusters, tiny.make_rearranger(split, clusters)), ws)


def latents(seeds: list[int]) -> torch.Tensor:
    return tiny.make_cut().w(seed_to_z(seeds, tiny.Z)).detach()


def test_levels_are_those_of_the_rearranged_state() -> None:
    """Each layout in the style of the labelled sample that was named, on through G2's convolutions."""
    both = looks(latents([0, 1]))
    layout, of = both.layout(latents([5, 6, 7])), torch.tensor([1, 0, 1])
    levels = both.levels(layout, of)
    assert [tuple(level.shape[1:]) for level in levels] == [(c, s, s) for c, s in zip(tiny.LEVELS[1:], (8, 16), strict=True)]
    w = both.split.generator.broadcast(latents([0, 1]))[of]
    style, clusters = both.split.features(w), both.clusters
    substituted = clusters.substitute(
        layout, clusters.available(both.rearranger.encode_style(style).counts), both.rearranger.substitute_threshold
    )
    state = both.rearranger(style, clusters.one_hot(substituted))
    assert torch.allclose(levels[0], state.features, atol=1e-5)
    block = both.split.generator.synthesis.block(16)
    part = both.split.generator.synthesis.block_ws(w, 16)
    assert torch.allclose(levels[1], block.convs(state.features, part, "const"), atol=1e-5)


def test_levels_of_an_untouched_state_are_the_pyramid() -> None:
    both = looks(latents([0]))
    w = latents([3, 4])
    pyramid, _ = both.split.feature_pyramid(w)
    for ours, theirs in zip(both.split.g2_features(both.split.features(w), w), pyramid[1:], strict=True):
        assert torch.equal(ours, theirs)


def test_nearest_has_most_of_what_is_asked() -> None:
    ws = latents([0, 1, 2, 3])
    all_four = looks(ws)
    assert torch.equal(all_four.nearest(all_four.layout(ws)).unique(), all_four.nearest(all_four.layout(ws)).sort().values.unique())
    layout = all_four.layout(latents([9]))
    clusters = all_four.clusters
    own = torch.stack([torch.bincount(x.flatten(), minlength=tiny.K) for x in all_four.layout(ws)])
    covered = [float(clusters.available(row[None])[0][layout[0]].float().mean()) for row in own]
    assert covered[int(all_four.nearest(layout))] == max(covered)
    assert int(all_four.nearest(layout)) == covered.index(max(covered))


def test_warps_move_masks_of_every_size_alike() -> None:
    rng = torch.Generator().manual_seed(1)
    grid = warp_grid(64, rng)
    assert grid.shape == (64, 64, 64, 2)
    at = (torch.arange(64) + 0.5) / 32 - 1
    assert float((grid.mean(dim=0)[..., 0] - at).abs().mean()) < 0.05  # left and right alike, on the average
    assert 0.05 < float((grid[..., 1] - at[:, None]).abs().mean()) < 0.3
    mask = torch.zeros(64, 64, 64, dtype=torch.long)
    mask[:, 16:48, 16:48] = 3
    fine, coarse = warp(mask, grid), warp(mask[:, ::2, ::2], grid)
    assert set(fine.unique().tolist()) == {0, 3}
    assert float((fine != mask).float().mean()) > 0.05
    assert float((fine[:, ::2, ::2] == coarse).float().mean()) > 0.93
    straight = torch.nn.functional.affine_grid(torch.eye(2, 3).expand(64, 2, 3), [64, 1, 64, 64], align_corners=False)
    assert torch.equal(warp(mask, straight), mask)


def test_others_are_learnt_from_after_the_look() -> None:
    """First the network that knows the look learns, then it stands still and tells the segmenter of others."""
    stage = tiny.make_stage("segmenter", style_transfer_max_labels=2, style_transfer_phase=0.5)
    transfer = stage.transfer
    assert transfer is not None
    assert transfer.start == 3
    run = loop.Run(tiny.loop_config(), stage)
    for index in range(6):
        run.index = index
        before = {k: v.clone() for k, v in transfer.reader.state_dict().items()}
        stage.step(run)
        stats = run.take_stats()
        assert ("loss/look/accuracy" in stats) == bool(tiny.differing(before, transfer.reader.state_dict())) == (index < 3)
        assert ("loss/others/accuracy" in stats) == (index >= 3)
    w = latents([8, 9])
    same, labels = stage.transferred(run, transfer, w)
    layout = transfer.labeler.layout(w)
    assert torch.equal(labels, transfer.reader(transfer.labeler.levels(layout, transfer.labeler.nearest(layout))).argmax(dim=1))
    assert torch.equal(same, w)


def test_resumes_exactly(tmp_path: Path) -> None:
    """2N steps = N + resume + N over both phases."""
    config = {"style_transfer_max_labels": 2, "style_transfer_phase": 0.5}
    whole = tiny.state(tiny.run(tiny.make_stage("segmenter", **config), tmp_path / "whole"))
    for steps in (2, 4, 6):
        parts = tiny.state(tiny.run(tiny.make_stage("segmenter", **config), tmp_path / "parts", steps=steps))
    assert any(key.startswith("reader") for key in whole)
    assert tiny.differing(whole, parts) == []


def test_only_with_few_labels() -> None:
    """More labelled samples than ``style_transfer_max_labels`` are learnt from alone; with few, rearranger and clusters are needed."""
    split, ws = tiny.make_cut(), latents([0, 1])
    masks = torch.zeros(2, tiny.SIZE, tiny.SIZE, dtype=torch.long)
    alone = SegmenterDefinition(
        config=SegmenterConfig(style_transfer_max_labels=1),
        loop=tiny.loop_config(steps=10),
        split=split,
        labels=tiny.LABELS,
        ws=ws,
        masks=masks,
    )
    assert alone.build().transfer is None
    few = dataclasses.replace(alone, config=SegmenterConfig(style_transfer_max_labels=2))
    with pytest.raises(ProxymaskError, match="give the rearranger and its clusters, or set style_transfer_max_labels to 0"):
        few.build()
    clusters = tiny.make_clusters(split)
    stage = dataclasses.replace(few, clusters=clusters, rearranger=tiny.make_rearranger(split, clusters)).build()
    assert stage.transfer is not None
    assert stage.transfer.start == 4
    assert set(stage.modules) == {"segmenter", "reader"}
