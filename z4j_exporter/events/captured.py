"""What the capture hook tells from within the application: four notes, read out of its events.

An event of the hook carries its contents in the field ``z4j``, which is parsed here and nowhere
else. Fields that are unknown are passed over, so that a newer hook can say more; fields that are
absent are not known. Every note names the version of the contract it keeps to.
"""

from typing import Annotated, Literal

from msgspec import DecodeError, Meta, Raw, Struct, field, json

from z4j_exporter.events.model import (
    NO_RAW,
    Event,
    Id,
    Name,
    Seconds,
    Timestamp,
)
from z4j_exporter.events.refusal import RefusedError

#: The version of the contract between hook and exporter that is understood here.
VERSION = 1
#: Characters of an eta, an expiry, an exception's class, a stored payload's key, a content type.
_MAX_TEXT = 512
#: Signatures of a chain that are looked at.
_MAX_SIGNATURES = 10_000
#: Reasons that one report may name.
_MAX_REASONS = 64
#: A total that a process may report of itself; real ones stay far below, and sums of it exact.
_MAX_TOTAL = 2**40

_Text = Annotated[str, Meta(max_length=_MAX_TEXT)]
_Retries = Annotated[int, Meta(ge=0, le=1_000_000)]
#: Place in a group, and members of one.
_Index = Annotated[int, Meta(ge=0, le=2**31)]
#: AMQP's priorities are a byte; those of Redis are fewer.
_Priority = Annotated[int, Meta(ge=0, le=255)]
_Total = Annotated[int, Meta(ge=0, le=_MAX_TOTAL)]
_Reasons = Annotated[dict[Name, _Total], Meta(max_length=_MAX_REASONS)]


class Options(Struct, frozen=True, gc=False):
    """Those of a signature's options that tell its place in groups."""

    task_id: Id | None = None
    group_id: Id | None = None
    group_index: _Index | None = None
    #: The body of the chord it is a header member of, or true; all that is asked is whether.
    chord: Raw = NO_RAW


class Signature(Struct, frozen=True, gc=False):
    """A task that may follow, as Celery writes it (celery/canvas.py), as far as it is read here."""

    task: Name = ""
    subtask_type: Name | None = None
    options: Options = Options()
    #: Not parsed: application data, but for a chord's, which hold its body.
    kwargs: Raw = NO_RAW


class Payload(Struct, frozen=True, gc=False):
    """A message's body, exactly as it was published; base64 where it is not text."""

    body: str
    content_type: _Text = ""
    content_encoding: _Text = ""


class _Note(Struct, frozen=True, gc=False, kw_only=True):
    v: int = 0
    #: Dotted path of the application, as it was given to the hook, else "".
    app: Name = ""


class _TaskNote(_Note, frozen=True, gc=False, kw_only=True):
    uuid: Id
    name: Name | None = None
    retries: _Retries | None = None
    root_id: Id | None = None
    parent_id: Id | None = None
    group_id: Id | None = None
    group_index: _Index | None = None
    #: The group's id again, where the task is a header member of a chord.
    chord_id: Id | None = None
    queue: Name | None = None
    exchange: Name | None = None
    routing_key: Name | None = None
    priority: _Priority | None = None
    #: Seconds.
    time_limit: Seconds | None = None
    soft_time_limit: Seconds | None = None
    traceparent: _Text | None = None


class Envelope(_TaskNote, frozen=True, gc=False, kw_only=True):
    """One message that was published: retries and replacements too."""

    chord_size: _Index | None = None
    #: Signatures, read by ``signature`` and ``signatures``; the whole of them is for whoever
    #: wants to send them again. A chain's come last one first, as Celery has them.
    chord_body: Raw = NO_RAW
    callbacks: Raw = NO_RAW
    errbacks: Raw = NO_RAW
    chain: Raw = NO_RAW
    replaced_task_nesting: _Index | None = None
    #: ISO 8601; an expiry may be seconds.
    eta: _Text | None = None
    expires: _Text | float | None = None
    ignore_result: bool | None = None
    headers: Raw = NO_RAW
    stamps: Raw = NO_RAW
    origin: Name | None = None
    payload: Payload | None = None
    #: Why there is no payload; "" when there is one.
    withheld: Name = ""
    #: Where a payload that is ``withheld`` as ``stored`` lies.
    stored_key: _Text | None = None
    #: JSON for people: arguments with what must not be seen taken out.
    redacted_args: Raw = NO_RAW
    redacted_kwargs: Raw = NO_RAW
    #: Whether sending the payload again is the same as sending the message again.
    replayable: bool = False


class RunNote(_TaskNote, frozen=True, gc=False, kw_only=True):
    """An attempt that begins, told by the process that runs it."""

    redelivered: bool | None = None
    #: Of the pool's process, which the event's own pid may not be.
    pid: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    thread: Name | None = None


class EndNote(_Note, frozen=True, gc=False, kw_only=True):
    """An attempt that ended. ``state`` is Celery's; ``exception`` a class, never a message."""

    uuid: Id
    name: Name | None = None
    state: Name = ""
    retries: _Retries | None = None
    group_id: Id | None = None
    exception: _Text | None = None
    #: Seconds.
    runtime: Seconds | None = None


class Report(_Note, frozen=True, gc=False, kw_only=True):
    """What one process's hook says of itself: totals since it was installed there."""

    #: When it was installed, epoch seconds; None when the hook does not tell.
    since: Timestamp | None = None
    captured: _Total = 0
    sent: _Total = 0
    errors: _Total = 0
    #: By reason: notes that were not sent, payloads that were left out.
    dropped: _Reasons = field(default_factory=dict)
    payloads_withheld: _Reasons = field(default_factory=dict)
    #: Notes that wait to be sent.
    queue: _Total = 0


Captured = Envelope | RunNote | EndNote | Report

_DECODERS: dict[str, json.Decoder[Envelope] | json.Decoder[RunNote] | json.Decoder[EndNote]
                | json.Decoder[Report]] = {
    "z4j-envelope": json.Decoder(Envelope),
    "z4j-run": json.Decoder(RunNote),
    "z4j-end": json.Decoder(EndNote),
    "z4j-report": json.Decoder(Report),
}  # fmt: skip


class _Versioned(Struct, gc=False):
    v: int = 0


class _ChordArguments(Struct, frozen=True, gc=False):
    body: Raw = NO_RAW


_decode_version = json.Decoder(_Versioned).decode
_decode_chord = json.Decoder(_ChordArguments).decode
_decode_signature = json.Decoder(Signature).decode
_decode_list = json.Decoder(list[Raw]).decode
#: What msgspec raises on what it cannot read (see decode.py).
_UNREADABLE = (DecodeError, ValueError, RecursionError, SystemError)


def captured(event: Event) -> Captured:
    """Return the note that an event of the hook carries.

    The note's Raw fields are views of the event's: copy them to keep them. Raises RefusedError,
    ``capture_version`` for a version that is not understood, else ``bad_capture``.
    """
    decoder = _DECODERS.get(event.type)
    if decoder is None:
        raise RefusedError("bad_capture")
    try:
        note = decoder.decode(event.z4j)
    except _UNREADABLE:
        raise RefusedError(_why_unreadable(event.z4j)) from None
    if note.v != VERSION:
        raise RefusedError("capture_version")
    return note


def signature(raw: Raw) -> Signature | None:
    """Return the signature that stands there; None for none, or one that cannot be read.

    The hook cuts what is too large: that costs the signature, not the note.
    """
    if raw is NO_RAW:
        return None
    try:
        return _decode_signature(raw)
    except _UNREADABLE:
        return None


def signatures(raw: Raw) -> list[Signature]:
    """Return those of a list's signatures that can be read."""
    if raw is NO_RAW:
        return []
    try:
        parts = _decode_list(raw)[:_MAX_SIGNATURES]
    except _UNREADABLE:
        return []
    return [read for part in parts if (read := signature(part)) is not None]


def body_of(chord: Signature) -> Signature | None:
    """Return the body of a signature that is a chord; None if it cannot be told."""
    if chord.subtask_type != "chord":
        return None
    try:
        return signature(_decode_chord(chord.kwargs).body)
    except _UNREADABLE:
        return None


def _why_unreadable(contents: Raw) -> Literal["bad_capture", "capture_version"]:
    """Tell a note of a version to come from one that is broken."""
    try:
        known = _decode_version(contents).v == VERSION
    except _UNREADABLE:
        return "bad_capture"
    return "bad_capture" if known else "capture_version"
