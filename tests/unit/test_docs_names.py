"""What the documents name is there: variables, alerts, files; and each page is plain Markdown."""

import re
from pathlib import Path

import pytest

from tests.support.markdown import ROOT, Page, pages
from z4j_exporter.cli.unknown_variables import known_variables
from z4j_exporter.config import ENVIRONMENT_PREFIX

by_page = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)

#: Where the files lie that documents name by their path from the top.
_FOLDERS = (
    "alerts benchmarks compose dashboards docs examples helm systemd tests tools z4j_exporter"
)
_PATH = re.compile(rf"(?:\.\./)?((?:{'|'.join(_FOLDERS.split())})/[\w./-]*)")
#: Tags that GitHub shows, and that a table needs: a line break. Addresses and comments are none.
_TAG = re.compile(r"</?(?!br>)[a-zA-Z][\w-]*(?:\s[^<>]*)?/?>")
ALERTS = frozenset(
    re.findall(r"- alert: (\w+)", (ROOT / "alerts" / "alerts.yaml").read_text(encoding="utf-8"))
)


def _unknown_variables(page: Page) -> set[str]:
    named = set(re.findall(rf"\b{ENVIRONMENT_PREFIX}([A-Z_]*[A-Z])\b", page.text))
    return {name for name in named - known_variables() if not name.startswith("TEST_")}


@by_page
def test_every_variable_is_read_by_some_command(page: Page) -> None:
    assert not _unknown_variables(page)


def _unknown_alerts(page: Page) -> set[str]:
    """Return names of alerts that there are not; ``CeleryTask…`` stands for those that begin so."""
    named = re.findall(r"\b(Celery[A-Z]\w+)(…|\.[+*])?", page.text)
    return {
        name
        for name, more in named
        if name not in ALERTS and not (more and any(alert.startswith(name) for alert in ALERTS))
    }


@by_page
def test_every_alert_is_one(page: Page) -> None:
    assert not _unknown_alerts(page)


def _missing_files(page: Page) -> set[str]:
    found = (_PATH.fullmatch(code) for code in page.inline)
    return {path[1] for path in found if path and not (ROOT / path[1]).exists()}


@by_page
def test_every_file_of_the_project_is_there(page: Page) -> None:
    if page.name != "CHANGELOG.md":  # it tells of what was, too
        assert not _missing_files(page)


def _tags(page: Page) -> list[str]:
    return _TAG.findall(re.sub(r"`[^`]*`", "", page.prose))


@by_page
def test_no_page_needs_html(page: Page) -> None:
    assert not _tags(page)


def _skipped_levels(page: Page) -> list[str]:
    """Return the headings that are more than one level below the one before."""
    headings = re.findall(r"^(#{1,6}) +(.+)$", page.prose, re.M)
    levels = [0, *(len(marks) for marks, _ in headings)]
    return [
        text
        for before, (marks, text) in zip(levels, headings, strict=False)
        if len(marks) > before + 1
    ]


@by_page
def test_headings_skip_no_level(page: Page) -> None:
    assert not _skipped_levels(page)


def _first_words(page: Page) -> str:
    """Return what stands between the title and the next heading."""
    return re.split(r"^#.*$", page.prose, flags=re.M)[1].strip()


@by_page
def test_a_page_begins_with_what_it_answers(page: Page) -> None:
    """Not with a section: who comes from a search must see whether this is the right page."""
    assert len(_first_words(page).split()) >= 5


# -- the checks themselves ------------------------------------------------------------------------


def _page(text: str) -> Page:
    return Page(Path(ROOT / "docs" / "try.md"), text)


def test_what_is_wrong_is_found() -> None:
    assert _unknown_variables(_page("`Z4J_EXPORTER_BROKER_URLS`")) == {"BROKER_URLS"}
    assert _unknown_alerts(_page("CeleryWorkerDawn, CeleryWorkerDown")) == {"CeleryWorkerDawn"}
    assert _unknown_alerts(_page("`CeleryTusk…`")) == {"CeleryTusk"}
    assert _missing_files(_page("`tools/nothing.py`")) == {"tools/nothing.py"}
    assert _tags(_page('<img src="a.png"> <b>x</b>')) == ['<img src="a.png">', "<b>", "</b>"]
    assert _skipped_levels(_page("# a\n\n### b\n\n## c\n")) == ["b"]
    assert _skipped_levels(_page("## a\n")) == ["a"]
    assert not _first_words(_page("# a\n\n## b\n\nfive words are not here\n"))


def test_what_is_right_is_not() -> None:
    assert not _unknown_variables(_page("`Z4J_EXPORTER_BROKER_URL_FILE`, `Z4J_EXPORTER_…`"))
    assert not _unknown_alerts(_page("`CeleryWorkerDown`, `CeleryTask…`, `CeleryQueue.+`"))
    assert not _missing_files(
        _page("`tools/chart.py`, `docs/`, `dashboards/*.json`, `helm upgrade`")
    )
    assert not _tags(_page("a<br>b <https://example.org> <!-- note --> `<TAG>` 1 < 2 > 1"))
    assert not _skipped_levels(_page("# a\n\n## b\n\n### c\n\n## d\n"))
