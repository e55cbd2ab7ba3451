"""The process that makes sockets in other network namespaces; started and used by `runner.netns` alone.

Standard library only and little of it: it forks for every request, and what it has not imported costs nothing.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
from contextlib import suppress

NS_GET_USERNS = 0xB701  # linux/nsfs.h
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
EINVAL = 22

REQUEST = struct.Struct("!HH")  # plain sockets wanted; port to listen on, or 0


def _serve(channel: socket.socket) -> None:
    """The helper: one forked child for each request, until the runner hangs up."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    while True:
        request, fds, _flags, _address = socket.recv_fds(channel, REQUEST.size, 1)
        if not request:
            return
        child = os.fork()
        if child == 0:
            _answer(channel, libc, request, fds[0])
            os._exit(0)
        os.close(fds[0])
        os.waitpid(child, 0)


def _answer(channel: socket.socket, libc: ctypes.CDLL, request: bytes, namespace: int) -> None:
    plain, port = REQUEST.unpack(request)
    made: list[socket.socket] = []
    try:
        _enter(libc, namespace)
        if port:
            made.append(_listener(port))
        made += [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(plain)]
    except OSError as error:
        channel.send(str(error).encode()[:1000])
        return
    socket.send_fds(channel, [b"ok"], [sock.fileno() for sock in made])


def _enter(libc: ctypes.CDLL, namespace: int) -> None:
    """Become root in the user namespace that owns `namespace`, then enter it."""
    owner = fcntl.ioctl(namespace, NS_GET_USERNS)
    # EINVAL: we are in that user namespace already (its own creator, when nothing was unshared).
    if libc.setns(owner, CLONE_NEWUSER) != 0 and ctypes.get_errno() != EINVAL:
        raise OSError(ctypes.get_errno(), f"setns(user): {os.strerror(ctypes.get_errno())}")
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"setns(net): {os.strerror(ctypes.get_errno())}")


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(512)
    return listener


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runner ends us; a terminal's Ctrl-C is not for us
    with suppress(OSError):
        _serve(socket.socket(fileno=int(sys.argv[1])))
