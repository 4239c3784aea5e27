"""The kinds of panel that the dashboards are made of: a number, lines, a heatmap."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from grafana_foundation_sdk.builders import common, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models import prometheus as prometheus_models

from dashboards.variables import PROMETHEUS

GREEN, ORANGE, RED, BLUE, GREY = "green", "orange", "red", "blue", "#808080"

#: Seconds that a rate in a number looks back at least: less is noise, more is history.
_NUMBER_INTERVAL = "2m"

#: The lowest colour, and (from this value on, this colour).
Steps = tuple[str, *tuple[tuple[float, str], ...]]

#: Neither good nor bad.
PLAIN: Steps = (BLUE,)
#: Nothing of this may happen. A half, since increase() extrapolates.
NONE_ALLOWED: Steps = (GREEN, (0.5, RED))
#: Worth a look, no alarm.
NONE_EXPECTED: Steps = (GREEN, (0.5, ORANGE))
#: The failed part of tasks: 1 and 5 per cent.
FAILURES: Steps = (GREEN, (0.01, ORANGE), (0.05, RED))
#: Seconds that a message waits: a minute, ten minutes.
WAITING: Steps = (GREEN, (60, ORANGE), (600, RED))
#: Seconds that a task runs: half an hour; an hour is Celery's visibility timeout on Redis, after
#: which a task with late acknowledgement is given out a second time.
RUNNING: Steps = (GREEN, (1800, ORANGE), (3600, RED))
#: Seconds until a queue is empty: ten minutes, an hour.
DRAINING: Steps = (GREEN, (600, ORANGE), (3600, RED))


class Query(NamedTuple):
    """An expression and the name of its lines."""

    expr: str
    #: With {{label}}; the panel's title if there is nothing to tell apart.
    legend: str = ""
    #: Ask for exemplars too: dots that lead to a trace.
    exemplar: bool = False


def thresholds(steps: Steps) -> builders.ThresholdsConfig:
    """Return Grafana's form of ``steps``."""
    lowest, *others = steps
    rows = [models.Threshold(color=lowest)]
    rows += [models.Threshold(value=value, color=color) for value, color in others]
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(rows)


def named(values: dict[str, tuple[str, str]]) -> list[models.ValueMapping]:
    """Return mappings from a value to (text, colour)."""
    options = {
        value: models.ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(values.items())
    }
    return [models.ValueMap(options=options)]


#: A gauge that is 1 while all is well.
YES_NO = {"1": ("yes", GREEN), "0": ("no", RED)}


def target(index: int, query: Query, *, instant: bool) -> prometheus.Dataquery:
    """Return a query as Grafana stores it; the first is called A."""
    made = (
        prometheus.Dataquery()
        .datasource(PROMETHEUS)
        .expr(query.expr)
        .ref_id(chr(ord("A") + index))
        .editor_mode(prometheus_models.QueryEditorMode.CODE)
        .legend_format(query.legend or "__auto")
    )
    if query.exemplar:
        made.exemplar(True)
    return made.instant() if instant else made.range()


def number(
    title: str,
    description: str,
    expr: str,
    unit: str,
    steps: Steps,
    *,
    width: int = 3,
    texts: dict[str, tuple[str, str]] | None = None,
    absent: str = "no data",
    decimals: int | None = None,
    link: builders.DashboardLink | None = None,
) -> stat.Panel:
    """Return a coloured number: the value now.

    The query is instant. With a range, what has gone away would be shown as it was last.
    """
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .span(width)
        .height(4)
        .unit(unit)
        .thresholds(thresholds(steps))
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .color_mode(common_models.BigValueColorMode.BACKGROUND)
        .graph_mode(common_models.BigValueGraphMode.NONE)
        .text_mode(common_models.BigValueTextMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["last"]).values(False).fields(""))
        .no_value(absent)
        .with_target(target(0, Query(expr, title), instant=True).interval(_NUMBER_INTERVAL))
    )
    if texts:
        panel.mappings(named(texts))
    if decimals is not None:
        panel.decimals(decimals)
    if link:
        panel.links([link])
    return panel


def lines(
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    *,
    width: int = 12,
    stacked: bool = False,
    calcs: Sequence[str] = ("mean", "max", "last"),
    steps: Steps | None = None,
    lowest: float | None = 0,
    highest: float | None = None,
    colors: dict[str, str] | None = None,
) -> timeseries.Panel:
    """Return lines over time, their legend a table with ``calcs``, the highest first.

    ``steps`` are drawn as dashed lines; ``colors`` are fixed for lines of these names.
    """
    legend = (
        common.VizLegendOptions()
        .display_mode(common_models.LegendDisplayMode.TABLE)
        .placement(common_models.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(list(calcs))
    )
    if calcs:
        legend.sort_by({"last": "Last"}.get(calcs[-1], calcs[-1].title())).sort_desc(True)
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .span(width)
        .height(9)
        .unit(unit)
        .line_width(1)
        .fill_opacity(30 if stacked else 5)
        .show_points(common_models.VisibilityMode.NEVER)
        # A gap means that nothing is known: it stays a gap.
        .span_nulls(False)
        .legend(legend)
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_models.TooltipDisplayMode.MULTI)
            .sort(common_models.SortOrder.DESCENDING)
        )
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
    )
    for index, query in enumerate(queries):
        panel.with_target(target(index, query, instant=False))
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A"))
    if lowest is not None:
        panel.min(lowest)
    if highest is not None:
        panel.max(highest)
    if steps:
        panel.thresholds(thresholds(steps)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED)
        )
    _fix_colors(panel, (colors or {}).items())
    return panel


def _fix_colors(panel: timeseries.Panel, colors: Iterable[tuple[str, str]]) -> None:
    for name, color in colors:
        fixed = {"mode": "fixed", "fixedColor": color}
        panel.override_by_name(name, [models.DynamicConfigValue("color", fixed)])


def heat(title: str, description: str, expr: str, unit: str, *, width: int = 12) -> heatmap.Panel:
    """Return a heatmap of a histogram's buckets, its exemplars as dots."""
    query = Query(expr, "{{le}}", exemplar=True)
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .span(width)
        .height(9)
        .unit(unit)
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_models.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .steps(64)
        )
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .exemplars_color("rgba(0, 120, 255, 0.8)")
        .with_target(
            target(0, query, instant=False).format(prometheus_models.PromQueryFormat.HEATMAP)
        )
    )
