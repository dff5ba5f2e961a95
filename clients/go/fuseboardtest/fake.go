// Package fuseboardtest is for the tests of those who use fuseboard: a client without a server, and the clock of a server
// whose time stands still.
package fuseboardtest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"fuseboard.dev/fuseboard"
	"fuseboard.dev/fuseboard/internal/script"
)

// Fake decides in the place of a server. Every breaker is closed until it is told otherwise, and trips by nothing but
// Open. It is safe for concurrent use.
type Fake struct {
	client *fuseboard.Client

	mu       sync.Mutex
	told     map[string]script.Decision
	outcomes map[string]map[fuseboard.Outcome]int
	resets   map[string]int
}

// New is a fake, whose client is closed when the test ends.
func New(t testing.TB) *Fake {
	t.Helper()
	fake := &Fake{
		told:     map[string]script.Decision{},
		outcomes: map[string]map[fuseboard.Outcome]int{},
		resets:   map[string]int{},
	}
	client, err := fuseboard.New(fuseboard.Options{Caller: "test/1", Script: hidden{fake}})
	if err != nil {
		t.Fatal(fmt.Errorf("fuseboardtest: %w", err))
	}
	fake.client = client
	t.Cleanup(func() { _ = client.Close() })
	return fake
}

// Client is the client to give to the code under test.
func (f *Fake) Client() *fuseboard.Client { return f.client }

// Open rejects calls to a breaker, for fuseboard.ReasonOpen, until it is told otherwise.
func (f *Fake) Open(key string, retryAfter time.Duration) {
	f.set(key, fuseboard.StateOpen, fuseboard.ReasonOpen, retryAfter)
}

// Close permits calls to a breaker again.
func (f *Fake) Close(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.told, key)
}

// HalfOpen rejects calls to a breaker as one whose probes are all out.
func (f *Fake) HalfOpen(key string, retryAfter time.Duration) {
	f.set(key, fuseboard.StateHalfOpen, fuseboard.ReasonHalfOpenFull, retryAfter)
}

// Isolate rejects calls to a closed breaker, for this caller's own failures.
func (f *Fake) Isolate(key string, retryAfter time.Duration) {
	f.set(key, fuseboard.StateClosed, fuseboard.ReasonCallerIsolated, retryAfter)
}

func (f *Fake) set(key string, state fuseboard.State, reason fuseboard.Reason, retryAfter time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told[key] = script.Decision{State: uint8(state), Reason: uint8(reason), RetryAfter: retryAfter}
}

// Count is how many calls to a breaker were reported with an outcome.
func (f *Fake) Count(key string, outcome fuseboard.Outcome) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.outcomes[key][outcome]
}

// Resets is how often a breaker was reset. A reset closes it.
func (f *Fake) Resets(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.resets[key]
}

// hidden is the Fake as the client sees it, so that users of the Fake do not.
type hidden struct{ fake *Fake }

func (h hidden) Decide(key string) script.Decision {
	h.fake.mu.Lock()
	defer h.fake.mu.Unlock()
	if decision, found := h.fake.told[key]; found {
		return decision
	}
	return script.Decision{Permitted: true, State: uint8(fuseboard.StateClosed)}
}

func (h hidden) Reported(key string, outcome uint8) {
	h.fake.mu.Lock()
	defer h.fake.mu.Unlock()
	if h.fake.outcomes[key] == nil {
		h.fake.outcomes[key] = map[fuseboard.Outcome]int{}
	}
	h.fake.outcomes[key][fuseboard.Outcome(outcome)]++
}

func (h hidden) Reset(key string) {
	h.fake.Close(key)
	h.fake.mu.Lock()
	defer h.fake.mu.Unlock()
	h.fake.resets[key]++
}
