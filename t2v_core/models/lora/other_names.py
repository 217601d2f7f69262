"""What other programs call the layers of a family's transformer: the names of its makers' own code.

Each rule is a pattern of diffusers' name, the makers' name, and where these have several layers in one, which they are.
Checked against diffusers' conversion scripts and its readers of other programs' LoRAs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Place:
    """Where a layer lies. name: the makers'; at: which of `of` layers in one that is"""

    name: str
    at: int = 0
    of: int = 1


Rule = tuple[str, str, tuple[str, ...]]
# What a group in a pattern says of the place: these in one layer, in this order.
ONE: tuple[str, ...] = ()
QKV = ("q", "k", "v")
QKV_MLP = ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")

_WAN: tuple[Rule, ...] = (
    (r"(blocks\.\d+)\.attn1\.to_([qkv])", r"\1.self_attn.\2", ONE),
    (r"(blocks\.\d+)\.attn1\.to_out\.0", r"\1.self_attn.o", ONE),
    (r"(blocks\.\d+)\.attn2\.to_([qkv])", r"\1.cross_attn.\2", ONE),
    (r"(blocks\.\d+)\.attn2\.to_out\.0", r"\1.cross_attn.o", ONE),
    (r"(blocks\.\d+)\.ffn\.net\.0\.proj", r"\1.ffn.0", ONE),
    (r"(blocks\.\d+)\.ffn\.net\.2", r"\1.ffn.2", ONE),
    (r"condition_embedder\.(time|text)_embedder\.linear_1", r"\1_embedding.0", ONE),
    (r"condition_embedder\.(time|text)_embedder\.linear_2", r"\1_embedding.2", ONE),
    (r"condition_embedder\.time_proj", r"time_projection.1", ONE),
    (r"proj_out", r"head.head", ONE),
)
_LTX: tuple[Rule, ...] = (
    (r"(transformer_blocks\.\d+\..+)", r"\1", ONE),
    (r"proj_in", r"patchify_proj", ONE),
    (r"time_embed\.(.+)", r"adaln_single.\1", ONE),
    (r"(caption_projection\..+|proj_out)", r"\1", ONE),
)
_HUNYUAN: tuple[Rule, ...] = (
    (r"transformer_blocks\.(\d+)\.attn\.to_(?P<one>[qkv])", r"double_blocks.\1.img_attn_qkv", QKV),
    (r"transformer_blocks\.(\d+)\.attn\.add_(?P<one>[qkv])_proj", r"double_blocks.\1.txt_attn_qkv", QKV),
    (r"transformer_blocks\.(\d+)\.attn\.to_out\.0", r"double_blocks.\1.img_attn_proj", ONE),
    (r"transformer_blocks\.(\d+)\.attn\.to_add_out", r"double_blocks.\1.txt_attn_proj", ONE),
    (r"transformer_blocks\.(\d+)\.ff\.net\.0\.proj", r"double_blocks.\1.img_mlp.fc1", ONE),
    (r"transformer_blocks\.(\d+)\.ff\.net\.2", r"double_blocks.\1.img_mlp.fc2", ONE),
    (r"transformer_blocks\.(\d+)\.ff_context\.net\.0\.proj", r"double_blocks.\1.txt_mlp.fc1", ONE),
    (r"transformer_blocks\.(\d+)\.ff_context\.net\.2", r"double_blocks.\1.txt_mlp.fc2", ONE),
    (r"transformer_blocks\.(\d+)\.norm1\.linear", r"double_blocks.\1.img_mod.linear", ONE),
    (r"transformer_blocks\.(\d+)\.norm1_context\.linear", r"double_blocks.\1.txt_mod.linear", ONE),
    (
        r"single_transformer_blocks\.(\d+)\.(?P<one>attn\.to_[qkv]|proj_mlp)",
        r"single_blocks.\1.linear1", QKV_MLP,
    ),
    (r"single_transformer_blocks\.(\d+)\.proj_out", r"single_blocks.\1.linear2", ONE),
    (r"single_transformer_blocks\.(\d+)\.norm\.linear", r"single_blocks.\1.modulation.linear", ONE),
    (
        r"context_embedder\.token_refiner\.refiner_blocks\.(\d+)\.attn\.to_(?P<one>[qkv])",
        r"txt_in.individual_token_refiner.blocks.\1.self_attn_qkv", QKV,
    ),
    (
        r"context_embedder\.token_refiner\.refiner_blocks\.(\d+)\.attn\.to_out\.0",
        r"txt_in.individual_token_refiner.blocks.\1.self_attn_proj", ONE,
    ),
)  # fmt: skip
_MOCHI: tuple[Rule, ...] = (
    (r"transformer_blocks\.(\d+)\.attn1\.to_(?P<one>[qkv])", r"blocks.\1.attn.qkv_x", QKV),
    (r"transformer_blocks\.(\d+)\.attn1\.add_(?P<one>[qkv])_proj", r"blocks.\1.attn.qkv_y", QKV),
    (r"transformer_blocks\.(\d+)\.attn1\.to_out\.0", r"blocks.\1.attn.proj_x", ONE),
    (r"transformer_blocks\.(\d+)\.attn1\.to_add_out", r"blocks.\1.attn.proj_y", ONE),
    (r"time_embed\.pooler\.(to_q|to_kv|to_out)", r"t5_y_embedder.\1", ONE),
)
# By the family. Nobody else reads CogVideoX in another form than diffusers'; kohya's trainers know two.
RULES: dict[str, tuple[Rule, ...]] = {"Wan": _WAN, "LTX-Video": _LTX, "HunyuanVideo": _HUNYUAN, "Mochi": _MOCHI}
FORMS_OF: dict[str, tuple[str, ...]] = {
    "Wan": ("comfyui", "kohya"), "LTX-Video": ("comfyui",), "HunyuanVideo": ("comfyui", "kohya"),
    "Mochi": ("comfyui",),
}  # fmt: skip
# diffusers refuses a file of theirs in which a layer has an alpha.
WITHOUT_ALPHA = frozenset({"LTX-Video"})


def place_of(family: str, layer: str) -> Place | None:
    """Return where the makers of a family have a layer of diffusers' name; None where nobody says."""
    for pattern, theirs, members in _compiled(family):
        if (found := pattern.fullmatch(layer)) is not None:
            at = members.index(found["one"]) if members else 0
            return Place(found.expand(theirs), at, max(1, len(members)))
    return None


def by_their_name(family: str, layers: Iterable[str]) -> dict[str, dict[int, str]]:
    """Return the layers of a transformer by the makers' name, and within that by their place in it."""
    found: dict[str, dict[int, str]] = {}
    for layer in layers:
        if (place := place_of(family, layer)) is not None:
            found.setdefault(place.name, {})[place.at] = layer
    return found


@cache
def _compiled(family: str) -> tuple[tuple[re.Pattern[str], str, tuple[str, ...]], ...]:
    return tuple((re.compile(pattern), theirs, members) for pattern, theirs, members in RULES.get(family, ()))
