"""The registry of targets: `config/targets.yaml`, parsed once and checked whole."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import yaml

from shared.domain.errors import SchedulerError
from shared.domain.job import TASK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.IGNORECASE)
_SERVICE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_VARIABLE: Final = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(:-(?P<default>[^}]*))?\}")
_KEYS: Final = ("address", "services")

_PLAIN_SCHEMES: Final = ("grpc://", "http://", "tcp://", "dns:///", "dns:")
_TLS_SCHEMES: Final = ("grpcs://", "https://")
_LOCAL_SCHEMES: Final = ("unix:", "unix-abstract:")
_HIGHEST_PORT: Final = 65535


class RegistryError(SchedulerError):
    """The registry can't be used as it is written. The message has a sentence for everything wrong with it."""

    def __init__(self, file: Path, problems: list[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        super().__init__("; ".join(f"{file}: {problem}" for problem in problems))


@dataclass(frozen=True, slots=True)
class Target:
    """A service that jobs may call. address is what gRPC connects to: host:port, or unix:path.

    services are the fully-qualified names of those it offers to jobs; none means all that its reflection lists.
    """

    name: str
    address: str
    services: tuple[str, ...] = ()


def read_registry(file: Path, variables: Mapping[str, str]) -> dict[str, Target]:
    """Return the targets by name, with `${NAME}` and `${NAME:-default}` replaced from the variables.

    An empty variable counts as one that is not set. Raises RegistryError with all that is wrong.
    """
    problems: list[str] = []
    try:
        with file.open(encoding="utf-8") as stream:
            document = yaml.load(stream, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise RegistryError(file, [f"it can't be read: {error}"]) from error
    except yaml.YAMLError as error:
        raise RegistryError(file, [f"it is not YAML: {' '.join(str(error).split())}"]) from error

    if not isinstance(document, dict) or not isinstance(document.get("targets"), dict) or not document["targets"]:
        raise RegistryError(file, ["targets: expected an object with at least one target, name to address"])
    problems += [f"{key}: no such entry (known: targets)" for key in document if key != "targets"]
    targets = {}
    for name, entry in document["targets"].items():
        targets[name] = _target(name, entry, variables, problems)
    if problems:
        raise RegistryError(file, problems)
    return targets


def _target(name: object, entry: object, variables: Mapping[str, str], problems: list[str]) -> Target:
    def refusal(key: str) -> Callable[[str], None]:
        return lambda problem: problems.append(f"targets.{name}{key}: {problem}")

    if not isinstance(name, str) or not _NAME.fullmatch(name):
        refusal("")("a name is text of letters, digits, dots and dashes, at most 63, in quotes if it is a number")
    elif name == TASK:
        refusal("")(f"the name '{TASK}' is reserved: jobs that run tasks in Python have it as their target_service")
    if not isinstance(entry, dict):
        refusal("")("expected an object with an address, and services where there is need")
        return Target(str(name), "")
    for key in sorted(map(str, entry.keys() - set(_KEYS))):
        refusal(f".{key}")(f"no such entry (known: {', '.join(_KEYS)})")
    address = _address(entry.get("address"), variables, refusal(".address"))
    return Target(str(name), address, _services(entry.get("services"), refusal(".services")))


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _value in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
            if isinstance(key.value, str):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def is_service_name(text: str) -> bool:
    """Return whether a text is the fully-qualified name of a service."""
    return bool(_SERVICE.fullmatch(text))


def _services(given: object, refuse: Callable[[str], None]) -> tuple[str, ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or not given:
        refuse("expected a list of fully-qualified service names, as [shop.v1.ShopService]")
        return ()
    for service in given:
        if not isinstance(service, str) or not is_service_name(service):
            refuse(f"{service!r} is not the name of a service (as shop.v1.ShopService)")
    return tuple(dict.fromkeys(str(service) for service in given))


def _address(given: object, variables: Mapping[str, str], refuse: Callable[[str], None]) -> str:
    if not isinstance(given, str) or not given.strip():
        refuse("an address is required, as shop.example:50051 or ${SHOP_URL}")
        return ""
    complete = True

    def value(match: re.Match[str]) -> str:
        nonlocal complete
        found = variables.get(match["name"]) or match["default"]
        if not found:
            complete = False
            refuse(f"{match['name']} is not set in the environment; set it, or write ${{{match['name']}:-host:port}}")
        return found or ""

    text = _VARIABLE.sub(value, given.strip()).strip()
    if not complete:
        return ""
    try:
        return plain_address(text)
    except ValueError as error:
        refuse(str(error))
        return ""


def plain_address(text: str) -> str:
    """Return an address as gRPC takes it: host:port without the scheme that people write in front, or unix:path.

    Raises ValueError with a sentence. One with a user in it is not repeated there: it may hold a password.
    """
    if text.startswith(_LOCAL_SCHEMES):
        return text
    shown = "the address" if "@" in text else repr(text)
    if text.startswith(_TLS_SCHEMES):
        raise ValueError(f"{shown} asks for TLS, which is not supported; write host:port of a plain-text port")
    rest = text
    for scheme in _PLAIN_SCHEMES:
        if text.startswith(scheme):
            rest = text.removeprefix(scheme)
            break
    rest = rest.removesuffix("/")
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port or parts.netloc != rest or "@" in rest or any(letter.isspace() for letter in rest):
        raise ValueError(f"{shown} is not host:port (as shop.example:50051; port 1-{_HIGHEST_PORT})")
    return rest
