"""The jail of a worker: what a method's process may see and do, from before its module is loaded. Linux alone.

Namespaces take the network, other processes and their messages away, Landlock (https://docs.kernel.org/userspace-api/
landlock.html) all files but those that are listed, a seccomp filter sockets and the calls that reach into processes or
the kernel. `enter` returns in the jailed process, the second of its own process namespace: when it ends, the first one
does, and with that everything which it started. Nothing here opens the way back.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL = (1 << bit for bit in (0, 1, 2, 3, 14, 15))
_ALL = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""Rights to files that a version of Landlock knows, from the version on."""
_NOT_MADE = (6, 9, 11, 12)
"""Devices, sockets and symbolic links: the harness writes into a worker's room, and must not be led out of it."""
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
_LOOK, _NAME = _EXECUTE | _READ_FILE | _READ_DIR, _WRITE_FILE | _TRUNCATE
_THREADS = ("/proc/self/task",)
"""Where threads have their names: CUDA's driver gives up if it may not write its own."""
_CREATE_RULESET, _ADD_RULE, _RESTRICT = 444, 445, 446
_NETWORK_FROM, _SCOPES_FROM = 4, 6
_NEW_NS, _NEW_IPC, _NEW_USER, _NEW_PID, _NEW_NET = 0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
_ANY_NAMESPACE = 0x7E020080
_NO_NEW_PRIVS, _DEATH_SIGNAL, _SECCOMP, _FILTER = 38, 1, 22, 2
_FORBIDDEN = {
    "x86_64": (0xC000003E, {
        "connect": 42, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "mount": 165, "umount2": 166,
        "pivot_root": 155, "chroot": 161, "move_mount": 429, "open_tree": 428, "fsopen": 430, "fsmount": 432,
        "keyctl": 250, "add_key": 248, "request_key": 249, "bpf": 321, "perf_event_open": 298, "unshare": 272,
        "setns": 308, "userfaultfd": 323, "io_uring_setup": 425, "init_module": 175, "finit_module": 313,
        "kexec_load": 246, "pidfd_getfd": 438, "kcmp": 312, "open_by_handle_at": 304,
    }, (41, 53), 56, 435),
    "aarch64": (0xC00000B7, {
        "connect": 203, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "mount": 40, "umount2": 39,
        "pivot_root": 41, "chroot": 51, "move_mount": 429, "open_tree": 428, "fsopen": 430, "fsmount": 432,
        "keyctl": 219, "add_key": 217, "request_key": 218, "bpf": 280, "perf_event_open": 241, "unshare": 97,
        "setns": 268, "userfaultfd": 282, "io_uring_setup": 425, "init_module": 105, "finit_module": 273,
        "kexec_load": 104, "pidfd_getfd": 438, "kcmp": 272, "open_by_handle_at": 265,
    }, (198, 199), 220, 435),
}  # fmt: skip
"""By machine: its audit number, calls that are refused, and the numbers of socket and socketpair, clone and clone3."""
_LOAD, _EQUAL, _SET, _AT_LEAST, _MASK, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x54, 0x06
_FIRST, _SECOND = 16, 24
"""Where a filter finds a call's arguments."""
_ALLOW, _REFUSE, _UNKNOWN, _KILL = 0x7FFF0000, 0x00050000 | 1, 0x00050000 | 38, 0x80000000
_X32, _SOCKET_KIND = 0x40000000, 0xF
_SIGNALLED, _CAPABILITIES = 128, 0x20080522


class Missing(OSError):
    """The system refuses a part of the jail; the message says which."""


class Walls(NamedTuple):
    """Files and folders that a worker may read, those that it may change, too, and those of which it sees names."""

    read: Sequence[str]
    write: Sequence[str]
    names: Sequence[str]


def enter(walls: Walls) -> None:
    """Put this process, which has one thread, into the jail. It forks: the outer half ends as the inner one does.

    Raises:
        Missing: a part of the jail cannot be had; the process is of no further use then.
    """
    if sys.platform != "linux" or platform.machine() not in _FORBIDDEN:
        raise Missing(f"no jail on {sys.platform} {platform.machine()}: Linux on x86_64 or aarch64 has one")
    libc = ctypes.CDLL(None, use_errno=True)
    _unshare(libc)
    init = os.fork()
    if init:
        _end_as(init)
    _checked(libc.prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0), "a death signal")
    # The processes of this namespace alone: those of the host have numbers there, environments and memory.
    _checked(libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None), "a private view of mounts")
    _checked(libc.mount(b"proc", b"/proc", b"proc", 0x2 | 0x4 | 0x8, None), "a /proc of its own")
    _checked(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    # Whoever makes a user namespace is its superuser.
    _checked(libc.capset(struct.pack("<Ii", _CAPABILITIES, 0), bytes(24)), "to drop capabilities")
    _seccomp(libc)
    # The first process of a namespace is deaf to signals, its own too: a method that dies must die.
    worker = os.fork()
    # After it, as a process's own folder below /proc is another's for its child.
    if worker:
        with suppress(Missing):  # the worker says it
            _landlock(libc, walls)
        os._exit(_status(worker))
    _landlock(libc, walls)


def _unshare(libc: ctypes.CDLL) -> None:
    user, group = os.getuid(), os.getgid()
    flags = _NEW_USER | _NEW_NS | _NEW_PID | _NEW_NET | _NEW_IPC
    _checked(libc.unshare(flags), "namespaces (user, mount, pid, network, ipc)")
    for name, said in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        try:
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(said)
        except OSError as error:
            raise Missing(error.errno, f"the system refuses a user namespace ({name}): {error.strerror}") from error


def _status(child: int) -> int:
    """How a child ended, once it has: its exit code, or 128 and the signal."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else _SIGNALLED - code


def _end_as(init: int) -> None:
    """Wait for the jailed process, and end as it did."""
    status = _status(init)
    if status > _SIGNALLED:
        with suppress(OSError, ValueError):
            signal.signal(status - _SIGNALLED, signal.SIG_DFL)
        os.kill(os.getpid(), status - _SIGNALLED)
    os._exit(status)


def _landlock(libc: ctypes.CDLL, walls: Walls) -> None:
    version = libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        raise Missing("the kernel has no Landlock, or it is switched off (lsm=landlock)")
    every = _ALL[max(known for known in _ALL if known <= version)]
    attributes = struct.pack("<Q", every)
    attributes += struct.pack("<Q", 3) if version >= _NETWORK_FROM else b""
    attributes += struct.pack("<Q", 3) if version >= _SCOPES_FROM else b""
    ruleset = _checked(libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0), "Landlock")
    change = every & ~sum(1 << bit for bit in _NOT_MADE)
    for paths, rights in ((walls.read, _LOOK), (walls.write, change), (walls.names, _READ_DIR), (_THREADS, _NAME)):
        for path in paths:
            _allow(libc, ruleset, path, rights & every)
    # Open for good: a folder of /proc that nobody holds may come back as another, which the rule does not know.
    os.open(_THREADS[0], os.O_PATH | os.O_CLOEXEC)
    _checked(libc.syscall(_RESTRICT, ruleset, 0), "Landlock")
    os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not os.path.isdir(path):
            rights &= _OF_FILES
        rule = struct.pack("<Qi", rights, descriptor)
        _checked(libc.syscall(_ADD_RULE, ruleset, 1, rule, 0), f"Landlock on {path}")
    finally:
        os.close(descriptor)


def _seccomp(libc: ctypes.CDLL) -> None:
    code = _program(*_FORBIDDEN[platform.machine()])
    buffer = ctypes.create_string_buffer(b"".join(code), 8 * len(code))
    program = struct.pack("<HxxxxxxQ", len(code), ctypes.addressof(buffer))
    _checked(libc.prctl(_SECCOMP, _FILTER, program, 0, 0), "a seccomp filter")


def _program(audit: int, refused: dict[str, int], sockets: tuple[int, int], clone: int, clone3: int) -> list[bytes]:
    """A classic BPF program: another architecture dies, refused calls and new namespaces fail, clone3 is unknown, as
    its flags lie where no filter reads them, so that libraries fall back on clone. Of sockets there are local ones that
    say nothing without a connection, which is refused: CUDA's driver gives up without one to listen at. A datagram
    would need none, from a pair no more than from a socket.
    """
    numbers = sorted(refused.values())
    code = [
        _step(_LOAD, 4),
        _step(_EQUAL, audit, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, 0),
        _step(_AT_LEAST, _X32, 0, 1),
        _step(_RETURN, _REFUSE),
        _step(_EQUAL, clone3, 0, 1),
        _step(_RETURN, _UNKNOWN),
    ]
    for number in numbers:
        code += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _REFUSE)]
    return [
        *code,
        *_local(sockets[0], (socket.SOCK_SEQPACKET,)),
        *_local(sockets[1], (socket.SOCK_SEQPACKET, socket.SOCK_STREAM)),
        _step(_EQUAL, clone, 0, 3),
        _step(_LOAD, _FIRST),
        _step(_SET, _ANY_NAMESPACE, 0, 1),
        _step(_RETURN, _REFUSE),
        _step(_RETURN, _ALLOW),
    ]


def _local(call: int, kinds: Sequence[int]) -> list[bytes]:
    """Where a call makes sockets: local ones of these kinds, and no others."""
    kind = [_step(_EQUAL, one, len(kinds) - place, 0) for place, one in enumerate(kinds)]
    body = [
        _step(_LOAD, _FIRST),
        _step(_EQUAL, socket.AF_UNIX, 0, 2 + len(kinds)),
        _step(_LOAD, _SECOND),
        _step(_MASK, _SOCKET_KIND),
        *kind,
        _step(_RETURN, _REFUSE),
        _step(_RETURN, _ALLOW),
    ]
    return [_step(_EQUAL, call, 0, len(body)), *body]


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("<HBBI", code, yes, no, value)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise Missing(number, f"the system refuses {what}: {os.strerror(number)}")
    return result


def attempts(canary: str, port: int, service: str, harness: int) -> dict[str, bool]:
    """What works of what must not, tried from inside: `canary` is a file that is nobody's to read here, `port` and
    `service`, a path, are what the harness listens at, and at `serviced` for datagrams, `harness` is its process.
    """
    tries: dict[str, Callable[[], object]] = {
        "read a file of the host": lambda: os.close(os.open(canary, os.O_RDONLY)),
        "list a folder of the host": lambda: os.listdir(os.path.dirname(canary)),
        "write beside it": lambda: os.close(os.open(f"{canary}.written", os.O_WRONLY | os.O_CREAT)),
        "connect to the host": lambda: socket.create_connection(("127.0.0.1", port), timeout=1).close(),
        "open a socket": lambda: socket.socket(socket.AF_UNIX).close(),
        "connect to a service": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(service),
        "send to a service": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(
            b"x", f"{service}d"
        ),
        "signal the harness": lambda: os.kill(harness, 0),
        "see other processes": _see_others,
        "make a namespace of its own": lambda: _checked(ctypes.CDLL(None, use_errno=True).unshare(_NEW_USER), ""),
    }
    return {name: _works(attempt) for name, attempt in tries.items()}


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


def _see_others() -> None:
    if not [name for name in os.listdir("/proc") if name.isdigit() and int(name) not in (1, os.getpid())]:
        raise PermissionError("no other process is seen")
