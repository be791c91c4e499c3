"""What surrounds the code holds together: image, compose file, CI, licence, versions."""

from __future__ import annotations

import ast
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from cli.__main__ import main
from examples.scraper_service.__main__ import ScraperSettings
from shared.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "monotonic_ns"}
STORES = {name: service for name, service in SERVICES.items() if "build" not in service}


def expanded(text: object) -> str:
    """Replace `${NAME:-default}` by the default, as compose does when the variable is not set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(text))


def environment(service: dict[str, Any]) -> dict[str, str]:
    return {name: expanded(value) for name, value in service["environment"].items() if value is not None}


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


# The code:


def test_what_decides_and_what_writes_reads_no_clock_of_its_own() -> None:
    """Instants come as arguments or are the database's, so that no host's clock can put anything at a wrong time."""
    paths = [path for name in ("domain", "store") for path in (ROOT / "shared" / name).glob("*.py")]
    assert paths
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called.rpartition(".")[2] not in CLOCKS, f"{called} in {path.name}, line {node.lineno}"


# The compose file:


def test_the_compose_file_has_the_whole_system() -> None:
    assert set(OURS) == {
        "scheduler-service", "celery-worker", "celery-worker-cpu", "celery-beat", "flower", "scraper-service",
        "pricing-service",
    }  # fmt: skip
    assert set(STORES) == {"mongodb", "rabbitmq", "redis"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_watched_restarted_and_pinned(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"]
    assert service["restart"] == "unless-stopped"
    assert re.search(r":\d+\.\d+\.\d+(-\w+)?$", expanded(service["image"]))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_until_what_it_needs_is_healthy(name: str) -> None:
    needed = SERVICES[name].get("depends_on", {})
    assert all(condition == {"condition": "service_healthy"} for condition in needed.values())
    assert set(needed) <= set(STORES)
    if name in OURS:
        assert needed


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_to_this_host_only(name: str) -> None:
    assert all(str(port).startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_every_queue_is_consumed_by_one_kind_of_worker() -> None:
    configured = set(yaml.safe_load((ROOT / "config" / "queues.yaml").read_text())["queues"])
    (others,) = option(OURS["celery-worker"], "--exclude-queues")
    assert option(OURS["celery-worker-cpu"], "--queues") == [others]
    assert others in configured


def option(service: dict[str, Any], name: str) -> list[str]:
    return [word.partition("=")[2] for word in service["command"] if word.startswith(f"{name}=")]


@pytest.mark.parametrize("name", ["celery-worker", "celery-worker-cpu", "celery-beat"])
def test_workers_and_beats_can_be_scaled(name: str) -> None:
    assert not {"container_name", "hostname", "ports"} & set(SERVICES[name])


@pytest.mark.parametrize("name", OURS)
def test_our_services_are_given_settings_that_exist_and_are_right(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = environment(OURS[name])
    assert set(given) <= {field.upper() for kind in (Settings, ScraperSettings) for field in kind.model_fields}
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    settings = Settings()
    assert settings.bind_host == "0.0.0.0"
    assert settings.log_format == "json"


@pytest.mark.parametrize(
    ("variable", "store"),
    [("MONGODB_URL", "mongodb"), ("CELERY_BROKER_URL", "rabbitmq"), ("CELERY_RESULT_BACKEND", "redis")],
)
def test_our_services_find_the_stores_with_the_passwords_that_these_have(variable: str, store: str) -> None:
    url = urlsplit(environment(OURS["celery-worker"])[variable])
    assert url.hostname == store
    assert url.password in environment(STORES[store]).values()
    assert not url.username or url.username in environment(STORES[store]).values()


def test_the_broker_waits_for_an_acknowledgement_as_long_as_the_settings_say() -> None:
    config = COMPOSE["configs"]["rabbitmq"]["content"]
    default = Settings.model_fields["consumer_timeout"].default
    assert re.search(r"^consumer_timeout = (\d+)$", config, re.MULTILINE)[1] == str(default * 1000)  # type: ignore[index]


def test_the_broker_may_count_what_a_worker_holds_over_all_of_its_queues() -> None:
    config = COMPOSE["configs"]["rabbitmq"]["content"]
    assert "deprecated_features.permit.global_qos = true" in config.splitlines()


@pytest.mark.parametrize("name", ["scheduler-service", "celery-worker", "celery-worker-cpu"])
def test_a_container_is_not_killed_before_its_grace_is_over(name: str) -> None:
    assert seconds(OURS[name]["stop_grace_period"]) > Settings.model_fields["shutdown_grace"].default


def test_the_python_in_health_checks_compiles() -> None:
    checks = [service["healthcheck"]["test"] for service in OURS.values()]
    programs = [check[check.index("-c") + 1] for check in checks if "-c" in check]
    assert len(programs) == 5
    for program in programs:
        compile(program, "healthcheck", "exec")


@pytest.mark.parametrize("name", STORES)
def test_a_store_keeps_its_data_in_a_named_volume(name: str) -> None:
    volumes = [mount.partition(":")[0] for mount in STORES[name]["volumes"]]
    assert volumes
    assert set(volumes) <= set(COMPOSE["volumes"])


# The image:


def test_the_image_has_what_its_commands_need_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines
    assert all((ROOT / name).exists() for name in let_in)
    started = {
        module.partition(".")[0]
        for service in OURS.values()
        for before, module in zip(service["command"], service["command"][1:], strict=False)
        if before in {"-m", "-A"}
    }
    assert let_in == {"requirements.txt", "cli", "config", "scheduler_client", "shared", *started}


def test_the_image_is_pinned_slim_and_runs_as_nobody_special() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.1\d\.\d+-slim-bookworm$", dockerfile, re.MULTILINE)
    assert re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE) == ["${PYTHON_IMAGE}"] * 2
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", dockerfile, re.MULTILINE)
    assert "apt-get" not in dockerfile


# The rest:


def test_the_command_that_the_package_installs_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (command,) = project["scripts"].items()
    assert command == ("schedctl", "cli.__main__:main")
    assert callable(main)


def test_what_pip_installs_has_schedctl_and_the_client(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for package in ("beat", "cli", "importers", "scheduler_client", "scheduler_service", "shared", "worker"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True, text=True)
    with zipfile.ZipFile(tmp_path / done.stdout.splitlines()[-1]) as wheel:
        names = set(wheel.namelist())
        (entry_points,) = [name for name in names if name.endswith("entry_points.txt")]
        assert "schedctl = cli.__main__:main" in wheel.read(entry_points).decode()
    assert {"cli/__main__.py", "scheduler_client/calls/jobs.py", "shared/proto/scheduler_service_pb2.py"} <= names


def test_the_licence_is_the_one_that_the_package_names() -> None:
    text = (ROOT / "LICENSE").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_changelog_image_and_package_have_one_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert version in (ROOT / "CHANGELOG.md").read_text()
    assert {expanded(service["image"]) for service in OURS.values()} == {f"grpc-scheduler:{version}"}


def test_ci_is_a_program_that_runs_the_linters_and_all_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text()
    assert "set -euo pipefail" in text
    assert re.search(r"^make lint$", text, re.MULTILINE)
    assert re.search(r"^make test$", text, re.MULTILINE)


def test_ci_and_the_readme_name_the_same_grpcurl() -> None:
    version = re.search(r"^GRPCURL=(v[\d.]+)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert version
    assert f"grpcurl@{version[1]}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    "pattern", ["README.md", "CONTRIBUTING.md", "docs/*", "docker-compose.yml", "Dockerfile", ".ci/*", "config/*"]
)
def test_no_file_for_people_names_a_path_of_the_machine_it_was_written_on(pattern: str) -> None:
    files = [
        path
        for path in ROOT.rglob("*")
        if path.is_file()
        and ".venv" not in path.parts
        and ".local" not in path.parts
        and fnmatch.fnmatch(str(path.relative_to(ROOT)), pattern)
    ]
    assert files
    for path in files:
        assert not re.search(r"(/home/|/root/|/work/)", path.read_text()), path
