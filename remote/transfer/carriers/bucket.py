"""By way of a bucket: the host uploads what is finished, by a job of its own; this side downloads. It may stop between.

What was uploaded is written down here with its sums, so that the download needs the host no more.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import PurePosixPath

from remote.errors import NotReady, TransferFailed
from remote.jobs.client import HostJobs
from remote.replies.questions import START, SUMS
from remote.text import shown
from remote.transfer.arrivals import Arrivals
from remote.transfer.board import Board
from remote.transfer.carriers.argv import storage_cp_argv
from remote.transfer.carriers.programs import Carrier
from remote.transfer.incoming import Incoming
from remote.transfer.plan.memory import ArrivedFiles
from remote.transfer.plan.pull_plan import SLOW_HASH_BYTES_PER_S, SUMS_TIMEOUT_S
from t2v_core.disk.private import make_folder

POLL_S = 1.0
JOB_VERB, ATTEMPTS = "upload", 3
PATTERN = "*?[]"  # which gcloud storage takes for more than one name, with no way to say that they are meant


def place_of(bucket: str, host: str, one: Incoming) -> str:
    """Return where a file lies in the bucket: another content, another place."""
    folder = PurePosixPath(one.far_path).parent
    return f"{bucket.rstrip('/')}/{host}/{folder}/{one.unit.identity[:16]}"


class BucketCarrier(Carrier):
    """Fetches files that lie in the bucket; what is not there the host uploads first, a folder at a time.

    programs: that the host has
    """

    program = "gcloud"

    def __init__(
        self,
        bucket: str,
        jobs: HostJobs,
        there: str,
        incoming: Sequence[Incoming],
        arrivals: Arrivals,
        board: Board,
        programs: Sequence[str],
    ) -> None:
        super().__init__(there, incoming, arrivals, board)
        self.bucket, self.jobs, self.programs = bucket, jobs, programs
        self.memory = ArrivedFiles(jobs.workspace, jobs.host.name)
        self.staging = self.memory.folder / "bucket"

    def bring(self) -> None:
        """Ask the host to upload what the bucket lacks, then fetch it all, a folder at a time."""
        places: dict[str, list[Incoming]] = {}
        for one in self.incoming:
            places.setdefault(place_of(self.bucket, self.jobs.host.name, one), []).append(one)
        uploaded = self.memory.uploaded_places()
        begun: dict[str, str] = {}
        for place, files in places.items():
            if place not in uploaded:
                begun[place] = self._upload(place, files, after=next(reversed(begun.values()), None))
        for place, files in places.items():
            if place in begun and not self._is_uploaded(begun[place], place, files):
                return
            if self.board.closed.is_set():
                return
            self._download(place, files)
        if not self.board.closed.is_set():
            shutil.rmtree(self.staging, ignore_errors=True)

    def _download(self, place: str, files: Sequence[Incoming]) -> None:
        """One place in one go: gcloud takes a second to begin, whatever it copies."""
        folder = self.staging / hashlib.sha256(place.encode()).hexdigest()[:16]
        make_folder(folder)
        names = {PurePosixPath(one.far_path).name: one for one in files}
        argv = storage_cp_argv([f"{place}/{name}" for name in names], f"{folder}/")
        self.run(argv, growing=lambda: sum(path.stat().st_size for path in folder.iterdir()))
        if self.board.closed.is_set():
            return
        for name, one in names.items():
            self.take_in(one, folder / name)

    def _upload(self, place: str, files: Sequence[Incoming], after: str | None) -> str:
        """Start it as a job on the host, which goes on without us and keeps an idle guard waiting; returns its id.

        after: the upload before it; a hundred at once would leave the host nothing to train with
        """
        if self.program not in self.programs:
            hint = 'install the Google Cloud CLI there, or set transfer = "auto"'
            raise NotReady(f"{self.jobs.host.name} has no gcloud to upload with", hint)
        self._take_sums(files)
        paths = [f"{self.there}/{one.far_path}" for one in files]
        if odd := next((path for path in paths if set(path) & set(PATTERN)), None):
            raise TransferFailed(
                f"gcloud storage would read {shown(odd)} as a pattern", 'pull it with transfer = "ssh"'
            )
        argv = storage_cp_argv(paths, f"{place}/")
        for attempt in range(ATTEMPTS):
            key = hashlib.sha256(f"{place} {attempt}".encode()).hexdigest()
            said = self.jobs.ask(START, timeout_s=45.0, verb=JOB_VERB, argv=argv, spec={}, key=key, after=after)
            job = said.job
            row = self.jobs.row(job)
            if not row.has_ended or row.state == "succeeded":
                break
        self.board.note(f"{self.jobs.host.name} uploads {len(files)} files to {place} (job {job})")
        return job

    def _take_sums(self, files: Sequence[Incoming]) -> None:
        """Those that nobody has taken, while the host is there to take them."""
        lacking = {one.far_path: one for one in files if one.sha256 is None}
        if lacking:
            timeout_s = SUMS_TIMEOUT_S + sum(one.size for one in lacking.values()) / SLOW_HASH_BYTES_PER_S
            for said in self.jobs.ask(SUMS, timeout_s=timeout_s, paths=list(lacking)).files:
                if said.path in lacking:
                    lacking[said.path].sha256 = said.sha256

    def _is_uploaded(self, job: str, place: str, files: Sequence[Incoming]) -> bool:
        """Wait for it, and write down what lies in the bucket now. False when somebody ends the transfer meanwhile."""
        while not (row := self.jobs.row(job)).has_ended:
            if self.board.closed.wait(POLL_S):
                return False
        if row.state != "succeeded":
            raise TransferFailed(f"the upload of {place} {row.state}: {row.reason}", f"t2v logs {job}")
        self.memory.keep_uploaded(place, [(one.unit, one.file, one.sha256) for one in files])
        return True
