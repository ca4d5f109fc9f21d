"""The program that shuts itself in and then becomes a test command. Runs alone: it imports nothing of ours.

It is started as ``python -I -S -c SOURCE SPEC``; SPEC is JSON, see :class:`Spec`. It writes what
protection is in force to ``report`` before the command starts. Exit 125 before that: it could not.
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
from typing import Any, NoReturn, TypedDict

__all__ = ["FAILED", "Spec", "main"]

FAILED = 125

# From the kernel's headers: sched.h, mount.h, prctl.h, capability.h, landlock.h, if.h.
CLONE = {
    "mount": 0x20000,
    "uts": 0x4000000,
    "ipc": 0x8000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 0x1000, 0x4000, 0x40000
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV = 1, 2, 4
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
SYS_LANDLOCK, SYS_MOUNT_SETATTR = 444, 442  # The same on every architecture.
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
FS_READ = 0b1101  # execute, read file, read folder
FS_FILE = 0b111 | 1 << 14  # what may be said of a file: execute, write, read, truncate
FS_WRITE = {1: 0b1111111110010, 2: 1 << 13, 3: 1 << 14}  # by the version that brought them
LANDLOCK_ETC = (
    "alternatives group hosts ld.so.cache localtime mime.types nsswitch.conf passwd protocols services ssl/certs"
).split()

libc = ctypes.CDLL(None, use_errno=True)


class Spec(TypedDict):
    """What the command runs in. Sizes are bytes, ``cpu`` seconds."""

    argv: list[str]
    cwd: str
    report: str
    mode: str  # namespaces, landlock or limits
    scratch: str  # the copy of the tree
    root: str  # where the copy is to be seen
    masked: list[str]  # folders and files that are empty inside
    shown: list[str]  # what is still to be seen below them, read-only
    limits: dict[str, int]  # memory, cpu, files, processes, file_size


def check(result: int, what: str) -> None:
    """Raise OSError for a C function that failed."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def main() -> NoReturn:
    """Shut in, report, and become the command."""
    spec: Spec = json.loads(sys.argv[1])
    parent = os.getppid()
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(FAILED)
    report = os.open(spec["report"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if spec["mode"] == "namespaces":
            enter_namespaces(spec, report)
        found: dict[str, Any] = {"mode": spec["mode"]}
        os.chdir(spec["cwd"])
        if spec["mode"] == "landlock":
            found |= landlock(spec)
        limit(spec["limits"])
        no_privileges()
        os.write(report, json.dumps(found).encode())
    except OSError as error:
        os.write(report, json.dumps({"error": str(error)}).encode())
        os._exit(FAILED)
    execute(spec["argv"])


def execute(argv: list[str]) -> NoReturn:
    """Become the command; its own faults look like those of a shell: 127, 126."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(2, f"cannot start {argv[0]!r}: {error.strerror}\n".encode())
        os._exit(127 if error.errno == errno.ENOENT else 126)


def limit(limits: dict[str, int]) -> None:
    """Set the resource limits. Root is not bound by the number of its processes."""
    for name, what in (
        ("memory", resource.RLIMIT_DATA),
        ("cpu", resource.RLIMIT_CPU),
        ("files", resource.RLIMIT_NOFILE),
        ("processes", resource.RLIMIT_NPROC),
        ("file_size", resource.RLIMIT_FSIZE),
    ):
        hard = resource.getrlimit(what)[1]
        value = limits[name] if hard == resource.RLIM_INFINITY else min(limits[name], hard)
        resource.setrlimit(what, (value, value))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def no_privileges() -> None:
    """Give up every capability, for good."""
    for number in range(64):
        if libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) < 0 and ctypes.get_errno() == errno.EINVAL:
            break
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    header = struct.pack("Ii", 0x20080522, 0)
    check(libc.capset(header, bytes(24)), "capset")


def enter_namespaces(spec: Spec, report: int) -> None:
    """Go into namespaces of our own; return in a process there, whose parent there waits for it."""
    uid, gid = os.getuid(), os.getgid()
    check(libc.unshare(sum(CLONE.values())), "namespaces")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    init = os.fork()
    if init:
        # Output and signals reach the inside without us; its end is all that is left to tell.
        os._exit(os.waitstatus_to_exitcode(os.waitpid(init, 0)[1]) & 0xFF)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        arrange_mounts(spec)
        proc = mount_proc(spec["limits"]["processes"])
        loopback_up()
        os.chdir(spec["cwd"])
        limit(spec["limits"])
        no_privileges()
        found = {"mode": "namespaces", "namespaces": sorted(CLONE), "proc": proc}
        os.write(report, json.dumps(found).encode())
    except OSError as error:
        os.write(report, json.dumps({"error": str(error)}).encode())
        os._exit(FAILED)
    command = os.fork()
    if command == 0:
        execute(spec["argv"])
    # The first process of the namespace: when it ends, the kernel kills all the others.
    while True:
        pid, status = os.wait()
        if pid == command:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)."""
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    check(
        libc.mount(*texts, ctypes.c_ulong(flags), None if data is None else data.encode()),
        f"mounting {target}",
    )


def set_attributes(path: str, *, on: int = 0, off: int = 0, recursive: bool = False) -> None:
    """mount_setattr(2)."""
    attributes = struct.pack("QQQQ", on, off, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    result = libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, os.fsencode(path), flags, attributes, len(attributes))
    check(result, f"protecting {path}")


def arrange_mounts(spec: Spec) -> None:
    """Everything read-only, the masked folders empty, the copy in the place of the tree."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    shown = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in spec["shown"]]
    nodes = [
        (f"/dev/{name}", os.open(f"/dev/{name}", os.O_PATH))
        for name in ("full", "null", "random", "urandom", "zero")
    ]
    scratch = os.open(spec["scratch"], os.O_PATH | os.O_CLOEXEC)
    set_attributes("/", on=ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV, recursive=True)
    for path in spec["masked"]:
        if os.path.isdir(path):
            mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "size=64m,nr_inodes=10k,mode=1777")
        elif os.path.exists(path):
            bind(dict(nodes)["/dev/null"], path, folder=False)
    bind(scratch, spec["root"])
    set_attributes(spec["root"], off=ATTR_RDONLY)
    for path, fd in shown:
        bind(fd, path)
    for path in spec["masked"]:
        if os.path.isdir(path) and path not in ("/tmp", "/var/tmp"):
            set_attributes(path, on=ATTR_RDONLY)
    mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "size=16m,nr_inodes=1k,mode=755")
    for path, fd in nodes:
        bind(fd, path, folder=False)
        set_attributes(path, off=ATTR_NODEV)
    os.mkdir("/dev/shm", 0o1777)
    for number, name in enumerate(("fd", "stdin", "stdout", "stderr")):
        os.symlink("/proc/self/fd" if number == 0 else f"/proc/self/fd/{number - 1}", f"/dev/{name}")


def bind(fd: int, target: str, *, folder: bool | None = None) -> None:
    """Show what a descriptor holds at a path, which is made if it lies in an empty folder."""
    if folder if folder is not None else os.path.isdir(f"/proc/self/fd/{fd}"):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.lexists(target):
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    mount(f"/proc/self/fd/{fd}", target, None, MS_BIND | MS_REC)


def mount_proc(processes: int) -> str:
    """Show the processes of this namespace alone; none where the kernel does not let us."""
    try:
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError:
        mount("tmpfs", "/proc", "tmpfs", MS_NOSUID | MS_NODEV, "size=4k,mode=555")
        return "hidden"
    # Processes of root are bounded by their ids alone (per namespace since Linux 6.14, 301 at least).
    for name, value in (("kernel/pid_max", max(processes, 301)), ("user/max_user_namespaces", 0)):
        try:
            with open(f"/proc/sys/{name}", "w") as file:
                file.write(str(value))
        except OSError:
            pass
    set_attributes("/proc", on=ATTR_RDONLY)
    return "own"


def loopback_up() -> None:
    """Let programs talk to themselves; there is no other interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = bytearray(struct.pack("16sh22x", b"lo", 0))
        try:
            fcntl.ioctl(any_socket, SIOCGIFFLAGS, request)
            flags = struct.unpack_from("h", request, 16)[0]
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))
        except OSError:
            pass


def landlock(spec: Spec) -> dict[str, Any]:
    """Without namespaces: read only what is shown, write only into the copy, no TCP (landlock(7))."""
    version = libc.syscall(SYS_LANDLOCK, None, ctypes.c_size_t(0), 1)
    check(version, "landlock")
    access = FS_READ
    for since, rights in FS_WRITE.items():
        access |= rights if version >= since else 0
    attributes = struct.pack("QQQ", access, 0b11 if version >= 4 else 0, 0b11 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = libc.syscall(SYS_LANDLOCK, attributes, ctypes.c_size_t(size), 0)
    check(ruleset, "landlock rules")
    system = ["/bin", "/lib", "/lib32", "/lib64", "/nix", "/opt", "/proc", "/sbin", "/sys", "/usr"]
    system += [f"/etc/{name}" for name in LANDLOCK_ETC]
    devices = [f"/dev/{name}" for name in ("full", "null", "random", "urandom", "zero")]
    rules = [(path, FS_READ) for path in [*system, *spec["shown"]]]
    rules += [(path, access) for path in [*devices, spec["scratch"], os.environ["TMPDIR"]]]
    for path, rights in rules:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        rights &= access if os.path.isdir(path) else FS_FILE
        rule = struct.pack("=Qi", rights, fd)
        check(libc.syscall(SYS_LANDLOCK + 1, ruleset, 1, rule, 0), f"landlock rule for {path}")
        os.close(fd)
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    check(libc.syscall(SYS_LANDLOCK + 2, ruleset, 0), "landlock")
    return {"landlock": version, "tcp": "denied" if version >= 4 else "open", "udp": "open"}


if __name__ == "__main__":
    main()
