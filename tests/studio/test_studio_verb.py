"""``proxymask studio``: the address, the port, the end."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from proxymask import cli
from proxymask.cli import studio as verb
from proxymask.core.errors import ProxymaskError
from proxymask.studio import server
from proxymask.studio.config import DEFAULT_PORT, StudioConfig


@contextmanager
def started(*flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of its own, and the address that it printed."""
    command = [sys.executable, "-m", "proxymask", "studio", "--no-browser", *flags]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if found := re.search(r"http://\S+", line):
                    yield process, found.group()
                    return
            raise AssertionError(process.communicate()[1])
        finally:
            process.kill()


def test_it_prints_its_address_answers_and_ends_at_ctrl_c(tiny_bundle):
    with started("--bundle", str(tiny_bundle)) as (process, url):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
        with urllib.request.urlopen(url + "api/info", timeout=60) as answer:
            assert b"bundles" in answer.read()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)  # the impatient press it twice
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "has ended" in out
    assert errors == "", "no traceback, no log of requests"


def test_other_machines_get_in_with_a_token_that_is_printed(tiny_bundle):
    with started("--bundle", str(tiny_bundle), "--host", "0.0.0.0") as (process, url):
        found = re.fullmatch(r"(http://127\.0\.0\.1:\d+/)#token=([\w-]{20,})", url)
        assert found
        assert process.stdout is not None
        others = process.stdout.readline()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(found[1] + "api/info", timeout=60)
        request = urllib.request.Request(found[1] + "api/info", headers={"X-Proxymask-Token": found[2]})
        assert urllib.request.urlopen(request, timeout=60).status == 200
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    assert found[2] not in out + errors, "it is printed once, with the address"
    assert f"From other machines, put {socket.gethostname()} " in others


def test_a_busy_port_is_said_and_another_one_taken():
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ProxymaskError) as refused:
            server.listen("127.0.0.1", port)
    assert refused.value.message.startswith(f"--port {port}: cannot listen there")
    assert "choose another, or leave --port out" in refused.value.message


def test_without_a_port_the_usual_one_or_a_free_one_is_taken():
    with closing(server.listen("127.0.0.1", None)) as first, closing(server.listen("127.0.0.1", None)) as second:
        ports = first.getsockname()[1], second.getsockname()[1]
        assert ports[0] != ports[1]
        assert ports[1] != DEFAULT_PORT


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.5"])
def test_an_address_of_no_or_another_machine_is_said(host: str):
    with pytest.raises(ProxymaskError) as refused:
        server.listen(host, None)
    assert refused.value.message.startswith(f"--host {host}: ")


@pytest.mark.parametrize(
    ("host", "token", "url"),
    [
        ("127.0.0.1", None, r"http://127\.0\.0\.1:\d+/"),
        ("localhost", None, r"http://localhost:\d+/"),
        ("0.0.0.0", "x" * 16, r"http://127\.0\.0\.1:\d+/#token=x{16}"),
    ],
)
def test_the_address_can_be_opened(host: str, token: str | None, url: str):
    with closing(server.listen(host, None)) as listening:
        assert re.fullmatch(url, server.address(StudioConfig(host=host, token=token), listening))


def test_without_the_extra_the_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(verb, "NEEDED", ("fastapi", "a_package_that_nobody_has"))
    assert cli.main(["studio"]) == 2
    assert capsys.readouterr().err == "proxymask: the studio needs a_package_that_nobody_has: pip install 'proxymask[studio]'\n"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--port", "0"], "not 0"),
        (["--port", "70000"], "not 70000"),
        (["--token", "short"], "--token"),
        (["--bundle", "no-such-bundle"], "no-such-bundle"),
    ],
)
def test_wrong_flags_are_one_line(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["studio", "--no-browser", *flags]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
