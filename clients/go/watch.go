package fuseboard

import (
	"context"
	"sync"
	"time"

	fuseboardv1 "fuseboard.dev/fuseboard/gen/fuseboard/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// gatherKeys is how long the watch waits for more breakers before it is opened for new ones.
const gatherKeys = 10 * time.Millisecond

// watch follows what happens to the client's breakers. One goroutine decides; each stream has one that reads.
type watch struct {
	client  *Client
	channel *channel
	api     fuseboardv1.BreakerServiceClient
	// changed tells that there are breakers that no watch covers.
	changed chan struct{}
	inbox   chan heard

	// current is the stream that is believed; next is one that has not spoken yet, and takes its place when it does.
	current, next *following
	token         string
	retry         retrying
	worked        bool
	// opening is when next is to be opened; silence is when current, or next without one, has been silent too long.
	opening, silence *time.Timer
	streams          sync.WaitGroup
}

// following is one stream.
type following struct {
	cancel   context.CancelFunc
	breakers []*Breaker
	// resumed: it goes on from a token, without a snapshot.
	resumed bool
}

// heard is a message of a stream, or its end.
type heard struct {
	from    *following
	message *fuseboardv1.WatchEventsResponse
	err     error
}

func newWatch(c *Client, channel *channel, api fuseboardv1.BreakerServiceClient) *watch {
	return &watch{
		client: c, channel: channel, api: api, changed: make(chan struct{}, 1), inbox: make(chan heard),
		opening: stoppedTimer(), silence: stoppedTimer(),
	}
}

func stoppedTimer() *time.Timer {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return timer
}

// cover says that there is a breaker that no watch covers.
func (w *watch) cover() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// run follows until ctx ends.
func (w *watch) run(ctx context.Context) {
	defer w.streams.Wait()
	for {
		select {
		case <-ctx.Done():
			w.end(w.current)
			w.end(w.next)
			return
		case <-w.changed:
			if w.next == nil {
				w.opening.Reset(gatherKeys)
			}
		case <-w.opening.C:
			if w.next == nil {
				w.open(ctx)
			}
		case <-w.silence.C:
			w.client.options.Logger.Debug("fuseboard: the watch is silent; dialling anew")
			w.end(w.current)
			w.end(w.next)
			w.current, w.next = nil, nil
			w.channel.replace()
			w.reopen(evenly(w.retry.next()))
		case heard := <-w.inbox:
			w.hear(heard)
		}
	}
}

func (w *watch) end(f *following) {
	if f != nil {
		f.cancel()
	}
}

func (w *watch) reopen(delay time.Duration) { w.opening.Reset(delay) }

// open begins a stream for all breakers, from the last token.
func (w *watch) open(ctx context.Context) {
	c := w.client
	ctx, cancel := context.WithCancel(ctx)
	f := &following{cancel: cancel, breakers: c.all(), resumed: w.token != ""}
	w.next = f
	if w.current == nil {
		w.silence.Reset(max(c.options.MaxStaleness, maxAttempt))
	}
	request := &fuseboardv1.WatchEventsRequest{
		Filter:           &fuseboardv1.WatchFilter{Breakers: make([]string, len(f.breakers))},
		ResumeToken:      w.token,
		Delivery:         fuseboardv1.Delivery_DELIVERY_EVERY_EVENT,
		ProgressInterval: durationpb.New(c.options.ProgressInterval),
		Caller:           c.options.Caller,
	}
	for i, b := range f.breakers {
		request.Filter.Breakers[i] = b.key
	}
	w.streams.Add(1)
	go func() {
		defer w.streams.Done()
		w.read(ctx, f, request)
	}()
}

// read hands on what a stream says, until it ends.
func (w *watch) read(ctx context.Context, f *following, request *fuseboardv1.WatchEventsRequest) {
	defer f.cancel()
	w.channel.await(ctx)
	stream, err := w.api.WatchEvents(ctx, request)
	for {
		var message *fuseboardv1.WatchEventsResponse
		if err == nil {
			message, err = stream.Recv()
		}
		select {
		case w.inbox <- heard{f, message, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// hear takes a message or an end.
func (w *watch) hear(h heard) {
	if h.from != w.current && h.from != w.next {
		return
	}
	if h.err != nil || h.message.GetGoodbye() != nil {
		w.ended(h)
		return
	}
	if h.from == w.next {
		w.promote()
	}
	c := w.client
	c.heardAt.Store(int64(c.now()))
	w.silence.Reset(c.options.MaxStaleness)
	w.token = h.message.GetResumeToken()
	switch {
	case h.message.GetSnapshot() != nil:
		w.takeSnapshot(h.message.GetSnapshot())
	case h.message.GetEvent() != nil:
		w.takeEvent(h.message.GetEvent())
	case h.message.GetResync() != nil:
		w.takeResync(h.message.GetResync())
	}
}

// ended sees to it that another stream is opened in the place of one that has ended.
func (w *watch) ended(h heard) {
	w.client.options.Logger.Debug("fuseboard: watch ended", "error", h.err)
	w.end(h.from)
	if h.from == w.current {
		w.current = nil
	} else {
		w.next = nil
	}
	if w.next != nil {
		return
	}
	delay := h.message.GetGoodbye().GetRetryAfter().AsDuration()
	if h.message.GetGoodbye() == nil {
		delay = evenly(w.retry.next())
	}
	if w.current == nil {
		w.silence.Stop()
	}
	w.reopen(delay)
}

// promote makes the stream that has now spoken the one that is believed.
func (w *watch) promote() {
	if w.current == nil && w.worked {
		w.client.reconnects.Add(1)
	}
	w.worked = true
	w.retry.worked()
	w.end(w.current)
	w.current, w.next = w.next, nil
	for _, b := range w.current.breakers {
		if b.covered.Load() {
			continue
		}
		if w.current.resumed {
			b.apply(func(v *view, _ time.Duration) { v.doubt() })
		}
		b.covered.Store(true)
	}
	if len(w.current.breakers) < len(w.client.all()) {
		w.reopen(gatherKeys)
	}
}

func (w *watch) takeSnapshot(snapshot *fuseboardv1.Snapshot) {
	for _, status := range snapshot.GetBreakers() {
		if b := w.client.find(status.GetBreaker()); b != nil {
			b.apply(func(v *view, now time.Duration) { v.applySnapshot(status, w.client.options.Caller, now) })
		}
	}
	for _, key := range snapshot.GetDeleted() {
		if b := w.client.find(key); b != nil {
			b.apply(func(v *view, _ time.Duration) {
				*v = view{scope: scope{generation: v.generation}, sequence: v.sequence}
			})
		}
	}
}

func (w *watch) takeEvent(message *fuseboardv1.Event) {
	b := w.client.find(message.GetBreaker())
	if b == nil {
		return
	}
	isNew := false
	b.apply(func(v *view, now time.Duration) { isNew = v.applyEvent(message, w.client.options.Caller, now) })
	if isNew {
		w.publish(eventOf(message))
	}
}

// takeResync forgets all that is known: a snapshot follows.
func (w *watch) takeResync(resync *fuseboardv1.Resync) {
	w.client.resyncs.Add(1)
	w.client.options.Logger.Info("fuseboard: events were lost", "reason", resync.GetReason(), "events", resync.GetLostEvents())
	for _, b := range w.client.all() {
		b.mu.Lock()
		b.view = view{}
		known := b.policyAt != 0
		b.policyAt = 0
		b.mu.Unlock()
		if known {
			w.client.policies.refresh(b)
		}
	}
	w.publish(Event{Kind: EventLost, Lost: resync.GetLostEvents()})
}

func (w *watch) publish(event Event) {
	c := w.client
	c.subscriptions.publish(event)
	if c.options.Observer != nil {
		c.observe(func(o Observer) { o.Happened(event) })
	}
}
