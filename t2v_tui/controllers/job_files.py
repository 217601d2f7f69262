"""Where what a job wrote lies on this machine."""

from __future__ import annotations

from pathlib import Path

from t2v_core.workspace import Workspace
from t2v_tui.store.state import JobKey
from t2v_tui.text import event_log
from t2v_tui.workers.services import Services


class JobFiles:
    """services: None knows only this machine's workspace"""

    def __init__(self, workspace: Workspace, services: Services | None) -> None:
        self.workspace, self.services = workspace, services

    def file_of(self, host: str, path: str) -> Path | None:
        """Return a file of that host's workspace; None when it is not here."""
        found = self.place_of(host, path)
        return found if found.exists() else None

    def place_of(self, host: str, path: str) -> Path:
        """Return where a file of that host's workspace is, or would be, on this machine."""
        folder = self.services.folder_of(host) if self.services else None
        return (folder or self.workspace.root) / path

    def journal_of(self, job: JobKey) -> Path:
        """Return the file with its events as lines."""
        return event_log.journal_of(self.workspace, job)

    def log_of(self, job: JobKey) -> Path:
        """Return where its log lies on this machine: the job's own, or what came of it."""
        from remote.jobs.spool import Spool  # with the first job

        folder = self.services.folder_of(job.host) if self.services else None
        return folder / "jobs" / job.job / "log" if folder else Spool.of(self.workspace, job.host, job.job).log
