"""Puts panels into rows, and rows into a dashboard with variables and links."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from dashboards.links import TAG, to_dashboards
from dashboards.variables import PROMETHEUS, datasource, exporters

#: Columns of Grafana's grid.
GRID = 24
#: Ids of a row's panels begin at its number times this: adding a panel at a row's end, or a row
#: at the dashboard's, changes no other panel's id, and links to a panel stay valid.
_IDS_A_ROW = 100


class PanelBuilder(Protocol):
    """Any builder of a panel, its width and height set."""

    def build(self) -> models.Panel:
        """Return the panel."""


class Row(NamedTuple):
    """A titled row of panels, placed from left to right."""

    title: str
    panels: Sequence[PanelBuilder]
    #: Folded up at first; its queries run when it is opened.
    collapsed: bool = False


def dashboard(
    uid: str,
    title: str,
    description: str,
    variables: Iterable[Builder[models.VariableModel]],
    rows: Iterable[Row],
    links: Iterable[builders.DashboardLink] = (),
) -> models.Dashboard:
    """Return a dashboard of ``rows`` with the variables and links that all of them have."""
    made = (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG, "celery"])
        .editable()
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("30s")
        .variables([datasource(), *exporters(), *variables])
        .links([to_dashboards(), *links])
        .annotation(_alerts())
        .build()
    )
    made.panels = []
    top = 0
    for number, row in enumerate(rows, start=1):
        top = _place(made.panels, row, number, top)
    return made


def _place(panels: list[models.Panel | models.RowPanel], row: Row, number: int, top: int) -> int:
    """Add a row at height ``top``; return where the next one begins."""
    head = models.RowPanel(
        collapsed=row.collapsed,
        title=row.title,
        grid_pos=models.GridPos(h=1, w=GRID, x=0, y=top),
        id_val=number * _IDS_A_ROW,
    )
    x, y, height = 0, top + 1, 0
    placed = []
    for index, builder in enumerate(row.panels, start=1):
        panel = builder.build()
        assert panel.grid_pos is not None  # noqa: S101 - every panel of panels.py has a size
        if x + panel.grid_pos.w > GRID:
            x, y, height = 0, y + height, 0
        panel.id_val = head.id_val + index
        panel.grid_pos.x, panel.grid_pos.y = x, y
        x, height = x + panel.grid_pos.w, max(height, panel.grid_pos.h)
        placed.append(panel)
    panels.append(head)
    if row.collapsed:
        head.panels = placed
        return top + 1
    panels.extend(placed)
    return y + height


def _alerts() -> builders.AnnotationQuery:
    """Mark the times when an alert about Celery was firing, where Prometheus has such alerts."""
    return (
        builders.AnnotationQuery()
        .name("Alerts")
        .datasource(PROMETHEUS)
        .enable(True)
        .icon_color("red")
        .expr('ALERTS{alertname=~"Celery.*",alertstate="firing"}')
    )
