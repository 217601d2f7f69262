"""What is said of a VM when somebody leaves, or something fails, while work is being started on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from remote.errors import CloudError
from remote.hosts import Host
from remote.steps import Status
from t2v_core.errors import EngineError
from t2v_core.workspace import Workspace
from t2v_tui.cli.narrate import Narrator


@contextmanager
def told_if_left(host: Host, workspace: Workspace, teller: Narrator) -> Iterator[None]:
    """One that runs, comes up or may come up costs money: nobody leaves it without a word. Other hosts are none."""
    try:
        yield
    except KeyboardInterrupt:
        _tell(host, workspace, teller, is_left=True)
        raise
    except EngineError as error:
        if not isinstance(error, CloudError) or _is_start_asked(host):
            _tell(host, workspace, teller, is_left=False)
        raise


def _is_start_asked(host: Host) -> bool:
    from remote.gce_host import GceHost  # noqa: PLC0415 - no other host needs the cloud

    return isinstance(host, GceHost) and host.vm.is_start_asked


def _tell(host: Host, workspace: Workspace, teller: Narrator, *, is_left: bool) -> None:
    """is_left: by somebody, who is told of a VM that is off as well; who was told of an error knows that already"""
    from remote.gce_host import GceHost  # noqa: PLC0415 - as above
    from remote.vm_up import left_vm  # noqa: PLC0415

    if not isinstance(host, GceHost):
        return
    if is_left:
        teller.say(f"left; looking how {host.vm.name} stands …", "dim")
    try:
        state = left_vm(host, workspace)
    except KeyboardInterrupt:
        teller.say(f"nobody has looked: it may run, and cost money: t2v vm stop --host {host.name} ends that", "yellow")
        raise
    if state.status is Status.NOTE:
        teller.say(f"{state.detail}; {state.hint}", "yellow")
    elif is_left:
        teller.say(state.detail)
