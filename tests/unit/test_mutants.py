"""The list of mutants is up to date, so that `make mutants` finds what it is to change."""

from __future__ import annotations

import ast

import pytest

from tests.mutants import ROOT, Mutant, load

MUTANTS = load()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_the_text_to_change_is_there_once_and_stays_python(mutant: Mutant) -> None:
    assert mutant.occurrences(ROOT) == 1, f"'{mutant.old}' in {mutant.file}"
    changed = (ROOT / mutant.file).read_text().replace(mutant.old, mutant.new)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse((ROOT / mutant.file).read_text()))
    assert all((ROOT / test.partition("::")[0]).is_file() for test in mutant.tests)


def test_every_invariant_has_some() -> None:
    assert {mutant.protects for mutant in MUTANTS} > {str(number) for number in range(1, 10)}
    assert len({mutant.what for mutant in MUTANTS}) == len(MUTANTS)
