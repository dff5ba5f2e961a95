package fuseboard_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"fuseboard.dev/fuseboard"
	"fuseboard.dev/fuseboard/fuseboardtest"
	"fuseboard.dev/fuseboard/fusegrpc"
	"fuseboard.dev/fuseboard/fusehttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// These functions hold the README's snippets, word by word. They are run, and compared with it.

func protectACall(ctx context.Context, charge func(context.Context) (string, error)) (string, error) {
	client, err := fuseboard.New(fuseboard.Options{Caller: "web/1"})
	if err != nil {
		return "", err
	}
	defer client.Close()

	payments, err := client.Breaker("payments", fuseboard.BreakerOptions{
		Policy: &fuseboard.Policy{
			FailureThreshold: fuseboard.Set[uint32](5),
			OpenDuration:     fuseboard.Set(30 * time.Second),
		},
		CallTimeout: 2 * time.Second,
	})
	if err != nil {
		return "", err
	}

	receipt, err := fuseboard.Execute(ctx, payments, charge,
		fuseboard.WithFallback(func(ctx context.Context, err error) (string, error) {
			return "queued", nil
		}))
	return receipt, err
}

func twoSteps(ctx context.Context, breaker *fuseboard.Breaker, send func(context.Context) error) (err error) {
	permit, err := breaker.Acquire(ctx)
	if err != nil {
		return err
	}
	defer permit.Done(&err)
	return send(ctx)
}

func rejections(err error) time.Duration {
	var rejection *fuseboard.RejectedError
	if errors.As(err, &rejection) {
		return rejection.RetryAfter
	}
	return 0
}

func events(client *fuseboard.Client, alert func(string)) {
	events := client.Subscribe(0)
	defer events.Close()
	for event := range events.Events() {
		switch event.Kind {
		case fuseboard.EventOpened:
			alert(event.Breaker + " is open")
		case fuseboard.EventLost:
			alert("events were lost: look at the state")
		}
	}
}

func inYourFramework(client *fuseboard.Client, payments *fuseboard.Breaker, mux http.Handler) (*http.Client, http.Handler, []grpc.DialOption) {
	api := &http.Client{Transport: &fusehttp.Transport{
		Breaker: fusehttp.PerHost(client, fuseboard.BreakerOptions{}),
	}}

	handler := fusehttp.Middleware(payments, mux)

	choose := fusegrpc.PerMethod(client, fuseboard.BreakerOptions{})
	dial := []grpc.DialOption{
		grpc.WithUnaryInterceptor(fusegrpc.Unary(choose)),
		grpc.WithStreamInterceptor(fusegrpc.Stream(choose)),
	}
	return api, handler, dial
}

func testingSnippet(t *testing.T, pay func(*fuseboard.Client) string) {
	fake := fuseboardtest.New(t)
	fake.Open("payments", 30*time.Second)
	if got := pay(fake.Client()); got != "queued" {
		t.Errorf("got %q", got)
	}
}

func TestTheReadmesSnippetsAreTheseFunctions(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	plain := withoutIndent(string(code))
	blocks := strings.Split(string(readme), "```go\n")[1:]
	if len(blocks) < 5 {
		t.Fatalf("the README has %d snippets", len(blocks))
	}
	for _, block := range blocks {
		snippet, _, _ := strings.Cut(block, "```")
		if !strings.Contains(plain, withoutIndent(snippet)) {
			t.Errorf("this snippet is none of these functions:\n%s", snippet)
		}
	}
}

func withoutIndent(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimLeft(line, "\t ")
	}
	return strings.Join(lines, "\n")
}

func TestTheReadmesSnippetsRun(t *testing.T) {
	t.Setenv("FUSEBOARD_ADDRESS", startServer(t).Address)
	receipt, err := protectACall(t.Context(), func(context.Context) (string, error) { return "paid", nil })
	if receipt != "paid" || err != nil {
		t.Errorf("got %q, %v", receipt, err)
	}
	testingSnippet(t, func(client *fuseboard.Client) string {
		payments, err := client.Breaker("payments", fuseboard.BreakerOptions{})
		if err != nil {
			return err.Error()
		}
		err = twoSteps(t.Context(), payments, func(context.Context) error { return nil })
		if rejections(err) == 30*time.Second {
			return "queued"
		}
		return "paid"
	})
	client := newClient(t, os.Getenv("FUSEBOARD_ADDRESS"), nil)
	breaker := newBreaker(t, client, "readme", fuseboard.BreakerOptions{Policy: three()})
	heard := make(chan string, 1)
	go events(client, func(text string) { heard <- text })
	// Wait for the subscription: nothing is told of what was before it.
	eventually(t, "the opening is told", func() bool {
		_ = breaker.Reset(t.Context(), "drill")
		for range 3 {
			_, _ = fuseboard.Execute(t.Context(), breaker, fails)
		}
		select {
		case text := <-heard:
			return text == "readme is open"
		case <-time.After(50 * time.Millisecond):
			return false
		}
	})
	api, handler, dial := inYourFramework(client, breaker, http.NotFoundHandler())
	conn, err := grpc.NewClient("127.0.0.1:1", append(dial, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil || api == nil || handler == nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}
