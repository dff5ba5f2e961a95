// Package fusegrpc puts breakers into gRPC clients, as interceptors.
package fusegrpc

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"time"

	"fuseboard.dev/fuseboard"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Choose is the breaker of a method ("/package.Service/Method"), nil for one that goes through unguarded.
type Choose func(method string) *fuseboard.Breaker

// One is the same breaker for each method.
func One(breaker *fuseboard.Breaker) Choose {
	return func(string) *fuseboard.Breaker { return breaker }
}

// PerMethod is a breaker for each method, "grpc/package.Service/Method", with these options. A method that cannot have
// one (the client has its 1,000) goes through unguarded.
func PerMethod(client *fuseboard.Client, options fuseboard.BreakerOptions) Choose {
	return func(method string) *fuseboard.Breaker {
		breaker, err := client.Breaker("grpc/"+strings.TrimPrefix(method, "/"), options)
		if err != nil {
			return nil
		}
		return breaker
	}
}

// Unary guards unary calls. A rejection is a *fuseboard.RejectedError.
func Unary(choose Choose) grpc.UnaryClientInterceptor {
	return func(
		ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
	) error {
		breaker := choose(method)
		if breaker == nil {
			return invoke(ctx, method, request, reply, conn, options...)
		}
		_, err := fuseboard.Execute(ctx, breaker, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, invoke(ctx, method, request, reply, conn, options...)
		}, fuseboard.WithClassifier(func(_ struct{}, err error) fuseboard.Report { return Classify(err) }))
		return err
	}
}

// Stream guards streams: the outcome is that of the stream's end. One whose context ends first is cancelled, or timed
// out. A stream that is given up without an end and without ending its context, as gRPC forbids, is cancelled when it is
// collected.
func Stream(choose Choose) grpc.StreamClientInterceptor {
	return func(
		ctx context.Context, description *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer,
		options ...grpc.CallOption,
	) (grpc.ClientStream, error) {
		breaker := choose(method)
		if breaker == nil {
			return open(ctx, description, conn, method, options...)
		}
		permit, err := breaker.Acquire(ctx)
		if err != nil {
			return nil, err
		}
		stream, err := open(ctx, description, conn, method, options...)
		if err != nil {
			permit.ReportAndWait(ctx, ended(ctx, err))
			return nil, err
		}
		guarded := &guardedStream{ClientStream: stream, permit: permit, ctx: ctx, single: !description.ServerStreams}
		// What waits for the context holds the permit, and not the stream, so that the stream can be collected.
		guarded.stop = context.AfterFunc(ctx, func() { permit.Report(ended(ctx, ctx.Err())) })
		runtime.AddCleanup(guarded, func(permit *fuseboard.Permit) { permit.Close() }, permit)
		return guarded, nil
	}
}

type guardedStream struct {
	grpc.ClientStream
	permit *fuseboard.Permit
	// ctx is the user's; the stream's own is cancelled by gRPC at each end.
	ctx context.Context
	// single: the server sends one message, and the stream is over with it.
	single bool
	stop   func() bool
}

// RecvMsg reports the outcome when the stream has ended.
func (s *guardedStream) RecvMsg(message any) error {
	err := s.ClientStream.RecvMsg(message)
	if err == nil && !s.single {
		return nil
	}
	s.stop()
	s.permit.ReportAndWait(s.ctx, ended(s.ctx, err))
	return err
}

// ended is the report of a call that has ended with err. A context of the user's that has ended says why, where there is
// an error.
func ended(ctx context.Context, err error) fuseboard.Report {
	if err != nil && !errors.Is(err, io.EOF) {
		switch {
		case errors.Is(ctx.Err(), context.Canceled):
			return fuseboard.Report{Outcome: fuseboard.Cancelled}
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			return fuseboard.Report{Outcome: fuseboard.Timeout, ErrorClass: "deadline_exceeded"}
		}
	}
	return Classify(err)
}

// Classify is what a gRPC error says about the dependency. Unavailable, Internal, Unknown, ResourceExhausted and DataLoss
// are failures and DeadlineExceeded is a timeout; Canceled is cancelled; none, io.EOF and any other code mean that the
// dependency answered. A RetryInfo goes into the report.
func Classify(err error) fuseboard.Report {
	if err == nil || errors.Is(err, io.EOF) {
		return fuseboard.Report{Outcome: fuseboard.Success}
	}
	told := status.Convert(err)
	report := fuseboard.Report{Outcome: fuseboard.Success}
	switch told.Code() {
	case codes.Unavailable, codes.Internal, codes.Unknown, codes.ResourceExhausted, codes.DataLoss:
		report = fuseboard.Report{Outcome: fuseboard.Failure, ErrorClass: told.Code().String(), RetryAfter: retryAfter(told)}
	case codes.DeadlineExceeded:
		report = fuseboard.Report{Outcome: fuseboard.Timeout, ErrorClass: told.Code().String(), RetryAfter: retryAfter(told)}
	case codes.Canceled:
		report.Outcome = fuseboard.Cancelled
	}
	return report
}

func retryAfter(told *status.Status) time.Duration {
	for _, detail := range told.Details() {
		if info, found := detail.(*errdetails.RetryInfo); found {
			return max(info.GetRetryDelay().AsDuration(), 0)
		}
	}
	return 0
}
