"""The dashboards' files: in step with their code, and free of what Grafana would stumble over."""

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, get_args

import promql_parser as promql
import pytest
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.all import DASHBOARDS, as_json
from dashboards.promql import SCOPE
from tests.support.dashboards import (
    DIRECTORY,
    FILES,
    Target,
    fill,
    label_values,
    panels,
    query_variables,
    read,
    targets,
)
from z4j_exporter.actions.alert_stats import Decision
from z4j_exporter.metrics.catalogue import CATALOGUE

BOARDS = {path.stem: read(path) for path in FILES}
UIDS = {board["uid"] for board in BOARDS.values()}
ALL_TARGETS = [target for board in BOARDS.values() for target in targets(board)]
FAMILIES = {family.name: family for family in CATALOGUE}
#: Labels that Prometheus adds to every series.
TARGET_LABELS = {"job", "instance", "pod"}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

by_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)


IN_PROGRESS = {"waiting", "reserved", "running"}
#: What a label may be where an expression names its value: a typo would find nothing, for ever.
VALUES = {
    ("celery_tasks_in_progress", "state"): IN_PROGRESS,
    ("celery_task_oldest_in_progress_seconds", "state"): IN_PROGRESS,
    ("celery_queue_messages", "state"): {"ready", "unacked"},
    ("celery_worker_task_events_total", "state"): {"started", "succeeded", "failed"},
    ("celery_worker_load", "period"): {"1m", "5m", "15m"},
    ("celery_exporter_alert_rules_total", "decision"): set(get_args(Decision)),
}
#: Stands for whatever the variables choose.
CHOSEN = "chosen"
#: Labels with as many values as an installation is large.
MANY = {"task", "queue", "worker"}


def parsed(expr: str) -> Any:
    names = {v["name"] for board in BOARDS.values() for v in board["templating"]["list"]}
    values = dict.fromkeys(names, CHOSEN)
    return promql.parse(fill(expr, values, interval="1m", over="1h"))


def children(node: Any) -> Iterator[Any]:
    for name in ("lhs", "rhs", "expr", "param", "vector_selector"):
        if (child := getattr(node, name, None)) is not None:
            yield child
    yield from getattr(node, "args", ())


def walk(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Yield every node with those above it, the outermost first."""
    yield node, above
    for child in children(node):
        yield from walk(child, (*above, node))


def selectors(node: Any) -> Iterator[Any]:
    return (each for each, _ in walk(node) if isinstance(each, promql.VectorSelector))


def kind_and_labels(name: str) -> tuple[str, set[str]]:
    """Return the type of a series and the labels that it may have."""
    if name == "up" or name.startswith("process_"):
        kind = "counter" if name.endswith("_total") else "gauge"
        return kind, TARGET_LABELS
    if name in FAMILIES:
        family = FAMILIES[name]
        assert family.type != "histogram", f"{name} is a histogram: use its buckets"
        return family.type, TARGET_LABELS | set(family.labels)
    base, _, suffix = name.rpartition("_")
    assert suffix in ("bucket", "sum", "count"), f"{name} is in no catalogue"
    assert FAMILIES[base].type == "histogram", name
    more = {"le"} if suffix == "bucket" else set()
    return "counter", TARGET_LABELS | set(FAMILIES[base].labels) | more


def test_the_files_are_those_of_the_code() -> None:
    assert sorted(BOARDS) == sorted(DASHBOARDS)
    for name, build in DASHBOARDS.items():
        written = (DIRECTORY / f"{name}.json").read_text(encoding="utf-8")
        assert written == as_json(build()), f"run make generate: {name}.json is out of step"


def test_no_dashboard_is_missing() -> None:
    assert {f"celery-{name}" for name in BOARDS} == UIDS
    assert {"overview", "task", "workers", "queues", "exporter", "actions"} == set(BOARDS)


@by_board
def test_a_file_survives_grafanas_own_model(board: dict[str, Any]) -> None:
    again = as_json(Dashboard.from_json(board))
    name = board["uid"].removeprefix("celery-")
    assert again == (DIRECTORY / f"{name}.json").read_text(encoding="utf-8")
    # Schema 39 is Grafana 11.0, 41 is 11.6.
    assert 39 <= board["schemaVersion"] <= 41
    assert board["editable"] is True
    # Grafana gives these: a file that has them overwrites another dashboard, or is refused.
    assert board.get("id") is None
    assert "version" not in board
    assert "__inputs" not in board


@by_board
def test_ids_are_unique_and_panels_do_not_overlap(board: dict[str, Any]) -> None:
    everything = [*board["panels"], *(p for row in board["panels"] for p in row.get("panels", ()))]
    ids = Counter(panel["id"] for panel in everything)
    assert max(ids.values()) == 1, ids
    titles = Counter(panel["title"] for panel in everything)
    assert max(titles.values()) == 1, titles
    folded = [row["panels"] for row in board["panels"] if row.get("panels")]
    for layer in (board["panels"], *folded):
        for panel in layer:
            pos = panel["gridPos"]
            assert pos["w"] > 0
            assert pos["h"] > 0
            assert pos["x"] >= 0
            assert pos["x"] + pos["w"] <= 24, panel["title"]
        for one, other in itertools.combinations(layer, 2):
            a, b = one["gridPos"], other["gridPos"]
            beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
            below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
            assert beside or below, (one["title"], other["title"])


@by_board
def test_every_panel_says_what_it_means_in_which_unit_from_where(board: dict[str, Any]) -> None:
    for panel in panels(board):
        title = panel["title"]
        assert len(panel["description"]) > 20, title
        assert panel["description"].endswith("."), title
        assert panel["fieldConfig"]["defaults"]["unit"], title
        assert panel["datasource"] == DATASOURCE, title
        assert panel["targets"], title
        assert all(target["datasource"] == DATASOURCE for target in panel["targets"]), title
        ids = [target["refId"] for target in panel["targets"]]
        assert len(set(ids)) == len(ids), title
        assert all(len(each) == 1 and each.isalpha() for each in ids), title
        # One of the two, or Grafana asks twice.
        assert all(target["instant"] != target["range"] for target in panel["targets"]), title


@by_board
def test_numbers_show_the_present_and_say_when_there_is_none(board: dict[str, Any]) -> None:
    numbers = [panel for panel in panels(board) if panel["type"] == "stat"]
    for panel in numbers:
        # With a range, the last value of what has gone away would stay.
        assert all(target["instant"] for target in panel["targets"]), panel["title"]
        assert panel["fieldConfig"]["defaults"]["noValue"], panel["title"]
        assert panel["options"]["colorMode"] == "background"
    assert len(numbers) >= 8
    # They are the first thing to be seen.
    assert {panel["gridPos"]["y"] for panel in numbers[:8]} == {1}


@by_board
def test_tables_name_and_place_every_column(board: dict[str, Any]) -> None:
    for panel in panels(board):
        if panel["type"] != "table":
            continue
        join, organize = panel["transformations"]
        renamed = organize["options"]["renameByName"]
        assert join["options"]["byField"] in renamed
        shown = set(renamed.values())
        # Grafana's name of a table's only value.
        many = len(panel["targets"]) > 1
        values = {f"Value #{t['refId']}" if many else "Value" for t in panel["targets"]}
        assert values <= set(renamed), panel["title"]
        styled = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
        assert styled <= shown, panel["title"]
        assert {each["displayName"] for each in panel["options"]["sortBy"]} <= shown
        for target in panel["targets"]:
            assert target["format"] == "table"
            assert target["instant"] is True
            # Rows are joined by this label.
            joined = re.escape(join["options"]["byField"])
            assert re.search(rf"by \([\w, ]*\b{joined}\b", target["expr"]), panel["title"]


def test_there_is_a_datasource_variable_everywhere_and_no_uid_of_somebodys() -> None:
    for board in BOARDS.values():
        variables = {each["name"]: each for each in board["templating"]["list"]}
        assert variables["datasource"]["type"] == "datasource"
        assert variables["datasource"]["query"] == "prometheus"
        for variable in query_variables(board):
            assert variable["datasource"] == DATASOURCE
        assert [each["datasource"] for each in board["annotations"]["list"]] == [DATASOURCE]
        assert len(variables) == len(board["templating"]["list"])


def test_variables_choose_what_their_meaning_asks_for() -> None:
    for name, board in BOARDS.items():
        for variable in query_variables(board):
            many = variable["name"] != "task"
            assert (variable["multi"], variable["includeAll"]) == (many, many), (name, variable)
            if many:
                assert variable["current"]["value"] == ["$__all"]
            # All exporters are listed, since `up` knows other jobs; of names, there may be many.
            everything = None if variable["name"] in ("job", "instance") else ".*"
            assert variable.get("allValue") == (everything if many else None)
            selector, label = label_values(variable)
            (found,) = selectors(parsed(selector))
            assert label in kind_and_labels(found.name)[1]


def test_variables_of_one_name_mean_the_same_everywhere() -> None:
    """Links carry variables from one dashboard to the other."""
    multi: dict[str, set[bool]] = {}
    for board in BOARDS.values():
        for variable in query_variables(board):
            multi.setdefault(variable["name"], set()).add(variable["multi"])
    assert all(len(kinds) == 1 for kinds in multi.values()), multi


@pytest.mark.parametrize("target", ALL_TARGETS, ids=lambda t: f"{t.dashboard}-{t.panel}")
class TestExpression:
    def test_it_uses_known_series_and_labels_within_the_scope(self, target: Target) -> None:
        tree = parsed(target.expr)
        found = list(selectors(tree))
        assert found
        for selector in found:
            _, labels = kind_and_labels(selector.name)
            matched = {matcher.name for matcher in selector.matchers.matchers}
            assert matched <= labels, selector
            # Nobody else's series.
            assert {"job", "instance"} <= matched, selector
        assert target.expr.count(",".join(SCOPE)) == len(found)

    def test_it_asks_for_values_that_occur(self, target: Target) -> None:
        for selector in selectors(parsed(target.expr)):
            for matcher in selector.matchers.matchers:
                if matcher.value not in (CHOSEN, ""):
                    known = VALUES[selector.name, matcher.name]
                    assert set(matcher.value.split("|")) <= known, selector

    def test_counters_are_looked_at_by_their_growth_and_gauges_are_not(
        self, target: Target
    ) -> None:
        for node, above in walk(parsed(target.expr)):
            if isinstance(node, promql.VectorSelector):
                kind, _ = kind_and_labels(node.name)
                functions = [each.func.name for each in above if isinstance(each, promql.Call)]
                grown = bool(functions) and functions[-1] in ("rate", "increase")
                assert grown == (kind == "counter"), node

    def test_it_groups_by_labels_that_are_there(self, target: Target) -> None:
        for node, _ in walk(parsed(target.expr)):
            if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
                for selector in selectors(node.expr):
                    _, labels = kind_and_labels(selector.name)
                    assert set(node.modifier.labels) <= labels, node
            if isinstance(node, promql.BinaryExpr) and node.modifier is not None:
                matching = node.modifier.matching
                for side in (node.lhs, node.rhs) if matching else ():
                    there = set().union(*(kind_and_labels(s.name)[1] for s in selectors(side)))
                    assert set(matching.labels) <= there, node

    def test_rates_follow_the_step(self, target: Target) -> None:
        windows = set(re.findall(r"\[([^\]]+)\]", target.expr))
        assert windows <= {"$__rate_interval", "$__range"}
        for _, window in re.findall(r"(rate)\([^[]+\[([^\]]+)\]", target.expr):
            # The rank of a graph's lines is taken of the whole range.
            assert window == "$__rate_interval" or "@ end()" in target.expr


@by_board
def test_lines_stay_few_in_a_large_installation(board: dict[str, Any]) -> None:
    """Ten of five hundred workers are drawn; all of them are in a table."""
    drawn = 0
    for panel in panels(board):
        assert "repeat" not in panel
        if panel["type"] != "timeseries":
            continue
        # One task has few queues.
        many = MANY - {"queue"} if board["uid"] == "celery-task" else MANY
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            if named & many:
                assert "topk(10, " in target["expr"], panel["title"]
                drawn += 1
    assert drawn or board["uid"] in ("celery-exporter", "celery-actions", "celery-task")


def test_annotations_parse() -> None:
    for board in BOARDS.values():
        for annotation in board["annotations"]["list"]:
            assert [each.name for each in selectors(parsed(annotation["expr"]))] == ["ALERTS"]


def test_histograms_ask_for_exemplars_where_there_are_some() -> None:
    """Only families of tasks and groups have them."""
    asked = 0
    for board in BOARDS.values():
        for panel in panels(board):
            for target in panel["targets"]:
                if panel["type"] not in ("timeseries", "heatmap"):
                    assert "exemplar" not in target
                elif re.search(r"celery_(task|group)_\w+_seconds_bucket", target["expr"]):
                    assert target["exemplar"] is True, panel["title"]
                    asked += 1
    assert asked > 15


def links(value: Any) -> Iterator[dict[str, Any]]:
    """Yield whatever has an address."""
    if isinstance(value, dict):
        if value.get("url"):
            yield value
        for child in value.values():
            yield from links(child)
    elif isinstance(value, list):
        for child in value:
            yield from links(child)


@by_board
def test_links_lead_to_dashboards_that_are_there(board: dict[str, Any]) -> None:
    variables = {each["name"] for each in board["templating"]["list"]}
    for link in links(board):
        url = link["url"]
        if url.startswith("/explore?"):
            sources = re.findall(r"\$\{(tempo|jaeger)\}", url)
            assert sources
            assert set(sources) <= variables
            continue
        found = re.match(r"/d/([\w-]+)/\1\?", url)
        assert found, url
        assert found[1] in UIDS
        assert "${__url_time_range}" in url
        assert "${datasource:queryparam}" in url
        there = {
            each["name"] for each in BOARDS[found[1].removeprefix("celery-")]["templating"]["list"]
        }
        assert set(re.findall(r"&var-(\w+)=", url)) <= there, url
        # What it takes along is there to be taken.
        assert set(re.findall(r"\$\{(\w+):queryparam\}", url)) <= variables


@by_board
def test_all_dashboards_link_to_each_other_with_variables_and_time(board: dict[str, Any]) -> None:
    (link,) = [each for each in board["links"] if each["type"] == "dashboards"]
    assert link["includeVars"] is True
    assert link["keepTime"] is True
    assert set(link["tags"]) <= set(board["tags"])


def test_the_overview_leads_on() -> None:
    reached = {
        url
        for link in links(BOARDS["overview"])
        for url in re.findall(r"/d/([\w-]+)/", link["url"])
    }
    assert reached == {"celery-task", "celery-queues", "celery-workers", "celery-exporter"}
