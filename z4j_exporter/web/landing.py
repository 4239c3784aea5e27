"""The old place of Advice, which web/status.py has now."""

from z4j_exporter.web.status import Advice as Advice
