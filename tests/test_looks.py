"""The table of looks: which clusters are the same place in other colours, and what a mapper's answer becomes by it."""

import pytest
import torch

import tiny
from proxymask.layers import frozen
from proxymask.mappers import load_mapper
from proxymask.mappers.looks import LEAST, Looks, look_table


def test_a_table_says_how_often_clusters_change() -> None:
    cut = tiny.make_cut()
    clusters = tiny.make_clusters(cut)
    table = look_table(cut, clusters, layers=2, samples=40)
    assert torch.allclose(table.sum(dim=1), torch.ones(tiny.K), atol=1e-5)
    assert float(table.min()) >= 0
    assert 0 < float((table - torch.eye(tiny.K)).abs().max()) <= 1
    assert torch.equal(table, look_table(cut, clusters, layers=2, samples=40))
    # where all layers stay nothing changes
    everything = cut.generator.broadcast(cut.w(torch.zeros(1, tiny.Z))).shape[1]
    assert torch.allclose(look_table(cut, clusters, layers=everything, samples=40), torch.eye(tiny.K), atol=1e-6)


def test_a_cluster_that_never_occurs_stays_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = tiny.make_cut()
    clusters = tiny.make_clusters(cut)
    monkeypatch.setattr(clusters, "assign", lambda features: (features[:, 0] > features[:, 0].median()).long())
    table = look_table(cut, clusters, layers=1, samples=16)
    assert torch.equal(table[2:], torch.eye(tiny.K)[2:])
    assert float(table[:2, :2].min()) > 0


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_an_answer_in_all_looks(share: float) -> None:
    looks, logits = Looks(3, share), torch.randn(2, 3, 4, 4)
    looks.table.copy_(torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]))
    said = looks(logits).exp()
    p = logits.softmax(dim=1)
    both = (p[:, 0] + p[:, 1]) / 2  # the first two are the same place in two looks
    assert torch.allclose(said[:, 0], (1 - share) * p[:, 0] + share * both, atol=1e-6)
    assert torch.allclose(said[:, 2], p[:, 2], atol=1e-6)
    assert float(Looks(3, 1.0)(torch.tensor([[1e4, 0.0, 0.0]])[:, :, None, None]).min()) == pytest.approx(torch.tensor(LEAST).log().item())


def test_a_mapper_keeps_its_table(tmp_path) -> None:
    mapper = tiny.make_mapper(looks=0.4).eval()
    assert mapper.looks is not None
    mapper.looks.table.copy_(torch.rand(tiny.K, tiny.K).softmax(dim=1))
    mapper.save_pretrained(tmp_path)
    mask = torch.randint(tiny.N, (2, tiny.SIZE, tiny.SIZE))
    again = load_mapper(tmp_path)
    with torch.no_grad():
        wanted = mapper(mask)
        assert torch.allclose(wanted, mapper.looks(mapper.answer(mask)))
        assert not torch.allclose(wanted, mapper.answer(mask).log_softmax(dim=1), atol=1e-3)
        assert torch.allclose(again.eval()(mask), wanted, atol=1e-2)  # weights are stored in half precision
        assert torch.allclose(frozen(mapper, torch.float32)(mask), wanted, atol=1e-4)
    assert tiny.make_mapper().looks is None
