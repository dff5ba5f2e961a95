package fuseboard

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	fuseboardv1 "fuseboard.dev/fuseboard/gen/fuseboard/v1"
	"fuseboard.dev/fuseboard/internal/local"
)

// Breaker guards one dependency. It is made by Client.Breaker, and safe for concurrent use.
type Breaker struct {
	client  *Client
	key     string
	options BreakerOptions
	// handle is this breaker's number in sessions, from 1.
	handle uint32
	// declared is the policy to declare, nil where there is none.
	declared *fuseboardv1.Policy

	// covered is true once a watch that names this breaker has spoken.
	covered atomic.Bool
	// isDeclared is true once the server has taken the declaration, or refused it for good, in this session.
	isDeclared atomic.Bool
	// policyDue is true while its policy is to be asked for.
	policyDue atomic.Bool
	// told is true once the server has said where the breaker stands.
	told atomic.Bool

	// awaited is the answer to the last decisive outcome, which the next acquire waits for. nil: none is.
	awaited atomic.Pointer[awaited]

	// mu is a leaf, but that the link's may be held when it is taken.
	mu      sync.Mutex
	view    view
	tallies tallies
	run     local.Run
	standIn *local.Breaker
	rules   local.Rules
	// suspects: any failure may trip the breaker, as far as is known here.
	suspects bool
	slow     time.Duration
	policyAt uint64
	counts   counts
}

// Key is the breaker's key.
func (b *Breaker) Key() string { return b.key }

// View is what this process knows of the breaker, without asking.
type View struct {
	// State is StateUnknown where nothing is known.
	State      State
	Generation uint64
	// CallerState is where this client's caller stands: anything but StateClosed means that it is isolated.
	CallerState State
	Override    OverrideMode
	// Fresh is true where a closed state would be believed.
	Fresh bool
}

// View tells what this process knows of the breaker, without asking.
func (b *Breaker) View() View {
	fresh := b.fresh(b.client.now())
	b.mu.Lock()
	defer b.mu.Unlock()
	v := &b.view
	return View{State: v.state, Generation: v.generation, CallerState: v.caller.state, Override: v.override, Fresh: fresh}
}

func (b *Breaker) fresh(now time.Duration) bool {
	return b.covered.Load() && now-time.Duration(b.client.heardAt.Load()) <= b.client.options.MaxStaleness
}

// Acquire asks for leave to make one call. The answer is a permit, which must be reported: defer its Done or Close. An
// error is a *RejectedError, or ctx's own where it ended while the server was asked; ctx is looked at before anything
// else. It waits at most AcquireTimeout, and not at all where memory decides, except for the answer to an outcome that
// was reported without waiting and may have tripped the breaker: at most ReportTimeout.
func (b *Breaker) Acquire(ctx context.Context) (*Permit, error) {
	permit := new(Permit)
	if err := b.acquire(ctx, permit); err != nil {
		return nil, err
	}
	return permit, nil
}

// acquire fills a permit that the caller provides, so that Execute needs none on the heap.
func (b *Breaker) acquire(ctx context.Context, permit *Permit) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := b.client
	now := c.now()
	permit.breaker, permit.at = b, now
	if c.options.Script != nil {
		return b.acquireOfScript(permit)
	}
	if waited, err := b.awaitDecisive(ctx); err != nil {
		return err
	} else if waited {
		now = c.now()
		permit.at = now
	}
	decided, err := b.acquireHere(permit, now)
	if !decided {
		decided, err = b.acquireOfServer(ctx, permit)
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if !decided {
		err = b.acquireUnavailable(permit, c.now())
	}
	if c.options.Observer != nil {
		b.observeDecision(permit.source, err)
	}
	return err
}

// acquireHere decides from memory, where memory is to be believed.
func (b *Breaker) acquireHere(permit *Permit, now time.Duration) (decided bool, err error) {
	c := b.client
	if b.options.Mode != ModeCached || c.closed.Load() {
		return false, nil
	}
	fresh := b.fresh(now)
	b.mu.Lock()
	permit.generation, permit.callerGeneration = b.view.generation, b.view.caller.generation
	verdict, reason, wait := decide(&b.view, fresh, now)
	switch verdict {
	case permitHere:
		if b.options.WhenUnavailable == UnavailableLocal && !c.link.usable.Load() {
			if err := b.askStandIn(permit, now); err != nil {
				b.mu.Unlock()
				return true, err
			}
		}
		permit.source = SourceCached
		b.counts.permits[SourceCached]++
		b.mu.Unlock()
		return true, nil
	case rejectHere:
		rejection := &RejectedError{
			Breaker: b.key, Reason: reason, RetryAfter: wait, State: b.view.state, Source: SourceCached,
		}
		first := b.countRejection(SourceCached, now)
		b.mu.Unlock()
		if first {
			c.link.gather()
		}
		return true, rejection
	default:
		b.mu.Unlock()
		return false, nil
	}
}

// countRejection counts a rejection of this process's own, and puts it into the tally. b.mu is held. True: the tally
// was empty before, so somebody has to see to it.
func (b *Breaker) countRejection(source Source, now time.Duration) (first bool) {
	b.counts.rejections[source]++
	first = b.tallies.empty()
	tally, dropped := b.tallies.at(b.view.generation, b.view.caller.generation, now)
	b.counts.lost.add(dropped)
	tally.rejections++
	return first
}

// acquireUnavailable decides without a server.
func (b *Breaker) acquireUnavailable(permit *Permit, now time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	permit.generation, permit.callerGeneration = b.view.generation, b.view.caller.generation
	switch b.options.WhenUnavailable {
	case UnavailablePermit:
		permit.source = SourceUnavailable
	case UnavailableReject:
		b.counts.rejections[SourceUnavailable]++
		permit.source = SourceUnavailable
		return &RejectedError{
			Breaker: b.key, Reason: ReasonUnavailable, RetryAfter: unavailableRetryAfter,
			State: StateUnknown, Source: SourceUnavailable,
		}
	default:
		if err := b.askStandIn(permit, now); err != nil {
			return err
		}
		permit.source = SourceLocal
	}
	b.counts.permits[permit.source]++
	return nil
}

// askStandIn asks the local breaker. b.mu is held.
func (b *Breaker) askStandIn(permit *Permit, now time.Duration) error {
	standIn := b.standingIn(now)
	answer := standIn.Acquire(now)
	if answer.Permitted {
		permit.standIn, permit.grant = standIn, answer.Grant
		return nil
	}
	permit.source = SourceLocal
	b.counts.rejections[SourceLocal]++
	rejection := &RejectedError{Breaker: b.key, Reason: ReasonOpen, RetryAfter: answer.RetryAfter, State: StateOpen, Source: SourceLocal}
	if answer.State == local.HalfOpen {
		rejection.Reason, rejection.State = ReasonHalfOpenFull, StateHalfOpen
	}
	return rejection
}

// standingIn is the local breaker, which starts where the view stands. b.mu is held.
func (b *Breaker) standingIn(now time.Duration) *local.Breaker {
	if b.standIn != nil {
		return b.standIn
	}
	start, until := local.Closed, time.Duration(0)
	switch {
	case b.view.state == StateOpen && now < b.view.until:
		start, until = local.Open, b.view.until
	case b.view.state == StateOpen, b.view.state == StateHalfOpen:
		start = local.HalfOpen
	}
	b.standIn = local.New(b.rules, start, until)
	b.standIn.Recall(&b.run)
	return b.standIn
}

// awaited is an answer that is waited for.
type awaited struct{ answered <-chan struct{} }

// await says that the next acquire waits for an answer.
func (b *Breaker) await(answered <-chan struct{}) { b.awaited.Store(&awaited{answered}) }

// awaitDecisive waits, as Execute does, for the answer to the last decisive outcome, so that the view has what it made
// of the breaker. An answer that did not come is waited for once. An error is ctx's.
func (b *Breaker) awaitDecisive(ctx context.Context) (waited bool, err error) {
	awaited := b.awaited.Load()
	if awaited == nil {
		return false, nil
	}
	select {
	case <-awaited.answered:
	default:
		l := b.client.link
		if !l.usable.Load() || b.client.closed.Load() {
			return false, nil
		}
		l.await(ctx, awaited.answered)
		if ctx.Err() != nil {
			return true, ctx.Err()
		}
	}
	b.awaited.CompareAndSwap(awaited, nil)
	return true, nil
}

// record takes an outcome into the run. Decisive: the server's answer to it may be a trip. b.mu is held.
func (b *Breaker) record(p *Permit, report *Report, now time.Duration) (decisive bool) {
	if b.isOld(p) {
		return false
	}
	switch {
	case report.Outcome == Success:
		b.run.Clear()
	case report.moves():
		b.run.Add(now, b.rules)
		decisive = b.suspects || b.run.Reaches(b.rules)
	}
	if b.standIn != nil && !b.standIn.Closed() {
		b.run.Clear()
	}
	return decisive
}

// isOld tells whether a permit is of generations below the view's. b.mu is held.
func (b *Breaker) isOld(p *Permit) bool {
	return p.generation < b.view.generation || p.callerGeneration < b.view.caller.generation
}

// dismissStandIn ends the local breaker's time, because the server can be asked again.
func (b *Breaker) dismissStandIn() {
	b.mu.Lock()
	b.standIn = nil
	b.mu.Unlock()
}

// apply changes the view, and sees whether the policy in force is another.
func (b *Breaker) apply(change func(v *view, now time.Duration)) {
	now := b.client.now()
	b.mu.Lock()
	generation, callerGeneration := b.view.generation, b.view.caller.generation
	change(&b.view, now)
	if b.view.generation != generation || b.view.caller.generation != callerGeneration {
		b.run.Clear()
	}
	moved := b.policyAt != 0 && b.view.policyVersion > b.policyAt
	b.mu.Unlock()
	if moved {
		b.client.policies.refresh(b)
	}
}

// applyPolicy takes the policy in force.
func (b *Breaker) applyPolicy(policy *fuseboardv1.PolicyInForce) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if policy == nil || policy.GetVersion() < b.policyAt {
		return
	}
	// A breaker that nobody wrote a policy for has version 0; that its policy is known has to be told apart from that.
	b.policyAt = max(policy.GetVersion(), 1)
	b.rules = localRules(policy.GetPolicy())
	b.suspects = hasWindowRule(policy.GetPolicy())
	b.slow = policy.GetPolicy().GetSlowCallDuration().AsDuration()
}

func (b *Breaker) observeDecision(source Source, err error) {
	reason := Reason(0)
	if rejection, rejected := err.(*RejectedError); rejected {
		reason = rejection.Reason
	} else if err != nil {
		return
	}
	b.client.observe(func(o Observer) { o.Decided(b.key, err == nil, source, reason) })
}

func (b *Breaker) acquireOfScript(permit *Permit) error {
	decision := b.client.options.Script.Decide(b.key)
	permit.source = SourceServer
	b.mu.Lock()
	defer b.mu.Unlock()
	if decision.Permitted {
		b.counts.permits[SourceServer]++
		return nil
	}
	b.counts.rejections[SourceServer]++
	return &RejectedError{
		Breaker: b.key, Reason: Reason(decision.Reason), RetryAfter: decision.RetryAfter,
		State: State(decision.State), Source: SourceServer,
	}
}
