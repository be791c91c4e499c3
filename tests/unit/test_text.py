"""Texts of clients: shown cut, and compared with others only where that is cheap."""

from __future__ import annotations

import time

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from scheduler_service.jobs.drafts import changed_paths
from shared.domain.errors import InvalidInput, Violation
from shared.domain.text import closest, excerpt, unprintable
from shared.proto import scheduler_service_pb2 as pb
from shared.targets import Target, Targets

HUGE = "scraper" * 500_000


def test_a_short_text_is_shown_whole_and_a_long_one_cut() -> None:
    assert excerpt("x" * 80) == "x" * 80
    assert excerpt("x" * 81) == "x" * 80 + "..."


def test_what_was_probably_meant_is_found_for_names_not_for_megabytes() -> None:
    assert closest("scrapper", ["scraper", "pricing"]) == "scraper"
    assert closest("zzz", ["scraper"]) == ""
    began = time.process_time()
    assert closest(HUGE, ["scraper", "pricing"] * 500) == ""
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize(("service", "method"), [(HUGE, "x"), ("scraper-service", HUGE)])
def test_a_huge_target_is_refused_at_once_and_shown_cut(service: str, method: str) -> None:
    targets = Targets([Target("scraper-service", "x.example:1", ("scraper.v1.ScraperService",))])
    began = time.process_time()
    with pytest.raises(InvalidInput) as refused:
        targets.check(service, method, {})
    assert time.process_time() - began < 0.2
    assert len(str(refused.value)) < 400


def test_of_a_mask_of_any_size_few_paths_are_named_and_the_others_counted() -> None:
    found: list[Violation] = []
    paths = ["labels." + HUGE, *(f"x{n}" for n in range(100_000))]
    request = pb.UpdateScheduledJobRequest(job_id="mine", update_mask=FieldMask(paths=paths))
    assert changed_paths(request, found) == frozenset()
    assert len(found) == 21
    assert all(len(str(wrong)) < 400 for wrong in found)
    assert str(found[-1]) == "update_mask: 99,981 more paths can't be changed either"


@pytest.mark.parametrize("code", [0x00, 0x07, 0x0B, 0x0D, 0x1B, 0x1F, 0x7F, 0x9B, 0x2028, 0x2029, 0x202E, 0x2066])
def test_a_character_that_hides_is_named_by_its_number(code: int) -> None:
    for lines in (False, True):
        assert unprintable(f"Prices{chr(code)}!", lines=lines).startswith(f"has the character U+{code:04X}, ")


def test_only_a_text_of_lines_may_have_newlines_and_tabs() -> None:
    assert unprintable("a\tb\nc", lines=True) == ""
    assert unprintable("a\tb").startswith("has the character U+0009")
    assert unprintable("a\nb").startswith("has the character U+000A")
    assert unprintable("Größe & Preis 価格 🐍 مرحبا") == ""
