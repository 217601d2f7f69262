"""A port of a host's loopback brought here over its SSH connection, as `ssh -L` does."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

from remote.errors import RemoteError
from remote.hosts.ssh import SSHHost

PIECE_BYTES = 64 * 1024
OPEN_TIMEOUT_S = 20.0
ACCEPT_S = 0.5


class Forward:
    """Pass on every connection to `listening` to 127.0.0.1:`port` on the host, until it is closed.

    A link that was lost is made again by the next connection; those that were open end, as they do when a server ends.
    """

    def __init__(self, host: SSHHost, port: int, listening: socket.socket) -> None:
        self.host, self.port, self.listening = host, port, listening
        self._closed = threading.Event()

    def start(self) -> None:
        """Start to listen, in a thread of its own."""
        self.listening.listen(64)
        self.listening.settimeout(ACCEPT_S)
        threading.Thread(target=self._accept, name=f"forward {self.port}", daemon=True).start()

    def close(self) -> None:
        """Take no new connection; those that are open go on."""
        self._closed.set()
        self.listening.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                connection, peer = self.listening.accept()
            except TimeoutError:
                continue
            except OSError:  # closed by this side
                return
            threading.Thread(target=self._pass_on, args=(connection, peer[:2]), daemon=True).start()

    def _pass_on(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        import paramiko  # loaded by whoever made the connection

        with connection:
            connection.settimeout(None)
            try:
                channel = self.host.connect().transport.open_channel(
                    "direct-tcpip", ("127.0.0.1", self.port), peer, timeout=OPEN_TIMEOUT_S
                )
            except (RemoteError, paramiko.SSHException, EOFError, OSError):
                return  # the browser says that the server hung up; the next try makes the link anew
            back = threading.Thread(target=_pour, args=(channel, connection), daemon=True)
            back.start()
            _pour(connection, channel)
            back.join()
            channel.close()


def _pour(source: Any, target: Any) -> None:
    """Everything from one to the other, then its end. Both are sockets, or channels that behave as such."""
    with suppress(OSError, EOFError):
        while data := source.recv(PIECE_BYTES):
            target.sendall(data)
    with suppress(OSError, EOFError):
        target.shutdown(socket.SHUT_WR)
