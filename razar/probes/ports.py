"""Whether somebody already listens where a component is going to."""

from __future__ import annotations

import errno
import os
import socket

from razar.config.model import Probe
from razar.launchers import procfs
from razar.probes import net
from razar.probes.tcp import host_and_port

__all__ = ["port_conflict"]

_LISTEN = "0A"


def port_conflict(probe: Probe) -> str | None:
    """Name whoever listens on a probe's loopback port; None if it is free or not on this machine.

    To be asked before a launch: otherwise the stranger's answer would be taken for the component's.
    """
    if probe.kind not in ("http", "tcp", "ws", "grpc"):
        return None
    try:
        host, port = host_and_port(probe.target)
    except ValueError:
        return None  # The probe will say so.
    if not net.is_loopback(host):
        return None
    if all(_is_free(family, address) for family, address in net.loopback_addresses(host, port)):
        return None
    inodes = _listening(port)
    if not inodes:
        return None
    return f"port {port} is already in use by {_holder(inodes)}; stop it or choose another port"


def _is_free(family: socket.AddressFamily, address: tuple[object, ...]) -> bool:
    """Try to bind: cheap, and nobody notices. Addresses in TIME_WAIT are free."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
    except OSError as error:
        return error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
    return True


def _listening(port: int) -> dict[str, int]:
    """Find the listening sockets of a port: inode -> uid (/proc/net/tcp, proc(5))."""
    found: dict[str, int] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        rows = (procfs.read(table, 64 << 20) or b"").decode().splitlines()[1:]
        for row in rows:
            fields = row.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found[fields[9]] = int(fields[7])
    return found


def _holder(inodes: dict[str, int]) -> str:
    links = {f"socket:[{inode}]" for inode in inodes}
    for pid in procfs.all_pids():
        folder = f"/proc/{pid}/fd"
        try:
            descriptors = os.listdir(folder)
        except OSError:
            continue
        for descriptor in descriptors:
            try:
                if os.readlink(f"{folder}/{descriptor}") in links:
                    return f"pid {pid} ({procfs.command(pid)})"
            except OSError:
                continue
    return f"a process of the user with uid {min(inodes.values())}, which is not ours to see"
