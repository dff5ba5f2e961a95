package fuseboard

import (
	"sync/atomic"
	"time"

	fuseboardv1 "fuseboard.dev/fuseboard/gen/fuseboard/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// maxTallyCalls is the highest count that a tally may carry.
	maxTallyCalls = 1_000_000
	// tallyBytes is what a pending tally counts as, besides its breaker's key.
	tallyBytes = 256
	// maxExtraBytes bounds a client's pending tallies beyond the one of each breaker that always has its place.
	maxExtraBytes = 512 << 10
	// keptTallies is how many places a breaker's list keeps while it is empty.
	keptTallies = 4
)

// tally is what was decided here and not told yet, under one pair of generations. It is pure.
type tally struct {
	generation, callerGeneration uint64
	// since is when the oldest of its calls was counted.
	since time.Duration
	// calls is the sum of all outcomes; rejections are apart.
	calls uint32

	successes, failures, timeouts, slow, ignored, local, rejections uint32
	// leading, longest and trailing are runs of failures and timeouts: before the first success, the longest without a
	// success in between, and after the last success.
	leading, longest, trailing uint32

	retryAfter time.Duration
}

func (t *tally) full() bool { return t.calls == maxTallyCalls || t.rejections == maxTallyCalls }

func (t *tally) lost() lost { return lost{uint64(t.calls), uint64(t.rejections)} }

// lost is what tallies held that the server will not be told of.
type lost struct{ calls, rejections uint64 }

func (l *lost) add(other lost) {
	l.calls += other.calls
	l.rejections += other.rejections
}

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
		t.addToRun()
	case report.Outcome == Timeout:
		t.timeouts++
		t.addToRun()
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

func (t *tally) addToRun() {
	if t.successes == 0 {
		t.leading++
	}
	t.trailing++
	t.longest = max(t.longest, t.trailing)
}

// budget is the room that a client's pending tallies share, beyond the one of each breaker.
type budget struct{ used atomic.Int64 }

func (b *budget) take(bytes int64) bool {
	if b.used.Add(bytes) <= maxExtraBytes {
		return true
	}
	b.used.Add(-bytes)
	return false
}

// tallies are a breaker's that are pending, oldest first: one for each pair of generations, and full ones.
type tallies struct {
	pending []tally
	// last is the place of the one that was counted in last.
	last int
	// bytes is what each counts as.
	bytes  int64
	shared *budget
}

func newTallies(key string, shared *budget) tallies {
	return tallies{bytes: tallyBytes + int64(len(key)), shared: shared}
}

func (t *tallies) empty() bool { return len(t.pending) == 0 }

// at is the tally for decisions of a pair of generations. dropped is what had to be given up to make room for it.
func (t *tallies) at(generation, callerGeneration uint64, now time.Duration) (current *tally, dropped lost) {
	matches := func(one *tally) bool {
		return one.generation == generation && one.callerGeneration == callerGeneration && !one.full()
	}
	if t.last < len(t.pending) && matches(&t.pending[t.last]) {
		return &t.pending[t.last], lost{}
	}
	for i := len(t.pending) - 1; i >= 0; i-- {
		if matches(&t.pending[i]) {
			t.last = i
			return &t.pending[i], lost{}
		}
	}
	if len(t.pending) > 0 && !t.shared.take(t.bytes) {
		dropped = t.pending[0].lost()
		t.pending = append(t.pending[:0], t.pending[1:]...)
	}
	t.pending = append(t.pending, tally{generation: generation, callerGeneration: callerGeneration, since: now})
	t.last = len(t.pending) - 1
	return &t.pending[t.last], dropped
}

// keep keeps those that say so, and gives the room of the others back.
func (t *tallies) keep(stays func(*tally) bool) {
	before, kept := len(t.pending), t.pending[:0]
	for i := range t.pending {
		if stays(&t.pending[i]) {
			kept = append(kept, t.pending[i])
		}
	}
	t.pending = kept
	if len(kept) == 0 && cap(kept) > keptTallies {
		t.pending = nil
	}
	t.shared.used.Add(-t.bytes * int64(max(before-1, 0)-max(len(kept)-1, 0)))
}

// expire removes tallies older than limit, and says what was in them.
func (t *tallies) expire(now, limit time.Duration) (expired lost) {
	t.keep(func(one *tally) bool {
		if now-one.since <= limit {
			return true
		}
		expired.add(one.lost())
		return false
	})
	return expired
}

// take removes at most most tallies, oldest first. Those older than limit are not among them, but dropped.
func (t *tallies) take(most int, now, limit time.Duration) (taken []tally, expired lost) {
	expired = t.expire(now, limit)
	t.keep(func(one *tally) bool {
		if len(taken) >= most {
			return true
		}
		taken = append(taken, *one)
		return false
	})
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
		LeadingFailures:  t.leading,
		LongestRun:       t.longest,
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
