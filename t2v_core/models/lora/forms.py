"""A LoRA in the forms that other programs load, ComfyUI and kohya's trainers, and read back from them without loss.

Where a family's makers have several layers in one (q, k and v), the adapters beside them become one, whose ranks add up
and whose second matrix is zero off its diagonal: it does the same. The header says what lies where in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from t2v_core.errors import InvalidRequest
from t2v_core.models.lora.files import ALPHA, DOWN, UP, Layer, Lora, Tensors
from t2v_core.models.lora.other_names import FORMS_OF, WITHOUT_ALPHA, by_their_name, place_of

COMFYUI, KOHYA = "diffusion_model.", "lora_unet_"
# In our part of a header: of a file with layers in one, which of them with which rank.
PACKED = "packed"
PART = "part"


@dataclass(frozen=True)
class Written:
    """tensors: by their names in the form; packed: by the makers' name, (place, rank) of each layer in it"""

    tensors: Tensors
    packed: Mapping[str, list[tuple[int, int]]]


def in_form(form: str, family: str, layers: Mapping[str, Layer], sizes: Mapping[str, int]) -> Written:
    """Return a transformer's adapters in a form of `FORMS_OF`.

    layers: by diffusers' names; sizes: what each layer of the transformer gives out, by the same names
    Raises InvalidRequest for a family that nobody reads in this form, and for a layer that has no name in it.
    """
    if form not in FORMS_OF.get(family, ()):
        known = ", ".join(name for name, forms in FORMS_OF.items() if form in forms)
        raise InvalidRequest(
            f"nobody reads a LoRA of {family} in the form of {form}: that is for {known}",
            hint="leave --format out: ComfyUI's nodes for the others read diffusers' own form",
        )
    whole = by_their_name(family, sizes)
    tensors: Tensors = {}
    packed: dict[str, list[tuple[int, int]]] = {}
    for name, members in _grouped(family, layers).items():
        layer = next(iter(members.values()))
        if len(whole[name]) > 1:
            layer = _one_layer(members, {at: sizes[one] for at, one in whole[name].items()})
            packed[name] = [(at, members[at].rank) for at in sorted(members)]
        tensors |= _named(form, name, layer, has_alpha=family not in WITHOUT_ALPHA)
    return Written(tensors, packed)


def _grouped(family: str, layers: Mapping[str, Layer]) -> dict[str, dict[int, Layer]]:
    found: dict[str, dict[int, Layer]] = {}
    for own, layer in layers.items():
        place = place_of(family, own)
        if place is None:
            raise InvalidRequest(
                f"other programs have no name for the layer {own} of {family}, which the LoRA changes",
                hint="train with --lora-targets attention, or leave --format out",
            )
        found.setdefault(place.name, {})[place.at] = layer
    return found


def _one_layer(members: Mapping[int, Layer], sizes: Mapping[int, int]) -> Layer:
    """One layer that does what several do: the sum of their ranks, and nothing where one has no adapter."""
    first = members[min(members)]
    ranks, rows = {at: layer.rank for at, layer in members.items()}, sorted(sizes)
    down = torch.cat([members[at].down for at in sorted(members)])
    up = torch.zeros(sum(sizes.values()), sum(ranks.values()), dtype=first.up.dtype)
    column = 0
    for at in sorted(members):
        row = sum(sizes[one] for one in rows if one < at)
        own = members[at]
        is_alike = own.alpha * first.rank == first.alpha * own.rank
        up[row : row + sizes[at], column : column + own.rank] = own.up * (
            1 if is_alike else own.alpha * first.rank / (own.rank * first.alpha)
        )
        column += own.rank
    return Layer(down, up, first.alpha * column / first.rank)


def _named(form: str, name: str, layer: Layer, *, has_alpha: bool) -> Tensors:
    """Its tensors by the form's names. has_alpha: else the second matrix is multiplied by it, to what that rounds"""
    if form == "kohya":
        start, down, up = f"{KOHYA}{name.replace('.', '_')}", ".lora_down.weight", ".lora_up.weight"
    else:
        start, down, up = f"{COMFYUI}{name}", DOWN, UP
    if has_alpha:
        tensors = {down: layer.down, up: layer.up, ALPHA: torch.tensor(layer.alpha)}
    else:
        tensors = {down: layer.down, up: layer.up * (layer.alpha / layer.rank)}
    return {f"{start}{end}": tensor.contiguous() for end, tensor in tensors.items()}


def of_form(tensors: Tensors, about: Mapping[str, Any], family: str, sizes: Mapping[str, int]) -> Tensors | None:
    """Return what `in_form` made in diffusers' names again, or None where some of it is of another making.

    about: our part of the header; sizes: as of `in_form`
    """
    whole = by_their_name(family, sizes)
    names = {COMFYUI + name: name for name in whole} | {KOHYA + name.replace(".", "_"): name for name in whole}
    part, packed = str(about.get(PART, "transformer")), about.get(PACKED)
    found: Tensors = {}
    for start, layer in _layers(tensors):
        name = names.get(start)
        if name is None:
            return None
        shares = packed.get(name) if isinstance(packed, dict) else None
        split = _split(layer, shares, {at: sizes[one] for at, one in whole[name].items()})
        if split is None:
            return None
        for at, one in split.items():
            own = f"{part}.{whole[name][at]}"
            found |= {f"{own}{DOWN}": one.down, f"{own}{UP}": one.up, f"{own}{ALPHA}": torch.tensor(one.alpha)}
    return found


def of_its_part(lora: Lora) -> Lora:
    """Return an adapter with its layers in the part that it says: a second expert's file has the first one's name."""
    part = lora.about.get(PART)
    if not isinstance(part, str) or any(name.startswith(f"{part}.") for name in lora.layers):
        return lora
    return replace(lora, layers={f"{part}.{name.partition('.')[2]}": layer for name, layer in lora.layers.items()})


def _layers(tensors: Tensors) -> Iterator[tuple[str, Layer]]:
    """Each layer by what its names begin with."""
    for key, down in tensors.items():
        for end, other in ((DOWN, UP), (".lora_down.weight", ".lora_up.weight")):
            start = key.removesuffix(end)
            if start != key and (up := tensors.get(start + other)) is not None:
                alpha = tensors.get(start + ALPHA)
                yield start, Layer(down, up, float(up.shape[1]) if alpha is None else float(alpha.flatten()[0]))


def _split(layer: Layer, shares: Any, sizes: Mapping[int, int]) -> dict[int, Layer] | None:
    """The layers that lie in one; None where nobody says how, or it does not add up."""
    if len(sizes) == 1:
        return {next(iter(sizes)): layer}
    if not isinstance(shares, list) or layer.up.shape[0] != sum(sizes.values()):
        return None
    found: dict[int, Layer] = {}
    column = 0
    for share in shares:
        if not (
            isinstance(share, list | tuple) and len(share) == 2 and share[0] in sizes and isinstance(share[1], int)
        ):
            return None
        at, rank = share
        row = sum(size for one, size in sizes.items() if one < at)
        up: Tensor = layer.up[row : row + sizes[at], column : column + rank]
        found[at] = Layer(layer.down[column : column + rank], up, layer.alpha * rank / layer.rank)
        column += rank
    return found if column == layer.rank else None
