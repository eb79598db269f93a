"""Imported generators against the equations of each project in float64 (``families``): layers, whole networks, seeds."""

import dataclasses
from pathlib import Path

import families
import numpy as np
import pytest
import torch
from stylegan2_equations import Reference, Shape, dense, normal, unit
from test_stylegan2 import discriminate, wide
from torch import Tensor

from proxymask.checkpoints.imported import Imported
from proxymask.checkpoints.loading import open_checkpoint
from proxymask.core.errors import ProxymaskError
from proxymask.models.discriminator import Discriminator
from proxymask.models.stylegan2 import Generator, seed_to_z

EXACT = 1e-5  # relative L2 of float32 against float64


def distance(got: Tensor, wanted: Tensor) -> float:
    assert got.shape == wanted.shape
    assert got.dtype == torch.float32
    assert wanted.dtype == torch.float64
    return float((got.double() - wanted).norm() / wanted.norm())


def z_of(shape: Shape, batch: int = 2) -> Tensor:
    return normal(5)(batch, shape.z)


def nvidia(folder: Path, shape: Shape) -> tuple[Imported, Reference]:
    path, state = families.nvidia_file(folder / "n.pkl", shape)
    return open_checkpoint(path), families.nvidia_reference(state, shape)


def narrow_channels(resolution: int) -> Shape:
    """Few channels at high resolutions, so that large pictures are fast."""
    return Shape(resolution=resolution, base=256 if resolution < 128 else 2 * resolution, top=8 if resolution > 128 else 16, depth=3)


# Layers and whole networks


@pytest.mark.parametrize(("resolution", "clamp"), [(32, None), (64, None), (128, None), (256, None), (1024, None), (64, 2.0)])
def test_every_layer_and_the_whole(resolution: int, clamp: float | None, tmp_path: Path) -> None:
    shape = dataclasses.replace(narrow_channels(resolution), clamp=clamp)
    imported, reference = nvidia(tmp_path, shape)
    generator, draw = imported.generator, normal(6)
    assert generator.config["conv_clamp"] == clamp
    clamped = 0.0
    for res in shape.widths:
        block = generator.synthesis.block(res)
        for name in ("conv0", "conv1") if res > 4 else ("conv1",):
            layer, side = getattr(block, name), res // 2 if name == "conv0" else res
            x, w = draw(1, layer.weight.shape[1], side, side), draw(1, shape.w)
            got = layer(x, w, "const")
            assert distance(got, reference.layers[f"b{res}.{name}"](x.double(), w.double())) < EXACT, (res, name)
            clamped = max(clamped, float((got.abs() == clamp).float().mean()) if clamp else 0.0)
        x, w = draw(1, shape.widths[res], res, res), draw(1, shape.w)
        assert distance(block.torgb(x, w), reference.rgbs[res](x.double(), w.double())) < EXACT, res
    assert (clamped > 0.05) == bool(clamp)  # the clamp takes effect
    z = z_of(shape, 1)
    assert distance(generator(z), reference(z)) < EXACT
    if resolution < 1024:
        ws = draw(1, generator.num_ws, shape.w)  # a different latent at every layer
        assert distance(generator.synthesis(ws), reference.picture(ws)) < EXACT
    if clamp:
        free = families.nvidia_reference(families.nvidia_state(shape), dataclasses.replace(shape, clamp=None))
        assert distance(generator(z), free(z)) > 100 * EXACT


@pytest.mark.parametrize("resolution", [32, 64, 128])
@pytest.mark.parametrize("family", ["tensorflow 2020", "tensorflow ada", "rosinality", "genforce 2020", "genforce ada"])
def test_whole_of_other_families(family: str, resolution: int, tmp_path: Path) -> None:
    shape, ada = narrow_channels(resolution), family.endswith("ada")
    if family == "rosinality":
        path, state = families.rosinality_file(tmp_path / "r.pt", shape)
        reference = families.rosinality_reference(state, state["latent_avg"], shape)
    else:
        write = families.tf_file if family.startswith("tensorflow") else families.genforce_file
        path, state = write(tmp_path / "file", shape, ada=ada)
        reference = families.tf_reference(state, shape, ada)
    generator = open_checkpoint(path).generator
    z = z_of(shape)
    assert distance(generator(z), reference(z)) < EXACT
    assert distance(generator(z, truncation=0.5), reference(z, psi=0.5)) < EXACT
    layers = {name: dataclasses.replace(layer, turned=layer.up != layer.turned) for name, layer in reference.layers.items()}
    turned = dataclasses.replace(reference, layers=layers)
    assert distance(generator(z), turned(z)) > 0.01  # flipped upsampling convolutions would give other pictures


def test_scaled_weights_count_where_styles_are_tiny(tmp_path: Path) -> None:
    """The 1e-8 under the root has another effect where weights are scaled before demodulation."""
    shape = Shape()
    path, state = families.rosinality_file(tmp_path / "r.pt", shape)
    content = torch.load(path, weights_only=False)
    for name in list(state):
        if "conv.modulation" in name:
            state[name] = content["g_ema"][name] = state[name] * 1e-4
    torch.save(content, path)
    generator, z = open_checkpoint(path).generator, z_of(shape)
    reference = families.rosinality_reference(state, state["latent_avg"], shape)
    assert distance(generator(z), reference(z)) < EXACT
    plain = Generator(**{**generator.config, "scaled_weights": False})
    plain.load_state_dict(generator.state_dict())
    assert distance(plain(z).detach(), reference(z)) > 10 * EXACT


# Variants


@pytest.mark.parametrize(
    "change",
    [
        {"start": (4, 8)},
        {"start": (6, 5)},
        {"channels": 1},
        {"channels": 4},
        {"depth": 8},
        {"classes": 3},
        {"noise": False},
        {"features": 24, "depth": 4},
        {"z": 12, "w": 20},
    ],
    ids=str,
)
def test_variants_of_nvidia(change: dict[str, object], tmp_path: Path) -> None:
    shape = dataclasses.replace(Shape(), **change)
    imported, reference = nvidia(tmp_path, shape)
    c = torch.eye(shape.classes)[:2] if shape.classes else None
    z = z_of(shape)
    assert distance(imported.generator(z, c), reference(z, c)) < EXACT
    assert imported.generator(z, c).shape[1:] == (shape.channels, *shape.size(shape.resolution))
    assert imported.generator.picture_size == shape.size(shape.resolution)


@pytest.mark.parametrize("family", ["nvidia", "tensorflow 2020", "tensorflow ada", "genforce 2020", "genforce ada"])
def test_classes(family: str, tmp_path: Path) -> None:
    """A class given in the call equals the same class chosen at import."""
    shape, ada = Shape(classes=3), family.endswith("ada")
    if family == "nvidia":
        path, state = families.nvidia_file(tmp_path / "n.pkl", shape)
        reference = families.nvidia_reference(state, shape)
    else:
        write = families.tf_file if family.startswith("tensorflow") else families.genforce_file
        path, state = write(tmp_path / "file", shape, ada=ada)
        reference = families.tf_reference(state, shape, ada)
    z, one = z_of(shape), torch.eye(3)[[2, 2]]
    free, chosen = open_checkpoint(path).generator, open_checkpoint(path, class_index=2).generator
    assert distance(free(z, one), reference(z, one)) < EXACT
    assert torch.equal(chosen(z), free(z, one))
    assert distance(chosen(z, torch.eye(3)[:2]), reference(z, torch.eye(3)[:2])) < EXACT  # a class in the call has priority
    with pytest.raises(ProxymaskError, match="choose a class, class_index 0 to 2"):
        free(z)
    with pytest.raises(ProxymaskError, match="class_index 3: this generator has the classes 0 to 2"):
        open_checkpoint(path, class_index=3)


# Truncation, noise, normalisation, seeds


def test_truncation_and_its_cutoff(tmp_path: Path) -> None:
    shape = Shape()
    imported, reference = nvidia(tmp_path, shape)
    generator, z = imported.generator, z_of(shape)
    for psi, cutoff in ((0.7, None), (0.5, 3), (0.0, None), (1.0, 4), (1.3, 2)):
        assert distance(generator(z, truncation=psi, truncation_cutoff=cutoff), reference(z, psi=psi, cutoff=cutoff)) < EXACT, (psi, cutoff)
    assert torch.equal(generator.mapping(z, truncation=0.0), generator.mapping.w_avg.expand(2, -1))
    assert torch.equal(generator.ws(z, truncation=0.5, truncation_cutoff=3)[:, 3:], generator.ws(z)[:, 3:])


def test_noise_modes(tmp_path: Path) -> None:
    shape = Shape()
    imported, reference = nvidia(tmp_path, shape)
    generator, z = imported.generator, z_of(shape)
    assert distance(generator(z, noise_mode="none"), reference(z, noise=False)) < EXACT
    torch.manual_seed(0)
    first = generator(z, noise_mode="random")
    assert not torch.equal(first, generator(z, noise_mode="random"))
    torch.manual_seed(0)
    for res in shape.widths:  # the same draws as fixed noise, in the order of the layers, one map for each sample
        for name in ("conv0", "conv1") if res > 4 else ("conv1",):
            layer = reference.layers[f"b{res}.{name}"]
            layer.noise = torch.randn(2, 1, res, res).double()
    assert distance(first, reference(z)) < EXACT


def test_latents_are_normalised_as_in_the_original(tmp_path: Path) -> None:
    shape = Shape()
    imported, reference = nvidia(tmp_path, shape)
    z = z_of(shape)
    assert distance(imported.generator.mapping(z * 50), reference.w(z.double())) < EXACT
    assert distance(imported.generator.mapping(z * 1e-4), reference.w(z.double() * 1e-4)) < EXACT  # so small that the 1e-8 counts


def test_seeds_of_both_styles(tmp_path: Path) -> None:
    path, _ = families.nvidia_file(tmp_path / "n.pkl", Shape(z=512, w=16))
    generator = open_checkpoint(path).generator
    assert generator.seed_style == "nvidia"
    for seed in (0, 85, 2**31):
        assert np.array_equal(generator.z([3, seed])[1:].numpy(), np.random.RandomState(seed).randn(1, 512).astype(np.float32))
    path, _ = families.rosinality_file(tmp_path / "r.pt", Shape())
    generator = open_checkpoint(path).generator
    assert generator.seed_style == "torch"
    torch.manual_seed(7)
    assert torch.equal(generator.z([3, 7])[1:], torch.randn(1, 16))
    assert open_checkpoint(path, seed_style="nvidia").generator.z([7]).tolist() == seed_to_z([7], 16, "nvidia").tolist()
    assert open_checkpoint(families.genforce_file(tmp_path / "g.pth", Shape())[0]).seed_style == "torch"
    assert open_checkpoint(families.tf_file(tmp_path / "t.pkl", Shape())[0]).seed_style == "nvidia"
    with pytest.raises(ProxymaskError, match="nvidia or torch"):
        seed_to_z([1], 4, "numpy")


def test_missing_mean_is_that_of_many_latents(tmp_path: Path) -> None:
    shape = Shape()
    path, state = families.rosinality_file(tmp_path / "r.pt", shape, mean=False)
    imported = open_checkpoint(path)
    assert any("average of w" in text for text in imported.assumed)
    w = families.rosinality_reference(state, state["latent_avg"], shape).w(normal(11)(20000, shape.z).double())
    spread = w.std(dim=0).norm() / 4096**0.5
    assert float((imported.generator.mapping.w_avg.double() - w.mean(dim=0)).norm()) < 4 * float(spread)
    assert torch.equal(imported.generator.mapping.w_avg, open_checkpoint(path).generator.mapping.w_avg)


# Discriminators


def test_discriminators_of_all_families_are_one(tmp_path: Path) -> None:
    shape = Shape()
    path, _ = families.nvidia_file(tmp_path / "n.pkl", shape)
    judge, x = open_checkpoint(path).discriminator, normal(8)(4, 3, 32, 32)
    assert isinstance(judge, Discriminator)
    wanted = discriminate(wide(judge), x, 4)
    assert distance(judge(x), wanted.detach()) < EXACT
    path, _ = families.rosinality_file(tmp_path / "r.pt", shape)
    other = open_checkpoint(path).discriminator  # the same tensors under rosinality's names
    assert other is not None
    assert torch.equal(other(x), judge(x))
    turned = families.tf_discriminator(shape, ada=False)
    for write in (families.tf_file, families.genforce_file):
        found = open_checkpoint(write(tmp_path / "file", shape)[0]).discriminator
        assert found is not None
        assert np.array_equal(found.b32.conv1.weight.permute(2, 3, 1, 0).numpy(), turned["32x32/Conv1_down/weight"])
        assert np.array_equal(found.b4.fc.weight.T.numpy(), turned["4x4/Dense0/weight"])
        assert distance(found(x), discriminate(wide(found), x, 4).detach()) < EXACT


@pytest.mark.parametrize("ada", [False, True])
def test_class_conditional_discriminators(ada: bool, tmp_path: Path) -> None:
    """2020: the output of the class. ADA: the product of outputs and normalised class embedding, over the root of its width."""
    shape, x, c = Shape(classes=3), normal(8)(4, 3, 32, 32), torch.eye(3)[[0, 1, 2, 1]]
    variables = {k: torch.from_numpy(v).double() for k, v in families.tf_discriminator(shape, ada).items()}
    for write in (families.tf_file, families.genforce_file):
        judge = open_checkpoint(write(tmp_path / "file", shape, ada=ada)[0]).discriminator
        assert judge is not None
        state = {k: v for k, v in wide(judge).items() if not k.startswith("mapping.")}
        codes = variables["Output/bias"].numel()
        each = []
        for i in range(codes):  # one output at a time, by the equations of the unconditional network
            one = {**state, "b4.out.weight": state["b4.out.weight"][i : i + 1], "b4.out.bias": state["b4.out.bias"][i : i + 1]}
            each.append(discriminate(one, x, 4).detach())
        outputs = torch.cat(each, dim=1)
        if ada:
            embedded = unit(dense(c.double(), variables["LabelEmbed/weight"].T, variables["LabelEmbed/bias"]))
            wanted = (outputs * embedded).sum(dim=1, keepdim=True) / codes**0.5
        else:
            wanted = (outputs * c.double()).sum(dim=1, keepdim=True)
        assert distance(judge(x, c), wanted) < EXACT
        judge.choose_class(1)
        assert torch.equal(judge(x), judge(x, torch.eye(3)[[1] * 4]))


# Half precision


def test_bfloat16_stays_near(tmp_path: Path) -> None:
    """Features and picture under autocast within 3 % of float32 (bfloat16 keeps 8 bits, 0.4 % a number)."""
    path, _ = families.nvidia_file(tmp_path / "n.pkl", Shape(resolution=64, base=1024, top=64, depth=8))
    generator = open_checkpoint(path).generator
    z = normal(5)(2, 16)
    exact = generator(z)
    features = generator.synthesis.b4.convs(None, generator.ws(z)[:, :2], "const")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = generator(z)
        low = generator.synthesis.b4.convs(None, generator.ws(z)[:, :2], "const")
    assert half.dtype == torch.float32  # the skip image
    assert 1e-5 < float((half - exact).norm() / exact.norm()) < 0.03
    assert float((low.float() - features).norm() / features.norm()) < 0.03
