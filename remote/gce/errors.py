"""From what Compute Engine says is wrong to our errors: one table for HTTP answers, one for operations that failed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from remote.errors import (
    CloudError,
    CloudUnreachable,
    Forbidden,
    LoginExpired,
    MetadataChanged,
    QuotaExceeded,
    RateLimited,
    RemoteError,
    Stockout,
    VmNotFound,
    VmRefused,
)
from remote.text import GCLOUDS_OWN, LOG_IN

LOG_IN_APPLICATION = "gcloud auth application-default login"
QUOTA_PAGE = "ask for more at console.cloud.google.com/iam-admin/quotas"
LATER = "only Google can fix it; try again in a minute"

# What the helper found out by itself.
BY_CODE: dict[str, tuple[type[CloudError], str, str]] = {
    "login-gcloud": (LoginExpired, "gcloud's login is missing or has expired: {said}", LOG_IN),
    "no-gcloud": (
        LoginExpired, "nobody is logged in here: there is no application default login, and gcloud is not installed",
        f"install the Google Cloud CLI, then: {LOG_IN}",
    ),
    "login-application": (LoginExpired, "the application default login has expired: {said}", LOG_IN_APPLICATION),
    "login-file": (
        LoginExpired, "the login that GOOGLE_APPLICATION_CREDENTIALS names cannot be used: {said}",
        "point it at another file, or unset it",
    ),
    "unreachable": (CloudUnreachable, "Google Cloud cannot be reached: {said}", "is this machine online?"),
    "endpoint": (CloudError, "{said}", "unset T2V_COMPUTE_ENDPOINT"),
    "no-client": (CloudError, "google-cloud-compute is not installed: {said}", "reinstall t2v"),
    "unexpected": (CloudError, "the Compute Engine client failed: {said}", "a bug, or a broken installation of t2v"),
}  # fmt: skip
# Reasons decide before the status does: a quota and a rate limit may both be 403.
BY_REASON: dict[str, tuple[type[CloudError], str, str]] = {
    "quotaExceeded": (QuotaExceeded, "the project's quota is used up: {said}", QUOTA_PAGE),
    "rateLimitExceeded": (RateLimited, "Google Cloud asks for fewer requests: {said}", "wait a minute"),
    "userRateLimitExceeded": (RateLimited, "Google Cloud asks for fewer requests: {said}", "wait a minute"),
    "accessNotConfigured": (
        Forbidden, "the Compute Engine API is off in that project: {said}",
        "gcloud services enable compute.googleapis.com",
    ),
}  # fmt: skip
BY_STATUS: dict[int, tuple[type[CloudError], str, str]] = {
    400: (VmRefused, "Compute Engine refuses: {said}", "t2v vm status shows its state"),
    401: (LoginExpired, "Google Cloud does not accept the login: {said}", LOG_IN_APPLICATION),
    403: (Forbidden, "Google Cloud does not allow it: {said}",
          "is it the right account and project? see: gcloud config list; it needs the role Compute Instance Admin"),
    404: (VmNotFound, "there is no such VM: {said}", "t2v vm list shows what there is"),
    409: (VmRefused, "Compute Engine refuses: {said}", "t2v vm status shows its state"),
    412: (MetadataChanged, "the VM's metadata was changed meanwhile: {said}", "try again"),
    429: (RateLimited, "Google Cloud asks for fewer requests: {said}", "wait a minute"),
}  # fmt: skip
SERVERS_FAULT = (CloudUnreachable, "Google Cloud has a problem of its own ({http}): {said}", LATER)
# Both are in use for the same thing; the second one says where there is room.
STOCKOUT = ("ZONE_RESOURCE_POOL_EXHAUSTED", "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS")
BY_OPERATION: dict[str, tuple[type[CloudError], str, str]] = {
    "QUOTA_EXCEEDED": (QuotaExceeded, "the project's quota is used up: {said}", QUOTA_PAGE),
    "RESOURCE_NOT_FOUND": (VmNotFound, "{said}", "t2v vm list shows what there is"),
    "RATE_LIMIT_EXCEEDED": (RateLimited, "Google Cloud asks for fewer requests: {said}", "wait a minute"),
    "PERMISSIONS_ERROR": (Forbidden, "Google Cloud does not allow it: {said}", "see: gcloud config list"),
    "INTERNAL_ERROR": (CloudUnreachable, "Google Cloud has a problem of its own: {said}", LATER),
}
# `HTTPSConnectionPool(host='compute.googleapis.com', port=443): … [Errno -3] Temporary failure in name resolution")`
NETWORK_REASON = re.compile(r"\[Errno -?\d+\] ([^\"'()\[\]]+)")
NETWORK_HOST = re.compile(r"host='(?P<host>[^']+)'")
REQUEST_LINE = re.compile(r"^(?:GET|POST) \S+: ")


@dataclass(frozen=True)
class Trouble:
    """What the helper answers where something went wrong.

    code: a word of BY_CODE, or http; http: the status, or 0; reason, message: the API's own
    """

    code: str = ""
    message: str = ""
    http: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Answer:
    """What the helper answers, as far as it is told here: trouble, or else what was asked for, as the API says it."""

    trouble: Trouble | None = None


def error_of_trouble(trouble: Trouble) -> CloudError:
    """Return the typed error for what the helper answered."""
    said = REQUEST_LINE.sub("", GCLOUDS_OWN.sub("", trouble.message))
    said = _network_in_words(said) if trouble.code == "unreachable" else said
    found = (
        BY_CODE.get(trouble.code)
        or BY_REASON.get(trouble.reason)
        or BY_STATUS.get(trouble.http)
        or (SERVERS_FAULT if trouble.http >= 500 else (VmRefused, "Compute Engine answers {http}: {said}", ""))
    )
    return _made(found, said, trouble.http)


def _network_in_words(said: str) -> str:
    """What the system says at the bottom of requests' and urllib3's words: `Connection refused`, by whom."""
    why = NETWORK_REASON.findall(said)
    where = NETWORK_HOST.search(said)
    if not why and "timed out" not in said.lower() and "timeout" not in said.lower():
        return said
    reason = why[-1].strip() if why else "no answer in time"
    return f"{where['host']}: {reason}" if where else reason


def error_of_operation(operation: Mapping[str, Any], zone: str) -> CloudError | None:
    """Return why an operation that is DONE failed; None when it did not."""
    errors: Sequence[Mapping[str, Any]] = operation.get("error", {}).get("errors", ())
    if not errors:
        return None
    first = errors[0]
    code, said = str(first.get("code", "")), str(first.get("message", ""))
    if code in STOCKOUT:
        return _stockout(first, said, zone)
    found = BY_OPERATION.get(code, (CloudError, f"{code}: {{said}}", "t2v vm status shows its state"))
    return _made(found, said, int(operation.get("httpErrorStatusCode", 0)))


def _stockout(error: Mapping[str, Any], said: str, zone: str) -> Stockout:
    details = [one.get("errorInfo", {}).get("metadatas", {}) for one in error.get("errorDetails", ())]
    zones = tuple(one for it in details for one in str(it.get("zonesAvailable", "")).split(",") if one)
    where = f"; there is room in {', '.join(zones)}" if zones else ""
    hint = "wait, or move it: a snapshot of its disk, and a VM from that in another zone"
    return Stockout(f"{zone} has no such machine available just now{where} ({said})", hint, zones=zones)


def _made(found: tuple[type[CloudError], str, str], said: str, status: int) -> CloudError:
    kind, sentence, hint = found
    said = said.replace("\n", " ").strip().rstrip(".")
    return kind(sentence.replace("{said}", said).replace("{http}", str(status)), hint)


def may_pass(error: RemoteError) -> bool:
    """Tell whether asking again soon may help."""
    return isinstance(error, CloudUnreachable | RateLimited)
