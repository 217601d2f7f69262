"""What goes wrong on the way to Compute Engine is one typed sentence; the helper that asks is restarted and shared."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.house.under_load import slowed
from support.machines.gce_here import NAME, ZONE, Gce, gce_here

from remote.errors import (
    CloudError,
    CloudUnreachable,
    Forbidden,
    LoginExpired,
    MetadataChanged,
    QuotaExceeded,
    RateLimited,
    VmNotFound,
    VmRefused,
)
from remote.gce import client as gce_client
from remote.gce import helper as gce_helper
from remote.gce.client import ComputeClient
from remote.gce.vm import Vm


@pytest.fixture(scope="module")
def gce(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gce]:
    with gce_here(tmp_path_factory.mktemp("gce")) as gce:
        yield gce


@pytest.fixture(autouse=True)
def fresh(gce: Gce, monkeypatch: pytest.MonkeyPatch) -> None:
    gce.reset()
    monkeypatch.setattr(gce_client, "PAUSES_S", (0.01, 0.02))


# Every fault a typed error


@pytest.mark.parametrize(
    ("status", "reason", "kind", "hint"),
    [
        (400, "", VmRefused, "t2v vm status"),
        (401, "", LoginExpired, "gcloud auth application-default login"),
        (403, "", Forbidden, "Compute Instance Admin"),
        (403, "quotaExceeded", QuotaExceeded, "quotas"),
        (403, "rateLimitExceeded", RateLimited, "wait"),
        (403, "accessNotConfigured", Forbidden, "gcloud services enable"),
        (409, "", VmRefused, "t2v vm status"),
        (412, "", MetadataChanged, "again"),
        (429, "", RateLimited, "wait"),
        (500, "", CloudUnreachable, "again"),
        (503, "", CloudUnreachable, "again"),
    ],
)
def test_an_http_answer_is_one_typed_sentence(
    gce: Gce, status: int, reason: str, kind: type[CloudError], hint: str
) -> None:
    gce.add()
    gce.emulator.fail("GET", status, times=None, reason=reason, message="Why it is.")
    with pytest.raises(CloudError) as caught:
        gce.vm.state()
    assert type(caught.value) is kind
    assert hint in caught.value.hint
    assert "http://" not in caught.value.message
    if status != 401:  # of which the client says its own word
        assert "Why it is" in caught.value.message


def test_a_moment_of_trouble_is_not_even_told(gce: Gce) -> None:
    gce.add()
    gce.emulator.fail("GET", 503, times=2)
    assert gce.vm.state().is_stopped


def test_a_name_that_is_nearly_right_is_found(gce: Gce) -> None:
    gce.add()
    with pytest.raises(VmNotFound) as caught:
        Vm("a100-goldn", "proj", ZONE, client=gce.client).state()
    assert (caught.value.hint, caught.value.exit_code) == (f"did you mean '{NAME}'?", 2)
    with pytest.raises(VmNotFound) as elsewhere:
        Vm(NAME, "proj", "europe-west4-b", client=gce.client).state()
    assert f'zone = "{ZONE}"' in elsewhere.value.hint


def test_a_closed_port_is_unreachable(gce: Gce) -> None:
    client = ComputeClient(gce.environment | {"T2V_COMPUTE_ENDPOINT": "http://127.0.0.1:1"})
    with pytest.raises(CloudUnreachable, match="cannot be reached") as caught:
        Vm(NAME, "proj", ZONE, client=client).state()
    client.close()
    assert caught.value.exit_code == 3


def test_a_login_is_not_sent_over_an_open_line(gce: Gce) -> None:
    client = ComputeClient(gce.environment | {"T2V_COMPUTE_ENDPOINT": "http://compute.example.com"})
    with pytest.raises(CloudError, match="neither https nor on this machine"):
        Vm(NAME, "proj", ZONE, client=client).state()
    client.close()


@pytest.mark.slow
def test_an_api_that_never_answers_is_unreachable_within_15_s(gce: Gce) -> None:
    gce.add()
    gce.emulator.fail("GET", 0, times=None)
    began = time.monotonic()
    with pytest.raises(CloudUnreachable, match="cannot be reached"):
        gce.vm.state()
    assert time.monotonic() - began < slowed(15)


# The helper


def test_a_question_is_answered_even_when_what_was_wrong_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be waited for as long as may be, 75 s."""
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(gce_helper, "say", said.append)
    monkeypatch.setattr(gce_helper, "trouble", lambda _: 1 / 0)
    monkeypatch.setitem(gce_helper.VERBS, "fails", lambda _: 1 / 0)
    gce_helper.answer({"id": 7, "ask": "fails"})
    [one] = said
    assert (one["id"], one["ok"]["trouble"]["code"]) == (7, "unexpected")


def test_a_helper_that_was_killed_is_started_again(gce: Gce) -> None:
    gce.add()
    assert gce.vm.state().is_stopped
    agent = gce.client._agent
    assert agent is not None
    os.kill(agent.channel.process.pid, signal.SIGKILL)
    assert gce.vm.state().is_stopped
    assert gce.client._agent is not agent


def test_threads_share_the_helper_and_a_slow_answer_holds_up_no_other(gce: Gce) -> None:
    gce.add()
    gce.emulator.fail(f"{NAME}/getGuestAttributes", 0, times=None)
    with ThreadPoolExecutor(8) as pool:
        slow = pool.submit(gce.vm.host_keys)
        states = list(pool.map(lambda _: gce.vm.state().status, range(40)))
        assert states == ["TERMINATED"] * 40
        assert not slow.done()
        gce.cloud.closing.set()
        with pytest.raises(CloudUnreachable):
            slow.result(30)


def test_a_warm_helper_adds_little_to_the_apis_answer(gce: Gce) -> None:
    gce.add()
    gce.vm.state()
    took = []
    for _ in range(5):
        began = time.perf_counter()
        gce.vm.state()
        took.append(time.perf_counter() - began)
    assert sorted(took)[2] < 0.2
