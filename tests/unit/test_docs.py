"""The documentation says what the code does: its tables, commands and links are held to their sources."""

from __future__ import annotations

import ast
import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import grpc
import pytest
from google.protobuf import json_format, message_factory
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics import MetricWrapperBase

from dev.run import system
from examples.pricing_service.__main__ import PricingSettings
from examples.scraper_service.__main__ import ScraperSettings
from shared import metrics
from shared.domain.errors import InvalidInput, Reason
from shared.domain.execution import DECISIONS_NOT_TO_RUN, SUCCESSORS
from shared.domain.explanation import Kind, Verdict
from shared.domain.occurrences import upcoming
from shared.domain.schedule import parse_schedule
from shared.expressions import kind_of, parse_template, roots
from shared.expressions.expression import DEEPEST, MOST_CHARACTERS, MOST_STEPS
from shared.expressions.template import LARGEST_RENDERED
from shared.proto import (
    admin_service_pb2,
    maintenance_service_pb2,
    planning_service_pb2,
    pricing_service_pb2,
    scheduler_service_pb2,
    scraper_service_pb2,
    statistics_service_pb2,
    target_service_pb2,
)
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = sorted(
    [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
)
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
PACKAGES = ("beat", "examples", "scheduler_service", "shared", "worker")


# Reading Markdown:


def table(page: Path, first_heading: str) -> list[list[str]]:
    """Return the rows of the page's one table whose first column has this heading."""
    rows = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        for line in page.read_text().splitlines()
        if line.startswith("|")
    ]
    starts = [number for number, row in enumerate(rows) if row[0] == first_heading]
    assert len(starts) == 1, f"{page.name} has {len(starts)} tables that begin with {first_heading!r}"
    body: list[list[str]] = []
    for row in rows[starts[0] + 2 :]:
        if set(row[0]) <= set("-: ") and row[0]:
            body.pop()  # the heading of the next table
            break
        body.append(row)
    return body


def code(cell: str) -> list[str]:
    """Return the texts in backticks."""
    return re.findall(r"`([^`]*)`", cell)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """Return the page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


# Configuration:


def shown_default(name: str) -> str:
    default = Settings.model_fields[name].default
    if isinstance(default, Path):
        default = default.relative_to(ROOT)
    if isinstance(default, frozenset | tuple):
        default = ",".join(sorted(default))
    if isinstance(default, bool):
        default = str(default).lower()
    return f"`{default}`" if default != "" else ""


def test_the_readme_lists_every_setting_with_its_default_and_meaning() -> None:
    settings = [
        [f"`{name.upper()}`", shown_default(name), field.description or ""]
        for name, field in Settings.model_fields.items()
    ]
    assert table(README, "setting") == settings


def test_the_readme_lists_every_other_variable_that_the_examples_and_make_run_read() -> None:
    documented = {name for row in table(README, "variable") for name in code(row[0])}
    examples = {name.upper() for kind in (PricingSettings, ScraperSettings) for name in kind.model_fields} - {
        name.upper() for name in Settings.model_fields
    }
    assert documented >= examples

    class Asked(dict[str, str]):
        def get(self, key: str, default: Any = None) -> Any:
            names.add(key)
            return super().get(key, default)

    names: set[str] = set()
    system(Settings(), Asked())
    assert documented >= names - {name.upper() for name in Settings.model_fields}

    sources = "".join(path.read_text() for folder in ("dev", "examples") for path in (ROOT / folder).rglob("*.py"))
    unread = {name for name in documented - examples if name.replace("<ID>", "") not in sources}
    assert unread <= {"SCRAPER_COMPETITOR_<ID>_URL"}


# Errors:


def test_the_errors_page_lists_every_reason_in_the_order_of_the_code() -> None:
    rows = table(DOCS / "errors.md", "reason")
    assert [code(row[0]) for row in rows] == [[reason.value] for reason in Reason]
    assert all(row[1] in grpc.StatusCode.__members__ and row[2].endswith((".", ";")) for row in rows)


def test_every_reason_is_given_somewhere() -> None:
    sources = "".join(path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    assert [reason for reason in Reason if f"Reason.{reason.name}" not in sources] == []


# Metrics:


def metrics_in_code() -> dict[str, MetricWrapperBase]:
    return {
        family.name + ("_total" if isinstance(metric, Counter) else ""): metric
        for metric in vars(metrics).values()
        if isinstance(metric, MetricWrapperBase)
        for family in metric.collect()
    }


def test_the_metrics_page_lists_every_metric_as_it_is_exposed() -> None:
    in_code = [
        [
            f"`{name}`",
            type(metric).__name__.lower(),
            ", ".join(f"`{label}`" for label in metric._labelnames),
            metric._documentation,
        ]
        for name, metric in metrics_in_code().items()
    ]
    assert sorted(table(DOCS / "metrics.md", "metric")) == sorted(in_code)


def test_counters_are_exposed_with_the_suffix_that_the_page_gives_them() -> None:
    registry = CollectorRegistry()
    Counter("some_requests", "-", registry=registry).inc()
    assert registry.get_sample_value("some_requests_total") == 1


# Log events:


def actions_in_code() -> dict[str, set[str]]:
    """Return every value of `action=` in calls of a logger, with the packages that log it."""
    found: dict[str, set[str]] = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    for keyword in node.keywords:
                        if keyword.arg == "action":
                            for action in actions(keyword.value, f"{path}:{node.lineno}"):
                                found.setdefault(action, set()).add(package)
    return found


def actions(value: ast.expr, where: str) -> Iterator[str]:
    match value:
        case ast.Constant(value=str(name)):
            yield name
        case ast.IfExp(body=body, orelse=orelse):
            yield from actions(body, where)
            yield from actions(orelse, where)
        case ast.JoinedStr(values=[ast.Constant(value=str(prefix)), ast.FormattedValue()]):
            # occurrences_<state>: what beat decided not to run
            yield from (f"{prefix}{state.value.lower()}" for state in DECISIONS_NOT_TO_RUN)
        case _:
            pytest.fail(f"{where}: an action has to be a fixed name")


def test_the_log_page_lists_every_action_and_who_logs_it() -> None:
    rows = table(DOCS / "log-events.md", "action")
    documented = {code(row[0])[0]: set(code(row[1])) for row in rows}
    assert len(documented) == len(rows), "an action is there twice"
    assert documented == actions_in_code()
    assert all(row[2] for row in rows)


# States:


def test_the_state_page_has_the_states_and_what_may_follow_them() -> None:
    documented = {code(row[0])[0]: set(code(row[2])) for row in table(DOCS / "state-machine.md", "state")}
    assert documented == {state.value: {after.value for after in follow} for state, follow in SUCCESSORS.items()}


def test_the_picture_of_the_states_has_the_same_arrows() -> None:
    picture = blocks(DOCS / "state-machine.md", "mermaid")[0]
    arrows = {(before, after) for before, after in re.findall(r"^\s*(\w+) --> (\w+)", picture, re.MULTILINE)}
    assert arrows == {(before.value, after.value) for before, follow in SUCCESSORS.items() for after in follow}


# Schedules:


def test_every_schedule_in_the_page_is_one() -> None:
    rows = table(DOCS / "schedules.md", "config")
    assert rows
    for row in rows:
        kind, config = code(row[1])[0], json.loads(code(row[0])[0])
        parse_schedule(type=kind, config=config, timezone="Europe/Berlin", now=NEW_YEAR, hash_key="some-job")


def fires_in_new_york(expression: str, month: int, day: int) -> list[str]:
    """Return the times (UTC) at which a cron expression fires on a day of New York's wall clock."""
    zone = ZoneInfo("America/New_York")
    schedule = parse_schedule(
        type="cron", config={"expression": expression}, timezone=zone.key, now=NEW_YEAR, hash_key=""
    )
    midnight = datetime(2026, month, day, tzinfo=zone)
    just_before = (midnight - timedelta(microseconds=1)).astimezone(UTC)
    fires = upcoming(schedule, just_before, 60)
    return [f"{at.astimezone(UTC):%H:%M}" for at in fires if at.astimezone(zone).date() == midnight.date()]


def test_the_examples_of_changing_clocks_are_right() -> None:
    text = (DOCS / "schedules.md").read_text()
    assert "`30 2 * * *` (fixed) fires on 8 March at 03:00 local time (07:00 UTC)" in text
    assert fires_in_new_york("30 2 * * *", 3, 8) == ["07:00"]
    assert "`30 1 * * *` (fixed) fires on 1 November once, in the first pass: 05:30 UTC" in text
    assert fires_in_new_york("30 1 * * *", 11, 1) == ["05:30"]
    assert "`*/30 * * * *` (interval-like) fires every half hour of elapsed time throughout both nights" in text
    assert len(fires_in_new_york("*/30 * * * *", 3, 8)) == 46
    assert len(fires_in_new_york("*/30 * * * *", 11, 1)) == 50


# Expressions:


EXPRESSIONS = DOCS / "expressions.md"


def written(cell: str) -> str:
    """Return the text of a cell that is code, also of one that has backticks in it."""
    return cell[3:-3] if cell.startswith("`` ") else cell.strip("`")


def examples(*headings: str) -> list[list[str]]:
    """Return the rows of all tables of the page on expressions with these headings."""
    lines = EXPRESSIONS.read_text().splitlines()
    starts = [number for number, line in enumerate(lines) if line == f"| {' | '.join(headings)} |"]
    return [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
        for start in starts
        for line in takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    ]


def test_every_expression_in_the_page_becomes_what_it_says() -> None:
    context = json.loads(blocks(EXPRESSIONS, "json")[0])
    rows = examples("written", "becomes")
    assert len(rows) == 20
    for template, value in rows:
        assert parse_template(written(template)).render(context) == json.loads(written(value)), template


@pytest.mark.filterwarnings("ignore:deprecated string literal:PendingDeprecationWarning")
def test_every_refused_expression_in_the_page_is_refused_for_that_reason() -> None:
    context = json.loads(blocks(EXPRESSIONS, "json")[0])
    steps = {name: kind_of(step) for name, step in context.pop("steps").items()}
    schema = roots({name: kind_of(value) for name, value in context.items()}, steps)
    rows = examples("refused", "because")
    assert len(rows) == 12
    for template, reason in rows:
        with pytest.raises(InvalidInput) as refused:
            parse_template(written(template)).check(schema)
        assert reason in str(refused.value), template


def test_the_bounds_of_expressions_are_those_of_the_code() -> None:
    bounds = [int(row[1].replace(",", "")) for row in table(EXPRESSIONS, "what")]
    assert bounds == [MOST_CHARACTERS, DEEPEST, LARGEST_RENDERED, MOST_STEPS]


# Commands:


MODULES = (
    admin_service_pb2,
    maintenance_service_pb2,
    planning_service_pb2,
    pricing_service_pb2,
    scheduler_service_pb2,
    scraper_service_pb2,
    statistics_service_pb2,
    target_service_pb2,
)
METHODS = {
    f"{service.full_name}/{method.name}": method
    for module in MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


def grpcurl_calls() -> list[Any]:
    found = []
    for page in PAGES:
        for block in re.findall(r"^```(?:sh|console)?\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
            text = re.sub(r"^\$ ", "", block.replace("\\\n", " "), flags=re.MULTILINE)
            for start in re.finditer(r"^grpcurl ", text, re.MULTILINE):
                lexer = shlex.shlex(text[start.start() :], posix=True, punctuation_chars=";|&\n")
                lexer.whitespace, lexer.whitespace_split = " \t\r", True
                words = []
                for word in lexer:
                    if set(word) <= set(";|&\n"):
                        break
                    words.append(word)
                method = words[-1]
                if method in METHODS:
                    data = words[words.index("-d") + 1] if "-d" in words else "{}"
                    found.append(pytest.param(method, data, id=f"{page.relative_to(ROOT)}-{method.rpartition('/')[2]}"))
                else:
                    assert {"list", "describe", "grpc.health.v1.Health/Check"} & set(words), words
    return found


@pytest.mark.parametrize(("method", "data"), grpcurl_calls())
def test_every_grpcurl_command_names_a_method_and_fits_its_request(method: str, data: str) -> None:
    # The variables of the pages' commands are times.
    request = json.loads(re.sub(r"\$[a-z]+", "2030-01-31T08:00:00Z", data))
    if "update_mask" in request:  # grpcurl takes no other form, and Python's library only the standard one
        request["update_mask"] = ",".join(request["update_mask"]["paths"])
    json_format.ParseDict(request, message_factory.GetMessageClass(METHODS[method].input_type)())


def test_the_tour_calls_every_method_of_the_scheduler_that_changes_or_shows_a_job() -> None:
    toured = {param.values[0].rpartition("/")[2] for param in grpcurl_calls() if str(param.id).startswith("README")}
    assert toured >= {
        "CreateScheduledJob", "GetJobStatus", "ListExecutions", "ExecuteJobNow", "UpdateScheduledJob",
        "PauseScheduledJob", "ResumeScheduledJob", "DeleteScheduledJob", "ListScheduledJobs",
    }  # fmt: skip


def test_the_python_client_and_the_task_in_the_readme_compile() -> None:
    client, task = blocks(README, "python")
    assert "SchedulerServiceStub" in client
    assert "@celery_app.task" in task
    for block in (client, task):
        compile(block, "README.md", "exec")


# Explanations:


def test_the_page_on_explanations_has_all_verdicts_and_kinds_of_facts_in_their_order() -> None:
    page = DOCS / "explain.md"
    assert [row[0] for row in table(page, "verdict")] == [verdict.value for verdict in Verdict]
    assert [row[0] for row in table(page, "kind")] == [kind.value for kind in Kind]


def test_the_verdicts_of_the_api_are_those_of_the_domain() -> None:
    names = planning_service_pb2.ExplainOccurrenceResponse.Verdict.keys()
    assert names == ["VERDICT_UNSPECIFIED", *(f"VERDICT_{verdict}" for verdict in Verdict)]


# Links:


def anchor(heading: str) -> str:
    """Return a heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")


def links() -> list[Any]:
    return [
        pytest.param(page, target, id=f"{page.relative_to(ROOT)}-{target}")
        for page in PAGES
        for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", prose(page))
        if not target.startswith(("http://", "https://"))
    ]


@pytest.mark.parametrize(("page", "target"), links())
def test_every_relative_link_resolves(page: Path, target: str) -> None:
    file, _, fragment = target.partition("#")
    found = (page.parent / file).resolve() if file else page
    assert found.exists()
    if fragment:
        headings = re.findall(r"^#+ (.+)$", prose(found), re.MULTILINE)
        assert fragment in {anchor(heading) for heading in headings}


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [README]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        targets = re.findall(r"\[[^\]]*\]\(([^)\s#]+)", prose(page))
        waiting += [(page.parent / t).resolve() for t in targets if "://" not in t]
    assert set(PAGES) <= reached
