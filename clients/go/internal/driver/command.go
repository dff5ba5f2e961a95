package main

import (
	"encoding/json"
	"fmt"
	"time"

	"fuseboard.dev/fuseboard"
	fuseboardv1 "fuseboard.dev/fuseboard/gen/fuseboard/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"
)

// command is one line of input: the fields of all commands together.
type command struct {
	ID           json.RawMessage `json:"id"`
	Do           string          `json:"do"`
	Client       string          `json:"client"`
	Breaker      string          `json:"breaker"`
	Permit       string          `json:"permit"`
	ManualTime   bool            `json:"manual_time"`
	Options      options         `json:"options"`
	Policy       json.RawMessage `json:"policy"`
	Steps        []step          `json:"steps"`
	TimeoutMs    float64         `json:"timeout_ms"`
	Ms           float64         `json:"ms"`
	Outcome      string          `json:"outcome"`
	DurationMs   float64         `json:"duration_ms"`
	ErrorClass   string          `json:"error_class"`
	RetryAfterMs float64         `json:"retry_after_ms"`
	Origin       string          `json:"origin"`
	Wait         bool            `json:"wait"`
	Reason       string          `json:"reason"`
	Call         call            `json:"call"`
	Times        int             `json:"times"`
	Fallback     json.RawMessage `json:"fallback"`
	Ignore       *string         `json:"ignore"`
}

// call is what execute is to call.
type call struct {
	Returns json.RawMessage `json:"returns"`
	Throws  *string         `json:"throws"`
	HangsMs float64         `json:"hangs_ms"`
}

// step is one of the local breaker's.
type step struct {
	AtMs    float64 `json:"at_ms"`
	Do      string  `json:"do"`
	Permit  string  `json:"permit"`
	Outcome string  `json:"outcome"`
	Origin  string  `json:"origin"`
}

// options are those of a client and of a breaker together.
type options struct {
	Address         string `json:"address"`
	Caller          string `json:"caller"`
	Token           string `json:"token"`
	Mode            string `json:"mode"`
	WhenUnavailable string `json:"when_unavailable"`

	AcquireTimeoutMs   float64 `json:"acquire_timeout_ms"`
	ReportTimeoutMs    float64 `json:"report_timeout_ms"`
	ReportIntervalMs   float64 `json:"report_interval_ms"`
	ProgressIntervalMs float64 `json:"progress_interval_ms"`
	MaxStalenessMs     float64 `json:"max_staleness_ms"`
	CloseTimeoutMs     float64 `json:"close_timeout_ms"`

	Policy        json.RawMessage `json:"policy"`
	Revision      uint64          `json:"revision"`
	CallTimeoutMs float64         `json:"call_timeout_ms"`
}

func (o *options) client() (fuseboard.Options, error) {
	mode, unavailable, err := o.choices()
	return fuseboard.Options{
		Address: o.Address, Caller: o.Caller, Token: o.Token, Mode: mode, WhenUnavailable: unavailable,
		AcquireTimeout: ms(o.AcquireTimeoutMs), ReportTimeout: ms(o.ReportTimeoutMs),
		ReportInterval: ms(o.ReportIntervalMs), ProgressInterval: ms(o.ProgressIntervalMs),
		MaxStaleness: ms(o.MaxStalenessMs), CloseTimeout: ms(o.CloseTimeoutMs),
	}, err
}

func (o *options) breaker() (fuseboard.BreakerOptions, error) {
	mode, unavailable, err := o.choices()
	if err != nil {
		return fuseboard.BreakerOptions{}, err
	}
	made := fuseboard.BreakerOptions{
		Revision: o.Revision, Mode: mode, WhenUnavailable: unavailable, CallTimeout: ms(o.CallTimeoutMs),
	}
	if len(o.Policy) > 0 {
		made.Policy, err = policyOf(o.Policy)
	}
	return made, err
}

func (o *options) choices() (fuseboard.Mode, fuseboard.WhenUnavailable, error) {
	modes := map[string]fuseboard.Mode{"": 0, "cached": fuseboard.ModeCached, "strict": fuseboard.ModeStrict}
	unavailables := map[string]fuseboard.WhenUnavailable{
		"": 0, "local": fuseboard.UnavailableLocal, "permit": fuseboard.UnavailablePermit, "reject": fuseboard.UnavailableReject,
	}
	mode, known := modes[o.Mode]
	unavailable, knownToo := unavailables[o.WhenUnavailable]
	if !known || !knownToo {
		return 0, 0, fmt.Errorf("mode %q or when_unavailable %q is none", o.Mode, o.WhenUnavailable)
	}
	return mode, unavailable, nil
}

func messageOf(text json.RawMessage) (*fuseboardv1.Policy, error) {
	message := &fuseboardv1.Policy{}
	if len(text) == 0 {
		return message, nil
	}
	return message, protojson.Unmarshal(text, message)
}

// policyOf is a policy as the client's users write it, from the proto's JSON.
func policyOf(text json.RawMessage) (*fuseboard.Policy, error) {
	m, err := messageOf(text)
	if err != nil {
		return nil, err
	}
	policy := &fuseboard.Policy{
		FailureThreshold:      m.FailureThreshold,
		MonitoringPeriod:      durationOf(m.MonitoringPeriod),
		FailureCountThreshold: m.FailureCountThreshold,
		FailureRateThreshold:  m.FailureRateThreshold,
		SlowCallDuration:      durationOf(m.SlowCallDuration),
		SlowCallRateThreshold: m.SlowCallRateThreshold,
		SlowCallMinimumCalls:  m.SlowCallMinimumCalls,
		MinimumCalls:          m.MinimumCalls,
		OpenDuration:          durationOf(m.OpenDuration),
		Probes:                m.Probes,
		SuccessesToClose:      m.SuccessesToClose,
		FailuresToReopen:      m.FailuresToReopen,
		HalfOpenMaxDuration:   durationOf(m.HalfOpenMaxDuration),
		RetryAfterMax:         durationOf(m.RetryAfterMax),
		Lease:                 durationOf(m.Lease),
		ExpiredProbe:          fuseboard.ExpiredPermit(m.ExpiredProbe),
		ExpiredPermit:         fuseboard.ExpiredPermit(m.ExpiredPermit),
		MinCallers:            m.MinCallers,
		Share:                 m.Share,
		Voters:                fuseboard.Voters(m.Voters),
		TripOn:                fuseboard.TripOn(m.TripOn),
		OpenDurationMin:       durationOf(m.OpenDurationMin),
	}
	if w := m.GetWindow(); w != nil {
		policy.Window = &fuseboard.Window{
			Duration: w.GetTime().GetDuration().AsDuration(), Slices: w.GetTime().GetSlices(), Calls: w.GetCount().GetCalls(),
		}
	}
	if b := m.GetOpenBackoff(); b != nil {
		policy.OpenBackoff = &fuseboard.OpenBackoff{
			Multiplier: b.GetMultiplier(), MaxDuration: b.GetMaxDuration().AsDuration(), Jitter: b.GetJitter(),
		}
	}
	return policy, nil
}

func durationOf(message *durationpb.Duration) *time.Duration {
	if message == nil {
		return nil
	}
	return fuseboard.Set(message.AsDuration())
}

func ms(value float64) time.Duration { return time.Duration(value * float64(time.Millisecond)) }

func inMs(duration time.Duration) float64 { return float64(duration) / float64(time.Millisecond) }

func reportOf(c *command) (fuseboard.Report, error) {
	outcome, err := outcomeOf(c.Outcome)
	report := fuseboard.Report{
		Outcome: outcome, Duration: ms(c.DurationMs), ErrorClass: c.ErrorClass, RetryAfter: ms(c.RetryAfterMs),
	}
	if c.Origin == "local" {
		report.Origin = fuseboard.OriginLocal
	}
	return report, err
}

func outcomeOf(name string) (fuseboard.Outcome, error) {
	for outcome := fuseboard.Success; outcome <= fuseboard.Cancelled; outcome++ {
		if outcome.String() == name {
			return outcome, nil
		}
	}
	return 0, fmt.Errorf("outcome %q is none", name)
}
