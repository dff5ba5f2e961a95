package fuseboard

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	fuseboardv1 "fuseboard.dev/fuseboard/gen/fuseboard/v1"
)

const maxBreakers = 1000

// Client is a service's tie to a Fuseboard server. One is enough for a process. It is safe for concurrent use.
type Client struct {
	options Options
	// id names this client in batches, over reconnects.
	id string
	// born is what the client's time counts from, where there is no clock of the user's.
	born     time.Time
	link     *link
	watch    *watch
	policies *policies

	closed atomic.Bool
	// closing is closed when Close begins.
	closing   chan struct{}
	closeOnce sync.Once
	workers   sync.WaitGroup

	// heardAt is when the watch last said something.
	heardAt    atomic.Int64
	reconnects atomic.Uint64
	resyncs    atomic.Uint64
	// pending is the room for tallies.
	pending budget

	mu       sync.RWMutex
	breakers map[string]*Breaker
	// listed are the same in the order of their handles.
	listed []*Breaker

	subscriptions subscriptions
}

// New is a client. It connects in the background: a server that is away is no error, and calls are decided all the
// same. Close it when it is no longer used.
func New(options Options) (*Client, error) {
	options, err := options.validated()
	if err != nil {
		return nil, err
	}
	c := &Client{
		options:  options,
		id:       rand.Text(),
		born:     time.Now(),
		closing:  make(chan struct{}),
		breakers: map[string]*Breaker{},
	}
	if options.Script != nil {
		return c, nil
	}
	channel, err := newChannel(options)
	if err != nil {
		return nil, err
	}
	api := fuseboardv1.NewBreakerServiceClient(channel)
	c.link = newLink(c, channel, api)
	c.watch = newWatch(c, channel, api)
	c.policies = newPolicies(c, api)
	for _, run := range []func(context.Context){c.link.run, c.watch.run, c.policies.run} {
		c.spawn(run)
	}
	return c, nil
}

// spawn runs a worker until Close, which waits for it.
func (c *Client) spawn(run func(context.Context)) {
	c.workers.Add(1)
	go func() {
		defer c.workers.Done()
		run(c.link.ctx)
	}()
}

// Caller is who asks, as the server is told.
func (c *Client) Caller() string { return c.options.Caller }

// Breaker is the breaker of a key: 1 to 200 bytes of A-Z a-z 0-9 . _ - : /. The same key gives the same breaker, with
// the options of the first time; options that differ are an error the second time only if they declare another policy.
// It makes no request; what it declares is sent in the background.
func (c *Client) Breaker(key string, options BreakerOptions) (*Breaker, error) {
	if err := validKey(key); err != nil {
		return nil, err
	}
	options, err := options.validated(c.options)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b, found := c.breakers[key]; found {
		return b, nil
	}
	if len(c.listed) == maxBreakers {
		return nil, ErrTooManyBreakers
	}
	b := &Breaker{client: c, key: key, options: options, handle: uint32(len(c.listed) + 1), suspects: true}
	b.tallies = newTallies(key, &c.pending)
	if options.Policy != nil {
		b.declared = options.Policy.message()
		b.rules = localRules(b.declared)
		b.suspects = hasWindowRule(b.declared)
		b.slow = b.declared.GetSlowCallDuration().AsDuration()
	}
	c.breakers[key] = b
	c.listed = append(c.listed, b)
	if c.options.Script == nil {
		c.watch.cover()
		if b.declared != nil {
			c.policies.wakeUp()
		}
	}
	return b, nil
}

// all are the client's breakers, in the order of their handles.
func (c *Client) all() []*Breaker {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.listed[:len(c.listed):len(c.listed)]
}

func (c *Client) find(key string) *Breaker {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.breakers[key]
}

// readyPoll is how often Ready looks. It is for starts and tests, where a few milliseconds are nothing.
const readyPoll = 2 * time.Millisecond

// Ready waits until all breakers are covered by the watch, what they declare is declared and the session is usable. An
// error is ctx's, or ErrClosed. Calls need not wait for it.
func (c *Client) Ready(ctx context.Context) error {
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	for !c.isReady() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.closing:
			return ErrClosed
		case <-ticker.C:
		}
	}
	return nil
}

func (c *Client) isReady() bool {
	if c.options.Script != nil {
		return true
	}
	for _, b := range c.all() {
		if !b.covered.Load() || b.declared != nil && !b.isDeclared.Load() {
			return false
		}
	}
	return c.link.usable.Load()
}

// Close tells what waits, for at most CloseTimeout, and ends everything that the client runs. Calls after it are
// decided by WhenUnavailable; permits reported after it are counted as dropped. Closing twice does nothing.
func (c *Client) Close() error {
	c.closeOnce.Do(func() {
		c.closed.Store(true)
		close(c.closing)
		if c.options.Script == nil {
			c.link.drain(c.options.CloseTimeout)
			c.link.stop()
			c.workers.Wait()
			c.link.giveUp()
		}
		c.subscriptions.close()
	})
	return nil
}

// now is the client's time.
func (c *Client) now() time.Duration {
	if c.options.Clock != nil {
		return c.options.Clock()
	}
	return time.Since(c.born)
}

// drop counts outcomes and rejections that cannot be told.
func (c *Client) drop(b *Breaker, dropped lost) {
	if dropped == (lost{}) {
		return
	}
	b.mu.Lock()
	b.counts.lost.add(dropped)
	b.mu.Unlock()
}

func (c *Client) String() string {
	return fmt.Sprintf("fuseboard client %s at %s", c.options.Caller, c.options.Address)
}
