package fuseboardtest

import (
	"context"
	"time"

	testingv1 "fuseboard.dev/fuseboard/gen/fuseboard/testing/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Clock moves the time of a server that runs with --manual-clock.
type Clock struct{ conn *grpc.ClientConn }

// NewClock is the clock of the server at "host:port". Close it.
func NewClock(address string) (*Clock, error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	return &Clock{conn}, err
}

// Advance moves the server's time forward and tells the new time. Timers that fall due fire in order before it returns.
func (c *Clock) Advance(ctx context.Context, by time.Duration) (time.Time, error) {
	response, err := testingv1.NewClockServiceClient(c.conn).Advance(ctx, &testingv1.AdvanceRequest{Duration: durationpb.New(by)})
	return response.GetNow().AsTime(), err
}

// Close ends the connection.
func (c *Clock) Close() error { return c.conn.Close() }
