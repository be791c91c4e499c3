"""Contracts that are compiled in: the services of `shared/proto`, known also while a target is down."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from google.protobuf import descriptor_pool

import shared.proto
from shared.targets.contract import Contract

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import ServiceDescriptor

    from shared.targets.registry import Target


@lru_cache(maxsize=256)
def compiled_contract(target: Target) -> Contract | None:
    """Return a target's contract as it is compiled in; None unless that has all services which the registry names."""
    compiled = compiled_services()
    if not target.services or not compiled.keys() >= set(target.services):
        return None
    return Contract(target.name, [compiled[name] for name in target.services], descriptor_pool.Default())


@cache
def compiled_services() -> Mapping[str, ServiceDescriptor]:
    """Return the services of all generated modules, by full name."""
    found: dict[str, ServiceDescriptor] = {}
    for module in pkgutil.iter_modules(shared.proto.__path__):
        if module.name.endswith("_pb2"):
            file = importlib.import_module(f"{shared.proto.__name__}.{module.name}").DESCRIPTOR
            found.update({service.full_name: service for service in file.services_by_name.values()})
    return found
