"""The rearranger and its layers: its function before training, and that all its parameters get gradients."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import tiny
from proxymask.core.errors import ProxymaskError
from proxymask.models.layers import EqualConv, ResidualBlock, position_encoding
from proxymask.models.proxy_clusters import ProxyClusters
from proxymask.models.rearranger import Rearranger
from proxymask.models.split_generator import SplitGenerator, SplitState
from proxymask.models.stylegan2_ops import downsample2, fir_kernel, upsample2
from proxymask.training.rearranger import RearrangerConfig

C, R, K = 12, 8, 5
N = R * R


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


CENTROIDS = torch.linalg.qr(randn(C, C))[0][:K]  # orthogonal: five clusters well apart


def masks(seed: int, batch: int = 3) -> Tensor:
    """Ids (B, R, R) with every cluster in each sample."""
    rng = torch.Generator().manual_seed(seed)
    return torch.stack([torch.arange(N)[torch.randperm(N, generator=rng)].view(R, R) % K for _ in range(batch)])


def hot(ids: Tensor) -> Tensor:
    return F.one_hot(ids, K).permute(0, 3, 1, 2).float()


def clustered(ids: Tensor, seed: int, spread: float = 0.1) -> SplitState:
    """Features of lengths 0.5 to 2 near the centroid of each position's id, and an RGB that names the position."""
    length = 0.5 + 1.5 * torch.rand(ids.shape, generator=torch.Generator().manual_seed(seed))
    noise = spread * randn(*ids.shape, C, seed=seed)
    features = ((CENTROIDS[ids] + noise) * length[..., None]).permute(0, 3, 1, 2).contiguous()
    return SplitState(features, randn(len(ids), 3, R, R, seed=seed + 1))


def build(seed: int = 0, **config: object) -> Rearranger:
    """An untrained rearranger: its attention is random."""
    torch.manual_seed(seed)
    rearranger = Rearranger(**{"channels": C, "resolution": R, "num_clusters": K, "position_channels": 8, "hidden": 8, **config})
    rearranger.initialize(CENTROIDS, 0.5, 1.3)
    return rearranger.eval()


def following(**config: object) -> Rearranger:
    """A rearranger whose attention follows the proxy mask."""
    return build(**config).attend_to_clusters(tiny.SHARP)


def stir(rearranger: Rearranger) -> Rearranger:
    """Random weights in place of the zeros that residual branches start with."""
    torch.manual_seed(9)
    with torch.no_grad():
        for parameter in rearranger.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return rearranger


@pytest.mark.parametrize(
    "config", [{}, {"value": "projection"}, {"rgb": "keep"}, {"rgb": "drop"}, {"add_position": True}, {"key_mask": True}]
)
def test_attention_map_equals_attention(config: dict[str, object]) -> None:
    rearranger = build(**config)
    own, target = masks(0), masks(1)
    state = clustered(own, 3)
    style, query = rearranger.encode_style(state), rearranger.encode_mask(hot(target))
    assert style.key.shape == query.query.shape == (3, N, rearranger.dim)
    weights = rearranger.attention_map(query, style)
    assert weights.shape == (3, N, N)
    assert torch.allclose(weights.sum(dim=2), torch.ones(()), atol=1e-5)
    assert bool((weights >= 0).all())
    moved = (weights @ style.value).transpose(1, 2).unflatten(2, (R, R))
    out = rearranger.attend(query, style)
    assert torch.allclose(out.features, moved[:, :C] * 0.5, atol=1e-4)  # the block after the attention starts as the identity
    if rearranger.rgb_kind == "rearrange":  # rearranged with the same weights, then filtered like an upsampled picture
        rgb = (weights @ state.rgb.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, (R, R))
        kernel = fir_kernel()
        assert torch.allclose(out.rgb, upsample2(downsample2(rgb, kernel), kernel), atol=1e-4)
    elif rearranger.rgb_kind == "keep":
        assert torch.equal(out.rgb, state.rgb)
    else:
        assert out.rgb.shape == state.rgb.shape
        assert not out.rgb.any()
    if rearranger.value_kind == "features":
        direct = (weights @ state.features.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, (R, R))
        assert torch.allclose(out.features, direct, atol=1e-4)


@pytest.mark.parametrize("config", [{}, {"add_position": True}, {"rgb": "drop"}])
def test_takes_from_the_own_cluster(config: dict[str, object]) -> None:
    """Where query and key embed the centroids, features go to the places of their clusters; with random embeddings they do not."""
    own, target = masks(0), masks(1)
    state = clustered(own, 3)
    rearranger = following(**config)
    query, style = rearranger.encode_mask(hot(target)), rearranger.encode_style(state)
    source = own.flatten(1).gather(1, rearranger.attention_map(query, style).argmax(dim=2))
    assert float((source == target.flatten(1)).float().mean()) > 0.95
    for found, low, high in ((rearranger, 0.95, 1.0), (build(), 0.0, 0.6)):
        got = torch.einsum("bchw,kc->bkhw", found(state, hot(target)).features, CENTROIDS).argmax(dim=1)
        assert low <= float((got == target).float().mean()) <= high


def test_logits() -> None:
    """The attention logits, for single pairs of positions: direction of the feature, and position."""
    rearranger = build().attend_to_clusters(20.0, 4.0)
    own, target = masks(0, 1), masks(1, 1)
    state = clustered(own, 3, spread=0.3)
    logits = (rearranger.encode_mask(hot(target)).query @ rearranger.encode_style(state).key.transpose(1, 2))[0] / rearranger.dim**0.5
    place = position_encoding(8, R, R).flatten(1)
    direction = F.normalize(state.features, dim=1)[0].flatten(1)
    for x, y in [(0, 0), (3, 50), (17, 17), (63, 8)]:
        wanted = 20 * float(CENTROIDS[target[0].flatten()[x]] @ direction[:, y]) + 4 * float(
            place[:, x] @ place[:, y] / place.square().sum(dim=0).mean()
        )
        assert float(logits[x, y].detach()) == pytest.approx(wanted, abs=1e-3)


def test_position_encoding_prefers_the_same_position() -> None:
    """Of two equal features of the cluster, the nearer one gets more attention."""
    rearranger = build().attend_to_clusters(5.0)
    ids = torch.zeros(1, R, R, dtype=torch.long)
    ids[0, :, 4:] = 1
    features = CENTROIDS[ids].permute(0, 3, 1, 2).contiguous()
    weights = rearranger.attention_map(
        rearranger.encode_mask(hot(ids)), rearranger.encode_style(SplitState(features, torch.zeros(1, 3, R, R)))
    )
    assert torch.equal(weights[0].argmax(dim=1), torch.arange(N))


def test_mirrored_inputs_give_the_mirrored_output() -> None:
    """Mirrored inputs give the mirrored output, because products of position encodings depend on distances only."""
    rearranger = following()
    state, target = clustered(masks(0), 3), hot(masks(1))
    plain = rearranger(state, target)
    for axis in (2, 3):
        both = rearranger(SplitState(state.features.flip(axis), state.rgb.flip(axis)), target.flip(axis))
        assert torch.allclose(both.features.flip(axis), plain.features, atol=1e-4)
        assert torch.allclose(both.rgb.flip(axis), plain.rgb, atol=1e-4)
    assert not torch.allclose(rearranger(state, target.flip(3)).features.flip(3), plain.features, atol=1e-2)
    with torch.no_grad():
        rearranger.position_gain.zero_()
    plain = rearranger(state, target)  # without the encoding, the order of the style's positions has no effect
    assert torch.allclose(rearranger(state, target.flip(3)).features.flip(3), plain.features, atol=1e-4)
    shuffle = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    mixed = SplitState(*(t.flatten(2)[:, :, shuffle].unflatten(2, (R, R)) for t in state))
    assert torch.allclose(rearranger(mixed, target).features, plain.features, atol=1e-4)


@pytest.mark.parametrize("config", [{}, {"value": "projection", "rgb": "keep"}, {"add_position": True, "key_mask": True}])
def test_gradient_reaches_everything(config: dict[str, object]) -> None:
    rearranger = stir(build(**config)).train()
    state = clustered(masks(0), 3)
    out = rearranger(state, hot(masks(1)))
    (out.features * randn(3, C, R, R, seed=8)).sum().backward()
    silent = [n for n, p in rearranger.named_parameters() if p.grad is None or not float(p.grad.abs().max()) > 0]
    assert silent == []


def test_counts_of_clusters() -> None:
    """The counts of the style's clusters, equal in every precision."""
    rearranger, own = build(), masks(0)
    own[0].clamp_(max=2)
    own[1].fill_(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        counts = rearranger.encode_style(clustered(own, 3)).counts
    assert counts.sum(dim=1).tolist() == [R * R] * 3
    assert (counts > 0).tolist() == [[True, True, True, False, False], [False] * 4 + [True], [True] * 5]


@pytest.mark.parametrize("rgb", ["keep", "drop", "rearrange"])
def test_encoded_style_can_be_reused(rgb: str) -> None:
    rearranger = stir(build(rgb=rgb))
    state, first, second = clustered(masks(0), 3), hot(masks(1)), hot(masks(2))
    with torch.no_grad():
        style = rearranger.encode_style(state)
        for mask in (first, second, first):
            cached, fresh = rearranger.attend(rearranger.encode_mask(mask), style), rearranger(state, mask)
            assert torch.equal(cached.features, fresh.features)
            assert torch.equal(cached.rgb, fresh.rgb)
        assert not torch.equal(rearranger(state, first).features, rearranger(state, second).features)


def test_soft_masks() -> None:
    rearranger = build()
    soft = (0.7 * hot(masks(0)) + 0.3 * hot(masks(1))).requires_grad_()
    rearranger(clustered(masks(2), 3), soft).features.square().sum().backward()
    assert soft.grad is not None
    assert float(soft.grad.abs().max()) > 0  # the mapper gets this gradient


@pytest.mark.parametrize("shape", [(K + 1, R, R), (K, R // 2, R // 2), (K, R, R + 1)])
def test_wrong_mask_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ProxymaskError, match="does not fit this rearranger, which takes \\(5, 8, 8\\)"):
        build().encode_mask(torch.zeros(2, *shape))


def test_bfloat16_stays_near_float32() -> None:
    rearranger = build()
    state, mask = clustered(masks(0), 3), hot(masks(1))
    exact = rearranger.requires_grad_(False)(state, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = rearranger(state, mask)
    assert rough.features.dtype == rough.rgb.dtype == torch.float32
    assert float((rough.features - exact.features).norm() / exact.features.norm()) < 0.05


@pytest.mark.parametrize("config", [{}, {"value": "projection", "rgb": "keep", "key_mask": True, "add_position": True, "layers": 3}])
def test_saving_and_loading_keeps_everything(config: dict[str, object], tmp_path) -> None:
    rearranger = stir(build(**config))
    again = Rearranger.from_pretrained(rearranger.save_pretrained(tmp_path / "r"))
    assert again.config == rearranger.config
    assert again.config.items() >= config.items()
    state, mask = clustered(masks(0), 3), hot(masks(1))
    with torch.no_grad():
        assert torch.equal(again(state, mask).features, rearranger(state, mask).features)


def test_on_a_generator(split: SplitGenerator, clusters: ProxyClusters, w: Tensor) -> None:
    """On features and clusters of a generator: the layout follows the masks of other samples, and so do pictures."""
    rearranger = tiny.make_rearranger(split, clusters)
    with torch.no_grad():
        state = split.features(w)
        own = clusters.assign(state.features)
        out = rearranger(state, clusters.one_hot(own.roll(1, dims=0)))
        target = own.roll(1, dims=0)
        present = torch.zeros(len(w), tiny.K, dtype=torch.bool).scatter_(1, own.flatten(1), True)
        fair = present.gather(1, target.flatten(1)).view_as(target)
        assert float((clusters.assign(out.features) == target)[fair].float().mean()) > 0.8
        assert split.render(out, w).shape == (8, 3, 16, 16)


def test_paper_size() -> None:
    """Structure and size at the paper's 512 channels, 64 x 64 and 25 clusters, without allocating them."""
    with torch.device("meta"):
        rearranger = Rearranger(512, 64, 25, position_channels=64, hidden=128, layers=4)
    codes, dim = 25 if rearranger.config["key_mask"] else 0, rearranger.dim
    assert 0 <= dim - (512 + 64 + codes) < 32  # rounded up to a multiple of 32

    def block(channels: int) -> int:
        return 9 * 128 * (channels + 128 + 128 + channels) + 3 * 128 + channels

    embeddings = dim * 25 + dim * codes + 512 * dim + dim
    count = embeddings + 2 * block(dim) + block(512) + 2 * dim * dim + 1
    assert sum(p.numel() for p in rearranger.parameters()) == count
    assert all(p.is_meta for p in rearranger.parameters())
    assert len(rearranger.query_block.convs) == len(rearranger.key_block.convs) == len(rearranger.out_block.convs) == 4


def test_residual_block() -> None:
    torch.manual_seed(0)
    block, x = ResidualBlock(6, 4, layers=3), torch.randn(2, 6, 5, 5)
    assert torch.equal(block(x), x)  # its last convolution starts at zero
    with torch.no_grad():
        block.convs[2].weight.normal_()
    y = x
    for index, conv in enumerate(block.convs):
        y = y if index == 0 else torch.where(y > 0, y, 0.2 * y) * math.sqrt(2)
        y = F.conv2d(y, conv.weight / (conv.weight[0].numel() ** 0.5), conv.bias, padding=1)
    assert torch.allclose(block(x), x + y, atol=1e-5)
    with pytest.raises(ProxymaskError, match="2 or more layers, not 1"):
        ResidualBlock(6, 4, layers=1)
    with pytest.raises(ProxymaskError, match="layers"):
        RearrangerConfig(layers=1)


def test_equal_conv() -> None:
    torch.manual_seed(0)
    conv, x = EqualConv(64, 64, 3), torch.randn(2, 64, 16, 16)
    assert float(conv.weight.detach().std()) == pytest.approx(1, rel=0.05)
    assert float(conv(x).detach()[..., 1:-1, 1:-1].std()) == pytest.approx(1, rel=0.05)  # keeps the variance
    assert EqualConv(4, 4, 1, bias=False).bias is None
    assert EqualConv(4, 4, 3, stride=2)(torch.zeros(1, 4, 8, 8)).shape == (1, 4, 4, 4)
    wide, picture = EqualConv(4, 4, 3, dilation=2), torch.zeros(1, 4, 9, 9)
    picture[..., 4, 4] = 1
    assert (wide(picture)[0].abs().amax(0) > 0).nonzero().tolist() == [[row, column] for row in (2, 4, 6) for column in (2, 4, 6)]
    with torch.no_grad():
        torch.testing.assert_close(wide.fused()(picture), wide(picture))


def test_position_encoding() -> None:
    p = position_encoding(8, 8, 6)
    assert p.shape == (8, 8, 6)
    assert float(p.abs().max()) <= 1
    assert torch.allclose(p.square().sum(dim=0), torch.full((8, 6), 4.0))  # every position has the same norm
    flat = p.flatten(1).t()
    distance = torch.cdist(flat, flat) + 9 * torch.eye(48)
    assert float(distance.min()) > 0.1  # and all positions differ
    for wrong in (0, 6, -4):
        with pytest.raises(ValueError, match="multiple of 4"):
            position_encoding(wrong, 8, 8)
    assert position_encoding(4, 8, 8).shape == (4, 8, 8)


def test_key_mask_of_earlier_versions() -> None:
    """Rearrangers of version 0.1.0 add an embedding of the style's own proxy mask to the keys, in channels of their own."""
    plain, known = build(), build(key_mask=True, key_mask_channels=4)
    assert plain.embed_key_mask is None
    assert known.embed_key_mask is not None
    assert known.dim == -(-(C + 8 + 4) // 32) * 32
    own = masks(0)
    state = clustered(own, 3)
    keys = known.encode_style(state).key
    assert torch.equal(keys, known.encode_style(state, own).key)
    assert not torch.allclose(keys, known.encode_style(state, (own + 1) % K).key, atol=0.1)
