"""Which dashboards there are, and how one becomes a file."""

import json
from collections.abc import Callable, Mapping

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import actions, exporter, overview, queues, task, workers

#: The file's name without its ending, and what builds the dashboard.
DASHBOARDS: Mapping[str, Callable[[], Dashboard]] = {
    "actions": actions.build,
    "exporter": exporter.build,
    "overview": overview.build,
    "queues": queues.build,
    "task": task.build,
    "workers": workers.build,
}


def as_json(dashboard: Dashboard) -> str:
    """Return the file's text: sorted, so that a diff shows what changed and nothing else."""
    text = json.dumps(dashboard, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
    return text + "\n"
