"""The sound of a video, taken over into another that is as long: as it is, or as AAC where mp4 does not hold it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

# What mp4 holds and players play; anything else, as the PCM of an AVI or the Vorbis of a WebM, is encoded anew.
KEPT_CODECS = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")
ENCODED_RATE = 48_000
# Sound that comes 45 ms early is noticed (ITU-R BT.1359); frames that are so far from even times leave lips behind.
MOST_UNEVEN_S = 0.045


@dataclass(frozen=True)
class Sound:
    """path: of the video that has it; begin_s: when its first frame is shown, in the file's own time"""

    path: Path
    begin_s: float


def sound_codecs(path: Path) -> list[str]:
    """Return the codec of each stream of sound that can be decoded, such as aac; empty without any."""
    with av.open(str(path.absolute()), metadata_errors="replace") as container:
        return [_codec(stream) for stream in _streams(container)]


def why_unusable(sound: Sound) -> str:
    """Say what goes wrong when the sound is taken over, in a few words; empty when nothing does. Written nowhere."""
    try:
        with av.open(os.devnull, "w", format="mp4") as target, SoundWriter(sound, target) as writer:
            writer.write_until(math.inf)
    except (av.error.FFmpegError, ValueError, OSError) as error:
        return str(error)
    return ""


class SoundWriter:
    """Adds the sound's streams to an mp4 that is being written; a context manager that closes the file it reads."""

    def __init__(self, sound: Sound, target: OutputContainer) -> None:
        self._sound, self._target = sound, target
        self._source: InputContainer = av.open(str(sound.path.absolute()), metadata_errors="replace")
        streams = _streams(self._source)
        self._outputs = {stream.index: _output(stream, target) for stream in streams}
        self._anew = [stream.index for stream in streams if _codec(stream) not in KEPT_CODECS]
        self._packets = self._shifted()
        self._next = next(self._packets, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._source.close()

    def write_until(self, time_s: float) -> None:
        """Write what begins before `time_s` of the new video; so picture and sound lie side by side in the file."""
        while self._next is not None and self._next[0] < time_s:
            self._target.mux(self._next[1])
            self._next = next(self._packets, None)

    def _shifted(self) -> Iterator[tuple[float, Packet[Any]]]:
        """Every packet that is heard after the first frame is shown, with its time in the new video."""
        for packet in self._source.demux(_streams(self._source)):
            output = self._outputs[packet.stream.index]
            if packet.stream.index not in self._anew:
                yield from self._copied(packet, output)
                continue
            for frame in packet.decode():
                if isinstance(frame, AudioFrame):
                    yield from self._encoded(frame, output)
        for index in self._anew:
            yield from ((-math.inf, packet) for packet in self._outputs[index].encode(None))

    def _copied(self, packet: Packet[Any], output: AudioStream) -> Iterator[tuple[float, Packet[Any]]]:
        if packet.dts is None or packet.time_base is None:  # the end
            return
        begin = round(self._sound.begin_s / packet.time_base)
        packet.dts -= begin
        packet.pts = packet.dts if packet.pts is None else packet.pts - begin
        if packet.pts + 2 * (packet.duration or 1) > 0:  # one before the first, on which that leans
            packet.stream = output
            yield float(packet.pts * packet.time_base), packet

    def _encoded(self, frame: AudioFrame, output: AudioStream) -> Iterator[tuple[float, Packet[Any]]]:
        if frame.pts is None or frame.time_base is None:
            return
        frame.pts -= round(self._sound.begin_s / frame.time_base)
        if frame.pts * frame.time_base + frame.samples / frame.sample_rate > 0:
            yield from ((float(frame.pts * frame.time_base), packet) for packet in output.encode(frame))


def _streams(container: InputContainer) -> list[AudioStream]:
    return [stream for stream in container.streams.audio if stream.codec_context is not None]


def _codec(stream: AudioStream) -> str:
    return str(stream.codec_context.codec.canonical_name)


def _output(stream: AudioStream, target: OutputContainer) -> AudioStream:
    if _codec(stream) in KEPT_CODECS:
        return target.add_stream_from_template(stream)
    rate = stream.rate if stream.rate in (16_000, 22_050, 24_000, 32_000, 44_100, 48_000) else ENCODED_RATE
    return target.add_stream("aac", rate=rate, layout="mono" if stream.channels == 1 else "stereo")
