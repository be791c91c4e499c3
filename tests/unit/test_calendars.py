"""Calendars: what the names of exclusions mean, and what is said of files that cannot be used."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pytest

from shared.calendars import Calendars, Window, load_calendars
from shared.domain.errors import InvalidInput
from shared.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 6, 1, tzinfo=UTC)
WINDOW = Window.around(NOW)


def loaded(folder: Path, **files: str) -> Calendars:
    """Read a configuration whose folder of calendars has these files; `_yaml` and `_ics` stand for their suffixes."""
    (folder / "calendars").mkdir()
    for name, text in files.items():
        stem, _, suffix = name.rpartition("_")
        (folder / "calendars" / f"{stem}.{suffix}").write_text(text)
    return load_calendars(folder)


def problem(folder: Path, **files: str) -> str:
    with pytest.raises(SystemExit) as ended:
        loaded(folder, **files)
    return str(ended.value).replace(f"{folder}/calendars/", "")


def days(calendars: Calendars, *names: str, year: int = 2026) -> list[str]:
    return [str(day)[5:] for day in calendars.within(WINDOW, names, ()).days if day.year == year]


def event(*lines: str) -> str:
    """Return an iCalendar file of one event."""
    begin = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//test//EN",
        "BEGIN:VEVENT",
        "UID:1",
        "DTSTAMP:20260101T000000Z",
    ]
    return "\r\n".join([*begin, *lines, "END:VEVENT", "END:VCALENDAR", ""])


def refusals(calendars: Calendars, names: tuple[str, ...] = (), holidays: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(InvalidInput) as refused:
        calendars.resolve(names, holidays)
    return [str(violation) for violation in refused.value.violations]


# The window


def test_days_are_found_from_last_year_to_ten_years_ahead(tmp_path: Path) -> None:
    found = loaded(tmp_path, christmas_yaml="- 12-25").within(WINDOW, ("christmas",), ()).days
    assert (found[0], found[-1], len(found)) == (date(2025, 12, 25), date(2036, 12, 25), 12)


# YAML


def test_yaml_lists_dates_days_of_every_year_and_ranges(tmp_path: Path) -> None:
    text = "- 2026-05-04\n- 12-25\n- {first: 2026-07-30, last: 2026-08-01}\n- 02-29\n"
    calendars = loaded(tmp_path, shop_yaml=text)
    assert calendars.names == ["shop"]
    assert days(calendars, "shop") == ["05-04", "07-30", "07-31", "08-01", "12-25"]
    assert days(calendars, "shop", year=2028) == ["02-29", "12-25"]


def test_one_yaml_file_may_hold_several_calendars(tmp_path: Path) -> None:
    calendars = loaded(tmp_path, all_yaml="one: [2026-01-02]\ntwo: ['2026-01-03']\n", more_yaml="- 2026-01-05")
    assert calendars.names == ["more", "one", "two"]
    assert days(calendars, "two", "one") == ["01-02", "01-03"]


def test_all_that_is_wrong_with_yaml_files_is_said_at_once(tmp_path: Path) -> None:
    said = problem(
        tmp_path,
        a_yaml="- 2026-02-30\n- {first: 2026-02-03, last: 2026-02-01}\n- 1\n- 13-01\n- {first: 2026-02-03}\n",
        b_yaml="x: 2026-01-01\n",
        c_yaml="[",
        d_yaml="x: [2026-01-01]\nx: [2026-01-02]\n",
        e_yaml="Büro: [2026-01-01]",
        f_yaml="- 2026-01-01",
        g_yaml="f: [2026-01-01]",
        h_yaml="",
        i_txt="2026-01-01",
    )
    for expected in (
        "a.yaml: a: '2026-02-30' is neither a date (2030-12-25), one of each year (12-25), nor a range",
        "a.yaml: a: '1' is neither",
        "a.yaml: a: '13-01' is neither",
        """a.yaml: a: "{'first': '2026-02-03', 'last': '2026-02-01'}" is neither""",
        """a.yaml: a: "{'first': '2026-02-03'}" is neither""",
        "b.yaml: x: expected a list of dates, or names with such lists",
        "c.yaml: it can't be read: ",
        "d.yaml: it can't be read: 'x' is there twice",
        "e.yaml: 'Büro' is not a name for a calendar",
        "g.yaml: the calendar 'f' is there twice",
        "h.yaml: h: expected a list of dates",
        "i.txt: a calendar is a file *.yaml or *.ics",
    ):
        assert expected in said
    assert "\n" not in said


def test_a_calendar_has_a_bounded_number_of_entries(tmp_path: Path) -> None:
    said = problem(tmp_path, much_yaml="- 2026-01-01\n" * 5_001)
    assert said == "error: much.yaml: much: 5,001 entries are too many (at most 5,000)"


# iCalendar


def test_icalendar_events_are_the_days_that_they_touch(tmp_path: Path) -> None:
    calendars = loaded(
        tmp_path,
        days_ics=event("DTSTART;VALUE=DATE:20260501", "DTEND;VALUE=DATE:20260503"),
        day_ics=event("DTSTART;VALUE=DATE:20260601"),
        night_ics=event("DTSTART;TZID=America/New_York:20260704T220000", "DTEND;TZID=America/New_York:20260705T010000"),
        midnight_ics=event("DTSTART:20260710T080000Z", "DTEND:20260711T000000Z"),
        span_ics=event("DTSTART:20260801T230000Z", "DURATION:PT2H"),
        cancelled_ics=event("DTSTART;VALUE=DATE:20260901", "STATUS:CANCELLED"),
    )
    assert days(calendars, "days") == ["05-01", "05-02"]
    assert days(calendars, "day") == ["06-01"]
    assert days(calendars, "night") == ["07-04", "07-05"]
    assert days(calendars, "midnight") == ["07-10"]
    assert days(calendars, "span") == ["08-01", "08-02"]
    assert days(calendars, "cancelled") == []


def test_icalendar_events_recur_with_their_exceptions(tmp_path: Path) -> None:
    calendars = loaded(
        tmp_path,
        weekly_ics=event(
            "DTSTART;VALUE=DATE:20260105", "RRULE:FREQ=WEEKLY;COUNT=4", "EXDATE;VALUE=DATE:20260112",
            "RDATE;VALUE=DATE:20260210",
        ),
        yearly_ics=event("DTSTART;VALUE=DATE:20000228", "RRULE:FREQ=YEARLY"),
    )  # fmt: skip
    assert days(calendars, "weekly") == ["01-05", "01-19", "01-26", "02-10"]
    assert days(calendars, "yearly", year=2036) == ["02-28"]


@pytest.mark.parametrize("rule", ["FREQ=SECONDLY", "FREQ=HOURLY;COUNT=3", "FREQ=DAILY;BYHOUR=8,9"])
def test_an_icalendar_event_that_comes_more_than_daily_is_refused(tmp_path: Path, rule: str) -> None:
    said = problem(tmp_path, busy_ics=event("SUMMARY:Ping", "DTSTART:20260101T000000Z", f"RRULE:{rule}"))
    assert said == "error: busy.ics: the event 'Ping' comes more often than once a day"


@pytest.mark.parametrize("text", ["", "no calendar", "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n"])
def test_what_is_no_icalendar_is_refused(tmp_path: Path, text: str) -> None:
    said = problem(tmp_path, broken_ics=text)
    assert said.startswith("error: broken.ics: it can't be read as iCalendar: ")


def test_an_event_without_a_start_is_refused(tmp_path: Path) -> None:
    assert problem(tmp_path, broken_ics=event("SUMMARY:When?")).startswith("error: broken.ics: ")


# Public holidays


def test_public_holidays_are_those_of_a_country_or_of_a_part_of_it() -> None:
    calendars = Calendars({})
    germany, bavaria = (
        {day for day in calendars.within(WINDOW, (), (code,)).days if day.year == 2026} for code in ("DE", "DE-BY")
    )
    assert {date(2026, 1, 1), date(2026, 10, 3)} <= germany
    assert bavaria - germany == {date(2026, 1, 6), date(2026, 6, 4), date(2026, 11, 1)}
    assert date(2026, 7, 3) in calendars.within(WINDOW, (), ("US",)).days


def test_names_are_joined(tmp_path: Path) -> None:
    calendars = loaded(tmp_path, ours_yaml="- 2026-01-01\n- 2026-01-02\n")
    found = calendars.within(WINDOW, ("ours",), ("FR", "US")).days
    assert found == tuple(sorted(set(found)))
    assert {date(2026, 1, 2), date(2026, 7, 14), date(2026, 11, 26)} <= set(found)


def test_unknown_names_are_refused_with_what_was_probably_meant(tmp_path: Path) -> None:
    calendars = loaded(tmp_path, company_yaml="- 12-24")
    parts = "(known: DE-BB, DE-BE, DE-BW, DE-BY, DE-HB, DE-HE, DE-HH, DE-MV and 9 more)"
    assert refusals(calendars, ("company", "compny", "x"), ("us", "QQ", "DE-XX", "", "DE-", "MC-01")) == [
        "calendars[1]: 'compny' is not a configured calendar; did you mean 'company'?",
        "calendars[2]: 'x' is not a configured calendar (known: company)",
        "holidays[0]: 'us' is not a country with known public holidays; did you mean 'US'?",
        "holidays[1]: 'QQ' is not a country with known public holidays (ISO 3166, as US or DE-BY)",
        f"holidays[2]: 'DE-XX' is not a part of DE with known public holidays {parts}",
        "holidays[3]: '' is not a country with known public holidays (ISO 3166, as US or DE-BY)",
        f"holidays[4]: 'DE-' is not a part of DE with known public holidays {parts}",
        "holidays[5]: 'MC-01' is not a part of MC with known public holidays (it is known as a whole only)",
    ]
    assert refusals(Calendars({}), ("company",)) == [
        "calendars[0]: 'company' is not a configured calendar (none is configured)"
    ]


# When what was found is outdated


def test_days_hold_until_a_calendar_changes_or_their_window_runs_out(tmp_path: Path) -> None:
    names, codes = ("shop",), ("DE-BY",)
    calendars = loaded(tmp_path, shop_yaml="- 2026-05-04")
    source = calendars.within(WINDOW, names, codes).source
    assert source.startswith("2025-2036 ")
    assert calendars.renewed(source, names, codes, NOW) is None
    assert calendars.renewed(source, names, codes, datetime(2031, 12, 31, tzinfo=UTC)) is None
    later = calendars.renewed(source, names, codes, datetime(2032, 1, 1, tzinfo=UTC))
    assert later is not None
    assert later.source.startswith("2031-2042 ")
    (tmp_path / "calendars" / "shop.yaml").write_text("- 2026-05-05")
    changed = load_calendars(tmp_path).renewed(source, names, codes, NOW)
    assert changed is not None
    assert date(2026, 5, 5) in changed.days


def test_equal_days_of_other_names_are_told_apart(tmp_path: Path) -> None:
    calendars = loaded(tmp_path, both_yaml="one: [2026-01-01]\ntwo: [2026-01-01]")
    assert calendars.within(WINDOW, ("one",), ()).source != calendars.within(WINDOW, ("two",), ()).source


# The project's own


def test_no_folder_means_no_calendars(tmp_path: Path) -> None:
    assert load_calendars(tmp_path).names == []


def test_the_example_of_the_project_is_read() -> None:
    calendars = load_calendars(Settings().config_dir)
    assert calendars.names == ["company"]
    assert "12-24" in days(calendars, "company")
