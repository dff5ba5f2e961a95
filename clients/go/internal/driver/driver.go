package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"fuseboard.dev/fuseboard"
	"fuseboard.dev/fuseboard/internal/local"
)

// driver runs commands, many at a time.
type driver struct {
	mu      sync.Mutex
	clients map[string]*driven
	permits map[string]*held
}

// driven is a client with what is remembered of it.
type driven struct {
	client *fuseboard.Client
	// manual is its time, where that moves by command only.
	manual atomic.Int64

	mu     sync.Mutex
	events []fuseboard.Event
	// breakers have their options from the command that made them.
	breakers map[string]*fuseboard.Breaker
}

// held is a permit that has a name.
type held struct{ permit *fuseboard.Permit }

type object = map[string]any

func (d *driver) run(c *command) (object, error) {
	switch c.Do {
	case "client":
		return d.makeClient(c)
	case "local":
		return runLocal(c)
	case "report", "forget":
		return d.report(c)
	}
	d.mu.Lock()
	driven := d.clients[c.Client]
	d.mu.Unlock()
	if driven == nil {
		return nil, fmt.Errorf("there is no client %q", c.Client)
	}
	switch c.Do {
	case "ready":
		ctx, cancel := context.WithTimeout(context.Background(), ms(c.TimeoutMs))
		defer cancel()
		return object{"ready": driven.client.Ready(ctx) == nil}, nil
	case "advance":
		driven.manual.Add(int64(ms(c.Ms)))
		return object{}, nil
	case "events":
		return driven.heard(), nil
	case "stats":
		return statsOf(driven.client.Stats()), nil
	case "close":
		start := time.Now()
		err := driven.client.Close()
		return object{"elapsed_ms": inMs(time.Since(start))}, err
	}
	breaker, err := driven.breaker(c)
	if err != nil {
		return nil, err
	}
	switch c.Do {
	case "breaker":
		return object{}, nil
	case "acquire":
		return d.acquire(c, breaker)
	case "execute":
		return execute(c, breaker), nil
	case "view":
		return viewOf(breaker.View()), nil
	case "state":
		return stateOf(breaker)
	case "reset":
		return notFound(object{}, breaker.Reset(context.Background(), c.Reason))
	default:
		return nil, fmt.Errorf("there is no command %q", c.Do)
	}
}

func (d *driver) makeClient(c *command) (object, error) {
	options, err := c.Options.client()
	if err != nil {
		return nil, err
	}
	made := &driven{breakers: map[string]*fuseboard.Breaker{}}
	if c.ManualTime {
		made.manual.Store(int64(time.Second))
		options.Clock = func() time.Duration { return time.Duration(made.manual.Load()) }
	}
	if made.client, err = fuseboard.New(options); err != nil {
		return nil, err
	}
	events := made.client.Subscribe(10_000)
	go func() {
		for event := range events.Events() {
			made.mu.Lock()
			made.events = append(made.events, event)
			made.mu.Unlock()
		}
	}()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clients[c.Client] = made
	return object{}, nil
}

func (d *driver) closeAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	var closing sync.WaitGroup
	for _, driven := range d.clients {
		closing.Add(1)
		go func() {
			defer closing.Done()
			_ = driven.client.Close()
		}()
	}
	closing.Wait()
}

func (v *driven) breaker(c *command) (*fuseboard.Breaker, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if found := v.breakers[c.Breaker]; found != nil {
		return found, nil
	}
	options, err := c.Options.breaker()
	if err != nil {
		return nil, err
	}
	made, err := v.client.Breaker(c.Breaker, options)
	if err == nil {
		v.breakers[c.Breaker] = made
	}
	return made, err
}

func (v *driven) heard() object {
	v.mu.Lock()
	defer v.mu.Unlock()
	events := []object{}
	for _, event := range v.events {
		kind := event.Kind.String()
		if event.Kind == fuseboard.EventLost {
			kind = "resync"
		}
		events = append(events, object{
			"kind": kind, "breaker": event.Breaker, "generation": event.Generation, "sequence": event.Sequence,
			"caller": event.Caller, "lost": event.Lost,
		})
	}
	return object{"events": events}
}

func (d *driver) acquire(c *command, breaker *fuseboard.Breaker) (object, error) {
	start := time.Now()
	permit, err := breaker.Acquire(context.Background())
	elapsed := inMs(time.Since(start))
	var rejection *fuseboard.RejectedError
	switch {
	case errors.As(err, &rejection):
		result := rejected(rejection)
		result["elapsed_ms"] = elapsed
		return result, nil
	case err != nil:
		return nil, err
	}
	d.mu.Lock()
	d.permits[c.Permit] = &held{permit}
	d.mu.Unlock()
	return object{"decision": "permitted", "source": permit.Source().String(), "elapsed_ms": elapsed}, nil
}

func rejected(r *fuseboard.RejectedError) object {
	result := object{
		"decision": "rejected", "source": r.Source.String(), "reason": r.Reason.String(), "retry_after_ms": inMs(r.RetryAfter),
	}
	if r.State != fuseboard.StateUnknown {
		result["state"] = r.State.String()
	}
	return result
}

func (d *driver) report(c *command) (object, error) {
	d.mu.Lock()
	held := d.permits[c.Permit]
	d.mu.Unlock()
	if held == nil {
		return nil, fmt.Errorf("there is no permit %q", c.Permit)
	}
	if c.Do == "forget" {
		held.permit.Close()
		return object{}, nil
	}
	report, err := reportOf(c)
	if err != nil {
		return nil, err
	}
	if c.Wait {
		held.permit.ReportAndWait(context.Background(), report)
	} else {
		held.permit.Report(report)
	}
	return object{}, nil
}

func viewOf(view fuseboard.View) object {
	result := object{"generation": view.Generation, "fresh": view.Fresh}
	if view.State != fuseboard.StateUnknown {
		result["state"] = view.State.String()
	}
	if view.CallerState != fuseboard.StateUnknown {
		result["caller_state"] = view.CallerState.String()
	}
	if view.Override != fuseboard.OverrideNone {
		result["override_mode"] = view.Override.String()
	}
	return result
}

func stateOf(breaker *fuseboard.Breaker) (object, error) {
	status, err := breaker.State(context.Background())
	return notFound(object{
		"state": status.State.String(), "generation": status.Generation, "failures": status.Failures,
		"successes": status.Successes, "total_failures": status.TotalFailures, "rejected": status.Rejected,
		"stale": status.Stale,
	}, err)
}

func notFound(result object, err error) (object, error) {
	if errors.Is(err, fuseboard.ErrNotFound) {
		return object{"not_found": true}, nil
	}
	return result, err
}

func statsOf(stats fuseboard.Stats) object {
	bySource := func(counts fuseboard.Counts) object {
		return object{
			"cached": counts.Cached, "server": counts.Server, "local": counts.Local, "unavailable": counts.Unavailable,
		}
	}
	return object{
		"permits": bySource(stats.Permits), "rejections": bySource(stats.Rejections), "reported": stats.Reported,
		"dropped_reports": stats.DroppedReports, "dropped_rejections": stats.DroppedRejections,
		"unreported": stats.Unreported, "stale_reports": stats.StaleReports,
		"reconnects": stats.Reconnects, "resyncs": stats.Resyncs, "staleness_ms": inMs(stats.Staleness), "usable": stats.Usable,
	}
}

// runLocal plays the local breaker alone.
func runLocal(c *command) (object, error) {
	policy, err := messageOf(c.Policy)
	if err != nil {
		return nil, err
	}
	breaker := local.New(local.Rules{
		Threshold:        int(policy.GetFailureThreshold()),
		MonitoringPeriod: policy.GetMonitoringPeriod().AsDuration(),
		OpenDuration:     policy.GetOpenDuration().AsDuration(),
	}, local.Closed, 0)
	grants := map[string]local.Grant{}
	results := []object{}
	for _, step := range c.Steps {
		now := time.Duration(math.Round(step.AtMs * float64(time.Millisecond)))
		if step.Do == "acquire" {
			answer := breaker.Acquire(now)
			if answer.Permitted {
				grants[step.Permit] = answer.Grant
				results = append(results, object{"decision": "permitted"})
				continue
			}
			reason := map[local.State]string{local.Open: "open", local.HalfOpen: "half_open_full"}[answer.State]
			results = append(results, object{"decision": "rejected", "reason": reason, "retry_after_ms": inMs(answer.RetryAfter)})
			continue
		}
		outcome, err := outcomeOf(step.Outcome)
		if err != nil {
			return nil, err
		}
		verdict := local.Ignored
		switch {
		case outcome == fuseboard.Success:
			verdict = local.Success
		case (outcome == fuseboard.Failure || outcome == fuseboard.Timeout) && step.Origin != "local":
			verdict = local.Failure
		}
		if grant, found := grants[step.Permit]; found {
			delete(grants, step.Permit)
			breaker.Report(grant, verdict, now)
		}
	}
	return object{"results": results}, nil
}

// execute calls as often as it is told, and tells of the last.
func execute(c *command, breaker *fuseboard.Breaker) object {
	var result object
	var longest time.Duration
	permitted, rejections := 0, 0
	for range max(c.Times, 1) {
		start := time.Now()
		one, wasPermitted, wasRejected := executeOnce(c, breaker)
		longest = max(longest, time.Since(start))
		result = one
		if wasPermitted {
			permitted++
		}
		if wasRejected {
			rejections++
		}
	}
	result["elapsed_ms"], result["permitted"], result["rejections"] = inMs(longest), permitted, rejections
	return result
}

func executeOnce(c *command, breaker *fuseboard.Breaker) (result object, permitted, wasRejected bool) {
	var thrown error
	if c.Call.Throws != nil {
		thrown = errors.New(*c.Call.Throws)
	}
	options := []fuseboard.CallOption[json.RawMessage]{}
	if c.Fallback != nil {
		options = append(options, fuseboard.WithFallback(func(_ context.Context, err error) (json.RawMessage, error) {
			wasRejected = errors.Is(err, fuseboard.ErrRejected)
			return c.Fallback, nil
		}))
	}
	if c.Ignore != nil || c.RetryAfterMs > 0 {
		options = append(options, fuseboard.WithClassifier(func(value json.RawMessage, err error) fuseboard.Report {
			report := fuseboard.DefaultClassify(value, err)
			if err != nil && c.Ignore != nil && err.Error() == *c.Ignore {
				report.Outcome = fuseboard.Ignored
			}
			report.RetryAfter = ms(c.RetryAfterMs)
			return report
		}))
	}
	value, err := fuseboard.Execute(context.Background(), breaker, func(ctx context.Context) (json.RawMessage, error) {
		permitted = true
		if c.Call.HangsMs > 0 {
			select {
			case <-time.After(ms(c.Call.HangsMs)):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return c.Call.Returns, thrown
	}, options...)
	var rejection *fuseboard.RejectedError
	switch {
	case err == nil:
		return object{"value": value}, permitted, wasRejected
	case errors.As(err, &rejection):
		return object{"rejected": rejected(rejection)}, false, true
	case errors.Is(err, context.DeadlineExceeded):
		return object{"timed_out": true}, permitted, false
	default:
		return object{"threw": err.Error(), "is_same_error": err == thrown}, permitted, false
	}
}
