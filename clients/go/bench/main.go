// Command bench prints what a decision costs, as JSON lines: an empty call through the same kind of function, this
// client's cached and strict decisions against a server of its own, and two in-process libraries, side by side.
// FUSEBOARD_BIN names the server's binary.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"fuseboard.dev/fuseboard"
	"fuseboard.dev/fuseboard/fuseboardtest"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/sony/gobreaker/v2"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	server, err := fuseboardtest.StartServer()
	if err != nil {
		return err
	}
	defer server.Stop()
	client, err := fuseboard.New(fuseboard.Options{Address: server.Address, Caller: "bench/1", AcquireTimeout: time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	cached, err := client.Breaker("cached", fuseboard.BreakerOptions{})
	if err != nil {
		return err
	}
	strict, err := client.Breaker("strict", fuseboard.BreakerOptions{Mode: fuseboard.ModeStrict})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := client.Ready(ctx); err != nil {
		return err
	}
	ctx = context.Background()
	call := func(context.Context) (int, error) { return 1, nil }
	if _, err := fuseboard.Execute(ctx, cached, call); err != nil {
		return err
	}
	peer := gobreaker.NewCircuitBreaker[int](gobreaker.Settings{Name: "bench"})
	policy := failsafe.With(circuitbreaker.NewBuilder[int]().WithFailureThreshold(5).Build())
	for _, one := range []struct {
		what string
		once func() (int, error)
	}{
		{"empty", func() (int, error) { return empty(ctx, call) }},
		{"cached", func() (int, error) { return fuseboard.Execute(ctx, cached, call) }},
		{"strict", func() (int, error) { return fuseboard.Execute(ctx, strict, call) }},
		{"gobreaker", func() (int, error) { return peer.Execute(func() (int, error) { return call(ctx) }) }},
		{"failsafe-go", func() (int, error) { return policy.Get(func() (int, error) { return call(ctx) }) }},
	} {
		if err := measure(one.what, one.once); err != nil {
			return err
		}
	}
	stats := client.Stats()
	if stats.Permits.Local > 0 || stats.Rejections != (fuseboard.Counts{}) {
		return fmt.Errorf("not all calls were decided as they should: %+v", stats)
	}
	return nil
}

//go:noinline
func empty(ctx context.Context, call func(context.Context) (int, error)) (int, error) {
	return call(ctx)
}

func measure(what string, once func() (int, error)) error {
	var failed error
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if _, err := once(); err != nil {
				failed = err
			}
		}
	})
	if failed != nil {
		return fmt.Errorf("%s: %w", what, failed)
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"language":        "go",
		"what":            what,
		"ns_per_call":     float64(result.T.Nanoseconds()) / float64(result.N),
		"allocs_per_call": result.AllocsPerOp(),
	})
}
