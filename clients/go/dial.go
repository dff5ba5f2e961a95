package fuseboard

import (
	"context"
	"math/rand/v2"
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
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.5, MaxDelay: time.Second},
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

// awaitChannel waits until the channel is connected, or an attempt has failed, or maxAttempt has passed.
func awaitChannel(ctx context.Context, conn *grpc.ClientConn) {
	ctx, cancel := context.WithTimeout(ctx, maxAttempt)
	defer cancel()
	// A channel that is between two attempts stays in TransientFailure until one succeeds: that is worth a wait.
	wasFailing := conn.GetState() == connectivity.TransientFailure
	if wasFailing {
		conn.ResetConnectBackoff()
	}
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
