"""Where a server comes from: an address in the environment, one that listens already, or one of our own."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from urllib.parse import urlsplit

from dev.server import HOST, Server, ServerError, free_port, is_free, listens


class Unusable(Exception):  # noqa: N818  not an error of ours: an answer about a server
    """The server cannot be used; the message is the reason, without address or password."""


@dataclass(frozen=True)
class Found:
    """A server to use. `server` is None unless it is ours to start and to stop."""

    name: str
    variable: str
    """The environment's name for the address."""
    url: str
    origin: str
    """A phrase for people: where it comes from."""
    server: Server | None = None
    remark: str = ""
    """A sentence about a server that was passed over, or nothing."""


def find_or_start(
    *,
    name: str,
    variable: str,
    port: int,
    default_url: str,
    check: Callable[[str], str],
    prepare: Callable[[int], Server],
    environment: Mapping[str, str],
) -> Found:
    """Choose in the order of the address in the environment, the default port, a server of our own (not yet started).

    With LOCAL_DIR, a system apart is wanted: what listens on the default port is somebody else's then.
    An address that was given and does not work is an error: to use another server silently would hide it.
    Raises ServerError.
    """
    if given := environment.get(variable, ""):
        try:
            return Found(name, variable, check(given), f"{variable} names it")
        except Unusable as reason:
            raise ServerError(
                f"{name}: the server that {variable} names ({_without_password(given)}) cannot be used: {reason}. "
                f"Correct {variable}, or unset it to get a private {name}."
            ) from None
    remark = ""
    if not environment.get("LOCAL_DIR") and listens(port):
        try:
            url = check(default_url)
        except Unusable as reason:
            remark = (
                f"{name}: what listens on port {port} cannot be used ({reason}), so a private one is started on "
                f"another port; set {variable} to use yours."
            )
        else:
            return Found(name, variable, url, f"it was listening on port {port}")
    server = prepare(port if not remark and is_free(port) else free_port())
    return Found(name, variable, server.url, f"started privately, data in {server.folder}", server, remark)


def _without_password(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or HOST, parts.port
    except ValueError:
        return "an address that is not a URL"
    return f"{host}:{port}" if port else host


def program_of(name: str, package: str) -> str | None:
    """Return the path of a server's program: on the PATH, or else in the `bin` that a Python package carries."""
    if on_path := shutil.which(name):
        return str(Path(on_path).absolute())  # it is started in another folder
    outer = package.partition(".")[0]
    found = util.find_spec(package) if util.find_spec(outer) else None
    for folder in (found.submodule_search_locations or []) if found else []:
        program = Path(folder) / "bin" / name
        if program.is_file():
            if not os.access(program, os.X_OK):  # some installers drop the run bit of files in wheels
                program.chmod(0o755)
            return str(program)
    return None
