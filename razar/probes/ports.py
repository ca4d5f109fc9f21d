"""Whether somebody already listens where a component is going to."""

from __future__ import annotations

import errno
import socket

from razar.config.model import Probe
from razar.probes import net
from razar.probes.tcp import host_and_port

__all__ = ["port_conflict"]


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
    from razar.utils.ports import holder

    who = holder(port)
    return f"port {port} is already in use by {who}; stop it or choose another port" if who else None


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
