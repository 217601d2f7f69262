"""The process that talks to Compute Engine: JSON lines in, JSON lines out, in the agent's form (see agent_client).

A program of its own, because importing google-cloud-compute takes seconds and keeps the interpreter from anything else
meanwhile; it imports nothing of t2v. Questions are plain GETs, so that the first answer is there before gcloud's own
would be; what changes something goes through the client, which is loaded then. Every failure is an answer,
`{"trouble": {"code": …}}`; gce_errors makes errors of them. Every call has a timeout and no retry but ours: the
client's goes on for ten minutes whatever the timeout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlsplit

Json = dict[str, Any]

API = "https://compute.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/compute"
CALL_TIMEOUT_S = 10.0
GCLOUD_TIMEOUT_S = 30.0
TOKEN_LASTS = timedelta(minutes=10)  # one that does not say how long is asked for again so soon
BEAT_S = 3.0
AT_ONCE = 8
LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Without this, google.auth asks the metadata server of a machine that may be none of Google's, for seconds.
os.environ.setdefault("NO_GCE_CHECK", "true")

_OUT = threading.Lock()
ASKS_GCLOUD = threading.Event()  # there is no application default login


class BadEndpoint(Exception):
    """T2V_COMPUTE_ENDPOINT would send the login over an open line."""


def say(value: Json) -> None:
    """Write one JSON line to stdout; any thread may."""
    with _OUT:
        os.write(1, json.dumps(value, separators=(",", ":")).encode() + b"\n")


class Answered(Exception):
    """An HTTP answer that is an error."""

    def __init__(self, status: int, body: Json) -> None:
        error = body.get("error", {})
        super().__init__(str(error.get("message", "")) or f"HTTP {status}")
        self.status, self.reasons = status, [one.get("reason", "") for one in error.get("errors", ())]


@cache
def endpoint() -> str:
    """Return where to ask. Raises BadEndpoint."""
    asked = os.environ.get("T2V_COMPUTE_ENDPOINT", "") or API
    if urlsplit(asked).scheme != "https" and not is_here(asked):
        raise BadEndpoint(f"T2V_COMPUTE_ENDPOINT={asked} is neither https nor on this machine")
    return asked


def is_here(asked: str) -> bool:
    """Tell whether a URL is plain http to this machine."""
    parts = urlsplit(asked)
    return parts.scheme == "http" and parts.hostname in LOOPBACK


@cache
def who() -> Any:
    """Return who asks. A server on this machine is asked without a login."""
    from google.auth.credentials import AnonymousCredentials

    return AnonymousCredentials() if is_here(endpoint()) else login()


@cache
def session() -> Any:
    """Return the HTTP session that carries the login, one for the whole process."""
    from google.auth.transport.requests import AuthorizedSession, Request

    # A request for tokens of our own making: the session's would try three times more.
    return AuthorizedSession(who(), auth_request=Request())


def read(path: str, **query: str) -> Json:
    """Return what the API says, as it says it. Raises Answered, and what google.auth and requests raise."""
    came = session().get(f"{endpoint()}/compute/v1/projects/{path}", params=query, timeout=CALL_TIMEOUT_S)
    try:
        body = dict(came.json())
    except ValueError:
        body = {}
    if came.status_code >= 400:
        raise Answered(came.status_code, body)
    return body


def login() -> Any:
    """Return the application default login; where there is none, gcloud's own, by which most people already are in."""
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError
    from google.oauth2.credentials import Credentials

    try:
        return google.auth.default(scopes=[SCOPE])[0]
    except DefaultCredentialsError:
        if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):  # somebody means that one
            raise
        ASKS_GCLOUD.set()
        return Credentials(token=None, refresh_handler=token_of_gcloud)


def token_of_gcloud(*_: object, **__: object) -> tuple[str, datetime]:
    """Return an access token and when it expires (UTC, naive as google.auth wants it). Raises RefreshError."""
    from google.auth.exceptions import RefreshError

    asked = ["gcloud", "config", "config-helper", "--format=json(credential)"]
    try:
        done = subprocess.run(
            asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=GCLOUD_TIMEOUT_S, check=False
        )
    except FileNotFoundError as error:
        raise RefreshError("gcloud-missing: ") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RefreshError(f"gcloud-login: {error}") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RefreshError(f"gcloud-login: {said[0] if said else 'gcloud says nothing'}")
    try:
        return _token_in(done.stdout)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RefreshError("gcloud-login: gcloud's answer holds no token") from error


def _token_in(said: str) -> tuple[str, datetime]:
    credential = json.loads(said)["credential"]
    expiry = credential.get("token_expiry") or (datetime.now(UTC) + TOKEN_LASTS).isoformat()
    return str(credential["access_token"]), datetime.fromisoformat(expiry).replace(tzinfo=None)


def get(asked: Json) -> Json:
    """Return one instance."""
    return read("{project}/zones/{zone}/instances/{instance}".format(**asked))


def guest_attributes(asked: Json) -> Json:
    """Return an instance's guest attributes below `query_path`."""
    path = "{project}/zones/{zone}/instances/{instance}/getGuestAttributes".format(**asked)
    return read(path, queryPath=asked["query_path"])


def list_instances(asked: Json) -> Json:
    """Return the instances of all zones."""
    found: list[Json] = []
    query: dict[str, str] = {}
    while True:
        page = read(f"{asked['project']}/aggregated/instances", **query)
        for zone in page.get("items", {}).values():
            found += zone.get("instances", ())
        if not page.get("nextPageToken"):
            return {"instances": found}
        query["pageToken"] = page["nextPageToken"]


def project(asked: Json) -> Json:
    """Return the project, with its metadata."""
    return read(asked["project"])


def operation(asked: Json) -> Json:
    """Return how an operation stands now.

    `result()` of the client's own asks the real API whatever the endpoint.
    """
    return read("{project}/zones/{zone}/operations/{operation}".format(**asked))


@cache
def instances() -> Any:
    """Return Google's client for instances, one for the whole process."""
    from google.api_core.client_options import ClientOptions
    from google.cloud.compute_v1 import InstancesClient

    return InstancesClient(credentials=who(), client_options=ClientOptions(api_endpoint=endpoint()))


def called(method: Callable[..., Any], **fields: Any) -> Any:
    """Call a method of Google's client once: it does not try again by itself."""
    return method(request=fields, retry=None, timeout=CALL_TIMEOUT_S)


def begun(method: str, **fields: Any) -> Json:
    """Make a change and return the operation that it has become."""
    return {"name": called(getattr(instances(), f"{method}_unary"), **fields).name}


def start(asked: Json) -> Json:
    """Begin to start an instance; return the operation."""
    return begun("start", **asked)


def resume(asked: Json) -> Json:
    """Begin to resume a suspended instance; return the operation."""
    return begun("resume", **asked)


def stop(asked: Json) -> Json:
    """Begin to stop an instance; return the operation."""
    return begun("stop", **asked)


def set_scheduling(asked: Json) -> Json:
    """Replace the whole scheduling, so what else there is goes along. max_run_s: 0 for no limit"""
    seconds, request_id = int(asked.pop("max_run_s")), asked.pop("request_id")
    scheduling = called(instances().get, **asked).scheduling
    del scheduling.max_run_duration, scheduling.termination_time, scheduling.instance_termination_action
    if seconds:
        scheduling.max_run_duration = {"seconds": seconds}
        scheduling.instance_termination_action = "STOP"
    return begun("set_scheduling", **asked, request_id=request_id, scheduling_resource=scheduling)


def set_metadata(asked: Json) -> Json:
    """Replace all items, with the fingerprint of those that they replace."""
    metadata = {"items": asked.pop("items"), "fingerprint": asked.pop("fingerprint")}
    return begun("set_metadata", **asked, metadata_resource=metadata)


VERBS: dict[str, Callable[[Json], Json]] = {
    "get": get, "list": list_instances, "project": project, "start": start, "resume": resume, "stop": stop,
    "guest_attributes": guest_attributes, "set_scheduling": set_scheduling, "set_metadata": set_metadata,
    "operation": operation,
}  # fmt: skip


def answer(asked: Json) -> None:
    """Answer something in any case: whoever asked would wait for it as long as may be."""
    try:
        said = outcome(asked)
    except Exception as error:  # noqa: BLE001 - of saying what was wrong
        said = {"trouble": {"code": "unexpected", "message": repr(error), "http": 0, "reason": ""}}
    say({"id": asked["id"], "ok": said})


def outcome(asked: Json) -> Json:
    """Return what the API says, or {"trouble": …} for whatever went wrong."""
    try:
        return VERBS[asked["ask"]](dict(asked.get("with", {})))
    except ImportError as error:
        return {"trouble": {"code": "no-client", "message": str(error)}}
    except Exception as error:  # noqa: BLE001 - whatever it is, it is an answer
        return {"trouble": trouble(error)}


def trouble(error: Exception) -> Json:
    """Return what was wrong as code, message, http and reason.

    code: a word of gce_errors.BY_CODE, or http; http: status or 0; reason, message: the API's own
    """
    import requests
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    said: Json = {"code": "unexpected", "message": str(error) or type(error).__name__, "http": 0, "reason": ""}
    match error:
        case Answered(status=401) if ASKS_GCLOUD.is_set():
            said["code"] = "login-gcloud"
        case Answered():
            said |= {"code": "http", "http": error.status, "reason": next(iter(error.reasons), "")}
        case api.Unauthorized() if ASKS_GCLOUD.is_set():
            said |= {"code": "login-gcloud", "message": error.message}
        case api.GoogleAPICallError(code=int(status)):
            first = next((one for one in error.errors if isinstance(one, dict)), {})
            said |= {"code": "http", "http": int(status), "message": error.message, "reason": first.get("reason", "")}
        case auth.RefreshError() | auth.DefaultCredentialsError() if "gcloud-login: " in str(error):
            said |= {"code": "login-gcloud", "message": str(error.args[0]).removeprefix("gcloud-login: ")}
        case auth.RefreshError() if "gcloud-missing: " in str(error):
            said["code"] = "no-gcloud"
        case auth.DefaultCredentialsError() if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
            said |= {"code": "login-file", "message": str(next(iter(error.args), error))}
        case auth.InvalidOperation() | auth.RefreshError() | auth.DefaultCredentialsError():
            said |= {"code": "login-application", "message": str(next(iter(error.args), error))}
        case auth.TransportError() | requests.RequestException() | api.RetryError():
            said["code"] = "unreachable"
        case BadEndpoint():
            said["code"] = "endpoint"
    return said


def lines() -> Iterator[Json]:
    """Yield the questions, one JSON line of stdin each."""
    for line in sys.stdin.buffer:
        yield json.loads(line)


def beat() -> None:
    """Write a beat to stdout every few seconds, for ever."""
    while True:
        time.sleep(BEAT_S)
        say({"beat": time.time()})


def main() -> None:
    """Answer what comes on stdin, several at a time, and exit when stdin ends."""
    say({"agent": "compute", "python": sys.version.split()[0]})
    threading.Thread(target=beat, daemon=True).start()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for asked in lines():
            pool.submit(answer, asked)
        os._exit(0)  # whoever asked is gone, and so is the need for answers that are still to come


if __name__ == "__main__":
    main()
