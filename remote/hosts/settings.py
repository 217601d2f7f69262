"""`[host.NAME]` sections of t2v.toml: where a host is, and where the workspace and its Python are there."""

from __future__ import annotations

import difflib
import unicodedata
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from t2v_core.disk.plain_toml import read_toml
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Workspace

LOCAL = "local"
# Below the workspace there: beside a venv/ of the user's own, which is not ours to touch.
ENGINE_PYTHON = ".t2v/venv/bin/python"


class HostSettings(BaseModel):
    """One host. What is left out, ~/.ssh/config says for the address."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str = Field("", description="name or IP, or a Host of ~/.ssh/config (default: the section's name)")
    user: str | None = Field(None, description="who logs in")
    port: int | None = Field(None, ge=1, le=65535, description="port of its SSH server")
    identity: Path | None = Field(None, description="private key file")
    jump: str | None = Field(None, description="host to go through, as for ssh -J")
    proxy_command: str | None = Field(None, description="program whose stdin and stdout are the connection")
    key_name: str | None = Field(None, description="name its key is pinned under (default: its address)")
    workdir: str = Field("~/text2video", description="the workspace there")
    python: str | None = Field(
        None, description="Python that has the engine (default: t2v's own, WORKDIR/.t2v/venv/bin/python)"
    )

    provider: Literal["ssh", "gcloud", "command"] = Field(
        "ssh",
        description="gcloud: a Compute Engine VM that t2v starts and stops; command: a machine that your own "
        "commands start and stop",
    )
    status_command: str | None = Field(None, min_length=1, description="prints running, stopped … or a JSON object")
    start_command: str | None = Field(None, min_length=1, description="starts the machine")
    stop_command: str | None = Field(None, min_length=1, description="stops the machine")
    project: str | None = Field(None, description="of the VM (default: gcloud's own configuration)")
    zone: str | None = Field(None, description="of the VM (default: gcloud's own configuration)")
    instance: str | None = Field(None, description="the VM's name (default: the section's name)")
    iap: bool = Field(False, description="reach it through Identity-Aware Proxy, without an address of its own")

    idle_stop_min: int = Field(30, ge=5, description="minutes without work after which the VM stops itself; see guard")
    max_run_h: float = Field(24.0, gt=0, description="hours after which the VM stops, busy or not")
    idle_gpu_percent: int = Field(5, ge=0, le=100, description="a GPU busier than this is at work")
    usd_per_hour: float | None = Field(None, ge=0, description="what the VM costs (default: the shipped table, est.)")

    transfer: Literal["auto", "ssh", "gcloud", "rsync", "bucket"] = Field(
        "auto", description="how files are transferred: auto uses ssh, which resumes and verifies by itself"
    )
    bucket: str | None = Field(
        None, pattern=r"^gs://", description="gs://NAME/FOLDER through which finished files are transferred"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _is_one_line(cls, value: object) -> object:
        """No name and no program of a host holds a new line, a NUL, or what a terminal would obey."""
        if isinstance(value, str) and any(unicodedata.category(letter) == "Cc" for letter in value):
            raise ValueError("it is one line of text, without control characters")
        return value

    @property
    def is_switched(self) -> bool:
        """Tell whether t2v switches the machine on and off."""
        return self.provider != "ssh"

    @property
    def engine_python(self) -> str:
        """Return the Python there that has the engine: `python` of the settings, else the one in `workdir`."""
        return self.python or f"{self.workdir}/{ENGINE_PYTHON}"


# Of a host that t2v.toml says nothing of.
DEFAULTS = HostSettings.model_validate({})


def read_hosts(workspace: Workspace) -> dict[str, HostSettings]:
    """Read every host that t2v.toml names. Raises InvalidRequest with file and section for one that is wrong."""
    file = workspace.settings_file
    sections = read_toml(file)[1].get("host", {})
    if not isinstance(sections, dict):
        raise InvalidRequest(f"{file}: 'host' is a section for each host", hint="write [host.NAME] on its own line")
    return {name: _settings(file, name, values) for name, values in sections.items()}


def _settings(file: Path, name: str, values: object) -> HostSettings:
    if not isinstance(values, dict):
        raise InvalidRequest(
            f"{file}: 'host.{name}' is a section, not a value", hint=f"write [host.{name}] on its line"
        )
    try:
        return HostSettings.model_validate({"address": name} | values)
    except ValidationError as error:
        raise InvalidRequest(*_wrong_setting(file, name, error.errors()[0])) from error


def _wrong_setting(file: Path, name: str, wrong: Any) -> tuple[str, str]:
    key = str(wrong["loc"][0]) if wrong["loc"] else ""
    if wrong["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, HostSettings.model_fields, n=1)
        return f"{file}: [host.{name}] has no setting '{key}'", f"did you mean '{near[0]}'?" if near else ""
    message = wrong["msg"][:1].lower() + wrong["msg"][1:]
    return (
        f"{file}: [host.{name}] {key} = {wrong['input']!r}: {message}",
        HostSettings.model_fields[key].description or "",
    )


def switched_hosts(workspace: Workspace) -> dict[str, HostSettings]:
    """Return the hosts whose machines t2v switches on and off. Raises InvalidRequest as `read_hosts` does."""
    return {name: one for name, one in read_hosts(workspace).items() if one.is_switched}


def settings_of(name: str, workspace: Workspace) -> HostSettings:
    """Return the host of that name. Raises InvalidRequest for one that t2v.toml does not know."""
    hosts = read_hosts(workspace)
    if name not in hosts:
        near = difflib.get_close_matches(name, [*hosts, LOCAL], n=1)
        hint = f"did you mean '{near[0]}'?" if near else f'add to t2v.toml: [host.{name}] and address = "…"'
        raise InvalidRequest(f"{workspace.settings_file} has no host '{name}'", hint=hint)
    return hosts[name]
