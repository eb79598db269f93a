"""Losses against their equations in closed form."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from proxymask.training import losses


def randn(*shape: int, seed: int = 0, **kw: object) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **kw)


def test_adversarial() -> None:
    fake, real = randn(6, 1).requires_grad_(), randn(6, 1, seed=1).requires_grad_()
    wanted = sum(math.log1p(math.exp(-x)) for x in fake.flatten().tolist()) / 6
    assert float(losses.adversarial_g(fake).detach()) == pytest.approx(wanted, rel=1e-6)
    losses.adversarial_g(fake).backward()
    assert torch.allclose(fake.grad, -torch.sigmoid(-fake) / 6)
    fake.grad = None
    loss = losses.adversarial_d(real, fake)
    wanted = sum(
        math.log1p(math.exp(-r)) + math.log1p(math.exp(f)) for r, f in zip(real.flatten().tolist(), fake.flatten().tolist(), strict=True)
    )
    assert float(loss.detach()) == pytest.approx(wanted / 6, rel=1e-6)
    loss.backward()
    assert torch.allclose(fake.grad, torch.sigmoid(fake) / 6)
    assert torch.allclose(real.grad, -torch.sigmoid(-real) / 6)
    assert math.isfinite(float(losses.adversarial_g(torch.tensor([[-1e4]]))))  # no exp overflow
    assert losses.adversarial_g(randn(2, 1).bfloat16()).dtype == torch.float32


def test_r1_of_a_known_discriminator() -> None:
    a = randn(3, 4, 4).requires_grad_()
    x = randn(5, 3, 4, 4, seed=1).requires_grad_()
    value = losses.r1((a * x.square()).sum(dim=(1, 2, 3))[:, None], x)
    wanted = (2 * a * x).square().sum(dim=(1, 2, 3)).mean()
    assert torch.allclose(value, wanted)
    (got,) = torch.autograd.grad(value, a)
    assert torch.allclose(got, (8 * a * x.square()).mean(dim=0), rtol=1e-4)  # the penalty itself trains the discriminator


def test_path_length_of_a_linear_generator() -> None:
    layers, dim, side = 3, 5, 8
    a = randn(layers, dim, 3 * side * side).requires_grad_()
    ws, y = randn(2, layers, dim, seed=1).requires_grad_(), randn(2, 3, side, side, seed=2)
    picture = torch.einsum("bld,ldp->bp", ws, a).view(2, 3, side, side)
    lengths = losses.path_length(picture, ws, y)
    pulled = torch.einsum("ldp,bp->bld", a, y.flatten(1)) / side  # J^T y, y / side
    wanted = pulled.square().sum(dim=2).mean(dim=1).sqrt()
    assert torch.allclose(lengths, wanted, rtol=1e-5)
    (got,), (reference,) = torch.autograd.grad(lengths.sum(), a), torch.autograd.grad(wanted.sum(), a)
    assert torch.allclose(got, reference, rtol=1e-4, atol=1e-6)


def test_mask_loss() -> None:
    b, c, k, r, tau = 2, 6, 4, 5, 0.2
    f, centroids = randn(b, c, r, r).requires_grad_(), F.normalize(randn(k, c, seed=1), dim=1)
    ids = torch.randint(k, (b, r, r), generator=torch.Generator().manual_seed(2))
    terms = []
    for n in range(b):
        for y in range(r):
            for x in range(r):
                v = f.detach()[n, :, y, x].double()
                scores = centroids.double() @ (v / v.norm()) / tau
                terms.append(torch.logsumexp(scores, 0) - scores[ids[n, y, x]])
    loss = losses.mask_loss(f, ids, centroids, tau)
    assert float(loss.detach()) == pytest.approx(float(torch.stack(terms).mean()), rel=1e-5)
    weights = F.one_hot(ids, k).permute(0, 3, 1, 2).float()
    assert torch.allclose(losses.mask_loss(f, weights, centroids, tau), loss)
    mixed = losses.mask_loss(f, 0.5 * weights + 0.5 * weights.roll(1, dims=1), centroids, tau)
    assert torch.allclose(mixed, (loss + losses.mask_loss(f, (ids + 1) % k, centroids, tau)) / 2)
    some = ids.masked_fill(torch.arange(r) == 2, -100)  # a column left out adds nothing and takes no weight from the others
    kept = torch.stack(terms).view(b, r, r)[:, :, [0, 1, 3, 4]].sum() / (b * r * r)
    assert float(losses.mask_loss(f, some, centroids, tau).detach()) == pytest.approx(float(kept), rel=1e-5)
    assert float(losses.mask_loss(f, torch.full_like(ids, -100), centroids, tau).detach()) == 0
    (grad,) = torch.autograd.grad(loss, f)
    assert float((grad * f.detach()).sum(dim=1).abs().max()) < 1e-6  # only the direction counts: no pull along a feature
    assert torch.allclose(losses.mask_loss(7 * f, ids, centroids, tau), loss)
    for _ in range(200):
        (grad,) = torch.autograd.grad(losses.mask_loss(f, ids, centroids, tau), f)
        f = (f.detach() - 20 * grad).requires_grad_()
    scores = torch.einsum("bchw,kc->bkhw", f, centroids)
    assert torch.equal(scores.argmax(dim=1), ids)  # its minimum has the queried cluster everywhere


def test_self_losses() -> None:
    target, other = randn(2, 3, 4, 4), randn(2, 3, 4, 4, seed=1)
    assert float(losses.relative_l1(target, target)) == float(losses.picture_l1(target, target)) == 0
    target[1] *= 5
    wanted = float(sum((o - t).abs().mean() / t.abs().mean() for o, t in zip(other, target, strict=True)) / 2)
    assert float(losses.relative_l1(other, target)) == pytest.approx(wanted, rel=1e-6)
    assert float(losses.relative_l1(9 * other, 9 * target)) == pytest.approx(wanted, rel=1e-5)  # without unit
    assert float(losses.picture_l1(other, target)) == pytest.approx(float((other - target).abs().mean()))
    assert math.isfinite(float(losses.relative_l1(other, torch.zeros_like(target))))


def test_reconstruction() -> None:
    logits, ids = randn(2, 4, 3, 3).requires_grad_(), torch.randint(4, (2, 3, 3), generator=torch.Generator().manual_seed(1))
    loss = losses.reconstruction(logits, ids)
    wanted = -logits.log_softmax(dim=1).gather(1, ids[:, None]).mean()
    assert torch.allclose(loss, wanted)
    loss.backward()
    hot = F.one_hot(ids, 4).permute(0, 3, 1, 2)
    assert torch.allclose(logits.grad, (logits.softmax(dim=1) - hot) / ids.numel(), atol=1e-7)


def test_reconstruction_with_a_tilt_makes_the_rare_likelier() -> None:
    shares, tau = torch.tensor([0.7, 0.2, 0.1]), 0.6
    logits = torch.zeros(1, 3, 10, 10).requires_grad_()
    ids = torch.cat([torch.full((n,), k) for k, n in enumerate((70, 20, 10))]).view(1, 10, 10)
    bias = torch.zeros(3, requires_grad=True)
    descent = torch.optim.LBFGS([bias], max_iter=100, tolerance_grad=1e-9)

    def loss() -> torch.Tensor:
        descent.zero_grad()
        value = losses.reconstruction(logits.detach() + bias[:, None, None], ids, tau * shares.log())
        value.backward()
        return value

    descent.step(loss)
    wanted = shares ** (1 - tau)
    assert torch.allclose(bias.softmax(dim=0), wanted / wanted.sum(), atol=1e-4)


def test_label_is_a_weighted_cross_entropy() -> None:
    read, target, weight = (
        randn(2, 3, 4, 4),
        torch.randint(3, (2, 4, 4), generator=torch.Generator().manual_seed(2)),
        torch.tensor([1.0, 0.5, 4.0]),
    )
    target[0, 0] = -100
    chances = read.softmax(dim=1)
    wanted = sum(
        -float(weight[target[b, y, x]]) * math.log(chances[b, target[b, y, x], y, x])
        for b in range(2)
        for y in range(4)
        for x in range(4)
        if target[b, y, x] >= 0
    )
    assert float(losses.label_loss(read, target, weight)) == pytest.approx(wanted / 32, rel=1e-5)  # what nobody labelled counts nothing


def test_distillation_is_the_divergence() -> None:
    ours = randn(2, 5, 3, 3)
    theirs = ours.flip(1) * 2
    p, q = theirs.softmax(dim=1), ours.softmax(dim=1)
    assert float(losses.distillation_loss(ours, theirs)) == pytest.approx(float((p * (p / q).log()).sum(dim=1).mean()), rel=1e-4)
    assert float(losses.distillation_loss(theirs + 3, theirs)) == pytest.approx(0, abs=1e-5)
