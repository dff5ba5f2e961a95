package fuseboard

import (
	"container/list"
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	fuseboardv1 "fuseboard.dev/fuseboard/gen/fuseboard/v1"
)

const (
	// maxReports is how many outcomes of server permits wait for an answer. Beyond, the oldest is dropped.
	maxReports = 10_000
	// maxAsking is how many acquires may be without an answer in a session. Beyond, the server counts as unavailable.
	maxAsking = 10_000
	// staleTally is how old a tally gets, beyond the report interval, that could not be sent.
	staleTally = 10 * time.Second
	// housekeeping is how often old tallies are looked for while they cannot be sent.
	housekeeping = 500 * time.Millisecond
)

// link is the channel and the session: it opens the session again and again, knows whether it is usable, and keeps
// what has no answer for the next one.
type link struct {
	client  *Client
	channel *channel
	api     fuseboardv1.BreakerServiceClient
	ctx     context.Context
	cancel  context.CancelFunc

	// usable is whether the server can be asked. It is written under mu.
	usable atomic.Bool
	// settled is closed once it is known whether the first session works. Until then callers wait.
	settled    chan struct{}
	settleOnce sync.Once
	// gathering is true while tallies wait for their interval.
	gathering atomic.Bool
	interval  *time.Timer
	retry     *time.Timer

	// mu guards the rest. Breakers' own mutexes are taken under it, never the other way round.
	mu      sync.Mutex
	session *session
	number  uint64
	batches batches
	reports *list.List // of *reporting, oldest first
	// notes are log lines that wait until no lock is held: a log's handler may call this client.
	notes []note
}

// note is a line for the log.
type note struct{ message, breaker, problem string }

// takeNotes is what is to be logged once mu is free.
func (l *link) takeNotes() []note {
	notes := l.notes
	l.notes = nil
	return notes
}

func (l *link) log(notes []note) {
	for _, note := range notes {
		l.client.options.Logger.Warn("fuseboard: "+note.message, "breaker", note.breaker, "error", note.problem)
	}
}

func newLink(c *Client, channel *channel, api fuseboardv1.BreakerServiceClient) *link {
	l := &link{client: c, channel: channel, api: api, settled: make(chan struct{}), reports: list.New()}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.batches.next = make(chan struct{})
	l.interval = time.AfterFunc(time.Hour, l.intervalPassed)
	l.interval.Stop()
	l.retry = time.AfterFunc(time.Hour, l.sendAgain)
	l.retry.Stop()
	return l
}

// run keeps a session open until ctx ends.
func (l *link) run(ctx context.Context) {
	var retry retrying
	worked := false
	for {
		s, delay := l.runSession(ctx, &retry)
		l.settle()
		if delay == 0 {
			delay = evenly(retry.next())
		}
		if s != nil && s.worked.Load() {
			worked = true
		}
		if !pause(ctx, delay) {
			return
		}
		if worked {
			l.client.reconnects.Add(1)
			worked = false
		}
	}
}

// runSession opens a session and serves it until it ends. delay is the server's, where it said goodbye.
func (l *link) runSession(ctx context.Context, retry *retrying) (s *session, delay time.Duration) {
	l.channel.await(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := l.api.Session(ctx)
	if err != nil {
		l.client.options.Logger.Debug("fuseboard: no session", "error", err)
		return nil, 0
	}
	l.client.policies.declareAll(ctx)
	s = newSession(l, stream, ctx, cancel)
	l.stand(s)
	var workers sync.WaitGroup
	workers.Add(2)
	go func() { defer workers.Done(); s.write() }()
	go func() { defer workers.Done(); s.keepUsable(retry) }()
	delay, err = s.read()
	cancel()
	workers.Wait()
	l.fall(s)
	l.client.options.Logger.Debug("fuseboard: session ended", "error", err, "goodbye", delay)
	return s, delay
}

// stand puts a new session in the place of the one before. What had no answer is sent again.
func (l *link) stand(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session = s
	now := l.client.now()
	for element := l.reports.Front(); element != nil; {
		next := element.Next()
		if report := element.Value.(*reporting); now >= report.leaseEnd {
			l.dropReport(report)
		} else {
			l.sendReport(report)
		}
		element = next
	}
}

// fall takes an ended session away: nobody waits for it any longer.
func (l *link) fall(s *session) {
	l.becomeUnusable(s)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session = nil
	for _, asking := range s.asking {
		if !asking.abandoned {
			asking.reply <- reply{}
		}
	}
	clear(s.asking)
	l.keepHouse()
}

// settle ends the wait of those who came before the first session was tried.
func (l *link) settle() { l.settleOnce.Do(func() { close(l.settled) }) }

func (l *link) becomeUsable(s *session) {
	l.mu.Lock()
	if l.session != s || l.usable.Load() {
		l.mu.Unlock()
		return
	}
	for _, b := range l.client.all() {
		b.dismissStandIn()
	}
	l.awaitPending()
	l.usable.Store(true)
	s.worked.Store(true)
	l.mu.Unlock()
	l.settle()
	l.client.policies.wakeUp()
	l.changed(true)
}

// becomeUnusable says that the session s, or any where s is nil, does not answer.
func (l *link) becomeUnusable(s *session) {
	l.mu.Lock()
	standing := l.session
	if standing == nil || s != nil && standing != s || !l.usable.Load() {
		l.mu.Unlock()
		return
	}
	l.usable.Store(false)
	l.mu.Unlock()
	select {
	case standing.trouble <- struct{}{}:
	default:
	}
	l.changed(false)
}

func (l *link) changed(usable bool) {
	c := l.client
	if usable {
		c.options.Logger.Info("fuseboard: the server can be asked", "address", c.options.Address)
	} else if !c.closed.Load() {
		c.options.Logger.Warn("fuseboard: the server cannot be asked", "address", c.options.Address)
	}
	if c.options.Observer != nil {
		c.observe(func(o Observer) { o.LinkChanged(usable) })
	}
}

// drain sends what waits and waits for the answers, at most timeout.
func (l *link) drain(timeout time.Duration) {
	ctx, cancel := context.WithTimeout(l.ctx, timeout)
	defer cancel()
	for {
		l.mu.Lock()
		l.batches.due = true
		l.sendBatch()
		idle := l.session == nil || l.batches.inFlight == nil && l.reports.Len() == 0
		l.mu.Unlock()
		if idle || !pause(ctx, time.Millisecond) {
			return
		}
	}
}

// stop ends the session and the channel.
func (l *link) stop() {
	l.interval.Stop()
	l.retry.Stop()
	l.cancel()
	l.channel.close()
}

// giveUp counts everything that is left as dropped.
func (l *link) giveUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.interval.Stop()
	l.retry.Stop()
	if batch := l.batches.inFlight; batch != nil {
		l.refuse(batch)
	}
	for _, b := range l.client.all() {
		b.mu.Lock()
		expired := b.tallies.expire(math.MaxInt64, 0)
		b.mu.Unlock()
		l.client.drop(b, expired)
	}
	for l.reports.Len() > 0 {
		l.dropReport(l.reports.Front().Value.(*reporting))
	}
}

// await waits for the answer to a report, as Execute does.
func (l *link) await(ctx context.Context, answered <-chan struct{}) {
	timer := time.NewTimer(l.client.options.ReportTimeout)
	defer timer.Stop()
	select {
	case <-answered:
	case <-timer.C:
		l.becomeUnusable(nil)
	case <-ctx.Done():
	case <-l.client.closing:
	}
}
