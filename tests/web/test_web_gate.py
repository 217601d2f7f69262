"""What the page refuses, asked over real HTTP: wrong passwords, pages from elsewhere, files that are not its own."""

from __future__ import annotations

import base64
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engine.results_world import add_video
from support.previous.old_system import old_adamw, old_model, save_old_checkpoint
from support.screen.browser import TIMEOUT_S, Served, environment, served
from support.warm.python import warm

from remote.hosts.settings import LOCAL
from t2v_core.workspace import Workspace
from t2v_tui.web.png import png_of_preview
from t2v_tui.web.work import Work
from t2v_tui.workers.services import Services

pytestmark = [pytest.mark.timeout(600)]
MARK = "what-nobody-may-read"
KNOWN = "me:pass:word"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("gate")
    root = folder / "workspace"
    add_video(root, "mine.mp4", "a red square")
    (folder / "outside.mp4").write_text(MARK)
    (root / "t2v.toml").write_text(f"# {MARK}\n")
    (root / "outputs" / "link.mp4").symlink_to(folder / "outside.mp4")
    (root / "outputs" / "notes.txt").write_text(MARK)
    (root / "checkpoints").mkdir()
    (root / "checkpoints" / "secret.mp4").write_text(MARK)
    with served(root, "--max-upload-mb", "1", T2V_WEB_AUTH=KNOWN) as up:
        yield up


def asked(
    page: Served, path: str, *, method: str = "GET", user: str | None = KNOWN, body: bytes | None = None, **headers: str
) -> tuple[int, str]:
    """Status and body, the path sent exactly as it is."""
    connection = http.client.HTTPConnection(page.url.removeprefix("http://"), timeout=240)
    if user is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


ROUTES = ("/", "/config", "/gradio_api/info", "/gradio_api/upload", "/videos/outputs/mine.mp4", "/theme.css")


@pytest.mark.parametrize("route", ROUTES)
def test_without_the_right_password_no_route_answers(guarded: Served, route: str) -> None:
    assert asked(guarded, route, user=None)[0] == 401
    assert asked(guarded, route, user="me:wrong")[0] == 401


def test_with_the_right_password_the_page_and_its_videos_come(guarded: Served) -> None:
    assert asked(guarded, "/")[0] == 200
    status, video = asked(guarded, "/videos/outputs/mine.mp4", Range="bytes=0-99")
    assert (status, "ftyp" in video) == (206, True)


ESCAPES = ("../outside.mp4", "outputs/../../outside.mp4", "outputs/link.mp4", "outputs/notes.txt", "t2v.toml",
           "checkpoints/secret.mp4", "outputs/mine.json", "/etc/hostname", "outputs/%00.mp4")  # fmt: skip


@pytest.mark.parametrize("path", ESCAPES)
@pytest.mark.parametrize(("plain", "coded"), [("", ""), ("/", "%2f"), ("..", "%2e%2e")])
def test_nothing_but_the_videos_of_outputs_is_served(guarded: Served, path: str, plain: str, coded: str) -> None:
    def encode(text: str) -> str:
        return text.replace(plain, coded) if plain else text

    absolute = path if path.startswith("/") else str((guarded.root / path.replace("%00", "")).absolute())
    folder = str(guarded.root)
    routes = [
        f"/videos/{encode(path)}", f"/videos/{encode(absolute)}", f"/gradio_api/file={encode(path)}",
        f"/gradio_api/file={encode(absolute)}", f"/file={encode(absolute)}", f"/file/{encode(absolute)}",
        f"/gradio_api/file={encode(folder + '/.t2v/web/../../' + path)}", f"/static/{encode('../' * 12 + absolute)}",
        f"/assets/{encode('../' * 12 + absolute)}", f"/{encode('../' * 12 + absolute)}",
    ]  # fmt: skip
    for route in routes:
        status, body = asked(guarded, route)
        assert MARK not in body, route
        assert status >= 400 or "<html" in body, route


def test_a_page_from_elsewhere_may_not_use_this_one(guarded: Served) -> None:
    assert asked(guarded, "/gradio_api/queue/join", method="POST", body=b"{}", Origin="http://evil.example")[0] == 403


def test_a_huge_upload_is_refused_before_it_is_taken(guarded: Served) -> None:
    before = sorted(guarded.root.rglob("*.mp4"))
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="huge.mp4"\r\n\r\n'
    said = {"Content-Type": "multipart/form-data; boundary=b"}
    declared = asked(guarded, "/gradio_api/upload", method="POST", **said | {"Content-Length": "99000000000"})
    assert declared[0] == 413
    large = head + bytes(1_500_000) + b"\r\n--b--\r\n"
    assert asked(guarded, "/gradio_api/upload", method="POST", body=large, **said)[0] == 413
    assert sorted(guarded.root.rglob("*.mp4")) == before


def ran(root: Path, *flags: str, code: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """code: run before it, in an interpreter of its own"""
    program = code + "import sys; from t2v_tui.cli.main import main; sys.exit(main(sys.argv[1:]))"
    argv = [sys.executable, "-c", program] if code else [warm(), "-m", "t2v_tui.cli.main"]
    return subprocess.run(
        [*argv, "web", *flags], cwd=root, env=environment() | variables, capture_output=True, text=True,
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip


def test_elsewhere_than_on_loopback_somebody_must_be_named(tmp_path: Path) -> None:
    done = ran(tmp_path, "--address", "0.0.0.0", code="import importlib.util as u; u.find_spec = lambda name: True; ")
    assert (done.returncode, "--auth USER:PASSWORD" in done.stderr) == (2, True)


@pytest.mark.parametrize("said", ["me", ":x", "me:", ":"])
def test_what_is_no_user_and_password_is_refused(tmp_path: Path, said: str) -> None:
    (tmp_path / "who").write_text(said)
    for done in (ran(tmp_path, "--auth", said), ran(tmp_path, "--auth-file", "who"), ran(tmp_path, T2V_WEB_AUTH=said)):
        assert (done.returncode, "USER:PASSWORD" in done.stderr) == (2, True)


def test_without_gradio_one_sentence_names_the_extra(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['gradio'] = None; import importlib.util as u; was = u.find_spec; "
    hidden += "u.find_spec = lambda name, *rest: None if name == 'gradio' else was(name, *rest); "
    done = ran(tmp_path, code=hidden)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "hint:  pip install 't2v[web]'"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("flags", [("--host", "nowhere"), ("--forward", "nowhere"), ("--host", "a", "--forward", "b")])
def test_a_host_that_is_not_known_is_said_before_anything_starts(tmp_path: Path, flags: tuple[str, ...]) -> None:
    done = ran(tmp_path, *flags)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert not (tmp_path / "jobs").exists()


def test_a_port_that_is_taken_is_said(guarded: Served, tmp_path: Path) -> None:
    done = ran(tmp_path, "--port", guarded.url.rpartition(":")[2])
    assert (done.returncode, "--port" in done.stderr) == (2, True)


def test_a_preview_becomes_a_picture_and_a_torn_one_none() -> None:
    import io

    from PIL import Image

    pixels = os.urandom(3 * 4 * 2 * 3)
    data = b'{"width": 4, "height": 2, "frames": 3}\n' + pixels
    made = png_of_preview(data)
    assert made is not None
    picture = Image.open(io.BytesIO(made)).convert("RGB")
    assert picture.size == (12, 2)
    assert picture.crop((4, 0, 8, 2)).tobytes() == pixels[24:48]
    assert png_of_preview(data[:-1]) is None
    assert png_of_preview(b"") is None


def test_a_page_that_no_browser_looks_at_ends_by_itself(tmp_path: Path) -> None:
    with served(tmp_path / "workspace", "--unused-min", "0.1") as up:
        looked = time.monotonic()
        assert asked(up, "/config", user=None)[0] == 200
        assert up.process.wait(TIMEOUT_S) == 0
        assert time.monotonic() - looked >= 6


def test_checkpoints_of_the_previous_system_are_offered(tmp_path: Path) -> None:
    model = old_model(dim=64, heads=1, pairs=1, side=8, text_dim=16)
    name = "checkpoints/checkpoint_epoch_100.pt"
    (tmp_path / "checkpoints").mkdir()
    save_old_checkpoint(tmp_path / name, model, old_adamw(model), 100)
    (tmp_path / "checkpoints/half_copied.pt").write_bytes((tmp_path / name).read_bytes()[:5000])
    services = Services(Workspace(tmp_path))
    work = Work(services, LOCAL, idle_s=1.0)
    try:
        from t2v_tui.web.page import Page  # gradio takes 3 s of a core, in each process that collects this file

        page = Page(work, device="cpu", most_upload_bytes=1)
        assert page.checkpoints()[1:-2] == [name]
    finally:
        work.close()
        services.close()
