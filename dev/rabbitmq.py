"""RabbitMQ for a developer's machine: found, installed, or started privately with its management plugin."""

import os
import shlex
import shutil
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import amqp
from amqp.exceptions import AccessRefused, AMQPError

from dev.apt import install
from dev.finding import Found, Unusable, find_or_start
from dev.server import HOST, NotReadyError, Program, Server, ServerError, free_port, is_free

VARIABLE = "CELERY_BROKER_URL"
PORT = 5672
MANAGEMENT_PORT = 15672
PATIENCE = 3  # seconds for one answer
CONSUMER_TIMEOUT = 12 * 3600 * 1000
"""Milliseconds that a message may stay unacknowledged; the broker closes the channel of one that runs longer."""

# Where packages of Linux put a wrapper that insists on root or on the user `rabbitmq`, and the script that it calls,
# which starts the broker as whoever calls it.
WRAPPERS = (Path("/usr/sbin"), Path("/usr/bin"))
INNER_SCRIPT = "/usr/lib/rabbitmq/bin/rabbitmq-server"
OFF_THE_PATH = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin", "/opt/homebrew/opt/rabbitmq/sbin")


def start_rabbitmq(
    folder: Path, *, port: int | None = None, management_port: int | None = None, lock: Path | None = None
) -> Server:
    """Start a private RabbitMQ with data and logs in `folder`, on `port` or a free one; it is ready on return.

    The management plugin listens on `management_port` or a free one (`server.program.ports["management"]`). User and
    password are guest. It has an epmd of its own, so that no two private brokers know of each other.
    Raises ServerError when RabbitMQ is not installed, or when it does not come up.
    """
    server = rabbitmq(folder, port=port, management_port=management_port, lock=lock)
    server.start()
    return server


def rabbitmq(
    folder: Path, *, port: int | None = None, management_port: int | None = None, lock: Path | None = None
) -> Server:
    """Return a private RabbitMQ that is yet to be started; see start_rabbitmq."""
    script = server_script()
    if script is None:
        raise ServerError(what_to_install())
    folder = folder.resolve()
    port = port or free_port()
    management = management_port or free_port()
    distribution, epmd = free_port(), free_port()
    # The data's folder is named after the node, so the name must outlive a change of ports, and tell brokers apart.
    node = f"scheduler-{zlib.crc32(os.fsencode(folder)):08x}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = {HOST}:{port}\n"
        f"management.tcp.ip = {HOST}\n"
        f"management.tcp.port = {management}\n"
        f"consumer_timeout = {CONSUMER_TIMEOUT}\n"
        f"cluster_name = {node}\n"
        "log.console = true\n"
        "log.console.level = warning\n"
        "log.file = false\n"
    )
    # One limit for all queues of a worker, which RabbitMQ 4.3 denies otherwise. In rabbitmq.conf 3.10 does not know it.
    (folder / "advanced.config").write_text("[{rabbit, [{permit_deprecated_features, #{global_qos => true}}]}].\n")
    (folder / "enabled_plugins").write_text("[rabbitmq_management].\n")

    def is_ready(_pid: int) -> None:
        with _connect(f"amqp://guest:guest@{HOST}:{port}//") as connection:
            name = connection.server_properties.get("cluster_name")
            if name != node:
                raise NotReadyError(f"another broker answers on port {port}: {name}")

    environment = {
        "HOME": str(folder),  # of the Erlang cookie
        "RABBITMQ_BASE": str(folder),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "node.pid"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
        "RABBITMQ_NODENAME": f"{node}@localhost",
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "ERL_EPMD_PORT": str(epmd),
        "ERL_EPMD_ADDRESS": HOST,
        # The script then becomes the broker, rather than stay beside it: signals and the parent's death reach it.
        "RUNNING_UNDER_SYSTEMD": "true",
    }
    return Server(
        Program(
            name="RabbitMQ",
            url=f"amqp://guest:guest@{HOST}:{port}//",
            port=port,
            folder=folder,
            command=[script],
            environment=environment,
            # In the foreground, and started before the broker would start one that outlives it.
            helper=shlex.join([_epmd(), "-port", str(epmd), "-address", HOST]),
            is_ready=is_ready,
            ready_within=90,
            stop_within=20,
            ports={"management": management, "distribution": distribution, "epmd": epmd},
        ),
        lock=lock,
    )


def _epmd() -> str:
    if found := shutil.which("epmd"):
        return found
    for pattern in (
        "/usr/lib/erlang/bin/epmd",
        "/usr/lib/erlang/erts-*/bin/epmd",
        "/opt/homebrew/opt/erlang/lib/erlang/bin/epmd",
    ):
        if paths := sorted(Path("/").glob(pattern.lstrip("/"))):
            return str(paths[-1])
    raise ServerError("RabbitMQ: Erlang's epmd is not on the PATH; install Erlang, or use `docker compose up`.")


def server_script() -> str | None:
    """Return the script that starts a broker as whoever calls it, or None when RabbitMQ is not installed.

    The first one on the PATH, so that another version can be put before the machine's.
    """
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), *OFF_THE_PATH])
    found = shutil.which("rabbitmq-server", path=search)
    if found is None:
        return None
    # A package's is a link to a wrapper of another name, beside a script of this one; a version manager's is a link to
    # a program that goes by the name it is called by, with nothing beside it.
    beside = Path(found).resolve().with_name("rabbitmq-server")
    script = beside if os.access(beside, os.X_OK) else Path(found).absolute()
    return INNER_SCRIPT if script.parent in WRAPPERS and os.access(INNER_SCRIPT, os.X_OK) else str(script)


def what_to_install() -> str:
    """Return the sentence for a machine without RabbitMQ."""
    install = "`brew install rabbitmq`" if sys.platform == "darwin" else "`apt-get install rabbitmq-server` as root"
    return f"RabbitMQ is not installed: {install}, or set CELERY_BROKER_URL; `docker compose up` needs none of it."


def install_rabbitmq() -> None:
    """Install RabbitMQ by apt, without letting the package start its own broker; raises ServerError with what to do."""
    install("RabbitMQ", "rabbitmq-server", what_to_install())
    if server_script() is None:
        raise ServerError(f"RabbitMQ: apt-get installed it, but there is no rabbitmq-server. {what_to_install()}")


def find_or_start_rabbitmq(
    folder: Path, environment: Mapping[str, str] = os.environ, *, lock: Path | None = None
) -> Found:
    """Return the RabbitMQ to use: CELERY_BROKER_URL's, the one on port 5672, or one to be started on `folder`.

    It is installed first when it must be started, is not there, and can be. Raises ServerError when
    CELERY_BROKER_URL's does not answer, or there is none to start.
    """

    def prepare(port: int) -> Server:
        if server_script() is None:
            install_rabbitmq()
        management = MANAGEMENT_PORT if is_free(MANAGEMENT_PORT) else free_port()
        return rabbitmq(folder, port=port if is_free(port) else free_port(), management_port=management, lock=lock)

    return find_or_start(
        name="RabbitMQ",
        variable=VARIABLE,
        port=PORT,
        default_url=f"amqp://guest:guest@{HOST}:{PORT}//",
        check=check,
        prepare=prepare,
        environment=environment,
    )


def check(url: str) -> str:
    """Return the address to use for the server at `url`; raises Unusable with the reason when it cannot be used."""
    try:
        with _connect(url) as connection, connection.channel() as channel:
            channel.queue_declare(exclusive=True)
    except AccessRefused as error:
        raise Unusable(f"it refuses the user {urlsplit(url).username or 'guest'}") from error
    except AMQPError as error:
        raise Unusable(f"it refuses: {error}") from error
    except OSError as error:
        raise Unusable(f"no RabbitMQ answers there within {PATIENCE} s") from error
    except ValueError as error:
        raise Unusable("the address is not one that RabbitMQ's client understands") from error
    return url


def _connect(url: str) -> Any:  # the stubs of py-amqp know neither its server's properties nor a channel's `with`
    """Return a connection to be opened by `with`; an amqps address is checked with the system's certificates."""
    parts = urlsplit(url)
    secure = parts.scheme == "amqps"
    path = parts.path.removeprefix("/")
    return amqp.Connection(
        host=f"{parts.hostname or HOST}:{parts.port or (5671 if secure else PORT)}",
        userid=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        virtual_host=unquote(path) or "/",
        connect_timeout=PATIENCE,
        read_timeout=PATIENCE,
        write_timeout=PATIENCE,
        ssl=secure,
    )
