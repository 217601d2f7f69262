"""Which open models a machine has: in the workspace's folder and in the hub's cache, whole or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.hosts.agent_here import Here, agent

INDEX = {
    "_class_name": "WanPipeline", "_diffusers_version": "0.42.0", "scheduler": ["diffusers", "FlowMatchEuler"],
    "transformer": ["diffusers", "WanTransformer3DModel"], "vae": ["diffusers", "AutoencoderKLWan"],
    "image_encoder": [None, None],
}  # fmt: skip


def save_model(folder: Path, *, shards: int = 1) -> Path:
    """A model's files as the hub lays them out; their content is never looked at."""
    for part in ("scheduler", "transformer", "vae"):
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text("{}")
    names = [f"diffusion-{number}.safetensors" for number in range(shards)]
    for name in names:
        (folder / "transformer" / name).write_bytes(bytes(1000))
    index = {"weight_map": {f"layer{number}": name for number, name in enumerate(names)}}
    (folder / "transformer" / "diffusion.safetensors.index.json").write_text(json.dumps(index))
    (folder / "vae" / "model.safetensors").write_bytes(bytes(500))
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    return folder


def cached(hub: Path, name: str, **about: Any) -> Path:
    """A model in the cache: links in a snapshot to blobs beside it."""
    kept = hub / f"models--{name.replace('/', '--')}"
    snapshot = save_model(kept / "snapshots" / "abc123", **about)
    (kept / "blobs").mkdir()
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("abc123")
    for number, file in enumerate(sorted(path for path in snapshot.rglob("*") if path.is_file())):
        blob = kept / "blobs" / f"{number:040x}"
        file.rename(blob)
        file.symlink_to(blob)
    return kept


def models_of(root: Path, hub: Path) -> dict[str, dict[str, Any]]:
    with agent(HF_HUB_CACHE=str(hub)) as one:
        return {row["source"]: row for row in Here(root, one).call("models")["models"]}


def test_folders_and_the_cache_are_named_as_they_are_asked_for(tmp_path: Path) -> None:
    save_model(tmp_path / "here/models/wan")
    (tmp_path / "here/models/clip").mkdir()
    cached(tmp_path / "hub", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", shards=3)
    (tmp_path / "hub/models--openai--clip/snapshots/1").mkdir(parents=True)
    found = models_of(tmp_path / "here", tmp_path / "hub")
    assert list(found) == ["models/wan", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"]
    assert all(row["is_whole"] and row["family"] == "WanPipeline" for row in found.values())
    assert found["models/wan"]["size_bytes"] > 1500
    assert found["Wan-AI/Wan2.1-T2V-1.3B-Diffusers"]["size_bytes"] > 3500


def test_what_was_not_fetched_to_its_end_is_not_whole(tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    (cached(hub, "a/coming") / "blobs" / "ff.incomplete").write_bytes(b"half")
    shard = next((cached(hub, "a/gone", shards=2) / "snapshots/abc123/transformer").glob("*-1.safetensors"))
    shard.resolve().unlink()
    (cached(hub, "a/without") / "snapshots/abc123/vae/model.safetensors").unlink()
    (cached(hub, "a/broken") / "snapshots/abc123/model_index.json").resolve().write_text("{torn")
    found = models_of(tmp_path, hub)
    assert {name: row["is_whole"] for name, row in found.items()} == dict.fromkeys(
        ["a/broken", "a/coming", "a/gone", "a/without"], False
    )


def test_without_any_there_is_none(tmp_path: Path) -> None:
    assert models_of(tmp_path, tmp_path / "nowhere") == {}
