"""A journal whose process is killed at any moment is whole, and has all that was written."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.journaling import envelope, open_journal, write
from tests.support.process import start, wait_until
from tests.support.servers import PROJECT

_WRITES = """
import sys
from pathlib import Path
from tests.support.journaling import MIB, envelope, open_journal, write
journal = open_journal(Path(sys.argv[1]), max_bytes=4 * MIB)
for i in range(10**9):
    write(journal, [envelope(f"{i}-{j}", i, name=f"{i}") for j in range(50)])
    print(i, flush=True)
"""


@pytest.mark.parametrize("batches", [1, 40, 150])
def test_kill_9(tmp_path: Path, batches: int) -> None:
    written = start("journal", [sys.executable, "-c", _WRITES, str(tmp_path)], cwd=PROJECT)
    try:
        wait_until(lambda: written.output().count("\n") >= batches, 60, written.output)
    finally:
        written.kill()
    last = int(written.output().rpartition("\n")[0].split()[-1])
    journal = open_journal(tmp_path)
    write(journal, [envelope("after")])
    assert journal.stats().dropped == {}
    assert journal.payload("after") is not None
    assert len(journal.search(name=f"{last}")) == 50  # a batch is there, or it is not
    journal.close()
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        torn = "SELECT count(*) FROM entry WHERE name != 'add' GROUP BY name HAVING count(*) != 50"
        # Beside the one that the bound of the size cuts through.
        assert len(connection.execute(torn).fetchall()) <= 1
