package fuseboard

import (
	"context"
	"sync/atomic"
	"time"

	fuseboardv1 "fuseboard.dev/fuseboard/gen/fuseboard/v1"
	"google.golang.org/grpc"
)

const (
	// maxFrameItems keeps a frame of the longest items, introductions and a batch below the protocol's 1 MiB.
	maxFrameItems = 1000
	firstHello    = 100 * time.Millisecond
	lastHello     = time.Second
)

// session is one stream of acquires, reports and batches. Its fields are guarded by the link's mutex.
type session struct {
	link   *link
	stream grpc.BidiStreamingClient[fuseboardv1.SessionRequest, fuseboardv1.SessionResponse]
	ctx    context.Context
	cancel context.CancelFunc

	// worked is true once the session was usable.
	worked atomic.Bool
	// trouble wakes the one who says hello.
	trouble chan struct{}
	// wake wakes the writer.
	wake chan struct{}

	// out is what waits for the next frame.
	out struct {
		introductions []*fuseboardv1.Introduction
		acquires      []*fuseboardv1.SessionAcquire
		reports       []*reporting
		batch         *fuseboardv1.SessionBatch
	}
	greeted    bool
	introduced map[uint32]bool
	// asking, reporting and batches are what has no answer yet, by number.
	asking    map[uint64]*asking
	reporting map[uint64]*reporting
	batches   map[uint64]*batch
	hello     hello
}

// hello is the batch whose answer makes the session usable.
type hello struct {
	number   uint64
	answered chan struct{}
}

func newSession(
	l *link, stream grpc.BidiStreamingClient[fuseboardv1.SessionRequest, fuseboardv1.SessionResponse],
	ctx context.Context, cancel context.CancelFunc,
) *session {
	return &session{
		link: l, stream: stream, ctx: ctx, cancel: cancel,
		trouble:    make(chan struct{}, 1),
		wake:       make(chan struct{}, 1),
		introduced: map[uint32]bool{},
		asking:     map[uint64]*asking{},
		reporting:  map[uint64]*reporting{},
		batches:    map[uint64]*batch{},
	}
}

// introduce gives a breaker its handle, once a session. l.mu is held.
func (s *session) introduce(b *Breaker) {
	if !s.introduced[b.handle] {
		s.introduced[b.handle] = true
		s.out.introductions = append(s.out.introductions, &fuseboardv1.Introduction{Handle: b.handle, Breaker: b.key})
	}
}

func (s *session) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// write sends what waits, as much as a frame holds at a time, until the session ends.
func (s *session) write() {
	for {
		select {
		case <-s.wake:
		case <-s.ctx.Done():
			return
		}
		for frame := s.nextFrame(); frame != nil; frame = s.nextFrame() {
			if err := s.stream.Send(frame); err != nil {
				// Why it ended is told to the reader.
				return
			}
		}
	}
}

// nextFrame takes what waits. nil: nothing does.
func (s *session) nextFrame() *fuseboardv1.SessionRequest {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	out := &s.out
	frame := &fuseboardv1.SessionRequest{Introductions: out.introductions}
	out.introductions = nil
	if !s.greeted {
		s.greeted = true
		frame.Caller = s.link.client.options.Caller
	}
	room := min(len(out.acquires), maxFrameItems)
	frame.Acquires, out.acquires = out.acquires[:room:room], out.acquires[room:]
	room = min(len(out.reports), maxFrameItems-room)
	for _, report := range out.reports[:room] {
		// One that was sent again or answered meanwhile has another number, or none.
		if s.reporting[report.item.GetNumber()] == report {
			frame.Reports = append(frame.Reports, report.item)
		}
	}
	out.reports = out.reports[room:]
	if out.batch != nil {
		frame.Batches = []*fuseboardv1.SessionBatch{out.batch}
		out.batch = nil
	}
	if len(frame.Acquires)+len(frame.Reports)+len(frame.Batches)+len(frame.Introductions) == 0 {
		return nil
	}
	return frame
}

// read takes answers until the session ends. delay is the goodbye's.
func (s *session) read() (delay time.Duration, err error) {
	for {
		frame, err := s.stream.Recv()
		if err != nil {
			return delay, err
		}
		s.take(frame)
		if goodbye := frame.GetGoodbye(); goodbye != nil {
			return max(goodbye.GetRetryAfter().AsDuration(), time.Millisecond), nil
		}
	}
}

func (s *session) take(frame *fuseboardv1.SessionResponse) {
	s.link.mu.Lock()
	s.takeLocked(frame)
	notes := s.link.takeNotes()
	s.link.mu.Unlock()
	s.link.log(notes)
}

func (s *session) takeLocked(frame *fuseboardv1.SessionResponse) {
	l := s.link
	for _, acquired := range frame.GetAcquired() {
		if asking, found := s.asking[acquired.GetNumber()]; found {
			delete(s.asking, acquired.GetNumber())
			l.answered(asking, acquired)
		}
	}
	for _, reported := range frame.GetReported() {
		if report, found := s.reporting[reported.GetNumber()]; found {
			l.reported(report, reported)
		}
	}
	for _, answer := range frame.GetBatches() {
		if batch, found := s.batches[answer.GetNumber()]; found {
			delete(s.batches, answer.GetNumber())
			l.batchAnswered(batch, answer.GetResponse())
		}
		s.helloAnswered(answer.GetNumber())
	}
	for _, failed := range frame.GetErrors() {
		s.takeError(failed)
	}
}

func (s *session) takeError(failed *fuseboardv1.SessionError) {
	l, number := s.link, failed.GetNumber()
	if asking, found := s.asking[number]; found {
		delete(s.asking, number)
		l.answered(asking, nil)
		l.notes = append(l.notes, note{"an acquire was refused", asking.breaker.key, failed.GetMessage()})
	} else if report, found := s.reporting[number]; found {
		l.reportFailed(report, failed)
	} else if batch, found := s.batches[number]; found {
		delete(s.batches, number)
		l.batchFailed(batch, failed)
		s.helloAnswered(number)
	} else {
		l.notes = append(l.notes, note{"the session has a fault", "", failed.GetMessage()})
	}
}

// helloAnswered looks whether an answered batch was the hello. l.mu is held.
func (s *session) helloAnswered(number uint64) {
	if number == s.hello.number && s.hello.answered != nil {
		close(s.hello.answered)
		s.hello.answered = nil
	}
}

// keepUsable says hello until it is answered in time, and again whenever the session is found not to answer.
func (s *session) keepUsable(retry *retrying) {
	delay := firstHello
	for {
		if !s.sayHello() {
			if !pause(s.ctx, delay/2+evenly(delay/2)) {
				return
			}
			delay = min(2*delay, lastHello)
			continue
		}
		retry.worked()
		s.link.becomeUsable(s)
		delay = firstHello
		select {
		case <-s.trouble:
		case <-s.ctx.Done():
			return
		}
		if !pause(s.ctx, delay/2+evenly(delay/2)) {
			return
		}
	}
}

// sayHello is true where the hello was answered within the acquire timeout.
func (s *session) sayHello() bool {
	answered := s.link.hello(s)
	timer := time.NewTimer(s.link.client.options.AcquireTimeout)
	defer timer.Stop()
	select {
	case <-answered:
		return true
	case <-timer.C:
		return false
	case <-s.ctx.Done():
		return false
	}
}
