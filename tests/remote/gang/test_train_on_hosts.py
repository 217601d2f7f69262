"""One training on two hosts and on three: real sshd, real network namespaces, gloo between them."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engine.engine import events_of
from support.engine.training_set import tensors
from support.gang.bridged_hosts import Hosts, bridged_hosts
from support.gang.trials import STEPS, TRAIN, bring_data, one_trial, steps_told
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
    with bridged_hosts(tmp_path_factory.mktemp("hosts"), "abc") as all_three:
        bring_data(all_three)
        yield all_three


def apart(one: Path, other: Path) -> float:
    """The largest difference between the weights, averages and moments of two checkpoints."""
    left, right = tensors(one), tensors(other)
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def steps_of(directory: Path) -> int:
    return steps_told(directory) if (directory / "events.jsonl").exists() else 0


def newest_step(directory: Path) -> int:
    return next(event["step"] for event in reversed(events_of(directory)) if event["kind"] == "step")


def trainings_told(directory: Path) -> list[str]:
    return [event["detail"] for event in events_of(directory) if event.get("name") == "train"]


def is_still(directory: Path) -> bool:
    """It makes no step for half a second, of which it makes dozens otherwise."""
    before = steps_of(directory)
    time.sleep(0.5)
    return steps_of(directory) == before


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
    """Whichever host it is, and whether its network answers; benchmarks/faults/lost_hosts.py tries 20 moments."""
    rng = random.Random(SEED)
    trials = [one_trial(hosts, rng, number) for number in range(2)]
    assert {trial.victim for trial in trials} == {"a", "b"}, f"seed {SEED} tries only one of them"
    for trial in trials:
        assert trial.begun >= trial.kept
        assert trial.stopped_s < 60
        assert not list(hosts.far["b"].there.glob("jobs/*/checkpoints"))
    assert apart(trials[0].final, trials[1].final) <= 1e-5


def test_one_of_three_is_gone_for_good_and_the_others_go_on(hosts: Hosts) -> None:
    """Paused and saved as three, stopped as two, with one checkpoint; a step keeps its passes."""
    words = ["--epochs", "500", "--checkpoint-every", "500", "--checkpoints", "checkpoints/three", "--detach"]
    assert hosts.t2v([*TRAIN, *words, "--hosts", "a,b,c", "--min-hosts", "2"]).wait(120) == 0, hosts.said()
    led = hosts.led()
    wait_until(lambda: steps_of(led) >= 2)
    (led / "pause").touch()
    wait_until(lambda: (hosts.far["a"].jobs_there()[-1].parent / "pause").exists() and is_still(led))
    (led / "pause").unlink()
    paused_at = steps_of(led)
    wait_until(lambda: steps_of(led) > paused_at + 1)
    (led / "save").touch()
    wait_until(lambda: any(event.get("reason") == "asked" for event in events_of(led)))
    hosts.far["c"].lose_power()
    wait_until(lambda: len(trainings_told(led)) == 2)
    for count, said in zip((3, 2), trainings_told(led), strict=True):
        assert f"{count} processes, each with the whole model: 3 clips a step (3 passes of 1)" in said
    assert "training continues with a, b alone" in (led / "events.jsonl").read_text()
    saved = next(event for event in events_of(led) if event.get("reason") == "asked")["step"]
    wait_until(lambda: newest_step(led) > saved)
    hosts.far["c"].boot()
    assert hosts.t2v(["stop", led.name]).wait(120) == 0, hosts.said()
    assert "stopped" in hosts.said()[1]
    is_stopped_on_all(hosts, led)
    is_one_job_to_its_user(hosts, led)


def is_stopped_on_all(hosts: Hosts, led: Path) -> None:
    ended = json.loads((led / "exit.json").read_text())
    assert (ended["code"], "after step" in ended["reason"]) == (4, True)
    for name in "ab":
        part = json.loads((hosts.far[name].jobs_there()[-1].parent / "exit.json").read_text())
        assert part["code"] == 4
    (last,) = [event for event in events_of(led) if event.get("reason") == "stopped"]
    assert (hosts.far["a"].there / last["path"] / "manifest.json").exists()


def is_one_job_to_its_user(hosts: Hosts, led: Path) -> None:
    log, part = (led / "log").read_text(), hosts.far["b"].jobs_there()[-1].parent.name
    assert "[b] " in log
    assert hosts.t2v(["logs", led.name]).wait(60) == 0
    assert hosts.said()[0] == log
    assert hosts.t2v(["jobs"]).wait(60) == 0
    assert (led.name in hosts.said()[0], part in hosts.said()[0]) == (True, False)
    assert hosts.t2v(["jobs", "--host", "b"]).wait(60) == 0
    assert part in hosts.said()[0]
    assert hosts.t2v(["logs", part, "--host", "b"]).wait(60) == 0
    assert hosts.said()[0].encode() == (hosts.far["b"].there / "jobs" / part / "log").read_bytes()


def test_hosts_that_see_one_folder_read_the_checkpoint_in_place(hosts: Hosts) -> None:
    a, b = hosts.far["a"], hosts.far["b"]
    b.shared = a.there
    hosts.write_settings()
    try:
        trial = one_trial(hosts, random.Random(SEED), number=7)
        assert trial.begun >= trial.kept
        led = hosts.led()
        assert "goes to 1 other host" not in (led / "events.jsonl").read_text()
    finally:
        b.shared = None
        hosts.write_settings()


def test_what_cannot_be_is_one_sentence_before_anything_starts(hosts: Hosts) -> None:
    before = {name: len(one.jobs_there()) for name, one in hosts.far.items()}
    assert sentence(hosts, "--hosts", "a,d") == (2, f"error: {hosts.here.settings_file} has no host 'd'")
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
