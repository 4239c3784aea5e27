"""Makes tables that are read by eye, by ear and on a narrow screen."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from z4j_exporter.web import humanize
from z4j_exporter.web.markup import Html, clean, element, join, text
from z4j_exporter.web.values import UNKNOWN

#: Characters of a row's key.
_KEY = 200


class Column(NamedTuple):
    """A column: its heading, and whether numbers stand in it."""

    heading: str
    number: bool = False
    #: Where the heading's word needs more words.
    meaning: str = ""
    #: Class of its cells.
    kind: str = ""
    #: It is left out where nothing in it is known.
    optional: bool = False


class Row(NamedTuple):
    """A row: the heading's cell first. ``key`` is the same for the same thing in the next page."""

    key: str
    cells: Sequence[Html]
    #: Class of the row.
    kind: str = ""


def table(caption: Html, columns: Sequence[Column], rows: Iterable[Row], kind: str = "") -> Html:
    """Return a table of which the first column heads the rows.

    Each row is a card where the screen is narrow, and its cells repeat their column's heading.
    The roles are told, since some browsers forget them when the style changes how a table is laid
    out.
    """
    rows = list(rows)
    told = [
        index
        for index, column in enumerate(columns)
        if not column.optional or any(row.cells[index] != UNKNOWN for row in rows)
    ]
    columns = [columns[index] for index in told]
    rows = [row._replace(cells=[row.cells[index] for index in told]) for row in rows]
    heads = [
        element(
            "th",
            text(column.heading),
            scope="col",
            role="columnheader",
            class_=_classes(column),
            title=column.meaning or None,
        )
        for column in columns
    ]
    return element(
        "table",
        element("caption", caption, class_="unseen"),
        element("thead", element("tr", *heads, role="row"), role="rowgroup"),
        element("tbody", *(_row(columns, row) for row in rows), role="rowgroup"),
        role="table",
        class_=kind or None,
    )


def _row(columns: Sequence[Column], row: Row) -> Html:
    first, *others = row.cells
    cells = [element("th", first, scope="row", role="rowheader", class_=_classes(columns[0]))]
    cells += [
        element("td", cell, role="cell", class_=_classes(column), data_label=column.heading)
        for column, cell in zip(columns[1:], others, strict=True)
    ]
    return element("tr", *cells, role="row", data_key=clean(row.key, _KEY), class_=row.kind or None)


def _classes(column: Column) -> str | None:
    return " ".join(filter(None, ("num" if column.number else "", column.kind))) or None


def facts(pairs: Iterable[tuple[Html, Html]], kind: str = "") -> Html:
    """Return a list of names and values."""
    return element(
        "dl",
        *(element("div", element("dt", name), element("dd", value)) for name, value in pairs),
        class_=kind or None,
    )


def section(name: str, heading: str, *content: Html, beside: Html | None = None) -> Html:
    """Return a part of a page under its heading; ``name`` is where links lead to."""
    head = [element("h2", text(heading), id=f"{name}-heading")]
    if beside is not None:
        head.append(element("p", beside, class_="beside"))
    return element(
        "section",
        element("div", *head, class_="head"),
        join(content),
        id=name,
        aria_labelledby=f"{name}-heading",
    )


def listing(
    name: str,
    heading: str,
    order: str,
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    empty: str,
    total: int | None = None,
    beside: Html | None = None,
) -> Html:
    """Return a section with a table of ``total`` things, of which ``rows`` are the first.

    ``order`` says in which order, ``empty`` what stands there without rows.
    """
    shown = len(rows)
    if not rows:
        return section(name, heading, element("p", text(empty), class_="empty"), beside=beside)
    many = humanize.count(shown)
    told = [text(f"{many} of {humanize.count(total)}" if total and total > shown else many)]
    if beside is not None:
        told.append(beside)
    told.append(text(order))
    content = table(text(f"{heading}, {order}"), columns, rows)
    return section(name, heading, content, beside=join(told, " \u00b7 "))
