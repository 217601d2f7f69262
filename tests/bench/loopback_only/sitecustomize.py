"""On PYTHONPATH: this process may talk to its own machine only; anything else fails and is written down."""

import os
import socket

_connect, _lookup = socket.socket.connect, socket.getaddrinfo


def _refuse(what):
    with open(os.environ["LEFT_LOOPBACK"], "a") as file:  # noqa: PTH123 - as few imports as can be
        file.write(f"{what}\n")
    raise OSError(f"a test must not leave loopback: {what}")


def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(("127.", "::1")):
        _refuse(address)
    return _connect(self, address)


def getaddrinfo(host, *arguments, **named):
    if host not in (None, "localhost", "127.0.0.1", "::1", b"127.0.0.1"):
        _refuse(host)
    return _lookup(host, *arguments, **named)


socket.socket.connect = connect
socket.getaddrinfo = getaddrinfo
