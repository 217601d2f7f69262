"""The whole story, typed as a user types it: a VM that is off and bare trains, is watched, and stops by itself.

Real: the Compute Engine client, OpenSSH, pip, the engine, the guard. The cloud is the bench's; the packages that the
engine needs come from this machine's environment, by a line in the one small package that is installed there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from agent_here import wait_until
from bench.compute_state import Instance
from bench.guest_agent import SshdGuest
from bench.sshd import Sshd, free_port
from gce_here import NAME, Gce, gce_here
from small_release import only_packages_of, small_checkout, write_package
from training_set import data_set

from remote.host_keys import KnownHosts
from t2v_core.workspace import Workspace

TRAIN = (
    "train", "--preset", "tiny", "--epochs", "3", "--batch-size", "2", "--checkpoint-every", "1", "--samples", "0",
    "--device", "cpu", "--data", "data/small",
)  # fmt: skip
# The guard of a VM looks at all its processes; beside this test others run, whose jobs are none of the VM's.
OWN_PROCESSES = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@dataclass
class Story:
    """here: where it is typed; home: of the user on the VM"""

    gce: Gce
    sshd: Sshd
    here: Workspace
    checkout: Path
    instance: Instance

    @property
    def there(self) -> Path:
        return self.sshd.home / "text2video"

    def t2v(self, *words: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("T2V_", "SSH_", "CLOUDSDK_"))}
        ours = self.gce.environment
        ours["PYTHONPATH"] = f"{self.checkout}:{ours['PYTHONPATH']}"
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "t2v_tui.cli.main", *words], cwd=self.here.root,
            env=kept | ours | {"XDG_CONFIG_HOME": str(self.gce.home / ".config"), "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def said(self, *words: str) -> dict[str, object]:
        """What a command says as JSON."""
        child = self.t2v("--json", *words, "--host", NAME)
        out, err = child.communicate(timeout=120)
        assert child.returncode == 0, err
        return dict(json.loads(out))

    def checkpoints(self, root: Path) -> set[str]:
        return {path.parent.name for path in root.glob("checkpoints/checkpoint_*/manifest.json")}


def bytes_of(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    sshd = Sshd(tmp_path / "sshd", port=free_port(), guard_every_s=0.3, inside=OWN_PROCESSES)
    write_package(tmp_path / "packages", engine_pth=sysconfig.get_path("purelib") + "\n")
    only_packages_of(tmp_path / "packages", sshd.home)
    for name in ("here", "home", "checkout"):
        (tmp_path / name).mkdir()
    checkout = shutil.copytree(small_checkout(tmp_path / "checkout"), tmp_path / "brought")
    with gce_here(tmp_path / "home", SshdGuest(sshd)) as gce:
        instance = gce.add()
        instance.metadata.items["enable-guest-attributes"] = "TRUE"
        gce.write_settings(tmp_path / "here", f"port = {sshd.port}", "usd_per_hour = 3.67")
        yield Story(gce, sshd, Workspace(tmp_path / "here"), checkout, instance)
        gce.cloud.bring_down(instance)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="a process table of its own takes root")
def test_a_bare_vm_that_is_off_trains_is_watched_and_stops_by_itself(story: Story) -> None:
    shutil.copytree(data_set(), story.there / "data/small")
    shutil.copytree(data_set(), story.here.root / "data/small")

    # One line starts the VM, pins its keys, makes it ready, and trains.
    training = story.t2v(*TRAIN, "--host", NAME)
    wait_until(lambda: training.poll() is not None or len(story.checkpoints(story.there)) > 0)
    assert training.poll() is None, training.communicate()
    assert story.instance.status == "RUNNING"
    assert KnownHosts(story.gce.home / ".config/t2v/known_hosts").pinned("compute.4711001") == [
        story.sshd.public_host_key
    ]
    [job] = [path.parent for path in story.there.glob("jobs/*-train-*/request.json")]

    # A checkpoint comes home while it trains: it is held in the middle for that long.
    (job / "pause").touch()
    came = story.said("pull", "checkpoints", "--latest")
    assert came["refused"] == []
    assert len(story.checkpoints(story.here.root)) == 1
    assert not (job / "exit.json").exists()
    (job / "pause").unlink()

    # Its end is seen, and its log is here, byte for byte.
    _, err = training.communicate(timeout=200)
    assert training.returncode == 0, err
    assert "$3.67 an hour" in err
    assert re.search(r"  estimate: about .* steps on A100.*: about \$.* in all, at \$3.67 an hour", err), err
    [spool] = story.here.root.glob(f".t2v/spool/{NAME}/{job.name}")
    for name in ("log", "events.jsonl"):  # of a log without a word nothing comes
        assert bytes_of(spool / name) == bytes_of(job / name)
    assert bytes_of(spool / "events.jsonl") != b""
    story.said("pull", "checkpoints")
    assert len(story.checkpoints(story.there)) > 1  # older ones are removed there when two newer ones have come
    assert story.checkpoints(story.there) <= story.checkpoints(story.here.root)

    # Nobody works there any more: the guard switches it off. Its half hour is three seconds here.
    rules = story.sshd.home / ".cache/t2v/guard/rules.json"
    agreed = rules.read_text()
    rules.write_text(json.dumps(json.loads(agreed) | {"idle_stop_min": 0.05}))
    wait_until((story.sshd.folder / "powered-off").exists)
    wait_until(lambda: story.said("vm", "status")["status"] == "TERMINATED")
    assert story.gce.emulator.seen("POST .*/stop") == []  # nobody here asked for it
    rules.write_text(agreed)

    # Up again, there is nothing left to fetch.
    story.said("vm", "start")
    again = story.said("pull", "checkpoints")
    assert (again["bytes"], again["refused"]) == (0, [])
