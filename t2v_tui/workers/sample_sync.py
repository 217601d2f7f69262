"""The newest samples of a training that is watched on another machine come here by themselves, in small pulls."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from remote.errors import Refused
from t2v_core.errors import EngineError
from t2v_core.format import grouped, size
from t2v_tui.store.events import TransferGone
from t2v_tui.store.state import JobKey, Reach, Sample, State
from t2v_tui.workers.services import Services
from t2v_tui.workers.streams import Tell
from t2v_tui.workers.transfers import PullStream

if TYPE_CHECKING:
    from remote.jobs.client import HostJobs
    from remote.transfer.plan.pull_plan import Plan
    from remote.transfer.progress import TransferProgress

# Samples of 128 pixels are a few hundred KB a checkpoint; what is larger than this is pulled by who wants it.
MOST_BYTES = 20_000_000
AGAIN_S = 30.0


class SamplePull(PullStream):
    """One line among the transfers while it goes well; when it does not, the line goes and nothing is said."""

    def __init__(self, services: Services, host: str, paths: Sequence[str], tell: Tell, what: str) -> None:
        super().__init__(services, host, paths, tell, lambda _: None)
        self.view = replace(self.view, id=f"samples of {host}", what=what)

    def run(self) -> None:
        """Pull the samples; the line among the transfers goes when that fails or nothing had to come."""
        try:
            self.move()
        except EngineError:
            self.view = replace(self.view, state="failed")
        if self.view.state != "done" or not self.view.total_bytes:
            self.tell(TransferGone(self.view.id))

    def planned(self, jobs: HostJobs) -> Plan:
        """Return what would come. Raises Refused when it is more than 20 MB."""
        plan = super().planned(jobs)
        if plan.to_send > MOST_BYTES:
            raise Refused(f"{size(plan.to_send)} is too large to fetch automatically", "press 3 to pull")
        return plan

    def take(self, progress: TransferProgress) -> None:
        """Show how far it is; end it when it would wait for another process's transfer."""
        from remote.transfer.progress import Phase

        if progress.phase is Phase.WAITING:  # for a transfer of another process, which may take hours
            self.close()
        else:
            super().take(progress)


class SamplesHome:
    """At most one pull at a time, and none beside any other transfer."""

    def __init__(self, services: Services, tell: Tell) -> None:
        self.services, self.tell = services, tell
        self._home: set[tuple[JobKey, Sample]] = set()
        self._tried_t: dict[tuple[JobKey, Sample], float] = {}
        self._at_work: tuple[SamplePull, list[tuple[JobKey, Sample]]] | None = None

    def close(self) -> None:
        """End the pull that is at work, if there is one."""
        if self._at_work is not None:
            self._at_work[0].close()

    def is_coming(self, state: State, job: JobKey, sample: Sample) -> bool:
        """Tell whether it is on its way or will be soon: then what lies here under its name is an older one."""
        tried = self._tried_t.get((job, sample))
        is_under_way = self._at_work is not None and (job, sample) in self._at_work[1]
        may_come = reach_of(state, job) is not Reach.LOST
        return (job, sample) not in self._home and may_come and (is_under_way or tried is None)

    def fetch_new(self, state: State) -> None:
        """Note what has come, and send for what is new."""
        self._note_what_came()
        job, run = state.shown_job, state.shown_run
        if self._at_work is not None or job is None or run is None or not run.samples:
            return
        is_busy = any(one.state in ("running", "queued") for one in state.transfers)
        if reach_of(state, job.key) is not Reach.UP or is_busy:
            return
        wanted = [(job.key, one) for one in newest(run.samples) if self._is_wanted(job.key, one, job.row.has_ended)]
        if wanted:
            paths = [path for _, one in wanted for path in files_of(one)]
            step = grouped(wanted[0][1].step)
            stream = SamplePull(self.services, job.key.host, paths, self.tell, f"sample {step}")
            self._at_work = stream, wanted
            stream.start()

    def _is_wanted(self, job: JobKey, sample: Sample, has_ended: bool) -> bool:
        if (job, sample) in self._home or time.monotonic() - self._tried_t.get((job, sample), -AGAIN_S) < AGAIN_S:
            return False
        if has_ended and (self.services.workspace.root / in_workspace(sample.video)).exists():
            self._home.add((job, sample))
            return False
        return True

    def _note_what_came(self) -> None:
        if self._at_work is None or self._at_work[0].is_alive():
            return
        stream, asked = self._at_work
        self._at_work = None
        if stream.view.state == "done":
            self._home.update(asked)
        self._tried_t.update({one: time.monotonic() for one in asked})


def reach_of(state: State, job: JobKey) -> Reach:
    """Return how the link to the job's host is; ASKING for a host that is not known."""
    host = state.hosts.get(job.host)
    return Reach.ASKING if host is None else host.link.reach


def newest(samples: Sequence[Sample]) -> list[Sample]:
    """Return those of the last step that has any."""
    return [one for one in samples if one.step == samples[-1].step]


def files_of(sample: Sample) -> tuple[str, str]:
    """Return the video and the .json beside it, as paths of the workspace."""
    video = in_workspace(sample.video)
    return video, str(PurePosixPath(video).with_suffix(".json"))


def in_workspace(video: str) -> str:
    """Return where a video lies in its workspace: jobs name their results in full, and `~` is another folder there."""
    return f"outputs/{video.rpartition('/outputs/')[2]}" if "/outputs/" in video else video
