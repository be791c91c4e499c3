"""Documents of jobs: what they may be, and that a job written as an entry reads back as the job that it is."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from scheduler_service.jobs.documents import MOST_NODES, read_entries, write_document
from scheduler_service.jobs.drafts import MUTABLE, changed_draft, new_draft
from scheduler_service.jobs.entries import flattened, read_paused, read_request, write_entry
from scheduler_service.transport.convert import job_message
from shared.domain.errors import InvalidInput, Violation
from shared.domain.job import JobState, define
from shared.proto import scheduler_service_pb2 as pb
from shared.store.jobs import StoredJob, new_document, to_job
from tests.builders import DEFAULTS, ORIGIN

TOUR = """
jobs:
  - job_id: tour
    name: Tour
    schedule_config:
      type: cron
      config: {hour: 8, minute: "0"}
  - job_id: second
    labels:
      team: pricing
"""


def refused(text: str) -> list[str]:
    with pytest.raises(InvalidInput) as error:
        read_entries(text, "yaml")
    return [str(violation) for violation in error.value.violations]


def test_a_violation_is_told_with_the_line_of_its_field() -> None:
    tour, second = read_entries(TOUR, "yaml")
    wrong = Violation("schedule_config.config.hour", "'25' is not an hour (0-23)")
    assert str(tour.located(wrong, "yaml.")) == (
        "yaml.tour.schedule_config.config.hour: line 7: '25' is not an hour (0-23)"
    )
    assert str(second.located(Violation("name", "a name is required"), "yaml.")) == (
        "yaml.second.name: line 8: a name is required"
    )


def test_documents_may_follow_each_other_as_exported_pages_do() -> None:
    pages = "".join(write_document([{"job_id": name}]) for name in ("one", "two"))
    assert [entry.name for entry in read_entries(pages, "yaml")] == ["one", "two"]


def test_times_and_words_stay_what_they_are_written_as() -> None:
    (entry,) = read_entries("jobs: [{job_id: x, at: 2030-01-01T00:00:00Z, n: 5, f: 1.5, b: true, z: }]", "yaml")
    assert entry.values == {"job_id": "x", "at": "2030-01-01T00:00:00Z", "n": 5, "f": 1.5, "b": True, "z": None}


def test_what_is_usual_may_be_merged_and_gives_way() -> None:
    text = """
usual: &usual {queue: scraping, priority: 3}
jobs:
  - {<<: *usual, job_id: x, priority: 4}
"""
    assert refused(text) == ["yaml: line 2: expected only a list `jobs` of objects with the fields of a create request"]
    (first, second) = read_entries("jobs: [&a {job_id: a, priority: 3}, {<<: *a, job_id: b, name: B}]", "yaml")
    assert first.values == {"job_id": "a", "priority": 3}
    assert second.values == {"job_id": "b", "name": "B", "priority": 3}


BILLIONS = "jobs:\n- {job_id: a, x: &a0 [0,0,0,0,0,0,0,0,0]}\n" + "".join(
    f"- {{job_id: a{n}, x: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "yaml: it is empty; expected only a list `jobs` of objects with the fields of a create request"),
        ("a: 1", "yaml: line 1: expected only a list `jobs` of objects with the fields of a create request"),
        ("jobs: [1]", "yaml: line 1: expected only a list `jobs` of objects with the fields of a create request"),
        ("jobs: [", "yaml: line 2: it is not YAML that can be read: did not find expected node content"),
        ("\njobs: [{a: 1,\na: 2}]", "yaml: line 3: the key 'a' is there twice"),
        ("jobs: [{1: 1}]\n", ""),
        ("jobs: [{? [a] : 1}]", "yaml: line 1: a key has to be a text"),
        ("jobs: [!!python/object/apply:os.getcwd []]", "yaml: line 1: 'tag:yaml.org,2002:python/object/"),
        ("jobs: [{a: !!binary aGk=}]", "yaml: line 1: 'tag:yaml.org,2002:binary' is not a kind of value"),
        ("jobs: [{a: !mine 5}]", "yaml: line 1: '!mine' is not a kind of value that a job has"),
        ("jobs: [{<<: 5}]", "yaml: line 1: << needs a mapping, or a list of them"),
        ("jobs: &a [*a]", "yaml: line 1: aliases make it have more than 300,000 values, or more than 60 in each other"),
        (BILLIONS, "yaml: line "),
        ("jobs: " + "[" * 100_000, "yaml: line 1: it is nested more than 60 deep"),
        ("jobs: [" + "0," * (MOST_NODES + 1), "yaml: line 1: it has more than 300,000 values"),
        ("jobs: [{a: 1" + "0" * 5_000 + "}]", "yaml: line 1: '1000"),
        ("jobs: [{a: " + "0x" + "f" * 300 + "}]", "yaml: line 1: '0xfff"),
        ("jobs: [{a: " + "1:1" * 200_000 + "}]", "yaml: line 1: '1:11:1"),
        ("jobs: [{job_id: !!bool x}]", "yaml: line 1: 'x' is not a value that can be read"),
        ("jobs: [!!map x]", "yaml: line 1: 'tag:yaml.org,2002:map' is not a kind of value that a job has"),
        ("jobs: \x07", "yaml: "),
    ],
)  # fmt: skip
def test_what_is_no_document_is_refused_by_a_sentence(text: str, said: str) -> None:
    if said:
        assert refused(text)[0].startswith(said)
    else:
        assert read_entries(text, "yaml")[0].values == {"1": 1}


def test_a_long_key_is_not_kept_once_for_each_value_below_it() -> None:
    key, values = "k" * 100_000, ",".join(["1"] * 1_000)
    tracemalloc.start()
    try:
        (entry,) = read_entries(f"jobs: [{{job_id: x, ? {key} : {{a: [{values}]}}}}]", "yaml")
        flat = flattened(entry.values)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert flat[key] == entry.values[key]
    assert entry.located(Violation(f"{key}.a[7]", "is wrong"), "yaml.").description == "line 1: is wrong"
    assert most < 10_000_000


TAGS = [
    "",
    "!",
    *(f"!!{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null", "merge", "binary", "x")),
]
NODES = ["", "x", "''", "+", "0x", "1:99", ".inf", "[x]", "[]", "{}", "{x: 1}", "{<<: x}", "&a [*a]"]


@pytest.mark.parametrize("tag", TAGS)
def test_whatever_a_tag_says_of_a_node_it_is_read_or_refused(tag: str) -> None:
    for node in NODES:
        for text in (f"{tag} {node}", f"jobs: {tag} {node}", f"jobs: [{{a: {tag} {node}}}]", f"<<: {tag} {node}"):
            assert fields_of(text) <= {"yaml"}


def fields_of(text: str) -> set[str]:
    """Read a text; return in which fields something is wrong."""
    try:
        return {"yaml" for _ in read_entries(text, "yaml")}
    except InvalidInput as error:
        return {violation.field for violation in error.violations}


@given(st.text(alphabet="jobs: [{a1&*<>!|-\n\t\"'?,}]#%", max_size=60) | st.text(max_size=60))
def test_any_text_is_a_document_or_is_refused(text: str) -> None:
    assert fields_of(text) <= {"yaml"}


# Jobs as entries:

KINDS: dict[str, dict[str, Any]] = {
    "cron": {},
    "interval": {"schedule_config": {"type": "interval", "config": {"every": "1h30m"}, "max_runs": 5}},
    "once": {"schedule_config": {"type": "once", "config": {"at": "2030-01-01T00:00:00Z"}}},
    "union": {
        "schedule_config": {
            "type": "cron",
            "expressions": ["0 8 * * MON-FRI", "30 17 * * FRI"],
            "timezone": "America/New_York",
            "start_time": "2027-01-01T00:00:00Z",
            "end_time": "2030-01-01T00:00:00.500Z",
            "jitter": "90.500s",
            "exclusions": {
                "dates": ["2030-12-25"],
                "ranges": [{"first": "2030-12-27", "last": "2031-01-01"}],
                "on_excluded": "ON_EXCLUDED_NEXT_BUSINESS_DAY",
                "weekend": ["SUN"],
            },
        }
    },
    "policies": {
        "policies": {
            "misfire": "MISFIRE_FIRE_ALL",
            "misfire_grace": "0s",
            "overlap": "OVERLAP_BUFFER_ALL",
            "buffer_limit": 7,
            "pause_on_failure": 3,
            "delete_after_done": True,
        }
    },
    "retry": {
        "retry_policy": {
            "max_attempts": 9,
            "initial_backoff": "700s",
            "multiplier": 1.5,
            "jitter": "JITTER_NONE",
            "retryable_codes": ["UNAVAILABLE"],
            "non_retryable_codes": ["ABORTED"],
            "retry_window": "RETRY_WINDOW_UNTIL_NEXT",
        }
    },
    "marks": {
        "description": "two\nlines: #1 '\"\\ \u00e4 \U0001f600",
        "labels": {"team": "pricing", "on": "off", "5": "1e3", "": ""} | {"a:b": "- x"},
        "queue": "monitoring",
        "priority": 0,
        "timeout": "0.5s",
        "expires": "3600s",
        "parameters": {"n": 5, "f": 0.1, "b": False, "z": None, "l": [1, {"x": []}], "d": "2030-01-01", "o": {}},
    },
    "fan_out": {
        "fan_out": {
            "items": [1, {"id": "a"}, "b"],
            "max_parallel": 2,
            "failure_policy": "FAILURE_POLICY_SHARE",
            "min_share": 0.5,
            "key": "${item}",
        }
    },
    "source": {
        "fan_out": {
            "source": {"target_service": "shop", "target_method": "List", "parameters": {"x": 1}, "path": "items[]"}
        }
    },
    "workflow": {
        "target_service": None,
        "target_method": None,
        "workflow": {
            "steps": [
                {"name": "find", "target_service": "shop", "target_method": "Find", "parameters": {"x": [1.5]}},
                {
                    "name": "each",
                    "after": ["find"],
                    "target_service": "shop",
                    "target_method": "Do",
                    "fan_out": {"items_from": "${steps.find.result.items}"},
                    "retry_policy": {"max_attempts": 2},
                    "timeout": "10s",
                    "queue": "scraping",
                    "priority": 0,
                    "when": "steps.find.result.count > `0`",
                    "requires": "REQUIRES_END",
                },
            ]
        },
    },
}
KINDS["marks"]["labels"].pop("")


def an_entry(**fields: Any) -> dict[str, Any]:
    usual = {
        "job_id": "mine",
        "name": "Mine",
        "job_type": "SCRAPING",
        "target_service": "scraper-service",
        "target_method": "ScrapeCompetitorPrices",
        "schedule_config": {"type": "cron", "config": {"hour": "8", "minute": "0"}},
    }
    return {name: value for name, value in (usual | fields).items() if value is not None}


def created(entry: dict[str, Any]) -> StoredJob:
    """Return the job that an entry makes, as it is read from the store."""
    found: list[Violation] = []
    request = read_request(entry, found)
    assert request is not None, found
    draft = new_draft(request, request.job_id, DEFAULTS, found)
    assert not found
    definition = define(draft, DEFAULTS, ORIGIN)
    job = to_job(new_document(definition, "uid", ORIGIN, "tester"))
    return replace(job, state=JobState.PAUSED) if read_paused(entry, found) else job


def imported_again(job: StoredJob) -> tuple[dict[str, Any], StoredJob]:
    """Return the entry that a job is written as, and the job that it makes of that job a year later."""
    text = write_document([write_entry(job_message(job), DEFAULTS)])
    (entry,) = read_entries(text, "yaml")
    found: list[Violation] = []
    request = read_request(entry.values, found)
    assert request is not None, found
    later = ORIGIN + timedelta(days=366)
    draft = changed_draft(job.definition, request, frozenset(MUTABLE), DEFAULTS, later, found)
    assert not found
    paused = read_paused(entry.values, found)
    state = JobState.PAUSED if paused else JobState.ACTIVE
    return dict(entry.values), replace(job, definition=define(draft, DEFAULTS, later), state=state)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("paused", [False, True])
def test_a_job_written_as_an_entry_reads_back_as_itself(kind: str, paused: bool) -> None:
    job = created(an_entry(**KINDS[kind], paused=paused or None))
    _, again = imported_again(job)
    assert again == job


def test_an_entry_says_what_somebody_has_decided_and_leaves_out_the_defaults() -> None:
    entry, _ = imported_again(created(an_entry(labels={"team": "pricing"}, retry_policy={"max_attempts": 9})))
    assert entry == an_entry(labels={"team": "pricing"}, retry_policy={"max_attempts": 9})


PARTS = st.sampled_from(sorted(set(KINDS) - {"fan_out", "source", "workflow"}))
PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text("a.:-# ", min_size=1, max_size=4), inside),
    max_leaves=8,
)  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"), max_size=20)  # fmt: skip  # noqa: E501


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], deadline=None)
@given(
    st.lists(PARTS, max_size=4),
    st.sampled_from(["", "fan_out", "source", "workflow"]),
    st.dictionaries(st.text("abc.$ ", min_size=1, max_size=5), PLAIN, max_size=4),
    st.dictionaries(TEXT.filter(bool), TEXT, max_size=3),
    TEXT,
    st.booleans(),
)
def test_any_job_written_as_an_entry_reads_back_as_itself(
    parts: list[str], flow: str, parameters: dict[str, Any], marks: dict[str, str], text: str, paused: bool
) -> None:
    fields: dict[str, Any] = {}
    for name in (*parts, *([flow] if flow else [])):
        fields |= KINDS[name]
    if flow == "workflow":
        fields["parameters"] = None
    else:
        fields["parameters"] = parameters or None
    fields |= {"labels": marks, "annotations": marks, "description": text, "paused": paused or None}
    assume("${" not in str(parameters))
    job = created(an_entry(**fields))
    entry, again = imported_again(job)
    assert again == job
    assert flattened(write_entry(job_message(again), DEFAULTS)) == flattened(entry)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"colour": "red"}, "colour: no such field in a job's entry"),
        ({"request_id": "x"}, "request_id: no such field in a job's entry"),
        ({"schedule_config": {"typ": "cron"}}, "schedule_config.typ: no such field in a job's entry"),
        (
            {"workflow": {"steps": [{"name": "a"}, {"named": "b"}]}},
            "workflow.steps[1].named: no such field in a job's entry",
        ),
        (
            {"job_type": "SCRAPPING"},
            "job_type: 'SCRAPPING' is not one of SCRAPING, ANALYSIS, MONITORING, MAINTENANCE, CUSTOM",
        ),
        (
            {"policies": {"misfire": "fire_once"}},
            "policies.misfire: 'fire_once' is not one of MISFIRE_FIRE_LATEST, MISFIRE_FIRE_ALL, MISFIRE_SKIP",
        ),
        ({"paused": "yes"}, "paused: has to be true or false"),
        ({"job_id": None}, "job_id: a job_id is required: by it the job is known the next time"),
        ({"retry_policy": {"jitter": float("-inf")}}, "retry_policy: cannot convert float infinity to integer"),
    ],
)
def test_an_entry_that_describes_no_job_is_refused(fields: dict[str, Any], said: str) -> None:
    found: list[Violation] = []
    read_paused(an_entry(**fields), found)
    read_request(an_entry(**fields), found)
    assert [str(violation) for violation in found] == [said]


def test_a_request_of_an_entry_has_its_fields() -> None:
    request = read_request(an_entry(schedule_config={"type": "cron", "config": {"hour": 8, "minute": 0}}), [])
    assert request is not None
    assert request.schedule_config == pb.ScheduleConfig(type="cron", config={"hour": "8", "minute": "0"})
