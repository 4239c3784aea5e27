"""Where the dashboards are, and the links that lead from a cell of a table to them."""

from urllib.parse import quote

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models

#: On all dashboards; the links at the top list whatever has it.
TAG = "z4j-exporter"
#: Uids stay for good: bookmarks and runbooks lead to them.
OVERVIEW = "celery-overview"
TASK = "celery-task"
WORKERS = "celery-workers"
QUEUES = "celery-queues"
EXPORTER = "celery-exporter"
ACTIONS = "celery-actions"

_CARRIED = "${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${__url_time_range}"


def to(uid: str, title: str, variable: str = "") -> dict[str, object]:
    """Return a data link to a dashboard; ``variable`` takes the cell's value there.

    Variables of the same meaning and the time range go along.
    """
    chosen = f"&var-{variable}=${{__value.raw:percentencode}}" if variable else ""
    return {"title": title, "url": f"/d/{uid}/{uid}?{_CARRIED}{chosen}", "targetBlank": False}


def panel_link(uid: str, title: str) -> builders.DashboardLink:
    """Return a link in a panel's corner that leads to a dashboard."""
    url = f"/d/{uid}/{uid}?{_CARRIED}"
    return builders.DashboardLink(title).type(models.DashboardLinkType.LINK).url(url)


def to_dashboards() -> builders.DashboardLink:
    """Return the row of links to all dashboards, with variables and time range."""
    return (
        builders.DashboardLink("Celery")
        .type(models.DashboardLinkType.DASHBOARDS)
        .icon("dashboard")
        .tags([TAG])
        .include_vars(True)
        .keep_time(True)
    )


def to_explore(title: str, tooltip: str, source: str, query: str) -> builders.DashboardLink:
    """Return a link to Explore with a query (JSON) for the data source in variable ``source``.

    Grafana puts the variables in, so they stay as they are while the rest is encoded.
    """
    panes = (
        f'{{"a":{{"datasource":"${{{source}}}","queries":[{query}],'
        '"range":{"from":"${__from}","to":"${__to}"}}}'
    )
    url = f"/explore?schemaVersion=1&panes={_encoded(panes)}"
    link = builders.DashboardLink(title).type(models.DashboardLinkType.LINK).icon("external link")
    return link.tooltip(tooltip).url(url).target_blank(True)


def _encoded(text: str) -> str:
    """Percent-encode all but references to variables: ``${…}``."""
    encoded = ""
    while text:
        before, dollar, rest = text.partition("${")
        name, brace, text = rest.partition("}")
        encoded += quote(before, safe="") + dollar + name + brace
    return encoded
