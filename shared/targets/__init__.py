"""The services that jobs may call: where they are, which methods they have, and what a method's request looks like."""

from shared.targets.contract import Contract, Method
from shared.targets.registry import RegistryError, Target
from shared.targets.targets import Targets, load_targets

__all__ = ["Contract", "Method", "RegistryError", "Target", "Targets", "load_targets"]
