"""What OpenSSH makes of `~/.ssh/config` for one host: its own answer, `ssh -G HOST`, token by token.

Include, Match, the system's configuration, quoting and comments are OpenSSH's to read. Where there is no `ssh` program
paramiko reads the user's file as far as it can, and `by` says so.
"""

from __future__ import annotations

import getpass
import os
import pwd
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from t2v_core.workspace import expanded

OPENSSH, PARAMIKO, NOBODY = "ssh -G", "paramiko", "nobody"
SSH_PORT = 22
# OpenSSH's own, in its order (ssh_config(5), IdentityFile), without those whose key paramiko cannot use.
USUAL_KEYS = ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ecdsa_sk", "~/.ssh/id_ed25519", "~/.ssh/id_ed25519_sk")
AGENT_VARIABLE = "SSH_AUTH_SOCK"
TOKEN = re.compile(r"%(.)")
VARIABLE = re.compile(r"\$\{(\w+)\}")
FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
# Under these a host's key was never compared by anybody, so what known_hosts says of it is no word that we take.
UNASKED = ("no", "off", "false", "accept-new")


@dataclass(frozen=True)
class ClientConfig:
    """How OpenSSH would connect; paths are expanded, the proxies' texts are not.

    name:         as it was asked for, `%n`
    by:           who read the configuration
    agent:        the socket of the agent; "" for none
    known_hosts:  files whose keys somebody has compared; none under StrictHostKeyChecking no or accept-new
    trouble:      why OpenSSH itself was not asked; "" when it was
    """

    name: str
    host: str
    port: int = SSH_PORT
    user: str = ""
    identity_files: tuple[Path, ...] = ()
    certificate_files: tuple[Path, ...] = ()
    is_identities_only: bool = False
    uses_keys: bool = True
    agent: str = ""
    proxy_command: str = ""
    proxy_jump: str = ""
    key_alias: str = ""
    known_hosts: tuple[Path, ...] = ()
    family: socket.AddressFamily = socket.AF_UNSPEC
    bind_address: str = ""
    connect_timeout_s: float | None = None
    file: Path | None = None
    by: str = NOBODY
    trouble: str = ""

    @property
    def key_name(self) -> str:
        """Return what OpenSSH looks its key up under.

        That is the alias, else the address, with the port if it is not 22.
        """
        plain = self.host.lower()
        return self.key_alias or (plain if self.port == SSH_PORT else f"[{plain}]:{self.port}")


@dataclass(frozen=True)
class Credentials:
    """Who logs in, and with what.

    agent: the socket of an agent; "" for none
    is_identities_only: of the agent's keys only those that a file names are offered
    """

    user: str
    identity_files: Sequence[Path] = ()
    certificate_files: Sequence[Path] = ()
    agent: str = ""
    is_identities_only: bool = False
    uses_keys: bool = True


def unasked(name: str, *, host: str = "", user: str = "", port: int = SSH_PORT) -> ClientConfig:
    """Return the configuration as OpenSSH has it without any file."""
    usual = tuple(Path(key).expanduser() for key in USUAL_KEYS)
    agent = os.environ.get(AGENT_VARIABLE, "")
    return ClientConfig(name, host or name, port, user or getpass.getuser(), usual, agent=agent)


def config_of(answer: str, name: str, *, file: Path | None = None) -> ClientConfig:
    """Return what the lines of `ssh -G` say. Raises KeyError, ValueError for what is no answer of OpenSSH's."""
    said = _lines(answer)
    one = {key: values[-1] for key, values in said.items()}
    host, port, user = one["hostname"] or name, int(one["port"]), one["user"]
    if not 0 < port < 2**16:
        raise ValueError(f"{port} is no port")
    tokens = _tokens(name, host, port, user, one)
    checking = one.get("stricthostkeychecking", "ask")
    known = [word for key in ("userknownhostsfile", "globalknownhostsfile") for word in _words(one.get(key, ""))]
    timeout = one.get("connecttimeout", "none")
    return ClientConfig(
        name=name, host=host, port=port, user=user,
        identity_files=_paths(said.get("identityfile", ()), tokens),
        certificate_files=_paths(said.get("certificatefile", ()), tokens),
        is_identities_only=one.get("identitiesonly") == "yes",
        uses_keys=one.get("pubkeyauthentication", "yes") not in ("no", "false"),
        agent=_agent(one.get("identityagent", AGENT_VARIABLE), tokens),
        proxy_command="" if one.get("proxycommand", "none") == "none" else filled(one["proxycommand"], tokens),
        proxy_jump="" if one.get("proxyjump", "none") == "none" else filled(one["proxyjump"], tokens),
        key_alias=one.get("hostkeyalias", ""),
        known_hosts=() if checking in UNASKED else _paths(known, tokens),
        family=FAMILIES.get(one.get("addressfamily", "any"), socket.AF_UNSPEC),
        bind_address=one.get("bindaddress", ""),
        connect_timeout_s=float(timeout) if timeout.isdecimal() and int(timeout) > 0 else None,
        file=file, by=OPENSSH,
    )  # fmt: skip


def _lines(answer: str) -> dict[str, list[str]]:
    said: dict[str, list[str]] = {}
    for line in answer.splitlines():
        key, _, value = line.partition(" ")
        said.setdefault(key.lower(), []).append(value)
    return said


def _words(text: str) -> list[str]:
    """Several files of one line; a name with a space is not told from two."""
    return text.split()


def _tokens(name: str, host: str, port: int, user: str, one: Mapping[str, str]) -> dict[str, str]:
    """ssh_config(5), TOKENS; %C, whose meaning differs between versions, stays as it is."""
    here = socket.gethostname()
    return {
        "%": "%", "d": str(home()), "h": host, "i": str(os.getuid()), "j": one.get("proxyjump", ""),
        "k": one.get("hostkeyalias", host), "L": here.partition(".")[0], "l": here, "n": name, "p": str(port),
        "r": user, "u": user_here(),
    }  # fmt: skip


def plain_tokens(config: ClientConfig) -> dict[str, str]:
    """Return the tokens of a ProxyCommand that stands elsewhere, as in t2v.toml."""
    return {"%": "%", "h": config.host, "n": config.name, "p": str(config.port), "r": config.user}


def filled(text: str, tokens: Mapping[str, str]) -> str:
    """Fill the `%` tokens into a text; one that is not known stays as it is."""
    return TOKEN.sub(lambda found: tokens.get(found[1], found[0]), text)


def _paths(texts: Sequence[str], tokens: Mapping[str, str]) -> tuple[Path, ...]:
    return tuple(_path(text, tokens) for text in texts if text != "none")


def _path(text: str, tokens: Mapping[str, str]) -> Path:
    """`~` first, then tokens, then variables, as OpenSSH does it."""
    path = filled(str(home_path(text)), tokens)
    return Path(VARIABLE.sub(lambda found: os.environ.get(found[1], found[0]), path))


def _agent(text: str, tokens: Mapping[str, str]) -> str:
    if text == "none":
        return ""
    if text == AGENT_VARIABLE:
        return os.environ.get(AGENT_VARIABLE, "")
    if text.startswith("$") and not text.startswith("${"):
        return os.environ.get(text[1:], "")
    return str(_path(text, tokens))


def home() -> Path:
    """Return the account's home folder, which is what OpenSSH takes for `~`, whatever HOME says."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:  # a container's user without an account
        return Path.home()


def user_here() -> str:
    """Return the account's name; its number where it has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def home_path(text: str) -> Path:
    """Return a path with `~` and `~somebody` written out."""
    if text == "~" or text.startswith("~/"):
        return home() / text[2:]
    return expanded(Path(text))
