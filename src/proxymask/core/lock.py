"""A lock on a folder that one process at a time may write: a run folder, a prepared set, an evaluation, cached pairs.

The lock is ``flock`` on the file ``.lock`` in the folder, so the system frees it when the process ends, however it ends. The file says who
holds it. Some network file systems have no ``flock``, or one that other machines do not see. So the holder also touches the file every few
seconds, and who finds the name of another machine in it, or has no ``flock``, watches for that before it takes the lock over.
"""

import contextlib
import errno
import itertools
import json
import os
import shlex
import socket
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import ProxymaskError
from .interrupts import interrupts_held_back
from .text import printable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
BEAT = 5.0  # seconds between two touches
WATCH = 16.0  # seconds without one after which the holder counts as dead
ATTEMPTS = 100
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EACCES)  # of file systems without hard links

Owner = dict[str, Any]
"""Content of the file: pid, host, started (of the process, in the system's own unit), since and command (for people)."""


def is_lock(path: Path) -> bool:
    """Whether a file in a folder belongs to its lock; one may be left of a process that was killed."""
    return path.name.startswith(LOCK)


class InUse(ProxymaskError):
    """Another process writes the folder."""


@contextmanager
def folder_lock(folder: str | Path) -> Iterator[None]:
    """Hold the lock of ``folder``, which is made where it is missing, and removed again if nothing was put into it.

    A thread may take the lock of the same folder again within the body.

    Raises:
        InUse: another process, or another thread of this one, holds it; the message says which.
        ProxymaskError: the folder cannot be written.
    """
    folder = Path(folder).absolute()
    key, thread = os.path.realpath(folder), threading.get_ident()
    with _registry:
        held = _held.setdefault(key, _Held(thread))
        if held.thread != thread:
            raise InUse(f"{folder} is in use by another thread of this process: wait until it has ended, or choose another folder")
        held.depth += 1
    try:
        if held.depth == 1:
            held.take(folder)
        yield
    finally:
        with interrupts_held_back():
            with _registry:
                held.depth -= 1
                if not held.depth:
                    _held.pop(key, None)
            if not held.depth:
                held.release()


class _Held:
    """The lock of a folder in this process, and the thread that it belongs to."""

    def __init__(self, thread: int) -> None:
        self.thread, self.depth = thread, 0
        self.fd: int | None = None
        self.made: list[Path] = []
        self.beat: threading.Thread | None = None
        self.released = threading.Event()

    def take(self, folder: Path) -> None:
        self.made = [path for path in (folder, *folder.parents) if not path.exists()]
        self.path = folder / LOCK
        try:
            for attempt in range(ATTEMPTS):
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    self._acquire()
                    break
                except FileNotFoundError:  # another process has just ended and removed the folder, which it had made
                    if attempt == ATTEMPTS - 1:
                        raise
        except OSError as error:
            todo = "make room and run the same command again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose another folder"
            raise ProxymaskError(f"cannot write {folder} ({error.strerror or error}): {todo}") from None
        beat = threading.Thread(target=self._touch, args=(self.fd,), name="lock", daemon=True)
        beat.start()
        self.beat = beat

    def _acquire(self) -> None:
        """Open the file and lock it. An interrupt finds ``fd`` set as soon as there is a file to be removed."""
        path, me = self.path, _myself()
        for attempt in itertools.count():
            with interrupts_held_back():
                self.fd = _create(path, me)
            if self.fd is not None or self._take_over(path, me, attempt):
                return

    def _take_over(self, path: Path, me: Owner, attempt: int) -> bool:
        """Lock the file that is there, if its holder is dead; False: try again."""
        try:
            fd = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            locked = _flock(fd, True)
            if locked is False:
                owner = _holder(path)
                if owner != me or attempt == ATTEMPTS:  # else another process reads the file that this one has just made
                    raise _in_use(path, owner)
                time.sleep(0.01)
            elif _is_file_of(fd, path):  # else its holder has just removed it
                owner = _read_owner(path)
                if _alive(path, owner, me, bool(locked)):
                    raise _in_use(path, owner)
                if locked:
                    with interrupts_held_back():
                        os.ftruncate(fd, 0)
                        os.write(fd, json.dumps(me).encode())
                        self.fd = fd
                    return True
                _discard(path, owner)
        finally:
            if self.fd != fd:
                os.close(fd)
        return False

    def _touch(self, fd: int) -> None:
        while not self.released.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(fd if os.utime in os.supports_fd else self.path)

    def release(self) -> None:
        """Remove the file, then free the lock: who opened the file before finds that it is gone, and begins anew."""
        self.released.set()
        if self.beat is not None:
            self.beat.join()
        if self.fd is not None:
            with contextlib.suppress(OSError):
                if _is_file_of(self.fd, self.path):  # the folder may have been renamed
                    self.path.unlink()
            _flock(self.fd, False)
            os.close(self.fd)
        with contextlib.suppress(OSError):  # not empty, or gone
            for folder in self.made:
                folder.rmdir()


_held: dict[str, _Held] = {}  # by the real path of the folder
_registry = threading.Lock()


def _forget() -> None:
    """In a forked child: close the files, which would keep the locks of a parent that dies."""
    global _registry
    _registry = threading.Lock()
    for held in _held.values():
        if held.fd is not None:
            os.close(held.fd)
        held.fd, held.made = None, []
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _create(path: Path, me: Owner) -> int | None:
    """The file, new, with its content, opened and locked; None where there is one already.

    It is made under another name first, so that nobody finds it empty or unlocked.
    """
    temporary = path.with_name(f"{LOCK}.{uuid.uuid4().hex}")
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.write(fd, json.dumps(me).encode())
        _flock(fd, True)
        os.link(temporary, path)
        return fd
    except BaseException as error:
        os.close(fd)
        if isinstance(error, FileExistsError):
            return None
        if not isinstance(error, OSError) or error.errno not in NO_LINKS:
            raise
    finally:
        temporary.unlink(missing_ok=True)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return None
    os.write(fd, json.dumps(me).encode())
    if _flock(fd, True) is not False:
        return fd
    os.close(fd)
    return None


def _discard(path: Path, dead: Owner | None) -> None:
    """Remove the file of a dead holder where there is no ``flock``. Of two that do so at once, one renames the file, the other nothing."""
    aside = path.with_name(f"{LOCK}.{uuid.uuid4().hex}")
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return
    if _read_owner(aside) != dead:  # another one was quicker, and has a new file there already: give it back
        with contextlib.suppress(OSError):
            os.link(aside, path)
    aside.unlink(missing_ok=True)


def _flock(fd: int, take: bool) -> bool | None:
    """Take or free the lock of an open file: whether that succeeded; None where the file system has no such locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB if take else fcntl.LOCK_UN)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_file_of(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


def _myself() -> Owner:
    program = Path(sys.argv[0]).name
    words = ["proxymask" if program in ("__main__.py", "proxymask") else sys.argv[0] or "python", *sys.argv[1:]]
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started": _start_of(os.getpid()),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": shlex.join(words),
    }


def _start_of(pid: int) -> str | None:
    """When a process started, in the system's own unit; None where it is not running, or where the system does not say."""
    try:
        state, *numbers = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else numbers[18]


def _read_owner(path: Path) -> Owner | None:
    """Who is named in the file; None where that cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or not {"pid", "host", "started", "since", "command"} <= found.keys() or type(found["pid"]) is not int:
        return None
    return found


def _holder(path: Path) -> Owner | None:
    """Who holds the lock. The holder may be about to write its name, so that a process which is not running is not believed at once."""
    for _ in range(20):
        owner = _read_owner(path)
        if owner is not None and (owner["host"] != socket.gethostname() or _start_of(owner["pid"]) == owner["started"]):
            return owner
        time.sleep(0.05)
    return None


def _alive(path: Path, owner: Owner | None, me: Owner, locked: bool) -> bool:
    """Whether the holder that the file names still runs, where ``flock`` was granted (``locked``) or there is none."""
    if owner is None and locked:
        return False
    if owner is not None and owner["host"] == me["host"]:
        if me["started"] is not None:
            return owner["pid"] != me["pid"] and _start_of(owner["pid"]) == owner["started"]
        if locked:
            return False
    who = "another process" if owner is None else f"process {owner['pid']} on {printable(str(owner['host']), 60)}"
    warnings.warn(f"{path.parent} was last written by {who}: waiting {WATCH:.0f} s to see whether it still runs", stacklevel=2)
    try:
        before = path.stat().st_mtime_ns
        end = time.monotonic() + WATCH
        while time.monotonic() < end:
            time.sleep(0.5)
            with path.open("rb"):  # network file systems compare with the server when a file is opened
                pass
            if path.stat().st_mtime_ns != before:
                return True
    except FileNotFoundError:
        pass
    return False


def _in_use(path: Path, owner: Owner | None) -> InUse:
    folder = path.parent
    if owner is None:
        return InUse(f"{folder} is in use by another process: wait until it has ended, or choose another folder")
    where = "" if owner["host"] == socket.gethostname() else f" on {printable(str(owner['host']), 60)}"
    command = printable(str(owner["command"]), 200)
    gone = f", or remove {path} if that machine is gone" if where else ""
    since = printable(str(owner["since"]), 30)
    who = f"process {owner['pid']}{where} since {since} ({command})"
    return InUse(f"{folder} is in use by {who}: wait until it has ended, stop it, or choose another folder{gone}")
