"""Asking OpenSSH what its configuration says of a host, once a connection and only when a file has changed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from remote.agent.base.bounded import ran
from remote.errors import HostUnreachable, SshConfigWrong
from remote.hosts.ssh_config import AGENT_VARIABLE, NOBODY, PARAMIKO, ClientConfig, config_of, home, unasked
from remote.text import shown
from t2v_core.workspace import expanded

# It takes 5 to 20 ms; a `Match exec` or a name server may take longer, or for ever.
ASK_TIMEOUT_S = 15.0
# A file may come where nothing lay that a pattern of Include meant, which no time of another file tells.
KEPT_FOR_S = 60.0
READ_LINE = re.compile(r"^debug1: Reading configuration data (.+?)\r?$", re.MULTILINE)
# What depends on more than the files: such an answer holds for one connection.
CHANGEABLE = re.compile(rb"(?im)^\s*match\b.*\b(exec|localnetwork)\b|^\s*canonicalizehostname\s*=?\s*\"?(yes|always)")
NARRATION = ("debug", "Pseudo", "OpenSSH_")
NO_ACCOUNT = "No user exists for uid"
NO_SSH = "there is no ssh program here: only the plain Host lines of ~/.ssh/config count"

# As of another program under that name, which is no mistake in the user's file.
NOT_OPENSSH = "the ssh program here is not OpenSSH's: only the plain Host lines of ~/.ssh/config count"
IS_UNKNOWN = re.compile(r"^Dropbear |(unknown|illegal|invalid|unrecognized) option\b.*\bG\b", re.MULTILINE)

Times = tuple[tuple[str, int], ...]
Question = tuple[str, str | None, int | None, str | None, str | None]


@dataclass(frozen=True)
class _Kept:
    config: ClientConfig
    files: tuple[str, ...]
    times: Times
    asked_at: float


_KEPT: dict[Question, _Kept] = {}
_LOCK = threading.Lock()


def client_config(
    name: str, *, user: str | None = None, port: int | None = None, file: Path | None = None
) -> ClientConfig:
    """Return what OpenSSH would do to reach `name`; not for the terminal UI's own thread.

    user, port: said elsewhere, as by ssh -l and -p
    file:       instead of the user's and the system's configuration, as by ssh -F
    Raises SshConfigWrong with OpenSSH's own words, HostUnreachable when it does not answer in time.
    """
    question = (name, user, port, None if file is None else str(file), os.environ.get(AGENT_VARIABLE))
    with _LOCK:
        kept = _KEPT.get(question)
    if kept is not None and time.monotonic() - kept.asked_at < KEPT_FOR_S and _times(kept.files) == kept.times:
        return kept.config
    if shutil.which("ssh") is None:
        return replace(_without_openssh(name, user, port, file), trouble=NO_SSH)
    return _asked(question, name, user, port, file)


def ssh_argv(name: str, user: str | None, port: int | None, file: Path | None) -> list[str]:
    """Return the exact question. -v names each file that was read, which is what the answer depends on."""
    where = [] if file is None else ["-F", str(file) if file.exists() else "none"]
    where += [] if port is None else ["-p", str(port)]
    return ["ssh", "-G", "-v", "-T", *where, *([] if user is None else ["-l", user]), "--", name]


def _asked(question: Question, name: str, user: str | None, port: int | None, file: Path | None) -> ClientConfig:
    before = _times(_looked_at(file, ()))
    try:
        done = ran(ssh_argv(name, user, port, file), ASK_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise HostUnreachable(
            f"`ssh -G {name}` does not answer within {ASK_TIMEOUT_S:.0f} s",
            "a Match exec or CanonicalizeHostname in ~/.ssh/config waits for something",
        ) from error
    said = os.fsdecode(done.stderr)
    if done.returncode:
        if NO_ACCOUNT in said:
            return replace(_without_openssh(name, user, port, file), trouble=f"ssh does not run here: {NO_ACCOUNT}")
        if IS_UNKNOWN.search(said):
            return replace(_without_openssh(name, user, port, file), trouble=NOT_OPENSSH)
        raise SshConfigWrong(f"OpenSSH cannot say how to reach {name}: {_why(said)}", f"by hand: ssh -G {name}")
    try:
        config = config_of(os.fsdecode(done.stdout), name, file=file)
    except (KeyError, ValueError):
        return replace(_without_openssh(name, user, port, file), trouble=NOT_OPENSSH)
    if not config.user.isprintable():  # bytes that are no UTF-8, which nobody can log in as
        raise SshConfigWrong(f"the User of {name} in ~/.ssh/config is not UTF-8", "write the file anew as UTF-8")
    read = tuple(READ_LINE.findall(said))
    files = _looked_at(file, read)
    if _times(_looked_at(file, ())) == before and not any(_is_changeable(path) for path in read):
        with _LOCK:
            _KEPT[question] = _Kept(config, files, _times(files), time.monotonic())
    return config


def _looked_at(file: Path | None, read: Sequence[str]) -> tuple[str, ...]:
    """What was read, what would have been, and the folders they lie in, whose files may be included by pattern."""
    usual = [str(file)] if file is not None else [str(home() / ".ssh/config"), "/etc/ssh/ssh_config"]
    files = sorted({*usual, *read})
    return (*files, *sorted({str(Path(path).parent) for path in files} | {"/etc/ssh/ssh_config.d"}))


def _times(files: Sequence[str]) -> Times:
    return tuple((path, _time(path)) for path in files)


def _time(path: str) -> int:
    """Of the last change to content or mode; −1 for one that is not there."""
    try:
        return Path(path).stat().st_ctime_ns
    except OSError:
        return -1


def _is_changeable(path: str) -> bool:
    try:
        return CHANGEABLE.search(Path(path).read_bytes()) is not None
    except OSError:
        return True


def _why(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith(NARRATION)]
    counted = [line for line in lines if "terminating" not in line]
    return shown((counted or lines or ["it does not say why"])[0])


def _without_openssh(name: str, user: str | None, port: int | None, file: Path | None) -> ClientConfig:
    """As paramiko reads one file; whatever it does not understand is left out."""
    path = file or Path("~/.ssh/config").expanduser()
    plain = unasked(name)
    said = _lookup(path, name) if path.is_file() else {}
    identities = tuple(expanded(Path(str(one))) for one in said.get("identityfile") or ())
    numbers = str(said.get("port", "")).split()
    proxy, jump = (str(said.get(key) or "") for key in ("proxycommand", "proxyjump"))
    return replace(
        plain,
        host=str(said.get("hostname") or name),
        port=port or (int(numbers[0]) if numbers and numbers[0].isdecimal() else plain.port),
        user=user or str(said.get("user") or plain.user),
        identity_files=identities or plain.identity_files,
        is_identities_only=str(said.get("identitiesonly", "")).lower() == "yes",
        proxy_command="" if proxy.lower() == "none" else proxy,
        proxy_jump="" if jump.lower() == "none" else jump,
        key_alias=str(said.get("hostkeyalias") or ""),
        file=file,
        by=PARAMIKO if said else NOBODY,
    )


def _lookup(path: Path, name: str) -> dict[str, Any]:
    import paramiko  # 0.3 s, and only where there is no OpenSSH

    try:
        return dict(paramiko.SSHConfig.from_text(path.read_bytes().decode(errors="replace")).lookup(name))
    except (paramiko.SSHException, OSError) as error:
        raise SshConfigWrong(f"{path} cannot be read: {error}", "or install openssh-client, which reads it") from error
