package fuseboard

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

const (
	keepaliveAfter   = 10 * time.Second
	keepaliveTimeout = 5 * time.Second
	// connectTimeout bounds one attempt to connect, so that a server behind a wire that swallows everything is found
	// soon after the wire is mended.
	connectTimeout = 3 * time.Second
	// redialAfter is the middle of the delays between attempts to connect, 0.4 to 1 s.
	redialAfter = 700 * time.Millisecond
	// maxAttempt is how long opening a stream waits for the channel.
	maxAttempt = time.Second
)

// dial is the one channel of a client. It connects when it is first used.
func dial(options Options) (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if options.TLS != nil {
		transport = credentials.NewTLS(options.TLS)
	}
	settings := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveAfter, Timeout: keepaliveTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{
			// No growth: a fleet that lost its server together comes back spread over most of a second.
			Backoff:           backoff.Config{BaseDelay: redialAfter, Multiplier: 1, Jitter: 0.4, MaxDelay: redialAfter},
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithIdleTimeout(0),
		grpc.WithDisableServiceConfig(),
		// The control plane is reached directly: a proxy for the web in the environment is not meant for it.
		grpc.WithNoProxy(),
	}
	if options.Token != "" {
		settings = append(settings, grpc.WithPerRPCCredentials(token(options.Token)))
	}
	return grpc.NewClient(options.Address, settings...)
}

// token is sent with each request.
type token string

// GetRequestMetadata is what is sent.
func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(t)}, nil
}

// RequireTransportSecurity is false: a token may be sent in the clear, on loopback or behind a proxy that adds TLS.
func (token) RequireTransportSecurity() bool { return false }

// channel is the client's one connection. It can be replaced: a wire that swallows everything, but is acknowledged by a
// kernel somewhere, is noticed by no keepalive of a connection that is written to.
type channel struct {
	options Options
	mu      sync.Mutex
	conn    *grpc.ClientConn
	closed  bool
}

func newChannel(options Options) (*channel, error) {
	conn, err := dial(options)
	return &channel{options: options, conn: conn}, err
}

func (c *channel) current() *grpc.ClientConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// Invoke makes a unary call on the current connection.
func (c *channel) Invoke(ctx context.Context, method string, args, reply any, options ...grpc.CallOption) error {
	return c.current().Invoke(ctx, method, args, reply, options...)
}

// NewStream opens a stream on the current connection.
func (c *channel) NewStream(
	ctx context.Context, description *grpc.StreamDesc, method string, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return c.current().NewStream(ctx, description, method, options...)
}

// replace dials anew. The streams of the old connection end.
func (c *channel) replace() {
	conn, err := dial(c.options)
	if err != nil {
		// The same options were good before; the old connection stays.
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		conn, c.conn = c.conn, conn
	}
	// It can only say that it was closed before.
	_ = conn.Close()
}

func (c *channel) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	_ = c.conn.Close()
}

// await waits until the connection is there, or an attempt has failed, or maxAttempt has passed.
func (c *channel) await(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, maxAttempt)
	defer cancel()
	conn := c.current()
	// A channel that is between two attempts stays in TransientFailure until one succeeds: that is worth a wait.
	wasFailing := conn.GetState() == connectivity.TransientFailure
	for {
		state := conn.GetState()
		switch {
		case state == connectivity.Ready, state == connectivity.Shutdown:
			return
		case state == connectivity.TransientFailure && !wasFailing:
			return
		case state == connectivity.Idle:
			conn.Connect()
		}
		if !conn.WaitForStateChange(ctx, state) {
			return
		}
	}
}

// retrying is when a stream that has ended is opened again.
type retrying struct {
	// failures in a row since the stream last worked.
	failures int
}

const (
	firstDelay = time.Second
	baseDelay  = 200 * time.Millisecond
	maxDelay   = 5 * time.Second
)

// worked says that the stream has answered.
func (r *retrying) worked() { r.failures = 0 }

// next is the longest delay before the next attempt; the delay is to be drawn evenly below it.
func (r *retrying) next() time.Duration {
	longest := firstDelay
	if r.failures > 0 {
		longest = min(baseDelay<<min(r.failures, 10), maxDelay)
	}
	r.failures++
	return longest
}

// evenly draws a duration from 0 to longest.
func evenly(longest time.Duration) time.Duration { return rand.N(longest + 1) }

// pause waits, and is false where ctx ended meanwhile.
func pause(ctx context.Context, delay time.Duration) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
