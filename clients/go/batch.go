package fuseboard

import (
	"slices"
	"time"

	fuseboardv1 "fuseboard.dev/fuseboard/gen/fuseboard/v1"
)

const (
	// maxBatchTallies keeps a batch of the longest keys far below a frame's 1 MiB.
	maxBatchTallies = 1000
	// maxHellos is how many unanswered batches of a session are remembered.
	maxHellos = 64
)

// batches is the state of a client's one stream of batches. At most one is in flight: what comes meanwhile waits for
// its answer, so no older success overtakes a failure.
type batches struct {
	sequence uint64
	inFlight *batch
	// next is closed when the next batch, which is not made yet, is answered.
	next chan struct{}
	// urgent: a failure waits. due: the report interval has passed.
	urgent, due bool
}

// batch is tallies under a number, which it keeps until it is answered.
type batch struct {
	request *fuseboardv1.ReportBatchRequest
	told    []toldTally
	// at is when it was made.
	at time.Duration
	// answered is closed when it is, or when it is given up.
	answered chan struct{}
	// paused: the server asked to send it again later.
	paused bool
}

// toldTally is a tally that was put into a batch.
type toldTally struct {
	breaker *Breaker
	tally   tally
}

// gather sees to it that tallies are sent when the interval has passed.
func (l *link) gather() {
	if !l.gathering.Load() && l.gathering.CompareAndSwap(false, true) && !l.client.closed.Load() {
		l.interval.Reset(l.client.options.ReportInterval)
	}
}

func (l *link) intervalPassed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gathering.Store(false)
	l.batches.due = true
	l.sendBatch()
	l.keepHouse()
}

// keepHouse drops tallies that have grown too old while they could not be sent. l.mu is held.
func (l *link) keepHouse() {
	if l.session != nil {
		return
	}
	now, limit := l.client.now(), l.tallyLimit()
	waiting := false
	if batch := l.batches.inFlight; batch != nil {
		if now-batch.at > limit {
			l.refuse(batch)
		} else {
			waiting = len(batch.told) > 0
		}
	}
	for _, b := range l.client.all() {
		b.mu.Lock()
		expired := b.tallies.expire(now, limit)
		waiting = waiting || !b.tallies.empty()
		b.mu.Unlock()
		l.client.drop(b, expired)
	}
	if waiting && !l.client.closed.Load() && l.gathering.CompareAndSwap(false, true) {
		l.interval.Reset(housekeeping)
	}
}

// tallyLimit is how old a tally may be.
func (l *link) tallyLimit() time.Duration { return l.client.options.ReportInterval + staleTally }

// tellFailure counts a failure and sends it at once, behind what is pending. The channel is closed at the answer; nil
// where nobody has to wait.
func (l *link) tellFailure(b *Breaker, p *Permit, report *Report, now time.Duration) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	answered := l.batches.next
	if _, decisive := b.count(p, report, now); decisive {
		b.await(answered)
	}
	l.batches.urgent = true
	l.sendBatch()
	if l.session == nil {
		l.keepHouse()
	}
	if !l.usable.Load() {
		return nil
	}
	return answered
}

// sendBatch sends what has gathered, if it is time and no batch is in flight. l.mu is held.
func (l *link) sendBatch() {
	if l.session == nil || l.batches.inFlight != nil || !l.batches.urgent && !l.batches.due {
		return
	}
	l.batches.urgent, l.batches.due = false, false
	now, limit := l.client.now(), l.tallyLimit()
	var told []toldTally
	for _, b := range l.client.all() {
		b.mu.Lock()
		taken, expired := b.tallies.take(maxBatchTallies-len(told), now, limit)
		if !b.tallies.empty() {
			l.batches.due = true
		}
		b.mu.Unlock()
		for _, tally := range taken {
			told = append(told, toldTally{b, tally})
		}
		l.client.drop(b, expired)
	}
	if len(told) > 0 {
		l.makeBatch(told, now)
		l.resendBatch()
	} else {
		// What was waited for has expired.
		close(l.batches.next)
		l.batches.next = make(chan struct{})
	}
}

// makeBatch puts a batch in flight. l.mu is held.
func (l *link) makeBatch(told []toldTally, now time.Duration) {
	l.batches.sequence++
	request := &fuseboardv1.ReportBatchRequest{
		ClientId: l.client.id, BatchSequence: l.batches.sequence, Tallies: make([]*fuseboardv1.Tally, 0, len(told)),
	}
	for _, one := range told {
		message := one.tally.message(one.breaker.key, now)
		message.Caller = l.client.options.Caller
		request.Tallies = append(request.Tallies, message)
	}
	l.batches.inFlight = &batch{request: request, told: told, at: now, answered: l.batches.next}
	l.batches.next = make(chan struct{})
}

// resendBatch sends the batch in flight, the same under the same number, as a new item. l.mu is held.
func (l *link) resendBatch() (number uint64) {
	s, batch := l.session, l.batches.inFlight
	if s == nil {
		return 0
	}
	batch.paused = false
	l.number++
	if len(s.batches) >= maxHellos {
		clear(s.batches)
	}
	s.batches[l.number] = batch
	s.out.batch = &fuseboardv1.SessionBatch{Number: l.number, Batch: batch.request}
	s.wakeUp()
	return l.number
}

// hello sends a batch whose answer says that the session works: the one in flight again, or one without tallies.
func (l *link) hello(s *session) (answered <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.batches.inFlight == nil {
		l.makeBatch(nil, l.client.now())
	}
	channel := make(chan struct{})
	s.hello = hello{number: l.resendBatch(), answered: channel}
	return channel
}

// awaitPending makes the next acquires wait for the failures that have gathered while the server could not be asked. l.mu
// is held.
func (l *link) awaitPending() {
	if batch := l.batches.inFlight; batch != nil {
		for _, one := range batch.told {
			if one.tally.longest > 0 {
				one.breaker.await(batch.answered)
			}
		}
	}
	for _, b := range l.client.all() {
		b.mu.Lock()
		if slices.ContainsFunc(b.tallies.pending, func(t tally) bool { return t.longest > 0 }) {
			b.await(l.batches.next)
		}
		b.mu.Unlock()
	}
}

// batchAnswered takes the answer to a batch. l.mu is held.
func (l *link) batchAnswered(batch *batch, response *fuseboardv1.ReportBatchResponse) {
	if batch != l.batches.inFlight {
		return
	}
	changed := map[*Breaker]*fuseboardv1.BreakerStatus{}
	for _, status := range response.GetChanged() {
		if b := l.client.find(status.GetBreaker()); b != nil {
			changed[b] = status
			b.apply(func(v *view, now time.Duration) {
				v.applyStatus(status, l.client.options.Caller, time.Time{}, now)
			})
		}
	}
	for _, one := range batch.told {
		one.breaker.mu.Lock()
		one.breaker.counts.reported += uint64(one.tally.calls)
		if response.GetStale() > 0 && one.tally.olderThan(changed[one.breaker], l.client.options.Caller) {
			one.breaker.counts.stale += uint64(one.tally.calls)
		}
		one.breaker.mu.Unlock()
	}
	l.batchDone(batch)
}

// olderThan tells whether a tally was decided under generations before those of a status, nil for none.
func (t *tally) olderThan(status *fuseboardv1.BreakerStatus, caller string) bool {
	own := status.GetCaller().GetCaller() == caller && t.callerGeneration < status.GetCaller().GetGeneration()
	return status != nil && (own || t.generation < status.GetGeneration())
}

// batchFailed takes an error in the place of an answer. l.mu is held.
func (l *link) batchFailed(batch *batch, failed *fuseboardv1.SessionError) {
	if batch != l.batches.inFlight {
		return
	}
	if later(failed) && l.client.now()-batch.at <= l.tallyLimit() {
		batch.paused = true
		l.retry.Reset(failed.GetRetryAfter().AsDuration())
		return
	}
	l.notes = append(l.notes, note{"a batch was refused", "", failed.GetMessage()})
	l.refuse(batch)
}

// refuse drops the batch in flight. l.mu is held.
func (l *link) refuse(batch *batch) {
	for _, one := range batch.told {
		l.client.drop(one.breaker, one.tally.lost())
	}
	l.batchDone(batch)
}

// batchDone makes room for the next batch. l.mu is held.
func (l *link) batchDone(batch *batch) {
	l.batches.inFlight = nil
	close(batch.answered)
	l.sendBatch()
}
