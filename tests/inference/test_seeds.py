"""What a seed gives does not depend on what else is computed with it: on a CPU to the last bit, also in bfloat16."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from proxymask.cli import main
from proxymask.cli.demo_pictures import varied_styles
from proxymask.imaging.grids import to_uint8
from proxymask.imaging.mask_files import example_masks
from proxymask.inference.synthesizer import Synthesizer

CPU = ("--device", "cpu", "--precision", "bf16")
MASKS = sorted(example_masks().glob("*.png"))[:3]


def run(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def files(folder: Path, stem: str) -> dict[str, bytes]:
    """The files of a sample by their suffixes."""
    return {path.name.removeprefix(stem): path.read_bytes() for path in sorted(folder.glob(f"{stem}.*"))}


@pytest.fixture(scope="module")
def synth() -> Synthesizer:
    return Synthesizer.from_pretrained(tiny.EMBEDDED_BUNDLE, "cpu", "bf16")


@pytest.mark.parametrize("noise", ["const", "random"])
def test_samples_of_several_counts(noise: str, tmp_path: Path) -> None:
    more = ("--with-proxy", "--with-labels", "--noise-mode", noise, *CPU)
    run("sample", "--count", 5, "--seed", 3, "--out", tmp_path / "five", *more)
    run("sample", "--count", 1, "--seed", 3, "--out", tmp_path / "one", *more)
    run("sample", "--count", 2, "--seed", 6, "--out", tmp_path / "two", *more)
    first = files(tmp_path / "five", "000000")
    assert sorted(first) == [".json", ".labels.png", ".png", ".proxy.png"]
    assert files(tmp_path / "one", "000000") == first
    assert files(tmp_path / "two", "000001") == files(tmp_path / "five", "000004")
    if noise == "random":
        run("sample", "--count", 1, "--seed", 3, "--out", tmp_path / "stored", *CPU)
        assert files(tmp_path / "stored", "000000")[".png"] != first[".png"]


def test_pictures_of_several_masks_and_styles(tmp_path: Path, synth: Synthesizer) -> None:
    """The command line, alone and in company, and Python, with and without kept styles."""
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in MASKS:
        (masks / path.name).write_bytes(path.read_bytes())
    run("generate", "--mask", masks, "--style-seed", 3, "--count", 3, "--out", tmp_path / "all", *CPU)
    run("generate", "--mask", MASKS[1], "--style-seed", 5, "--out", tmp_path / "one.png", *CPU)
    together = np.asarray(Image.open(tmp_path / "all" / f"{MASKS[1].stem}__5.png"))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "one.png")), together)
    assert np.array_equal(np.asarray(synth(MASKS[1], 5)), together)
    assert np.array_equal(synth(MASKS, [5, 5, 8], output_type="numpy")[1], together)
    assert np.array_equal(np.asarray(synth.generate(MASKS[1], 5).picture), together)


def test_latents_of_several_seeds(synth: Synthesizer) -> None:
    assert torch.equal(synth.w(range(9))[4:5], synth.w([4]))


def test_samples_on_the_contact_sheet(synth: Synthesizer) -> None:
    seeds, samples = varied_styles(synth, 4)
    for seed, sample in zip(seeds, samples, strict=True):
        assert np.array_equal(to_uint8(synth.sample(synth.w([seed]))[0])[0], sample)
