"""Valid inputs of every reader, small, with everything in them that a reader looks at."""

from __future__ import annotations

import base64
import struct

from support.hostile import wire_targets as read
from support.hostile.wire_targets import Target, lines, text

SHA = "0" * 63 + "a"
GPU = {"index": 0, "name": "A100", "utilization_percent": 3, "memory_used_mib": 1.5, "power_w": None, "count": 1}
SAMPLE = {
    "gpus": [GPU], "why": "", "cpu_percent": 3.5, "disk_free_bytes": 5,
    "memory": {"total_bytes": 10, "available_bytes": 4},
}  # fmt: skip
ROW = {
    "job": "20261122-181501-train-3f2a", "verb": "train", "state": "running", "code": None, "signal": None,
    "reason": "", "hint": "", "queued_t": 1.7e9, "started_t": 1.7e9, "ended_t": None, "pid": 12, "needs_gpu": True,
    "after": None, "log_bytes": 3, "events_bytes": 4, "last_event": {"t": 1.7e9, "kind": "step"}, "of": "",
    "place_in_queue": None, "supervised": True,
}  # fmt: skip
FILE = {"name": "", "size": 5, "mtime_ns": 17, "inode": 3, "sha256": None}
SEALED = [{**FILE, "name": "model.safetensors", "sha256": SHA}, {**FILE, "name": "manifest.json", "sha256": SHA}]
OFFER = {
    "digest": SHA, "is_same": False, "workspace": "/w", "programs": ["rsync"], "disk_free_bytes": 4,
    "units": [
        {"path": "outputs/a.mp4", "kind": "file", "files": [FILE]},
        {"path": "checkpoints/checkpoint_epoch_1", "kind": "sealed", "step": 4, "files": SEALED},
    ],
    "skipped": [{"path": "x", "why": "it is a link"}, {"path": "y", "why": "gone", "is_asked": True}],
}  # fmt: skip
GUARD = {
    "is_installed": True, "by": "process", "is_alive": True, "can_power_off": True, "busy": ["a job"], "unknown": [],
    "idle_s": 0.0, "stops_in_s": 5, "why": "idle", "cap_in_s": 60.0, "kept_s": 1.0, "error": None,
    "last_stop": {"t": 1.7e9, "why": "idle"},
}  # fmt: skip
ANSWERS = {
    "status": {"jobs": [ROW]}, "guard": GUARD, "offer": OFFER, "hello": {"logout": "", "user": "me"},
    "want": {
        "needed": [{"at": 0, "there": [[0, 4]], "has_twin": True}], "refused": [], "gone": ["a"], "disk_free_bytes": 4,
    },
    "sums": {"files": [{"path": "a", **FILE}]}, "start": {"job": "j-1", "is_new": True, "state": "queued"},
    "stop": {"state": "stopped", "how": "stop file", "left": [3], "gpu_left": [{"pid": 3}]},
}  # fmt: skip
TRAINER = {
    "step": 4, "epoch": 1, "fps": 8.0, "format": 1, "held_out_loss": 0.5, "spec": {"preset": "tiny"}, "model": {},
    "sampler": {"class": "DDPM"}, "latents": {"encoder": {"source": "a", "sha256": SHA}, "settings": {}},
    "text": {"encoder": {"source": "b", "sha256": SHA}, "padded_to": 77},
}  # fmt: skip
MANIFEST = {"files": {"manifest.txt": {"size_bytes": 0, "sha256": SHA}, "a/b": {"size_bytes": 3, "sha256": SHA}}}
TOML = b"""
data = "data/shapes"
[train]
epochs = 3
learning_rate = 1e-4
precision = "fp32"
[generate.fast]
steps = 5
[host.vm]
address = "10.0.0.1"
port = 22
idle_stop_min = 30
max_run_h = 2.5
iap = true
transfer = "auto"
[tui]
theme = "dark"
ascii = false
[tui.keys]
quit = "q"
"""
EVENTS = lines(
    {"t": 1.7e9, "kind": "stage", "name": "train", "detail": "10 clips"},
    {"t": 1.7e9, "kind": "step", "step": 3, "total": 9, "epoch": 1, "loss": 0.5, "learning_rate": 1e-4,
     "grad_norm": 0.1, "samples_per_s": 3.5},
    {"t": 1.7e9 + 1, "kind": "step", "step": 4, "total": 9, "loss": "nan"},
    {"t": 1.7e9, "kind": "progress", "done": 3, "total": 9, "unit": "clips"},
    {"t": 1.7e9, "kind": "sample", "video": "outputs/a.mp4", "prompt": "a red ball", "step": 3},
    {"t": 1.7e9, "kind": "checkpoint", "path": "checkpoints/a", "epoch": 1, "step": 3, "reason": "epoch"},
    {"t": 1.7e9, "kind": "score", "name": "held-out loss", "value": 0.4, "step": 3},
    {"t": 1.7e9, "kind": "warning", "message": "m", "hint": "h"},
    {"t": 1.7e9, "kind": "error", "message": "m", "hint": "h", "exit_code": 1},
    {"t": 1.7e9, "kind": "done", "seconds": 3.5},
)  # fmt: skip
JOB = {
    "pid": 2**22 + 1, "supervisor": 2**22 + 2, "boot_id": "b", "started": 1.7e9, "start_ticks": 4, "argv": ["a"],
    "code": 1, "signal": None, "reason": "r", "hint": "", "ended": 1.7e9, "key": "k", "verb": "train", "python": ["p"],
    "env": {}, "needs_gpu": True, "after": None, "is_engine": True, "by": {"id": "1"}, "queued_t": 1.7e9, "t": 1.7e9,
    "kind": "error", "exit_code": 3, "message": "m",
}  # fmt: skip
KEY = base64.b64encode(b"".join(struct.pack(">I", len(part)) + part for part in (b"ssh-ed25519", bytes(32)))).decode()
KNOWN_HOSTS = (
    f"# ours\nhost,other ssh-ed25519 {KEY}\n@revoked * ssh-ed25519 {KEY}\n|1|c2FsdA==|ZGln ssh-ed25519 {KEY}\n"
    f"[h*t]:22,!host? ssh-ed25519 {KEY} comment\n"
).encode()
INSTANCE = {
    "name": "vm", "zone": "https://x/zones/z", "id": "12", "status": "RUNNING", "machineType": "x/a2",
    "networkInterfaces": [{"networkIP": "10.0.0.2", "accessConfigs": [{"natIP": "1.2.3.4"}]}],
    "guestAccelerators": [{"acceleratorType": "x/t4", "acceleratorCount": 1}],
    "scheduling": {"provisioningModel": "SPOT", "maxRunDuration": {"seconds": "60"}},
    "disks": [{"diskSizeGb": "100"}], "lastStartTimestamp": "2026-11-25T01:02:03.004-08:00",
    "credential": {"access_token": "t", "token_expiry": "2026-11-25T01:02:03Z"},
    "posixAccounts": [{"primary": True, "username": "me"}],
}  # fmt: skip
STORE = {
    "settings": {"version": 1, "frames": 8}, "files": {},
    "clips": [{"video_id": "v0", "shard": "shard-00000.safetensors", "row": 0, "first": 0}],
}  # fmt: skip
SHARD = {
    "__metadata__": {"t2v": '{"settings": {"frames": 8, "version": 1}, "rows": [{"video_id": "v0"}]}'},
    "latents": {"dtype": "F16", "shape": [0, 4], "data_offsets": [0, 0]},
}  # fmt: skip
SIDECAR = {
    "verb": "generate", "spec": {"prompt": "a ball", "steps": 4},
    "video": {"file": "a.mp4", "size": [64, 64], "fps": 8, "frames": 8},
    "checkpoint": {"path": "checkpoints/a", "step": 3},
}  # fmt: skip
REMEMBERED = (
    {"id": "0" * 16, "root": "/elsewhere"},
    ["a red ball", "a blue one"],
    {"hosts": {"vm": {"kind": "ssh", "address": "a", "workdir": "w", "seen_t": 1.7e9, "latency_s": 0.1, "vm": None,
                      "cost": None, "guard": None}}, "host": "vm", "shown": ["vm", "j"], "chosen": {"train": {"a": 1}}},
    {"seen_t": 1.7e9, "videos": [], "checkpoints": [{"path": "a", "size_bytes": 3, "why": "", "files": [["a", 3]]}]},
    {"row": ROW, "seen_t": 1.7e9},
    {"path": "a", "identity": SHA, "mark": [3, 4], "kind": "code", "sha256": SHA, "by": "me"},
    {"outputs/a.mp4": {"identity": SHA, "unit": OFFER["units"][0], "places": ["gs://b/a"]}},
    {"bytes_per_s": 3.5},
    {"id": "12", "started_t": 1.7e9, "stopped_t": None, "usd_per_hour": 0.5, "machine_type": "a2", "is_spot": False},
    {"t": 1.7e9, "paths": ["outputs/a.mp4"]},
    OFFER,
    ["/a\0" "1", SHA],
)  # fmt: skip
RULES = {
    "idle_stop_min": 30.0, "max_run_h": 24.0, "idle_gpu_percent": 5.0, "workspaces": ["/w"], "by": "process",
    "can_power_off": True, "since": {"boot_id": "b", "up_s": 4.0}, "pid": 4, "what": "t2v pull", "what else": "x",
}  # fmt: skip
FOLLOWED = lines({"file": "log", "offset": 0, "n": 5}) + b"hello" + lines({"beat": 1.7e9}, {"end": ROW})

TARGETS = (
    Target("answers", read._answers, (text({"id": 1, "error": {"kind": "failed", "message": "m", "hint": "h"}}),
                                      *(text({"id": 1, "ask": verb, "ok": said}) for verb, said in ANSWERS.items()))),
    Target("conversation", read._conversation, (lines({"id": 1, "ok": {"logout": ""}}, {"beat": 1.0}),
                                                lines({"id": 1, "error": {"kind": "busy", "message": "m"}}))),
    Target("frames", read._frames, (FOLLOWED, lines(SAMPLE, SAMPLE))),
    Target("greeting", read._greeting, (b"motd\n" + lines({"agent": SHA, "python": "3.11.2"}) + b"x",)),
    Target("transfer lines", read._transfer_lines, (lines({"range": 0, "n": 4}, {"sent": 0, "is_same": True}),)),
    Target("journal", read._journal, (lines({"identity": "one", "size": 1 << 40}, [0, 5], [9, 12]),)),
    Target("manifest", read._manifest, (text(MANIFEST),)),
    Target("trainer.json", read._trainer, (text(TRAINER),)),
    Target("t2v.toml", read._settings, (TOML,)),
    Target("events", read._events, (EVENTS,)),
    Target("job folder", read._job_folder, (text(JOB) + b"\n",)),
    Target("spec", read._spec, (text({"data": "data/shapes", "epochs": 3, "resume": False}),)),
    Target("known_hosts", read._known_hosts, (KNOWN_HOSTS,)),
    Target("cloud", read._cloud, (text(INSTANCE),)),
    Target("store", read._store, (text(STORE), text(SHARD))),
    Target("sidecar", read._sidecar, (text(SIDECAR),)),
    Target("remembered", read._remembered, tuple(text(one) + b"\n" for one in REMEMBERED)),
    Target("guard", read._guard, (text(RULES),)),
)  # fmt: skip
BY_NAME = {target.name: target for target in TARGETS}
