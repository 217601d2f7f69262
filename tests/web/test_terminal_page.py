"""`t2v-tui --web`: the terminal UI in a real browser, driven by its own page only, which asks nobody else."""

from __future__ import annotations

import http.client
import importlib.util
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.screen.browser import TIMEOUT_S, chromium, environment, needs_browser

from t2v_tui.main import _flags, _parser, main

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("textual_serve") is None, reason="needs textual-serve: pip install 't2v[browser]'"
)
UPGRADE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("terminal page")
    process = subprocess.Popen(
        [sys.executable, "-m", "t2v_tui.main", "--web", "--no-animation"],
        cwd=root, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_S) == 0
        process.stdout.close()


def status(url: str, path: str, **headers: str) -> tuple[int, str]:
    """What it answers, and the cookie that it sets."""
    where = urlsplit(url)
    asked = http.client.HTTPConnection("127.0.0.1", where.port or 0, timeout=TIMEOUT_S)
    asked.putrequest("GET", path, skip_host=True)
    for name, value in ({"Host": where.netloc} | headers).items():
        asked.putheader(name.replace("_", "-"), value)
    asked.endheaders()
    answer = asked.getresponse()
    said = answer.status, (answer.getheader("Set-Cookie") or "").partition(";")[0]
    asked.close()
    return said


def test_only_who_has_the_key_is_let_in_and_only_by_this_address(url: str) -> None:
    where = urlsplit(url)
    assert where.hostname == "127.0.0.1"
    path = f"/?{where.query}"
    code, cookie = status(url, path)
    assert code == 303
    assert status(url, "/", Cookie=cookie)[0] == 200
    for refused in (
        status(url, "/"),
        status(url, "/?key=wrong"),
        status(url, "/static/js/textual.js"),
        status(url, "/", Cookie=cookie, Host=f"evil.example:{where.port}"),  # a name of another's that leads here
        status(url, path, Host=f"localhost:{where.port}"),
    ):
        assert refused == (403, "")


def test_another_page_cannot_drive_it_even_with_the_cookie(url: str) -> None:
    where = urlsplit(url)
    _, cookie = status(url, f"/?{where.query}")
    for origin in ("http://evil.example", f"http://localhost:{where.port}", "null"):
        assert status(url, "/ws", Cookie=cookie, Origin=origin, **UPGRADE)[0] == 403
    assert status(url, "/ws", Cookie=cookie, **UPGRADE)[0] == 403
    assert status(url, "/", Cookie=cookie, Sec_Fetch_Site="cross-site")[0] == 403
    assert status(url, "/ws", Cookie=cookie, Origin=f"http://{where.netloc}", **UPGRADE)[0] == 101


class Tab:
    """A tab of the browser; `said` is what its terminal was sent."""

    def __init__(self, browser: Any, url: str) -> None:
        self.said = ""
        self.answered: list[str] = []
        self.page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        self.page.set_default_timeout(TIMEOUT_S * 1000)
        self.page.on("response", lambda response: self.answered.append(response.url))
        self.page.on("websocket", lambda socket: socket.on("framereceived", self._take))
        self.page.goto(url)

    def _take(self, data: str | bytes) -> None:
        self.said += data.decode(errors="replace") if isinstance(data, bytes) else data

    def until(self, *wanted: str) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not any(one in self.said for one in wanted):
            assert time.monotonic() < deadline, self.said[-3000:]
            self.page.wait_for_timeout(50)


@needs_browser
@pytest.mark.slow
def test_a_browser_shows_it_takes_keys_and_hears_of_nobody_else(url: str) -> None:
    with chromium() as browser:
        tab = Tab(browser, url)
        tab.until("your own text-to-video")
        tab.page.locator("textarea").first.focus()
        tab.page.keyboard.press("9")
        tab.until("No job is shown yet")
        tab.page.keyboard.press("?")
        tab.until("wrap long lines")
        assert tab.page.url == f"http://{urlsplit(url).netloc}/"  # without the key
        assert {urlsplit(one).hostname for one in tab.answered if one.startswith("http")} == {"127.0.0.1"}


def test_without_the_extra_or_with_a_port_that_is_taken_it_says_what_to_do(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--web", "--port", str(urlsplit(url).port)]) == 2
    assert "leave --port out" in capsys.readouterr().err
    assert main(["--port", "8022"]) == 2
    assert "--port is for --web" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "textual_serve.server", None)
    assert main(["--web"]) == 2
    assert "pip install 't2v[browser]'" in capsys.readouterr().err


def test_a_port_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--web", "--port", "99999"])
    assert "'99999' is not a port" in capsys.readouterr().err


def test_each_tab_opens_the_same_workspace_with_the_same_flags(tmp_path: Path) -> None:
    given = ["--workspace", str(tmp_path), "--demo", "--read-only", "--ascii", "--no-animation"]
    assert _flags(_parser().parse_args([*given, "--web", "--port", "1"])) == given
