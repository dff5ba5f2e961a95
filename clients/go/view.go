package fuseboard

import (
	"time"

	fuseboardv1 "fuseboard.dev/fuseboard/gen/fuseboard/v1"
)

// view is what a client knows of a breaker. It is pure: now is an argument, in the client's monotonic time.
//
// Invariant: neither generation goes down, unless all that is known is forgotten by a resync.
type view struct {
	scope
	caller   scope
	override OverrideMode
	// overrideUntil is when the override ends by itself; 0: it stays, or its end is not known.
	overrideUntil time.Duration
	// sequence is that of the last event, as far as the watch has told it. Answers do not raise it, so that no event
	// is taken for one that was told.
	sequence uint64
	// policyVersion is that of the policy in force, 0 where it is not known.
	policyVersion uint64
}

// scope is where a breaker, or one caller of it, stands.
type scope struct {
	// state is StateUnknown where nothing is known.
	state      State
	generation uint64
	// until is when the state ends by itself; 0: it does not, or it is not known.
	until time.Duration
}

// applyStatus takes what a status says. self is this client's caller; what a status says of another is passed over.
// serverNow is the server's time when it said so, zero where that is not known.
func (v *view) applyStatus(status *fuseboardv1.BreakerStatus, self string, serverNow time.Time, now time.Duration) {
	if generation := status.GetGeneration(); generation >= v.generation {
		if generation > v.generation {
			v.overrideUntil = 0
		}
		v.scope = scope{state: State(status.GetState()), generation: generation}
		if status.StateRemaining != nil {
			v.until = now + status.StateRemaining.AsDuration()
		}
		v.override = OverrideMode(status.GetOverrideMode())
		if expire := status.GetOverrideExpireTime(); expire != nil && !serverNow.IsZero() {
			v.overrideUntil = now + expire.AsTime().Sub(serverNow)
		}
		v.policyVersion = max(v.policyVersion, status.GetPolicyVersion())
	}
	told := status.GetCaller()
	if told != nil && told.GetCaller() == self && told.GetGeneration() >= v.caller.generation {
		v.caller = scope{state: State(told.GetState()), generation: told.GetGeneration()}
		if told.StateRemaining != nil {
			v.caller.until = now + told.StateRemaining.AsDuration()
		}
	}
	v.callerIsClosedIfNeverMoved()
}

// answer is the part of an answer to an acquire or a report that tells where a breaker stands.
type answer struct {
	state            State
	generation       uint64
	override         OverrideMode
	callerGeneration uint64
	// callerState is StateUnknown where the answer does not tell it.
	callerState State
	// reason and retryAfter are a rejection's.
	reason     Reason
	retryAfter time.Duration
	// provisional answers have no generation behind them, and tell nothing.
	provisional bool
}

// applyAnswer takes what an answer says. Answers tell no deadline: one that is known is kept, and a rejection's
// retry-after is believed.
func (v *view) applyAnswer(a answer, now time.Duration) {
	if a.provisional {
		return
	}
	if a.generation >= v.generation {
		moved := a.generation > v.generation || v.state != a.state
		if moved {
			v.scope = scope{state: a.state, generation: a.generation}
			v.overrideUntil = 0
		}
		v.override = a.override
		if a.reason == ReasonOpen && v.until <= now {
			v.until = now + a.retryAfter
		}
	}
	if a.callerGeneration < v.caller.generation {
		return
	}
	moved := a.callerGeneration > v.caller.generation
	switch {
	case a.callerState != StateUnknown && (moved || a.callerState != v.caller.state):
		v.caller = scope{state: a.callerState, generation: a.callerGeneration}
	case a.reason == ReasonCallerIsolated && (moved || v.caller.state != StateHalfOpen && v.caller.until <= now):
		v.caller = scope{state: StateOpen, generation: a.callerGeneration, until: now + a.retryAfter}
	case moved:
		// It has moved, and where to is told by an event or the next report.
		v.caller = scope{state: StateUnknown, generation: a.callerGeneration}
	}
	v.callerIsClosedIfNeverMoved()
}

// applyEvent takes an event. False: it was seen before, and changes nothing.
func (v *view) applyEvent(event *fuseboardv1.Event, self string, now time.Duration) bool {
	if event.GetSequence() <= v.sequence {
		return false
	}
	v.sequence = event.GetSequence()
	if event.GetKind() == fuseboardv1.EventKind_EVENT_KIND_DELETED {
		// The generation stays: a breaker that comes anew under this key starts above it.
		*v = view{sequence: v.sequence, scope: scope{generation: v.generation}}
		return true
	}
	v.applyStatus(event.GetStatus(), self, event.GetEventTime().AsTime(), now)
	return true
}

// applySnapshot takes a breaker's part of a snapshot.
func (v *view) applySnapshot(status *fuseboardv1.BreakerStatus, self string, now time.Duration) {
	v.applyStatus(status, self, time.Time{}, now)
	v.sequence = max(v.sequence, status.GetSequence())
}

// doubt forgets what only a watch can keep true. It is called when a watch that went on from a token begins to cover
// the breaker: what happened to it between an answer and that token was told to nobody here. An open state is kept,
// because it is believed until its own deadline anyway.
func (v *view) doubt() {
	if v.state != StateOpen && v.override != OverrideForcedOpen {
		v.state = StateUnknown
	}
}

func (v *view) callerIsClosedIfNeverMoved() {
	if v.caller.generation == 0 {
		v.caller.state = StateClosed
	}
}
