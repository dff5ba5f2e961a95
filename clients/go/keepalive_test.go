package fuseboard

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	fuseboardv1 "fuseboard.dev/fuseboard/gen/fuseboard/v1"
	"google.golang.org/grpc"
)

// quiet is a server that sends frames without answers, and answers batches only once it is told to.
type quiet struct {
	fuseboardv1.UnimplementedBreakerServiceServer
	answers          atomic.Bool
	sessions, frames atomic.Int64
}

func (q *quiet) Session(stream grpc.BidiStreamingServer[fuseboardv1.SessionRequest, fuseboardv1.SessionResponse]) error {
	q.sessions.Add(1)
	for {
		if err := stream.Send(&fuseboardv1.SessionResponse{}); err != nil {
			return err
		}
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		q.frames.Add(1)
		response := &fuseboardv1.SessionResponse{}
		for _, batch := range request.GetBatches() {
			if q.answers.Load() {
				response.Batches = append(response.Batches, &fuseboardv1.SessionBatchReported{
					Number: batch.GetNumber(), Response: &fuseboardv1.ReportBatchResponse{},
				})
			}
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
}

func TestAFrameWithoutAnswersMeansNothing(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fake, server := new(quiet), grpc.NewServer()
	fuseboardv1.RegisterBreakerServiceServer(server, fake)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	client, err := New(Options{Address: listener.Addr().String(), Caller: "test/1", AcquireTimeout: 20 * time.Millisecond, MaxStaleness: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	until := func(what string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("not within 30 s: " + what)
			}
		}
	}
	until("hellos are sent again", func() bool { return fake.frames.Load() >= 3 })
	if client.Stats().Usable {
		t.Error("frames without answers made the session usable")
	}
	fake.answers.Store(true)
	until("an answer makes it usable", func() bool { return client.Stats().Usable })
	breaker, err := client.Breaker("db", BreakerOptions{WhenUnavailable: UnavailablePermit})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := breaker.Acquire(context.Background()); err != nil {
		t.Error(err)
	}
	if sessions := fake.sessions.Load(); sessions != 1 {
		t.Errorf("%d sessions were opened, want 1", sessions)
	}
}
