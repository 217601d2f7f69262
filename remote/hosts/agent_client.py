"""Talking to the agent: requests with an answer, and streams of frames. The same over a child's pipes and over SSH."""

from __future__ import annotations

import errno
import itertools
import json
import os
import queue
import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from remote.agent.base.units import RUN
from remote.errors import AgentError, JobNotFound, LinkLost, NotAnswered, Refused, RemoteError
from remote.replies.question import Question, bad_reply
from remote.text import shown
from t2v_core.disk.opening import MOST_BYTES
from t2v_core.disk.plain_json import parsed, table

# The agent says something every 3 s, so this is three beats missed and a second for the way.
SILENCE_S = 10.0
WRITE_TIMEOUT_S = 30.0
END_TIMEOUT_S = 5.0
CLOSED_SEEN_S = 0.1
READ_BYTES = 256 * 1024
# What the system says of a file, or a pipe, that it sends nothing from or to by itself.
NOT_SENDABLE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSOCK, errno.ENOTSUP)
MOST_GREETING_BYTES = 64 * 1024
MOST_FRAME_BYTES = 2**40
NOT_T2V = "what runs there is not t2v's agent, or a broken one; check with t2v doctor --host"
R = TypeVar("R")
KINDS: dict[str, type[RemoteError]] = {"asked-wrongly": Refused, "not-found": JobNotFound}


class Channel(Protocol):
    """Bytes both ways to one agent; what it said of itself is read already.

    greeting: {"agent": its sha256, "python": its version}
    """

    greeting: dict[str, Any]

    def write(self, data: bytes) -> None:
        """Write all of it. Raises LinkLost."""

    def write_from(self, file: int, offset: int, size: int) -> int:
        """Write up to `size` bytes of an open file; returns how many, 0 at its end. Raises LinkLost, OSError."""

    def read(self, size: int, timeout_s: float) -> bytes:
        """Read up to `size` bytes; b"" when the agent ended by itself. Raises TimeoutError, LinkLost."""

    def close(self) -> None:
        """End the agent's conversation; jobs go on."""


def agent_argv(arguments: Sequence[str], python: str) -> list[str]:
    """Return the command of the agent on this machine.

    Isolated: neither its folder nor the user's settings change what it imports.
    """
    return [python, "-I", "-S", "-X", "utf8", "-c", RUN, str(Path(__file__).parents[1] / "agent"), *arguments]


class ProcessChannel:
    """Implements `Channel` over the pipes of a child process that is the agent, or leads to one.

    stderr: where its stderr goes
    """

    end_timeout_s = END_TIMEOUT_S

    def __init__(
        self,
        argv: Sequence[str],
        *,
        name: str = "local",
        env: Mapping[str, str] | None = None,
        stderr: int = subprocess.DEVNULL,
    ) -> None:
        self.name = name
        try:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                env=env,
            )
        except OSError as error:
            raise AgentError(f"cannot start the agent on {name}: {error.strerror}") from error
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in, self._out = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self._in, False)
        self._ahead = b""
        self._is_closed, self._is_over = False, False
        # Nothing is closed while another thread waits for it: its number would be the next one's, and so its bytes.
        self._closing, self._writing, self._reading = threading.Lock(), threading.Lock(), threading.Lock()
        self._over, self._tell_over = socket.socketpair()
        try:
            self.greeting: dict[str, Any] = self._greeting()
        except BaseException:
            self.close()
            raise

    def _greeting(self) -> dict[str, Any]:
        data, deadline = bytearray(), time.monotonic() + WRITE_TIMEOUT_S
        while b"\n" not in data and len(data) <= MOST_GREETING_BYTES:
            try:
                more = self.read(4096, max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                more = b""
            if not more:
                raise AgentError(f"the agent does not start on {self.name}")
            data += more
        line, _, ahead = data.partition(b"\n")
        self._ahead = bytes(ahead)
        try:
            return table(bytes(line[:MOST_GREETING_BYTES]))
        except ValueError:
            said = shown(line[:200].decode(errors="replace"))
            raise AgentError(f"the agent does not start on {self.name}; it said: {said}") from None

    def write(self, data: bytes) -> None:
        """Write all of it. Raises LinkLost when the agent is gone, or takes nothing for 30 s."""
        view = memoryview(data)
        with self._writing:
            while view:
                self._wait_to_write()
                try:
                    view = view[os.write(self._in, view) :]
                except OSError as error:
                    raise LinkLost(f"the agent on {self.name} is gone", "jobs there go on; ask again") from error

    def write_from(self, file: int, offset: int, size: int) -> int:
        """Write up to `size` bytes of an open file, by the kernel alone where it can; returns how many, 0 at its end.

        Raises LinkLost as `write`, and OSError when the file cannot be read.
        """
        with self._writing:
            self._wait_to_write()
            with suppress(BlockingIOError, InterruptedError):
                try:
                    return os.sendfile(self._in, file, offset, size)
                except BrokenPipeError as error:
                    raise LinkLost(f"the agent on {self.name} is gone", "jobs there go on; ask again") from error
                except OSError as error:
                    if error.errno not in NOT_SENDABLE:
                        raise
        data = os.pread(file, min(size, READ_BYTES), offset)
        self.write(data)
        return len(data)

    def _wait_to_write(self) -> None:
        deadline = time.monotonic() + WRITE_TIMEOUT_S
        while not self._is_closed and time.monotonic() < deadline:
            if self._in in ready([], [self._in], CLOSED_SEEN_S):
                return
        if self._is_closed:
            raise LinkLost("the connection was closed", "ask again")
        raise LinkLost(f"the agent on {self.name} takes no more requests", "ask again")

    def read(self, size: int, timeout_s: float) -> bytes:
        """Read up to `size` bytes; b"" at the end. Raises TimeoutError."""
        with self._reading:
            if self._ahead:
                data, self._ahead = self._ahead[:size], self._ahead[size:]
                return data
            there = [] if self._is_over else ready([self._out, self._over.fileno()], [], timeout_s)
            if not there and not self._is_over:
                raise TimeoutError
            return os.read(self._out, size) if self._out in there else b""

    def close(self) -> None:
        """Close the agent's input, by which it ends. Readers in other threads see its end."""
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            with self._writing:
                self.process.stdin.close()
            try:
                self.process.wait(self.end_timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self._tell_over.close()  # whoever reads goes, also where a child of the agent's holds its output
            with self._reading:
                self._is_over = True
                self.process.stdout.close()
                self._over.close()


def ready(to_read: Sequence[int], to_write: Sequence[int], timeout_s: float) -> list[int]:
    """Return those of the descriptors that can be read from or written to without waiting.

    A descriptor may have any number.
    """
    poller = select.poll()
    for descriptor in to_read:
        poller.register(descriptor, select.POLLIN)
    for descriptor in to_write:
        poller.register(descriptor, select.POLLOUT)
    return [descriptor for descriptor, _ in poller.poll(1000 * timeout_s)]


class ReplyLines:
    """What an agent writes: JSON lines, some followed by bytes. Raises LinkLost on silence and at the end."""

    def __init__(self, channel: Channel, *, silence_s: float = SILENCE_S) -> None:
        self.channel, self.silence_s = channel, silence_s
        self._ahead = bytearray()

    def line(self) -> dict[str, Any]:
        """Return the next object; lines that are none are passed over. Raises AgentError for one that has no end."""
        searched = 0
        while True:
            end = self._ahead.find(b"\n", searched)
            if end < 0:
                searched = len(self._ahead)
                if searched > MOST_BYTES:
                    self._ahead = bytearray()
                    raise AgentError(f"the host sent more than {MOST_BYTES >> 20} MiB without an end of line", NOT_T2V)
                self._more()
                continue
            line = bytes(memoryview(self._ahead)[:end])
            del self._ahead[: end + 1]
            searched = 0
            with suppress(ValueError):
                value = parsed(line)
                if isinstance(value, dict):
                    return value

    def said(self) -> dict[str, Any]:
        """Return the next object. Raises as `line`, and what the agent says is wrong when it is that."""
        line = self.line()
        if "error" in line:
            raise error_of(line["error"])
        return line

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield the next `size` bytes, as they come: what arrived before a link broke need not be sent again."""
        while size:
            if self._ahead:
                piece = bytes(self._ahead[:size])
                del self._ahead[:size]
            else:  # no copy of what is not mixed with lines
                piece = self._read(min(size, READ_BYTES))
            size -= len(piece)
            yield piece

    def _more(self) -> None:
        self._ahead += self._read(READ_BYTES)

    def _read(self, size: int) -> bytes:
        try:
            data = self.channel.read(size, self.silence_s)
        except TimeoutError as error:
            raise LinkLost(
                f"nothing was heard from the agent for {self.silence_s:g} s", "jobs go on; t2v reconnects by itself"
            ) from error
        if not data:
            raise LinkLost("the agent ended", "jobs go on; t2v reconnects by itself")
        return data


class Agent:
    """Asks the agent of a host; any thread may ask, and a slow answer holds up no other.

    host:      its name, for what is said of its replies
    silence_s: without a word for so long, the link is lost
    Once lost it stays lost: every call raises LinkLost, and whoever wants to go on opens another channel.
    """

    def __init__(self, channel: Channel, host: str, *, silence_s: float = SILENCE_S) -> None:
        self.channel, self.greeting, self.host = channel, channel.greeting, host
        self._lines = ReplyLines(channel, silence_s=silence_s)
        self._ids = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[dict[str, Any] | RemoteError]] = {}
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._lost: RemoteError | None = None
        threading.Thread(target=self._listen, name="agent", daemon=True).start()

    @property
    def is_up(self) -> bool:
        """Tell whether the link is not known to be lost."""
        return self._lost is None

    def ask(self, question: Question[R], /, *, timeout_s: float = 15.0, **parameters: Any) -> R:
        """Ask once, in one round trip. Raises as `call`, and BadReply."""
        return question.read(self.call(question.name, timeout_s=timeout_s, **parameters), self.host)

    def call(self, name: str, /, *, timeout_s: float = 15.0, **parameters: Any) -> dict[str, Any]:
        """Ask once, in one round trip; returns the reply as it came, of which nothing is believed.

        Raises LinkLost, NotAnswered after `timeout_s`, and what the agent says is wrong.
        """
        answer: queue.SimpleQueue[dict[str, Any] | RemoteError] = queue.SimpleQueue()
        with self._lock:
            if self._lost is not None:
                raise self._again()
            number = next(self._ids)
            self._waiting[number] = answer
        try:
            line = json.dumps({"id": number, "ask": name, "with": parameters}).encode() + b"\n"
            with self._writing:
                self.channel.write(line)
            came = answer.get(timeout=timeout_s)
        except queue.Empty:
            raise NotAnswered(f"{name} was not answered within {timeout_s:g} s", "ask again") from None
        finally:
            with self._lock:
                self._waiting.pop(number, None)
        if isinstance(came, RemoteError):
            raise came
        if "error" in came:
            raise error_of(came["error"])
        said = came.get("ok")
        if not isinstance(said, dict):
            raise bad_reply(self.host, name, "it is not an object")
        return said

    def close(self) -> None:
        """Close the channel, by which the conversation ends; jobs go on."""
        self.channel.close()

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        try:
            while True:
                line = self._lines.line()
                number = line.get("id", 0)
                with self._lock:
                    waiting = self._waiting.get(number) if isinstance(number, int) else None
                if waiting is not None:
                    waiting.put(line)
        except (RemoteError, OSError, ValueError) as error:  # the last two: closed by this side meanwhile
            lost = error if isinstance(error, RemoteError) else LinkLost("the connection was closed", "ask again")
            with self._lock:
                self._lost = lost
                waiting_now = list(self._waiting.values())
            for one in waiting_now:
                one.put(self._again())

    def _again(self) -> RemoteError:
        """A new one each time: several threads may raise it."""
        assert self._lost is not None
        return type(self._lost)(self._lost.message, self._lost.hint)


def error_of(said: Any) -> RemoteError:
    """Return the typed error for what an agent says is wrong."""
    said = said if isinstance(said, dict) else {"message": said}
    message, hint = (shown(str(said.get(part, ""))) for part in ("message", "hint"))
    kind = KINDS.get(str(said.get("kind")), AgentError)
    return kind(message if message.strip() else "the host reports a failure, but not why", hint)


def frames(
    channel: Channel, parameters: dict[str, Any], *, silence_s: float = SILENCE_S
) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield what a stream of the agent (`follow`, `metrics`) says: (header, bytes).

    The bytes are empty for all but file frames.

    A frame of bytes comes in pieces, as they arrive; `offset` and `n` of each header are the piece's own.
    Ends after {"end": …}. Raises LinkLost on silence or when the stream breaks off, and the agent's own refusals.
    """
    channel.write(json.dumps(parameters).encode() + b"\n")
    lines = ReplyLines(channel, silence_s=silence_s)
    while True:
        header = lines.said()
        if "n" not in header:
            yield header, b""
            if "end" in header:
                return
            continue
        offset, size = header.get("offset"), header["n"]
        if type(offset) is not int or type(size) is not int or offset < 0 or not 0 <= size <= MOST_FRAME_BYTES:
            raise AgentError("the host sent an invalid frame of bytes", NOT_T2V)
        for piece in lines.pieces(size):
            yield {**header, "offset": offset, "n": len(piece)}, piece
            offset += len(piece)
