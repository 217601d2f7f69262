"""A link of its own with a delay: two TUN devices, one in a network namespace, and a pump that holds packets.

Real TCP over a real round trip: congestion windows, send buffers, SSH's own window. No loss, and no limit on the rate
but what this machine can do; `raw_tcp` says how much that is. It takes root.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

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


@contextmanager
def wan(one_way_s: float) -> Iterator[Wan]:
    """The link, while the context lasts."""
    names = (f"t2vh{os.getpid() % 10**6}", f"t2vt{os.getpid() % 10**6}")
    ends = [_tun(name) for name in names]
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
        argv = [sys.executable, __file__, *map(str, ends), str(one_way_s)]
        pump = subprocess.Popen(argv, pass_fds=ends)
        yield Wan(THERE, inside)
    finally:
        if pump is not None:
            pump.kill()
            pump.wait()
        for end in ends:
            os.close(end)
        _ip("netns", "delete", NAMESPACE)


def _tun(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH14x", name.encode(), IFF_TUN | IFF_NO_PI | IFF_VNET_HDR))
    fcntl.ioctl(descriptor, TUNSETVNETHDRSZ, array.array("i", [HEADER_BYTES]))
    fcntl.ioctl(descriptor, TUNSETOFFLOAD, OFFLOADS)
    return descriptor


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, timeout=20)


def pump(ends: tuple[int, int], one_way_s: float) -> None:
    """Hold each packet for `one_way_s`, then hand it to the other end."""
    for end in ends:
        os.set_blocking(end, False)
    waiting: dict[int, deque[tuple[float, bytes]]] = {end: deque() for end in ends}
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    while True:
        due = min((packets[0][0] for packets in waiting.values() if packets), default=None)
        timeout_s = None if due is None else max(0.0, due - time.monotonic())
        for end in select.select(ends, [], [], timeout_s)[0]:
            _take(end, waiting[end], one_way_s)
        now = time.monotonic()
        for end, packets in waiting.items():
            while packets and packets[0][0] <= now:
                with suppress(OSError):  # a packet that the kernel will not take is lost, as packets are
                    os.write(other[end], packets[0][1])
                packets.popleft()


def _take(end: int, packets: deque[tuple[float, bytes]], one_way_s: float) -> None:
    with suppress(BlockingIOError):
        for _ in range(64):
            packets.append((time.monotonic() + one_way_s, os.read(end, PACKET_BYTES)))


def raw_tcp(link: Wan, size: int, streams: int) -> float:
    """Bytes a second over plain TCP from there to here, with so many connections: what the link can do at best."""
    argv = [*link.inside, sys.executable, __file__, "--serve", link.there, str(size // streams), str(streams)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        began = time.monotonic()
        readers = [threading.Thread(target=_drain, args=(link.there, port)) for _ in range(streams)]
        for one in readers:
            one.start()
        for one in readers:
            one.join()
        return size / (time.monotonic() - began)


def _drain(address: str, port: int) -> None:
    buffer = bytearray(1024 * 1024)
    with socket.create_connection((address, port), timeout=240) as sock:
        while sock.recv_into(buffer):
            pass


def _serve(address: str, size: int, streams: int) -> None:
    with socket.create_server((address, 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        writers = [threading.Thread(target=_pour, args=(listener.accept()[0], size)) for _ in range(streams)]
        for one in writers:
            one.start()
        for one in writers:
            one.join()


def _pour(sock: socket.socket, size: int) -> None:
    with sock:
        while size:
            sock.sendall(CHUNK[: min(size, len(CHUNK))])
            size -= min(size, len(CHUNK))


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        _serve(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        pump((int(sys.argv[1]), int(sys.argv[2])), float(sys.argv[3]))
