"""The supervised rival at toy size: its losses, exact resume, snapshots, and scoring by the evaluation."""

import json
from pathlib import Path

import pytest
import torch
from baselines.oasis import train
from baselines.oasis.networks import OasisDiscriminator, OasisGenerator, reestimate
from baselines.oasis.painter import OasisPainter
from baselines.oasis.stage import OasisConfig, balance, label_mix, pixel_loss
from baselines.oasis.train import TrainOasis, snapshots, train_oasis

from proxymask.core.errors import ProxymaskError
from proxymask.core.files import load_tensors
from proxymask.data.dataset import ImageSet
from proxymask.evaluation import MaskToImageBenchmark
from proxymask.evaluation.judge import SHIPPED, Judge
from proxymask.models.oasis_mapper import PlainBatchNorm
from proxymask.training.checkpoint import checkpoints

SMALL = OasisConfig(width=2, z_dim=4, hidden=4)


def settings(out: Path, **more: object) -> TrainOasis:
    fixed = {"steps": 4, "batch": 2, "snapshot_every": 2, "device": "cpu", "precision": "fp32", "config": SMALL}
    return TrainOasis(out=out, **{**fixed, **more})


@pytest.fixture(autouse=True)
def few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "PASSES", 3)


def test_networks() -> None:
    torch.manual_seed(0)
    generator, discriminator = OasisGenerator(5, 32, width=2, z_dim=4, hidden=4), OasisDiscriminator(5, 32, width=2)
    masks = torch.randint(0, 5, (2, 32, 32))
    picture = generator(masks, torch.randn(2, 4))
    assert picture.shape == (2, 3, 32, 32)
    assert picture.abs().max() <= 1
    assert discriminator(picture).shape == (2, 6, 32, 32)
    assert [block.conv0.in_channels for block in generator.blocks] == [32, 32, 32, 16, 8, 4]
    assert generator.blocks[0].norm0.shared.in_channels == 5 + 4  # noise in every SPADE layer
    discriminator(picture).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for net in (generator, discriminator) for p in net.parameters())
    # the noise is heard once the weights are of a size that training gives them
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(20)
    generator.eval()
    a, b = (generator(masks[:1], torch.randn(1, 4)) for _ in range(2))
    assert (a - b).abs().max() > 1e-3
    with pytest.raises(ProxymaskError, match="power of two"):
        OasisGenerator(5, 24)


def test_losses() -> None:
    masks = torch.tensor([[[0, 0, 0, 2]]])
    weights = balance(masks, 3)
    assert weights.tolist() == pytest.approx([4 / 3 / 2, 0.0, 2.0, 1.0])
    assert float(weights[masks].mean()) == pytest.approx(1.0)
    logits = torch.randn(1, 4, 1, 4)
    wanted = -(logits.log_softmax(1).gather(1, masks[:, None])[:, 0] * weights[masks]).mean()
    assert float(pixel_loss(logits, masks, weights)) == pytest.approx(float(wanted))
    masks = torch.randint(0, 3, (40, 6, 6))
    mixed = label_mix(masks, 3, torch.Generator().manual_seed(0))[:, 0]
    for picture, mask in zip(mixed, masks, strict=True):  # every class is wholly one or the other
        assert all(len(picture[mask == label].unique()) <= 1 for label in range(3))
    assert 0.3 < float(mixed.float().mean()) < 0.7


def test_reestimated_statistics_are_plain_means() -> None:
    torch.manual_seed(0)
    generator = OasisGenerator(3, 32, width=1, z_dim=2, hidden=2)
    batches = [(torch.randint(0, 3, (2, 32, 32)), torch.randn(2, 2)) for _ in range(3)]
    seen: list[torch.Tensor] = []
    norm = generator.blocks[0].norm0.norm
    hook = norm.register_forward_hook(lambda module, given, out: seen.append(given[0].mean(dim=(0, 2, 3))))
    reestimate(generator, batches)
    hook.remove()
    assert torch.allclose(norm.running_mean, torch.stack(seen).mean(0), atol=1e-6)
    assert not generator.training
    assert all(m.momentum == 0.1 for m in generator.modules() if isinstance(m, PlainBatchNorm))


def test_training_goes_on_exactly(drawn: Path, tmp_path: Path) -> None:
    whole = train_oasis(settings(tmp_path / "whole", data=drawn, size=32))
    train_oasis(settings(tmp_path / "parts", data=drawn, size=32, steps=2))
    parts = train_oasis(settings(tmp_path / "parts", data=drawn, size=32))
    states = [load_tensors(checkpoints(tmp_path / run)[-1] / "state.safetensors") for run in ("whole", "parts")]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    a, b = (load_tensors(folder / "model.safetensors") for folder in (whole, parts))
    assert all(torch.equal(a[name], b[name]) for name in a)
    found = snapshots(tmp_path / "parts")
    assert [about["step"] for _, about in found] == [2, 4]
    # as a painter, scored like anything else
    judge, real = Judge.load(SHIPPED / "avatars"), ImageSet.open(drawn, 32)
    painter = OasisPainter(whole, "cpu", "fp32")
    first = painter.generate(real.masks([0, 0]), [1, 2])
    assert torch.equal(first, painter.generate(real.masks([0, 0]), [1, 2]))
    row = MaskToImageBenchmark(judge, real, real, count=8).score_model(painter)
    assert row["count"] == 8
    assert 0 <= row["miou"] <= 1
    assert row["frechet_judge"] > 1
    json.dumps(row, allow_nan=False)


def test_pseudo_labels(tiny_bundle: Path, drawn: Path, tmp_path: Path) -> None:
    newest = train_oasis(settings(tmp_path / "run", bundle=str(tiny_bundle), steps=2))
    assert json.loads((newest / "snapshot.json").read_text())["pairs"] == "PseudoPairs"
    with pytest.raises(ProxymaskError, match="one of the two"):
        train_oasis(settings(tmp_path / "other", bundle=str(tiny_bundle), data=drawn))
    wider = settings(tmp_path / "run", bundle=str(tiny_bundle), config=OasisConfig(width=4, z_dim=4, hidden=4))
    with pytest.raises(ProxymaskError, match="run"):
        train_oasis(wider)
