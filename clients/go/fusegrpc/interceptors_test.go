package fusegrpc_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"fuseboard.dev/fuseboard"
	"fuseboard.dev/fuseboard/fuseboardtest"
	"fuseboard.dev/fuseboard/fusegrpc"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

const checkKey, watchKey = "grpc/grpc.health.v1.Health/Check", "grpc/grpc.health.v1.Health/Watch"

// dependency fails as its service name says.
type dependency struct {
	grpc_health_v1.UnimplementedHealthServer
}

var named = map[string]codes.Code{"down": codes.Unavailable, "missing": codes.NotFound, "slow": codes.DeadlineExceeded}

func (dependency) Check(_ context.Context, request *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	return &grpc_health_v1.HealthCheckResponse{}, status.Error(named[request.GetService()], request.GetService())
}

func (dependency) Watch(request *grpc_health_v1.HealthCheckRequest, stream grpc.ServerStreamingServer[grpc_health_v1.HealthCheckResponse]) error {
	if err := stream.Send(&grpc_health_v1.HealthCheckResponse{}); err != nil {
		return err
	}
	if request.GetService() == "endless" {
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	return status.Error(named[request.GetService()], request.GetService())
}

func dial(t *testing.T) (*fuseboardtest.Fake, grpc_health_v1.HealthClient) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, dependency{})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	fake := fuseboardtest.New(t)
	choose := fusegrpc.PerMethod(fake.Client(), fuseboard.BreakerOptions{})
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(fusegrpc.Unary(choose)), grpc.WithStreamInterceptor(fusegrpc.Stream(choose)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return fake, grpc_health_v1.NewHealthClient(conn)
}

func TestAUnaryCallIsReportedByItsCode(t *testing.T) {
	fake, health := dial(t)
	for _, service := range []string{"", "missing", "down", "slow"} {
		_, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
		if status.Code(err) != named[service] {
			t.Errorf("%q: got %v", service, err)
		}
	}
	for outcome, want := range map[fuseboard.Outcome]int{fuseboard.Success: 2, fuseboard.Failure: 1, fuseboard.Timeout: 1} {
		if got := fake.Count(checkKey, outcome); got != want {
			t.Errorf("%s: %d, want %d", outcome, got, want)
		}
	}
}

func TestARejectedCallIsNotMade(t *testing.T) {
	fake, health := dial(t)
	fake.Open(checkKey, time.Second)
	fake.Open(watchKey, time.Second)
	if _, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); !errors.Is(err, fuseboard.ErrRejected) {
		t.Errorf("unary: got %v", err)
	}
	if _, err := health.Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{}); !errors.Is(err, fuseboard.ErrRejected) {
		t.Errorf("stream: got %v", err)
	}
}

func TestAStreamIsReportedByItsEnd(t *testing.T) {
	fake, health := dial(t)
	for _, service := range []string{"", "down"} {
		stream, err := health.Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = stream.Recv()
		}
	}
	if fake.Count(watchKey, fuseboard.Success) != 1 || fake.Count(watchKey, fuseboard.Failure) != 1 {
		t.Error("one success and one failure were to be reported")
	}
}

func TestAStreamThatItsUserLeavesIsCancelled(t *testing.T) {
	fake, health := dial(t)
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := health.Watch(ctx, &grpc_health_v1.HealthCheckRequest{Service: "endless"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	for deadline := time.Now().Add(30 * time.Second); fake.Count(watchKey, fuseboard.Cancelled) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was reported")
		}
	}
}

func TestRetryInfoIsRead(t *testing.T) {
	told, err := status.New(codes.ResourceExhausted, "full").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(3 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	if report := fusegrpc.Classify(told.Err()); report.Outcome != fuseboard.Failure || report.RetryAfter != 3*time.Second {
		t.Errorf("got %+v", report)
	}
}
