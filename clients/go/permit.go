package fuseboard

import (
	"context"
	"sync/atomic"
	"time"

	"fuseboard.dev/fuseboard/internal/local"
)

// Permit is leave for one call. It is reported once, by any of its methods; later reports do nothing. Defer Done or
// Close right after Acquire, so that it cannot be forgotten. A Permit must not be copied, and is safe for concurrent
// use.
type Permit struct {
	breaker *Breaker
	source  Source
	done    atomic.Bool
	at      time.Duration
	// generation and callerGeneration are those that the decision was made under.
	generation, callerGeneration uint64
	// standIn and grant are set where the local breaker permitted it.
	standIn *local.Breaker
	grant   local.Grant
	// server is set where the server permitted it.
	server *serverPermit
}

// serverPermit is what the server gave.
type serverPermit struct {
	token []byte
	// leaseEnd is when it ends, in the client's time.
	leaseEnd time.Duration
	// probe: its outcome may move a half-open breaker, or a half-open caller.
	probe bool
}

// Source is who permitted the call.
func (p *Permit) Source() Source { return p.source }

// Success reports that the dependency answered as it should.
func (p *Permit) Success() { p.Report(Report{Outcome: Success}) }

// Failure reports that the dependency failed.
func (p *Permit) Failure() { p.Report(Report{Outcome: Failure}) }

// Timeout reports that the dependency did not answer in time.
func (p *Permit) Timeout() { p.Report(Report{Outcome: Timeout}) }

// Ignored reports that the call says nothing about the dependency.
func (p *Permit) Ignored() { p.Report(Report{Outcome: Ignored}) }

// Cancelled reports that the call never finished.
func (p *Permit) Cancelled() { p.Report(Report{Outcome: Cancelled}) }

// Close reports that the call never finished, where nothing was reported before. It is for defer.
func (p *Permit) Close() { p.Cancelled() }

// Done reports what *err says when it is called, where nothing was reported before: nil is a Success, any other is what
// the breaker's Classify makes of it. It is for defer, with a named result:
//
//	defer permit.Done(&err)
//
// A panic is reported as a Failure and goes on.
func (p *Permit) Done(err *error) {
	if problem := recover(); problem != nil {
		p.Report(Report{Outcome: Failure, ErrorClass: "panic"})
		panic(problem)
	}
	if p.done.Load() {
		return
	}
	p.Report(p.breaker.classify(nil, *err))
}

// Report reports how the call went. It never waits. If the answer may be a trip, the breaker's next Acquire waits for
// it, at most ReportTimeout.
func (p *Permit) Report(report Report) { p.finish(report) }

// ReportAndWait reports as Execute does: it waits for the server's answer to a failure, a timeout and any outcome of a
// half-open breaker's permit, at most ReportTimeout or until ctx ends, and not at all while the server cannot be asked.
// So the next Acquire sees what this report made of the breaker.
func (p *Permit) ReportAndWait(ctx context.Context, report Report) {
	if answered := p.finish(report); answered != nil {
		p.breaker.client.link.await(ctx, answered)
	}
}

// finish counts the outcome once. The channel, where there is one, is closed when the server has answered.
func (p *Permit) finish(report Report) (answered <-chan struct{}) {
	if !p.done.CompareAndSwap(false, true) {
		return nil
	}
	b := p.breaker
	c := b.client
	now := c.now()
	report = report.normal(now - p.at)
	if c.options.Observer != nil {
		c.observe(func(o Observer) { o.Finished(b.key, report) })
	}
	switch {
	case c.options.Script != nil:
		c.options.Script.Reported(b.key, uint8(report.Outcome))
		return nil
	case p.source == SourceCached:
		return b.tell(p, report, now)
	case p.source == SourceServer:
		return c.link.report(p, report)
	default:
		b.mu.Lock()
		defer b.mu.Unlock()
		b.counts.unreported++
		if p.standIn != nil && p.standIn == b.standIn {
			p.standIn.Report(p.grant, verdictOf(report), now)
		}
		b.record(p, &report, now)
		return nil
	}
}

// tell puts the outcome of a cached decision into the tally.
func (b *Breaker) tell(p *Permit, report Report, now time.Duration) (answered <-chan struct{}) {
	c := b.client
	if c.closed.Load() {
		c.drop(b, lost{calls: 1})
		return nil
	}
	if report.moves() {
		return c.link.tellFailure(b, p, &report, now)
	}
	if first, _ := b.count(p, &report, now); first {
		c.link.gather()
	}
	return nil
}

// count adds to the tally and to the run, and feeds the local breaker while it stands in. First: the tally was empty
// before. Decisive: the server's answer may be a trip.
func (b *Breaker) count(p *Permit, report *Report, now time.Duration) (first, decisive bool) {
	b.mu.Lock()
	first = b.tallies.empty()
	tally, dropped := b.tallies.at(p.generation, p.callerGeneration, now)
	b.counts.lost.add(dropped)
	tally.add(report, b.slow > 0 && report.Duration >= b.slow)
	if b.options.WhenUnavailable == UnavailableLocal && !b.client.link.usable.Load() {
		standIn, grant := b.standingIn(now), local.Grant{}
		if p.standIn != nil {
			grant = p.grant
		}
		if p.standIn == nil && !b.isOld(p) || p.standIn == standIn {
			standIn.Report(grant, verdictOf(*report), now)
		}
	}
	decisive = b.record(p, report, now)
	b.mu.Unlock()
	return first, decisive
}

func verdictOf(report Report) local.Verdict {
	switch {
	case report.Outcome == Success:
		return local.Success
	case report.moves():
		return local.Failure
	default:
		return local.Ignored
	}
}
