"""A link of its own with a delay: two TUN devices, one in a network namespace, and a pump that holds packets.

Real TCP over a real round trip: congestion windows, send buffers, SSH's own window. No limit on the rate but what this
machine can do; `raw_tcp` says how much that is. Where packets are lost or late, each is one of 1460 bytes, as on a real
line; else up to 64 KiB go at once. It takes root.
"""

from __future__ import annotations

import array
import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

HERE, THERE, NAMESPACE = "10.77.0.1", "10.77.0.2", f"t2v-wan-{os.getpid()}"
TUNSETIFF, TUNSETOFFLOAD, TUNSETVNETHDRSZ = 0x400454CA, 0x400454D0, 0x400454D8
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x1, 0x1000, 0x4000
# Checksums and segments are left to whoever receives, so a packet here is up to 64 KiB and not 1460 bytes.
OFFLOADS = 0x01 | 0x02 | 0x04
HEADER_BYTES, PACKET_BYTES = 10, 70_000
QUEUE_PACKETS = 20_000
CHUNK = bytes(1024 * 1024)


@dataclass(frozen=True)
class Wan:
    """there: address of the far end; inside: what to put before a command so that it runs there"""

    there: str
    inside: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """How the line is. one_way_s: delay; loss: share of the packets of each way; jitter_s: each packet is early or late
    by up to so much, on its own, so that some overtake others, as netem does it; congestion: the control that both ends
    use, "": the system's own
    """

    one_way_s: float
    loss: float = 0.0
    jitter_s: float = 0.0
    congestion: str = ""

    @property
    def is_plain(self) -> bool:
        return not (self.loss or self.jitter_s)


@contextmanager
def wan(line: Line) -> Iterator[Wan]:
    """The link, while the context lasts."""
    names = (f"t2vh{os.getpid() % 10**6}", f"t2vt{os.getpid() % 10**6}")
    ends = [_tun(name, OFFLOADS if line.is_plain else 0) for name in names]
    _ip("netns", "add", NAMESPACE)
    pump = None
    try:
        _ip("link", "set", names[1], "netns", NAMESPACE)
        inside = ("ip", "netns", "exec", NAMESPACE)
        for prefix, name, address in (((), names[0], HERE), (inside, names[1], THERE)):
            other = THERE if address == HERE else HERE
            _run(*prefix, "ip", "address", "add", address, "peer", other, "dev", name)
            _run(*prefix, "ip", "link", "set", name, "mtu", "1460", "txqueuelen", str(QUEUE_PACKETS), "up")
        _run(*inside, "ip", "link", "set", "lo", "up")
        if line.congestion:
            for prefix, name, other in (((), names[0], THERE), (inside, names[1], HERE)):
                _run(*prefix, "ip", "route", "replace", other, "dev", name, "congctl", line.congestion)
        argv = [sys.executable, __file__, *map(str, ends), json.dumps(asdict(line))]
        pump = subprocess.Popen(argv, pass_fds=ends)
        yield Wan(THERE, inside)
    finally:
        if pump is not None:
            pump.kill()
            pump.wait()
        for end in ends:
            os.close(end)
        _ip("netns", "delete", NAMESPACE)


def _tun(name: str, offloads: int) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH14x", name.encode(), IFF_TUN | IFF_NO_PI | IFF_VNET_HDR))
    fcntl.ioctl(descriptor, TUNSETVNETHDRSZ, array.array("i", [HEADER_BYTES]))
    fcntl.ioctl(descriptor, TUNSETOFFLOAD, offloads)
    return descriptor


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, timeout=20)


def pump(ends: tuple[int, int], line: Line) -> None:
    """Hold each packet as long as the line does, then hand it to the other end, unless it is lost."""
    for end in ends:
        os.set_blocking(end, False)
    waiting: list[tuple[float, int, int, bytes]] = []  # by when they are due, then by their order
    other, taken, draw = {ends[0]: ends[1], ends[1]: ends[0]}, 0, random.Random(1)
    while True:
        timeout_s = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        for end in select.select(ends, [], [], timeout_s)[0]:
            for packet in _taken(end):
                taken += 1
                if line.loss and draw.random() < line.loss:
                    continue
                late_s = draw.uniform(-line.jitter_s, line.jitter_s) if line.jitter_s else 0.0
                heapq.heappush(waiting, (time.monotonic() + line.one_way_s + late_s, taken, other[end], packet))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, end, packet = heapq.heappop(waiting)
            with suppress(OSError):  # a packet that the kernel will not take is lost, as packets are
                os.write(end, packet)


def _taken(end: int) -> Iterator[bytes]:
    with suppress(BlockingIOError):
        for _ in range(64):
            yield os.read(end, PACKET_BYTES)


def raw_tcp(link: Wan, size: int, streams: int, *, is_up: bool = False) -> float:
    """Bytes a second over plain TCP from there to here, with so many connections: what the link can do at best.

    is_up: from here to there
    """
    what = [str(size // streams), str(streams), str(int(is_up))]
    argv = [*link.inside, sys.executable, __file__, "--serve", link.there, *what]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        began = time.monotonic()
        ends = [socket.create_connection((link.there, port), timeout=240) for _ in range(streams)]
        _each(ends, size // streams, sends=is_up)
        server.wait(timeout=240)
        return size / (time.monotonic() - began)


def _each(ends: list[socket.socket], size: int, *, sends: bool) -> None:
    threads = [threading.Thread(target=_pour if sends else _drain, args=(sock, size)) for sock in ends]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


def _drain(sock: socket.socket, size: int) -> None:
    buffer = bytearray(1024 * 1024)
    with sock:
        while sock.recv_into(buffer):
            pass


def _serve(address: str, size: int, streams: int, *, sends: bool) -> None:
    with socket.create_server((address, 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        _each([listener.accept()[0] for _ in range(streams)], size, sends=sends)


def _pour(sock: socket.socket, size: int) -> None:
    with sock:
        while size:
            sock.sendall(CHUNK[: min(size, len(CHUNK))])
            size -= min(size, len(CHUNK))


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        _serve(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sends=sys.argv[5] == "0")
    else:
        pump((int(sys.argv[1]), int(sys.argv[2])), Line(**json.loads(sys.argv[3])))
