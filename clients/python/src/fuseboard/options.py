"""What a user can set. Durations are seconds (`float` or `int`) or a `timedelta`."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeAlias, Union

from fuseboard._guard import Mode, WhenUnavailable
from fuseboard._wire import put_seconds
from fuseboard.v1 import policy_pb2 as pb

Duration: TypeAlias = Union[float, int, timedelta]
Outcome: TypeAlias = Literal["success", "failure", "timeout", "ignored", "cancelled"]

#: What a permit counts as when its lease ends and nobody has reported it.
ExpiredPermit: TypeAlias = Literal["failure", "timeout", "ignored"]

BREAKERS_MAX = 1_000
KEY_BYTES_MAX = 200
_NOT_IN_A_KEY = re.compile(r"[^A-Za-z0-9._\-:/]")


_EXPIRED: dict[str, int] = {
    "failure": pb.EXPIRED_PERMIT_FAILURE,
    "timeout": pb.EXPIRED_PERMIT_TIMEOUT,
    "ignored": pb.EXPIRED_PERMIT_IGNORED,
}
# The fields of a policy that are a choice, and the proto's numbers.
_CHOICES: dict[str, dict[str, int]] = {
    "expired_probe": _EXPIRED,
    "expired_permit": _EXPIRED,
    "voters": {"instance": pb.VOTERS_INSTANCE, "service": pb.VOTERS_SERVICE},
    "trip_on": {"any": pb.TRIP_ON_ANY, "failure": pb.TRIP_ON_FAILURE},
}


def as_seconds(value: Duration) -> float:
    """A duration as seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


@dataclass(frozen=True)
class Verdict:
    """What a classifier says of a call."""

    outcome: Outcome
    #: A short class of the error, for people: `connection_refused`. At most 64 bytes of printable ASCII.
    error_class: str = ""
    #: What the dependency asked for by a retry-after of its own. 0: nothing.
    retry_after: Duration = 0.0
    #: The failure arose on the caller's own side: it never counts for all.
    local: bool = False


#: Says how a call went. Exactly one of its arguments is of use: the result, or the error that the call raised.
Classify: TypeAlias = Callable[[Any, Union[BaseException, None]], Union[Verdict, Outcome]]


@dataclass(frozen=True)
class TimeWindow:
    """The calls of the last stretch of time."""

    duration: Duration
    #: Slices it is counted in. 1 to 120. 0: 10.
    slices: int = 0


@dataclass(frozen=True)
class CountWindow:
    """The last so many calls."""

    calls: int


@dataclass(frozen=True)
class OpenBackoff:
    """How the open period grows while recoveries fail."""

    #: 1 to 100. 0: 2.
    multiplier: float = 0.0
    #: Ceiling of the open period. 0: ten times `open_duration`.
    max_duration: Duration = 0.0
    #: Share of each open period that is random, 0 to 1.
    jitter: float = 0.0


@dataclass(frozen=True)
class Policy:
    """What a service declares for a breaker. Fields left `None` are inherited; the server checks ranges.

    A declaration that states any trip rule replaces the server's default rules as a whole. See docs/breaker.md.
    """

    failure_threshold: int | None = None
    monitoring_period: Duration | None = None
    failure_count_threshold: int | None = None
    failure_rate_threshold: float | None = None
    slow_call_duration: Duration | None = None
    slow_call_rate_threshold: float | None = None
    slow_call_minimum_calls: int | None = None
    window: TimeWindow | CountWindow | None = None
    minimum_calls: int | None = None
    open_duration: Duration | None = None
    open_backoff: OpenBackoff | None = None
    probes: int | None = None
    successes_to_close: int | None = None
    failures_to_reopen: int | None = None
    half_open_max_duration: Duration | None = None
    retry_after_max: Duration | None = None
    lease: Duration | None = None
    min_callers: int | None = None
    share: float | None = None
    #: What an unreported probe counts as when its lease ends. Default: `failure`.
    expired_probe: ExpiredPermit | None = None
    #: What any other unreported permit counts as. Default: `ignored`.
    expired_permit: ExpiredPermit | None = None
    #: Whose evidence the quorum counts: each caller's, or each service's (the part of the name before the first `/`).
    #: Default: `instance`.
    voters: Literal["instance", "service"] | None = None
    #: Which reports may trip it: any, or failures only (for the slow-call rule, slow calls). Default: `any`.
    trip_on: Literal["any", "failure"] | None = None
    #: Shortest `open_duration` that the policy accepts, against a unit mistake. Set it below the default to permit
    #: shorter open periods. 1 ms to 24 h; 0 is refused. Default: 100 ms.
    open_duration_min: Duration | None = None

    def to_pb(self) -> pb.Policy:
        """The message that is declared."""
        policy = pb.Policy()
        for name in (
            "failure_threshold",
            "failure_count_threshold",
            "failure_rate_threshold",
            "slow_call_rate_threshold",
            "slow_call_minimum_calls",
            "minimum_calls",
            "probes",
            "successes_to_close",
            "failures_to_reopen",
            "min_callers",
            "share",
        ):
            value = getattr(self, name)
            if value is not None:
                setattr(policy, name, value)
        for name in (
            "monitoring_period",
            "slow_call_duration",
            "open_duration",
            "half_open_max_duration",
            "retry_after_max",
            "lease",
            "open_duration_min",
        ):
            value = getattr(self, name)
            if value is not None:
                put_seconds(getattr(policy, name), as_seconds(value))
                getattr(policy, name).SetInParent()
        for name, values in _CHOICES.items():
            value = getattr(self, name)
            if value is not None:
                if value not in values:
                    raise ValueError(f"{name} is {value!r}: say one of {', '.join(values)}")
                setattr(policy, name, values[value])
        if isinstance(self.window, TimeWindow):
            put_seconds(policy.window.time.duration, as_seconds(self.window.duration))
            policy.window.time.slices = self.window.slices
        elif self.window is not None:
            policy.window.count.calls = self.window.calls
        if self.open_backoff is not None:
            backoff = policy.open_backoff
            backoff.multiplier, backoff.jitter = self.open_backoff.multiplier, self.open_backoff.jitter
            backoff.SetInParent()
            if self.open_backoff.max_duration:
                put_seconds(backoff.max_duration, as_seconds(self.open_backoff.max_duration))
        return policy


@dataclass(frozen=True)
class Tls:
    """A connection that is encrypted."""

    #: PEM of the authorities that the server's certificate is checked with. `None`: the system's.
    roots: bytes | None = None
    #: PEM of the client's own certificate chain and key, for servers that ask for one.
    certificate: bytes | None = None
    key: bytes | None = None
    #: Name that the certificate is for, where it is not the address's.
    server_name: str | None = None


def default_caller() -> str:
    """`service/instance`, of the environment, the host's name and the process's number."""
    service = os.environ.get("FUSEBOARD_SERVICE") or "app"
    return f"{service}/{socket.gethostname()}-{os.getpid()}"


def printable_key(text: str) -> str:
    """The text with what a key cannot hold made `-`, and cut to a key's length."""
    return _NOT_IN_A_KEY.sub("-", text)[:KEY_BYTES_MAX]


@dataclass(frozen=True)
class Settings:
    """A client's options, checked."""

    address: str = ""
    caller: str = ""
    token: str = ""
    tls: Tls | None = None
    mode: Mode = "cached"
    when_unavailable: WhenUnavailable = "local"
    acquire_timeout: float = 0.05
    report_timeout: float = 0.05
    report_interval: float = 0.1
    progress_interval: float = 2.0
    max_staleness: float = 4.0
    close_timeout: float = 1.0
    client_id: str = field(default_factory=lambda: os.urandom(16).hex())


def settings(
    address: str | None = None,
    *,
    caller: str | None = None,
    token: str | None = None,
    tls: Tls | bool | None = None,
    mode: Mode = "cached",
    when_unavailable: WhenUnavailable = "local",
    acquire_timeout: Duration = 0.05,
    report_timeout: Duration = 0.05,
    report_interval: Duration = 0.1,
    progress_interval: Duration = 2.0,
    max_staleness: Duration | None = None,
    close_timeout: Duration = 1.0,
) -> Settings:
    """Checks a client's options and fills in what the environment says.

    :raises ValueError: naming the option that is wrong.
    """
    target = address or os.environ.get("FUSEBOARD_ADDRESS") or "127.0.0.1:50051"
    if target.startswith("https://"):
        target, tls = target.removeprefix("https://"), tls or True
    target = target.removeprefix("http://").rstrip("/")
    if not re.fullmatch(r".+:\d+", target) and not target.startswith("unix:"):
        raise ValueError(f"address {target!r} has no port: say host:port")
    _one_of("mode", mode, ("cached", "strict"))
    _one_of("when_unavailable", when_unavailable, ("local", "permit", "reject"))
    progress = _between("progress_interval", progress_interval, 1.0, 60.0)
    return Settings(
        address=target,
        caller=printable_key(caller or os.environ.get("FUSEBOARD_CALLER") or default_caller()),
        token=token or os.environ.get("FUSEBOARD_TOKEN") or "",
        tls=Tls() if tls is True else (tls or None),
        mode=mode,
        when_unavailable=when_unavailable,
        acquire_timeout=_between("acquire_timeout", acquire_timeout, 0.001, 60.0),
        report_timeout=_between("report_timeout", report_timeout, 0.0, 60.0),
        report_interval=_between("report_interval", report_interval, 0.001, 60.0),
        progress_interval=progress,
        max_staleness=(
            2 * progress if max_staleness is None else _between("max_staleness", max_staleness, 0.001, 3600.0)
        ),
        close_timeout=_between("close_timeout", close_timeout, 0.0, 60.0),
    )


def check_key(key: str) -> str:
    """The key of a breaker, checked.

    :raises ValueError: saying what a key is.
    """
    if not key or len(key) > KEY_BYTES_MAX or _NOT_IN_A_KEY.search(key):
        raise ValueError(f"breaker {key!r} is not a key: 1 to {KEY_BYTES_MAX} bytes of A-Z a-z 0-9 . _ - : /")
    return key


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}: say one of {', '.join(allowed)}")


def _between(name: str, value: Duration, least: float, most: float) -> float:
    number = as_seconds(value)
    if not least <= number <= most:
        raise ValueError(f"{name} is {number:g} s: say {least:g} to {most:g} s")
    return number
