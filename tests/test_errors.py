"""Errors are one line: what cannot be done, the cause, and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from htmdsep.errors import DiskError, HtmdsepError, PlanError, explained


def test_an_error_of_the_system_is_told_without_the_file_that_was_named(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    with pytest.raises(DiskError) as caught, explained(f"cannot read {absent}", kind=DiskError):
        absent.read_bytes()
    assert str(caught.value) == f"cannot read {absent}: No such file or directory"
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_a_cause_over_several_lines_becomes_one_with_the_remedy_behind() -> None:
    list_errors = explained("--from list", "mend it", of=(KeyError, ValueError), kind=PlanError)
    with pytest.raises(PlanError) as caught, list_errors:
        raise ValueError("it is\n  spoilt.")
    assert str(caught.value) == "--from list: it is spoilt; mend it"


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), explained("it fails", of=ValueError):
        raise KeyError("a")
    with pytest.raises(HtmdsepError, match=r"^as it was$"), explained("it fails"):
        raise HtmdsepError("as it was")
