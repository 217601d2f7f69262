"""Whether the sound of an input goes with the video that is made of it, and a word where it does not."""

from __future__ import annotations

from pathlib import Path

from t2v_core.data.video.decode import Film
from t2v_core.data.video.sound import KEPT_CODECS, MOST_UNEVEN_S, Sound, sound_codecs, why_unusable
from t2v_core.job import Job


def sound_for(target: Path, source: Path, film: Film, job: Job, *, is_wanted: bool) -> Sound | None:
    """Return the sound to write beside the new pictures, which are as many and as fast as the old; None for none.

    Everything about it is tried now, before the work on the pictures.
    """
    codecs = sound_codecs(source) if is_wanted else []
    if not codecs:
        return None
    sound = Sound(source, film.begin_s)
    if why := _why_left_out(target, film, sound):
        job.events.warning(f"the sound is left out: {why}", hint="--no-sound leaves it out without this warning")
        return None
    if anew := [codec for codec in codecs if codec not in KEPT_CODECS]:
        job.events.warning(f"the sound is encoded as AAC: an mp4 does not hold {' and '.join(anew)}")
    return sound


def _why_left_out(target: Path, film: Film, sound: Sound) -> str:
    if target.suffix.lower() != ".mp4":
        return f"a {target.suffix.lower()[1:]} has none; an mp4 would"
    if film.unevenness_s > MOST_UNEVEN_S:
        return "it would not match pictures that are off by so much"
    return why_unusable(sound)
