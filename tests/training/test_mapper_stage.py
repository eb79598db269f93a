"""What one step of the mapper stage does."""

from pathlib import Path

import pytest
import torch
from steps import run_of, totals

import tiny
from proxymask.imaging.labels import LabelSet
from proxymask.inference.bundle import Bundle
from proxymask.inference.detail_inputs import mask_inputs
from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.label_prior import clusters_by_label, label_prior, prior_at
from proxymask.training.auxiliary import BLOCK, COUNTED, GeneratedImages
from proxymask.training.mapper import MapperConfig, MapperStage
from proxymask.training.pairs import SegmenterLabeler
from proxymask.training.parts import Frozen
from proxymask.training.stages.mapper import MapperDefinition


@pytest.mark.parametrize("flip", [True, False])
def test_mapper_pairs(flip: bool) -> None:
    stage = tiny.make_stage("mapper", flip=flip)
    run = run_of(stage, batch=16)
    labels, proxy, _ = stage.pairs(run, "pairs")
    z = torch.randn(16, tiny.Z, generator=run.rng("pairs"))
    w = stage.split.w(z)
    plain = stage.source.labeler(w), stage.clusters.assign(stage.split.features(w).features)
    mirrored = [bool(torch.equal(a, b.flip(1)) and not torch.equal(a, b)) for a, b in zip(proxy, plain[1], strict=True)]
    assert any(mirrored) == flip
    for i, turned in enumerate(mirrored):  # both or neither
        assert torch.equal(labels[i], plain[0][i].flip(1) if turned else plain[0][i])
        assert torch.equal(proxy[i], plain[1][i].flip(1) if turned else plain[1][i])


def test_mapper_phases(tmp_path: Path) -> None:
    stage = tiny.make_stage("mapper", steps=6, adv_phase=0.5)
    assert stage.adversarial_from == 3
    run = run_of(stage)
    for index in range(6):
        run.index = index
        stage.step(run)
        stats = run.take_stats()
        assert ("loss/adv" in stats) == ("d/loss" in stats) == (index >= 3)
        assert ("d/r1" in stats) == (index in (3, 5))
    stage = tiny.make_stage("mapper", steps=6, lambda_adv=0.0)
    assert stage.adversarial_from == 6
    assert set(stage.modules) == set(stage.optimizers) == {"mapper"}  # no discriminator is kept


def test_mapper_weights() -> None:
    stage = tiny.make_stage("mapper", steps=4, adv_phase=0.5, lambda_recon=3.0, lambda_recon_adv=5.0, lambda_adv=7.0, r1_gamma=6.0)
    seen, stats = totals(stage, 0)
    assert seen == [("mapper", pytest.approx(3 * stats["loss/recon"], rel=1e-5))]
    seen, stats = totals(stage, 2)
    assert seen[0] == ("mapper", pytest.approx(5 * stats["loss/recon"] + 7 * stats["loss/adv"], rel=1e-5))
    assert seen[1] == ("discriminator", pytest.approx(stats["d/loss"] + 6 / 2 * 2 * stats["d/r1"], rel=1e-4))


@pytest.mark.parametrize("kind", ["soft", "hard", "style-prior"])
def test_mapper_learns_through_the_rest(kind: str) -> None:
    """L_adv alone reaches the mapper's weights through rearranger and generator, in either handover."""
    stage = tiny.use_sgd(tiny.make_stage("mapper", steps=2, adv_phase=1.0, lambda_recon_adv=0.0, proxy_mask_mode=kind))
    before = {k: v.clone() for k, v in stage.mapper.state_dict().items() if k in dict(stage.mapper.named_parameters())}
    stage.step(run_of(stage))
    assert "tail.weight" in tiny.differing(before, dict(stage.mapper.named_parameters()))


def test_mapper_with_labels_resumes_exactly(tmp_path: Path) -> None:
    """2N steps = N + resume + N over both phases of L_label, the network that reads pictures included."""
    config = {"lambda_label": 5.0, "label_phase": 0.5, "lambda_adv": 0.0, "cosine_decay": True}
    whole = tiny.state(tiny.run(tiny.make_stage("mapper", **config), tmp_path / "whole"))
    for steps in (2, 4, 6):
        parts = tiny.state(tiny.run(tiny.make_stage("mapper", **config), tmp_path / "parts", steps=steps))
    assert any(key.startswith("auxiliary") for key in whole)
    assert tiny.differing(whole, parts) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_generated_pictures_do_not_depend_on_what_was_needed_before(dtype: torch.dtype) -> None:
    """One at a time, in any order, or many at once: the same bytes, as after a stop, when other ones are needed first."""
    bundle = Bundle.load(tiny.EMBEDDED_BUNDLE)  # in whose pictures a change of the batch shows
    assert bundle.segmenter is not None
    labeler = SegmenterLabeler(bundle.split_generator(), bundle.segmenter)
    order = torch.randperm(26, generator=torch.Generator().manual_seed(0)).tolist()
    found = []
    for requests in ([range(26)], [[number] for number in order], [order[:5], order[3:20], order]):
        made = GeneratedImages(labeler, 26)  # the last block is a short one
        made.to(torch.device("cpu"), dtype)
        for request in requests:
            made.masks(list(request))
        found.append((made.images(range(26)), made.masks(range(26))))
    for pictures, masks in found[1:]:
        assert torch.equal(pictures, found[0][0])
        assert torch.equal(masks, found[0][1])


def test_class_weights_count_whole_blocks() -> None:
    """Else most pictures would be made for a few hundred that are counted."""
    stage = tiny.make_stage("mapper", lambda_label=1.0)
    assert stage.auxiliary.weight.shape == (tiny.N,)
    assert sum(stage.auxiliary.generated._known) * BLOCK == COUNTED


def test_mapper_with_labels_phases() -> None:
    """First the network that reads pictures learns, then it stands still and the mapper hears it."""
    stage = tiny.make_stage("mapper", steps=6, lambda_label=5.0, label_phase=0.5, lambda_adv=0.0, lambda_recon=3.0)
    assert stage.label_from == 3
    run = run_of(stage)
    for index in range(6):
        run.index = index
        before = {k: v.clone() for k, v in stage.auxiliary.net.state_dict().items()}
        stage.step(run)
        stats = run.take_stats()
        assert ("loss/cross_entropy" in stats) == bool(tiny.differing(before, stage.auxiliary.net.state_dict())) == (index < 3)
        assert ("loss/label" in stats) == (index >= 3)
    seen, stats = totals(stage, 1)
    assert seen == [
        ("auxiliary", pytest.approx(stats["loss/cross_entropy"], rel=1e-5)),
        ("mapper", pytest.approx(3 * stats["loss/recon"], rel=1e-5)),
    ]
    seen, stats = totals(stage, 4)
    assert seen == [("mapper", pytest.approx(3 * stats["loss/recon"] + 5 * stats["loss/label"], rel=1e-5))]


def test_auxiliary_segmenter_learns_the_segmenters_labels(tmp_path: Path) -> None:
    stage = tiny.make_stage("mapper", steps=160, lambda_label=1.0, label_phase=0.0, lambda_adv=0.0)
    tiny.run(stage, tmp_path, steps=160, batch=2, checkpoint_every=1000)
    w = stage.split.w(torch.randn(16, tiny.Z, generator=torch.Generator().manual_seed(9)))
    with torch.no_grad():
        labels, pictures = stage.source.labeler.labels_and_pictures(w)
        read = stage.auxiliary.net(pictures).argmax(dim=1)
    assert torch.equal(labels, stage.source.labeler(w))
    share = labels.flatten().bincount().max() / labels.numel()  # of the most frequent label: what a guess has
    assert float((read == labels).float().mean()) > float(share) + 0.02


@pytest.mark.parametrize("kind", ["soft", "hard", "style-prior"])
def test_mapper_hears_what_is_painted(kind: str) -> None:
    """L_label alone reaches the mapper's weights through rearranger, generator and reading; what is soft is lowered by following it."""
    stage = tiny.make_stage("mapper", steps=1, lambda_label=1.0, label_phase=1.0, lambda_recon=0.0, lambda_adv=0.0, proxy_mask_mode=kind)
    stage = tiny.use_sgd(stage, rate=3.0)
    before = {k: v.clone() for k, v in stage.mapper.named_parameters()}
    run = run_of(stage, batch=16)
    stage.step(run)
    first = run.take_stats()["loss/label"]
    assert "tail.weight" in tiny.differing(before, dict(stage.mapper.named_parameters()))
    for _ in range(15):  # the same samples, for the step's number stays
        stage.step(run)
    if kind == "soft":
        assert run.take_stats()["loss/label"] < first
    assert not any(p.grad is not None for p in stage.auxiliary.net.parameters())


def label_prior_stage(**config: object) -> MapperStage:
    """A stage whose mapper has a label prior."""
    stage = tiny.make_stage("mapper", steps=2, proxy_mask_mode="style-prior", **config)
    parts = stage.frozen, tiny.make_mapper(label_prior=True), stage.discriminator, stage.source, stage.pictures, stage.config, 2
    return MapperStage(*parts, auxiliary=stage.auxiliary)


def test_label_prior_takes_colours_out_of_the_reconstruction() -> None:
    """L_recon is that of the logits with what the sample's own style says; the mapper counts every sample that it sees."""
    stage = label_prior_stage(lambda_adv=0.0)
    run = run_of(stage, batch=16)
    stage.step(run)
    assert int(stage.mapper.counted) == 16
    pairs = stage.pairs(run, "pairs")
    assert torch.allclose(stage.mapper.cluster_counts.sum(), torch.tensor(float(pairs.proxy[0].numel())))
    logits = torch.randn(16, tiny.K, *pairs.proxy.shape[1:])
    counts = clusters_by_label(pairs.proxy, pairs.labels, tiny.K, tiny.N)
    wanted = logits + prior_at(label_prior(counts, stage.mapper.cluster_counts), shares_of(pairs.labels, pairs.proxy))
    assert torch.allclose(stage.in_own_style(logits, pairs), wanted, atol=1e-5)
    plain = tiny.make_stage("mapper")
    assert torch.equal(plain.in_own_style(logits, pairs), logits)


def shares_of(labels: torch.Tensor, proxy: torch.Tensor) -> torch.Tensor:
    """Share of each label (B, N, h, w) at the positions of proxy masks."""
    planes = torch.nn.functional.one_hot(labels, tiny.N).permute(0, 3, 1, 2).float()
    return torch.nn.functional.avg_pool2d(planes, labels.shape[-1] // proxy.shape[-1])


def test_pictures_in_training_are_those_of_inference() -> None:
    """Both weigh the clusters by the same prior in the same style."""
    stage = label_prior_stage(lambda_adv=0.0)
    run = run_of(stage, batch=16)
    stage.step(run)
    with torch.no_grad():
        stage.mapper.tail.weight.mul_(30)
    bundle = tiny.make_bundle()
    bundle.mappers["mask"], bundle.about["proxy_mask_mode"] = stage.mapper.eval(), "style-prior"
    bundle.generator, bundle.clusters, bundle.rearranger = stage.split.generator, stage.clusters, stage.rearranger
    bundle.segmenter = stage.source.labeler.segmenter
    synth = Synthesizer(bundle, "cpu", "fp32")
    w = synth.w([1, 2, 3])
    masks = stage.source.labeler(synth.w([4, 5, 6]))
    with torch.no_grad():
        trained = stage.render(stage.mapper(masks), masks, w).clamp(-1, 1)
        style = synth.encode_styles(w)
        painted = mask_inputs(masks)
        used = synth.render(synth.proxy_mask(synth.map(masks), style, painted), style, painted)
        coarse = synth.render(synth.proxy_mask(synth.map(masks), style), style, painted)
    assert torch.allclose(trained, used, atol=1e-4)
    assert not torch.allclose(trained, coarse, atol=1e-2)  # without the mask: the prior that drawings have


def test_labels_with_sides_are_not_mirrored() -> None:
    """A mirrored left eye is no right eye of the generator's, so that pairs are as they are; the auxiliary segmenter swaps the labels."""
    split = tiny.make_cut()
    clusters = tiny.make_clusters(split)
    parts = {
        "config": MapperConfig(lambda_label=1.0, label_phase=1.0),
        "frozen": Frozen(split, clusters, tiny.make_rearranger(split, clusters)),
        "segmenter": tiny.make_segmenter(split),
        "loop": tiny.loop_config(),
    }
    for sides in (False, True):
        labels = tiny.LABELS if sides else LabelSet.of([(f"class {i}", f"#0000{i:02x}") for i in range(tiny.N)])  # ground, left, right, top
        made = MapperDefinition(labels=labels, **parts)
        assert made.config.flip is not sides
        auxiliary = made.auxiliary()
        assert auxiliary is not None
        assert auxiliary.steps == 1  # at least, so that L_label is not of an untrained network
        assert (auxiliary.mirrored is not None) is sides
