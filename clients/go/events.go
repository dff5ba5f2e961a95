package fuseboard

import (
	"slices"
	"sync"
	"time"

	fuseboardv1 "fuseboard.dev/fuseboard/gen/fuseboard/v1"
)

// EventKind is what happened to a breaker.
type EventKind uint8

// The kinds. The numbers are the protocol's, but for the last.
const (
	_ EventKind = iota
	// EventOpened: it tripped, or a recovery failed.
	EventOpened
	// EventHalfOpened: the open period has passed; probes are permitted.
	EventHalfOpened
	// EventClosed: enough probes succeeded.
	EventClosed
	// EventReset: it was reset.
	EventReset
	// EventPolicyChanged: the policy in force changed.
	EventPolicyChanged
	// EventOverrideSet: an operator set an override.
	EventOverrideSet
	// EventOverrideCleared: an override was cleared or ended.
	EventOverrideCleared
	// EventWouldHaveOpened: it would have opened, had it not been in shadow.
	EventWouldHaveOpened
	// EventDeleted: it was deleted.
	EventDeleted
	// EventCallerIsolated: one caller is refused, and nobody else.
	EventCallerIsolated
	// EventCallerHalfOpened: an isolated caller is permitted probes.
	EventCallerHalfOpened
	// EventCallerRestored: a caller is no longer isolated.
	EventCallerRestored
	// EventLost: events were lost, because the server no longer had them (a resync) or this subscription was read too
	// slowly. Look at View or State of what matters.
	EventLost EventKind = 255
)

var eventNames = [...]string{
	"unknown", "opened", "half_opened", "closed", "reset", "policy_changed", "override_set", "override_cleared",
	"would_have_opened", "deleted", "caller_isolated", "caller_half_opened", "caller_restored",
}

func (k EventKind) String() string {
	if k == EventLost {
		return "lost"
	}
	return name(eventNames[:], int(k))
}

// Event is one thing that happened to a breaker.
type Event struct {
	Kind EventKind
	// Breaker is the key. Empty for EventLost.
	Breaker string
	// Sequence is its place in the server's event log, and Generation the breaker's after it.
	Sequence, Generation uint64
	// From and To are the states before and after; for a caller's events, of that caller's scope.
	From, To State
	// Caller whose scope moved. Empty: the breaker moved, or the caller gave no name.
	Caller string
	// Actor asked for it, and Comment is why. Empty: the breaker moved by itself.
	Actor, Comment string
	// Time is the server's.
	Time time.Time
	// Count is how many moves this event stands for: a burst of the same move is told as one event, the last of them.
	// 1 for one move.
	Count uint64
	// First is when the first move of the burst happened; Time where it was one move.
	First time.Time
	// Lost is how many events were lost, for EventLost; 0 where it cannot be known.
	Lost uint64
}

func eventOf(message *fuseboardv1.Event) Event {
	first := message.GetFirstEventTime()
	if first == nil {
		first = message.GetEventTime()
	}
	return Event{
		Kind:       EventKind(message.GetKind()),
		Breaker:    message.GetBreaker(),
		Sequence:   message.GetSequence(),
		Generation: message.GetGeneration(),
		From:       State(message.GetFrom()),
		To:         State(message.GetTo()),
		Caller:     message.GetStatus().GetCaller().GetCaller(),
		Actor:      message.GetActor(),
		Comment:    message.GetComment(),
		Time:       message.GetEventTime().AsTime(),
		Count:      max(message.GetCount(), 1),
		First:      first.AsTime(),
	}
}

// Subscription is events of one breaker, or of all of a client's: each once, in order, also over reconnects.
type Subscription struct {
	owner *subscriptions
	key   string
	// all is what the channel is fed with; guarded by the owner's mutex.
	events chan Event
	lost   uint64
	ended  bool
}

// defaultBuffer is how many events a subscription holds where it is not told.
const defaultBuffer = 256

// Subscribe tells the events of all of the client's breakers from now on. buffer is how many it holds for a slow
// reader, 0: 256. Nothing waits for the reader: past that, events are lost, and an EventLost that says how many comes
// before the next one that finds room. The channel is closed by Close, the subscription's or the client's.
func (c *Client) Subscribe(buffer int) *Subscription { return c.subscriptions.add("", buffer) }

// Subscribe tells the events of this breaker from now on, as Client.Subscribe does.
func (b *Breaker) Subscribe(buffer int) *Subscription {
	return b.client.subscriptions.add(b.key, buffer)
}

// Events is the channel to read.
func (s *Subscription) Events() <-chan Event { return s.events }

// Close ends the subscription. Closing twice does nothing.
func (s *Subscription) Close() {
	s.owner.mu.Lock()
	defer s.owner.mu.Unlock()
	s.owner.all = slices.DeleteFunc(s.owner.all, func(other *Subscription) bool { return other == s })
	s.end()
}

func (s *Subscription) end() {
	if !s.ended {
		s.ended = true
		close(s.events)
	}
}

// subscriptions are a client's.
type subscriptions struct {
	mu     sync.Mutex
	all    []*Subscription
	closed bool
}

func (s *subscriptions) add(key string, buffer int) *Subscription {
	if buffer <= 0 {
		buffer = defaultBuffer
	}
	subscription := &Subscription{owner: s, key: key, events: make(chan Event, buffer)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		subscription.end()
	} else {
		s.all = append(s.all, subscription)
	}
	return subscription
}

// publish tells an event to those who asked for it. It never waits.
func (s *subscriptions) publish(event Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, subscription := range s.all {
		if event.Kind == EventLost || subscription.key == "" || subscription.key == event.Breaker {
			subscription.offer(event)
		}
	}
}

func (s *Subscription) offer(event Event) {
	if s.lost > 0 {
		select {
		case s.events <- Event{Kind: EventLost, Lost: s.lost}:
			s.lost = 0
		default:
			s.lost++
			return
		}
	}
	select {
	case s.events <- event:
	default:
		s.lost++
	}
}

func (s *subscriptions) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, subscription := range s.all {
		subscription.end()
	}
	s.all = nil
}
