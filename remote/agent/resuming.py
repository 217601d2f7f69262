"""After a preemption: the training that it ended goes on when the machine is back."""

from __future__ import annotations

from pathlib import Path

from .base.asked import expanded, take, workspace
from .base.files import Json, read_json
from .base.keys import resumption_key
from .jobs.preemption import is_going_down
from .jobs.requests import start_job
from .jobs.succession import to_be_resumed
from .listing.looking import is_complete


def resume_preempted(parameters: Json) -> Json:
    """Go on with the training that preemption ended, where it is the latest of its workspace; says what was done.

    Asking again starts nothing more. `resumed` holds the new job's id, the one `before` it, whether it `is_new` (not so
    when somebody asked at the same moment), and whether it goes on `from_checkpoint`.
    """
    before = None if is_going_down() else to_be_resumed(workspace(parameters) / "jobs")
    return {"resumed": [] if before is None else [go_on(before, parameters)]}


def go_on(before: Path, parameters: Json) -> Json:
    """Start the same request once more; from its checkpoint, or from the beginning if it did not come so far."""
    request, spec = read_json(before / "request.json") or {}, read_json(before / "spec.json") or {}
    folder = before.parent.parent / expanded(str(spec.get("checkpoints", "checkpoints")))
    has_checkpoint = any(is_complete(one) for one in folder.glob("checkpoint_*"))
    said = start_job({
        "workspace": take(parameters, "workspace", str), "verb": "train", "key": resumption_key(before.name),
        "spec": {**spec, "resume": True} if has_checkpoint else spec, "env": request["env"],
        "needs_gpu": request["needs_gpu"], "python": request["python"],
        "argv": [] if request["is_engine"] else request["argv"],
        "by": by if isinstance(by := request.get("by"), dict) and by.get("id") else {},
    })  # fmt: skip
    return {"job": said["job"], "before": before.name, "is_new": said["is_new"], "from_checkpoint": has_checkpoint}
