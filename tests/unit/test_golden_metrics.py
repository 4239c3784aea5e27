"""The whole /metrics of one recorded half minute, to the letter.

``REGENERATE_GOLDEN=1 pytest tests/unit/test_golden_metrics.py`` writes the files anew: read the
difference before committing it.
"""

import os
from pathlib import Path

import pytest

from tests.support.exposed import Exposed

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"
#: Its labels are versions.
_LEFT_OUT = "celery_exporter_build_info{"


@pytest.mark.parametrize(
    ("profile", "file"),
    [
        ("native", "demo.metrics"),
        ("celery-exporter", "demo.celery-exporter.metrics"),
        ("flower", "demo.flower.metrics"),
    ],
)
def test_the_demo(profile: str, file: str) -> None:
    lines = Exposed(profile).recording("demo").text(own=True).splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith(_LEFT_OUT))
    golden = GOLDEN / file
    if os.environ.get("REGENERATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
