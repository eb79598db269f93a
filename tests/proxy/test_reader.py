"""The network that takes colour out of the features before they are clustered."""

from pathlib import Path

import pytest
import torch

import tiny
from proxymask import losses
from proxymask.cli import main
from proxymask.errors import ProxymaskError
from proxymask.generators.cut import CutGenerator
from proxymask.proxy.proxy_mask import ProxyClusters, fit_proxy_clusters
from proxymask.proxy.reader import LayoutReader
from proxymask.stages import cluster_features, learn_reader
from proxymask.training.reader import ReaderConfig, ReaderStage

CPU = torch.device("cpu")
CONFIG = ReaderConfig(hidden=16, layers=(2, 3), target=2, steps=200, batch=8, learning_rate=0.02)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> LayoutReader:
    found = learn_reader(CONFIG, tiny.make_cut(), 0, "cpu", "fp32", tmp_path_factory.mktemp("reader") / "run")
    assert found is not None
    return found


@torch.no_grad()
def looks(cut: CutGenerator, stay: int, count: int = 6) -> torch.Tensor:
    """Features (count, C, r, r) of one layout (the first ``stay`` layers) in several looks."""
    ws = cut.generator.broadcast(cut.w(cut.generator.z(range(50, 50 + count))))
    return cut.features(torch.cat([ws[:1, :stay].expand(count, -1, -1), ws[:, stay:]], dim=1)).features


def spread(directions: torch.Tensor) -> float:
    """How far unit features at the same position lie from their mean over the samples, 0 to 1."""
    unit = torch.nn.functional.normalize(directions, dim=1)
    return float(1 - unit.mean(dim=0).norm(dim=0).mean())


def test_it_takes_the_look_out_and_leaves_the_layout(reader: LayoutReader) -> None:
    cut = tiny.make_cut()
    one_layout = looks(cut, 2)
    with torch.no_grad():
        assert spread(reader(one_layout)) < 0.7 * spread(one_layout)
        # what remains is no constant: it tells the mean look's features of other samples, better than their mean does
        ws = cut.generator.broadcast(cut.w(cut.generator.z(range(60, 92))))
        rest = cut.generator.mapping.w_avg.expand_as(ws[:, 2:])
        shown, wanted = cut.features(ws).features, cut.features(torch.cat([ws[:, :2], rest], dim=1)).features
        error = float(losses.direction(reader(shown), wanted))
        assert error < 0.8 * float(losses.direction(shown, wanted))
        assert error < 0.9 * float(losses.direction(wanted.mean(dim=0, keepdim=True).expand_as(wanted), wanted))


def test_only_directions_count(reader: LayoutReader, cut: CutGenerator, w: torch.Tensor) -> None:
    features = cut.features(w).features
    read = reader(features)
    assert read.shape == features.shape
    assert torch.allclose(reader(7 * features), read, atol=1e-4)


def test_pairs_are_one_layout_in_two_looks(cut: CutGenerator) -> None:
    """A sample is shown with another's later layers, and wanted with the mean's; the first layers are its own in both."""
    config = ReaderConfig(hidden=8, layers=(1,), target=1, batch=4)
    stage = ReaderStage(tiny.make_cut(), LayoutReader(16, 8), config)
    run = tiny.loop.Run(tiny.loop_config(steps=1), stage)
    shown, wanted = stage.pairs(run)
    z = torch.randn(4, 2, tiny.Z, generator=run.rng("samples"))
    own, other = (cut.generator.broadcast(cut.w(z[:, i])) for i in (0, 1))
    mean = cut.generator.broadcast(cut.generator.mapping.w_avg[None]).expand_as(own)

    def joined(rest: torch.Tensor) -> torch.Tensor:
        return cut.features(torch.cat([own[:, :1], rest[:, 1:]], dim=1)).features

    assert torch.allclose(wanted, joined(mean), atol=1e-5)
    whole = cut.features(own).features
    kinds = [
        (torch.allclose(a, b, atol=1e-5), torch.allclose(a, c, atol=1e-5)) for a, b, c in zip(shown, joined(other), whole, strict=True)
    ]
    assert all(sum(kind) == 1 for kind in kinds)


def test_clusters_with_a_reader(reader: LayoutReader, cut: CutGenerator, w: torch.Tensor, tmp_path: Path) -> None:
    clusters = cluster_features(cut, tiny.K, 16, 0, CPU, reader=reader)
    features = cut.features(w).features
    plain = fit_proxy_clusters(lambda: [reader(cut.features(cut.w(cut.generator.z(range(16)))).features)], tiny.K, tiny.CUT)
    assert clusters.reader is not None
    assert plain.reader is None
    with torch.no_grad():
        unit = torch.nn.functional.normalize(reader(features), dim=1)
    assert torch.equal(clusters.assign(features), torch.einsum("bchw,kc->bkhw", unit, clusters.centroids).argmax(dim=1))
    assert torch.equal(clusters.scores(features).argmax(dim=1), clusters.assign(features))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(clusters.assign(features), clusters.assign(features))
    again = ProxyClusters.from_pretrained(clusters.save_pretrained(tmp_path / "clusters", half=True))
    assert torch.equal(again.assign(features), clusters.assign(features))
    assert "colours taken out" in again.report()
    # fewer look-alikes: one layout in several looks gets the same proxy mask more often than without
    without = cluster_features(cut, tiny.K, 16, 0, CPU)
    same = [float((c.assign(looks(cut, 2)) == c.assign(looks(cut, 2))[:1]).float().mean()) for c in (clusters, without)]
    assert same[0] > same[1]


def test_going_on_changes_nothing(tmp_path: Path) -> None:
    short = ReaderConfig(hidden=8, layers=(2,), target=2, steps=6, batch=4)
    straight = learn_reader(short, tiny.make_cut(), 0, "cpu", "fp32", tmp_path / "a")
    stage = ReaderStage(tiny.make_cut(), LayoutReader(16, 8), short)
    assert stage.grid(tiny.loop.Run(tiny.loop_config(), stage)) is None
    again = learn_reader(short, tiny.make_cut(), 0, "cpu", "fp32", tmp_path / "a")  # from its last checkpoint: nothing left to do
    assert straight is not None
    assert again is not None
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), again.parameters(), strict=True))


def test_layers_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProxymaskError, match="1 to 5"):
        learn_reader(ReaderConfig(hidden=8, layers=(9,)), tiny.make_cut(), 0, "cpu", "fp32", tmp_path)
    assert learn_reader(ReaderConfig(), tiny.make_cut(), 0, "cpu", "fp32", tmp_path) is None


def test_the_verb(tmp_path: Path) -> None:
    tiny.make_generator().save_pretrained(tmp_path / "generator")
    words = ["cluster", "--generator", str(tmp_path / "generator"), "--clusters", "4", "--samples", "4", "--cut", "8", "--device", "cpu"]
    assert main([*words, "--reader", "8", "--reader-steps", "3", "--out", str(tmp_path / "with")]) == 0
    assert main([*words, "--reader", "0", "--out", str(tmp_path / "without")]) == 0
    readers = [ProxyClusters.from_pretrained(tmp_path / name / "clusters").reader for name in ("with", "without")]
    assert readers[0] is not None
    assert readers[1] is None
