"""The variables at the top of the dashboards."""

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models

from dashboards.promql import series

#: The Prometheus that the dashboard's variable chose: no data source is written into a file.
PROMETHEUS = models.DataSourceRef(type_val="prometheus", uid="${datasource}")

_EDITOR = "PrometheusVariableQueryEditor-VariableQuery"
_ALL = models.VariableOption(text=["All"], value=["$__all"], selected=True)
#: Matches series without the label too: a task whose queue is not known has none.
_ANY = ".*"


def datasource() -> builders.DatasourceVariable:
    """Choose the Prometheus."""
    return builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus")


def traces(kind: str, label: str) -> builders.DatasourceVariable:
    """Choose where traces are: ``kind`` is tempo or jaeger."""
    return builders.DatasourceVariable(kind).label(label).type(kind)


def _label_values(name: str, title: str, metric: str, label: str) -> builders.QueryVariable:
    query = f"label_values({metric}, {label})"
    return (
        builders.QueryVariable(name)
        .label(title)
        .datasource(PROMETHEUS)
        # As Grafana's own editor writes it.
        .query({"qryType": 1, "query": query, "refId": _EDITOR})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
    )


def exporters() -> list[builders.QueryVariable]:
    """Choose among the exporters.

    All is the list of them, not every name there is: ``up`` knows other jobs too.
    """
    metric = "celery_exporter_build_info"
    job = _label_values("job", "Job", metric, "job")
    within = _label_values("instance", "Exporter", f'{metric}{{job=~"$job"}}', "instance")
    return [each.multi(True).include_all(True).current(_ALL) for each in (job, within)]


def several(name: str, title: str, metric: str, label: str) -> builders.QueryVariable:
    """Choose any number of a label's values, all at first."""
    chosen = _label_values(name, title, series(metric), label)
    return chosen.multi(True).include_all(True).all_value(_ANY).current(_ALL)


def one(name: str, title: str, metric: str, label: str) -> builders.QueryVariable:
    """Choose one of a label's values."""
    return _label_values(name, title, series(metric), label)


def queue() -> builders.QueryVariable:
    """Choose queues that tasks were sent to."""
    return several("queue", "Queue", "celery_task_received_total", "queue")


def broker_queue() -> builders.QueryVariable:
    """Choose queues that the broker holds."""
    return several("queue", "Queue", "celery_queue_messages", "queue")
