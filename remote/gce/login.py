"""Who logs in to a Compute Engine VM, and by which key, as `gcloud compute ssh` has it.

The key is gcloud's, ~/.ssh/google_compute_engine, made when there is none. A VM lets it in when its metadata names it,
or with OS Login when the account's profile does. It is put there when the VM refuses it, and not before: many who may
use a VM may not change it. Through the API, which needs no gcloud, and into the VM's own items: the project's belong to
others as well.
"""

from __future__ import annotations

import getpass
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remote.errors import AuthFailed, CannotStart, CloudError, LoginExpired
from remote.gce.gcloud_config import gcloud_says
from remote.gce.vm import Vm
from remote.text import GCLOUDS_OWN, LOG_IN, NOT_LOGGED_IN
from t2v_core.disk.plain_json import table
from t2v_core.disk.typed_json import Misfit, read_as
from t2v_core.errors import InvalidRequest

GCLOUD_TIMEOUT_S = 60.0
KEYGEN_TIMEOUT_S = 30.0
LINUX_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


@dataclass(frozen=True)
class Login:
    """is_os_login: the account's profile says who may log in, and the metadata does not"""

    user: str
    is_os_login: bool


def gcloud_key() -> Path:
    """Return where gcloud keeps its private SSH key; it may not be there."""
    return Path.home() / ".ssh/google_compute_engine"


def login_to(vm: Vm, user: str | None) -> Login:
    """Return how to log in: asked, not guessed, as with OS Login the name comes from the profile.

    user: of the settings, which decides.
    """
    items, project_items = vm.metadata()
    is_os_login = items.get("enable-oslogin", project_items.get("enable-oslogin", "")).upper() == "TRUE"
    if user is not None:
        return Login(user, is_os_login)
    return Login(_name_in(_profile()) if is_os_login else local_user(vm.name), is_os_login)


def local_user(vm: str) -> str:
    """Return the name here if it can be one there, else that of gcloud's account. Raises InvalidRequest."""
    names = (getpass.getuser(), (gcloud_says("account") or "").partition("@")[0].replace(".", "_"))
    for name in names:
        if LINUX_NAME.fullmatch(name):
            return name
    raise InvalidRequest(
        f"nothing says which user logs in to {vm}: {names[0]!r} is not a Linux user name", "set user for it in t2v.toml"
    )


def let_in(vm: Vm, login: Login, identity: Path) -> None:
    """Name our key where the VM looks. Raises AuthFailed when it already exists there and was refused, CloudError."""
    key = public_key(identity, login.user)
    if login.is_os_login:
        if any(key in str(one.get("key", "")) for one in _profile().get("sshPublicKeys", {}).values()):
            raise _refused(vm, login)
        _gcloud(["compute", "os-login", "ssh-keys", "add", f"--key={key}"])
        return
    items, project_items = vm.metadata()
    is_blocked = items.get("block-project-ssh-keys", "").upper() == "TRUE"
    texts = [items.get("ssh-keys", "")] + ([] if is_blocked else [project_items.get("ssh-keys", "")])
    if any(is_named(key, login.user, text) for text in texts):
        raise _refused(vm, login)
    vm.add_metadata(lambda now: now | {"ssh-keys": with_key(now.get("ssh-keys", ""), login.user, key)})


def _refused(vm: Vm, login: Login) -> AuthFailed:
    return AuthFailed(
        f"{vm.name} does not let {login.user} in, though it knows the key",
        "does gcloud compute ssh get in? Set user or identity for it in t2v.toml",
    )


def is_named(key: str, user: str, text: str) -> bool:
    """Tell whether a metadata item says that the key is the user's, for good: those of google-ssh expire."""
    lines = [line for line in text.splitlines() if " google-ssh " not in line]
    return any(line.strip().startswith(f"{user}:{key}") for line in lines)


def with_key(text: str, user: str, key: str) -> str:
    """Return the item with one line more; the others stay."""
    return "\n".join([*filter(None, text.splitlines()), f"{user}:{key} t2v"])


def public_key(identity: Path, user: str) -> str:
    """Return `type base64` of a private key, which is made when it is not there. Raises CannotStart."""
    if not identity.exists():
        _make_key(identity, user)
    beside = identity.with_name(f"{identity.name}.pub")
    text = beside.read_text() if beside.exists() else _keygen(["-y", "-P", "", "-f", str(identity)])
    return " ".join(text.split()[:2])


def _make_key(identity: Path, user: str) -> None:
    """Several may want it at once, and ssh-keygen refuses to write over a file: whoever is first has made it."""
    identity.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=identity.parent, prefix=".t2v-key-") as folder:
        made = Path(folder) / identity.name
        _keygen(["-q", "-t", "ed25519", "-N", "", "-C", f"{user}@t2v", "-f", str(made)])
        with suppress(FileExistsError):
            os.link(made, identity)
            public = f"{identity.name}.pub"
            made.with_name(public).replace(identity.with_name(public))


def _keygen(arguments: Sequence[str]) -> str:
    try:
        return subprocess.run(
            ["ssh-keygen", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=KEYGEN_TIMEOUT_S, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip()
        raise CannotStart(
            f"ssh-keygen cannot make or read {arguments[-1]}: {said}", "install openssh-client"
        ) from error


@dataclass(frozen=True)
class PosixAccount:
    """An account on machines, as OS Login has it."""

    username: str
    primary: bool = False


def _profile() -> dict[str, Any]:
    return _gcloud(["compute", "os-login", "describe-profile"])


def _name_in(profile: Mapping[str, Any]) -> str:
    said = profile.get("posixAccounts")
    known: list[PosixAccount] = []
    for one in said if isinstance(said, list) else ():
        with suppress(Misfit):
            known.append(read_as(PosixAccount, one))
    if not known:
        raise CloudError("OS Login has no account on machines for you", "gcloud compute os-login describe-profile")
    return min(known, key=lambda one: not one.primary).username


def _gcloud(arguments: Sequence[str]) -> dict[str, Any]:
    """What gcloud says, as JSON. Raises LoginExpired, CloudError."""
    try:
        done = subprocess.run(
            ["gcloud", *arguments, "--format=json", "--quiet"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=GCLOUD_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CloudError(
            f"gcloud could not read your OS Login profile: {error}", "install the Google Cloud CLI"
        ) from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["gcloud says nothing"]
        said = GCLOUDS_OWN.sub("", lines[0])
        kind = LoginExpired if NOT_LOGGED_IN.search(done.stderr) else CloudError
        raise kind(f"gcloud: {said}", LOG_IN if kind is LoginExpired else f"by hand: gcloud {' '.join(arguments)}")
    try:
        return table(done.stdout.encode() or b"{}")
    except ValueError as error:
        raise CloudError("gcloud's answer is not JSON", f"by hand: gcloud {' '.join(arguments)}") from error
