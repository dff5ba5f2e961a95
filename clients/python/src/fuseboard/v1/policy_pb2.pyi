import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExpiredPermit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXPIRED_PERMIT_UNSPECIFIED: _ClassVar[ExpiredPermit]
    EXPIRED_PERMIT_FAILURE: _ClassVar[ExpiredPermit]
    EXPIRED_PERMIT_TIMEOUT: _ClassVar[ExpiredPermit]
    EXPIRED_PERMIT_IGNORED: _ClassVar[ExpiredPermit]

class Voters(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VOTERS_UNSPECIFIED: _ClassVar[Voters]
    VOTERS_INSTANCE: _ClassVar[Voters]
    VOTERS_SERVICE: _ClassVar[Voters]

class TripOn(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRIP_ON_UNSPECIFIED: _ClassVar[TripOn]
    TRIP_ON_ANY: _ClassVar[TripOn]
    TRIP_ON_FAILURE: _ClassVar[TripOn]
EXPIRED_PERMIT_UNSPECIFIED: ExpiredPermit
EXPIRED_PERMIT_FAILURE: ExpiredPermit
EXPIRED_PERMIT_TIMEOUT: ExpiredPermit
EXPIRED_PERMIT_IGNORED: ExpiredPermit
VOTERS_UNSPECIFIED: Voters
VOTERS_INSTANCE: Voters
VOTERS_SERVICE: Voters
TRIP_ON_UNSPECIFIED: TripOn
TRIP_ON_ANY: TripOn
TRIP_ON_FAILURE: TripOn

class Policy(_message.Message):
    __slots__ = ("failure_threshold", "monitoring_period", "failure_count_threshold", "failure_rate_threshold", "slow_call_duration", "slow_call_rate_threshold", "slow_call_minimum_calls", "window", "minimum_calls", "open_duration", "open_backoff", "probes", "successes_to_close", "failures_to_reopen", "half_open_max_duration", "retry_after_max", "lease", "expired_probe", "expired_permit", "min_callers", "share", "voters", "trip_on", "open_duration_min")
    FAILURE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MONITORING_PERIOD_FIELD_NUMBER: _ClassVar[int]
    FAILURE_COUNT_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    FAILURE_RATE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    SLOW_CALL_DURATION_FIELD_NUMBER: _ClassVar[int]
    SLOW_CALL_RATE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    SLOW_CALL_MINIMUM_CALLS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_CALLS_FIELD_NUMBER: _ClassVar[int]
    OPEN_DURATION_FIELD_NUMBER: _ClassVar[int]
    OPEN_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    PROBES_FIELD_NUMBER: _ClassVar[int]
    SUCCESSES_TO_CLOSE_FIELD_NUMBER: _ClassVar[int]
    FAILURES_TO_REOPEN_FIELD_NUMBER: _ClassVar[int]
    HALF_OPEN_MAX_DURATION_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MAX_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_PROBE_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_PERMIT_FIELD_NUMBER: _ClassVar[int]
    MIN_CALLERS_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    TRIP_ON_FIELD_NUMBER: _ClassVar[int]
    OPEN_DURATION_MIN_FIELD_NUMBER: _ClassVar[int]
    failure_threshold: int
    monitoring_period: _duration_pb2.Duration
    failure_count_threshold: int
    failure_rate_threshold: float
    slow_call_duration: _duration_pb2.Duration
    slow_call_rate_threshold: float
    slow_call_minimum_calls: int
    window: Window
    minimum_calls: int
    open_duration: _duration_pb2.Duration
    open_backoff: OpenBackoff
    probes: int
    successes_to_close: int
    failures_to_reopen: int
    half_open_max_duration: _duration_pb2.Duration
    retry_after_max: _duration_pb2.Duration
    lease: _duration_pb2.Duration
    expired_probe: ExpiredPermit
    expired_permit: ExpiredPermit
    min_callers: int
    share: float
    voters: Voters
    trip_on: TripOn
    open_duration_min: _duration_pb2.Duration
    def __init__(self, failure_threshold: _Optional[int] = ..., monitoring_period: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., failure_count_threshold: _Optional[int] = ..., failure_rate_threshold: _Optional[float] = ..., slow_call_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., slow_call_rate_threshold: _Optional[float] = ..., slow_call_minimum_calls: _Optional[int] = ..., window: _Optional[_Union[Window, _Mapping]] = ..., minimum_calls: _Optional[int] = ..., open_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., open_backoff: _Optional[_Union[OpenBackoff, _Mapping]] = ..., probes: _Optional[int] = ..., successes_to_close: _Optional[int] = ..., failures_to_reopen: _Optional[int] = ..., half_open_max_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., retry_after_max: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., lease: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., expired_probe: _Optional[_Union[ExpiredPermit, str]] = ..., expired_permit: _Optional[_Union[ExpiredPermit, str]] = ..., min_callers: _Optional[int] = ..., share: _Optional[float] = ..., voters: _Optional[_Union[Voters, str]] = ..., trip_on: _Optional[_Union[TripOn, str]] = ..., open_duration_min: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Window(_message.Message):
    __slots__ = ("time", "count")
    TIME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    time: TimeWindow
    count: CountWindow
    def __init__(self, time: _Optional[_Union[TimeWindow, _Mapping]] = ..., count: _Optional[_Union[CountWindow, _Mapping]] = ...) -> None: ...

class TimeWindow(_message.Message):
    __slots__ = ("duration", "slices")
    DURATION_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    duration: _duration_pb2.Duration
    slices: int
    def __init__(self, duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., slices: _Optional[int] = ...) -> None: ...

class CountWindow(_message.Message):
    __slots__ = ("calls",)
    CALLS_FIELD_NUMBER: _ClassVar[int]
    calls: int
    def __init__(self, calls: _Optional[int] = ...) -> None: ...

class OpenBackoff(_message.Message):
    __slots__ = ("multiplier", "max_duration", "jitter")
    MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    MAX_DURATION_FIELD_NUMBER: _ClassVar[int]
    JITTER_FIELD_NUMBER: _ClassVar[int]
    multiplier: float
    max_duration: _duration_pb2.Duration
    jitter: float
    def __init__(self, multiplier: _Optional[float] = ..., max_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., jitter: _Optional[float] = ...) -> None: ...

class PolicyInForce(_message.Message):
    __slots__ = ("policy", "version", "sources", "differs_from_declared", "declared_revision", "declared_by", "declare_time")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    DIFFERS_FROM_DECLARED_FIELD_NUMBER: _ClassVar[int]
    DECLARED_REVISION_FIELD_NUMBER: _ClassVar[int]
    DECLARED_BY_FIELD_NUMBER: _ClassVar[int]
    DECLARE_TIME_FIELD_NUMBER: _ClassVar[int]
    policy: Policy
    version: int
    sources: _containers.RepeatedScalarFieldContainer[str]
    differs_from_declared: bool
    declared_revision: int
    declared_by: str
    declare_time: _timestamp_pb2.Timestamp
    def __init__(self, policy: _Optional[_Union[Policy, _Mapping]] = ..., version: _Optional[int] = ..., sources: _Optional[_Iterable[str]] = ..., differs_from_declared: _Optional[bool] = ..., declared_revision: _Optional[int] = ..., declared_by: _Optional[str] = ..., declare_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
