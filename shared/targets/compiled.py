"""Contracts that are compiled in: the services of `shared/proto`, known also while a target is down."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

import shared.proto

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import ServiceDescriptor


@cache
def compiled_services() -> Mapping[str, ServiceDescriptor]:
    """Return the services of all generated modules, by full name."""
    found: dict[str, ServiceDescriptor] = {}
    for module in pkgutil.iter_modules(shared.proto.__path__):
        if module.name.endswith("_pb2"):
            file = importlib.import_module(f"{shared.proto.__name__}.{module.name}").DESCRIPTOR
            found.update({service.full_name: service for service in file.services_by_name.values()})
    return found
