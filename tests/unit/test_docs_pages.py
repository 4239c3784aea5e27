"""Pages that tell what the code is made of name all of it: layers, threads, the doctor's checks."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.markdown import ROOT, Page, pages

DOCS = {page.path.name: page for page in pages() if page.path.parent == ROOT / "docs"}
PACKAGE = ROOT / "z4j_exporter"
#: How threads get their names: as a literal.
_THREAD = re.compile(r"(?:Thread|Workers|super\(\).__init__)\([^()]*\bname=\"([\w-]+)\"", re.S)


def _layers() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (layered,) = [contract for contract in contracts if contract["type"] == "layers"]
    return [layer.replace("z4j_exporter.", "") for layer in layered["layers"]]


def test_the_architecture_shows_the_layers_of_the_contract() -> None:
    shown = DOCS["architecture.md"].text.partition("<!-- layers -->")[2]
    found = re.search(r"```text\n(.*?)```", shown, re.S)
    assert found
    assert found[1].splitlines() == _layers()


@pytest.mark.parametrize("part", [part for layer in _layers() for part in layer.split(" | ")])
def test_the_architecture_says_what_each_part_does(part: str) -> None:
    assert (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").is_file()
    table = DOCS["architecture.md"].text.partition("| part | does |")[2].partition("\n\n")[0]
    assert f"`{part}`" in " ".join(line.split("|")[1] for line in table.splitlines()[2:])


def _threads() -> set[str]:
    names = {"z4j-web", "z4j-actions"}  # the listener's: z4j- and its name
    for path in PACKAGE.rglob("*.py"):
        # The hook's thread runs in the application, the demo's in the demo.
        if path.relative_to(PACKAGE).parts[0] not in ("capture", "demo"):
            names |= set(_THREAD.findall(path.read_text(encoding="utf-8")))
    return names


def test_the_architecture_names_every_thread() -> None:
    threads = _threads()
    assert {"reader", "applier", "fleet", "queue-poller", "render", "journal"} <= threads
    table = DOCS["architecture.md"].text.partition("## Threads")[2]
    assert not {name for name in threads if f"`{name}`" not in table}


def _mermaid(page: Page) -> list[str]:
    return re.findall(r"```mermaid\n(.*?)```", page.text, re.S)


def test_the_diagram_shows_the_data_path() -> None:
    """Its syntax is the simple one: a shape for each node, arrows, subgraphs that end."""
    (diagram,) = _mermaid(DOCS["architecture.md"])
    for part in ("sources", "buffer", "events", "track", "metrics", "tracing", "web", "actions"):
        assert part in diagram
    opened = diagram.count("subgraph ")
    assert len(re.findall(r"^ *end$", diagram, re.M)) == opened == 2
    assert diagram.startswith("flowchart ")
    for brackets in ("[]", "()"):
        assert diagram.count(brackets[0]) == diagram.count(brackets[1])


def test_troubleshooting_has_every_check_of_the_doctor() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8") for path in (PACKAGE / "doctor").glob("checks*.py")
    )
    checks = set(re.findall(r"Finding\(\s*\"([a-z-]+)\"", sources))
    assert len(checks) > 14
    text = DOCS["troubleshooting.md"].text
    table = text.partition("## What each check of the doctor means")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.M)) == checks


def test_every_symptom_of_the_list_has_its_section() -> None:
    """All sections but those on the doctor itself can be found from the table on top."""
    text = DOCS["troubleshooting.md"].text
    listed = set(re.findall(r"\(#([\w-]+)\)", text.partition("\n## ")[0]))
    assert listed == DOCS["troubleshooting.md"].anchors - {"troubleshooting"}


def test_the_pages_have_one_title_and_no_marks_of_a_draft() -> None:
    for page in DOCS.values():
        assert len(re.findall(r"^# ", page.prose, re.M)) == 1, page.name
        assert not re.search(r"\b(TODO|FIXME|XXX|TBD)\b", page.text), page.name


def test_nothing_of_docs_is_left_empty() -> None:
    empty = [Path(page.name) for page in pages() if len(page.text.split()) < 20]
    assert not empty


def _uneven(text: str) -> list[str]:
    """Return the rows of tables that GitHub would cut or fill up: a bar that is not escaped."""
    uneven, columns = [], 0
    for line in [*text.splitlines(), ""]:
        if not line.lstrip().startswith("|"):
            columns = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", line)) - 1
        columns = columns or cells
        if cells != columns or not line.rstrip().endswith("|"):
            uneven.append(line)
    return uneven


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_row_of_a_table_has_the_cells_of_its_head(page: Page) -> None:
    assert not _uneven(page.prose)


def test_an_uneven_row_is_found() -> None:
    assert _uneven("| a | b |\n|---|---|\n| `x|y` | z |\n") == ["| `x|y` | z |"]
    assert not _uneven("| a | b |\n|---|---|\n| `x\\|y` | z |\n")
