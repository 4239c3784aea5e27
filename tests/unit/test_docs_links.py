"""What the documents lead to is there: pages, headings, commands, options, metrics."""

import re
from pathlib import Path
from urllib.parse import unquote

import click
import pytest
from click.testing import CliRunner

from tests.support.markdown import ROOT, Page, anchor_of, commands_in, pages
from tools.reference_commands import all_commands
from z4j_exporter.cli import commands
from z4j_exporter.cli.metrics import metrics

HOME = re.compile(r"https://github\.com/z4j/z4j-exporter/(?:blob|tree|raw)/main/(.*)")
#: Options in the text that are other programs' own.
OTHER_OPTIONS = {
    "celery": {
        "--autoscale", "--broker", "--concurrency", "--heartbeat-interval", "--hostname",
        "--max-memory-per-child", "--max-tasks-per-child", "--pool", "--prefetch-multiplier",
        "--task-events", "--without-heartbeat",
    },
    "celery-exporter": {
        "--accept-content", "--host", "--log-level", "--port", "--queues", "--queue-wait-buckets",
        "--retry-interval",
    },
    "flower": {
        "--address", "--auth", "--auth_provider", "--auto_refresh", "--basic_auth", "--broker_api",
        "--ca_certs", "--certfile", "--db", "--debug", "--enable_events", "--inspect_timeout",
        "--keyfile", "--max_tasks", "--max_workers", "--natural_time", "--oauth2_key",
        "--persistent", "--port", "--purge_offline_workers", "--read_only", "--state_save_interval",
        "--task_runtime_metric_buckets", "--tasks_columns", "--unix_socket", "--url_prefix",
        "--xheaders",
    },
    "docker": {
        "--build-arg", "--cap-drop", "--no-healthcheck", "--read-only", "--security-opt",
        "--tmpfs", "--user", "--volume",
    },
    "pip, prometheus, make bench, tools": {"--no-deps", "--enable-feature", "--quick", "--check"},
}  # fmt: skip
#: Words that begin as our metrics do and are none.
NO_METRICS = {
    "celery_app", "celery_init_app", "celery_version", "celery_redis", "celery_task_queue_wait",
}  # fmt: skip

by_page = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)


def _target(page: Page, link: str) -> tuple[Path, str] | None:
    """Return the file and the anchor that a link leads to; None for another site."""
    if found := HOME.fullmatch(link):
        path, _, anchor = found[1].partition("#")
        return ROOT / unquote(path), anchor
    if re.match(r"[a-z][a-z0-9+.-]*:", link):
        return None
    path, _, anchor = link.partition("#")
    return (page.path.parent / unquote(path)).resolve() if path else page.path, anchor


def _broken(page: Page) -> list[str]:
    broken = []
    for link in page.links:
        target = _target(page, link)
        if target is None:
            continue
        path, anchor = target
        if path == page.path:
            good = anchor in page.anchors
        else:
            good = path.exists() and path.is_relative_to(ROOT)
            good = good and (not anchor or _leads(path, anchor))
        if not good:
            broken.append(link)
    return broken


def _leads(path: Path, anchor: str) -> bool:
    if path.suffix != ".md":
        return bool(re.fullmatch(r"L\d+(-L\d+)?", anchor))  # lines of a source
    return anchor in Page(path, path.read_text(encoding="utf-8")).anchors


@by_page
def test_every_link_leads_somewhere(page: Page) -> None:
    assert not _broken(page)


def test_every_page_is_reached() -> None:
    """From README.md, by links; a linked directory shows what is in it."""
    known = {page.path: page for page in pages()}
    waiting = [ROOT / "README.md"]
    reached: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path.is_dir():
            waiting.extend(path.glob("*.md"))
        elif path in known and path not in reached:
            reached.add(path)
            waiting.extend(t[0] for link in known[path].links if (t := _target(known[path], link)))
    for_readers = {path for path in known if not path.is_relative_to(ROOT / "tests")}
    assert len(for_readers) > 60
    assert not sorted(known[path].name for path in for_readers - reached)


def test_the_list_of_the_docs_is_whole() -> None:
    """docs/README.md leads to each page at once, but to runbooks by their own list."""
    contents = Page(ROOT / "docs" / "README.md", (ROOT / "docs" / "README.md").read_text("utf-8"))
    listed = {target[0] for link in contents.links if (target := _target(contents, link))}
    runbooks = ROOT / "docs" / "runbooks"
    wanted = {
        page.path
        for page in pages()
        if page.path != contents.path
        and not page.path.is_relative_to(ROOT / "tests")
        and (page.path.parent != runbooks or page.path.name == "README.md")
    }
    assert not sorted(path.name for path in wanted - listed)


def _complaint(call: list[str]) -> str:
    """Return what the real command line has against a call; "" if nothing.

    Dots may stand for a value, or for nothing.
    """
    found = [_against(call), _against([word for word in call if word != "…"])]
    return found[0] if all(found) else ""


def _against(call: list[str]) -> str:
    command: click.Command = commands
    context = click.Context(commands, info_name="z4j-exporter")
    words = list(call)
    while isinstance(command, click.Group):
        if words and words[0] in ("--help", "-h", "--version"):
            return ""
        if not words:
            return "" if call else "it is only the program's name"
        name = words.pop(0)
        found = command.get_command(context, name)
        if found is None:
            return f"there is no command {name}"
        command, context = found, click.Context(found, parent=context, info_name=name)
    try:
        values, rest, _ = command.make_parser(context).parse_args(words)
        for parameter in command.params:
            value = values.get(parameter.name or "")
            chosen = isinstance(parameter.type, click.Choice) and isinstance(value, str)
            if chosen and not value.isupper() and "|" not in value:  # else it stands for one
                parameter.type.convert(value, parameter, context)
    except click.UsageError as error:
        return error.format_message()
    return f"too many words: {rest}" if rest else ""


def _calls(page: Page) -> list[list[str]]:
    pieces = [*page.blocks, *(code for code in page.inline if code.startswith("z4j-exporter "))]
    return [call for piece in pieces for call in commands_in(piece, "z4j-exporter")]


@by_page
def test_every_command_is_one(page: Page) -> None:
    calls = [call for call in _calls(page) if call]
    assert not [(call, why) for call in calls if (why := _complaint(call))]


def _unknown_options(page: Page) -> set[str]:
    ours = {o for _, c in all_commands() for p in c.params for o in (*p.opts, *p.secondary_opts)}
    known = ours.union({"--help", "--version"}, *OTHER_OPTIONS.values())
    named = {
        found
        for code in page.inline
        if code.startswith("--")
        for found in re.findall(r"(?:^|\s)(--[a-z][\w-]*[a-z])(?=[\s=,]|$)", code)
    }
    return named - known


@by_page
def test_every_option_in_the_text_is_somebodys(page: Page) -> None:
    assert not _unknown_options(page)


def _families() -> set[str]:
    found: set[str] = set()
    for profile in ("native", "celery-exporter", "flower"):
        text = CliRunner().invoke(metrics, ["--metrics-profile", profile]).output
        found |= set(re.findall(r"^(\w+)  ", text, re.M))
    return found


FAMILIES = _families()


def _is_metric(name: str) -> bool:
    if name.endswith("_"):  # celery_exporter_*, celery_worker_…
        return any(family.startswith(name) for family in FAMILIES)
    plain = re.sub(r"_(bucket|sum|count|created)$", "", name)
    # By OTLP, counters have no _total.
    return not {name, plain, f"{name}_total"}.isdisjoint(FAMILIES)


def _unknown_metrics(page: Page) -> set[str]:
    named = set(re.findall(r"(?<![\w.:/-])((?:celery|flower)_[a-z0-9_]+)(?![\w(=.])", page.text))
    settings = {name for name in named if f"{name} =" in page.text}
    return {n for n in named - settings - NO_METRICS if not _is_metric(n)}


@by_page
def test_every_metric_is_in_the_catalogue(page: Page) -> None:
    assert not _unknown_metrics(page)


# -- the checks themselves ------------------------------------------------------------------------


def _page(text: str) -> Page:
    return Page(ROOT / "docs" / "try.md", text)


@pytest.mark.parametrize(
    "text",
    [
        "[x](nowhere.md)",
        "[x](#no-heading)\n\n# A heading",
        "[x](metrics.md#no-such)",
        "[`x`](nowhere.md)",
        "[x]: nowhere.md",
        '<img src="nowhere.png">',
        "[x](https://github.com/z4j/z4j-exporter/blob/main/docs/nowhere.md)",
        "[x](../../../../etc/hostname)",
    ],
)
def test_a_broken_link_is_found(text: str) -> None:
    assert len(_broken(_page(text))) == 1


def test_a_good_link_is_none() -> None:
    heading = "# It's `--x`, a heading\n"
    text = f"{heading * 2}[a](#its---x-a-heading-1) [b](../README.md)"
    assert not _broken(_page(text))
    assert not _broken(_page("[c](https://example.org/nowhere.md) [d](metrics.md#exemplars)"))
    assert anchor_of("What is *counted*, exactly") == "what-is-counted-exactly"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```\n$ z4j-exporter runn\n```", "there is no command runn"),
        ("```sh\nX=1 z4j-exporter run --brokerurl a\n```", "No such option '--brokerurl'"),
        ("text\n\n    cat f | z4j-exporter events --fort x\n", "No such option '--fort'"),
        ("see `z4j-exporter token new --role king n`", "'king' is not one of"),
        ("```\nz4j-exporter run \\\n  --broker-url\n```", "Option '--broker-url' requires"),
        ("`z4j-exporter run once more`", "too many words"),
        ("    sudo -u z4j-exporter /opt/bin/z4j-exporter new", "there is no command new"),
        ("```\nx=$(z4j-exporter tokens)\n```", "there is no command tokens"),
    ],
)
def test_a_wrong_command_is_found(text: str, complaint: str) -> None:
    found = [_complaint(call) for call in _calls(_page(text)) if call]
    assert len(found) == 1
    assert complaint in found[0]


def test_a_right_command_is_none() -> None:
    text = "    $ z4j-exporter action retry ID [--args JSON] | head  # a comment's words\n"
    assert _calls(_page(text)) == [["action", "retry", "ID", "--args", "JSON"]]
    assert not _complaint(_calls(_page(text))[0])


def test_a_wrong_option_is_found() -> None:
    text = "`--broker-url`, `--brokerurl`, `--trace-ratio 0.1 --trace-ration`, `helm --set x=1`"
    assert _unknown_options(_page(text)) == {"--brokerurl", "--trace-ration"}


def test_a_wrong_metric_is_found() -> None:
    text = (
        "`celery_worker_upp`, `celery_worker_up`, `celery_worker_…`\n\n    rate(celery_task_x[5m])"
    )
    assert _unknown_metrics(_page(text)) == {"celery_worker_upp", "celery_task_x"}
    assert _is_metric("celery_task_runtime_seconds_bucket")
    assert _is_metric("celery_exporter_")
    assert not _is_metric("celery_task_runtime_seconds_total")
    assert not _is_metric("celery_tasks_failed_total")
