"""Takes the lock of a folder in another process, for tests: ``python lock_worker.py FOLDER [OPTION ...]``.

Options: ``no-flock`` (a file system without such locks), ``no-links`` (one without hard links), ``host=NAME`` (another machine's name),
``fork`` (a child outlives this process), ``go=FILE`` (wait for the file, then start at once), ``for=SECONDS`` (to hold it).
"""

import errno
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from proxymask.core import lock


def fails(code: int) -> Any:
    """A system call that this file system does not know."""

    def call(*_: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    return call


def main() -> None:
    """Take the lock, say so, hold it."""
    folder, options = sys.argv[1], dict(word.partition("=")[::2] for word in sys.argv[2:])
    lock.BEAT, lock.WATCH = 0.2, 1.5
    if "no-flock" in options:
        lock.fcntl.flock = fails(errno.ENOSYS)
    if "no-links" in options:
        os.link = fails(errno.EPERM)
    if "host" in options:
        socket.gethostname = lambda: options["host"]
    if "go" in options:
        print("ready", flush=True)
        while not Path(options["go"]).exists():
            pass
    try:
        with lock.folder_lock(folder):
            child = os.fork() if "fork" in options else -1
            if child:
                print("held", child, flush=True)
            time.sleep(float(options.get("for", 60)))
    except lock.InUse as error:
        print(error, flush=True)


if __name__ == "__main__":
    main()
