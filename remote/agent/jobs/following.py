"""Frames of a job's log and events until it has ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ..base.asked import job_directory, take
from ..base.files import Json, Problem, read_json
from ..base.processes import boot_id
from ..base.streams import CHUNK_BYTES, ByteStream, Watch, size_of
from ..base.wire import BEAT_S, write_all
from .detached import tend
from .endings import has_ended
from .rows import job_row, state_of, state_of_live


def check_offsets(directory: Path, streams: Sequence[ByteStream]) -> None:
    """Raise Problem for more bytes than there are. A job of an earlier boot may have lost some to a power cut."""
    if (read_json(directory / "state.json") or {}).get("boot_id") == boot_id():
        for one in streams:
            if one.offset > (size := size_of(directory, one.name)):
                raise Problem("failed", f"{one.name} has {size} bytes, and {one.offset} are reported as read already")


def follow(parameters: Json, say: Callable[[Json], None]) -> None:
    """Send frames of a job's files until it has ended and every byte was sent, or the reader is gone."""
    directory = job_directory(parameters)
    offsets = take(parameters, "files", dict)
    streams = [ByteStream(directory, name, int(offsets[name])) for name in ("events.jsonl", "log") if name in offsets]
    check_offsets(directory, streams)
    watch_, said, looked = Watch(directory), time.monotonic(), 0.0
    while True:
        now, is_over = time.monotonic(), has_ended(directory)
        if not is_over and now - looked > 1:  # lost, or its supervisor was killed
            tend(directory)
            looked, is_over = now, state_of_live(directory) is None and state_of(directory)[1] != {}
        sent = 0
        for stream in streams:
            offset = stream.offset
            if data := stream.read(CHUNK_BYTES):
                header = json.dumps({"file": stream.name, "offset": offset, "n": len(data)}).encode() + b"\n"
                write_all(header + data)
                sent += len(data)
        if sent:
            # Many short writes in a row travel together: a frame for each costs more than the bytes.
            pause_s, said = (0.005 if now - said < 0.02 and sent < CHUNK_BYTES else 0), now
            time.sleep(pause_s)
        elif is_over:
            say({"end": job_row(directory)})
            return
        elif now - said >= BEAT_S:
            say({"beat": time.time()})
            said = now
        elif not watch_.wait(min(1.0, said + BEAT_S - now)):
            return
