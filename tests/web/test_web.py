"""The page in a real browser: generate, play, refine, cancel, queue, refuse, and nothing from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.engine.results_world import moving_square
from support.screen.browser import TIMEOUT_S, Served, needs_browser, served

from t2v_core.data.video.frames import write_video
from t2v_core.events import ErrorEvent, ProgressEvent, read_events

pytestmark = [needs_browser, pytest.mark.slow, pytest.mark.timeout(900)]
PATIENCE_MS = TIMEOUT_S * 1000


@pytest.fixture(scope="module")
def page_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("web") / "workspace", "--max-upload-mb", "2") as up:
        yield up


class User:
    """Somebody with a browser tab."""

    def __init__(self, browser: Any, url: str) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 900})
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(url)
        self.page.wait_for_selector("#prompt textarea")

    def generate(self, prompt: str, steps: int = 2) -> None:
        self.page.fill("#prompt textarea", prompt)
        self.page.locator('input[aria-label="number input for Steps"]').first.fill(str(steps))
        self.page.locator('input[aria-label="number input for Steps"]').first.press("Tab")
        self.page.click("#generate")

    def wait_for(self, status: str, state: str) -> str:
        """The words of a status line, once it is as wanted."""
        self.page.wait_for_selector(f"{status} [data-state={state}], {status} [data-state=failed]")
        words = str(self.page.inner_text(status))
        assert self.page.locator(f"{status} [data-state={state}]").count(), words
        return words

    def opens(self, tab: str) -> None:
        self.page.get_by_role("tab", name=tab).click()

    def plays(self, where: str) -> bool:
        video = f"document.querySelector('{where} video')"
        self.page.wait_for_function(f"() => {video} && {video}.currentTime > 0.05")
        return True

    def uploads(self, file: Path) -> None:
        self.page.set_input_files("#upload input[type=file]", file)


@pytest.fixture
def user(browser: Any, page_up: Served) -> Iterator[User]:
    one = User(browser, page_up.url)
    yield one
    assert one.errors == []
    outside = [url for url in one.asked if not url.startswith((page_up.url, "data:", "blob:"))]
    assert outside == []
    one.context.close()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    file = tmp_path / "mine.mp4"
    write_video(file, moving_square(), fps=8.0)
    return file


def test_the_distilled_model_takes_its_few_steps_and_the_other_its_own_again(user: User) -> None:
    steps, guidance = (user.page.get_by_label(f"number input for {name}").first for name in ("Steps", "Guidance"))
    for name, few, own in (("embedded-fast", "4", "1"), ("embedded", "20", "3")):
        user.page.get_by_label("Checkpoint").first.click()
        user.page.get_by_role("option", name=name, exact=True).click()
        user.page.wait_for_function("([field, few]) => field.value === few", arg=[steps.element_handle(), few])
        assert guidance.input_value() == own


def test_a_prompt_becomes_a_video_that_plays_and_the_gallery_says_how_it_was_made(user: User, page_up: Served) -> None:
    user.generate("a red circle moving right")
    path = user.wait_for("#status", "done").splitlines()[-1]
    assert user.plays("#video")
    beside = json.loads((page_up.root / path).with_suffix(".json").read_text())
    assert beside["spec"]["prompt"] == "a red circle moving right"
    assert beside["spec"]["steps"] == 2
    user.opens("Gallery")
    user.page.wait_for_selector("#gallery figure")
    shown = user.page.inner_text("#gallery figure:first-child")
    assert "a red circle moving right" in shown
    assert "guidance scale" in shown


def test_the_model_is_loaded_once_and_kept(user: User, page_up: Served) -> None:
    for prompt in ("a blue square growing", "a green triangle moving up"):
        user.generate(prompt)
        user.page.wait_for_function(
            f"() => document.querySelector('#video video')?.ariaLabel && "
            f"document.querySelector('#status').innerText.includes('{prompt.split()[1]}')"
        )
        user.wait_for("#status", "done")
    assert len(page_up.jobs_of("serve")) == 1


def test_what_is_drawn_can_be_seen_and_a_cancel_ends_it_within_a_step(user: User, page_up: Served) -> None:
    user.generate("a red square shrinking", steps=200)
    user.page.wait_for_selector("#video img.preview")
    user.page.wait_for_selector("#status progress")
    user.page.click("#cancel")
    user.wait_for("#status", "stopped")
    job = page_up.jobs_of("generate")[-1]
    events = list(read_events(job / "events.jsonl"))
    assert isinstance(events[-1], ErrorEvent)
    assert events[-1].exit_code == 4
    assert max(event.done for event in events if isinstance(event, ProgressEvent)) < 200


def test_of_two_users_at_once_the_second_waits_and_may_leave_the_queue(
    user: User, browser: Any, page_up: Served
) -> None:
    other = User(browser, page_up.url)
    before = len(page_up.jobs_of("generate"))
    user.generate("a red square shrinking", steps=200)
    user.page.wait_for_selector("#status progress")
    other.generate("a blue circle moving left")
    assert "1 ahead of you" in other.wait_for("#status", "waiting")
    other.page.click("#cancel")
    other.wait_for("#status", "stopped")
    other.generate("a blue circle moving left")
    assert "1 ahead of you" in other.wait_for("#status", "waiting")
    user.page.click("#cancel")
    user.wait_for("#status", "stopped")
    other.wait_for("#status", "done")
    assert other.plays("#video")
    assert len(page_up.jobs_of("generate")) == before + 2
    other.context.close()


def test_an_upload_gets_noise_and_is_refined_with_before_and_after_side_by_side(
    user: User, page_up: Served, clip: Path
) -> None:
    user.opens("Vid2Vid")
    user.uploads(clip)
    assert "8 frames of 64×64" in user.wait_for("#refine-status", "waiting")
    assert "15 of 50 steps" in user.page.inner_text("#strength-words")
    user.page.click("#noise")
    assert "noisy" in user.wait_for("#refine-status", "done")
    user.page.fill("#refine-prompt textarea", "a red square moving right")
    user.page.click("#refine")
    user.page.wait_for_selector("#after video")
    path = user.wait_for("#refine-status", "done").splitlines()[-1]
    assert user.plays("#before")
    assert user.plays("#after")
    noisy = sorted((page_up.root / "outputs").glob("noisy*.json"))[0]
    assert json.loads(noisy.read_text())["spec"]["strength"] == 0.3
    beside = json.loads((page_up.root / path).with_suffix(".json").read_text())
    assert beside["verb"] == "refine"
    assert beside["spec"]["input"].startswith("outputs/noisy")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("notes.txt", b"not a film", "Invalid file type"),
        ("lies.mp4", b"not a film" * 100, "the file cannot be used: its content is not a video format"),
        ("torn.mp4", None, "the file cannot be used"),
        ("huge.mp4", bytes(3_000_000), "maximum allowed size"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_a_sentence_and_not_kept(
    user: User, page_up: Served, tmp_path: Path, clip: Path, name: str, content: bytes | None, words: str
) -> None:
    file = tmp_path / name
    file.write_bytes(clip.read_bytes()[:-200] if content is None else content)
    kept = sorted((page_up.root / "outputs/inputs").glob("*"))
    user.opens("Vid2Vid")
    user.page.locator("#upload input[type=file]").evaluate("field => field.removeAttribute('accept')")
    user.uploads(file)
    user.page.wait_for_function("words => document.body.innerText.includes(words)", arg=words)
    assert sorted((page_up.root / "outputs/inputs").glob("*")) == kept
    assert not [path for path in page_up.root.rglob(f"{file.stem}*") if path.stat().st_size > 2_000_000]


def test_nothing_listens_beyond_this_machine(page_up: Served) -> None:
    port = int(page_up.url.rpartition(":")[2])
    assert listening(port) == {"0100007F"}


def listening(port: int) -> set[str]:
    """The addresses, as the kernel writes them, at which somebody listens on that port."""
    tables = [file for name in ("tcp", "tcp6") if (file := Path("/proc/net") / name).exists()]
    rows = [line.split() for file in tables for line in file.read_text().splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}
