package fuseboard

import "time"

const (
	// minRetryAfter is the shortest wait that a rejection names.
	minRetryAfter = 10 * time.Millisecond
	// stayingRetryAfter is the wait that a rejection names where nobody knows the end.
	stayingRetryAfter = 30 * time.Second
	// unavailableRetryAfter is the wait while the server cannot be asked: by then it was asked at least once more.
	unavailableRetryAfter = time.Second
)

// verdict is what a view alone says to a call.
type verdict uint8

const (
	askServer verdict = iota
	permitHere
	rejectHere
)

// decide says what a cached view says to a call at now. fresh tells whether the watch that covers the breaker was
// heard lately enough. Reason and wait are set for rejectHere only.
//
// A refusal is believed until its own deadline, however old; leave is given by a fresh view only.
func decide(v *view, fresh bool, now time.Duration) (verdict, Reason, time.Duration) {
	switch v.override {
	case OverrideForcedOpen:
		if v.overrideUntil == 0 {
			return rejectHere, ReasonForcedOpen, stayingRetryAfter
		}
		return rejectHere, ReasonForcedOpen, max(v.overrideUntil-now, minRetryAfter)
	case OverrideForcedClosed, OverrideShadow:
		if fresh && v.state == StateClosed {
			return permitHere, 0, 0
		}
		return askServer, 0, 0
	}
	switch {
	case v.state == StateOpen && now < v.until:
		return rejectHere, ReasonOpen, max(v.until-now, minRetryAfter)
	case v.caller.state == StateOpen && now < v.caller.until:
		return rejectHere, ReasonCallerIsolated, max(v.caller.until-now, minRetryAfter)
	case fresh && v.state == StateClosed && v.caller.state == StateClosed:
		return permitHere, 0, 0
	default:
		return askServer, 0, 0
	}
}
