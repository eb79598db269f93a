"""StyleGAN2 against its published equations, written out in float64: weights per sample, zeros inserted, taps summed one by one."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import tiny
from proxymask.core.errors import ProxymaskError
from proxymask.models import stylegan2_ops as ops
from proxymask.models.discriminator import Discriminator, minibatch_std
from proxymask.models.stylegan2 import Generator, seed_to_z
from proxymask.training import losses

State = dict[str, Tensor]
TAPS = [1 / 8, 3 / 8, 3 / 8, 1 / 8]


def wide(module: torch.nn.Module) -> State:
    return {k: v.detach().double().requires_grad_() for k, v in module.state_dict().items()}


def part(state: State, name: str) -> State:
    return {k[len(name) + 1 :]: v for k, v in state.items() if k.startswith(name + ".")}


def resample(x: Tensor, up: int, pad: tuple[int, int], down: int, gain: float) -> Tensor:
    """Zeros after every sample, zeros around, the taps [1, 3, 3, 1] in both axes, every ``down``-th sample."""
    b, c, h, w = x.shape
    y = x.new_zeros(b, c, h * up, w * up)
    y[:, :, ::up, ::up] = x
    y = F.pad(y, (*pad, *pad))
    height, width = y.shape[2] - 3, y.shape[3] - 3
    total = x.new_zeros(b, c, height, width)
    for i, a in enumerate(TAPS):
        for j, d in enumerate(TAPS):
            total = total + a * d * gain * y[:, :, i : i + height, j : j + width]
    return total[:, :, ::down, ::down]


def lrelu(x: Tensor, gain: float = 1.0, clamp: float | None = None) -> Tensor:
    x = torch.where(x > 0, x, 0.2 * x) * math.sqrt(2) * gain
    return x if clamp is None else x.clamp(-clamp * gain, clamp * gain)


def linear(state: State, x: Tensor, multiplier: float = 1.0) -> Tensor:
    return x @ (state["weight"] * multiplier / x.shape[1] ** 0.5).T + state["bias"] * multiplier


def modulated(x: Tensor, weight: Tensor, style: Tensor, demodulate: bool, up: bool = False) -> Tensor:
    out = []
    for sample, factors in zip(x, style, strict=True):
        own = weight * factors[None, :, None, None]
        if demodulate:
            own = own / (own.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:  # the published network convolves (and not correlates) where it upsamples
            out.append(F.conv2d(resample(sample[None], 2, (3, 2), 1, 4.0), own.flip(2, 3)))
        else:
            out.append(F.conv2d(sample[None], own, padding=own.shape[-1] // 2))
    return torch.cat(out)


def styled(state: State, x: Tensor, w: Tensor, up: bool, noise: str = "const", clamp: float | None = None) -> Tensor:
    x = modulated(x, state["weight"], linear(part(state, "affine"), w), True, up)
    if noise == "const":
        x = x + state["noise_const"] * state["noise_strength"]
    return lrelu(x + state["bias"][:, None, None], clamp=clamp)


def to_rgb(state: State, x: Tensor, w: Tensor, clamp: float | None = None) -> Tensor:
    style = linear(part(state, "affine"), w) / x.shape[1] ** 0.5
    x = modulated(x, state["weight"], style, False) + state["bias"][:, None, None]
    return x if clamp is None else x.clamp(-clamp, clamp)


def mapping(state: State, z: Tensor, c: Tensor | None = None, psi: float = 1.0) -> Tensor:
    x = z.double()
    if x.shape[1]:
        x = x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
    if c is not None:
        y = linear(part(state, "embed"), c.double())
        x = torch.cat([x, y / (y.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()], dim=1)
    layer = 0
    while f"fc{layer}.weight" in state:
        x = lrelu(linear(part(state, f"fc{layer}"), x, 0.01))
        layer += 1
    assert layer
    return state["w_avg"] + psi * (x - state["w_avg"])


def synthesis(state: State, ws: Tensor, noise: str = "const", clamp: float | None = None) -> Tensor:
    x, rgb, used, res = None, None, 0, 4
    while f"b{res}.conv1.weight" in state:
        block = part(state, f"b{res}")
        if x is None:
            x = block["const"].expand(len(ws), -1, -1, -1)
        else:
            x = styled(part(block, "conv0"), x, ws[:, used], True, noise, clamp)
            used += 1
        x = styled(part(block, "conv1"), x, ws[:, used], False, noise, clamp)
        used += 1
        y = to_rgb(part(block, "torgb"), x, ws[:, used], clamp)
        rgb = y if rgb is None else resample(rgb, 2, (2, 1), 1, 4.0) + y
        res *= 2
    assert rgb is not None
    assert used + 1 == ws.shape[1]
    return rgb


def discriminate(state: State, x: Tensor, group: int, clamp: float | None = None, c: Tensor | None = None) -> Tensor:
    def conv(layer: State, x: Tensor, down: bool = False, gain: float = 1.0) -> Tensor:
        weight = layer["weight"] / layer["weight"][0].numel() ** 0.5
        size = weight.shape[-1]
        if down:
            x = F.conv2d(resample(x, 1, (size // 2 + 1, size // 2 + 1), 1, 1.0), weight)[:, :, ::2, ::2]
        else:
            x = F.conv2d(x, weight, padding=size // 2)
        return lrelu(x + layer["bias"][:, None, None], gain, clamp) if "bias" in layer else x * gain

    x = x.double()
    res = x.shape[-1]
    x = conv(part(state, f"b{res}.fromrgb"), x)
    while res > 4:
        block = part(state, f"b{res}")
        skip = conv(part(block, "skip"), x, True, 0.5**0.5)
        x = skip + conv(part(block, "conv1"), conv(part(block, "conv0"), x), True, 0.5**0.5)
        res //= 2
    end = part(state, "b4")
    # Sample i of n is in group i mod (n / group); the mean over channels and places of the standard deviation over the group.
    apart = len(x) // group
    deviation = torch.stack([(x[i::apart].var(dim=0, unbiased=False) + 1e-8).sqrt().mean() for i in range(apart)])
    x = torch.cat([x, deviation.repeat(group)[:, None, None, None].expand(-1, 1, 4, 4)], dim=1)
    x = linear(part(end, "out"), lrelu(linear(part(end, "fc"), conv(part(end, "conv"), x).flatten(1))))
    if c is not None:
        code = mapping(part(state, "mapping") | {"w_avg": x.new_zeros(())}, x.new_zeros(len(x), 0), c)
        x = (x * code).sum(dim=1, keepdim=True) / code.shape[1] ** 0.5
    return x


def distance(got: Tensor, wanted: Tensor) -> float:
    """Relative L2."""
    assert got.shape == wanted.shape
    assert got.dtype == torch.float32
    return float(((got.double() - wanted).norm() / wanted.norm()).detach())


@pytest.fixture(scope="module")
def big() -> Generator:
    return tiny.make_generator(seed=7, resolution=32, mapping_layers=3, channel_base=256)


def latents(generator: Generator, batch: int = 3) -> Tensor:
    """Different at every layer, so that a layer that takes another's is seen."""
    return torch.randn(batch, generator.num_ws, generator.w_dim, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("noise", ["const", "none"])
def test_whole_generator(big: Generator, noise: str) -> None:
    ws = latents(big)
    wanted = synthesis(part(wide(big), "synthesis"), ws.double(), noise)
    assert distance(big.synthesis(ws, noise), wanted) < 1e-5
    assert not torch.allclose(big.synthesis(ws, "const"), big.synthesis(ws, "none"), atol=1e-3)


@pytest.mark.parametrize("psi", [1.0, 0.7, 0.0])
def test_mapping_and_whole_path(big: Generator, psi: float) -> None:
    z, state = seed_to_z([3, 4], tiny.Z), wide(big)
    w = mapping(part(state, "mapping"), z, psi=psi)
    assert distance(big.mapping(z, truncation=psi), w) < 1e-5
    assert distance(big(z * 7, truncation=psi), synthesis(part(state, "synthesis"), w[:, None].expand(-1, big.num_ws, -1))) < 1e-5
    if psi == 0:
        assert torch.equal(big.mapping(z, truncation=psi), big.mapping.w_avg.expand(2, -1))


@pytest.mark.parametrize(("layer", "up"), [("b4.conv1", False), ("b16.conv0", True), ("b16.conv1", False)])
@pytest.mark.parametrize("clamp", [None, 1.0])
def test_styled_layers(big: Generator, layer: str, up: bool, clamp: float | None) -> None:
    module = big.synthesis.get_submodule(layer)
    x = torch.randn(3, module.weight.shape[1], *(side // (1 + up) for side in module.size))
    w = torch.randn(3, tiny.Z)
    wanted = styled(wide(module), x.double(), w.double(), up, clamp=clamp)
    before, module.clamp = module.clamp, clamp
    try:
        got = module(x, w, "const")
    finally:
        module.clamp = before
    assert distance(got, wanted) < 1e-5
    if clamp:
        assert 0.05 < float((got.abs() == clamp).float().mean()) < 0.95


@pytest.mark.parametrize("size", [1.0, 1e-4])
def test_demodulation(size: float) -> None:
    """Also where styles are so small that the 1e-8 below the root counts."""
    x, weight, style = torch.randn(2, 6, 5, 5), torch.randn(4, 6, 3, 3), size * torch.randn(2, 6)
    wanted = modulated(x.double(), weight.double(), style.double(), True)
    assert distance(ops.modulated_conv(x, weight, style, demodulate=True), wanted) < 1e-5
    up = ops.modulated_conv(x, weight, style, demodulate=True, up_kernel=ops.fir_kernel(), gain=3.0)
    assert distance(up, 3 * modulated(x.double(), weight.double(), style.double(), True, True)) < 1e-5


def test_to_rgb(big: Generator) -> None:
    module = big.synthesis.b8.torgb
    x, w = torch.randn(3, 16, 8, 8), torch.randn(3, tiny.Z)
    assert distance(module(x, w), to_rgb(wide(module), x.double(), w.double())) < 1e-5


def test_clamp_limits_every_layer() -> None:
    generator = tiny.make_generator(conv_clamp=1.5)
    ws = latents(generator)
    wanted = synthesis(part(wide(generator), "synthesis"), ws.double(), clamp=1.5)
    assert distance(generator.synthesis(ws), wanted) < 1e-5
    assert distance(generator.synthesis(ws), synthesis(part(wide(generator), "synthesis"), ws.double())) > 0.01


def test_resampling_equals_its_definition() -> None:
    x, kernel = torch.randn(2, 3, 6, 6), ops.fir_kernel()
    assert distance(ops.upsample2(x, kernel), resample(x.double(), 2, (2, 1), 1, 4.0)) < 1e-6
    assert distance(ops.downsample2(x, kernel), resample(x.double(), 1, (1, 1), 2, 1.0)) < 1e-6
    flat = torch.ones(1, 1, 8, 8)
    assert torch.allclose(ops.upsample2(flat, kernel)[..., 2:-2, 2:-2], torch.ones(()))  # gain 4: a constant stays what it is
    assert torch.allclose(ops.downsample2(flat, kernel)[..., 1:-1, 1:-1], torch.ones(()))


def test_random_noise(big: Generator) -> None:
    ws = latents(big, 1)
    torch.manual_seed(0)
    first, second = big.synthesis(ws, "random"), big.synthesis(ws, "random")
    torch.manual_seed(0)
    assert torch.equal(first, big.synthesis(ws, "random"))
    assert not torch.allclose(first, second, atol=1e-3)
    layer = big.synthesis.b32.conv1
    y = layer(torch.zeros(2, 8, 32, 32), ws[:, 0].expand(2, -1), "random") / math.sqrt(2)
    noise = torch.where(y > 0, y, y / 0.2) - layer.bias[:, None, None]  # one plane a sample, times its strength of 0.1
    assert torch.allclose(noise, noise[:, :1].expand_as(noise), atol=1e-5)
    assert float(noise[:, 0].std()) == pytest.approx(0.1, rel=0.1)
    assert not torch.allclose(noise[0], noise[1], atol=1e-2)


@pytest.mark.parametrize("resolution", [8, 16, 64, 256])
def test_layers_and_their_latents(resolution: int) -> None:
    generator = Generator(z_dim=4, w_dim=4, resolution=resolution, mapping_layers=1, channel_base=64, channel_max=4)
    assert generator.num_ws == 2 * int(math.log2(resolution)) - 2
    indices = torch.arange(generator.num_ws)[None, :, None]
    taken = [generator.synthesis.block_ws(indices, res).flatten().tolist() for res in generator.synthesis.block_resolutions]
    wanted = [[0, 1], [1, 2, 3], [3, 4, 5], [5, 6, 7], [7, 8, 9], [9, 10, 11], [11, 12, 13]]
    assert taken == wanted[: len(taken)]


def test_latents_through_the_network(big: Generator) -> None:
    """Which ws the picture at each cut depends on: by the gradient, not by the indices."""
    ws = latents(big, 1).requires_grad_()
    block = big.synthesis.b4
    x = block.convs(None, big.synthesis.block_ws(ws, 4), "const")
    y = big.synthesis.b8.convs(x, big.synthesis.block_ws(ws, 8), "const")
    (grad,) = torch.autograd.grad(y.square().sum(), ws)
    assert (grad[0].abs().sum(dim=1) > 0).nonzero().flatten().tolist() == [0, 1, 2]
    (grad,) = torch.autograd.grad(big.synthesis(ws).square().sum(), ws)
    assert bool((grad[0].abs().sum(dim=1) > 0).all())


def test_widths_and_initialisation() -> None:
    torch.manual_seed(0)
    generator = Generator(z_dim=32, w_dim=64, resolution=64, channel_base=2048, channel_max=128)
    widths = {res: generator.synthesis.block(res).conv1.weight.shape[0] for res in generator.synthesis.block_resolutions}
    assert widths == {4: 128, 8: 128, 16: 128, 32: 64, 64: 32}
    assert float(generator.mapping.fc3.weight.detach().std()) == pytest.approx(100, rel=0.05)  # 1 / lr_multiplier
    assert bool((generator.synthesis.b8.conv0.affine.bias == 1).all())
    with torch.no_grad():
        assert float(generator.mapping(torch.randn(256, 32)).square().mean().sqrt()) == pytest.approx(1, abs=0.35)
    picture = generator(torch.randn(1, 32))
    picture.sum().backward()
    quiet = [n for n, p in generator.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert quiet == []


def test_class_conditional_networks() -> None:
    generator = tiny.make_generator(c_dim=3)
    z, c = seed_to_z([1, 2], tiny.Z), torch.eye(3)[:2]
    assert distance(generator.mapping(z, c), mapping(part(wide(generator), "mapping"), z, c)) < 1e-5
    with pytest.raises(ProxymaskError, match="class-conditional"):
        generator(z)
    discriminator, x = tiny.make_discriminator(c_dim=3), torch.randn(2, 3, 16, 16)
    assert distance(discriminator(x, c).detach(), discriminate(wide(discriminator), x, 2, c=c)) < 1e-5


def test_seeds_give_the_z_of_other_projects() -> None:
    seeds = [0, 7, 123456, 2**32 - 1]
    z = seed_to_z(seeds, 512)
    assert z.dtype == torch.float32
    for row, seed in zip(z.numpy(), seeds, strict=True):
        assert np.array_equal(row, np.random.RandomState(seed).randn(512).astype(np.float32))
    assert torch.equal(seed_to_z([-1], 8), seed_to_z([2**32 - 1], 8))


@pytest.mark.parametrize("resolution", [4, 7, 12, 100])
def test_impossible_resolutions_are_refused(resolution: int) -> None:
    with pytest.raises(ProxymaskError, match="power of two"):
        Generator(resolution=resolution, **tiny.WIDTHS)
    with pytest.raises(ProxymaskError, match="power of two"):
        Discriminator(resolution=resolution, **tiny.WIDTHS)


@pytest.mark.parametrize("clamp", [None, 0.5])
def test_whole_discriminator(clamp: float | None) -> None:
    discriminator = tiny.make_discriminator(resolution=32, channel_base=256, conv_clamp=clamp, mbstd_group=2)
    x = torch.randn(4, 3, 32, 32)
    wanted = discriminate(wide(discriminator), x, 2, clamp)
    assert distance(discriminator(x).detach(), wanted) < 1e-5
    if clamp:  # it binds in the blocks and in the epilogue
        assert distance(discriminator(x).detach(), discriminate(wide(discriminator), x, 2)) > 0.01
        seen = []
        discriminator.b4.conv.register_forward_hook(lambda module, given, out: seen.append(float(out.detach().abs().max())))
        discriminator(x)
        assert seen == [clamp]
    maps = discriminator.features(x)
    assert [tuple(m.shape[1:]) for m in maps] == [(16, 16, 16), (16, 8, 8), (16, 4, 4)]


def test_minibatch_std() -> None:
    x = torch.randn(6, 4, 4, 4)
    out = minibatch_std(x, 3, 1)
    assert out.shape == (6, 5, 4, 4)
    assert torch.equal(out[:, :4], x)
    for i in (0, 1):  # groups: samples 0, 2, 4 and 1, 3, 5
        wanted = (x[i::2].double().var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
        assert torch.allclose(out[i::2, 4].double(), wanted, rtol=1e-6)
    two = minibatch_std(x, 6, 2)[:, 4:]
    assert torch.allclose(two[0, 1].double(), (x[:, 2:].double().var(dim=0, unbiased=False) + 1e-8).sqrt().mean(), rtol=1e-6)
    assert torch.equal(minibatch_std(x, 4, 1), minibatch_std(x, 3, 1))  # 6 has no groups of four
    assert float(minibatch_std(x, 1, 1)[:, 4].max()) == pytest.approx(1e-4)


def grads_match(module: torch.nn.Module, state: State, got: Tensor, wanted: Tensor) -> None:
    got.backward()
    wanted.backward()
    total = torch.stack([state[name].grad.norm() for name, _ in module.named_parameters() if state[name].grad is not None]).norm()
    checked = 0
    for name, parameter in module.named_parameters():
        target = state[name].grad
        if parameter.grad is None or target is None:
            assert parameter.grad is None or float(parameter.grad.abs().max()) == 0, name
            assert target is None or float(target.abs().max()) == 0, name
            continue
        assert float((parameter.grad.double() - target).norm()) <= 1e-4 * float(target.norm()) + 1e-6 * float(total), name
        checked += 1
    assert checked > 10


def test_second_derivatives_of_r1() -> None:
    discriminator = tiny.make_discriminator(mbstd_group=2)
    x = torch.randn(4, 3, 16, 16, requires_grad=True)
    state, x64 = wide(discriminator), x.detach().double().requires_grad_()
    (grad,) = torch.autograd.grad(discriminate(state, x64, 2).sum(), x64, create_graph=True)
    wanted = grad.square().sum(dim=(1, 2, 3)).mean()
    got = losses.r1(discriminator(x), x)
    assert float(got.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    grads_match(discriminator, state, got, wanted)


def test_second_derivatives_of_the_path_length() -> None:
    generator = tiny.make_generator().requires_grad_(True)
    ws = latents(generator, 2).requires_grad_()
    y = torch.randn(2, 3, 16, 16)
    state, ws64 = part(wide(generator), "synthesis"), ws.detach().double().requires_grad_()
    (grad,) = torch.autograd.grad((synthesis(state, ws64) * y.double() / 16).sum(), ws64, create_graph=True)
    wanted = grad.square().sum(dim=2).mean(dim=1).sqrt()
    got = losses.path_length(generator.synthesis(ws), ws, y)
    assert got.detach().tolist() == pytest.approx(wanted.tolist(), rel=1e-4)
    grads_match(generator.synthesis, state, (got - 1).square().mean(), (wanted - 1).square().mean())


def test_second_derivative_by_differences() -> None:
    """The double backward pass of R1 once more, against central differences of the float64 equations."""
    discriminator = tiny.make_discriminator(mbstd_group=1)
    x = torch.randn(1, 3, 16, 16)
    name = "b8.conv0.weight"

    def penalty(state: State) -> Tensor:
        x64 = x.double().requires_grad_()
        (grad,) = torch.autograd.grad(discriminate(state, x64, 1).sum(), x64)
        return grad.square().sum()

    state = {k: v.detach() for k, v in wide(discriminator).items()}
    direction = torch.randn_like(state[name])
    sides = [penalty(state | {name: (state[name] + s * 1e-7 * direction)}) for s in (1, -1)]
    leaf = x.clone().requires_grad_()
    losses.r1(discriminator(leaf), leaf).backward()
    got = float((discriminator.get_parameter(name).grad.double() * direction).sum())
    assert got == pytest.approx(float(sides[0] - sides[1]) / 2e-7, rel=1e-3)


def test_what_stays_float32_under_autocast(big: Generator) -> None:
    z = seed_to_z([1, 2], tiny.Z)
    exact = big(z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(big.mapping(z), big.mapping(z.clone()))
        w = big.mapping(z)
        skip = ops.upsample2(torch.full((1, 3, 4, 4), 1.001), ops.fir_kernel())
        picture = big(z)
        logits = tiny.make_discriminator(resolution=32)(picture)
    assert torch.equal(w, big.mapping(z))
    assert skip.dtype == picture.dtype == logits.dtype == torch.float32
    assert float(skip[0, 0, 4, 4]) == pytest.approx(1.001, abs=1e-6)
    assert float((picture - exact).abs().max()) < 0.1 * float(exact.abs().max())


R1_OF_MANY_PIXELS = """
import torch
from proxymask.core.device import autocast
from proxymask.models.discriminator import Discriminator
torch.set_num_threads(1)
net = Discriminator(resolution=256, channel_base=4096, channel_max=16)
pictures = torch.randn(8, 3, 256, 256).requires_grad_()
with autocast(pictures.device, torch.bfloat16):
    logits = net(pictures)
[gradient] = torch.autograd.grad(logits.sum(), pictures, create_graph=True)
gradient.square().sum().backward()
print(bool(torch.isfinite(net.b256.fromrgb.weight.grad).all()))
"""


def test_r1_of_a_batch_that_onednn_cannot_compute():
    """2**19 pixels in bfloat16 ended the process on CPUs with AMX."""
    done = subprocess.run([sys.executable, "-c", R1_OF_MANY_PIXELS], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr
