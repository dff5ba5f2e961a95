import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATE_UNSPECIFIED: _ClassVar[State]
    STATE_CLOSED: _ClassVar[State]
    STATE_OPEN: _ClassVar[State]
    STATE_HALF_OPEN: _ClassVar[State]

class OverrideMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OVERRIDE_MODE_UNSPECIFIED: _ClassVar[OverrideMode]
    OVERRIDE_MODE_FORCED_OPEN: _ClassVar[OverrideMode]
    OVERRIDE_MODE_FORCED_CLOSED: _ClassVar[OverrideMode]
    OVERRIDE_MODE_SHADOW: _ClassVar[OverrideMode]

class Decision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_UNSPECIFIED: _ClassVar[Decision]
    DECISION_PERMITTED: _ClassVar[Decision]
    DECISION_REJECTED: _ClassVar[Decision]

class RejectionReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REJECTION_REASON_UNSPECIFIED: _ClassVar[RejectionReason]
    REJECTION_REASON_OPEN: _ClassVar[RejectionReason]
    REJECTION_REASON_HALF_OPEN_FULL: _ClassVar[RejectionReason]
    REJECTION_REASON_CALLER_ISOLATED: _ClassVar[RejectionReason]
    REJECTION_REASON_FORCED_OPEN: _ClassVar[RejectionReason]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_SUCCESS: _ClassVar[Outcome]
    OUTCOME_FAILURE: _ClassVar[Outcome]
    OUTCOME_TIMEOUT: _ClassVar[Outcome]
    OUTCOME_IGNORED: _ClassVar[Outcome]
    OUTCOME_CANCELLED: _ClassVar[Outcome]

class Origin(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORIGIN_UNSPECIFIED: _ClassVar[Origin]
    ORIGIN_DEPENDENCY: _ClassVar[Origin]
    ORIGIN_LOCAL: _ClassVar[Origin]

class TripRule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRIP_RULE_UNSPECIFIED: _ClassVar[TripRule]
    TRIP_RULE_FAILURE_THRESHOLD: _ClassVar[TripRule]
    TRIP_RULE_FAILURE_COUNT_THRESHOLD: _ClassVar[TripRule]
    TRIP_RULE_FAILURE_RATE_THRESHOLD: _ClassVar[TripRule]
    TRIP_RULE_SLOW_CALL_RATE_THRESHOLD: _ClassVar[TripRule]
    TRIP_RULE_CALLERS_ISOLATED: _ClassVar[TripRule]
STATE_UNSPECIFIED: State
STATE_CLOSED: State
STATE_OPEN: State
STATE_HALF_OPEN: State
OVERRIDE_MODE_UNSPECIFIED: OverrideMode
OVERRIDE_MODE_FORCED_OPEN: OverrideMode
OVERRIDE_MODE_FORCED_CLOSED: OverrideMode
OVERRIDE_MODE_SHADOW: OverrideMode
DECISION_UNSPECIFIED: Decision
DECISION_PERMITTED: Decision
DECISION_REJECTED: Decision
REJECTION_REASON_UNSPECIFIED: RejectionReason
REJECTION_REASON_OPEN: RejectionReason
REJECTION_REASON_HALF_OPEN_FULL: RejectionReason
REJECTION_REASON_CALLER_ISOLATED: RejectionReason
REJECTION_REASON_FORCED_OPEN: RejectionReason
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_SUCCESS: Outcome
OUTCOME_FAILURE: Outcome
OUTCOME_TIMEOUT: Outcome
OUTCOME_IGNORED: Outcome
OUTCOME_CANCELLED: Outcome
ORIGIN_UNSPECIFIED: Origin
ORIGIN_DEPENDENCY: Origin
ORIGIN_LOCAL: Origin
TRIP_RULE_UNSPECIFIED: TripRule
TRIP_RULE_FAILURE_THRESHOLD: TripRule
TRIP_RULE_FAILURE_COUNT_THRESHOLD: TripRule
TRIP_RULE_FAILURE_RATE_THRESHOLD: TripRule
TRIP_RULE_SLOW_CALL_RATE_THRESHOLD: TripRule
TRIP_RULE_CALLERS_ISOLATED: TripRule

class WindowCounts(_message.Message):
    __slots__ = ("successes", "failures", "timeouts", "slow")
    SUCCESSES_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    TIMEOUTS_FIELD_NUMBER: _ClassVar[int]
    SLOW_FIELD_NUMBER: _ClassVar[int]
    successes: int
    failures: int
    timeouts: int
    slow: int
    def __init__(self, successes: _Optional[int] = ..., failures: _Optional[int] = ..., timeouts: _Optional[int] = ..., slow: _Optional[int] = ...) -> None: ...

class Totals(_message.Message):
    __slots__ = ("opens", "closes", "successes", "failures", "timeouts", "ignored", "rejected", "stale", "expired", "bypassed", "local_failures", "last_open_time", "last_close_time", "last_success_time", "last_failure_time")
    OPENS_FIELD_NUMBER: _ClassVar[int]
    CLOSES_FIELD_NUMBER: _ClassVar[int]
    SUCCESSES_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    TIMEOUTS_FIELD_NUMBER: _ClassVar[int]
    IGNORED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    BYPASSED_FIELD_NUMBER: _ClassVar[int]
    LOCAL_FAILURES_FIELD_NUMBER: _ClassVar[int]
    LAST_OPEN_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_CLOSE_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_SUCCESS_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_TIME_FIELD_NUMBER: _ClassVar[int]
    opens: int
    closes: int
    successes: int
    failures: int
    timeouts: int
    ignored: int
    rejected: int
    stale: int
    expired: int
    bypassed: int
    local_failures: int
    last_open_time: _timestamp_pb2.Timestamp
    last_close_time: _timestamp_pb2.Timestamp
    last_success_time: _timestamp_pb2.Timestamp
    last_failure_time: _timestamp_pb2.Timestamp
    def __init__(self, opens: _Optional[int] = ..., closes: _Optional[int] = ..., successes: _Optional[int] = ..., failures: _Optional[int] = ..., timeouts: _Optional[int] = ..., ignored: _Optional[int] = ..., rejected: _Optional[int] = ..., stale: _Optional[int] = ..., expired: _Optional[int] = ..., bypassed: _Optional[int] = ..., local_failures: _Optional[int] = ..., last_open_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_close_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_success_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_failure_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Override(_message.Message):
    __slots__ = ("mode", "actor", "reason", "set_time", "expire_time", "id")
    MODE_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SET_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    mode: OverrideMode
    actor: str
    reason: str
    set_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    id: str
    def __init__(self, mode: _Optional[_Union[OverrideMode, str]] = ..., actor: _Optional[str] = ..., reason: _Optional[str] = ..., set_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., id: _Optional[str] = ...) -> None: ...

class BreakerStatus(_message.Message):
    __slots__ = ("breaker", "state", "override_mode", "generation", "sequence", "state_since", "state_until", "override_expire_time", "state_remaining", "failures", "policy_version", "caller", "callers_isolated")
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_MODE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STATE_SINCE_FIELD_NUMBER: _ClassVar[int]
    STATE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    STATE_REMAINING_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    CALLERS_ISOLATED_FIELD_NUMBER: _ClassVar[int]
    breaker: str
    state: State
    override_mode: OverrideMode
    generation: int
    sequence: int
    state_since: _timestamp_pb2.Timestamp
    state_until: _timestamp_pb2.Timestamp
    override_expire_time: _timestamp_pb2.Timestamp
    state_remaining: _duration_pb2.Duration
    failures: int
    policy_version: int
    caller: CallerStatus
    callers_isolated: int
    def __init__(self, breaker: _Optional[str] = ..., state: _Optional[_Union[State, str]] = ..., override_mode: _Optional[_Union[OverrideMode, str]] = ..., generation: _Optional[int] = ..., sequence: _Optional[int] = ..., state_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., override_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state_remaining: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., failures: _Optional[int] = ..., policy_version: _Optional[int] = ..., caller: _Optional[_Union[CallerStatus, _Mapping]] = ..., callers_isolated: _Optional[int] = ...) -> None: ...

class CallerStatus(_message.Message):
    __slots__ = ("caller", "state", "generation", "state_since", "state_until", "state_remaining", "failures")
    CALLER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    STATE_SINCE_FIELD_NUMBER: _ClassVar[int]
    STATE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    STATE_REMAINING_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    caller: str
    state: State
    generation: int
    state_since: _timestamp_pb2.Timestamp
    state_until: _timestamp_pb2.Timestamp
    state_remaining: _duration_pb2.Duration
    failures: int
    def __init__(self, caller: _Optional[str] = ..., state: _Optional[_Union[State, str]] = ..., generation: _Optional[int] = ..., state_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state_remaining: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., failures: _Optional[int] = ...) -> None: ...

class CallerNumbers(_message.Message):
    __slots__ = ("status", "window", "successes", "failures", "local_failures", "rejected", "seen_time")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    SUCCESSES_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    LOCAL_FAILURES_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    SEEN_TIME_FIELD_NUMBER: _ClassVar[int]
    status: CallerStatus
    window: WindowCounts
    successes: int
    failures: int
    local_failures: int
    rejected: int
    seen_time: _timestamp_pb2.Timestamp
    def __init__(self, status: _Optional[_Union[CallerStatus, _Mapping]] = ..., window: _Optional[_Union[WindowCounts, _Mapping]] = ..., successes: _Optional[int] = ..., failures: _Optional[int] = ..., local_failures: _Optional[int] = ..., rejected: _Optional[int] = ..., seen_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
