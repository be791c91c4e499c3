"""PostgreSQL, for a peer that keeps its entries there: installed if it is missing, and started privately."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Final

from dev.apt import install
from dev.server import HOST, NotReadyError, Program, Server, ServerError, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

USERS: Final = ("postgres", "nobody")
"""As one of whom it runs, as it refuses to run as root."""
OWNER: Final = "peer"
"""The database's user and name."""
INSTALLED: Final = "usr/lib/postgresql/*/bin"
"""Where Debian puts its programs, by version, below /."""


@contextmanager
def private_postgresql() -> Iterator[Server]:
    """Start a PostgreSQL of its own on a free port, durable as it is by default; its data goes with it.

    `url` names an empty database. It is installed first where it is missing and can be. Raises ServerError.
    """
    if programs() is None:
        install("PostgreSQL", "postgresql", what_to_install())
    # Not below a folder of the caller's, which the user that it runs as may not enter.
    folder = Path(mkdtemp(prefix="postgresql-"))
    server = postgresql(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()  # killed, it would leave shared memory behind
        shutil.rmtree(folder)


def programs() -> Path | None:
    """Return the folder of the newest PostgreSQL's programs, or None when none is installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(Path("/").glob(INSTALLED), key=lambda folder: int(folder.parent.name))
    return folders[-1] if folders else None


def what_to_install() -> str:
    """Return the sentence for a machine without PostgreSQL."""
    return "PostgreSQL is not installed: `apt-get install postgresql` as root."


def postgresql(folder: Path) -> Server:
    """Return a PostgreSQL with new data in `folder`, that is yet to be started. Raises ServerError."""
    binaries = programs()
    if binaries is None:
        raise ServerError(what_to_install())
    port = free_port()
    data = folder / "data"
    become, user = _unprivileged()
    if user:
        shutil.chown(folder, user)
    make = [*become, str(binaries / "initdb"), "-D", str(data), "-U", OWNER, "-A", "trust", "-E", "UTF8", "--no-locale"]
    answer = subprocess.run(make, cwd=folder, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise ServerError(f"PostgreSQL: initdb failed. {answer.stderr}")

    def is_ready(_pid: int) -> None:
        # What it wrote: another server may answer on the port.
        status = (data / "postmaster.pid").read_text().splitlines()
        if status[-1].strip() != "ready":
            raise NotReadyError(f"it is {status[-1].strip()}")
        create = [str(binaries / "createdb"), "-h", HOST, "-p", str(port), "-U", OWNER, OWNER]
        subprocess.run(create, capture_output=True, check=True)

    options = {"port": port, "listen_addresses": HOST, "unix_socket_directories": ""}
    return Server(
        Program(
            name="PostgreSQL",
            url=f"postgresql://{OWNER}@{HOST}:{port}/{OWNER}",
            port=port,
            folder=folder,
            command=[
                *become, str(binaries / "postgres"), "-D", str(data),
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            is_ready=is_ready,
        )
    )  # fmt: skip


def _unprivileged() -> tuple[Sequence[str], str]:
    """Return what must stand before a command to run it as another user than root, and that user's name."""
    if os.geteuid():
        return (), ""
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = next(user for user in USERS if user in known)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ServerError("PostgreSQL refuses to run as root, and there is no setpriv, of util-linux, to leave it by.")
    # What the kernel was told to do when the parent ends is forgotten with the change of the user.
    return (
        setpriv,
        f"--reuid={user}",
        f"--regid={pwd.getpwnam(user).pw_gid}",
        "--clear-groups",
        "--pdeathsig=KILL",
    ), user
