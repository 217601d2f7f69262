"""The files of an open model's folder, in diffusers' layout: which there are, which are needed, which are missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from t2v_core.disk.plain_json import read_table
from t2v_core.models.open.licence import CARD

INDEX = "model_index.json"
# Of what t2v exported: how it was made.
RECORD = "t2v.json"
# What holds weights in a part's folder: one file, or a list of several.
SINGLE = ("diffusion_pytorch_model.safetensors", "model.safetensors")
TEXT = ("tokenizer", "text_encoder", "tokenizer_2", "text_encoder_2")
TRANSFORMERS = ("transformer", "transformer_2")
# Everything that t2v uses; an index may name more, such as a safety checker.
USED = (*TEXT, *TRANSFORMERS, "vae", "scheduler")
# What a part's folder holds beside weights.
SMALL = (".json", ".txt", ".model", ".jinja")
SHARD = re.compile(r"(diffusion_pytorch_model|model)-\d+-of-\d+\.safetensors")


def part_names(index: Mapping[str, Any]) -> list[str]:
    """Return the parts that a `model_index.json` names, of those that t2v uses."""
    return [name for name in USED if _is_part(index.get(name))]


def missing_files(folder: Path, names: Iterable[str], *, weights: bool = True) -> list[str]:
    """Return which files of the parts are not in a model's folder, relative to it, in order.

    weights: False asks for configurations only
    """
    lacking: list[str] = []
    for name in names:
        part = folder / name
        if name.startswith("tokenizer"):
            lacking += [] if part.is_dir() and any(part.iterdir()) else [f"{name}/"]
        elif name == "scheduler":
            lacking += _absent(part, ["scheduler_config.json"])
        else:
            lacking += _absent(part, ["config.json", *(_weight_files(part) if weights else [])])
    return lacking


def _absent(part: Path, files: Iterable[str]) -> list[str]:
    return [f"{part.name}/{file}" for file in files if not (part / file).is_file()]


def _weight_files(part: Path) -> list[str]:
    """Those that an index of shards lists, else the single one that is there, else the one that could be."""
    for name in SINGLE:
        listed = part / f"{name}.index.json"
        if listed.is_file():
            return sorted({str(file) for file in _shards(read_table(listed)).values()})
    there = [name for name in SINGLE if (part / name).is_file()]
    return there or [SINGLE["text_encoder" in part.name]]


def _shards(table: Mapping[str, Any]) -> Mapping[str, Any]:
    found = table.get("weight_map")
    return found if isinstance(found, dict) else {}


def _is_part(value: object) -> bool:
    """`["diffusers", "AutoencoderKLWan"]`; a part that this model lacks is `[null, null]`."""
    return isinstance(value, list) and len(value) == 2 and all(isinstance(word, str) for word in value)


def needed_files(names: Iterable[str], parts: Iterable[str]) -> set[str]:
    """Return which files of a repository `parts` need: one form of their weights, configurations, card and licence.

    names: of all of its files; a repository has the same weights in several forms, each of them gigabytes
    """
    every = set(names)
    kept = {name for name in every if name in (INDEX, CARD) or name.startswith("LICENSE")}
    for part in parts:
        own = [PurePosixPath(name).name for name in every if PurePosixPath(name).parent.name == part]
        chosen = [name for name in own if name.endswith(SMALL) and not _is_of_a_variant(name)]
        shards = [name for name in own if SHARD.fullmatch(name)]
        chosen += shards or [name for name in SINGLE if name in own]
        kept |= {f"{part}/{name}" for name in chosen} & every
    return kept


def _is_of_a_variant(name: str) -> bool:
    """`model.safetensors.index.fp16.json` lists weights in another precision."""
    return ".index." in name and not name.endswith(".safetensors.index.json")
