package fuseboard

import (
	"context"
	"fmt"
	"time"

	fuseboardv1 "fuseboard.dev/fuseboard/gen/fuseboard/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Status is all that the server says of a breaker.
type Status struct {
	// State is the computed one; Override what an operator holds it in.
	State      State
	Override   OverrideMode
	Generation uint64
	// Since is when the state was entered, by the server's clock; Remaining is how long it lasts yet, 0 where it has no
	// end.
	Since     time.Time
	Remaining time.Duration
	// Failures is those in a row.
	Failures uint64
	// The totals are over the breaker's life.
	Opens, Closes, Successes, TotalFailures, Timeouts, Rejected, Stale uint64
	// LastOpen and LastClose are zero where it never was.
	LastOpen, LastClose time.Time
	// LastSuccess and LastFailure are when the last counted call succeeded and failed; zero where none did.
	LastSuccess, LastFailure time.Time
	// Overrides are all that are set, the strongest first; that one is in force.
	Overrides []Override
	// Sources of the policy in force, the strongest first.
	Sources []string
	// Message is the server's whole answer.
	Message *fuseboardv1.GetStateResponse
}

// Override is a state that an operator holds a breaker in, over the computed one.
type Override struct {
	// ID is its name, unique within its breaker.
	ID   string
	Mode OverrideMode
	// Actor set it, and Reason is why.
	Actor, Reason string
	// Set is when it was set, and Expire when it ends by itself; zero: it stays until cleared.
	Set, Expire time.Time
}

func overridesOf(messages []*fuseboardv1.Override) []Override {
	var overrides []Override
	for _, message := range messages {
		overrides = append(overrides, Override{
			ID: message.GetId(), Mode: OverrideMode(message.GetMode()), Actor: message.GetActor(), Reason: message.GetReason(),
			Set: timeOf(message.GetSetTime()), Expire: timeOf(message.GetExpireTime()),
		})
	}
	return overrides
}

// State asks the server for all about the breaker. An error is ErrNotFound, ErrClosed or a gRPC status.
func (b *Breaker) State(ctx context.Context) (Status, error) {
	c := b.client
	if c.closed.Load() {
		return Status{}, ErrClosed
	}
	if c.options.Script != nil {
		decision := c.options.Script.Decide(b.key)
		return Status{State: State(decision.State)}, nil
	}
	message, err := c.policies.api.GetState(ctx, &fuseboardv1.GetStateRequest{Breaker: b.key})
	if err != nil {
		return Status{}, b.failed("state", err)
	}
	told, totals := message.GetStatus(), message.GetTotals()
	b.applyPolicy(message.GetPolicy())
	b.apply(func(v *view, now time.Duration) {
		v.applyStatus(told, c.options.Caller, message.GetNow().AsTime(), now)
	})
	return Status{
		State:         State(told.GetState()),
		Override:      OverrideMode(told.GetOverrideMode()),
		Generation:    told.GetGeneration(),
		Since:         told.GetStateSince().AsTime(),
		Remaining:     told.GetStateRemaining().AsDuration(),
		Failures:      told.GetFailures(),
		Opens:         totals.GetOpens(),
		Closes:        totals.GetCloses(),
		Successes:     totals.GetSuccesses(),
		TotalFailures: totals.GetFailures(),
		Timeouts:      totals.GetTimeouts(),
		Rejected:      totals.GetRejected(),
		Stale:         totals.GetStale(),
		LastOpen:      timeOf(totals.GetLastOpenTime()),
		LastClose:     timeOf(totals.GetLastCloseTime()),
		LastSuccess:   timeOf(totals.GetLastSuccessTime()),
		LastFailure:   timeOf(totals.GetLastFailureTime()),
		Overrides:     overridesOf(message.GetOverrides()),
		Sources:       message.GetPolicy().GetSources(),
		Message:       message,
	}, nil
}

// Reset closes the breaker for everybody, with empty statistics and backoff, and clears the local breaker. An override
// stays. reason is for the history, at most 1,000 bytes. An error is ErrNotFound, ErrClosed or a gRPC status; the local
// breaker is cleared all the same.
func (b *Breaker) Reset(ctx context.Context, reason string) error {
	c := b.client
	b.dismissStandIn()
	b.mu.Lock()
	b.run.Clear()
	b.mu.Unlock()
	if c.options.Script != nil {
		c.options.Script.Reset(b.key)
		return nil
	}
	if c.closed.Load() {
		return ErrClosed
	}
	response, err := c.policies.api.Reset(ctx, &fuseboardv1.ResetRequest{
		Breaker: b.key, Reason: reason, Actor: c.options.Caller,
	})
	if err != nil {
		return b.failed("reset", err)
	}
	b.apply(func(v *view, now time.Duration) {
		v.applyStatus(response.GetStatus(), c.options.Caller, time.Time{}, now)
	})
	return nil
}

func (b *Breaker) failed(what string, err error) error {
	if status.Code(err) == codes.NotFound {
		return fmt.Errorf("%w: %s", ErrNotFound, b.key)
	}
	return fmt.Errorf("fuseboard: %s of %q: %w", what, b.key, err)
}

func timeOf(timestamp interface{ AsTime() time.Time }) time.Time {
	if at := timestamp.AsTime(); at.Unix() != 0 {
		return at
	}
	return time.Time{}
}
