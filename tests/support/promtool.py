"""Asks promtool what it thinks of an exposition."""

import subprocess

from tests.support.process import require


def promtool(text: bytes) -> str:
    """Return what promtool says of an exposition in the text format; "" when all is well."""
    command = [require("promtool"), "check", "metrics"]
    checked = subprocess.run(command, input=text, capture_output=True, timeout=30, check=False)
    assert (checked.returncode == 0) == (checked.stdout + checked.stderr == b"")
    return (checked.stdout + checked.stderr).decode()
