"""What both examples read from the environment, once, at start."""

from typing import Literal, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from examples.observations import Document

DATABASE = "scheduler"
"""Used when MONGODB_URL names no database."""


class SettingsError(Exception):
    """A setting is wrong; the message is one sentence without the value, which may hold a password."""


class Settings(BaseSettings):
    """Settings of both services; the field names in capitals are the environment's names."""

    # A variable that is set to nothing, as compose files do, means the default.
    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    bind_host: str = "127.0.0.1"
    mongodb_url: str = f"mongodb://127.0.0.1:27017/{DATABASE}"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "console", "json"] = "auto"


S = TypeVar("S", bound="Settings")


def read(kind: type[S]) -> S:
    """Return the settings in the environment; SettingsError names the first that is wrong."""
    try:
        return kind()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise SettingsError(f"{str(first['loc'][0]).upper()}: {first['msg']}") from None


def connect(settings: Settings) -> AsyncMongoClient[Document]:
    """Return a client that connects when it is first used; SettingsError when the address cannot be one."""
    try:
        # A caller is told UNAVAILABLE, and tries again, rather than waits: after 2 s when there is no server, and after
        # 20 s when one that took the question gives no answer, which also the longest analysis does not need.
        return AsyncMongoClient(
            settings.mongodb_url, serverSelectionTimeoutMS=2000, socketTimeoutMS=20_000, tz_aware=True
        )
    except (PyMongoError, ValueError):
        raise SettingsError("MONGODB_URL: expected mongodb://[user:password@]host[:port]/database") from None
