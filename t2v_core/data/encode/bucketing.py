"""Which bucket each clip goes into: its file says how large it is, and how long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

from t2v_core.data.annotations.msrvtt import Clip
from t2v_core.data.store.buckets import Bucket, TooShort, bucket_for
from t2v_core.data.video.decode import UnreadableClip, open_film
from t2v_core.data.video.orientation import shown_size
from t2v_core.machine import cores
from t2v_core.processes.in_order import in_order

MAX_THREADS = 8


def into_buckets(
    clips: Iterable[Clip], buckets: Sequence[Bucket], stride: int | None
) -> AbstractContextManager[Iterator[tuple[Clip, str | UnreadableClip]]]:
    """Give an iterator of each clip in the order given with the name of its bucket, or why it is in none.

    Of a clip only the packets are read and the first frame is decoded, where its format allows that.
    stride: frames between those that are taken; None spreads them evenly
    At the end the background work ends.
    """

    def placed(clip: Clip) -> tuple[Clip, str | UnreadableClip]:
        try:
            film = open_film(clip.path)
            width, height = shown_size(film.width, film.height, film.pixel_aspect)
            return clip, bucket_for(buckets, width, height, film.total_frames, stride).name
        except UnreadableClip as error:
            return clip, error
        except TooShort as error:
            return clip, UnreadableClip(clip.path, "too-short", str(error))
        except OSError as error:
            return clip, UnreadableClip(clip.path, "decode-error", error.strerror or str(error))

    threads = min(MAX_THREADS, cores())
    return in_order(placed, clips, threads=threads, ahead=4 * threads, name="buckets")
