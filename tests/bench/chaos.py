"""A TCP proxy on loopback that delays, stalls, cuts, half-closes or corrupts what passes, when it is told to."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

CHUNK = 65536
POLL_S = 0.05


@dataclass
class Rules:
    """What happens to bytes; changed while connections are open.

    delay_s:     held back this long, each way; order and rate stay
    is_stalled:  nothing passes and nothing is closed, as when a cable is pulled
    stall_after: bytes towards the client, over all connections, until no more pass that way; None: never
    cut_after:   bytes towards the client until the connection is reset; None: never
    corrupt_at:  number of the byte towards the client that is flipped; None: none
    bytes_per_s: each way, over all connections; None: as fast as it goes
    """

    delay_s: float = 0.0
    is_stalled: bool = False
    stall_after: int | None = None
    cut_after: int | None = None
    corrupt_at: int | None = None
    bytes_per_s: float | None = None


@dataclass
class ChaosProxy:
    """Listens on its own port and passes on to `target`; a context manager.

    passed: bytes that went to clients, over all connections; sent: those that came from them
    """

    target: tuple[str, int]
    rules: Rules = field(default_factory=Rules)
    passed: int = 0
    sent: int = 0
    _pairs: list[tuple[socket.socket, socket.socket]] = field(default_factory=list, init=False)
    _free_at: dict[bool, float] = field(default_factory=lambda: {True: 0.0, False: 0.0}, init=False)
    _taking_turns: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __enter__(self) -> ChaosProxy:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target, timeout=10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append((client, server))
            for source, sink, is_down in ((client, server, False), (server, client, True)):
                _Pump(self, source, sink, is_down=is_down).start()

    def wait_for_room(self, size: int, *, is_down: bool) -> None:
        """Wait until so many bytes have passed at the rate of the link."""
        rate = self.rules.bytes_per_s
        if rate is not None:
            with self._taking_turns:
                free_at = self._free_at[is_down] = max(self._free_at[is_down], time.monotonic()) + size / rate
            time.sleep(max(0.0, free_at - time.monotonic()))

    def cut(self) -> None:
        """Reset every open connection, both ways."""
        for pair in self._pairs:
            for end in pair:
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        self._pairs.clear()

    def half_close(self) -> None:
        """End the stream towards every client, and go on listening to it."""
        for client, _ in self._pairs:
            with suppress(OSError):
                client.shutdown(socket.SHUT_WR)


class _Pump:
    """One direction of one connection: a thread that reads and stamps, and one that lets go when its time has come."""

    def __init__(self, proxy: ChaosProxy, source: socket.socket, sink: socket.socket, *, is_down: bool) -> None:
        self.proxy, self.source, self.sink, self.is_down = proxy, source, sink, is_down
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.arrived = threading.Condition()

    def start(self) -> None:
        for work in (self._read, self._write):
            threading.Thread(target=work, daemon=True).start()

    def _read(self) -> None:
        data = b"?"
        while data:
            try:
                data = self.source.recv(CHUNK)
            except OSError:
                data = b""
            with self.arrived:
                self.waiting.append((time.monotonic() + self.proxy.rules.delay_s, data))
                self.arrived.notify()

    def _write(self) -> None:
        with suppress(OSError):
            while data := self._next():
                self.proxy.wait_for_room(len(data), is_down=self.is_down)
                self.sink.sendall(self._treated(data))
                if self._is_cut():
                    self.proxy.cut()
                    return
            self.sink.shutdown(socket.SHUT_WR)

    def _next(self) -> bytes:
        with self.arrived:
            while not self.waiting:
                self.arrived.wait()
            due, data = self.waiting.popleft()
        while (wait_s := due - time.monotonic()) > 0 or self._is_stalled():
            time.sleep(wait_s if wait_s > 0 else POLL_S)
        return data

    def _is_stalled(self) -> bool:
        rules = self.proxy.rules
        has_had_enough = rules.stall_after is not None and self.proxy.passed >= rules.stall_after
        return rules.is_stalled or (self.is_down and has_had_enough)

    def _treated(self, data: bytes) -> bytes:
        if not self.is_down:
            self.proxy.sent += len(data)
            return data
        rules, begin = self.proxy.rules, self.proxy.passed
        if rules.corrupt_at is not None and begin <= rules.corrupt_at < begin + len(data):
            place = rules.corrupt_at - begin
            data = data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
            rules.corrupt_at = None
        if rules.cut_after is not None:
            data = data[: max(0, rules.cut_after - begin)]
        self.proxy.passed += len(data)
        return data

    def _is_cut(self) -> bool:
        after = self.proxy.rules.cut_after
        if self.is_down and after is not None and self.proxy.passed >= after:
            self.proxy.rules.cut_after = None
            return True
        return False
