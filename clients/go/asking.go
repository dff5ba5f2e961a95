package fuseboard

import (
	"context"
	"time"

	fuseboardv1 "fuseboard.dev/fuseboard/gen/fuseboard/v1"
)

// asking is an acquire that is under way.
type asking struct {
	breaker *Breaker
	// reply gets one value, also where the session ends. It has room for it.
	reply chan reply
	// abandoned: nobody waits any longer; a permit that comes is given back. Guarded by the link's mutex.
	abandoned bool
}

// reply is what came of an acquire. The zero reply: no answer.
type reply struct {
	acquired *fuseboardv1.SessionAcquired
}

// acquireOfServer asks the server. Not decided: it could not be asked, or did not answer in time. An error that is no
// rejection is ctx's.
func (b *Breaker) acquireOfServer(ctx context.Context, permit *Permit) (decided bool, err error) {
	c, l := b.client, b.client.link
	if c.closed.Load() {
		return false, nil
	}
	if !l.usable.Load() && l.isSettled() {
		return false, nil
	}
	timer := time.NewTimer(c.options.AcquireTimeout)
	defer timer.Stop()
	select {
	case <-l.settled:
	case <-timer.C:
		l.settle()
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	case <-c.closing:
		return false, nil
	}
	asking := l.ask(b)
	if asking == nil {
		return false, nil
	}
	select {
	case reply := <-asking.reply:
		if reply.acquired == nil {
			return false, nil
		}
		return true, b.decided(ctx, permit, reply.acquired)
	case <-timer.C:
		l.abandon(asking)
		l.becomeUnusable(nil)
		return false, nil
	case <-ctx.Done():
		l.abandon(asking)
		return false, ctx.Err()
	case <-c.closing:
		l.abandon(asking)
		return false, nil
	}
}

func (l *link) isSettled() bool {
	select {
	case <-l.settled:
		return true
	default:
		return false
	}
}

// decided makes the server's answer the decision.
func (b *Breaker) decided(ctx context.Context, permit *Permit, acquired *fuseboardv1.SessionAcquired) error {
	c := b.client
	permit.source = SourceServer
	if acquired.GetDecision() != fuseboardv1.Decision_DECISION_PERMITTED {
		b.mu.Lock()
		b.counts.rejections[SourceServer]++
		b.mu.Unlock()
		return &RejectedError{
			Breaker: b.key, Reason: Reason(acquired.GetReason()), RetryAfter: acquired.GetRetryAfter().AsDuration(),
			State: State(acquired.GetState()), Source: SourceServer,
		}
	}
	permit.server = &serverPermit{token: acquired.GetPermit(), leaseEnd: c.now() + acquired.GetLease().AsDuration()}
	if ctx.Err() != nil {
		permit.Cancelled()
		return ctx.Err()
	}
	b.mu.Lock()
	permit.generation, permit.callerGeneration = acquired.GetGeneration(), acquired.GetCallerGeneration()
	if acquired.GetProvisional() {
		permit.generation, permit.callerGeneration = b.view.generation, b.view.caller.generation
	}
	// A caller that is not known to be closed is being probed itself.
	permit.server.probe = State(acquired.GetState()) == StateHalfOpen || b.view.caller.state != StateClosed
	b.counts.permits[SourceServer]++
	b.mu.Unlock()
	return nil
}

// ask sends an acquire. nil: the server cannot be asked.
func (l *link) ask(b *Breaker) *asking {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.session
	if s == nil || !l.usable.Load() || len(s.asking) >= maxAsking {
		return nil
	}
	l.number++
	asking := &asking{breaker: b, reply: make(chan reply, 1)}
	s.asking[l.number] = asking
	s.introduce(b)
	s.out.acquires = append(s.out.acquires, &fuseboardv1.SessionAcquire{Number: l.number, Handle: b.handle})
	s.wakeUp()
	return asking
}

// abandon says that nobody waits for an acquire any longer. A permit that it brought, or will, is given back.
func (l *link) abandon(asking *asking) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case reply := <-asking.reply:
		l.giveBack(asking.breaker, reply.acquired)
	default:
		asking.abandoned = true
	}
}

// answered takes the answer to an acquire, which may be nil for an error. l.mu is held.
func (l *link) answered(asking *asking, acquired *fuseboardv1.SessionAcquired) {
	if acquired != nil {
		asking.breaker.applyAcquired(acquired)
	}
	if asking.abandoned {
		l.giveBack(asking.breaker, acquired)
		return
	}
	asking.reply <- reply{acquired}
}

func (b *Breaker) applyAcquired(acquired *fuseboardv1.SessionAcquired) {
	b.apply(func(v *view, now time.Duration) {
		v.applyAnswer(answer{
			state:            State(acquired.GetState()),
			generation:       acquired.GetGeneration(),
			override:         OverrideMode(acquired.GetOverrideMode()),
			callerGeneration: acquired.GetCallerGeneration(),
			reason:           Reason(acquired.GetReason()),
			retryAfter:       acquired.GetRetryAfter().AsDuration(),
			provisional:      acquired.GetProvisional(),
		}, now)
	})
	if b.told.CompareAndSwap(false, true) && b.declared == nil {
		b.client.policies.refresh(b)
	}
}

// giveBack reports a permit that nobody uses as cancelled, so that no probe's place is lost. l.mu is held.
func (l *link) giveBack(b *Breaker, acquired *fuseboardv1.SessionAcquired) {
	if len(acquired.GetPermit()) == 0 {
		return
	}
	l.queueReport(&reporting{
		breaker: b,
		item: &fuseboardv1.SessionReport{
			Handle: b.handle, Permit: acquired.GetPermit(), Outcome: fuseboardv1.Outcome_OUTCOME_CANCELLED,
		},
		leaseEnd:  l.client.now() + acquired.GetLease().AsDuration(),
		answered:  make(chan struct{}),
		givenBack: true,
	})
}
