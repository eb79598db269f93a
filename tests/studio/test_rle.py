"""The run-length code of masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxymask.core.errors import ProxymaskError
from proxymask.studio.rle import decode_runs, encode_runs


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 255), st.integers(0, 2**31))
def test_what_is_encoded_is_decoded(height: int, width: int, labels: int, seed: int):
    canvas = np.random.default_rng(seed).integers(0, labels, (height, width), dtype=np.uint8)
    assert np.array_equal(decode_runs(encode_runs(canvas), width, height), canvas)


def test_the_bytes_are_those_of_the_format():
    assert encode_runs(np.array([[3, 3, 3], [3, 9, 9]], np.uint8)) == bytes([3, 4, 0, 9, 2, 0])


def test_a_run_longer_than_two_bytes_hold_is_split():
    canvas = np.full((512, 512), 7, np.uint8)
    canvas[-1, -1] = 8
    data = encode_runs(canvas)
    assert len(data) == 3 * (-(-(512 * 512 - 1) // 65535) + 1)
    assert np.array_equal(decode_runs(data, 512, 512), canvas)


@given(st.binary(max_size=60), st.integers(1, 8), st.integers(1, 8))
def test_any_bytes_are_a_canvas_or_refused_in_words(data: bytes, width: int, height: int):
    lengths = [int.from_bytes(data[i + 1 : i + 3], "little") for i in range(0, len(data), 3)]
    if len(data) % 3 == 0 and all(lengths) and sum(lengths) == width * height:
        assert decode_runs(data, width, height).shape == (height, width)
    else:
        with pytest.raises(ProxymaskError, match="mask"):
            decode_runs(data, width, height)


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "0 pixels"), (b"\1\4", "no whole runs"), (bytes([1, 0, 0]), "length 0"), (bytes([1, 5, 0]), "are 5 pixels, and 2x2 has 4")],
)
def test_what_is_wrong_is_said(data: bytes, words: str):
    with pytest.raises(ProxymaskError, match=words):
        decode_runs(data, 2, 2)
