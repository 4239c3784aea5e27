"""Builds the actions: who may ask, what is written down, who does it, and the listener."""

import logging
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial

from z4j_exporter.actions.alert_rules import read as read_rules
from z4j_exporter.actions.alerts import AlertActions
from z4j_exporter.actions.api import Api
from z4j_exporter.actions.api_alerts import TakesAlerts, no_rules
from z4j_exporter.actions.audit import AuditLog
from z4j_exporter.actions.audit_key import find_key
from z4j_exporter.actions.captured import CaptureJournal
from z4j_exporter.actions.celery_backend import BackendOptions
from z4j_exporter.actions.engine import Engine
from z4j_exporter.actions.engine_parts import EngineLimits
from z4j_exporter.actions.engine_tasks import Ask, TrackedTasks
from z4j_exporter.actions.groups_send import ChordSender, captured_size
from z4j_exporter.actions.groups_whole import Chords
from z4j_exporter.actions.model import ActionError
from z4j_exporter.actions.perform import Performer
from z4j_exporter.actions.policy import Admission, Authorizer
from z4j_exporter.actions.rates import RateLimits
from z4j_exporter.actions.records import ActionJournal
from z4j_exporter.actions.serve import actions_listener
from z4j_exporter.actions.tokens_reload import TokenFile
from z4j_exporter.actions.tokens_stats import AccessStats
from z4j_exporter.config import Settings
from z4j_exporter.errors import ConfigError
from z4j_exporter.journal.journal import Journal
from z4j_exporter.metrics.actions import ActionReadings
from z4j_exporter.track.cluster import Cluster
from z4j_exporter.web.reload import WebConfig
from z4j_exporter.web.stats import WebStats

logger = logging.getLogger(__name__)

#: Seconds between two looks for old actions that the journal need not keep.
_PRUNE_SECONDS = 3600.0


class Acting:
    """The actions of one exporter. Raises ExporterError for settings that cannot work.

    ``ask`` runs a question in the thread that owns ``cluster``; ``workers`` are the nodenames of
    those that are up; ``journal`` is what capture hooks told, if that is kept; ``on_retry`` is told
    each new id and the id of the task that it retries.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        ask: Ask,
        cluster: Callable[[], Cluster],
        workers: Callable[[], list[str]],
        journal: Journal | None,
        on_retry: Callable[[str, str], object],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        tokens, journal_path = settings.actions_token_file, settings.actions_journal_path
        audit_path = settings.actions_audit_path
        if tokens is None or journal_path is None or audit_path is None or not settings.broker_url:
            raise ConfigError(
                "the actions need a broker to act on",
                hint="Give --broker-url or -A; a recording cannot be acted on.",
            )
        self._access = AccessStats()
        self._tokens = TokenFile(tokens, self._access)
        authorizer = Authorizer(self._tokens, self._access)
        key = find_key(
            audit_path, key_file=settings.actions_audit_key_file, environment=environment
        )
        self._journal = ActionJournal(journal_path)
        self._audit = AuditLog(audit_path, key)
        captured = CaptureJournal(journal, settings) if journal is not None else None
        tasks = TrackedTasks(ask, cluster)
        backend = _backend(settings)
        performer = Performer(
            settings, backend=backend, captured=captured, expected=workers, on_retry=on_retry
        )
        chords = None
        if journal is not None and backend is not None:
            size = partial(captured_size, journal)
            chords = Chords(performer, ChordSender(settings, backend), size)
        self._engine = Engine(
            journal=self._journal,
            audit=self._audit,
            performer=performer,
            chords=chords,
            access=authorizer,
            tasks=tasks,
            groups=captured,
            limits=EngineLimits(
                retries_chain=settings.actions_max_retries_chain,
                bulk_cap=settings.actions_bulk_cap,
                bulk_rate=settings.actions_bulk_rate,
            ),
        )
        self._alerts: AlertActions | None = None
        if settings.actions_rules_file is not None:
            rules = read_rules(settings.actions_rules_file)
            self._alerts = AlertActions(rules, self._engine, self._journal, tasks)
        self._stats = WebStats()
        self._web_config = (
            WebConfig(settings.actions_web_config_file, self._stats)
            if settings.actions_web_config_file
            else None
        )
        alerts: TakesAlerts = self._alerts if self._alerts is not None else no_rules
        self._api = Api(
            self._engine,
            Admission(authorizer, RateLimits(settings.actions_rate), self._access),
            alerts=alerts,
            stats=self._stats,
        )
        self._listener = actions_listener(
            self._api,
            settings.actions_listen_address,
            web_config=self._web_config,
            insecure=settings.actions_insecure_listen,
            stats=self._stats,
        )
        self._stopping = threading.Event()
        self._pruner = threading.Thread(target=self._prune, name="actions-prune", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens, such as ``http://127.0.0.1:9809``."""
        return self._listener.url

    def start(self) -> None:
        """Take tokens, jobs and alerts, then requests."""
        self._tokens.start()
        if self._web_config is not None:
            self._web_config.start()
        self._engine.start()
        if self._alerts is not None:
            self._alerts.start()
        self._pruner.start()
        self._listener.start()

    def stop(self, seconds: float) -> None:
        """Take no more requests, end what is being done, close the files."""
        self._stopping.set()
        self._listener.stop(seconds / 2)
        if self._alerts is not None:
            self._alerts.stop(seconds / 4)
        self._engine.stop(seconds / 4)
        self._api.close()
        if self._web_config is not None:
            self._web_config.stop()
        self._tokens.stop()
        self._journal.close()
        self._audit.close()

    def readings(self) -> ActionReadings:
        """Return what the metrics show of the actions."""
        access, alerts = self._access, self._alerts
        return ActionReadings(
            actions=dict(self._engine.actions_total),
            authentications={str(why): n for why, n in access.authentications().items()},
            denials={str(why): n for why, n in access.denials().items()},
            rate_limited=dict(access.rate_limited),
            token_entries=dict(access.entries),
            token_reloads_ok=access.reloads_ok,
            token_reloads_failed=access.reloads_failed,
            last_token_reload_ok=access.last_reload_ok,
            alert_rules=alerts.stats.counted() if alerts else {},
            alerts_waiting=alerts.waiting if alerts else None,
            truncated_alerts=alerts.stats.truncated_alerts_total if alerts else 0,
            breakers_open=_open(alerts),
            notifications=alerts.stats.posts() if alerts else {},
            audit_seq=self._audit.head.seq,
            audit_mac=self._audit.head.mac,
            audit_recovered=self._audit.recovered,
            audit_failures=self._audit.failures,
            http_requests=self._stats.requests_snapshot(),
        )

    def _prune(self) -> None:
        while not self._stopping.wait(_PRUNE_SECONDS):
            try:
                while self._journal.prune() and not self._stopping.is_set():
                    pass
            except ActionError as error:
                logger.warning("old actions could not be pruned: %s", error)


def _open(alerts: AlertActions | None) -> dict[str, bool]:
    # A breaker that is half open lets its rule act.
    states = alerts.work.breakers() if alerts is not None else {}
    return {rule: state == "open" for rule, state in states.items()}


def _backend(settings: Settings) -> BackendOptions | None:
    if not settings.result_backend_url:
        return None
    return BackendOptions(
        settings.result_backend_url,
        settings.result_backend_transport_options,
        settings.result_backend_ssl_options or None,
    )
