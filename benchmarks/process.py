"""What the kernel says of a process: CPU used and memory held."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU in seconds (user and system, all threads) and memory in bytes of one process."""

    cpu_seconds: float
    rss_bytes: int
    peak_bytes: int


def usage(pid: int) -> Usage:
    """Read the usage of `pid`; raises FileNotFoundError when it has ended."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    # The command name, in parentheses, may hold spaces: count the fields after it (proc(5)).
    fields = stat.rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    sizes = {"VmRSS": 0, "VmHWM": 0}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in sizes:
            sizes[name] = int(value.split()[0]) * 1024
    return Usage(ticks / _TICK, sizes["VmRSS"], sizes["VmHWM"])


def wait_until_idle(
    pid: int, *, share: float = 0.1, window: float = 0.5, windows: int = 2, timeout: float = 120.0
) -> bool:
    """Wait until `pid` uses less than `share` of a core in `windows` windows in a row.

    It asks the kernel only, so that the measurement costs the measured process nothing. Returns
    whether it came to rest within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    quiet = 0
    before = usage(pid).cpu_seconds
    while time.monotonic() < deadline:
        time.sleep(window)
        now = usage(pid).cpu_seconds
        quiet = quiet + 1 if now - before < share * window else 0
        before = now
        if quiet >= windows:
            return True
    return False
