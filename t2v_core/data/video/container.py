"""Video files opened, and what their packets alone tell of the frames to come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from t2v_core.errors import EngineError, NotEnoughMemory
from t2v_core.memory import HINT, is_lack_of_memory, is_short

# Codecs whose packets are one frame each, and containers that say when each is shown, so that the packets tell what
# decoding will give. AVI gives the order of decoding as if it were that of showing: with B-frames, wrong frames.
INDEXED_CODECS = ("h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video")
INDEXED_CONTAINERS = ("mov", "matroska", "mpegts")
# Decoders that look at `skip_frame` for each packet. libdav1d reads it when it is opened and then never gives a frame
# that no other leans on; what is not in this list is decoded whole.
SKIPPING_DECODERS = ("h264", "hevc", "mpeg4", "mpeg2video")

# Players and muxers round a film's length; what is missing beyond this was cut off.
SLACK_S, SLACK_SHARE = 0.5, 0.02


class UnreadableClip(EngineError):
    """A video file that cannot be used.

    reason: a slug: missing, not-a-file, empty-file, not-permitted, not-a-video, no-video-stream, truncated,
            corrupt-frame, impossible-rate, size-change, decode-error, too-short
    detail: what was seen, for people
    """

    def __init__(self, path: Path, reason: str, detail: str) -> None:
        super().__init__(f"{path} cannot be read: {detail}", hint="play it, or fetch it again")
        self.path, self.reason, self.detail = path, reason, detail


@dataclass(frozen=True)
class PacketIndex:
    """What demuxing alone tells.

    pts: of every shown frame, in order of showing
    keys: pts of keyframes, sorted
    is_trusted: False when only decoding tells which frames there are
    """

    pts: list[int]
    keys: list[int]
    is_trusted: bool


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open the file at its best video stream, and turn whatever goes wrong inside into UnreadableClip.

    A lack of memory is no fault of the file's: it is NotEnoughMemory.

    Damaged headers make PyAV raise AttributeError or UnicodeDecodeError as well as its own errors, hence `Exception`.
    """
    try:
        _require_file(path)
        with av.open(str(path.absolute()), metadata_errors="replace") as container:
            yield container, _best_stream(path, container)
    except (UnreadableClip, NotEnoughMemory):
        raise
    except Exception as error:
        if is_lack_of_memory(error) or is_short():
            raise NotEnoughMemory(f"not enough memory to read {path}", hint=HINT) from error
        raise _why_unreadable(path, error) from error


def _require_file(path: Path) -> None:
    """Opening a pipe would wait for its writer, for ever."""
    if not path.exists():
        raise UnreadableClip(path, "missing", "there is no such file")
    if not path.is_file():
        raise UnreadableClip(path, "not-a-file", f"it is a {'folder' if path.is_dir() else 'pipe or a device'}")
    if path.stat().st_size == 0:
        raise UnreadableClip(path, "empty-file", "the file has 0 bytes")


def _why_unreadable(path: Path, error: Exception) -> UnreadableClip:
    if isinstance(error, PermissionError):
        return UnreadableClip(path, "not-permitted", "its permissions do not allow reading")
    if not isinstance(error, av.error.InvalidDataError):
        return UnreadableClip(path, "decode-error", f"{type(error).__name__}: {error}")
    with path.open("rb") as file:
        is_mp4 = file.read(8)[4:] == b"ftyp"
    if is_mp4:
        return UnreadableClip(path, "truncated", "it begins as an mp4, but its index is missing or damaged")
    return UnreadableClip(path, "not-a-video", "its content is not a video format")


def _best_stream(path: Path, container: InputContainer) -> VideoStream:
    """The video stream with most pixels; cover art is not a video."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise UnreadableClip(path, "no-video-stream", "it holds no video stream")
    stream = max(streams, key=lambda s: s.width * s.height)
    stream.thread_type = "NONE"  # so that `skip_frame` holds for the packet it is set for
    stream.codec_context.thread_count = 1
    return stream


def codec_name(stream: VideoStream) -> str:
    """Return the name of the format, not of the library that decodes it: av1, not libdav1d."""
    return stream.codec_context.codec.canonical_name


def may_skip(stream: VideoStream) -> bool:
    """Tell whether the decoder can be told packet by packet to pass over frames that no other leans on."""
    return stream.codec_context.codec.name in SKIPPING_DECODERS


def read_index(path: Path, container: InputContainer, stream: VideoStream) -> PacketIndex:
    """Demux once without decoding. Raises UnreadableClip for a file cut at a packet's end."""
    count, end_s = 0, 0.0
    shown: list[int | None] = []
    keys: list[int] = []
    for packet in container.demux():
        if packet.pts is not None and packet.time_base:
            end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream.index != stream.index:
            continue
        count += packet.size > 0
        if packet.size and not packet.is_discard:
            shown.append(packet.pts)
        if packet.is_keyframe and packet.pts is not None:
            keys.append(packet.pts)  # an edit list may discard the keyframe that its first frame needs
    if not shown:
        raise UnreadableClip(path, "truncated", "it has no frames")
    _require_whole(path, container, stream, count=count, end_s=end_s)
    known = sorted(pts for pts in shown if pts is not None)
    is_indexed = codec_name(stream) in INDEXED_CODECS and container.format.name.startswith(INDEXED_CONTAINERS)
    # A film cut within an open group of pictures begins with frames that lean on what is gone: decoders pass over them.
    # Two frames of one time can be told apart by their order alone; players show both.
    is_told = len(set(known)) == len(shown) and bool(keys) and known[0] >= keys[0]
    return PacketIndex(known, sorted(keys), is_trusted=is_indexed and is_told)


def _require_whole(path: Path, container: InputContainer, stream: VideoStream, *, count: int, end_s: float) -> None:
    """A file cut where a packet ends reads like a shorter film; its header still says what was there."""
    announced = stream.frames
    if container.format.name.startswith("mov"):
        # An editor's trim keeps all frames' sizes in the header and shows a part: the demuxer's list has that part.
        announced = sum(entry.size > 0 for entry in stream.index_entries)
    if count < announced:
        raise UnreadableClip(path, "truncated", f"{count} of {announced} frames are there")
    length_s = (container.duration or 0) / av.time_base
    if container.format.name.startswith("matroska") and end_s < length_s - SLACK_S - SLACK_SHARE * length_s:
        raise UnreadableClip(path, "truncated", f"{end_s:.2f} of {length_s:.2f} s are there")
