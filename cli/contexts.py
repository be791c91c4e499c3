"""Contexts: names for servers, in a file of the user's own."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from scheduler_client.channel import DEFAULT_SERVER

SERVER_VARIABLE: Final = "SCHEDCTL_SERVER"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ADDRESS: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_LAST_PORT: Final = 65_535

NO_ADDRESS: Final = "is not an address; expected HOST:PORT without a scheme, as localhost:50054, the port at most 65535"


def is_name(text: str) -> bool:
    """Return whether a context can be called so: one word that no shell and no YAML reads as something else."""
    return _NAME.fullmatch(text) is not None


def is_address(text: str) -> bool:
    """Return whether it is HOST:PORT, as localhost:50054 or [::1]:50054; a scheme belongs to no address."""
    found = _ADDRESS.fullmatch(text)
    return found is not None and 1 <= int(found[1]) <= _LAST_PORT


class ConfigError(Exception):
    """The file cannot be used; the text says why."""


class NoSuchContextError(ConfigError):
    """It names no context of that name."""


@dataclass
class Config:
    """What the file holds: servers by name, and which of them is used when none is named."""

    servers: dict[str, str] = field(default_factory=dict)
    current: str = ""

    def server(self, *, server: str | None, context: str | None) -> str:
        """Return the address to use: the option's, the named context's, the variable's, the current context's.

        Raises ConfigError for a context that there is not.
        """
        if server:
            return server
        if context:
            return self._named(context)
        if given := os.environ.get(SERVER_VARIABLE):
            return given
        return self._named(self.current) if self.current else DEFAULT_SERVER

    def _named(self, context: str) -> str:
        try:
            return self.servers[context]
        except KeyError:
            known = ", ".join(sorted(self.servers)) or "none"
            raise NoSuchContextError(f"there is no context '{context}' in {path()}; there is: {known}") from None


def path() -> Path:
    """Return where the file is, by the XDG base directories."""
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(home).expanduser() / "schedctl" / "config.yaml"


def load() -> Config:
    """Read the file; without one there are no contexts. Raises ConfigError when it is none of ours."""
    file = path()
    if not file.exists():
        return Config()
    import yaml  # noqa: PLC0415 - most calls have no file to read

    try:
        found: Any = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        servers = {str(name): str(context["server"]) for name, context in found.get("contexts", {}).items()}
        return Config(servers, str(found.get("current") or ""))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        said = " ".join(str(error).split())
        form = "{current: NAME, contexts: {NAME: {server: HOST:PORT}}}"
        raise ConfigError(f"{file} can't be read: {said}; its form is {form}") from error


def save(config: Config) -> None:
    """Write the file, whole or not at all; only the user may read it."""
    import yaml  # noqa: PLC0415

    file = path()
    contexts = {name: {"server": server} for name, server in sorted(config.servers.items())}
    text = yaml.safe_dump({"current": config.current, "contexts": contexts}, sort_keys=False)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(file)
    except OSError as error:
        raise ConfigError(f"{file} can't be written: {error.strerror}") from error
