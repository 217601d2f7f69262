"""The commands that bring models from the hub, and make of a trained one what others can use."""

from __future__ import annotations

import functools
import sys
from typing import Any

from t2v_core.errors import InvalidRequest
from t2v_core.events.models_listed import ListedFile, Published
from t2v_core.format import counted, size
from t2v_core.workspace import Workspace
from t2v_tui.cli.engine.run import Followed
from t2v_tui.cli.engine.verb_command import Verb, command
from t2v_tui.cli.narrate import Narrator

fetch = command(
    Verb(
        "fetch",
        "Bring an open model from Hugging Face's hub into its cache, here or on another machine, where it is a job "
        "that does not need this one. Of the several forms of a model's weights only the one that t2v reads is "
        "fetched. The disk is checked first, and a licence that is not open is named. After an interruption the same "
        "command continues where it stopped, within a file too. It also brings back what t2v publish put there, and "
        "LoRA files. Models that ask for a login need it on the machine that fetches: hf auth login, or HF_TOKEN.",
        (
            "t2v models fetch Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
            "t2v models fetch Wan-AI/Wan2.1-T2V-1.3B-Diffusers --host a100-golden --detach",
        ),
        "The folder of the model goes to stdout; --model takes its id.",
        ("id",),
    )
)

export = command(
    Verb(
        "export",
        "Write a trained model as a folder that others can use: a model in diffusers' layout, or a LoRA as diffusers "
        "loads it, with --format also in the form of ComfyUI or of kohya's trainers. Its card is written from what "
        "the run has recorded: data, settings, curve, scores, samples, and the licence of the base. Paths of this "
        "machine are not in it.",
        (
            "t2v export shared/red",
            "t2v export shared/red --checkpoint checkpoints/checkpoint_epoch_50",
            "t2v export shared/style --format comfyui",
        ),
        "The folder's path goes to stdout. An existing folder is never written into.",
        ("folder",),
    )
)


class TellPublished:
    """Writes the address to stdout, once it is there; what would be sent to stderr; or everything as JSON.

    is_done: of what was told last, that nothing is left to be sent
    """

    is_done = False

    def __call__(self, followed: Followed, workspace: Workspace, teller: Narrator, *, as_json: bool) -> None:
        """Tell it."""
        said = followed.result_as(Published)
        self.is_done = said.is_done
        if as_json:
            print(followed.as_json())
        elif said.is_done:
            teller.say(f"done: {size(said.uploaded_bytes)} uploaded", "green")
            print(said.url)
        else:
            teller.say("\n".join(listing(said)))
        sys.stdout.flush()


def listing(said: Published) -> list[str]:
    """Return what would be uploaded, a line for each file."""
    todo = [file for file in said.files if file.state != "same"]
    total = sum(file.size_bytes for file in todo)
    seen = "that only you can see" if said.is_private else "that everybody can see"
    where = f"{said.url}, {'a new repository' if said.is_new else 'a repository'} {seen}"
    return [f"{counted(len(todo), 'file')}, {size(total)}, would go to {where}:", *map(_line_of_file, said.files)]


def _line_of_file(file: ListedFile) -> str:
    states = {"new": "", "replaces": "  replaces what is there", "same": "  is there already"}
    return f"  {size(file.size_bytes):>9}  {file.name}{states.get(file.state, '')}"


_tell = TellPublished()
_publish = command(
    Verb(
        "publish",
        "Put what t2v export wrote on Hugging Face's hub. What will be uploaded is listed, and you are asked first; a "
        "new repository can be seen by you alone unless you say --public. After an interruption the same command sends "
        "what is missing, and all files appear at once. It needs a login on the machine that uploads: hf auth login, "
        "or HF_TOKEN.",
        (
            "t2v publish OWNER/red shared/red",
            "t2v publish OWNER/red shared/red --public --yes",
        ),
        "The address goes to stdout. t2v models fetch brings it back.",
        ("id", "folder"),
    ),
    _tell,
)


@functools.wraps(_publish)
def publish(**given: Any) -> int:
    """List, ask, and then upload."""
    code = _publish(**given)
    if code or _tell.is_done or given.get("yes") or given.get("detach_") or given.get("json_"):
        return code
    require_yes()
    return _publish(**given | {"yes": True})


def require_yes() -> None:
    """Raise InvalidRequest unless somebody is here and says yes."""
    if not sys.stdin.isatty():
        raise InvalidRequest("nothing was uploaded: nobody is here to confirm it", hint="--yes uploads without asking")
    print("upload this? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InvalidRequest("nothing was uploaded")
