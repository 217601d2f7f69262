"""One split's latents as a whole: what is there, what is to be made, what is left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import prod
from statistics import median
from typing import TYPE_CHECKING, Any

from t2v_core.data.annotations.msrvtt import Annotations, Clip
from t2v_core.data.encode.bucketing import into_buckets
from t2v_core.data.encode.encode_clips import DTYPES, clip_buckets, latent_settings
from t2v_core.data.quarantine import Quarantine, settings_of
from t2v_core.data.store.ahead import is_same_source
from t2v_core.data.store.buckets import shares_in_words
from t2v_core.data.store.shard_plan import PlannedShard, SplitPlan
from t2v_core.data.store.shard_set import ShardSet, report_changes
from t2v_core.data.store.shared_shards import Report
from t2v_core.data.video.container import UnreadableClip
from t2v_core.disk.files import MANIFEST, require_space
from t2v_core.errors import WorkFailed
from t2v_core.format import counted
from t2v_core.job import Job
from t2v_core.models.encoders import VideoAutoencoder
from t2v_core.specs import PreprocessSpec
from t2v_core.workspace import Dataset

if TYPE_CHECKING:  # diffusers' families, which ours need not
    from t2v_core.models.open.encoders import OpenVae

# Of a handful of clips one is a large share; two bad ones are no sign that all of them are.
NEVER_TOO_MANY = 2


class LatentSet:
    """Opening it removes what does not hold any more; of several processes the first one alone does so."""

    def __init__(
        self,
        spec: PreprocessSpec,
        vae: VideoAutoencoder | OpenVae,
        dataset: Dataset,
        part: Annotations,
        *,
        quarantine: Quarantine,
        job: Job,
    ) -> None:
        self.spec, self.vae, self.split, self.quarantine, self.job = spec, vae, part.split, quarantine, job
        self.clips = {clip.video_id: clip for clip in part.clips}
        self.shards = ShardSet(dataset.latents / part.split, latent_settings(spec, vae))
        self.lost = LostClips(part.split, len(self.clips), spec.max_lost)
        self._planned: list[PlannedShard] = []
        self._buckets = clip_buckets(spec, vae)
        self._shapes = {name: vae.clip_shape(one.frames, one.size) for name, one in self._buckets.items()}

    def plan(self) -> SplitPlan:
        """Plan the shards of the clips that have no latents yet, once rows of changed files are forgotten.

        Raises WorkFailed when the disk will not hold it, or too many clips are known to be bad.
        """
        stale = self.shards.keep(
            lambda e: e["video_id"] not in self.clips or is_same_source(self.clips[e["video_id"]], e)
        )
        report_changes(self.job, self.shards, f"latents of {self.split}", stale)
        stored = self.clips.keys() & self.shards.places.keys()
        missing = {name for name in self.clips.keys() - stored if not self._is_known_bad(name)}
        for name in sorted(self.clips.keys() - stored - missing):
            self.lost.note(name, self.quarantine.entries[name].reason)
        buckets = {name: self.shards.places[name].entry.get("bucket", "") for name in stored}
        buckets |= self._placed([clip for name, clip in self.clips.items() if name in missing])
        missing &= buckets.keys()
        size_bytes = sum(self._clip_bytes(buckets[name]) for name in missing)
        require_space(self.shards.directory, size_bytes, f"latents of {len(missing)} clips")
        self._report_buckets(buckets)
        self._planned = self.shards.plan(list(self.clips), missing, self.spec.shard_clips, buckets)
        total = len(self.clips)
        done = total - len(missing)
        return SplitPlan(self._planned, self.shards.settings, ready=len(stored), done=done, total=total)

    def _placed(self, clips: list[Clip]) -> dict[str, str]:
        """The bucket of each clip, by id; what fills none or cannot be read is set aside."""
        if "" in self._buckets or not clips:
            return dict.fromkeys((clip.video_id for clip in clips), "")
        found: dict[str, str] = {}
        self.job.events.stage(f"sizes {self.split}", f"{counted(len(clips), 'clip')} to look at")
        with into_buckets(clips, list(self._buckets.values()), self.spec.stride) as placed:
            for done, (clip, where) in enumerate(placed, 1):
                self.job.check_stop()
                if isinstance(where, UnreadableClip):
                    self.set_aside({"video_id": clip.video_id, "reason": where.reason, "detail": where.detail})
                else:
                    found[clip.video_id] = where
                self.job.events.progress(done, len(clips), "clips")
        return found

    def _report_buckets(self, buckets: dict[str, str]) -> None:
        if "" not in self._buckets:
            short = self.lost.count("too-short")
            told = shares_in_words(self._shares(buckets.values()))
            self.job.events.stage(f"buckets {self.split}", told + f"; {counted(short, 'clip')} too short" * (short > 0))

    def _shares(self, names: Iterable[str]) -> dict[str, int]:
        """How many clips are in each bucket, the empty ones too."""
        counts = Counter(names)
        return {name: counts[name] for name in self._buckets}

    def _is_known_bad(self, video_id: str) -> bool:
        return self.quarantine.holds(self.clips[video_id], self.shards.fingerprint)

    def set_aside(self, report: Report) -> None:
        """Note a clip that cannot be used: with these settings, or at all when that is certain. Raises TooManyLost."""
        clip, detail, reason = self.clips[report["video_id"]], report["detail"], report["reason"]
        self.quarantine.add(clip, reason, detail, settings_of(reason, self.shards.fingerprint))
        self.job.events.warning(
            f"{clip.video_id} is left out: {detail} ({reason})", hint=f"listed in {self.quarantine.path.name}"
        )
        self.lost.note(clip.video_id, reason)

    def seal(self) -> None:
        """Say which row is which clip, once every planned shard is written.

        Without any usable clip there is no manifest.
        """
        self.shards.adopt(self._planned)
        wanted = list(self.clips)
        stored = [name for name in wanted if name in self.shards.places]
        for name in stored:
            self.quarantine.release(name)
        self.shards.require(name for name in wanted if name not in self.quarantine.entries)
        if stored:
            self.shards.seal(wanted, self._about(stored))
        else:
            (self.shards.directory / MANIFEST).unlink(missing_ok=True)

    def _clip_bytes(self, bucket: str) -> int:
        return int(prod(self._shapes[bucket]) * DTYPES[self.spec.dtype].itemsize * 1.02)

    def _about(self, stored: list[str]) -> dict[str, Any]:
        shares = self._shares(self.shards.places[name].entry.get("bucket", "") for name in stored)
        usual = max(shares, key=lambda name: (shares[name], prod(self._shapes[name])))
        return {
            "format": "t2v-latents",
            "split": self.split,
            "encoder": self.vae.identity.as_dict(),
            "statistics": self.vae.statistics(),
            "is_scaled": True,
            "shape": list(self._shapes[usual]),  # that most clips have
            **({} if "" in shares else {"bucket": usual, "buckets": shares}),
            "stride": self.spec.stride,
            "fps": median(self.shards.places[name].entry["effective_fps"] for name in stored),
        }


class TooManyLost(WorkFailed):
    """More clips than allowed cannot be used."""


class LostClips:
    """The clips of one split that cannot be used, with their reasons.

    total: how many the split has with a file
    max_share: more than this share of them is too many; 0 allows none, otherwise NEVER_TOO_MANY are always allowed
    """

    def __init__(self, split: str, total: int, max_share: float) -> None:
        self.split, self.total, self.max_share = split, total, max_share
        self._reasons: dict[str, str] = {}

    def count(self, reason: str) -> int:
        """Return how many are lost for that reason."""
        return sum(one == reason for one in self._reasons.values())

    def note(self, video_id: str, reason: str) -> None:
        """Count a clip as lost. Raises TooManyLost as soon as it is certain."""
        self._reasons[video_id] = reason
        lost = len(self._reasons)
        if lost <= max(self.max_share * self.total, NEVER_TOO_MANY if self.max_share else 0):
            return
        reasons = ", ".join(f"{reason} {count}" for reason, count in Counter(self._reasons.values()).most_common(3))
        raise TooManyLost(
            f"{lost} of {self.total} {self.split} clips cannot be used ({reasons}), more than {self.max_share:.0%}; "
            "what has been encoded so far is kept",
            hint="quarantine.csv says why of each; to continue without them: --max-lost 1",
        )
