"""Who may use the server: Host, Origin, token, sizes, and the headers of every answer."""

import socket
from contextlib import closing

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from studio_page import SOCKET, page, running

from proxymask.core.errors import ProxymaskError
from proxymask.studio.config import Limits, StudioConfig
from proxymask.studio.protocol import decode_frame, encode_frame

TOKEN = "a-token-of-the-tests-1234"
INFO = "/api/info"


@pytest.fixture(scope="module")
def local(tiny_bundle):
    with running(StudioConfig(str(tiny_bundle), limits=Limits(request_bytes=5000))) as client:
        yield client


@pytest.fixture(scope="module")
def shared(tiny_bundle):
    with running(StudioConfig(str(tiny_bundle), host="0.0.0.0", token=TOKEN)) as client:
        yield client


GOOD_HOSTS = ["localhost", "localhost:9000", "127.0.0.1", "127.0.0.1:1", "127.5.5.5:80", "[::1]:8765", "LOCALHOST:8765"]
BAD_HOSTS = [
    "evil.com", "evil.com:8765", "localhost.evil.com", "127.0.0.1.evil.com", "192.168.1.5", "0.0.0.0", "localhost@evil.com",
    "evil.com#localhost",     "localhost/evil", "", "[::2]", "127.0.0.1:port", "a b",
]  # fmt: skip


@pytest.mark.parametrize("host", GOOD_HOSTS)
def test_this_machine_is_answered_under_its_names_and_any_port(local: TestClient, host: str):
    assert local.get(INFO, headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", BAD_HOSTS)
@pytest.mark.parametrize("path", [INFO, "/", "/web/x.js", "/api/bundles/tiny"])
def test_other_hosts_are_refused(local: TestClient, host: str, path: str):
    answer = local.get(path, headers={"host": host})
    assert answer.status_code in (400, 403)
    assert answer.json()["error"]


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_other_hosts_get_no_socket(local: TestClient, host: str):
    with pytest.raises(WebSocketDenialResponse) as refused, local.websocket_connect(SOCKET, headers={"host": host}):
        pass
    assert refused.value.status_code in (400, 403)


GOOD_ORIGINS = ["http://127.0.0.1:8765", "https://127.0.0.1:8765", "HTTP://127.0.0.1:8765"]
BAD_ORIGINS = [
    "http://evil.com", "http://127.0.0.1:3000", "http://127.0.0.1", "http://localhost:8765", "null", "", "file://", "http://127.0.0.1:8765.evil.com",
    "http://127.0.0.1:8765@evil.com", "chrome-extension://127.0.0.1:8765", "http://[",
]  # fmt: skip


@pytest.mark.parametrize("origin", GOOD_ORIGINS)
def test_the_page_of_this_server_may_use_it(local: TestClient, origin: str):
    assert local.get(INFO, headers={"origin": origin}).status_code == 200
    with local.websocket_connect(SOCKET, headers={"origin": origin}) as connection:
        connection.send_bytes(encode_frame({"type": "hello", "session": None}))
        assert decode_frame(connection.receive_bytes()).header["type"] == "welcome"


@pytest.mark.parametrize("origin", BAD_ORIGINS)
def test_pages_of_other_sites_may_not(local: TestClient, origin: str):
    assert local.get(INFO, headers={"origin": origin}).status_code == 403
    assert local.post("/api/keep/mask", headers={"origin": origin}).status_code == 403
    with pytest.raises(WebSocketDenialResponse), local.websocket_connect(SOCKET, headers={"origin": origin}):
        pass


def test_a_default_port_may_be_left_out(local: TestClient):
    headers = {"host": "localhost", "origin": "http://localhost:80"}
    assert local.get(INFO, headers=headers).status_code == 200
    assert local.get(INFO, headers={"host": "localhost:443", "origin": "https://localhost"}).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_sites_page_embeds_is_refused_though_browsers_send_no_origin_with_it(local: TestClient, site: str):
    picture = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
    assert local.get(INFO, headers=picture).status_code == 403
    assert local.get(INFO, headers=picture | {"sec-fetch-mode": "navigate"}).status_code == 200  # a link to the page
    assert local.post("/api/projects/open", headers=picture | {"sec-fetch-mode": "navigate"}).status_code == 403  # a form
    assert local.get(INFO, headers={"sec-fetch-site": "same-origin"}).status_code == 200


@pytest.mark.parametrize("path", ["/", INFO, "/api/bundles/tiny", "/nothing", "/web/nothing.js", "/api/bundles/tiny/samples/1.png"])
def test_every_answer_carries_the_headers(local: TestClient, path: str):
    headers = local.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'self'; img-src 'self' blob: data:")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_there_is_no_page_of_the_interface(local: TestClient, path: str):
    assert local.get(path).status_code == 404


def test_nothing_is_sent_anywhere_else(tiny_bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    with closing(socket.socket()) as elsewhere:
        elsewhere.bind(("127.0.0.1", 0))
        elsewhere.listen()
        elsewhere.setblocking(False)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{elsewhere.getsockname()[1]}")
        with running(StudioConfig(str(tiny_bundle))) as client:
            assert client.get(INFO).status_code == 200
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
    assert not [record for record in caplog.records if record.name.startswith("fastapi")], "it does not try, where it cannot either"


TRAVERSALS = [
    "/web/../config.py", "/web/%2e%2e/config.py", "/web/..%2fconfig.py", "/web/%2e%2e%2f%2e%2e%2fcore/version.py", "/web//etc/passwd",
    "/web/..\\config.py", "/web/%5c..%5cconfig.py", "/api/bundles/tiny/examples/../../../../pyproject.png",
    "/api/bundles/tiny/examples/..%2f..%2f..%2fpyproject.png", "/api/bundles/tiny/examples/%2fetc%2fpasswd.png",
    "/api/bundles/..%2f..", "/api/bundles/%2e%2e", "/web/%00", "/api/bundles/a%00b",
]  # fmt: skip


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_path_leads_out(local: TestClient, path: str):
    answer = local.get(path)
    assert answer.status_code == 404
    assert "error" in answer.json()


def test_large_requests_are_refused_before_they_are_read(local: TestClient):
    answer = local.post("/api/projects/open", content=b"x" * 5001)
    assert (answer.status_code, answer.json()["error"]) == (
        413,
        "the request is larger than 5,000 bytes, which is the limit: send a smaller file",
    )
    assert local.post("/api/projects/open", headers={"content-length": "9" * 30}, content=b"").status_code == 413
    assert local.post("/api/projects/open", headers={"content-length": "-1"}, content=b"").status_code == 400
    sent = 0

    def endless():
        nonlocal sent
        for _ in range(1000):
            sent += 1000
            yield b"y" * 1000

    assert local.post("/api/projects/open", content=endless()).status_code == 413


def test_requests_together_are_bounded(tiny_bundle):
    with running(StudioConfig(str(tiny_bundle), limits=Limits(requests_bytes=3000))) as client:
        for _ in range(3):  # what is done is no longer counted
            assert client.post("/api/projects/open", content=b"x" * 3000).status_code == 422
            answer = client.post("/api/projects/open", content=b"x" * 3001)
            assert (answer.status_code, "too much at once" in answer.json()["error"]) == (503, True)


def test_without_the_token_nothing_but_the_pages_files_is_served(shared: TestClient):
    assert shared.get("/").status_code in (200, 404)  # 404: only where the page was not built into this tree
    for path in (INFO, "/api/bundles/tiny", "/api/nothing", "/api/bundles/tiny/examples"):
        for headers in ({}, {"x-proxymask-token": "wrong"}, {"x-proxymask-token": TOKEN + "x"}, {"x-proxymask-token": TOKEN[:-1]}):
            answer = shared.get(path, headers=headers)
            assert answer.status_code == 401
            assert TOKEN not in answer.text
    assert shared.get(f"{INFO}?token={TOKEN}").status_code == 401, "an address is logged by proxies, so it does not count there"
    assert shared.get(INFO, headers={"x-proxymask-token": TOKEN}).status_code == 200


def test_a_socket_needs_the_token_in_its_first_message(shared: TestClient):
    for given in ({}, {"token": "wrong"}, {"token": ""}, {"token": TOKEN + "x"}, {"token": "ü"}):
        with shared.websocket_connect(SOCKET) as connection:
            connection.send_bytes(encode_frame({"type": "hello", "session": None, **given}))
            header = decode_frame(connection.receive_bytes()).header
            assert (header["type"], header["field"]) == ("error", "token")
    with page(shared, token=TOKEN) as one:
        assert one.welcome["type"] == "welcome"


def test_with_a_token_the_server_may_have_any_name_but_pages_of_others_still_may_not_use_it(shared: TestClient):
    token = {"x-proxymask-token": TOKEN}
    assert shared.get(INFO, headers=token | {"host": "studio.example.org"}).status_code == 200
    assert shared.get(INFO, headers=token | {"host": "studio.example.org", "origin": "https://studio.example.org"}).status_code == 200
    assert shared.get(INFO, headers=token | {"host": "studio.example.org", "origin": "https://evil.com"}).status_code == 403
    proxied = {"host": "127.0.0.1:8765", "x-forwarded-host": "hub.example.org", "origin": "https://hub.example.org"}
    assert shared.get(INFO, headers=token | proxied).status_code == 200
    assert shared.get(INFO, headers=token | proxied | {"origin": "https://evil.com"}).status_code == 403


def test_a_forwarded_host_means_nothing_without_a_token(local: TestClient):
    headers = {"host": "127.0.0.1:8765", "x-forwarded-host": "evil.com", "origin": "https://evil.com"}
    assert local.get(INFO, headers=headers).status_code == 403


def test_behind_the_prefix_of_a_proxy(tiny_bundle):
    """Proxies that keep the prefix say it in root_path."""
    from proxymask.studio.app import create_app

    app = create_app(StudioConfig(str(tiny_bundle), token=TOKEN))
    with TestClient(app, base_url="http://127.0.0.1:8765", root_path="/user/me/proxy/8765") as client:
        assert client.get("/user/me/proxy/8765/api/info").status_code == 401
        assert client.get("/user/me/proxy/8765/api/info", headers={"x-proxymask-token": TOKEN}).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_other_machines_need_a_token(host: str):
    with pytest.raises(ProxymaskError) as refused:
        StudioConfig(host=host)
    assert refused.value.message.endswith("so a token is needed: give --token")
    StudioConfig(host=host, token=TOKEN)


@pytest.mark.parametrize("token", ["", "short", "with space in the middle", "ümläut-ümläut-ümläut", "x" * 129, 'quote"quote"quote"quote'])
def test_a_token_that_does_not_fit_an_address_is_refused(token: str):
    with pytest.raises(ProxymaskError) as refused:
        StudioConfig(token=token)
    assert refused.value.message.startswith("--token: ")
