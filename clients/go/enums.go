package fuseboard

// State is what a breaker has computed from the calls reported to it.
type State uint8

// The states. The numbers are the protocol's.
const (
	// StateUnknown: nothing is known yet.
	StateUnknown State = iota
	// StateClosed: calls are permitted.
	StateClosed
	// StateOpen: calls are rejected until the open period has passed.
	StateOpen
	// StateHalfOpen: a few calls are permitted as probes.
	StateHalfOpen
)

func (s State) String() string { return name(stateNames[:], int(s)) }

// Outcome is how a permitted call went.
type Outcome uint8

// The outcomes. The numbers are the protocol's.
const (
	_ Outcome = iota
	// Success: the dependency answered as it should.
	Success
	// Failure: the dependency failed.
	Failure
	// Timeout: the dependency did not answer in time; a failure, told apart in the numbers.
	Timeout
	// Ignored: the call happened but says nothing about the dependency (a 404, a validation error).
	Ignored
	// Cancelled: the call never finished (the user went away).
	Cancelled
)

func (o Outcome) String() string { return name(outcomeNames[:], int(o)) }

func (o Outcome) valid() bool { return o >= Success && o <= Cancelled }

// Origin is on whose side a failure arose.
type Origin uint8

// The origins. The numbers are the protocol's.
const (
	// OriginUnset is the same as OriginDependency.
	OriginUnset Origin = iota
	// OriginDependency: the dependency, or the way to it.
	OriginDependency
	// OriginLocal: the caller itself (out of file descriptors, could not resolve). It counts for nobody.
	OriginLocal
)

// Reason is why a call was rejected.
type Reason uint8

// The reasons. The numbers up to ReasonForcedOpen are the protocol's.
const (
	_ Reason = iota
	// ReasonOpen: the breaker is open.
	ReasonOpen
	// ReasonHalfOpenFull: all probes are out, or the next one is another caller's.
	ReasonHalfOpenFull
	// ReasonCallerIsolated: this caller's own calls keep failing; it alone is refused.
	ReasonCallerIsolated
	// ReasonForcedOpen: an operator holds the breaker open.
	ReasonForcedOpen
	// ReasonUnavailable: the server could not be asked, and WhenUnavailable is Reject.
	ReasonUnavailable
)

func (r Reason) String() string { return name(reasonNames[:], int(r)) }

// Source is where a decision came from.
type Source uint8

// The sources.
const (
	// SourceCached: this process's memory.
	SourceCached Source = iota
	// SourceServer: the server was asked.
	SourceServer
	// SourceLocal: the local breaker stood in.
	SourceLocal
	// SourceUnavailable: the server could not be asked, and WhenUnavailable is Permit or Reject.
	SourceUnavailable
	sources
)

func (s Source) String() string { return name(sourceNames[:], int(s)) }

// OverrideMode is a state that an operator holds a breaker in, over the computed one.
type OverrideMode uint8

// The overrides. The numbers are the protocol's.
const (
	// OverrideNone: the computed state decides.
	OverrideNone OverrideMode = iota
	// OverrideForcedOpen: every call is rejected.
	OverrideForcedOpen
	// OverrideForcedClosed: every call is permitted.
	OverrideForcedClosed
	// OverrideShadow: every call is permitted, and events say what would have happened.
	OverrideShadow
)

func (o OverrideMode) String() string { return name(overrideNames[:], int(o)) }

var (
	stateNames    = [...]string{"unknown", "closed", "open", "half_open"}
	outcomeNames  = [...]string{"unknown", "success", "failure", "timeout", "ignored", "cancelled"}
	reasonNames   = [...]string{"unknown", "open", "half_open_full", "caller_isolated", "forced_open", "unavailable"}
	sourceNames   = [...]string{"cached", "server", "local", "unavailable"}
	overrideNames = [...]string{"none", "forced_open", "forced_closed", "shadow"}
)

func name(names []string, number int) string {
	if number >= len(names) {
		return "unknown"
	}
	return names[number]
}
