"""The page: three tabs over the engine's door. Gradio is imported when this module is."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from remote.hosts.settings import LOCAL
from t2v_core.errors import EngineError
from t2v_core.presets import MAP_REFINING_STEPS, MAP_STEPS
from t2v_tui.library.local import checkpoints_here, videos_here
from t2v_tui.library.on_host import checkpoints_there
from t2v_tui.library.views import FAST_NAME, SHIPPED_NAME
from t2v_tui.web.html import gallery, place_for, player, progress_of, refusal, stage
from t2v_tui.web.turns import Press
from t2v_tui.web.uploads import SUFFIXES, accept
from t2v_tui.web.work import View, Work

MOST_SHOWN = 48
LATEST = "the latest"
EXAMPLES = (
    ["a red circle moving right", 20, 3.0, 7],
    ["a blue square growing", 20, 3.0, 1],
    ["a green triangle moving up", 20, 3.0, 3],
)
SEED_MOST = 2**31 - 1
GUIDANCE = 3.0


class Page:
    """What the buttons do. One for all who look at it; what somebody has pressed is known by their session."""

    def __init__(self, work: Work, *, device: str | None, most_upload_bytes: int) -> None:
        self.work, self.most_upload_bytes = work, most_upload_bytes
        self.workspace = work.services.workspace
        self._common = {"preview": True, **({"device": device} if device else {})}
        self._presses: dict[str, Press] = {}

    def generate(
        self, prompt: str, steps: int, guidance: float, seed: int, frames: int, checkpoint: str,
        request: gr.Request,
    ) -> Iterator[tuple[str, str]]:  # fmt: skip
        """Make a video from a prompt; yield picture and status whenever one of them has changed."""
        values = {"prompt": prompt.strip(), "steps": int(steps), "guidance_scale": guidance, "seed": int(seed or 0)}
        if frames:
            values["frames"] = int(frames)
        values |= self._common | self._checkpoint(checkpoint) | {"output": new_name(prompt, seed)}
        yield from self._shown(request, "generate", values)

    def refine(
        self, source: str, prompt: str, strength: float, steps: int, guidance: float, seed: int, checkpoint: str,
        request: gr.Request,
    ) -> Iterator[tuple[str, str]]:  # fmt: skip
        """Refine the video at `source`; yield picture and status whenever one of them has changed."""
        if not source:
            yield place_for("after"), refusal("there is no video to refine yet", "upload one first")
            return
        values = {
            "input": source, "prompt": prompt.strip(), "strength": strength, "steps": int(steps),
            "guidance_scale": guidance, "seed": int(seed or 0), "output": new_name(f"refined {prompt}", seed),
        }  # fmt: skip
        yield from self._shown(request, "refine", values | self._common | self._checkpoint(checkpoint), source)

    def add_noise(self, source: str, strength: float, seed: int, request: gr.Request) -> Iterator[tuple[str, str, str]]:
        """Add noise to a video; the noisy one takes the place of the one that refine reads."""
        if not source:
            yield source, place_for("before"), refusal("there is no video to add noise to yet", "upload one first")
            return
        output = new_name(f"noisy {Path(source).stem}", seed)
        values = {"input": source, "output": output, "strength": strength, "seed": int(seed or 0)}
        for picture, said in self._shown(request, "add-noise", values, source, label="before"):
            is_made = 'data-state="done"' in said
            yield output if is_made else source, picture if is_made else self._before(source), said

    def _shown(
        self, request: gr.Request, verb: str, values: dict[str, Any], sends: str = "", label: str = "the video"
    ) -> Iterator[tuple[str, str]]:
        press = self._presses[str(request.session_hash)] = Press()
        before = None
        for view in self.work.do(press, verb, values, sends):
            shown = stage(view, label), progress_of(view)
            if shown != before:
                before = shown
                yield shown

    def cancel(self, request: gr.Request) -> None:
        """Cancel what this browser tab asked for last; others' work goes on."""
        press = self._presses.get(str(request.session_hash))
        if press is not None:
            self.work.cancel(press)

    def take(self, sent: str | None) -> tuple[str, str, str]:
        """Take in a file that was uploaded; return its path in the workspace, the player and what there is to say."""
        if sent is None:
            return "", place_for("before"), ""
        try:
            upload = accept(Path(sent), self.workspace, most_bytes=self.most_upload_bytes)
        except EngineError as error:
            return "", place_for("before"), refusal(error.message, error.hint)
        words = f"{upload.frames} frames of {upload.size[0]}×{upload.size[1]}, {upload.fps:g} fps"
        return upload.path, self._before(upload.path), progress_of(View("waiting", words))

    def _before(self, path: str) -> str:
        return f'<div class="t2v">{player(path, "before")}</div>'

    def _checkpoint(self, chosen: str) -> dict[str, str]:
        return {} if chosen in ("", LATEST) else {"checkpoint": chosen}

    def checkpoints(self) -> list[str]:
        """Return those that are complete where the work runs, the newest first, and those that are shipped."""
        try:
            found = checkpoints_here(self.workspace) if self.work.host == LOCAL else checkpoints_there(self.work.jobs)
        except EngineError:  # a VM that is off is started by the first press, and says then what it has
            found = ()
        names = [one.path for one in sorted(found, key=lambda one: -one.changed_t) if one.is_complete]
        return [*([LATEST] if names else []), *names, SHIPPED_NAME, FAST_NAME]

    def gallery(self) -> str:
        """Return the 48 newest videos as HTML, without those that were brought in as inputs."""
        videos = sorted(videos_here(self.workspace), key=lambda video: -video.changed_t)
        made = [video for video in videos if not video.path.startswith("outputs/inputs/")]
        return gallery(made[:MOST_SHOWN], len(made))


def new_name(words: str, seed: int | None) -> str:
    """Return a name that nothing has, here or on a host: `outputs/a-red-circle-7-1128-201500-3f2a.mp4`."""
    stem = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:48].rstrip("-") or "video"
    return f"outputs/{stem}-{int(seed or 0)}-{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(2)}.mp4"


def steps_in_words(strength: float, steps: int) -> str:
    """Say in words what refine does of a whole run."""
    return f"strength {strength:g}: about **{round(strength * steps)} of {steps} steps** are taken"


def build(page: Page, title: str) -> gr.Blocks:
    """Build every component and tie it to what it does."""
    with gr.Blocks(title="t2v", analytics_enabled=False) as blocks:
        gr.Markdown(f"# t2v\n{title}")
        with gr.Tab("Generate"):
            chosen = [_generate_tab(page)]
        with gr.Tab("Vid2Vid"):
            chosen.append(_vid2vid_tab(page))
        with gr.Tab("Gallery") as tab:
            again = gr.Button("Refresh", size="sm")
            shown = gr.HTML(place_for("…"), elem_id="gallery")
            gr.on(
                [tab.select, again.click, blocks.load], page.gallery, None, shown, queue=False, api_visibility="private"
            )

        def look() -> list[Any]:
            names = page.checkpoints()
            return [gr.Dropdown(choices=names, value=names[0]) for _ in chosen]

        blocks.load(look, None, chosen, api_visibility="private")
    return blocks.queue(default_concurrency_limit=None, max_size=64)


def _sampling(page: Page, steps: int, fast_steps: int) -> tuple[gr.Slider, gr.Slider, gr.Number, gr.Dropdown]:
    """fast_steps: what the distilled model takes, which has its guidance within"""

    def suit(name: str) -> tuple[gr.Slider, gr.Slider]:
        is_fast = name == FAST_NAME
        return gr.Slider(value=fast_steps if is_fast else steps), gr.Slider(value=1.0 if is_fast else GUIDANCE)

    with gr.Row():
        count = gr.Slider(1, 200, steps, step=1, label="Steps")
        guidance = gr.Slider(1, 15, GUIDANCE, step=0.1, label="Guidance")
    with gr.Row():
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=SEED_MOST)
        first = page.checkpoints()
        checkpoint = gr.Dropdown(first, value=first[0], label="Checkpoint", interactive=True)
    checkpoint.input(suit, checkpoint, [count, guidance], queue=False, show_progress="hidden", api_visibility="private")
    return count, guidance, seed, checkpoint


def _generate_tab(page: Page) -> gr.Dropdown:
    with gr.Row():
        with gr.Column():
            prompt = gr.Textbox(label="Prompt", placeholder="what the video shows", lines=2, elem_id="prompt")
            steps, guidance, seed, checkpoint = _sampling(page, 20, MAP_STEPS)
            frames = gr.Number(0, label="Frames", info="0: as many as the model was trained on", precision=0, minimum=0)
            with gr.Row():
                go = gr.Button("Generate", variant="primary", elem_id="generate")
                stop = gr.Button("Cancel", elem_id="cancel")
            gr.Examples([list(one) for one in EXAMPLES], [prompt, steps, guidance, seed], label="Examples")
        with gr.Column():
            video = gr.HTML(place_for("the video appears here"), elem_id="video")
            said = gr.HTML("", elem_id="status")
    asked = [prompt, steps, guidance, seed, frames, checkpoint]
    gr.on(
        [go.click, prompt.submit], page.generate, asked, [video, said], show_progress="hidden", api_visibility="private"
    )
    stop.click(page.cancel, None, None, queue=False, api_visibility="private")
    return checkpoint


def _vid2vid_tab(page: Page) -> gr.Dropdown:
    source = gr.State("")
    with gr.Row():
        with gr.Column():
            upload = gr.File(label="Video", file_types=list(SUFFIXES), elem_id="upload")
            prompt = gr.Textbox(label="Prompt", placeholder="what the video should show", elem_id="refine-prompt")
            strength = gr.Slider(0, 1, 0.3, step=0.01, label="Strength", elem_id="strength")
            in_words = gr.Markdown(steps_in_words(0.3, 50), elem_id="strength-words")
            steps, guidance, seed, checkpoint = _sampling(page, 50, MAP_REFINING_STEPS)
            with gr.Row():
                noise = gr.Button("Add noise", elem_id="noise")
                go = gr.Button("Refine", variant="primary", elem_id="refine")
                stop = gr.Button("Cancel", elem_id="cancel-refine")
        with gr.Column():
            with gr.Row():
                before = gr.HTML(place_for("before"), elem_id="before")
                after = gr.HTML(place_for("after"), elem_id="after")
            said = gr.HTML("", elem_id="refine-status")
    taken = [source, before, said]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    upload.change(page.take, upload, taken, **quiet)
    gr.on([strength.change, steps.change], steps_in_words, [strength, steps], in_words, queue=False, **quiet)
    noise.click(page.add_noise, [source, strength, seed], taken, **quiet)
    asked = [source, prompt, strength, steps, guidance, seed, checkpoint]
    go.click(page.refine, asked, [after, said], **quiet)
    stop.click(page.cancel, None, None, queue=False, api_visibility="private")
    return checkpoint
