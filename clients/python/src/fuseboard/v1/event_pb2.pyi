import datetime

from fuseboard.v1 import breaker_pb2 as _breaker_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_KIND_UNSPECIFIED: _ClassVar[EventKind]
    EVENT_KIND_OPENED: _ClassVar[EventKind]
    EVENT_KIND_HALF_OPENED: _ClassVar[EventKind]
    EVENT_KIND_CLOSED: _ClassVar[EventKind]
    EVENT_KIND_RESET: _ClassVar[EventKind]
    EVENT_KIND_POLICY_CHANGED: _ClassVar[EventKind]
    EVENT_KIND_OVERRIDE_SET: _ClassVar[EventKind]
    EVENT_KIND_OVERRIDE_CLEARED: _ClassVar[EventKind]
    EVENT_KIND_WOULD_HAVE_OPENED: _ClassVar[EventKind]
    EVENT_KIND_DELETED: _ClassVar[EventKind]
    EVENT_KIND_CALLER_ISOLATED: _ClassVar[EventKind]
    EVENT_KIND_CALLER_HALF_OPENED: _ClassVar[EventKind]
    EVENT_KIND_CALLER_RESTORED: _ClassVar[EventKind]

class EventReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_REASON_UNSPECIFIED: _ClassVar[EventReason]
    EVENT_REASON_TRIP_RULE: _ClassVar[EventReason]
    EVENT_REASON_OPEN_PERIOD_PASSED: _ClassVar[EventReason]
    EVENT_REASON_PROBES_SUCCEEDED: _ClassVar[EventReason]
    EVENT_REASON_PROBES_FAILED: _ClassVar[EventReason]
    EVENT_REASON_HALF_OPEN_TIMED_OUT: _ClassVar[EventReason]
    EVENT_REASON_REQUESTED: _ClassVar[EventReason]
    EVENT_REASON_OVERRIDE_EXPIRED: _ClassVar[EventReason]
    EVENT_REASON_DECLARED: _ClassVar[EventReason]
    EVENT_REASON_POLICY_FILE: _ClassVar[EventReason]
    EVENT_REASON_CALLER_FORGOTTEN: _ClassVar[EventReason]
EVENT_KIND_UNSPECIFIED: EventKind
EVENT_KIND_OPENED: EventKind
EVENT_KIND_HALF_OPENED: EventKind
EVENT_KIND_CLOSED: EventKind
EVENT_KIND_RESET: EventKind
EVENT_KIND_POLICY_CHANGED: EventKind
EVENT_KIND_OVERRIDE_SET: EventKind
EVENT_KIND_OVERRIDE_CLEARED: EventKind
EVENT_KIND_WOULD_HAVE_OPENED: EventKind
EVENT_KIND_DELETED: EventKind
EVENT_KIND_CALLER_ISOLATED: EventKind
EVENT_KIND_CALLER_HALF_OPENED: EventKind
EVENT_KIND_CALLER_RESTORED: EventKind
EVENT_REASON_UNSPECIFIED: EventReason
EVENT_REASON_TRIP_RULE: EventReason
EVENT_REASON_OPEN_PERIOD_PASSED: EventReason
EVENT_REASON_PROBES_SUCCEEDED: EventReason
EVENT_REASON_PROBES_FAILED: EventReason
EVENT_REASON_HALF_OPEN_TIMED_OUT: EventReason
EVENT_REASON_REQUESTED: EventReason
EVENT_REASON_OVERRIDE_EXPIRED: EventReason
EVENT_REASON_DECLARED: EventReason
EVENT_REASON_POLICY_FILE: EventReason
EVENT_REASON_CALLER_FORGOTTEN: EventReason

class Evidence(_message.Message):
    __slots__ = ("rule", "consecutive_failures", "window", "threshold", "probe_successes", "probe_failures", "open_duration", "retry_after_applied", "failed_recoveries", "caller", "error_class", "quorum", "known_callers", "callers", "stood_without")
    RULE_FIELD_NUMBER: _ClassVar[int]
    CONSECUTIVE_FAILURES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    PROBE_SUCCESSES_FIELD_NUMBER: _ClassVar[int]
    PROBE_FAILURES_FIELD_NUMBER: _ClassVar[int]
    OPEN_DURATION_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_APPLIED_FIELD_NUMBER: _ClassVar[int]
    FAILED_RECOVERIES_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    ERROR_CLASS_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    KNOWN_CALLERS_FIELD_NUMBER: _ClassVar[int]
    CALLERS_FIELD_NUMBER: _ClassVar[int]
    STOOD_WITHOUT_FIELD_NUMBER: _ClassVar[int]
    rule: _breaker_pb2.TripRule
    consecutive_failures: int
    window: _breaker_pb2.WindowCounts
    threshold: float
    probe_successes: int
    probe_failures: int
    open_duration: _duration_pb2.Duration
    retry_after_applied: bool
    failed_recoveries: int
    caller: str
    error_class: str
    quorum: int
    known_callers: int
    callers: _containers.RepeatedCompositeFieldContainer[CallerEvidence]
    stood_without: _containers.RepeatedCompositeFieldContainer[CallerEvidence]
    def __init__(self, rule: _Optional[_Union[_breaker_pb2.TripRule, str]] = ..., consecutive_failures: _Optional[int] = ..., window: _Optional[_Union[_breaker_pb2.WindowCounts, _Mapping]] = ..., threshold: _Optional[float] = ..., probe_successes: _Optional[int] = ..., probe_failures: _Optional[int] = ..., open_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., retry_after_applied: _Optional[bool] = ..., failed_recoveries: _Optional[int] = ..., caller: _Optional[str] = ..., error_class: _Optional[str] = ..., quorum: _Optional[int] = ..., known_callers: _Optional[int] = ..., callers: _Optional[_Iterable[_Union[CallerEvidence, _Mapping]]] = ..., stood_without: _Optional[_Iterable[_Union[CallerEvidence, _Mapping]]] = ...) -> None: ...

class CallerEvidence(_message.Message):
    __slots__ = ("caller", "calls", "failures")
    CALLER_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    caller: str
    calls: int
    failures: int
    def __init__(self, caller: _Optional[str] = ..., calls: _Optional[int] = ..., failures: _Optional[int] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("sequence", "kind", "breaker", "generation", "to", "reason", "evidence", "actor", "comment", "event_time", "policy_version", "status", "count", "first_event_time")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    kind: EventKind
    breaker: str
    generation: int
    to: _breaker_pb2.State
    reason: EventReason
    evidence: Evidence
    actor: str
    comment: str
    event_time: _timestamp_pb2.Timestamp
    policy_version: int
    status: _breaker_pb2.BreakerStatus
    count: int
    first_event_time: _timestamp_pb2.Timestamp
    def __init__(self, sequence: _Optional[int] = ..., kind: _Optional[_Union[EventKind, str]] = ..., breaker: _Optional[str] = ..., generation: _Optional[int] = ..., to: _Optional[_Union[_breaker_pb2.State, str]] = ..., reason: _Optional[_Union[EventReason, str]] = ..., evidence: _Optional[_Union[Evidence, _Mapping]] = ..., actor: _Optional[str] = ..., comment: _Optional[str] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., policy_version: _Optional[int] = ..., status: _Optional[_Union[_breaker_pb2.BreakerStatus, _Mapping]] = ..., count: _Optional[int] = ..., first_event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., **kwargs) -> None: ...
