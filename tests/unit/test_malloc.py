"""The memory of a burst goes back to the system."""

import platform
import subprocess
import sys

import pytest

_BURSTS = """
import os
from z4j_exporter.pipeline.malloc import give_large_pieces_back
assert give_large_pieces_back()
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
before = rss()
for _ in range(2):  # the second one is what glibc would keep
    pieces = [bytes(bytearray(1024 * 1024)) for _ in range(100)]
    held = [bytes(1000) for _ in range(100)]  # something small between them
    assert rss() - before > 90 * 1024 * 1024
    del pieces
print(rss() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc's")
def test_large_pieces_are_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BURSTS], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) < 20 * 1024 * 1024
