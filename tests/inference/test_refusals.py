"""What a Python caller can get wrong is refused in words."""

import numpy as np
import pytest

import tiny
from proxymask.core.errors import ProxymaskError
from proxymask.inference.bundle import Bundle
from proxymask.inference.synthesizer import Synthesizer


@pytest.mark.parametrize("size", [0, -1, 2.5, None, True])
def test_a_batch_size_that_is_no_number_of_pictures(size: object) -> None:
    synth = Synthesizer(tiny.make_bundle(), "cpu", "fp32")
    synth.batch_size = size  # type: ignore[assignment]
    with pytest.raises(ProxymaskError, match="batch_size is"):
        synth([np.zeros((tiny.SIZE, tiny.SIZE), np.uint8)] * 2, 1)


def test_mixed_conditions_come_in_pairs() -> None:
    with pytest.raises(ProxymaskError, match="pairs of a condition and an input"):
        Synthesizer(tiny.make_bundle(), "cpu", "fp32").generate_mixed(["x"], style=3)  # type: ignore[list-item]


@pytest.mark.parametrize("source", [None, 3, ""])
def test_a_bundle_has_a_name(source: object) -> None:
    with pytest.raises(ProxymaskError, match="source must be"):
        Bundle.from_pretrained(source)  # type: ignore[arg-type]
