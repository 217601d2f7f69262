"""How many weights a text encoder has, from its configuration alone: to build one, all of transformers is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Config = Mapping[str, Any]


@dataclass(frozen=True)
class TextSizes:
    """weights: all of them; inside: of these, those of the linear layers in its blocks, which can be quantized"""

    weights: int
    inside: int


def text_sizes(kind: str, config: Config) -> TextSizes | None:
    """Return the sizes of one of transformers' classes; None where they have to be counted.

    config: what its config.json says
    """
    try:
        return SIZES[kind](config)
    except (KeyError, TypeError):  # another class, or a file that leaves things to defaults, or says no numbers
        return None


def _numbers(config: Config, *names: str) -> tuple[int, ...]:
    values = tuple(config[name] for name in names)
    if any(type(value) is not int or value < 1 for value in values):
        raise TypeError(names)
    return values


def _t5(config: Config, *, own_positions: bool = False) -> TextSizes:
    """own_positions: each block has its own distances between tokens, and not the first one's"""
    width, blocks, heads, head = _numbers(config, "d_model", "num_layers", "num_heads", "d_kv")
    hidden, words, distances = _numbers(config, "d_ff", "vocab_size", "relative_attention_num_buckets")
    is_gated = str(config["feed_forward_proj"]).startswith("gated-")
    inside = blocks * width * (4 * heads * head + (3 if is_gated else 2) * hidden)
    positions = distances * heads * (blocks if own_positions else 1)
    norms = (2 * blocks + 1) * width
    return TextSizes(words * width + inside + positions + norms, inside)


def _umt5(config: Config) -> TextSizes:
    return _t5(config, own_positions=True)


def _llama(config: Config) -> TextSizes:
    width, blocks, heads = _numbers(config, "hidden_size", "num_hidden_layers", "num_attention_heads")
    hidden, words, keyed = _numbers(config, "intermediate_size", "vocab_size", "num_key_value_heads")
    head = width // heads if config.get("head_dim") is None else _numbers(config, "head_dim")[0]
    queries, keys = heads * head, keyed * head
    inside = blocks * width * (2 * queries + 2 * keys + 3 * hidden)
    biases = (queries + 2 * keys + width) * bool(config.get("attention_bias"))
    biases += (2 * hidden + width) * bool(config.get("mlp_bias"))
    return TextSizes(words * width + inside + blocks * biases + (2 * blocks + 1) * width, inside)


def _clip(config: Config) -> TextSizes:
    width, blocks, hidden = _numbers(config, "hidden_size", "num_hidden_layers", "intermediate_size")
    words, places = _numbers(config, "vocab_size", "max_position_embeddings")
    inside = blocks * width * (4 * width + 2 * hidden)
    beside = blocks * (5 * width + hidden + 4 * width) + 2 * width
    return TextSizes((words + places) * width + inside + beside, inside)


SIZES: dict[str, Callable[[Config], TextSizes]] = {
    "T5EncoderModel": _t5,
    "UMT5EncoderModel": _umt5,
    "LlamaModel": _llama,
    "CLIPTextModel": _clip,
}
