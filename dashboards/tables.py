"""Tables: a row for each task, queue or worker, a query for each column."""

from collections.abc import Sequence
from typing import NamedTuple

from grafana_foundation_sdk.builders import common, table
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus

from dashboards.panels import Query, Steps, target, thresholds
from dashboards.variables import PROMETHEUS


class Column(NamedTuple):
    """A column whose value comes from an expression with the row's label and no other."""

    title: str
    expr: str
    unit: str = "short"
    #: The cell's colour; begin with "transparent", so that only what matters is coloured.
    steps: Steps | None = None
    #: Texts and colours of certain values.
    texts: dict[str, tuple[str, str]] | None = None
    decimals: int | None = None


def rows_of(
    label: str,
    heading: str,
    title: str,
    description: str,
    columns: Sequence[Column],
    *,
    links: Sequence[dict[str, object]] = (),
    also: Sequence[tuple[str, str]] = (),
    sort: str,
    width: int = 24,
    height: int = 10,
) -> table.Panel:
    """Return a table with a row for each value of ``label``.

    ``links`` are on the first column. ``also`` are more labels of some column's query, with their
    headings. ``sort`` is the column whose highest value comes first.
    """
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .span(width)
        .height(height)
        .unit("short")
        .no_value("-")
        .filterable(True)
        .sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])
        .with_transformation(
            models.DataTransformerConfig(
                id_val="joinByField", options={"byField": label, "mode": "outer"}
            )
        )
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize", options=_organized(label, heading, columns, also)
            )
        )
    )
    for index, column in enumerate(columns):
        query = target(index, Query(column.expr, column.title), instant=True)
        panel.with_target(query.format(prometheus.PromQueryFormat.TABLE).interval("2m"))
        panel.override_by_name(column.title, _look(column))
    if links:
        panel.override_by_name(heading, [models.DynamicConfigValue("links", list(links))])
    return panel


def _organized(
    label: str, heading: str, columns: Sequence[Column], also: Sequence[tuple[str, str]]
) -> dict[str, object]:
    """Name and order the joined fields, and leave out the time of each query."""
    # Only where there are several queries are values told apart by theirs.
    single = len(columns) == 1
    values = ["Value" if single else f"Value #{chr(ord('A') + i)}" for i in range(len(columns))]
    names = {label: heading, **dict(also)}
    names |= {value: column.title for value, column in zip(values, columns, strict=True)}
    # A join of one frame keeps its names; one of several numbers the times.
    times = ["Time", *(f"Time {number}" for number in range(1, len(columns) + 1))]
    return {
        "excludeByName": dict.fromkeys(times, True),
        "indexByName": {name: index for index, name in enumerate(names)},
        "renameByName": names,
    }


def _look(column: Column) -> list[models.DynamicConfigValue]:
    look = [models.DynamicConfigValue("unit", column.unit)]
    if column.decimals is not None:
        look.append(models.DynamicConfigValue("decimals", column.decimals))
    if column.texts:
        options = {
            value: {"text": text, "color": color, "index": index}
            for index, (value, (text, color)) in enumerate(column.texts.items())
        }
        mapping = [{"type": "value", "options": options}]
        look.append(models.DynamicConfigValue("mappings", mapping))
    if column.steps or column.texts:
        steps = thresholds(column.steps or ("transparent",)).build()
        look.append(models.DynamicConfigValue("thresholds", steps.to_json()))
        cell = {"type": "color-background", "mode": "basic"}
        look.append(models.DynamicConfigValue("custom.cellOptions", cell))
        look.append(models.DynamicConfigValue("color", {"mode": "thresholds"}))
    return look
