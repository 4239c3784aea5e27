"""The landing page: one HTML document without scripts, images or anything from elsewhere."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: 0; }
p.version { margin-top: 0; opacity: .75; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .4rem 1.5rem; margin: 1.5rem 0; }
dt { font-weight: 600; }
dd { margin: 0; overflow-wrap: anywhere; }
ul { list-style: none; padding: 0; border-top: 1px solid #8886; }
li { border-bottom: 1px solid #8886; padding: .5rem 0; }
a { font-family: ui-monospace, monospace; }
.ok::before { content: "\\25CF"; color: #2da44e; margin-right: .4rem; }
.bad::before { content: "\\25CF"; color: #e5534b; margin-right: .4rem; }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest())

#: Nothing may load but our own style, and no other site may frame the page.
CONTENT_SECURITY_POLICY = (
    b"default-src 'none'; style-src 'sha256-" + _STYLE_HASH + b"'; base-uri 'none'; "
    b"form-action 'none'; frame-ancestors 'none'"
)


class Advice(NamedTuple):
    """Something that someone should look at."""

    #: problem or warning.
    severity: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Landing:
    """What the page shows."""

    version: str
    #: Where the events come from, without secrets.
    source: str
    ready: bool
    reason: str
    advice: Sequence[Advice] = ()
    #: Whether traces are remembered.
    traces: bool = False


def landing_page(landing: Landing) -> bytes:
    """Return the page as UTF-8."""
    version = f'<p class="version">version {escape(landing.version)}</p>' if landing.version else ""
    source = f"<dt>Source</dt><dd>{escape(landing.source)}</dd>" if landing.source else ""
    state, word = ("ok", "Ready") if landing.ready else ("bad", "Not ready")
    reason = f": {escape(landing.reason)}" if landing.reason else ""
    advice = "\n".join(
        f"<dt>{escape(a.severity.capitalize())}</dt>"
        f'<dd class="bad">{escape(a.title)}: {escape(a.text)}</dd>'
        for a in landing.advice
    )
    traces = (
        '<li><a href="traces">/traces</a> the latest traces (JSON)</li>\n' if landing.traces else ""
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>z4j-exporter</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>z4j-exporter</h1>
{version}
<p>Prometheus metrics for Celery, from its event stream.</p>
<dl>
{source}
<dt>State</dt><dd class="{state}">{word}{reason}</dd>
{advice}
</dl>
<ul>
<li><a href="metrics">/metrics</a> what Prometheus scrapes</li>
{traces}\
<li><a href="-/healthy">/-/healthy</a> whether the process works (liveness)</li>
<li><a href="-/ready">/-/ready</a> whether events can arrive (readiness)</li>
</ul>
</body>
</html>
""".encode()
