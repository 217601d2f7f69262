"""What is said of a VM when somebody leaves, or something fails, while work is being started on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from remote.errors import CloudError
from remote.hosts.host import Host
from remote.steps import Status
from t2v_core.errors import EngineError
from t2v_core.workspace import Workspace
from t2v_tui.cli.narrate import Narrator

if TYPE_CHECKING:
    from remote.power.host import MachineHost


@contextmanager
def told_if_left(host: Host, workspace: Workspace, teller: Narrator) -> Iterator[None]:
    """Tell of a VM when somebody leaves, or something fails, while inside; of other hosts there is nothing to tell.

    One that runs, comes up or may come up costs money: nobody leaves it without a word.
    """
    try:
        yield
    except KeyboardInterrupt:
        if (vm := _vm_of(host)) is not None:
            teller.say(f"left; checking the state of {vm.vm.name} …", "dim")
            tell_of_vm(vm, workspace, teller, is_off_worth_a_word=True)
        raise
    except EngineError as error:
        vm = _vm_of(host)
        if vm is not None and (vm.vm.is_start_asked or vm.has_seen_it_run or not isinstance(error, CloudError)):
            tell_of_vm(vm, workspace, teller)
        raise


def _vm_of(host: Host) -> MachineHost | None:
    from remote.power.host import switched  # a command on a host without one needs no SSH

    return switched(host)


def tell_of_vm(
    host: MachineHost, workspace: Workspace, teller: Narrator, *, then: str = "", is_off_worth_a_word: bool = False
) -> None:
    """Say whether it runs, comes up or may do so, by the API's word of now.

    then: what to say after that (default: what ends it)
    """
    from remote.power.start import left_vm

    try:
        state = left_vm(host, workspace)
    except KeyboardInterrupt:
        teller.say(
            f"its state is not known: it may be running, and costing money; t2v vm stop --host {host.name} stops it",
            "yellow",
        )
        raise
    if state.status is Status.NOTE:
        teller.say(f"{state.detail}; {then or state.hint}", "yellow")
    elif is_off_worth_a_word:
        teller.say(state.detail)
