"""Panels about groups and chords: there where the capture hook or the result backend tells them."""

from grafana_foundation_sdk.builders import timeseries

from dashboards.panels import Query, lines
from dashboards.promql import or_none, or_zero, quantile, rate, total


def group_panels(*matchers: str) -> list[timeseries.Panel]:
    """Return the panels for the groups whose members the matchers choose."""
    started = "celery_group_started_total"
    return [
        lines(
            "Groups started and finished",
            "Groups and headers of chords a second. Finished: all members have ended; failed says"
            " that one of them failed. 0 where neither the capture hook nor a result backend"
            " tells of groups (docs/capture.md).",
            [
                Query(or_zero(rate(started, *matchers)), "started"),
                Query(
                    or_none(
                        rate("celery_group_finished_total", *matchers, by=("outcome",)), "outcome"
                    ),
                    "finished: {{outcome}}",
                ),
                Query(
                    or_zero(rate("celery_group_member_failures_total", *matchers)),
                    "members failed",
                ),
            ],
            "ops",
            width=8,
        ),
        lines(
            "Groups in progress",
            "Groups that have not finished, the largest names. One that only grows is made of"
            " tasks that never end: look at their dashboard for lost and stuck ones. __mixed__:"
            " members of several names.",
            [
                Query(
                    or_none(
                        f"topk(10, {total('celery_groups_in_progress', *matchers, by=('task',))})",
                        "task",
                    ),
                    "{{task}}",
                )
            ],
            "short",
            width=8,
        ),
        lines(
            "Duration of groups",
            "From a group's first member published to its last member's end. The dots are traces.",
            [
                Query(
                    or_zero(quantile(q, "celery_group_duration_seconds", *matchers)),
                    f"p{q * 100:g}",
                    exemplar=True,
                )
                for q in (0.5, 0.95)
            ],
            "s",
            width=8,
        ),
    ]
