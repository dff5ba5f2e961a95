package fuseboard

import "time"

// Report is how a call went, with what is known about it.
type Report struct {
	// Outcome of the call. Required: a report of none counts as a Failure.
	Outcome Outcome
	// Duration of the call. 0: since the permit was given. At most 24 h.
	Duration time.Duration
	// ErrorClass is a short class of the error, for people: "connection_refused". At most 64 bytes, printable ASCII;
	// others become "?". Empty: none.
	ErrorClass string
	// RetryAfter is what the dependency asked for by a retry-after of its own. Counts for failures only. At most 24 h.
	RetryAfter time.Duration
	// Origin is on whose side a failure arose.
	Origin Origin
}

const (
	maxErrorClassBytes = 64
	maxReported        = 24 * time.Hour
)

// normal is the report within the protocol's bounds. took is how long ago the permit was given.
func (r Report) normal(took time.Duration) Report {
	if !r.Outcome.valid() {
		r.Outcome = Failure
	}
	if r.Duration <= 0 {
		r.Duration = took
	}
	r.Duration = min(max(r.Duration, 0), maxReported)
	r.RetryAfter = min(max(r.RetryAfter, 0), maxReported)
	if r.Origin > OriginLocal {
		r.Origin = OriginUnset
	}
	if r.ErrorClass != "" {
		r.ErrorClass = printable(r.ErrorClass)
	}
	return r
}

func printable(class string) string {
	kept := []byte(class[:min(len(class), maxErrorClassBytes)])
	for i, b := range kept {
		if b < ' ' || b > '~' {
			kept[i] = '?'
		}
	}
	return string(kept)
}

// moves tells whether the report can move a breaker towards open.
func (r *Report) moves() bool {
	return (r.Outcome == Failure || r.Outcome == Timeout) && r.Origin != OriginLocal
}
