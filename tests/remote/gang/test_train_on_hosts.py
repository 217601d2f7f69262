"""One training on two hosts: real sshd, real network namespaces, gloo between them."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engine.engine import events_of
from support.engine.training_set import tensors
from support.gang.trials import STEPS, TRAIN, bring_data, one_trial, steps_told
from support.gang.two_hosts import Hosts, two_hosts
from support.hosts.agent_here import wait_until

SEED = 19
OTHER_T2V = f"""#!/bin/sh
case "$2" in
  *t2v_core*rglob*) echo '{{"code": "another", "torch": "2"}}' ;;
  *) exec {sys.executable} "$@" ;;
esac
"""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with two_hosts(tmp_path_factory.mktemp("hosts")) as both:
        bring_data(both)
        yield both


def apart(one: Path, other: Path) -> float:
    """The largest difference between the weights, averages and moments of two checkpoints."""
    left, right = tensors(one), tensors(other)
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def sentence(hosts: Hosts, *words: str) -> tuple[int, str]:
    code = hosts.t2v(["train", *words]).wait(120)
    return code, next(line for line in hosts.said()[1].splitlines() if line.startswith("error: "))


def test_two_hosts_learn_what_two_processes_of_one_learn(hosts: Hosts) -> None:
    assert hosts.t2v([*TRAIN, "--checkpoints", "checkpoints/two"]).wait(240) == 0, hosts.said()
    out, _ = hosts.said()
    together = Path(out.strip().partition(":")[2])
    assert out.startswith("a:")
    here = hosts.led()
    assert steps_told(here) == STEPS
    (train,) = [event for event in events_of(here) if event.get("name") == "train"]
    assert "2 processes, each with the whole model: 2 clips a step" in train["detail"]
    words = ["train", "--host", "a", "--processes", "2", *TRAIN[3:], "--checkpoints", "checkpoints/one"]
    assert hosts.t2v(words).wait(240) == 0, hosts.said()
    assert apart(together, hosts.far["a"].there / "checkpoints/one" / together.name) <= 1e-6
    assert not (hosts.far["b"].there / "checkpoints").exists()


def test_after_a_host_is_lost_both_go_on_from_the_last_checkpoint(hosts: Hosts) -> None:
    """Whichever host it is, and whether its network answers for it; benchmarks/lost_hosts.py tries 20 moments."""
    rng = random.Random(SEED)
    trials = [one_trial(hosts, rng, number) for number in range(2)]
    assert {trial.victim for trial in trials} == {"a", "b"}, f"seed {SEED} tries only one of them"
    for trial in trials:
        assert trial.begun >= trial.kept
        assert trial.stopped_s < 60
        assert not list(hosts.far["b"].there.glob("jobs/*/checkpoints"))
    assert apart(trials[0].final, trials[1].final) <= 1e-5


def test_a_stop_is_answered_by_both_with_one_checkpoint(hosts: Hosts) -> None:
    words = [*TRAIN, "--epochs", "500", "--checkpoint-every", "500", "--checkpoints", "checkpoints/stopped", "--detach"]
    assert hosts.t2v(words).wait(120) == 0, hosts.said()
    job = hosts.said()[0].strip()
    led = hosts.here.root / "jobs" / job
    wait_until(lambda: (led / "events.jsonl").exists() and steps_told(led) >= 2)
    (led / "save").touch()
    wait_until(lambda: any(event.get("reason") == "asked" for event in events_of(led)))
    assert hosts.t2v(["stop", job]).wait(120) == 0, hosts.said()
    assert "stopped" in hosts.said()[1]
    ended = json.loads((led / "exit.json").read_text())
    assert (ended["code"], "after step" in ended["reason"]) == (4, True)
    for one in hosts.far.values():
        part = json.loads((one.jobs_there()[-1].parent / "exit.json").read_text())
        assert part["code"] == 4
    (last,) = [event for event in events_of(led) if event.get("reason") == "stopped"]
    assert (hosts.far["a"].there / last["path"] / "manifest.json").exists()
    log = (led / "log").read_text()
    assert "[b] " in log
    assert hosts.t2v(["logs", job]).wait(60) == 0
    assert hosts.said()[0] == log
    part = hosts.far["b"].jobs_there()[-1].parent.name
    assert hosts.t2v(["jobs"]).wait(60) == 0
    assert (job in hosts.said()[0], part in hosts.said()[0]) == (True, False)
    assert hosts.t2v(["jobs", "--host", "b"]).wait(60) == 0
    assert part in hosts.said()[0]
    assert hosts.t2v(["logs", part, "--host", "b"]).wait(60) == 0
    assert hosts.said()[0].encode() == (hosts.far["b"].there / "jobs" / part / "log").read_bytes()


def test_what_cannot_be_is_one_sentence_before_anything_starts(hosts: Hosts) -> None:
    before = {name: len(one.jobs_there()) for name, one in hosts.far.items()}
    assert sentence(hosts, "--hosts", "a,c") == (2, f"error: {hosts.here.settings_file} has no host 'c'")
    assert sentence(hosts, "--hosts", "a,b,a") == (2, "error: --hosts names a twice")
    assert sentence(hosts, "--hosts", "a") == (2, "error: --hosts = 'a' does not name two hosts or more")
    assert sentence(hosts, "--hosts", "a,b", "--min-hosts", "3") == (2, "error: --min-hosts = 3, and --hosts names 2")
    assert sentence(hosts, "--min-hosts", "1") == (2, "error: --min-hosts goes with --hosts")
    assert sentence(hosts, "--hosts", "a,b", "--host", "a") == (2, "error: --host and --hosts do not go together")
    assert {name: len(one.jobs_there()) for name, one in hosts.far.items()} == before


def test_hosts_that_do_not_fit_together_are_told_by_name(hosts: Hosts) -> None:
    before = {name: len(one.jobs_there()) for name, one in hosts.far.items()}
    b = hosts.far["b"]
    manifest = b.there / "data/msr-vtt/latents/train/manifest.json"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole + b"\n")
    assert sentence(hosts, *TRAIN[1:]) == (1, "error: b has other latents in data/msr-vtt than a")
    manifest.write_bytes(whole)

    python = b.python.read_text()
    b.python.write_text(OTHER_T2V)
    assert sentence(hosts, *TRAIN[1:]) == (1, "error: b has another t2v than a")
    b.python.write_text(python)

    b.lose_route(hosts.far["a"].address)
    code, said = sentence(hosts, *TRAIN[1:])
    b.regain_route(hosts.far["a"].address)
    assert code == 1
    assert said.startswith(f"error: b does not reach a: {hosts.far['a'].address} (eth0) port ")

    b.lose_power(at_once=False)
    code, said = sentence(hosts, *TRAIN[1:])
    b.boot()
    assert (code, "b" in said) == (3, True)
    assert {name: len(one.jobs_there()) for name, one in hosts.far.items()} == before
