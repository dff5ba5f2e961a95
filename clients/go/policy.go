package fuseboard

import (
	"time"

	fuseboardv1 "fuseboard.dev/fuseboard/gen/fuseboard/v1"
	"fuseboard.dev/fuseboard/internal/local"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Set is a pointer to a value, for the fields of a Policy: FailureThreshold: fuseboard.Set[uint32](5).
func Set[T any](value T) *T { return &value }

// Policy is the rules of a breaker, as a service wants them. A nil field is left out: a trip rule is then off, and
// any other field the server's default. The server refuses what is out of range.
type Policy struct {
	// FailureThreshold: failures in a row that trip. 0: off. 0 to 10,000.
	FailureThreshold *uint32
	// MonitoringPeriod: only failures in a row younger than this count. 0: no age limit. 1 ms to 24 h.
	MonitoringPeriod *time.Duration
	// FailureCountThreshold: failures inside the window that trip. 0: off. 0 to 1,000,000.
	FailureCountThreshold *uint32
	// FailureRateThreshold: share of the window's calls that failed that trips, once it holds MinimumCalls. 0: off. 0 to 1.
	FailureRateThreshold *float64
	// SlowCallDuration: a call that took at least this long is slow. 0: off. 1 ms to 1 h.
	SlowCallDuration *time.Duration
	// SlowCallRateThreshold: share of the window's calls that were slow that trips. 0: off. 0 to 1.
	SlowCallRateThreshold *float64
	// SlowCallMinimumCalls: calls the window must hold before that rate is believed. 0: as MinimumCalls. 0 to 1,000,000.
	SlowCallMinimumCalls *uint32
	// Window: which recent calls the counts and rates are taken over. Default: the last 30 s in 10 slices.
	Window *Window
	// MinimumCalls: calls the window must hold before the failure rate is believed. 1 to 1,000,000. Default 20.
	MinimumCalls *uint32
	// OpenDuration: how long the breaker stays open. OpenDurationMin to 24 h; 0 is refused. Default 30 s.
	OpenDuration *time.Duration
	// OpenBackoff: how the open period grows when recoveries fail. Default: it does not.
	OpenBackoff *OpenBackoff
	// Probes: permits out at a time while half-open, in the whole fleet. 1 to 1,000. Default 1.
	Probes *uint32
	// SuccessesToClose: successful probes that close it. 1 to 1,000,000. Default 1.
	SuccessesToClose *uint32
	// FailuresToReopen: failed probes that reopen it. 1 to 1,000,000. Default 1.
	FailuresToReopen *uint32
	// HalfOpenMaxDuration: longest half-open round without a verdict. 0: no limit. 1 ms to 24 h. Default 0.
	HalfOpenMaxDuration *time.Duration
	// RetryAfterMax: longest open period that a dependency's retry-after may ask for. 0: it is not listened to. To 24 h.
	// Default 5 min.
	RetryAfterMax *time.Duration
	// Lease: how long a permit is good for. 1 ms to 1 h. Default 60 s.
	Lease *time.Duration
	// ExpiredProbe: what an unreported probe counts as when its lease ends. Default ExpiredAsFailure.
	ExpiredProbe ExpiredPermit
	// ExpiredPermit: what any other unreported permit counts as. Default ExpiredAsIgnored.
	ExpiredPermit ExpiredPermit
	// MinCallers: how many callers must have evidence before it opens for all. 1 to 256. Default 2.
	MinCallers *uint32
	// Share: the same as a share of the known callers. 0: MinCallers alone. 0 to 1. Default 0.
	Share *float64
	// Voters: whose evidence the quorum counts. Default VotersInstance.
	Voters Voters
	// TripOn: which reports may trip the breaker. Default TripOnAny.
	TripOn TripOn
	// OpenDurationMin: shortest OpenDuration that the policy accepts; protects against a unit mistake. Set it below the
	// default to permit shorter open periods. 1 ms to 24 h; 0 is refused. Default 100 ms.
	OpenDurationMin *time.Duration
}

// Voters says whose evidence the quorum counts.
type Voters uint8

// The choices. The numbers are the protocol's; the zero value leaves it to the server.
const (
	_ Voters = iota
	// VotersInstance: each caller by its full name is one voter.
	VotersInstance
	// VotersService: all callers of a service, the part of the name before the first "/", are one voter.
	VotersService
)

// TripOn says which reports may trip a breaker.
type TripOn uint8

// The choices. The numbers are the protocol's; the zero value leaves it to the server.
const (
	_ TripOn = iota
	// TripOnAny: any counted report, including a success that completes a minimum.
	TripOnAny
	// TripOnFailure: failures only; for the slow-call rule, slow calls only.
	TripOnFailure
)

// ExpiredPermit is what a permit counts as when its lease ends and nobody has reported it.
type ExpiredPermit uint8

// The choices. The numbers are the protocol's; the zero value leaves it to the server.
const (
	_ ExpiredPermit = iota
	ExpiredAsFailure
	ExpiredAsTimeout
	ExpiredAsIgnored
)

// Window says which recent calls count: those of the last Duration, or the last Calls. Exactly one of them is set.
type Window struct {
	// Duration of a time window. 10 ms to 24 h.
	Duration time.Duration
	// Slices that a time window is counted in. 1 to 120. 0: 10.
	Slices uint32
	// Calls of a count window. 1 to 100,000.
	Calls uint32
}

// OpenBackoff makes each open period longer than the one before, while recoveries fail.
type OpenBackoff struct {
	// Multiplier for each failed recovery. 1 to 100. 0: 2.
	Multiplier float64
	// MaxDuration is the ceiling of the open period. 0: 10 times OpenDuration.
	MaxDuration time.Duration
	// Jitter is the share of each open period that is random. 0 to 1. 0: none.
	Jitter float64
}

func (p *Policy) message() *fuseboardv1.Policy {
	message := &fuseboardv1.Policy{
		FailureThreshold:      p.FailureThreshold,
		MonitoringPeriod:      durationMessage(p.MonitoringPeriod),
		FailureCountThreshold: p.FailureCountThreshold,
		FailureRateThreshold:  p.FailureRateThreshold,
		SlowCallDuration:      durationMessage(p.SlowCallDuration),
		SlowCallRateThreshold: p.SlowCallRateThreshold,
		SlowCallMinimumCalls:  p.SlowCallMinimumCalls,
		MinimumCalls:          p.MinimumCalls,
		OpenDuration:          durationMessage(p.OpenDuration),
		Probes:                p.Probes,
		SuccessesToClose:      p.SuccessesToClose,
		FailuresToReopen:      p.FailuresToReopen,
		HalfOpenMaxDuration:   durationMessage(p.HalfOpenMaxDuration),
		RetryAfterMax:         durationMessage(p.RetryAfterMax),
		Lease:                 durationMessage(p.Lease),
		ExpiredProbe:          fuseboardv1.ExpiredPermit(p.ExpiredProbe),
		ExpiredPermit:         fuseboardv1.ExpiredPermit(p.ExpiredPermit),
		MinCallers:            p.MinCallers,
		Share:                 p.Share,
		Voters:                fuseboardv1.Voters(p.Voters),
		TripOn:                fuseboardv1.TripOn(p.TripOn),
		OpenDurationMin:       durationMessage(p.OpenDurationMin),
	}
	if w := p.Window; w != nil && w.Calls > 0 {
		message.Window = &fuseboardv1.Window{Kind: &fuseboardv1.Window_Count{Count: &fuseboardv1.CountWindow{Calls: w.Calls}}}
	} else if w != nil {
		message.Window = &fuseboardv1.Window{Kind: &fuseboardv1.Window_Time{
			Time: &fuseboardv1.TimeWindow{Duration: durationpb.New(w.Duration), Slices: w.Slices},
		}}
	}
	if b := p.OpenBackoff; b != nil {
		message.OpenBackoff = &fuseboardv1.OpenBackoff{
			Multiplier: b.Multiplier, MaxDuration: durationpb.New(b.MaxDuration), Jitter: b.Jitter,
		}
	}
	return message
}

func durationMessage(duration *time.Duration) *durationpb.Duration {
	if duration == nil {
		return nil
	}
	return durationpb.New(*duration)
}

// hasWindowRule tells whether a policy has a rule that a single failure may complete.
func hasWindowRule(policy *fuseboardv1.Policy) bool {
	return policy.GetFailureCountThreshold() > 0 || policy.GetFailureRateThreshold() > 0 || policy.GetSlowCallRateThreshold() > 0
}

// localRules are the rules that the local breaker takes from a policy; nil is one that says nothing.
func localRules(policy *fuseboardv1.Policy) local.Rules {
	return local.Rules{
		Threshold:        int(policy.GetFailureThreshold()),
		MonitoringPeriod: policy.GetMonitoringPeriod().AsDuration(),
		OpenDuration:     policy.GetOpenDuration().AsDuration(),
	}
}
