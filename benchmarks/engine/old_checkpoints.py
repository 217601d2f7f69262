"""The previous system's checkpoints: how long a hundred take to be listed 50 ms away, one to be chosen and imported,
and whether training goes on from one as the old loop would have.

python benchmarks/engine/old_checkpoints.py                  all of it; root, 12 GB of disk in --root, 12 GB of memory
python benchmarks/engine/old_checkpoints.py --only list      some of list, open, import, resume

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
from unittest import mock

import torch

sys.path.append(str(Path(__file__).parents[1] / "learning"))

from door import result, run

TESTS = Path(__file__).parents[2] / "tests"
sys.path[:1] = [str(TESTS.parent), str(TESTS), str(TESTS.with_name("setup"))]

from bench.sshd import Sshd
from bench.wan import Line, wan
from safetensors import safe_open
from support.engine.tiny_models import save_clip, save_vae
from support.hosts.door import through_the_door
from support.previous.old_loop import begin_texts_as_clip, micro_batches, save_old_data
from support.previous.old_system import OldVideoTransformer, old_adamw, old_model, old_step, save_old_checkpoint

from remote.hosts.known_hosts import KnownHosts
from remote.hosts.settings import HostSettings
from remote.hosts.ssh import SSHHost
from remote.jobs.client import HostJobs
from remote.replies.questions import HELLO
from t2v_core.checkpoints import old_checkpoints
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
    with wan(Line(ONE_WAY_S)) as link:
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


def resuming(one: Path, root: Path) -> None:
    """One step of t2v and one of the old loop from the same file, on one clip of 16 frames.

    One clip a step instead of the eight that it took (2 × 4), so that it takes minutes.
    """
    save_old_data(root / "old", clips=5)
    encoders = {"vae": str(save_vae(root / "vae")), "text_encoder": str(root / "clip")}
    begin_texts_as_clip(root / "old", save_clip(root / "clip", max_length=77, width=512))
    result(run(root, "import-latents", old_dir="old", data="data", dtype="fp32", **encoders))
    (root / "checkpoints").mkdir()
    (root / "checkpoints" / one.name).hardlink_to(one)
    content = torch.load(one, weights_only=True)
    model = OldVideoTransformer()
    model.load_state_dict(content["model_state_dict"])
    optimizer = old_adamw(model)
    optimizer.load_state_dict(content["optimizer_state_dict"])
    # The old loop's mean over 16 frames, one by one: what it keeps of all of them for the way back takes 60 GB.
    ((latents, text, noise, timesteps),) = micro_batches(root / "data", step=1, batch_size=1, accumulation=1)
    frames = [(latents[:, [i]], text, noise[:, [i]], timesteps) for i in range(latents.shape[1])]
    began = time.monotonic()
    loss = old_step(model, optimizer, frames)
    print(f"resume: the old loop's step took {time.monotonic() - began:.0f} s", flush=True)

    asked = {"resume": True, "data": "data", "max_steps": 2, "samples": 0, "device": "cpu", "precision": "fp32"}
    began = time.monotonic()
    with mock.patch.dict(old_checkpoints.TRAINING, batch_size=1, gradient_accumulation=1):
        ended = through_the_door(root, "train", gradient_checkpointing=True, **asked)
    print(f"ours {time.monotonic() - began:.0f} s, start and checkpoint included", flush=True)
    assert ended.code == 0, ended.log
    (step,) = ended.of("step")
    before, old = content["model_state_dict"], {name: value.detach() for name, value in model.named_parameters()}
    with safe_open(root / ended.done["checkpoint"] / "model.safetensors", "pt") as ours:
        apart = max(float((ours.get_tensor(name) - value).abs().max()) for name, value in old.items())
    moved = max(float((before[name] - value).abs().max()) for name, value in old.items())
    print(f"loss {step['loss']:.7f}, the old loop's {loss:.7f}")
    print(f"weights at most {apart:.1e} apart, moved by at most {moved:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="list,open,import,resume")
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
        if "resume" in asked.only:
            resuming(one, root)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
