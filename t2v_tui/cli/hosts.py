"""`t2v host`: which hosts there are, and whose keys we trust."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from remote.errors import HostKeyRefused
from remote.host_factory import host_named, switched_host
from remote.hosts.known_hosts import KnownHosts, fingerprint, known_hosts_file
from remote.hosts.settings import HostSettings, read_hosts
from t2v_core.errors import EngineError, InvalidRequest
from t2v_core.workspace import Workspace
from t2v_tui.cli.main import Common
from t2v_tui.find_workspace import find_workspace

if TYPE_CHECKING:
    from remote.hosts.ssh import SSHHost


def list_hosts(ctx: typer.Context) -> int:
    """List the hosts of t2v.toml, with the fingerprints pinned for them.

    \b
    A host in t2v.toml:
      [host.a100-golden]
      address = "34.1.2.3"          # or a Host of ~/.ssh/config
      user = "me"
      workdir = "~/text2video"      # the workspace there

    \b
    A VM of Google Cloud, whose address and keys come from there:
      [host.a100-golden]
      provider = "gcloud"
      zone = "us-central1-a"        # or gcloud's own configuration

    \b
    Any machine that commands can start and stop:
      [host.home]
      provider = "command"
      status_command = "./home.sh status"   # prints running or stopped
      start_command = "./home.sh start"
      stop_command = "./home.sh stop"
    """
    common: Common = ctx.obj
    workspace = find_workspace(common.workspace, os.environ)
    rows = [_row_of_host(name, settings, workspace) for name, settings in read_hosts(workspace).items()]
    if common.as_json:
        print(json.dumps(rows, indent=2))
        return 0
    if not rows:
        print("no host yet; `t2v host list --help` shows how to add one", file=sys.stderr)
    for row in rows:
        who = f"{row['user']}@" if row["user"] else ""
        print(f"{row['host']}\t{who}{row['route']}\t{' '.join(row['pinned']) or 'no key pinned'}")
    for trouble in dict.fromkeys(row["trouble"] for row in rows if row.get("trouble")):
        print(trouble, file=sys.stderr)
    return 0


def _row_of_host(name: str, settings: HostSettings, workspace: Workspace) -> dict[str, Any]:
    """What is wrong with one host is said beside it, and the others are listed all the same."""
    try:
        return _vm_row(name, settings, workspace) if settings.is_switched else _ssh_row(name, settings)
    except EngineError as error:
        trouble = f"{name}: {error.message}" + (f"; {error.hint}" if error.hint else "")
        return {"host": name, "route": "?", "user": settings.user or "", "pinned": [], "trouble": trouble}


def _ssh_row(name: str, settings: HostSettings) -> dict[str, Any]:
    from remote.hosts.ssh import SSHHost  # only a host's settings are needed to show --help

    host = SSHHost(name, settings)
    pinned, trouble = [fingerprint(key) for key in host.keys.taken], host.config.trouble
    row = {"host": name, "route": str(host.route), "user": host.user, "pinned": pinned}
    return row | ({"trouble": trouble} if trouble else {})


def _vm_row(name: str, settings: HostSettings, workspace: Workspace) -> dict[str, Any]:
    """Without asking its provider, so what its keys are pinned under may not be known."""
    host = switched_host(name, workspace)
    known, key_name = KnownHosts(known_hosts_file()), host.known_key_name
    pinned = [host.keys_by] if key_name is None else [fingerprint(key) for key in known.pinned(key_name)]
    return {"host": name, "route": host.vm.where, "user": settings.user or "", "pinned": pinned}


def trust(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="HOST", help="Name in t2v.toml.")],
    print_: Annotated[
        str | None,
        typer.Option(
            "--fingerprint", metavar="SHA256:…", help="Trust only this fingerprint, without asking.", show_default=False
        ),
    ] = None,
) -> int:
    """Look at a host's key, compare, and pin it. From then on only that key is accepted.

    The fingerprint has to come from somewhere you trust already, such as the machine's console or your provider's page:
    on the host, ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub prints it.

    \b
    Examples:
      t2v host trust a100-golden
      t2v host trust a100-golden --fingerprint SHA256:47DEQpj8HBSa…
    """
    from remote.hosts.ssh import SSHHost
    from remote.hosts.ssh_connection import shown_key  # paramiko, 0.3 s

    common: Common = ctx.obj
    host = host_named(name, find_workspace(common.workspace, os.environ))
    if not isinstance(host, SSHHost):
        raise InvalidRequest(f"{name} is this machine", "name a host of t2v.toml")
    return _pinned(host, shown_key(host.route), print_)


def _pinned(host: SSHHost, shown: str, expected: str | None) -> int:
    """Pin the key that a host shows when it is the expected one, else after a yes; returns the exit code."""
    name, known = host.name, KnownHosts(known_hosts_file())
    seen, pinned = fingerprint(shown), known.pinned(host.key_name)
    if shown in known.revoked():
        raise HostKeyRefused(f"{name} shows {seen}, a key that is revoked", "do not connect")
    if shown in pinned:
        print(f"{name}: {seen} is pinned already", file=sys.stderr)
        return 0
    if expected is not None and expected != seen:
        raise HostKeyRefused(f"{name} shows {seen}, and not {expected}", "do not connect until you know why")
    if expected is None and not _agreed(name, seen, [fingerprint(key) for key in pinned]):
        print("nothing is pinned", file=sys.stderr)
        return 2
    known.pin(host.key_name, [shown])
    print(f"{name}: {seen} is pinned in {_from_home(known.path)}", file=sys.stderr)
    return 0


def _agreed(name: str, seen: str, pinned: list[str]) -> bool:
    if not sys.stdin.isatty():
        raise InvalidRequest(
            f"{name} shows {seen}, and there is nobody here to confirm that it is the right one",
            hint=f"compare it, then: t2v host trust {name} --fingerprint {seen}",
        )
    for old in pinned:
        print(f"{name} had   {old}", file=sys.stderr)
    print(f"{name} shows {seen}", file=sys.stderr)
    return typer.confirm("Is that what its console says?", default=False, err=True)


def _from_home(path: Path) -> str:
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)
