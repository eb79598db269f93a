"""What a style lacks is lent to it, and nothing else changes."""

import pytest
import torch

import tiny
from proxymask.style_bank import StyleBank
from proxymask.synthesizer import Synthesizer

BANK = StyleBank(samples=4, layers=2, tokens=20, unlike=1.1)


@pytest.fixture(scope="module")
def synth() -> Synthesizer:
    """A style here has two or three of the five clusters in numbers that count."""
    return Synthesizer(tiny.make_bundle(), device="cpu", precision="fp32")


def styles(synth: Synthesizer):
    w = synth.w(range(12))
    state = synth.cut.features(w)
    with torch.no_grad():
        return w, state, synth.bundle.rearranger.encode_style(state)


def lend(synth: Synthesizer, bank: StyleBank = BANK):
    w, _, own = styles(synth)
    return own, bank.lend(synth.cut, synth.bundle.clusters, synth.bundle.rearranger, w, own)


def test_what_a_style_has_is_its_own(synth: Synthesizer) -> None:
    own, keys = lend(synth)
    n = own.key.shape[1]
    assert keys.key.shape[1] == keys.value.shape[1] == n + BANK.tokens
    assert torch.equal(keys.key[:, :n], own.key)
    assert torch.equal(keys.value[:, :n], own.value)
    assert torch.equal(keys.rgb, own.rgb)
    had = synth.bundle.clusters.available(own.counts)
    assert torch.equal(keys.counts[had], own.counts[had])


def test_what_it_lacks_comes_from_mixed_samples(synth: Synthesizer) -> None:
    clusters = synth.bundle.clusters
    w, state, own = styles(synth)
    _, keys = lend(synth)
    before, after = clusters.available(own.counts), clusters.available(keys.counts)
    assert bool((after | ~before).all())  # nothing is lost
    gained = after & ~before
    assert gained.any()
    unit = torch.nn.functional.normalize(keys.value[:, own.key.shape[1] :, : state.features.shape[1]], dim=2)
    of = torch.einsum("bnc,kc->bnk", unit, clusters.centroids).argmax(dim=2)
    for b in range(len(w)):
        if gained[b].any():
            assert set(of[b].tolist()) == set(gained[b].nonzero().flatten().tolist())  # each of them, and no other
    assert torch.equal(lend(synth)[1].value, keys.value)  # the same every time


def test_none_and_few_tokens(synth: Synthesizer) -> None:
    own, same = lend(synth, StyleBank(samples=0))
    assert same is own
    _, few = lend(synth, StyleBank(samples=4, layers=2, tokens=1, unlike=1.1))
    assert few.key.shape[1] == own.key.shape[1] + 1


def test_choice_is_even() -> None:
    bank, of = StyleBank(tokens=9), torch.tensor([0] * 40 + [1] * 4 + [2] * 20)
    chosen = bank._choose(of, torch.tensor([True, True, False]))
    assert len(chosen) == 9
    assert of[chosen].bincount(minlength=3).tolist() in ([5, 4, 0], [4, 4, 0], [5, 4, 0])
    assert chosen.unique().numel() == 9
    assert len(bank._choose(of, torch.tensor([False, False, False]))) == 9
    crowd = StyleBank(tokens=2)._choose(torch.arange(5), torch.ones(5, dtype=torch.bool))
    assert crowd.tolist() == [0, 1]


def test_a_style_without_a_bank_paints_as_before() -> None:
    bundle = tiny.make_bundle()
    plain = Synthesizer(bundle, "cpu", "fp32")
    assert plain.bank.samples == 0  # bundles made before there were banks
    bundle.about["style_bank"] = {"samples": 3, "layers": 2, "tokens": 16, "unlike": 1.1}
    lent = Synthesizer(bundle, "cpu", "fp32")
    n = plain.make_style(seed=1).keys.key.shape[1]
    assert lent.make_style(seed=1).keys.key.shape[1] == n + 16
    own = bundle.clusters.one_hot(bundle.clusters.assign(lent.make_style(seed=1).state.features))
    assert not torch.equal(lent.make_style(seed=1).keys.counts, plain.make_style(seed=1).keys.counts)
    a, b = plain.render(own, plain.make_style(seed=1)), lent.render(own, lent.make_style(seed=1))
    assert float((a - b).abs().max()) < 0.1  # a sample under its own mask asks for nothing that is lent


def test_what_has_a_stand_in_is_not_lent(synth: Synthesizer) -> None:
    clusters = synth.bundle.clusters
    likeness = clusters.likeness()
    assert torch.allclose(likeness.diagonal(), torch.ones(tiny.K))
    own, everything = lend(synth)
    had, more = clusters.available(own.counts), clusters.available(everything.counts)
    best = {(b, k): float(likeness[k, had[b]].max()) for b, k in (more & ~had).nonzero().tolist()}
    limit = max(best.values())  # whatever has the best stand-in goes without, all else is lent as before
    _, less = lend(synth, StyleBank(samples=4, layers=2, tokens=20, unlike=limit))
    fewer = clusters.available(less.counts)
    assert {(b, k) for b, k in (fewer & ~had).nonzero().tolist()} == {place for place, value in best.items() if value < limit}
    assert bool((fewer | ~had).all())
