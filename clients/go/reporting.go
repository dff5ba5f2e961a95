package fuseboard

import (
	"container/list"
	"time"

	fuseboardv1 "fuseboard.dev/fuseboard/gen/fuseboard/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

// reporting is an outcome of a server's permit that has no answer yet.
type reporting struct {
	breaker *Breaker
	item    *fuseboardv1.SessionReport
	// leaseEnd is when the permit ends, and with it the sense of telling.
	leaseEnd time.Duration
	// answered is closed when the server has answered, or the report was dropped.
	answered chan struct{}
	// givenBack: nobody made the call; it is not among the outcomes that Stats tells.
	givenBack bool
	// paused: the server asked to send it again later.
	paused  bool
	element *list.Element
}

// report tells the outcome of a server's permit. The channel is closed at the answer; nil where nobody has to wait.
func (l *link) report(p *Permit, report Report) <-chan struct{} {
	item := &fuseboardv1.SessionReport{
		Handle:     p.breaker.handle,
		Permit:     p.server.token,
		Outcome:    fuseboardv1.Outcome(report.Outcome),
		Duration:   durationpb.New(report.Duration),
		ErrorClass: report.ErrorClass,
		Origin:     fuseboardv1.Origin(report.Origin),
	}
	if report.RetryAfter > 0 {
		item.RetryAfter = durationpb.New(report.RetryAfter)
	}
	sent := &reporting{breaker: p.breaker, item: item, leaseEnd: p.server.leaseEnd, answered: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client.closed.Load() {
		l.client.drop(p.breaker, lost{calls: 1})
		return nil
	}
	b := p.breaker
	b.mu.Lock()
	decisive := b.record(p, &report, l.client.now())
	b.mu.Unlock()
	if decisive || p.server.probe {
		b.await(sent.answered)
	}
	l.queueReport(sent)
	if l.usable.Load() && (report.moves() || p.server.probe) {
		return sent.answered
	}
	return nil
}

// queueReport keeps a report until it is answered, and sends it. l.mu is held.
func (l *link) queueReport(report *reporting) {
	if l.reports.Len() == maxReports {
		l.dropReport(l.reports.Front().Value.(*reporting))
	}
	report.element = l.reports.PushBack(report)
	l.sendReport(report)
}

// sendReport puts a report into the session's next frame, where one stands. l.mu is held.
func (l *link) sendReport(report *reporting) {
	report.paused = false
	s := l.session
	if s == nil {
		return
	}
	l.number++
	report.item.Number = l.number
	s.reporting[l.number] = report
	s.introduce(report.breaker)
	s.out.reports = append(s.out.reports, report)
	s.wakeUp()
}

func (l *link) dropReport(report *reporting) {
	l.forgetReport(report)
	if !report.givenBack {
		l.client.drop(report.breaker, lost{calls: 1})
	}
}

// forgetReport is done with a report. l.mu is held.
func (l *link) forgetReport(report *reporting) {
	if l.session != nil {
		delete(l.session.reporting, report.item.Number)
	}
	l.reports.Remove(report.element)
	close(report.answered)
}

// reported takes the answer to a report. l.mu is held.
func (l *link) reported(report *reporting, answered *fuseboardv1.SessionReported) {
	b := report.breaker
	b.apply(func(v *view, now time.Duration) {
		if !report.givenBack {
			b.counts.reported++
		}
		if answered.GetResult() == fuseboardv1.ReportResult_REPORT_RESULT_STALE {
			b.counts.stale++
		}
		v.applyAnswer(answer{
			state:            State(answered.GetState()),
			generation:       answered.GetGeneration(),
			override:         OverrideMode(answered.GetOverrideMode()),
			callerState:      State(answered.GetCallerState()),
			callerGeneration: answered.GetCallerGeneration(),
		}, now)
	})
	l.forgetReport(report)
}

// reportFailed takes an error in the place of an answer. l.mu is held.
func (l *link) reportFailed(report *reporting, failed *fuseboardv1.SessionError) {
	if !later(failed) {
		l.notes = append(l.notes, note{"a report was refused", report.breaker.key, failed.GetMessage()})
		l.dropReport(report)
		return
	}
	delete(l.session.reporting, report.item.Number)
	report.paused = true
	l.retry.Reset(failed.GetRetryAfter().AsDuration())
}

// later tells whether an item is to be sent again: the server cannot record at present.
func later(failed *fuseboardv1.SessionError) bool {
	return failed.GetCode() == int32(codes.Unavailable)
}

// sendAgain sends what the server could not record.
func (l *link) sendAgain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.client.now()
	for element := l.reports.Front(); element != nil; {
		next := element.Next()
		if report := element.Value.(*reporting); report.paused && now >= report.leaseEnd {
			l.dropReport(report)
		} else if report.paused {
			l.sendReport(report)
		}
		element = next
	}
	if batch := l.batches.inFlight; batch != nil && batch.paused {
		l.resendBatch()
	}
}
