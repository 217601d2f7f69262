"""The previous system's checkpoints: how long a hundred take to be listed 50 ms away, one to be chosen and imported.

python benchmarks/old_checkpoints.py                  all of it; root, 5 GB of disk in --root
python benchmarks/old_checkpoints.py --only list      some of list, open, import

The model has its full size, 172,133,380 parameters. The hundred files have the bytes of one real file at their ends and
holes between, so that 200 GB lie on 150 MB; what is read of them is what would be read of whole ones. The link is
`tests/bench/wan.py`: real TCP over two TUN devices, a real sshd.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:1] = [str(TESTS.parent), str(TESTS), str(TESTS.with_name("setup"))]

from bench.sshd import Sshd
from bench.wan import wan
from support.previous.old_system import old_adamw, old_model, save_old_checkpoint

from remote.hosts.known_hosts import KnownHosts
from remote.hosts.settings import HostSettings
from remote.hosts.ssh import SSHHost
from remote.jobs.client import HostJobs
from remote.replies.questions import HELLO
from t2v_core.workspace import Workspace
from t2v_tui.library.on_host import checkpoints_there

ONE_WAY_S = 0.025
FILES, ROUNDS = 100, 5
HEAD_BYTES, TAIL_BYTES = 1 << 20, 1 << 19

OPEN = """
import json, sys, time
from pathlib import Path
from t2v_core.checkpoints.checkpoints import MODEL
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.checkpoints import old_checkpoints
def memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
before, began = memory(), time.monotonic()
checkpoint = open_checkpoint(Path(sys.argv[1]))
chosen = {"seconds": time.monotonic() - began, "bytes": memory() - before}
began = time.monotonic()
checkpoint.tensors(MODEL)
print(json.dumps({"chosen": chosen, "weights": {"seconds": time.monotonic() - began, "bytes": memory() - before}}))
"""


def make_one(folder: Path) -> Path:
    """A real checkpoint of the full model, with Adam's state after one step."""
    model = old_model()
    optimizer = old_adamw(model)
    for parameter in model.parameters():
        parameter.grad = 1e-3 * torch.randn_like(parameter)
    optimizer.step()
    return save_old_checkpoint(folder / "checkpoint_epoch_100.pt", model, optimizer, 100)


def spread_out(one: Path, folder: Path) -> None:
    """A hundred of it."""
    folder.mkdir(parents=True)
    size = one.stat().st_size
    with one.open("rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(size - TAIL_BYTES)
        tail = file.read()
    for epoch in range(1, FILES + 1):
        with (folder / f"checkpoint_epoch_{epoch}.pt").open("wb") as file:
            file.write(head)
            file.seek(size - TAIL_BYTES)
            file.write(tail)


def listing(one: Path, root: Path) -> None:
    spread_out(one, root / "there/checkpoints")
    with wan(ONE_WAY_S) as link:
        sshd = Sshd(root / "sshd", address=link.there, inside=link.inside)
        sshd.start()
        try:
            known = KnownHosts(root / "known_hosts")
            known.pin(f"[{link.there}]:{sshd.port}", [sshd.public_host_key])
            settings = HostSettings(
                address=link.there, port=sshd.port, user=sshd.user, identity=sshd.client_key,
                workdir=str(root / "there"), python=sys.executable,
            )  # fmt: skip
            (root / "here").mkdir()
            took: dict[str, list[float]] = {"first": [], "again": []}
            for _ in range(ROUNDS):
                host = SSHHost("vm", settings, known_hosts=known, config=Path("/nonexistent"))
                with HostJobs(host, Workspace(root / "here")) as jobs:
                    jobs.ask(HELLO)  # the screen has a connection already
                    for seconds in took.values():
                        began = time.monotonic()
                        views = checkpoints_there(jobs)
                        seconds.append(time.monotonic() - began)
                        assert len(views) == FILES
                        assert all(view.epoch and view.loss for view in views)
            for name, seconds in took.items():
                rounds = " ".join(f"{one:.2f}" for one in seconds)
                print(f"list {FILES} over 50 ms, {name}: median {statistics.median(seconds):.2f} s ({rounds})")
        finally:
            sshd.kill()


def opening(one: Path) -> None:
    done = subprocess.run([sys.executable, "-c", OPEN, str(one)], check=True, capture_output=True, text=True)
    for name, said in json.loads(done.stdout).items():
        print(f"{name}: {said['seconds']:.2f} s, {said['bytes'] / 1e6:,.0f} MB of memory more at most")


def importing(one: Path, root: Path) -> None:
    words = [sys.executable, "-m", "t2v_tui.cli.main", "--workspace", str(root), "import-checkpoint", str(one)]
    began = time.monotonic()
    subprocess.run(words, check=True, capture_output=True)
    print(f"import of {one.stat().st_size / 1e9:.2f} GB: {time.monotonic() - began:.1f} s, start and end included")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="list,open,import")
    parser.add_argument("--root", type=Path, default=Path(tempfile.gettempdir()))
    asked = parser.parse_args()
    root = Path(tempfile.mkdtemp(dir=asked.root, prefix="t2v-old-"))
    try:
        one = make_one(root)
        if "list" in asked.only:
            listing(one, root)
        if "open" in asked.only:
            opening(one)
        if "import" in asked.only:
            importing(one, root)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
