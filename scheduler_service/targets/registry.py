"""The list of targets: those of the configuration, `task`, and those that calls register."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatch
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from scheduler_service.targets.contracts import observe
from scheduler_service.targets.use import TargetUse
from scheduler_service.transport.refusals import Conflict, NoSuch
from scheduler_service.transport.requests import is_repeated, token
from shared.domain.clock import utc_text
from shared.domain.errors import FailedPrecondition, InvalidInput, Reason, ResourceExhausted, SchedulerError, Violation
from shared.domain.job import LONGEST_DESCRIPTION, TASK
from shared.domain.text import excerpt, unprintable
from shared.log import get_logger
from shared.store import targets as store
from shared.targets import Target
from shared.targets.reflection import DEADLINE
from shared.targets.registry import is_service_name, plain_address

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pymongo.asynchronous.database import AsyncDatabase

    from scheduler_service.targets.drift import Drift
    from shared.targets import Targets
    from shared.targets.registrations import Registrations

log = get_logger()

NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
LONGEST_ADDRESS: Final = 300
MOST_SERVICES: Final = 20
LONGEST_SERVICE: Final = 200
MOST_TRIES: Final = 10
"""How often a change reads the list again because somebody else changed it."""

_MOST_NAMED: Final = 5
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?")
_ENDS_IN_NUMBER: Final = re.compile(r"(.*\.)?(0x[0-9a-f]*|[0-9]+)\.?")
"""No top-level domain is a number (RFC 3696), and resolvers take `2852039166` and `0xa9.0xfe.43518` for addresses."""

_SCHEMES: Final = frozenset({"dns", "fd", "google-c2p", "ipv4", "ipv6", "unix", "unix-abstract", "vsock", "xds"})
"""Hosts of these names gRPC would take for schemes of addresses, of sockets in the file system among them."""


class Source(StrEnum):
    """Where a target is defined."""

    CONFIGURATION = "CONFIGURATION"
    REGISTERED = "REGISTERED"
    TASKS = "TASKS"


@dataclass(frozen=True, slots=True)
class Listed:
    """A target as its clients see it."""

    target: Target
    source: Source
    registration: store.Registration | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a call asks to register; nothing is checked."""

    name: str
    address: str
    services: tuple[str, ...]
    description: str
    etag: str


class TargetRegistry:
    """The list, as the store has it. All raise PyMongoError when it can't be reached."""

    def __init__(
        self,
        database: AsyncDatabase[dict[str, Any]],
        targets: Targets,
        registrations: Registrations,
        drift: Drift,
        hosts: Sequence[str],
    ) -> None:
        """Take which hosts may be registered, as patterns."""
        self._list = database[store.COLLECTION]
        self._contracts = database[store.CONTRACTS]
        self._use = TargetUse(database)
        self._targets = targets
        self._registrations = registrations
        self._drift = drift
        self._hosts = hosts

    # Reading:

    async def all(self) -> list[Listed]:
        """Return all targets by name."""
        registered = await self._registered()
        listed = {name: Listed(self._targets.target(name), Source.CONFIGURATION) for name in self._targets.configured}
        listed |= {
            name: Listed(Target(name, entry.address, entry.services), Source.REGISTERED, entry)
            for name, entry in registered.targets.items()
            if name not in listed
        }
        listed[TASK] = Listed(Target(TASK, ""), Source.TASKS)
        return [listed[name] for name in sorted(listed)]

    async def get(self, name: str) -> Listed:
        """Return one target. Raises InvalidInput for no name, NoSuch for one that there is not."""
        if not name:
            raise InvalidInput([Violation("name", "the name of a target is required")])
        found = next((listed for listed in await self.all() if listed.target.name == name), None)
        if found is None:
            raise NoSuch("target", name)
        if found.source is Source.REGISTERED:
            # Another server's doing, perhaps, of this very second.
            await asyncio.to_thread(self._registrations.look)
        return found

    async def contracts_read_at(self) -> dict[str, datetime]:
        """Return when the contracts of targets were last read, by name."""
        return {
            each["_id"]: each["read_at"] async for each in self._contracts.find(store.HAS_BEEN_READ, sort=[("_id", 1)])
        }

    async def jobs(self, name: str) -> int:
        """Return how many jobs use a target."""
        return await self._use.count(name)

    # Changing:

    async def register(self, wanted: Wanted, by: str, *, validate_only: bool = False) -> tuple[Listed, list[str]]:
        """Add a target or change a registered one; return it, with sentences on what may surprise.

        One that is as it is wanted stays as it is, with its etag; so does one that others have changed since the call
        in progress has registered it. Raises InvalidInput with all violations, FailedPrecondition for a reserved name,
        Conflict when the etag is another one, ResourceExhausted.
        """
        address = self._check(wanted)
        self._refuse_reserved(wanted.name)
        target = Target(wanted.name, address, tuple(dict.fromkeys(wanted.services)))
        warnings = asyncio.create_task(_warnings(target))
        try:
            registration = await self._put(target, wanted, by, validate_only=validate_only)
            if registration is not None:
                target = Target(target.name, registration.address, registration.services)
            return Listed(target, Source.REGISTERED, registration), await warnings
        finally:
            warnings.cancel()

    async def unregister(self, name: str, etag: str, by: str, *, validate_only: bool = False) -> None:
        """Remove a registered target. Raises InvalidInput, FailedPrecondition while jobs use it, NoSuch, Conflict."""
        if not name:
            raise InvalidInput([Violation("name", "the name of a target is required")])
        self._refuse_reserved(name)
        for _ in range(MOST_TRIES):
            registered = await self._registered()
            if token() in registered.requests:
                return
            if (known := registered.targets.get(name)) is None:
                if is_repeated():  # its token may have gone with the last that are kept
                    return
                raise NoSuch("target", name)
            _refuse_changed(known, etag)
            await self._refuse_used(name)
            if validate_only:
                return
            removal = store.remove(name, token())
            if (await self._list.update_one(store.at_version(registered.version), removal)).matched_count:
                log.info("a target was unregistered", action="target_unregistered", target=name, by=by)
                await asyncio.to_thread(self._registrations.look)
                return
        raise _contended()

    async def _put(self, target: Target, wanted: Wanted, by: str, *, validate_only: bool) -> store.Registration | None:
        for _ in range(MOST_TRIES):
            registered = await self._registered()
            known = registered.targets.get(target.name)
            if token() in registered.requests:
                return known
            as_read = store.at_version(registered.version)
            if known is not None and _same(known, target, wanted.description):
                # Whatever its etag: nothing of anybody's is overwritten.
                confirms = store.stay(registered.version)
                if validate_only or (await self._list.update_one(as_read, confirms)).matched_count:
                    return known
                continue
            if known is not None:
                _refuse_changed(known, wanted.etag)
            else:
                _refuse_new(registered, wanted)
            if validate_only:
                return None
            if registered.version == "":
                await self._make_list()
            after = await self._list.find_one_and_update(
                as_read,
                store.put(target.name, target.address, target.services, wanted.description, by, token()),
                return_document=ReturnDocument.AFTER,
            )
            if after is not None:
                log.info(
                    "a target was registered",
                    action="target_registered",
                    target=target.name,
                    address=target.address,
                    by=by,
                    before=known.address if known else None,
                )
                if known is not None and (known.address, known.services) != (target.address, target.services):
                    await self._drift.forget(target.name)
                await asyncio.to_thread(self._registrations.look)
                return store.to_registered(after).targets[target.name]
        raise _contended()

    async def _registered(self) -> store.Registered:
        return store.to_registered(await self._list.find_one(store.list_filter()))

    async def _make_list(self) -> None:
        try:
            await self._list.update_one(store.list_filter(), store.new_list(), upsert=True)
        except DuplicateKeyError:  # another server makes it, too
            return

    def _check(self, wanted: Wanted) -> str:
        """Return the address as gRPC takes it; raise InvalidInput with all that is wrong."""
        found: list[Violation] = []
        if not NAME.fullmatch(wanted.name):
            said = f"'{excerpt(wanted.name)}' is not a name (a-z, 0-9 and dashes, at most 63, no dash at the beginning)"
            found.append(Violation("name", said if wanted.name else "the name of a target is required"))
        address = ""
        try:
            address = registered_address(wanted.address, self._hosts)
        except ValueError as refused:
            found.append(Violation("address", str(refused)))
        if len(wanted.services) > MOST_SERVICES:
            said = f"{len(wanted.services):,} services are too many (at most {MOST_SERVICES})"
            found.append(Violation("services", said))
        else:
            found += [
                Violation(f"services[{index}]", f"'{excerpt(service)}' is not a service's name, as shop.v1.ShopService")
                for index, service in enumerate(wanted.services)
                if len(service) > LONGEST_SERVICE or not is_service_name(service)
            ]
        if len(wanted.description) > LONGEST_DESCRIPTION:
            said = f"{len(wanted.description):,} characters are too many (at most {LONGEST_DESCRIPTION:,})"
            found.append(Violation("description", said))
        elif said := unprintable(wanted.description, lines=True):
            found.append(Violation("description", said))
        if found:
            raise InvalidInput(found)
        return address

    def _refuse_reserved(self, name: str) -> None:
        if name == TASK:
            said = f"the name '{TASK}' is reserved: jobs that run tasks in Python have it"
            raise FailedPrecondition(said, reason=Reason.TARGET_CONFIGURED)
        if name in self._targets.configured:
            raise FailedPrecondition(
                f"the target '{name}' stands in config/targets.yaml and can't be changed here; change the file, and"
                " restart the server and the workers",
                reason=Reason.TARGET_CONFIGURED,
            )

    async def _refuse_used(self, name: str) -> None:
        if some := await self._use.some(name, _MOST_NAMED):
            count = await self._use.count(name)
            more = f", and {count - len(some):,} more" if count > len(some) else ""
            raise FailedPrecondition(
                f"the target '{name}' is used by {count:,} job{'s' if count > 1 else ''} ({', '.join(some)}{more});"
                " delete them, or let them call another target, before it is unregistered",
                reason=Reason.TARGET_IN_USE,
                facts={"jobs": str(count)},
            )


def registered_address(given: str, hosts: Sequence[str]) -> str:
    """Return an address as gRPC takes it: host:port. Raises ValueError with a sentence.

    hosts: patterns, of which the host must fit one. Workers connect to what is registered, so nothing of the hosts
    they run on may be named: neither sockets in the file system, nor addresses of the local link, where clouds tell
    machines their secrets. Names are judged as they are, not by what they resolve to.
    """
    if not given.strip():
        raise ValueError("an address is required, as shop.example:50051")
    if len(given) > LONGEST_ADDRESS:
        raise ValueError(f"{len(given):,} characters are too many for an address (at most {LONGEST_ADDRESS})")
    if said := unprintable(given):
        raise ValueError(said)
    address = plain_address(given.strip())
    if address.startswith(("unix:", "unix-abstract:")):
        raise ValueError("a socket in the file system can't be registered; give host:port, as shop.example:50051")
    host = urlsplit(f"//{address}").hostname or ""
    try:
        ip = ip_address(host)
        ip = getattr(ip, "ipv4_mapped", None) or ip
    except ValueError:
        ip = None
        if not _HOST.fullmatch(host) or "[" in address or host in _SCHEMES or _ENDS_IN_NUMBER.fullmatch(host):
            raise ValueError(f"{excerpt(host)!r} is not a host (as shop.example, 10.0.0.7 or [2001:db8::7])") from None
    if ip is not None and (ip.is_link_local or ip.is_multicast or ip.is_unspecified):
        raise ValueError(f"{host} is not the address of a service: it is {_kind_of(ip)}")
    if not any(fnmatch(host, pattern.lower()) for pattern in hosts):
        raise ValueError(
            f"the host {excerpt(host)!r} is not one that may be registered (TARGET_HOSTS: {', '.join(hosts)})"
        )
    return address


def _kind_of(ip: Any) -> str:
    return "of the local link" if ip.is_link_local else "for multicast" if ip.is_multicast else "unspecified"


async def _warnings(target: Target) -> list[str]:
    """Return what may surprise: that the target does not answer, or is another one for each worker."""
    found = []
    host = urlsplit(f"//{target.address}").hostname or ""
    if host == "localhost" or host.startswith("127.") or host == "::1":
        found.append(f"address: {host} is another host for each worker and server; name one that all of them reach")
    contract = (await observe([target], DEADLINE))[target.name]
    if isinstance(contract, InvalidInput):
        found += [f"services: {wrong.description}" for wrong in contract.violations]
    elif isinstance(contract, SchedulerError):
        found.append(f"its contract is not known yet, so no job can be made for it: {contract}")
    return found


def _same(known: store.Registration, target: Target, description: str) -> bool:
    return (known.address, known.services, known.description) == (target.address, target.services, description)


def _refuse_changed(known: store.Registration, etag: str) -> None:
    if etag and etag != known.etag:
        when = utc_text(known.updated_at)
        raise Conflict(
            f"the target '{known.name}' was changed by {known.updated_by} at {when}, and has the etag '{known.etag}'"
            " now; read it again",
            reason=Reason.ETAG_MISMATCH,
            facts={"etag": known.etag, "updated_by": known.updated_by, "updated_at": when},
        )


def _refuse_new(registered: store.Registered, wanted: Wanted) -> None:
    if wanted.etag:
        said = f"the target '{wanted.name}' has been unregistered since it had the etag that is given"
        raise Conflict(said, reason=Reason.ETAG_MISMATCH)
    if len(registered.targets) >= store.MOST_TARGETS:
        raise ResourceExhausted(f"{store.MOST_TARGETS:,} targets are registered, and there is no room for more")


def _contended() -> Conflict:
    return Conflict("the list of targets is being changed by others again and again; try again")
