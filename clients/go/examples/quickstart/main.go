// Command quickstart protects one call, and shows what its caller sees while the dependency is down.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"fuseboard.dev/fuseboard"
)

func main() {
	if err := run(context.Background(), fuseboard.Options{Caller: "quickstart/1"}, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, options fuseboard.Options, out io.Writer) error {
	client, err := fuseboard.New(options)
	if err != nil {
		return err
	}
	defer client.Close()

	payments, err := client.Breaker("payments", fuseboard.BreakerOptions{
		Policy: &fuseboard.Policy{
			FailureThreshold: fuseboard.Set[uint32](3),
			OpenDuration:     fuseboard.Set(30 * time.Second),
		},
	})
	if err != nil {
		return err
	}

	for range 5 {
		_, err := fuseboard.Execute(ctx, payments, charge)
		var rejection *fuseboard.RejectedError
		switch {
		case errors.As(err, &rejection):
			fmt.Fprintf(out, "not called: %s\n", rejection.Reason)
		case err != nil:
			fmt.Fprintf(out, "called: %v\n", err)
		}
	}
	return nil
}

// charge stands for a call to a payment provider that is down.
func charge(context.Context) (string, error) { return "", errors.New("connection refused") }
