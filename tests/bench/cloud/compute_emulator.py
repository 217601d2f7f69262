"""Compute Engine's HTTP API on loopback, for the real google-cloud-compute client and the real gcloud command.

It answers as the API does, misbehaves when it is told to, and remembers every request.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench.cloud.compute_faults import Fault, Refused, Request, fault_for
from bench.cloud.compute_state import Cloud, Guest, Instance, Json, Metadata, Operation, OperationError
from bench.cloud.gcloud_env import gcloud_env
from bench.cloud.guest_agent import NoGuest, OsLogin
from bench.loopback import OnLoopback

BASE = "/compute/v1"
# The API's own is two minutes.
WAIT_LIMIT_S = 5.0


@dataclass
class ComputeEmulator(OnLoopback):
    """A context manager; `url` while it is open.

    wait_s: how long `operations/…/wait` waits at most; 0: it returns at once, DONE or not
    token:  the only bearer token that is let in; None: anybody
    """

    guest: Guest = field(default_factory=NoGuest)
    os_login: OsLogin = field(default_factory=lambda: OsLogin("me_example_com"))
    wait_s: float = WAIT_LIMIT_S
    token: str | None = None
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cloud = Cloud(self.guest)
        self.bind(_handler_of(self))
        self._lock = threading.Lock()

    def reset(self) -> None:
        """As new, at the same address, when everything that was under way has ended."""
        self.cloud.close()
        self.cloud = Cloud(self.guest)
        self.wait_s, self.token = WAIT_LIMIT_S, None
        self.faults.clear()
        self.requests.clear()

    def __exit__(self, *_: object) -> None:
        self.cloud.close()
        super().__exit__()

    def seen(self, pattern: str) -> list[Request]:
        """The requests that fit a pattern for `METHOD path`, in order."""
        return [one for one in self.requests if re.search(pattern, str(one))]

    def fail(self, fits: str, status: int, **how: Any) -> Fault:
        fault = Fault(fits, status, **how)
        self.faults.append(fault)
        return fault

    def fail_operation(self, verb: str, code: str, *, times: int = 1, **how: Any) -> None:
        """The next operations of that kind are DONE with an error."""
        self.cloud.errors.setdefault(verb, []).extend(OperationError(code, **how) for _ in range(times))

    def fault_for(self, request: Request, *, is_after: bool) -> Fault | None:
        with self._lock:
            return fault_for(self.faults, str(request), is_after=is_after)

    def environment(self, home: Path) -> dict[str, str]:
        """For a process whose cloud this is: t2v's client, and gcloud with a home and configuration of its own."""
        return gcloud_env(home) | {
            "T2V_COMPUTE_ENDPOINT": self.url,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{self.url}{BASE}/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_OSLOGIN": f"{self.url}/",
            "CLOUDSDK_CORE_PROJECT": self.cloud.project,
            "CLOUDSDK_COMPUTE_ZONE": "us-central1-a",
            "HOME": str(home),
            "PATH": os.environ["PATH"],
        }

    def respond(self, request: Request) -> Json:
        """The body of the answer. Raises Refused."""
        self.cloud.notice()
        base = f"{self.url}{BASE}/projects/{self.cloud.project}"
        if request.path.startswith("/v1/users/"):
            return self._of_os_login(request)
        path = request.path.removeprefix(BASE)
        if not path.startswith(f"/projects/{self.cloud.project}"):
            raise Refused(404, f"The resource '{path.lstrip('/')}' was not found")
        return _Api(self.cloud, base, self.wait_s).answer(request, path.split("/")[3:])

    def _of_os_login(self, request: Request) -> Json:
        """Another service, of which gcloud asks two things."""
        if request.path.endswith(":importSshPublicKey"):
            self.os_login.keys.append(request.body["key"])
            for instance in self.cloud.instances.values():
                self.guest.metadata_changed(instance, self.cloud.metadata.items)
            return {"loginProfile": self.os_login.profile()}
        return self.os_login.profile()


@dataclass
class _Api:
    """One request carried out; `parts` is its path below the project."""

    cloud: Cloud
    base: str
    wait_s: float

    def answer(self, request: Request, parts: list[str]) -> Json:
        match request.method, parts:
            case "GET", []:
                common = self.cloud.metadata.to_json()
                return {"kind": "compute#project", "name": self.cloud.project, "id": "1", "selfLink": self.base,
                        "commonInstanceMetadata": common, "defaultServiceAccount": "sa@example.com"}  # fmt: skip
            case "POST", ["setCommonInstanceMetadata"]:
                self._write(self.cloud.metadata, request.body)
                return self._operation("setMetadata", "", "", self._tell_guests)
            case "GET", ["aggregated", "instances"]:
                return self._aggregated(request.query.get("filter", ""))
            case "GET", ["zones", zone, "instances"]:
                return {"kind": "compute#instanceList", "items": self._in_zone(zone)}
            case _, ["zones", zone, "instances", name, *verb]:
                return self._of_instance(request, self._instance(zone, name), verb)
            case _, ["zones", _, "operations", name, *verb] | ["global", "operations", name, *verb]:
                return self._of_operation(name, verb)
        raise Refused(404, f"no such method: {request}")

    def _in_zone(self, zone: str) -> list[Json]:
        return [one.to_json(self.base) for (where, _), one in self.cloud.instances.items() if where == zone]

    def _aggregated(self, wanted: str) -> Json:
        by_zone: Json = {}
        for instance in self.cloud.instances.values():
            if "status eq RUNNING" not in wanted or instance.status == "RUNNING":
                row = by_zone.setdefault(f"zones/{instance.zone}", {"instances": []})
                row["instances"].append(instance.to_json(self.base))
        return {"kind": "compute#instanceAggregatedList", "items": by_zone}

    def _instance(self, zone: str, name: str) -> Instance:
        if (zone, name) not in self.cloud.instances:
            where = f"projects/{self.cloud.project}/zones/{zone}/instances/{name}"
            raise Refused(404, f"The resource '{where}' was not found")
        return self.cloud.instances[zone, name]

    def _of_instance(self, request: Request, instance: Instance, verb: list[str]) -> Json:
        cloud = self.cloud
        match request.method, verb:
            case "GET", []:
                return instance.to_json(self.base)
            case "GET", ["getGuestAttributes"]:
                return self._guest_attributes(instance, request.query.get("queryPath", ""))
            case "POST", ["start" | "resume" as verb_]:
                return self._operation(verb_, instance.name, instance.zone, lambda: cloud.bring_up(instance))
            case "POST", ["stop"]:
                return self._operation("stop", instance.name, instance.zone, lambda: cloud.bring_down(instance))
            case "POST", ["setMetadata"]:
                self._write(instance.metadata, request.body)
                return self._operation("setMetadata", instance.name, instance.zone, self._tell_guests)
            case "POST", ["setScheduling"]:
                if instance.status != "TERMINATED":
                    raise Refused(400, "Instance must be stopped to change maxRunDuration.")
                seconds = int(request.body.get("maxRunDuration", {}).get("seconds", 0))
                instance.max_run_s = seconds or None
                return self._operation("setScheduling", instance.name, instance.zone, lambda: None)
        raise Refused(404, f"no such method: {request}")

    def _guest_attributes(self, instance: Instance, query: str) -> Json:
        namespace = query.partition("/")[0]
        is_on = instance.metadata.items.get("enable-guest-attributes", "").upper() == "TRUE"
        found = instance.guest_attributes.get(namespace, {}) if is_on else {}
        if not found:
            raise Refused(404, f"The resource '{query}' of type 'Guest Attribute' was not found.")
        items = [{"namespace": namespace, "key": key, "value": value} for key, value in found.items()]
        return {"kind": "compute#guestAttributes", "queryPath": query, "queryValue": {"items": items}}

    def _write(self, metadata: Metadata, body: Json) -> None:
        if body.get("fingerprint") != metadata.fingerprint:
            raise Refused(412, "Supplied fingerprint does not match current metadata fingerprint.")
        metadata.items = {one["key"]: one["value"] for one in body.get("items", [])}

    def _tell_guests(self) -> None:
        for instance in self.cloud.instances.values():
            self.cloud.guest.metadata_changed(instance, self.cloud.metadata.items)

    def _operation(self, verb: str, name: str, zone: str, work: Callable[[], None]) -> Json:
        target = f"zones/{zone}/instances/{name}" if zone else ""
        return self.cloud.begin(verb, target, zone, work).to_json(self.base)

    def _of_operation(self, name: str, verb: list[str]) -> Json:
        operation: Operation | None = self.cloud.operations.get(name)
        if operation is None:
            raise Refused(404, f"The resource 'operations/{name}' was not found")
        if verb == ["wait"]:
            self.cloud.await_operation(operation, self.wait_s)
        return operation.to_json(self.base)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: in two, the second waits 40 ms for an acknowledgement
    emulator: ComputeEmulator

    def log_message(self, *_: object) -> None:
        """The request log is `emulator.requests`."""

    def answer(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        request = Request(self.command, parts.path, query, json.loads(body) if body else {})
        self.emulator.requests.append(request)
        try:
            self._check(request)
            answer = self.emulator.respond(request)
            self._misbehave(self.emulator.fault_for(request, is_after=True))
            self._send(200, answer)
        except Refused as refused:
            self._send(refused.status, refused.body)

    def _check(self, request: Request) -> None:
        self._misbehave(self.emulator.fault_for(request, is_after=False))
        if self.emulator.token not in (None, self.headers.get("Authorization", "").removeprefix("Bearer ")):
            raise Refused(401, "Request had invalid authentication credentials.")

    def _misbehave(self, fault: Fault | None) -> None:
        if fault is None:
            return
        if fault.status == 0:
            self.emulator.cloud.closing.wait()
            self.close_connection = True
        raise Refused(fault.status or 503, fault.message or f"injected {fault.status}", fault.reason)

    def _send(self, status: int, body: Json) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _handler_of(emulator: ComputeEmulator) -> type[BaseHTTPRequestHandler]:
    verbs = dict.fromkeys(("do_GET", "do_POST"), _Handler.answer)
    return type("Handler", (_Handler,), {"emulator": emulator, **verbs})
