"""Which way the bytes take, by what t2v.toml says of a host: ssh (our own ranges), gcloud, rsync or bucket."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Protocol

from remote.errors import NotReady
from remote.host_factory import gcloud_way
from remote.hosts.ssh import SSHHost
from remote.jobs.client import HostJobs
from remote.transfer.arrivals import Arrivals
from remote.transfer.board import Board
from remote.transfer.carriers.bucket import BucketCarrier
from remote.transfer.carriers.programs import GcloudCarrier, RsyncCarrier
from remote.transfer.fetch_stream import FetchStream
from remote.transfer.incoming import Incoming
from remote.transfer.links.ssh_way import ssh_way
from remote.transfer.plan.memory import ArrivedFiles
from remote.transfer.plan.pull_plan import Plan
from remote.transfer.ranges import RangeQueue, Sizes, requests_for
from remote.transfer.streams import Streams

SSH, GCLOUD, RSYNC, BUCKET = "ssh", "gcloud", "rsync", "bucket"


class Carries(Protocol):
    """Brings what is expected to the arrivals, in threads of its own, until it is closed."""

    def start(self, to_send: int) -> None:
        """Start bringing; `to_send` is in bytes. Raises NotReady."""

    def look(self) -> None:
        """Look whether there is more to do; to be called now and then."""

    def close(self) -> None:
        """Stop bringing. What came is kept."""


def way_of(jobs: HostJobs, plan: Plan) -> tuple[str, str]:
    """Return the way, and a word about it when it is not the one that was asked for. Raises NotReady."""
    settings = jobs.host.settings
    asked = settings.transfer
    if asked == RSYNC:
        lacking = "here" if shutil.which(RSYNC) is None else jobs.host.name if RSYNC not in plan.programs else ""
        return (SSH, f"there is no rsync {lacking}: taking ssh") if lacking else (RSYNC, "")
    if asked == BUCKET and settings.bucket is None:
        raise NotReady(
            f'[host.{jobs.host.name}] has transfer = "bucket" and no bucket', 'add bucket = "gs://NAME/FOLDER"'
        )
    return (SSH if asked == "auto" else asked), ""


def carrier(
    way: str, jobs: HostJobs, plan: Plan, incoming: Sequence[Incoming], arrivals: Arrivals, board: Board, *,
    sizes: Sizes, most_streams: int,
) -> Carries:  # fmt: skip
    """Return what brings these files that way. Raises NotReady."""
    host = jobs.host
    if way == GCLOUD:
        if (gclouds := gcloud_way(host)) is None:
            raise NotReady(
                f"{host.name} is not a VM that gcloud knows", 'set provider = "gcloud", or transfer = "auto"'
            )
        return GcloudCarrier(gclouds, plan.there, incoming, arrivals, board)
    if way == RSYNC and isinstance(host, SSHHost):
        staging = ArrivedFiles(jobs.workspace, host.name).folder / "rsync"
        return RsyncCarrier(ssh_way(host), plan.there, incoming, arrivals, board, staging)
    if way == BUCKET:
        return BucketCarrier(host.settings.bucket or "", jobs, plan.there, incoming, arrivals, board, plan.programs)
    ranges = RangeQueue(requests_for(incoming, sizes))
    return Streams(
        host, ranges, board, lambda one: FetchStream(one, ranges, arrivals, board), most=most_streams
    )  # fmt: skip
