"""The watch: what a client hears of its breakers, over reconnects."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import TYPE_CHECKING, Any

import grpc

from fuseboard._view import STATES, of_status
from fuseboard._wire import KINDS, OWN_SCOPE, put_seconds
from fuseboard.events import Event
from fuseboard.v1 import breaker_pb2, breaker_service_pb2, event_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuseboard._guard import Guard, Link
    from fuseboard.options import Settings

log = logging.getLogger("fuseboard")

# How long more keys are waited for before a watch is opened that names them.
GATHER_S = 0.01
BACKOFF_MIN_S = 0.2
BACKOFF_MAX_S = 5.0
FIRST_DELAY_MAX_S = 1.0


def delay_of(failures: int) -> float:
    """How long to wait before a stream is opened again: drawn, so that a fleet does not come back at once."""
    if failures == 0:
        return random.uniform(0, FIRST_DELAY_MAX_S)
    return random.uniform(0, min(BACKOFF_MIN_S * 2**failures, BACKOFF_MAX_S))


class Watch:
    """Follows the events of all breakers of a client."""

    def __init__(
        self,
        settings: Settings,
        link: Link,
        guards: dict[str, Guard],
        clock: Callable[[], float],
        *,
        open_stream: Callable[[breaker_service_pb2.WatchEventsRequest], Any],
        on_event: Callable[[Event], None],
        on_policy: Callable[[Guard, int], None],
        on_silence: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._link = link
        self._guards = guards
        self._clock = clock
        self._open_stream = open_stream
        self._on_event = on_event
        self._on_policy = on_policy
        self._on_silence = on_silence
        self._keys_changed = asyncio.Event()
        # Where to go on. Empty until a snapshot is complete.
        self._token = ""
        self._failures = 0
        # What the server asked for by its goodbye.
        self._come_back: float | None = None
        self.reconnects = 0
        self.resyncs = 0

    def add_keys(self) -> None:
        """There are more breakers than the open watch names."""
        self._keys_changed.set()

    async def run(self) -> None:
        """Keeps a watch open, until cancelled."""
        current: asyncio.Task[None] | None = None
        try:
            while True:
                if current is None or current.done():
                    current = None
                    if not self._guards:
                        await self._keys_changed.wait()
                    await asyncio.sleep(GATHER_S)
                self._keys_changed.clear()
                opened = await self._open(frozenset(self._guards))
                if opened is None:
                    await asyncio.sleep(self._delay())
                    self._keys_changed.set()
                    continue
                if current is not None:
                    await _end(current)
                current, opened = opened, None
                await self._until_over(current)
                if current.done():
                    self.reconnects += 1
                    await asyncio.sleep(self._delay())
                else:
                    await asyncio.sleep(GATHER_S)
        finally:
            if current is not None:
                await _end(current)

    def _delay(self) -> float:
        come_back, self._come_back = self._come_back, None
        return delay_of(self._failures) if come_back is None else come_back

    async def _until_over(self, current: asyncio.Task[None]) -> None:
        """Until the stream has ended or there are more keys."""
        changed = asyncio.ensure_future(self._keys_changed.wait())
        try:
            await asyncio.wait((current, changed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()

    async def _open(self, keys: frozenset[str]) -> asyncio.Task[None] | None:
        """A stream that has spoken, or nothing."""
        spoken = asyncio.Event()
        task = asyncio.ensure_future(self._follow(keys, spoken))
        first = asyncio.ensure_future(spoken.wait())
        try:
            await asyncio.wait((task, first), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await _end(task)
            raise
        finally:
            first.cancel()
        if spoken.is_set():
            return task
        await _end(task)
        return None

    async def _follow(self, keys: frozenset[str], spoken: asyncio.Event) -> None:
        request = breaker_service_pb2.WatchEventsRequest(
            filter=breaker_service_pb2.WatchFilter(breakers=sorted(keys)),
            resume_token=self._token,
            caller=self._settings.caller,
        )
        put_seconds(request.progress_interval, self._settings.progress_interval)
        # However short a word is believed: the server need not speak more often than it was asked to.
        silence = max(self._settings.max_staleness, 2 * self._settings.progress_interval)
        call = self._open_stream(request)
        is_whole = goes_on = bool(self._token)
        named: set[str] = set()
        try:
            while True:
                message = await asyncio.wait_for(call.read(), silence)
                if message is grpc.aio.EOF:
                    break
                kind = message.WhichOneof("message")
                if kind == "resync":
                    is_whole = goes_on = False
                    named.clear()
                    self._resync(message.resync)
                elif kind == "snapshot":
                    self._snapshot(message.snapshot, named)
                    if message.snapshot.complete and not is_whole:
                        is_whole = True
                        self._forget_others(keys, named)
                elif kind == "event":
                    self._event(message.event)
                elif kind == "goodbye":
                    self._come_back = message.goodbye.retry_after.ToNanoseconds() / 1e9
                self._link.heard_at = self._clock()
                if is_whole:
                    self._token = message.resume_token
                    if not spoken.is_set():
                        self._failures = 0
                        for key in keys:
                            self._cover(self._guards[key], goes_on=goes_on)
                        spoken.set()
        except asyncio.TimeoutError:
            self._failures += 1
            log.warning("the server was silent for %g s: connecting anew", silence)
            self._on_silence()
        except grpc.RpcError as error:
            self._failures += 1
            log.debug("the watch has ended: %r", error)
        finally:
            call.cancel()

    def _cover(self, guard: Guard, *, goes_on: bool) -> None:
        """A watch names the breaker from now on."""
        # What an answer has told of it may have changed before the place that this watch goes on from.
        if goes_on and not guard.covered and guard.view is not None and guard.view.permits:
            guard.forget()
        guard.covered = True

    def _snapshot(self, snapshot: breaker_service_pb2.Snapshot, named: set[str]) -> None:
        now = self._clock()
        for status in snapshot.breakers:
            guard = self._guards.get(status.breaker)
            if guard is not None:
                named.add(status.breaker)
                guard.heard = max(guard.heard, status.sequence)
                guard.learn(of_status(status, guard.view, now, scope=True))
                self._on_policy(guard, status.policy_version)
        for key in snapshot.deleted:
            if key in self._guards:
                self._guards[key].forget()

    def _forget_others(self, keys: frozenset[str], named: set[str]) -> None:
        """What a whole snapshot does not name is no more; but it may just have been made, and then it is asked for."""
        for key in keys - named:
            self._guards[key].forget()

    def _event(self, event: event_pb2.Event) -> None:
        guard = self._guards.get(event.breaker)
        if guard is None:
            return
        if event.sequence <= guard.heard:
            return
        guard.heard = event.sequence
        before, now = guard.view, self._clock()
        if event.kind == event_pb2.EVENT_KIND_DELETED:
            guard.forget()
        else:
            own = event.kind in OWN_SCOPE and event.status.caller.caller == self._settings.caller
            guard.learn(of_status(event.status, before, now, told_at=event.event_time, scope=own))
            self._on_policy(guard, event.policy_version)
        self._on_event(told(event))

    def _resync(self, resync: breaker_service_pb2.Resync) -> None:
        self.resyncs += 1
        self._token = ""
        for guard in self._guards.values():
            guard.forget()
            guard.heard = 0
        reason = breaker_service_pb2.ResyncReason.Name(resync.reason).removeprefix("RESYNC_REASON_").lower()
        log.warning("the watch has lost events (%s): going on from a snapshot", reason)
        self._on_event(Event("resync", reason=reason, lost=resync.lost_events))


def told(event: event_pb2.Event) -> Event:
    """An event as listeners get it."""
    evidence = event.evidence
    first = event.first_event_time if event.HasField("first_event_time") else event.event_time
    rule = breaker_pb2.TripRule.Name(evidence.rule).removeprefix("TRIP_RULE_").lower() if evidence.rule else ""
    return Event(
        kind=KINDS.get(event.kind, "unknown"),
        breaker=event.breaker,
        sequence=event.sequence,
        generation=event.generation,
        before=STATES.get(getattr(event, "from")),
        after=STATES.get(event.to),
        reason=event_pb2.EventReason.Name(event.reason).removeprefix("EVENT_REASON_").lower(),
        rule=rule,
        failures=evidence.consecutive_failures,
        caller=event.status.caller.caller or evidence.caller,
        actor=event.actor,
        comment=event.comment,
        time=event.event_time.ToNanoseconds() / 1e9,
        count=max(event.count, 1),
        first_time=first.ToNanoseconds() / 1e9,
    )


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
