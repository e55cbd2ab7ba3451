"""The process that creates sockets in a jail's network namespace, and sets limits that bubblewrap cannot set.

Only `runner.netns` starts and uses it. A request is one JSON object, sent with the descriptor of the network namespace
and, to change mounts, the descriptor of the mount namespace:

    plain, port    number of unconnected sockets; port on 127.0.0.1 to listen on, or 0
    inodes         maximum number of inodes of each tmpfs: {folder: number}
    read_only      mount points to make read-only; device nodes among them can still be opened
    pid, rlimits   a process, and its limits: {resource: number}; a lower hard limit stays
    address        IPv4 address of a new network interface without a route, or ""

The answer is `ok` with the sockets' descriptors, `ok` and a reason when the kernel has no such interface, or an error.

It imports only a few modules of the standard library: it forks for each request, and a small process forks fast.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import sys
from contextlib import suppress
from typing import Any

NS_GET_USERNS = 0xB701  # linux/nsfs.h
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_RELATIME = 32, 1024, 2048, 4096, 1 << 21
ST_RELATIME = 4096  # the one flag whose value in statvfs(3) differs from mount(2)
KEPT_FLAGS = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME

MAX_REQUEST = 4096

# linux/rtnetlink.h, linux/if_link.h, linux/veth.h
RTM_NEWLINK, RTM_SETLINK, RTM_NEWADDR = 16, 19, 20
NLMSG_ERROR = 2
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 1, 4, 0x200, 0x400
IFLA_IFNAME, IFLA_LINKINFO, IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 3, 18, 1, 2, 1
IFLA_AF_SPEC, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE = 26, 8, 1
IFA_ADDRESS, IFA_LOCAL = 1, 2
IFF_UP = 1


def _serve(channel: socket.socket) -> None:
    """Fork a child for each request, until the runner closes the socket."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    while True:
        request, fds, _flags, _address = socket.recv_fds(channel, MAX_REQUEST, 2)
        if not request:
            return
        child = os.fork()
        if child == 0:
            _answer(channel, libc, json.loads(request), fds)
            os._exit(0)
        for fd in fds:
            os.close(fd)
        os.waitpid(child, 0)


def _answer(channel: socket.socket, libc: ctypes.CDLL, request: dict[str, Any], namespaces: list[int]) -> None:
    made: list[socket.socket] = []
    reply = b"ok"
    try:
        _enter(libc, namespaces[0])
        for name, limit in request["rlimits"].items():
            current = resource.prlimit(request["pid"], int(name))
            soft, hard = (limit if now == resource.RLIM_INFINITY else min(now, limit) for now in current)
            resource.prlimit(request["pid"], int(name), (soft, hard))
        if request["port"]:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            made.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", request["port"]))
            listener.listen(512)
        made += [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(request["plain"])]
        if request["address"]:
            try:
                _add_interface(request["address"])
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:  # the kernel has no veth, and cannot load it
                    raise
                reply += f" {error}".encode()
        if namespaces[1:]:
            _set_namespace(libc, namespaces[1], CLONE_NEWNS, "mnt")
            _change_mounts(libc, request["inodes"], request["read_only"])
    except OSError as error:
        channel.send(str(error).encode()[:1000])
        return
    socket.send_fds(channel, [reply], [sock.fileno() for sock in made])


def _enter(libc: ctypes.CDLL, namespace: int) -> None:
    """Enter the user namespace that owns `namespace`, with root's capabilities, then enter `namespace`."""
    owner = fcntl.ioctl(namespace, NS_GET_USERNS)
    # EINVAL: the process is in that user namespace already (in tests without a separate one).
    if libc.setns(owner, CLONE_NEWUSER) != 0 and ctypes.get_errno() != errno.EINVAL:
        raise OSError(ctypes.get_errno(), f"setns(user): {os.strerror(ctypes.get_errno())}")
    _set_namespace(libc, namespace, CLONE_NEWNET, "net")


def _set_namespace(libc: ctypes.CDLL, namespace: int, kind: int, name: str) -> None:
    if libc.setns(namespace, kind) != 0:
        raise OSError(ctypes.get_errno(), f"setns({name}): {os.strerror(ctypes.get_errno())}")


def _add_interface(address: str) -> None:
    """Add a pair of connected interfaces, both in this namespace, and give the first one the address.

    No packet leaves the namespace: the pair is connected to nothing else, and the address has no route but its own.
    """
    peer = _attribute(VETH_INFO_PEER, _link(0, 0) + _attribute(IFLA_IFNAME, b"eth1\0"))
    kind = _attribute(IFLA_INFO_KIND, b"veth\0") + _attribute(IFLA_INFO_DATA, peer)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        pair = _link(0, 0) + _attribute(IFLA_IFNAME, b"eth0\0") + _attribute(IFLA_LINKINFO, kind)
        _netlink(netlink, RTM_NEWLINK, pair)
        # Without IPv6 addresses of their own: those come a second later, and Chromium then ends the requests that run.
        inet6 = _attribute(socket.AF_INET6, _attribute(IFLA_INET6_ADDR_GEN_MODE, bytes([IN6_ADDR_GEN_MODE_NONE])))
        for name in ("eth0", "eth1"):
            index = socket.if_nametoindex(name)
            _netlink(netlink, RTM_SETLINK, _link(index, 0) + _attribute(IFLA_AF_SPEC, inet6))
            _netlink(netlink, RTM_SETLINK, _link(index, IFF_UP))
        packed = socket.inet_aton(address)
        head = struct.pack("=BBBBI", socket.AF_INET, 32, 0, 0, socket.if_nametoindex("eth0"))
        _netlink(netlink, RTM_NEWADDR, head + _attribute(IFA_LOCAL, packed) + _attribute(IFA_ADDRESS, packed))


def _link(index: int, flags: int) -> bytes:
    """A `struct ifinfomsg`."""
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)


def _attribute(kind: int, value: bytes) -> bytes:
    """A netlink attribute, see netlink(7)."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _netlink(netlink: socket.socket, kind: int, body: bytes) -> None:
    """Send a request and read its acknowledgement. Raises OSError."""
    flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_EXCL | NLM_F_CREATE
    netlink.sendto(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body, (0, 0))
    answer = netlink.recv(4096)
    (answered,), (error,) = struct.unpack_from("=H", answer, 4), struct.unpack_from("=i", answer, 16)
    if answered == NLMSG_ERROR and error:
        raise OSError(-error, f"the jail's network interface: {os.strerror(-error)}")


def _change_mounts(libc: ctypes.CDLL, inodes: dict[str, int], read_only: list[str]) -> None:
    for folder, limit in inodes.items():
        _remount(libc, folder, MS_NOSUID | MS_NODEV, f"nr_inodes={limit}")
    for place in read_only:
        flags = os.statvfs(place).f_flag
        kept = flags & KEPT_FLAGS | (MS_RELATIME if flags & ST_RELATIME else 0)
        _remount(libc, place, MS_BIND | MS_RDONLY | kept, "")


def _remount(libc: ctypes.CDLL, place: str, flags: int, options: str) -> None:
    if libc.mount(None, place.encode(), None, ctypes.c_ulong(MS_REMOUNT | flags), options.encode()) != 0:
        raise OSError(ctypes.get_errno(), f"mount({place}): {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runner ends the helper; a terminal's Ctrl-C must not
    with suppress(OSError):
        _serve(socket.socket(fileno=int(sys.argv[1])))
