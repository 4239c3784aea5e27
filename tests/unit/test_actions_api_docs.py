"""docs/actions.md explains each type of problem that the code can give."""

import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]
#: Where a kind is written: as the first argument of whatever makes an error.
KIND = re.compile(
    r"(?:ActionError|Refusal|_refused|_conflict|super\(\)\.__init__)\(\s*\"([a-z]+(?:-[a-z]+)*)\""
)


def test_each_type_of_problem_is_explained() -> None:
    sources = (PROJECT / "z4j_exporter" / "actions").glob("*.py")
    kinds = {kind for path in sources for kind in KIND.findall(path.read_text())}
    assert len(kinds) > 50
    explained = set(re.findall(r"`([a-z-]+)`", (PROJECT / "docs" / "actions.md").read_text()))
    assert not kinds - explained
