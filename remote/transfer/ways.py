"""Which way the bytes take, by what t2v.toml says of a host: ssh (our own ranges), gcloud, rsync or bucket."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from remote.errors import NotReady
from remote.gce_host import GceHost
from remote.host_jobs import HostJobs
from remote.host_keys import KnownHosts
from remote.host_settings import read_hosts
from remote.ssh import SSHHost
from remote.transfer.argv import GcloudWay, SshWay
from remote.transfer.arrivals import Arrivals
from remote.transfer.board import Board
from remote.transfer.bucket import BucketCarrier
from remote.transfer.carriers import GcloudCarrier, RsyncCarrier
from remote.transfer.fetch_stream import FetchStream
from remote.transfer.incoming import Incoming
from remote.transfer.memory import Memory
from remote.transfer.plan import Plan
from remote.transfer.ranges import RangeQueue, Sizes, requests_for
from remote.transfer.streams import Streams

SSH, GCLOUD, RSYNC, BUCKET = "ssh", "gcloud", "rsync", "bucket"


class Carries(Protocol):
    """Brings what is expected to the arrivals, in threads of its own, until it is closed."""

    def start(self, to_send: int) -> None:
        """Raises NotReady."""

    def look(self) -> None:
        """To be called now and then."""

    def close(self) -> None:
        """What came is kept."""


def way_of(jobs: HostJobs, plan: Plan) -> tuple[str, str]:
    """The way, and a word about it when it is not the one that was asked for. Raises NotReady."""
    settings = read_hosts(jobs.workspace).get(jobs.host.name)
    asked = settings.transfer if settings is not None else "auto"
    if asked == RSYNC:
        lacking = "here" if shutil.which(RSYNC) is None else jobs.host.name if RSYNC not in plan.programs else ""
        return (SSH, f"there is no rsync {lacking}: taking ssh") if lacking else (RSYNC, "")
    if asked == BUCKET and (settings is None or settings.bucket is None):
        raise NotReady(
            f'[host.{jobs.host.name}] has transfer = "bucket" and no bucket', 'add bucket = "gs://NAME/FOLDER"'
        )
    return (SSH if asked == "auto" else asked), ""


def carrier(
    way: str, jobs: HostJobs, plan: Plan, incoming: Sequence[Incoming], arrivals: Arrivals, board: Board, *,
    sizes: Sizes, most_streams: int,
) -> Carries:  # fmt: skip
    """What brings these files that way. Raises NotReady."""
    host = jobs.host
    if way == GCLOUD:
        if not isinstance(host, GceHost):
            raise NotReady(f"{host.name} is no VM that gcloud knows", 'set provider = "gcloud", or transfer = "auto"')
        return GcloudCarrier(gcloud_way(host), plan.there, incoming, arrivals, board)
    if way == RSYNC and isinstance(host, SSHHost):
        staging = Memory(jobs.workspace, host.name).folder / "rsync"
        return RsyncCarrier(ssh_way(host), plan.there, incoming, arrivals, board, staging)
    if way == BUCKET:
        bucket = read_hosts(jobs.workspace)[host.name].bucket or ""
        return BucketCarrier(bucket, jobs, plan.there, incoming, arrivals, board, plan.programs)
    ranges = RangeQueue(requests_for(incoming, sizes))
    return Streams(
        host, ranges, board, lambda one: FetchStream(one, ranges, arrivals, board), most=most_streams
    )  # fmt: skip


def ssh_way(host: SSHHost) -> SshWay:
    """As t2v itself reaches it."""
    route, identity = host.route, host.identity
    return SshWay(
        user=host.user, host=route.host, port=route.port, key_name=host.key_name, known_hosts=host.known_hosts.path,
        identity=None if identity is None else str(identity.expanduser()), proxy=tuple(route.proxy),
    )  # fmt: skip


def gcloud_way(host: GceHost) -> GcloudWay:
    """gcloud trusts any key the first time; so it is told the one that is pinned, and to take no other."""
    theirs = KnownHosts(Path.home() / ".ssh/google_compute_known_hosts")
    if not theirs.pinned(host.key_name):
        theirs.pin(host.key_name, host.known_hosts.pinned(host.key_name))
    vm = host.vm
    return GcloudWay(vm.name, vm.project, vm.zone, host.user, host.settings.port, is_iap=host.settings.iap)
