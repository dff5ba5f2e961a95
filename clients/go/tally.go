package fuseboard

import (
	"time"

	fuseboardv1 "fuseboard.dev/fuseboard/gen/fuseboard/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// maxTallyCalls is the highest count that a tally may carry.
	maxTallyCalls = 1_000_000
	// maxSealed is how many tallies of earlier generations wait for a batch, for each breaker. Beyond, the oldest is
	// dropped.
	maxSealed = 16
)

// tally is what was decided here and not told yet, under one pair of generations. It is pure.
type tally struct {
	generation, callerGeneration uint64
	// since is when the oldest of its calls was counted.
	since time.Duration
	// calls is the sum of all outcomes; rejections are apart.
	calls uint32

	successes, failures, timeouts, slow, ignored, local, rejections, trailing uint32

	retryAfter time.Duration
}

func (t *tally) empty() bool { return t.calls == 0 && t.rejections == 0 }

// add counts an outcome. slow is whether the call was.
func (t *tally) add(report *Report, slow bool) {
	t.calls++
	local := report.Origin == OriginLocal && (report.Outcome == Failure || report.Outcome == Timeout)
	switch {
	case local:
		t.local++
		return
	case report.Outcome == Success:
		t.successes++
		t.trailing = 0
	case report.Outcome == Failure:
		t.failures++
		t.trailing++
	case report.Outcome == Timeout:
		t.timeouts++
		t.trailing++
	default:
		t.ignored++
		return
	}
	if slow {
		t.slow++
	}
	if report.Outcome != Success {
		t.retryAfter = max(t.retryAfter, report.RetryAfter)
	}
}

// tallies are a breaker's: the one that counts, and those of earlier generations, oldest first.
type tallies struct {
	current tally
	sealed  []tally
}

func (t *tallies) empty() bool { return t.current.empty() && len(t.sealed) == 0 }

// at is the tally for decisions of a pair of generations. What counted under another is sealed. dropped is how many
// calls had to be given up for it.
func (t *tallies) at(generation, callerGeneration uint64, now time.Duration) (current *tally, dropped uint32) {
	c := &t.current
	other := c.generation != generation || c.callerGeneration != callerGeneration
	if !c.empty() && (other || c.calls == maxTallyCalls || c.rejections == maxTallyCalls) {
		if len(t.sealed) == maxSealed {
			dropped = t.sealed[0].calls
			t.sealed = append(t.sealed[:0], t.sealed[1:]...)
		}
		t.sealed = append(t.sealed, *c)
		*c = tally{}
	}
	if c.empty() {
		*c = tally{generation: generation, callerGeneration: callerGeneration, since: now}
	}
	return c, dropped
}

// expire removes tallies older than limit, and says how many calls were in them.
func (t *tallies) expire(now, limit time.Duration) (calls uint32) {
	kept := t.sealed[:0]
	for _, one := range t.sealed {
		if now-one.since > limit {
			calls += one.calls
		} else {
			kept = append(kept, one)
		}
	}
	t.sealed = kept
	if now-t.current.since > limit {
		calls += t.current.calls
		t.current = tally{}
	}
	return calls
}

// take removes at most most tallies, oldest first. Those older than limit are not among them, but dropped: expired is
// how many calls were in them.
func (t *tallies) take(most int, now, limit time.Duration) (taken []tally, expired uint32) {
	expired = t.expire(now, limit)
	for len(t.sealed) > 0 && len(taken) < most {
		taken = append(taken, t.sealed[0])
		t.sealed = append(t.sealed[:0], t.sealed[1:]...)
	}
	if !t.current.empty() && len(taken) < most {
		taken = append(taken, t.current)
		t.current = tally{}
	}
	return taken, expired
}

func (t *tally) message(key string, now time.Duration) *fuseboardv1.Tally {
	message := &fuseboardv1.Tally{
		Breaker:          key,
		Generation:       t.generation,
		CallerGeneration: t.callerGeneration,
		Successes:        t.successes,
		Failures:         t.failures,
		Timeouts:         t.timeouts,
		Slow:             t.slow,
		Ignored:          t.ignored,
		Rejections:       t.rejections,
		TrailingFailures: t.trailing,
		LocalFailures:    t.local,
	}
	if age := now - t.since; age > 0 {
		message.Age = durationpb.New(age)
	}
	if t.retryAfter > 0 {
		message.RetryAfter = durationpb.New(t.retryAfter)
	}
	return message
}
