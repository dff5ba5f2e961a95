// Package local is the breaker that stands in while no server can be asked.
//
// It is one rule, the same in every language: so many failures in a row open it, and one probe closes it. It does no
// I/O and reads no clock: time is an argument, counted from any fixed point, and must not go backwards.
package local

import "time"

const (
	// probeLease is how long a probe may go without a report before it counts as a failure.
	probeLease = 60 * time.Second
	// fullRetryAfter is what callers are told while the probe is out.
	fullRetryAfter = time.Second
	// minRetryAfter is the shortest wait that a rejection names.
	minRetryAfter = 10 * time.Millisecond
)

// Rules are the parts of a policy that the local breaker follows.
type Rules struct {
	// Threshold is how many failures in a row open it. 0: 5.
	Threshold int
	// MonitoringPeriod is how young each of them must be. 0: no limit.
	MonitoringPeriod time.Duration
	// OpenDuration is how long it stays open. 0: 30 s.
	OpenDuration time.Duration
}

func (r Rules) orDefaults() Rules {
	if r.Threshold <= 0 {
		r.Threshold = 5
	}
	if r.OpenDuration <= 0 {
		r.OpenDuration = 30 * time.Second
	}
	return r
}

// State of a breaker.
type State uint8

// The three states.
const (
	Closed State = iota
	Open
	HalfOpen
)

// Verdict is what an outcome means here.
type Verdict uint8

// The three verdicts. Ignored is for ignored, cancelled and local outcomes: they move nothing, and give a probe's
// place back.
const (
	Ignored Verdict = iota
	Success
	Failure
)

// Grant is leave for one call. The zero Grant is for a call that this breaker did not permit.
type Grant struct {
	round uint64
	probe uint64
}

// Answer says whether a call may be made.
type Answer struct {
	Permitted bool
	Grant     Grant
	// State in which it was decided.
	State State
	// RetryAfter is set where the call was rejected. It is rejected in HalfOpen because the probe is out.
	RetryAfter time.Duration
}

// Breaker is the local breaker. It is not safe for concurrent use.
type Breaker struct {
	rules Rules
	state State
	// round is raised by every move, so that grants of an earlier state are told apart. It starts at 1.
	round    uint64
	failures Run
	until    time.Duration
	probes   uint64
	probeOut bool
	probeAt  time.Duration
}

// New is a breaker that starts in a state. until is when an open one becomes half-open.
func New(rules Rules, start State, until time.Duration) *Breaker {
	return &Breaker{rules: rules.orDefaults(), state: start, round: 1, until: until}
}

// Run is when the last failures without a success in between happened, oldest first. The zero Run is empty.
type Run struct{ failures []time.Duration }

// Add adds a failure. The run keeps as many as the rules need.
func (r *Run) Add(now time.Duration, rules Rules) {
	if over := len(r.failures) + 1 - rules.orDefaults().Threshold; over > 0 {
		r.failures = append(r.failures[:0], r.failures[over:]...)
	}
	r.failures = append(r.failures, now)
}

// Clear empties the run.
func (r *Run) Clear() { r.failures = r.failures[:0] }

// Reaches tells whether the run is as long as the threshold.
func (r *Run) Reaches(rules Rules) bool { return len(r.failures) >= rules.orDefaults().Threshold }

// trips tells whether the run is long and young enough to open a breaker at its last failure.
func (r *Run) trips(rules Rules) bool {
	if !r.Reaches(rules) {
		return false
	}
	last := len(r.failures) - 1
	first := r.failures[last+1-rules.Threshold]
	return rules.MonitoringPeriod == 0 || r.failures[last]-first < rules.MonitoringPeriod
}

// Recall gives a closed breaker the failures that were recorded before it stood in. Those that trip it open it at the
// last of them.
func (b *Breaker) Recall(run *Run) {
	if b.state != Closed {
		return
	}
	for _, at := range run.failures {
		b.failures.Add(at, b.rules)
	}
	if b.failures.trips(b.rules) {
		b.open(b.failures.failures[len(b.failures.failures)-1])
	}
}

// Closed tells whether it permits every call.
func (b *Breaker) Closed() bool { return b.state == Closed }

// Acquire asks for leave to make one call.
func (b *Breaker) Acquire(now time.Duration) Answer {
	b.passTime(now)
	switch {
	case b.state == Open:
		return Answer{State: Open, RetryAfter: max(b.until-now, minRetryAfter)}
	case b.state == HalfOpen && b.probeOut:
		return Answer{State: HalfOpen, RetryAfter: fullRetryAfter}
	case b.state == HalfOpen:
		b.probes++
		b.probeOut, b.probeAt = true, now
		return Answer{Permitted: true, State: HalfOpen, Grant: Grant{round: b.round, probe: b.probes}}
	default:
		return Answer{Permitted: true, State: Closed, Grant: Grant{round: b.round}}
	}
}

// Report says how a call went. A grant of an earlier state moves nothing; the zero Grant counts while closed.
func (b *Breaker) Report(grant Grant, verdict Verdict, now time.Duration) {
	b.passTime(now)
	if grant.round != 0 && grant.round != b.round {
		return
	}
	switch {
	case b.state == Closed && verdict == Success:
		b.failures.Clear()
	case b.state == Closed && verdict == Failure:
		b.addFailure(now)
	case b.state == HalfOpen && b.probeOut && grant.probe == b.probes:
		b.probeOut = false
		switch verdict {
		case Success:
			b.move(Closed)
		case Failure:
			b.open(now)
		}
	}
}

func (b *Breaker) addFailure(now time.Duration) {
	b.failures.Add(now, b.rules)
	if b.failures.trips(b.rules) {
		b.open(now)
	}
}

// passTime makes the moves that time alone makes, each at its own instant.
func (b *Breaker) passTime(now time.Duration) {
	if b.state == HalfOpen && b.probeOut && now-b.probeAt >= probeLease {
		b.open(b.probeAt + probeLease)
	}
	if b.state == Open && now >= b.until {
		b.move(HalfOpen)
	}
}

func (b *Breaker) open(at time.Duration) {
	b.until = at + b.rules.OpenDuration
	b.move(Open)
}

func (b *Breaker) move(to State) {
	b.state = to
	b.round++
	b.failures.Clear()
	b.probeOut = false
}
