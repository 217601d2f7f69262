"""A video of this machine on its way to the host that is to refine it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path, PurePosixPath

from remote.errors import Refused
from t2v_core.disk.files import describe_os_error, sha256, staged_file
from t2v_core.workspace import Workspace
from t2v_tui.workers.services import Services
from t2v_tui.workers.streams import Tell
from t2v_tui.workers.transfers import TransferStream

# Where a file from outside the workspace gets its place in it: a host has no other for it.
BROUGHT = "outputs/inputs"


class SendStream(TransferStream):
    """path: of the video, in the workspace here and then in the one there"""

    AGAIN = "the same key continues where it stopped"

    def __init__(self, services: Services, host: str, path: str, tell: Tell) -> None:
        super().__init__(services, host, [path], tell, lambda _: None, is_pull=False)

    def move(self) -> None:
        """Send it. Raises Refused for what may not be replaced there."""
        from remote.transfer.plan.push_plan import PATHS, plan_files
        from remote.transfer.push import Pushing

        jobs = self.services.jobs(self.host)
        plan = plan_files(jobs, PATHS, self.paths, is_replacing=False)
        for path, why in plan.refused:
            raise Refused(f"{path} on {self.host}: {why}", f"t2v push {path} --replace, or another name here")
        if plan.needed:
            self.follow(Pushing(jobs, plan), plan.to_send)
        else:
            self.show(replace(self.view, state="done", why="it already exists there"))


def brought_in(workspace: Workspace, file: Path) -> str:
    """Return its path in the workspace; one from outside is copied in first. Raises WorkFailed, InvalidRequest."""
    for place in (file, file.resolve()):
        for root in (workspace.root, workspace.root.resolve()):
            if place.is_relative_to(root) and ".." not in place.parts:
                return str(PurePosixPath(place.relative_to(root)))
    try:
        target = _free_name(workspace.root / BROUGHT, file)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with staged_file(target) as partial:
                shutil.copyfile(file, partial)
    except OSError as error:
        raise describe_os_error(error, workspace.root / BROUGHT / file.name) from error
    return str(PurePosixPath(target.relative_to(workspace.root)))


def _free_name(folder: Path, file: Path) -> Path:
    """`NAME.mp4`, `NAME-2.mp4`, …: the first that is free or holds the same."""
    names = (f"{file.stem}{suffix}{file.suffix}" for suffix in ("", *(f"-{n}" for n in range(2, 10_000))))
    of_file = sha256(file)
    return next(folder / name for name in names if not (folder / name).exists() or sha256(folder / name) == of_file)
