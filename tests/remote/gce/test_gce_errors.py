"""One table from what Compute Engine says to our errors: recorded answers, golden sentences."""

from __future__ import annotations

import pytest

from remote.errors import (
    CloudError,
    CloudUnreachable,
    Forbidden,
    HostUnreachable,
    LoginExpired,
    QuotaExceeded,
    RateLimited,
    Stockout,
    VmNotFound,
    VmRefused,
)
from remote.gce.errors import (
    BY_CODE,
    BY_OPERATION,
    BY_REASON,
    BY_STATUS,
    Trouble,
    error_of_operation,
    error_of_trouble,
    may_pass,
)
from t2v_core.disk.typed_json import read_as

RESOLVE = (
    "HTTPSConnectionPool(host='compute.googleapis.com', port=443): Max retries exceeded with url: /compute (Caused by "
    "NameResolutionError(\"HTTPSConnection(host='compute.googleapis.com', port=443): Failed to resolve "
    "'compute.googleapis.com' ([Errno -3] Temporary failure in name resolution)\"))"
)
URL = "https://compute.googleapis.com/compute/v1/projects/p/zones/z/instances/vm"


@pytest.mark.parametrize(
    ("trouble", "kind", "message"),
    [
        (
            {"code": "http", "http": 404, "message": f"GET {URL}: The 'vm' was not found", "reason": "notFound"},
            VmNotFound, "there is no such VM: The 'vm' was not found",
        ),
        (
            {"code": "http", "http": 403, "message": f"POST {URL}/start: Required 'instances.start' permission."},
            Forbidden, "Google Cloud does not allow it: Required 'instances.start' permission",
        ),
        (
            {"code": "http", "http": 403, "message": f"GET {URL}: Quota exceeded for 'Read requests'",
             "reason": "rateLimitExceeded"},
            RateLimited, "Google Cloud asks for fewer requests: Quota exceeded for 'Read requests'",
        ),
        ({"code": "http", "http": 418, "message": "teapot"}, VmRefused, "Compute Engine answers 418: teapot"),
        (
            {"code": "http", "http": 502, "message": "Bad\nGateway"},
            CloudUnreachable, "Google Cloud has a problem of its own (502): Bad Gateway",
        ),
        (
            {"code": "login-application", "message": "('invalid_grant: Bad Request', {})"},
            LoginExpired, "the application default login has expired: ('invalid_grant: Bad Request', {})",
        ),
        (
            {"code": "login-gcloud", "message": "ERROR: You do not currently have an active account selected."},
            LoginExpired,
            "gcloud's login is missing or has expired: You do not currently have an active account selected",
        ),
        (
            {"code": "unreachable", "message": "[Errno 101]"},
            CloudUnreachable, "Google Cloud cannot be reached: [Errno 101]",
        ),
        (
            {"code": "unreachable", "message": RESOLVE},
            CloudUnreachable,
            "Google Cloud cannot be reached: compute.googleapis.com: Temporary failure in name resolution",
        ),
        (
            {"code": "unreachable", "message":
             "HTTPSConnectionPool(host='oauth2.googleapis.com', port=443): Read timed out. (read timeout=10.0)"},
            CloudUnreachable, "Google Cloud cannot be reached: oauth2.googleapis.com: no answer in time",
        ),
        ({"code": "unheard of", "message": "{odd} words"}, VmRefused, "Compute Engine answers 0: {odd} words"),
    ],
)  # fmt: skip
def test_an_answer_is_one_sentence(trouble: dict[str, object], kind: type[CloudError], message: str) -> None:
    error = error_of_trouble(read_as(Trouble, trouble))
    assert (type(error), error.message) == (kind, message)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ZONE_RESOURCE_POOL_EXHAUSTED", Stockout),
        ("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", Stockout),
        ("QUOTA_EXCEEDED", QuotaExceeded),
        ("RESOURCE_NOT_FOUND", VmNotFound),
        ("RATE_LIMIT_EXCEEDED", RateLimited),
        ("PERMISSIONS_ERROR", Forbidden),
        ("INTERNAL_ERROR", CloudUnreachable),
        ("UNSUPPORTED_OPERATION", CloudError),
    ],
)
def test_an_operation_that_failed_is_a_typed_error(code: str, kind: type[CloudError]) -> None:
    error = error_of_operation({"status": "DONE", "error": {"errors": [{"code": code, "message": "Why."}]}}, "z-1")
    assert type(error) is kind
    assert "Why" in error.message
    assert error.hint


def test_an_operation_without_an_error_is_none() -> None:
    assert error_of_operation({"status": "DONE"}, "z") is None
    assert error_of_operation({"status": "DONE", "error": {}}, "z") is None


def test_a_stockout_names_the_zones_with_room_once() -> None:
    details = [{"errorInfo": {"metadatas": {"zonesAvailable": "us-west1-b,us-east1-c"}}}, {"help": {}}]
    said = {"code": "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", "message": "m", "errorDetails": details}
    error = error_of_operation({"error": {"errors": [said]}}, "us-central1-a")
    assert isinstance(error, Stockout)
    assert error.zones == ("us-west1-b", "us-east1-c")
    assert error.message == (
        "us-central1-a has no such machine available just now; there is room in us-west1-b, us-east1-c (m)"
    )


def test_every_error_says_what_to_do_next() -> None:
    for table in (BY_CODE, BY_REASON, BY_STATUS, BY_OPERATION):
        for kind, sentence, hint in table.values():
            assert issubclass(kind, CloudError)
            assert "{said}" in sentence or kind is LoginExpired
            assert hint


def test_only_what_may_pass_by_itself_is_asked_again() -> None:
    assert may_pass(CloudUnreachable("x"))
    assert may_pass(RateLimited("x"))
    assert not may_pass(QuotaExceeded("x"))
    assert not may_pass(Forbidden("x"))
    assert issubclass(CloudUnreachable, HostUnreachable)
    assert not issubclass(LoginExpired, HostUnreachable)
