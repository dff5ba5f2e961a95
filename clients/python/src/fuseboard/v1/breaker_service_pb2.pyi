import datetime

from fuseboard.v1 import breaker_pb2 as _breaker_pb2
from fuseboard.v1 import event_pb2 as _event_pb2
from fuseboard.v1 import policy_pb2 as _policy_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReportResult(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPORT_RESULT_UNSPECIFIED: _ClassVar[ReportResult]
    REPORT_RESULT_COUNTED: _ClassVar[ReportResult]
    REPORT_RESULT_STALE: _ClassVar[ReportResult]
    REPORT_RESULT_DUPLICATE: _ClassVar[ReportResult]

class GoodbyeReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GOODBYE_REASON_UNSPECIFIED: _ClassVar[GoodbyeReason]
    GOODBYE_REASON_DRAINING: _ClassVar[GoodbyeReason]
    GOODBYE_REASON_MAX_AGE: _ClassVar[GoodbyeReason]

class Delivery(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_UNSPECIFIED: _ClassVar[Delivery]
    DELIVERY_EVERY_EVENT: _ClassVar[Delivery]
    DELIVERY_LATEST: _ClassVar[Delivery]

class ResyncReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESYNC_REASON_UNSPECIFIED: _ClassVar[ResyncReason]
    RESYNC_REASON_TOKEN_TOO_OLD: _ClassVar[ResyncReason]
    RESYNC_REASON_OTHER_HISTORY: _ClassVar[ResyncReason]
    RESYNC_REASON_TOKEN_FROM_FUTURE: _ClassVar[ResyncReason]
    RESYNC_REASON_SLOW_READER: _ClassVar[ResyncReason]
REPORT_RESULT_UNSPECIFIED: ReportResult
REPORT_RESULT_COUNTED: ReportResult
REPORT_RESULT_STALE: ReportResult
REPORT_RESULT_DUPLICATE: ReportResult
GOODBYE_REASON_UNSPECIFIED: GoodbyeReason
GOODBYE_REASON_DRAINING: GoodbyeReason
GOODBYE_REASON_MAX_AGE: GoodbyeReason
DELIVERY_UNSPECIFIED: Delivery
DELIVERY_EVERY_EVENT: Delivery
DELIVERY_LATEST: Delivery
RESYNC_REASON_UNSPECIFIED: ResyncReason
RESYNC_REASON_TOKEN_TOO_OLD: ResyncReason
RESYNC_REASON_OTHER_HISTORY: ResyncReason
RESYNC_REASON_TOKEN_FROM_FUTURE: ResyncReason
RESYNC_REASON_SLOW_READER: ResyncReason

class AcquireRequest(_message.Message):
    __slots__ = ("breaker", "caller", "request_id", "lease")
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    breaker: str
    caller: str
    request_id: str
    lease: _duration_pb2.Duration
    def __init__(self, breaker: _Optional[str] = ..., caller: _Optional[str] = ..., request_id: _Optional[str] = ..., lease: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class AcquireResponse(_message.Message):
    __slots__ = ("decision", "state", "permit", "lease", "reason", "retry_after", "generation", "override_mode", "caller_generation", "provisional")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PERMIT_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_MODE_FIELD_NUMBER: _ClassVar[int]
    CALLER_GENERATION_FIELD_NUMBER: _ClassVar[int]
    PROVISIONAL_FIELD_NUMBER: _ClassVar[int]
    decision: _breaker_pb2.Decision
    state: _breaker_pb2.State
    permit: str
    lease: _duration_pb2.Duration
    reason: _breaker_pb2.RejectionReason
    retry_after: _duration_pb2.Duration
    generation: int
    override_mode: _breaker_pb2.OverrideMode
    caller_generation: int
    provisional: bool
    def __init__(self, decision: _Optional[_Union[_breaker_pb2.Decision, str]] = ..., state: _Optional[_Union[_breaker_pb2.State, str]] = ..., permit: _Optional[str] = ..., lease: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reason: _Optional[_Union[_breaker_pb2.RejectionReason, str]] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., generation: _Optional[int] = ..., override_mode: _Optional[_Union[_breaker_pb2.OverrideMode, str]] = ..., caller_generation: _Optional[int] = ..., provisional: _Optional[bool] = ...) -> None: ...

class ReportRequest(_message.Message):
    __slots__ = ("breaker", "permit", "outcome", "duration", "error_class", "retry_after", "origin")
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    PERMIT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    ERROR_CLASS_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    breaker: str
    permit: str
    outcome: _breaker_pb2.Outcome
    duration: _duration_pb2.Duration
    error_class: str
    retry_after: _duration_pb2.Duration
    origin: _breaker_pb2.Origin
    def __init__(self, breaker: _Optional[str] = ..., permit: _Optional[str] = ..., outcome: _Optional[_Union[_breaker_pb2.Outcome, str]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., error_class: _Optional[str] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., origin: _Optional[_Union[_breaker_pb2.Origin, str]] = ...) -> None: ...

class ReportResponse(_message.Message):
    __slots__ = ("result", "state", "generation", "override_mode", "caller_state", "caller_generation")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_MODE_FIELD_NUMBER: _ClassVar[int]
    CALLER_STATE_FIELD_NUMBER: _ClassVar[int]
    CALLER_GENERATION_FIELD_NUMBER: _ClassVar[int]
    result: ReportResult
    state: _breaker_pb2.State
    generation: int
    override_mode: _breaker_pb2.OverrideMode
    caller_state: _breaker_pb2.State
    caller_generation: int
    def __init__(self, result: _Optional[_Union[ReportResult, str]] = ..., state: _Optional[_Union[_breaker_pb2.State, str]] = ..., generation: _Optional[int] = ..., override_mode: _Optional[_Union[_breaker_pb2.OverrideMode, str]] = ..., caller_state: _Optional[_Union[_breaker_pb2.State, str]] = ..., caller_generation: _Optional[int] = ...) -> None: ...

class Tally(_message.Message):
    __slots__ = ("breaker", "caller", "generation", "caller_generation", "age", "successes", "failures", "timeouts", "slow", "ignored", "rejections", "trailing_failures", "local_failures", "retry_after", "leading_failures", "longest_run")
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    CALLER_GENERATION_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    SUCCESSES_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    TIMEOUTS_FIELD_NUMBER: _ClassVar[int]
    SLOW_FIELD_NUMBER: _ClassVar[int]
    IGNORED_FIELD_NUMBER: _ClassVar[int]
    REJECTIONS_FIELD_NUMBER: _ClassVar[int]
    TRAILING_FAILURES_FIELD_NUMBER: _ClassVar[int]
    LOCAL_FAILURES_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    LEADING_FAILURES_FIELD_NUMBER: _ClassVar[int]
    LONGEST_RUN_FIELD_NUMBER: _ClassVar[int]
    breaker: str
    caller: str
    generation: int
    caller_generation: int
    age: _duration_pb2.Duration
    successes: int
    failures: int
    timeouts: int
    slow: int
    ignored: int
    rejections: int
    trailing_failures: int
    local_failures: int
    retry_after: _duration_pb2.Duration
    leading_failures: int
    longest_run: int
    def __init__(self, breaker: _Optional[str] = ..., caller: _Optional[str] = ..., generation: _Optional[int] = ..., caller_generation: _Optional[int] = ..., age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., successes: _Optional[int] = ..., failures: _Optional[int] = ..., timeouts: _Optional[int] = ..., slow: _Optional[int] = ..., ignored: _Optional[int] = ..., rejections: _Optional[int] = ..., trailing_failures: _Optional[int] = ..., local_failures: _Optional[int] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., leading_failures: _Optional[int] = ..., longest_run: _Optional[int] = ...) -> None: ...

class ReportBatchRequest(_message.Message):
    __slots__ = ("client_id", "batch_sequence", "tallies")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    BATCH_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TALLIES_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    batch_sequence: int
    tallies: _containers.RepeatedCompositeFieldContainer[Tally]
    def __init__(self, client_id: _Optional[str] = ..., batch_sequence: _Optional[int] = ..., tallies: _Optional[_Iterable[_Union[Tally, _Mapping]]] = ...) -> None: ...

class ReportBatchResponse(_message.Message):
    __slots__ = ("duplicate", "counted", "stale", "changed")
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    COUNTED_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    duplicate: bool
    counted: int
    stale: int
    changed: _containers.RepeatedCompositeFieldContainer[_breaker_pb2.BreakerStatus]
    def __init__(self, duplicate: _Optional[bool] = ..., counted: _Optional[int] = ..., stale: _Optional[int] = ..., changed: _Optional[_Iterable[_Union[_breaker_pb2.BreakerStatus, _Mapping]]] = ...) -> None: ...

class SessionRequest(_message.Message):
    __slots__ = ("caller", "introductions", "acquires", "reports", "batches")
    CALLER_FIELD_NUMBER: _ClassVar[int]
    INTRODUCTIONS_FIELD_NUMBER: _ClassVar[int]
    ACQUIRES_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    caller: str
    introductions: _containers.RepeatedCompositeFieldContainer[Introduction]
    acquires: _containers.RepeatedCompositeFieldContainer[SessionAcquire]
    reports: _containers.RepeatedCompositeFieldContainer[SessionReport]
    batches: _containers.RepeatedCompositeFieldContainer[SessionBatch]
    def __init__(self, caller: _Optional[str] = ..., introductions: _Optional[_Iterable[_Union[Introduction, _Mapping]]] = ..., acquires: _Optional[_Iterable[_Union[SessionAcquire, _Mapping]]] = ..., reports: _Optional[_Iterable[_Union[SessionReport, _Mapping]]] = ..., batches: _Optional[_Iterable[_Union[SessionBatch, _Mapping]]] = ...) -> None: ...

class Introduction(_message.Message):
    __slots__ = ("handle", "breaker")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    handle: int
    breaker: str
    def __init__(self, handle: _Optional[int] = ..., breaker: _Optional[str] = ...) -> None: ...

class SessionAcquire(_message.Message):
    __slots__ = ("number", "handle", "breaker", "caller", "request_id", "lease")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    number: int
    handle: int
    breaker: str
    caller: str
    request_id: str
    lease: _duration_pb2.Duration
    def __init__(self, number: _Optional[int] = ..., handle: _Optional[int] = ..., breaker: _Optional[str] = ..., caller: _Optional[str] = ..., request_id: _Optional[str] = ..., lease: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SessionReport(_message.Message):
    __slots__ = ("number", "handle", "breaker", "permit", "outcome", "duration", "error_class", "retry_after", "origin")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    PERMIT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    ERROR_CLASS_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    number: int
    handle: int
    breaker: str
    permit: bytes
    outcome: _breaker_pb2.Outcome
    duration: _duration_pb2.Duration
    error_class: str
    retry_after: _duration_pb2.Duration
    origin: _breaker_pb2.Origin
    def __init__(self, number: _Optional[int] = ..., handle: _Optional[int] = ..., breaker: _Optional[str] = ..., permit: _Optional[bytes] = ..., outcome: _Optional[_Union[_breaker_pb2.Outcome, str]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., error_class: _Optional[str] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., origin: _Optional[_Union[_breaker_pb2.Origin, str]] = ...) -> None: ...

class SessionBatch(_message.Message):
    __slots__ = ("number", "batch")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    number: int
    batch: ReportBatchRequest
    def __init__(self, number: _Optional[int] = ..., batch: _Optional[_Union[ReportBatchRequest, _Mapping]] = ...) -> None: ...

class SessionResponse(_message.Message):
    __slots__ = ("acquired", "reported", "batches", "errors", "goodbye")
    ACQUIRED_FIELD_NUMBER: _ClassVar[int]
    REPORTED_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    acquired: _containers.RepeatedCompositeFieldContainer[SessionAcquired]
    reported: _containers.RepeatedCompositeFieldContainer[SessionReported]
    batches: _containers.RepeatedCompositeFieldContainer[SessionBatchReported]
    errors: _containers.RepeatedCompositeFieldContainer[SessionError]
    goodbye: Goodbye
    def __init__(self, acquired: _Optional[_Iterable[_Union[SessionAcquired, _Mapping]]] = ..., reported: _Optional[_Iterable[_Union[SessionReported, _Mapping]]] = ..., batches: _Optional[_Iterable[_Union[SessionBatchReported, _Mapping]]] = ..., errors: _Optional[_Iterable[_Union[SessionError, _Mapping]]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ...) -> None: ...

class SessionAcquired(_message.Message):
    __slots__ = ("number", "decision", "state", "permit", "lease", "reason", "retry_after", "generation", "override_mode", "caller_generation", "provisional")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PERMIT_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_MODE_FIELD_NUMBER: _ClassVar[int]
    CALLER_GENERATION_FIELD_NUMBER: _ClassVar[int]
    PROVISIONAL_FIELD_NUMBER: _ClassVar[int]
    number: int
    decision: _breaker_pb2.Decision
    state: _breaker_pb2.State
    permit: bytes
    lease: _duration_pb2.Duration
    reason: _breaker_pb2.RejectionReason
    retry_after: _duration_pb2.Duration
    generation: int
    override_mode: _breaker_pb2.OverrideMode
    caller_generation: int
    provisional: bool
    def __init__(self, number: _Optional[int] = ..., decision: _Optional[_Union[_breaker_pb2.Decision, str]] = ..., state: _Optional[_Union[_breaker_pb2.State, str]] = ..., permit: _Optional[bytes] = ..., lease: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reason: _Optional[_Union[_breaker_pb2.RejectionReason, str]] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., generation: _Optional[int] = ..., override_mode: _Optional[_Union[_breaker_pb2.OverrideMode, str]] = ..., caller_generation: _Optional[int] = ..., provisional: _Optional[bool] = ...) -> None: ...

class SessionReported(_message.Message):
    __slots__ = ("number", "result", "state", "generation", "override_mode", "caller_state", "caller_generation")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_MODE_FIELD_NUMBER: _ClassVar[int]
    CALLER_STATE_FIELD_NUMBER: _ClassVar[int]
    CALLER_GENERATION_FIELD_NUMBER: _ClassVar[int]
    number: int
    result: ReportResult
    state: _breaker_pb2.State
    generation: int
    override_mode: _breaker_pb2.OverrideMode
    caller_state: _breaker_pb2.State
    caller_generation: int
    def __init__(self, number: _Optional[int] = ..., result: _Optional[_Union[ReportResult, str]] = ..., state: _Optional[_Union[_breaker_pb2.State, str]] = ..., generation: _Optional[int] = ..., override_mode: _Optional[_Union[_breaker_pb2.OverrideMode, str]] = ..., caller_state: _Optional[_Union[_breaker_pb2.State, str]] = ..., caller_generation: _Optional[int] = ...) -> None: ...

class SessionBatchReported(_message.Message):
    __slots__ = ("number", "response")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    number: int
    response: ReportBatchResponse
    def __init__(self, number: _Optional[int] = ..., response: _Optional[_Union[ReportBatchResponse, _Mapping]] = ...) -> None: ...

class SessionError(_message.Message):
    __slots__ = ("number", "code", "message", "field", "reason", "retry_after")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    number: int
    code: int
    message: str
    field: str
    reason: str
    retry_after: _duration_pb2.Duration
    def __init__(self, number: _Optional[int] = ..., code: _Optional[int] = ..., message: _Optional[str] = ..., field: _Optional[str] = ..., reason: _Optional[str] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ("reason", "retry_after")
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    reason: GoodbyeReason
    retry_after: _duration_pb2.Duration
    def __init__(self, reason: _Optional[_Union[GoodbyeReason, str]] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Declaration(_message.Message):
    __slots__ = ("breaker", "policy", "revision")
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    breaker: str
    policy: _policy_pb2.Policy
    revision: int
    def __init__(self, breaker: _Optional[str] = ..., policy: _Optional[_Union[_policy_pb2.Policy, _Mapping]] = ..., revision: _Optional[int] = ...) -> None: ...

class DeclareRequest(_message.Message):
    __slots__ = ("declarations", "caller")
    DECLARATIONS_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    declarations: _containers.RepeatedCompositeFieldContainer[Declaration]
    caller: str
    def __init__(self, declarations: _Optional[_Iterable[_Union[Declaration, _Mapping]]] = ..., caller: _Optional[str] = ...) -> None: ...

class Declared(_message.Message):
    __slots__ = ("status", "policy")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    status: _breaker_pb2.BreakerStatus
    policy: _policy_pb2.PolicyInForce
    def __init__(self, status: _Optional[_Union[_breaker_pb2.BreakerStatus, _Mapping]] = ..., policy: _Optional[_Union[_policy_pb2.PolicyInForce, _Mapping]] = ...) -> None: ...

class DeclareResponse(_message.Message):
    __slots__ = ("declared",)
    DECLARED_FIELD_NUMBER: _ClassVar[int]
    declared: _containers.RepeatedCompositeFieldContainer[Declared]
    def __init__(self, declared: _Optional[_Iterable[_Union[Declared, _Mapping]]] = ...) -> None: ...

class ResetRequest(_message.Message):
    __slots__ = ("breaker", "reason", "actor")
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    breaker: str
    reason: str
    actor: str
    def __init__(self, breaker: _Optional[str] = ..., reason: _Optional[str] = ..., actor: _Optional[str] = ...) -> None: ...

class ResetResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: _breaker_pb2.BreakerStatus
    def __init__(self, status: _Optional[_Union[_breaker_pb2.BreakerStatus, _Mapping]] = ...) -> None: ...

class GetStateRequest(_message.Message):
    __slots__ = ("breaker",)
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    breaker: str
    def __init__(self, breaker: _Optional[str] = ...) -> None: ...

class Round(_message.Message):
    __slots__ = ("probes_out", "successes", "failures")
    PROBES_OUT_FIELD_NUMBER: _ClassVar[int]
    SUCCESSES_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    probes_out: int
    successes: int
    failures: int
    def __init__(self, probes_out: _Optional[int] = ..., successes: _Optional[int] = ..., failures: _Optional[int] = ...) -> None: ...

class GetStateResponse(_message.Message):
    __slots__ = ("status", "window", "totals", "policy", "override", "round", "failed_recoveries", "create_time", "next_deadline", "now", "last_event", "callers", "quorum", "overrides")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    FAILED_RECOVERIES_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    NEXT_DEADLINE_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    LAST_EVENT_FIELD_NUMBER: _ClassVar[int]
    CALLERS_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    status: _breaker_pb2.BreakerStatus
    window: _breaker_pb2.WindowCounts
    totals: _breaker_pb2.Totals
    policy: _policy_pb2.PolicyInForce
    override: _breaker_pb2.Override
    round: Round
    failed_recoveries: int
    create_time: _timestamp_pb2.Timestamp
    next_deadline: _timestamp_pb2.Timestamp
    now: _timestamp_pb2.Timestamp
    last_event: _event_pb2.Event
    callers: _containers.RepeatedCompositeFieldContainer[_breaker_pb2.CallerNumbers]
    quorum: int
    overrides: _containers.RepeatedCompositeFieldContainer[_breaker_pb2.Override]
    def __init__(self, status: _Optional[_Union[_breaker_pb2.BreakerStatus, _Mapping]] = ..., window: _Optional[_Union[_breaker_pb2.WindowCounts, _Mapping]] = ..., totals: _Optional[_Union[_breaker_pb2.Totals, _Mapping]] = ..., policy: _Optional[_Union[_policy_pb2.PolicyInForce, _Mapping]] = ..., override: _Optional[_Union[_breaker_pb2.Override, _Mapping]] = ..., round: _Optional[_Union[Round, _Mapping]] = ..., failed_recoveries: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., next_deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_event: _Optional[_Union[_event_pb2.Event, _Mapping]] = ..., callers: _Optional[_Iterable[_Union[_breaker_pb2.CallerNumbers, _Mapping]]] = ..., quorum: _Optional[int] = ..., overrides: _Optional[_Iterable[_Union[_breaker_pb2.Override, _Mapping]]] = ...) -> None: ...

class WatchFilter(_message.Message):
    __slots__ = ("breakers", "prefixes", "kinds", "caller")
    BREAKERS_FIELD_NUMBER: _ClassVar[int]
    PREFIXES_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    breakers: _containers.RepeatedScalarFieldContainer[str]
    prefixes: _containers.RepeatedScalarFieldContainer[str]
    kinds: _containers.RepeatedScalarFieldContainer[_event_pb2.EventKind]
    caller: str
    def __init__(self, breakers: _Optional[_Iterable[str]] = ..., prefixes: _Optional[_Iterable[str]] = ..., kinds: _Optional[_Iterable[_Union[_event_pb2.EventKind, str]]] = ..., caller: _Optional[str] = ...) -> None: ...

class WatchEventsRequest(_message.Message):
    __slots__ = ("filter", "resume_token", "delivery", "progress_interval", "skip_snapshot", "caller")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    SKIP_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    filter: WatchFilter
    resume_token: str
    delivery: Delivery
    progress_interval: _duration_pb2.Duration
    skip_snapshot: bool
    caller: str
    def __init__(self, filter: _Optional[_Union[WatchFilter, _Mapping]] = ..., resume_token: _Optional[str] = ..., delivery: _Optional[_Union[Delivery, str]] = ..., progress_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., skip_snapshot: _Optional[bool] = ..., caller: _Optional[str] = ...) -> None: ...

class WatchEventsResponse(_message.Message):
    __slots__ = ("resume_token", "snapshot", "event", "progress", "resync", "goodbye")
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESYNC_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    resume_token: str
    snapshot: Snapshot
    event: _event_pb2.Event
    progress: Progress
    resync: Resync
    goodbye: Goodbye
    def __init__(self, resume_token: _Optional[str] = ..., snapshot: _Optional[_Union[Snapshot, _Mapping]] = ..., event: _Optional[_Union[_event_pb2.Event, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., resync: _Optional[_Union[Resync, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ...) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("breakers", "deleted", "complete")
    BREAKERS_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    breakers: _containers.RepeatedCompositeFieldContainer[_breaker_pb2.BreakerStatus]
    deleted: _containers.RepeatedScalarFieldContainer[str]
    complete: bool
    def __init__(self, breakers: _Optional[_Iterable[_Union[_breaker_pb2.BreakerStatus, _Mapping]]] = ..., deleted: _Optional[_Iterable[str]] = ..., complete: _Optional[bool] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("now",)
    NOW_FIELD_NUMBER: _ClassVar[int]
    now: _timestamp_pb2.Timestamp
    def __init__(self, now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Resync(_message.Message):
    __slots__ = ("reason", "lost_events")
    REASON_FIELD_NUMBER: _ClassVar[int]
    LOST_EVENTS_FIELD_NUMBER: _ClassVar[int]
    reason: ResyncReason
    lost_events: int
    def __init__(self, reason: _Optional[_Union[ResyncReason, str]] = ..., lost_events: _Optional[int] = ...) -> None: ...
