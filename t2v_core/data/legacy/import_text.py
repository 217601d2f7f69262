"""Text for imported latents: captions encoded anew where they are known, else the old padded embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t2v_core.data.annotations.msrvtt import Annotations, Clip
from t2v_core.data.annotations.overlap import first_ids
from t2v_core.data.encode.encode_captions import CaptionEncoder, stored_tensors
from t2v_core.data.encode.encode_clips import DTYPES
from t2v_core.data.encode.text_set import TextSet
from t2v_core.data.legacy.old_annotations import ImportedSplits
from t2v_core.data.legacy.old_files import ORIGIN, refuse_to_replace
from t2v_core.data.legacy.old_rows import GROUP_FILES, OldRow, readers
from t2v_core.data.legacy.old_shards import OldShards, Packed
from t2v_core.data.legacy.old_tensors import TEXT_SHAPE, BadTensorFile, buffer_for, is_same_file, read_old_values
from t2v_core.data.quarantine import Quarantine
from t2v_core.data.store.latents import NULL_PROMPT_FILE, LatentStore
from t2v_core.data.store.shard_set import ShardSet, read_manifest, report_changes
from t2v_core.data.store.shards import write_shard
from t2v_core.data.store.shared_shards import SharedShards
from t2v_core.disk.files import MANIFEST, require_space
from t2v_core.disk.opening import read_soon
from t2v_core.errors import InvalidRequest, WorkFailed
from t2v_core.job import Job
from t2v_core.models.encoders import PromptEncoder
from t2v_core.models.text import TextEmbedding
from t2v_core.processes.in_order import in_order
from t2v_core.processes.process_group import ProcessGroup
from t2v_core.processes.shared_store import OwnStore
from t2v_core.specs import ImportLatentsSpec, PreprocessSpec
from t2v_core.workspace import Dataset

# Of the norm. One token in bf16 and in fp32 differs by 0.010 at most; end tokens of captions that differ in a word or a
# full stop, by 0.118 at least (the embedded CLIP).
SAME_WITHIN = 0.05


def import_text(
    spec: ImportLatentsSpec,
    splits: ImportedSplits,
    dataset: Dataset,
    old: Dataset,
    *,
    encoder: PromptEncoder,
    quarantine: Quarantine,
    job: Job,
) -> int:
    """Encode or import the text of every split; return how many captions there are.

    Raises InvalidRequest when the old text is of another encoder and no captions are known, WorkFailed, Stopped.
    """
    if splits.has_captions:
        for part in splits.parts:
            _encode(spec, part, dataset, encoder, job)
            if (dataset.latents / part.split / MANIFEST).is_file():
                _compare(part, dataset, old, job)
        return sum(len(clip.captions) for part in splits.parts for clip in part.clips)
    job.events.warning(
        "the text is taken as the old files have it: one caption a clip, padded to 77 tokens, no pooled embedding; "
        "prompts of a model trained on it are padded in the same way",
        hint="with annotations beside the latents, every caption is encoded again instead",
    )
    imports = [
        PaddedTextImport(spec, encoder, dataset, old, _with_latents(part, dataset), quarantine=quarantine, job=job)
        for part in splits.parts
    ]
    return sum(padded.run() for padded in imports)


def _with_latents(part: Annotations, dataset: Dataset) -> Annotations:
    """Without the clips whose latents cannot be used; why, is noted of them, and their text would strike it out."""
    stored = {entry["video_id"] for entry in read_manifest(dataset.latents / part.split).get("clips", [])}
    return replace(part, clips=[clip for clip in part.clips if clip.video_id in stored])


def _encode(spec: ImportLatentsSpec, part: Annotations, dataset: Dataset, encoder: PromptEncoder, job: Job) -> None:
    """Just what `t2v preprocess` would make."""
    shared = {"data", "text_encoder", "dtype", "precision", "shard_clips", "device"}
    asked = PreprocessSpec.model_validate(spec.model_dump(include=shared))
    texts, captions = TextSet(asked, encoder, dataset, part, job), CaptionEncoder(asked, encoder, dataset, part)
    work = SharedShards(captions.name, captions.unit, texts.plan(), ProcessGroup(job, OwnStore()), None)
    work.begin()
    captions.encode(work)
    work.wait()
    texts.seal()


def _compare(part: Annotations, dataset: Dataset, old: Dataset, job: Job) -> None:
    """Warn when old text is not what its clip's first caption gives: then clips and captions were mixed up once.

    The tower is causal, so the old padded rows begin with just those of the caption alone; the last of these, the end
    token's, has seen all of it.
    """
    store = LatentStore.open(dataset, part.split)
    files = {clip.video_id: _text_file(old, clip.path.stem) for clip in part.clips}
    paths = [files[name] for name in store.video_ids]
    groups = [paths[begin : begin + GROUP_FILES] for begin in range(0, len(paths), GROUP_FILES)]
    padded = in_order(_old_texts, groups, threads=readers(), ahead=2 * readers(), name="old-text")
    job.events.stage(f"old text {part.split}", "compared with the captions")
    differing, compared = [], 0
    with padded as texts:
        for index, (name, text) in enumerate(zip(store.video_ids, chain.from_iterable(texts), strict=True)):
            job.check_stop()
            job.events.progress(index + 1, len(store), "clips")
            if text is not None:
                compared += 1
                if not _is_of_caption(text, store.captions(index)[0].tokens):
                    differing.append(name)
    if differing:
        job.events.warning(
            f"the old text of {len(differing)} of {compared} clips of {part.split} is not that of their first caption "
            f"({first_ids(differing)}): it comes from another text encoder, or captions and clips were mixed up",
            hint="the captions of the annotations are used; check that they fit the videos",
        )


def _old_texts(paths: Sequence[Path]) -> list[Tensor | None]:
    read_soon(paths)
    return [_old_text(path) for path in paths]


def _old_text(path: Path) -> Tensor | None:
    """A clip's old padded tokens; None of a file that cannot be used, which nothing depends on."""
    try:
        return read_old_values(path, TEXT_SHAPE, buffer_for(TEXT_SHAPE))[0]
    except BadTensorFile:
        return None


def _is_of_caption(padded: Tensor, tokens: Tensor) -> bool:
    return tokens.shape[1] == padded.shape[1] and _is_same(padded[len(tokens) - 1], tokens[-1])


def _is_same(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).norm() <= SAME_WITHIN * other.norm())


def _text_file(old: Dataset, video_id: str) -> Path:
    return old.text_embeddings / f"{video_id}.pt"


class PaddedTextImport:
    """One split's old embeddings as they are: all 77 rows, since nothing tells where the padding begins.

    No pooled vector is known. The null prompt is padded in the same way, by the same encoder.
    Raises InvalidRequest when that is not the encoder of the old text.
    """

    def __init__(
        self,
        spec: ImportLatentsSpec,
        encoder: PromptEncoder,
        dataset: Dataset,
        old: Dataset,
        part: Annotations,
        *,
        quarantine: Quarantine,
        job: Job,
    ) -> None:
        self.spec, self.encoder, self.split, self.quarantine, self.job = spec, encoder, part.split, quarantine, job
        self.clips = {clip.video_id: Clip(clip.video_id, _text_file(old, clip.video_id), []) for clip in part.clips}
        self.directory = dataset.text_embeddings / part.split
        self.null = padded_null_prompt(encoder)
        refuse_to_replace(self.directory)
        settings = {"text_encoder": encoder.identity.sha256, "dtype": spec.dtype, "padded_to": TEXT_SHAPE[1]}
        self.shards = ShardSet(self.directory, settings | {"origin": ORIGIN})

    def run(self) -> int:
        """Import what is not in whole shards yet and seal the set; returns how many embeddings there are."""
        stale = self.shards.keep(
            lambda e: e["video_id"] not in self.clips or is_same_file(self.clips[e["video_id"]].path, TEXT_SHAPE, e)
        )
        report_changes(self.job, self.shards, f"text embeddings of {self.split}", stale)
        files = OldShards(
            self.shards, self.clips, TEXT_SHAPE, self.spec.dtype, "captions", quarantine=self.quarantine, job=self.job
        )  # fmt: skip
        missing = files.missing()
        size_bytes = len(missing) * prod(TEXT_SHAPE) * DTYPES[self.spec.dtype].itemsize
        require_space(self.directory, size_bytes, f"text embeddings of {len(missing)} clips")
        self.job.events.stage(f"text {self.split}", f"{len(missing)} files to read, padded as they are")
        files.make(missing, self.spec.shard_clips, self._pack)
        self._seal()
        return len(self.shards.places)

    def _pack(self, usable: list[OldRow], rows: Tensor) -> Packed:
        """As `stored_tensors` has it, of embeddings that are all of one length. Raises InvalidRequest."""
        for row, values in zip(usable, rows, strict=True):
            self._require_same_encoder(values[0].float(), self.clips[row.entry["video_id"]].path)
        count, length, dim = len(rows), *TEXT_SHAPE[1:]
        tensors = {
            "tokens": rows.reshape(count * length, dim),
            "offsets": torch.arange(count + 1) * length,
            "pooled": torch.empty(count, 0, dtype=rows.dtype),
        }
        entries = [row.entry | {"captions": [""], "first": i, "truncated": []} for i, row in enumerate(usable)]
        return tensors, entries

    def _require_same_encoder(self, tokens: Tensor, path: Path) -> None:
        """The first row is the start token's, which sees no other: it is the same for every prompt of an encoder."""
        if tokens.shape[1] != self.null.tokens.shape[1] or not _is_same(tokens[:1], self.null.tokens[:1]):
            raise InvalidRequest(
                f"{path} does not come from the text encoder {self.spec.text_encoder}: "
                "its start token is another vector",
                hint="name the one that made it: --text-encoder openai/clip-vit-base-patch32",
            )

    def _seal(self) -> None:
        if not self.shards.places:
            name = next(iter(self.clips))
            raise WorkFailed(
                f"none of {len(self.clips)} clips has text that can be used; "
                f"{name}: {self.quarantine.entries[name].detail}",
                hint="put annotations beside the latents, and their captions are encoded instead",
            )
        null = stored_tensors([self.null], self.spec.dtype)
        write_shard(self.directory / NULL_PROMPT_FILE, null, {"settings": self.shards.settings})
        self.shards.seal(list(self.clips), self._about(), extra_files=(NULL_PROMPT_FILE,))

    def _about(self) -> dict[str, Any]:
        return {
            "format": "t2v-text-embeddings",
            "split": self.split,
            "provenance": ORIGIN,
            "encoder": {"source": self.spec.text_encoder, "sha256": self.encoder.identity.sha256},
            "max_length": TEXT_SHAPE[1],
            "padded_to": TEXT_SHAPE[1],
            "dim": TEXT_SHAPE[2],
            "pooled_dim": 0,
        }


@torch.no_grad()
def padded_null_prompt(encoder: PromptEncoder) -> TextEmbedding:
    """Encode the empty prompt padded to 77 tokens, no mask given, as the previous system did; without a pooled vector.

    Raises InvalidRequest for an encoder that reads fewer tokens.
    """
    ids = encoder.tokenizer("", padding="max_length", max_length=TEXT_SHAPE[1], return_tensors="pt")["input_ids"]
    if ids.shape[1] > encoder.max_length:
        raise InvalidRequest(
            f"the text encoder {encoder.identity.source} reads {encoder.max_length} tokens, and the old text has "
            f"{TEXT_SHAPE[1]}",
            hint="name the one that made it: --text-encoder openai/clip-vit-base-patch32",
        )
    hidden = encoder.model(input_ids=ids.to(encoder.model.device)).last_hidden_state[0]
    return TextEmbedding(hidden.float().cpu().clone(), torch.empty(0))
