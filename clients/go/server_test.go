package fuseboard_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"fuseboard.dev/fuseboard"
	"fuseboard.dev/fuseboard/fuseboardtest"
)

// generous is a limit for what takes milliseconds on an idle machine.
const generous = 30 * time.Second

var errDown = errors.New("down")

func startServer(t *testing.T) *fuseboardtest.Server {
	t.Helper()
	server, err := fuseboardtest.StartServer("--manual-clock")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

// newClient waits long for answers, so that a busy machine changes no decision.
func newClient(t *testing.T, address string, change func(*fuseboard.Options)) *fuseboard.Client {
	t.Helper()
	options := fuseboard.Options{
		Address: address, Caller: "test/1", AcquireTimeout: 10 * time.Second, ReportTimeout: 10 * time.Second,
		MaxStaleness: time.Minute,
	}
	if change != nil {
		change(&options)
	}
	client, err := fuseboard.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func newBreaker(t *testing.T, client *fuseboard.Client, key string, options fuseboard.BreakerOptions) *fuseboard.Breaker {
	t.Helper()
	breaker, err := client.Breaker(key, options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	if err := client.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return breaker
}

func three() *fuseboard.Policy {
	return &fuseboard.Policy{
		FailureThreshold: fuseboard.Set[uint32](3), OpenDuration: fuseboard.Set(30 * time.Second),
		MinCallers: fuseboard.Set[uint32](1),
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(generous); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", generous, what)
		}
	}
}

func fails(context.Context) (int, error) { return 0, errDown }

func works(context.Context) (int, error) { return 7, nil }

func TestACallersOwnTripIsSeenByTheNextCall(t *testing.T) {
	client := newClient(t, startServer(t).Address, nil)
	payments := newBreaker(t, client, "payments", fuseboard.BreakerOptions{Policy: three()})
	if value, err := fuseboard.Execute(t.Context(), payments, works); value != 7 || err != nil {
		t.Fatalf("got %d, %v", value, err)
	}
	for range 3 {
		if _, err := fuseboard.Execute(t.Context(), payments, fails); err != errDown {
			t.Fatalf("got %v, want the call's own error", err)
		}
	}
	_, err := fuseboard.Execute(t.Context(), payments, works)
	var rejection *fuseboard.RejectedError
	if !errors.As(err, &rejection) || !errors.Is(err, fuseboard.ErrRejected) {
		t.Fatalf("got %v, want a rejection", err)
	}
	if rejection.Reason != fuseboard.ReasonOpen || rejection.Source != fuseboard.SourceCached ||
		rejection.Breaker != "payments" || rejection.RetryAfter <= 0 || rejection.RetryAfter > 30*time.Second {
		t.Errorf("rejection is %+v", rejection)
	}
}

func TestAFallbackAnswersRejectionsAndFailures(t *testing.T) {
	client := newClient(t, startServer(t).Address, nil)
	cache := newBreaker(t, client, "cache", fuseboard.BreakerOptions{Policy: three()})
	var heard []error
	fallback := fuseboard.WithFallback(func(_ context.Context, err error) (int, error) {
		heard = append(heard, err)
		return -1, nil
	})
	for range 4 {
		if value, err := fuseboard.Execute(t.Context(), cache, fails, fallback); value != -1 || err != nil {
			t.Fatalf("got %d, %v", value, err)
		}
	}
	if heard[0] != errDown || !errors.Is(heard[3], fuseboard.ErrRejected) {
		t.Errorf("the fallback heard %v", heard)
	}
}

func TestAClassifierDecidesWhatCountsAndItsPanicDoesNoHarm(t *testing.T) {
	client := newClient(t, startServer(t).Address, nil)
	db := newBreaker(t, client, "db", fuseboard.BreakerOptions{
		Policy: three(),
		Classify: func(_ any, err error) fuseboard.Report {
			if err == nil {
				panic("a mistake")
			}
			return fuseboard.Report{Outcome: fuseboard.Ignored}
		},
	})
	for range 5 {
		_, _ = fuseboard.Execute(t.Context(), db, fails)
	}
	if _, err := fuseboard.Execute(t.Context(), db, works); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one success and no failure is counted", func() bool {
		status, err := db.State(t.Context())
		return err == nil && status.Successes == 1 && status.TotalFailures == 0
	})
}

func TestACallTimeoutIsATimeoutAndTheUsersCancellingIsNot(t *testing.T) {
	client := newClient(t, startServer(t).Address, nil)
	slow := newBreaker(t, client, "slow", fuseboard.BreakerOptions{Policy: three(), CallTimeout: 5 * time.Millisecond})
	hangs := func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	if _, err := fuseboard.Execute(t.Context(), slow, hangs); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := fuseboard.Execute(ctx, slow, func(context.Context) (int, error) {
		cancel()
		return 0, context.Canceled
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	eventually(t, "one timeout is counted and nothing else fails", func() bool {
		status, err := slow.State(t.Context())
		return err == nil && status.Timeouts == 1 && status.TotalFailures == 1 && status.Message.GetTotals().GetIgnored() == 1
	})
}

func TestAPanicOfTheCallIsAFailureAndGoesOn(t *testing.T) {
	client := newClient(t, startServer(t).Address, nil)
	breaker := newBreaker(t, client, "panics", fuseboard.BreakerOptions{Policy: three()})
	func() {
		defer func() {
			if problem := recover(); problem != "oh" {
				t.Errorf("recovered %v", problem)
			}
		}()
		_, _ = fuseboard.Execute(t.Context(), breaker, func(context.Context) (int, error) { panic("oh") })
	}()
	eventually(t, "a failure is counted", func() bool {
		status, err := breaker.State(t.Context())
		return err == nil && status.TotalFailures == 1
	})
}

func TestAPermitIsReportedOnceAndByDeferAtTheLatest(t *testing.T) {
	client := newClient(t, startServer(t).Address, nil)
	breaker := newBreaker(t, client, "steps", fuseboard.BreakerOptions{Policy: three()})
	step := func() (err error) {
		permit, err := breaker.Acquire(t.Context())
		if err != nil {
			return err
		}
		defer permit.Done(&err)
		return errDown
	}
	if err := step(); err != errDown {
		t.Fatal(err)
	}
	permit, err := breaker.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	permit.Success()
	permit.Failure()
	permit.Close()
	forgotten, err := breaker.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	forgotten.Close()
	eventually(t, "each permit is counted once", func() bool {
		status, err := breaker.State(t.Context())
		return err == nil && status.TotalFailures == 1 && status.Successes == 1 && status.Message.GetTotals().GetIgnored() == 1
	})
}

func TestStrictModeAsksForEachCall(t *testing.T) {
	client := newClient(t, startServer(t).Address, func(o *fuseboard.Options) { o.Mode = fuseboard.ModeStrict })
	breaker := newBreaker(t, client, "strict", fuseboard.BreakerOptions{Policy: three()})
	for range 5 {
		if _, err := fuseboard.Execute(t.Context(), breaker, works); err != nil {
			t.Fatal(err)
		}
	}
	if permits := client.Stats().Permits; permits != (fuseboard.Counts{Server: 5}) {
		t.Errorf("permits are %+v", permits)
	}
}

func TestWithoutAServerWhenUnavailableDecidesAndOnlyTheFirstCallWaits(t *testing.T) {
	for name, test := range map[string]struct {
		choice fuseboard.WhenUnavailable
		calls  int
		reason fuseboard.Reason
	}{
		"local":  {fuseboard.UnavailableLocal, 3, fuseboard.ReasonOpen},
		"permit": {fuseboard.UnavailablePermit, 20, 0},
		"reject": {fuseboard.UnavailableReject, 0, fuseboard.ReasonUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			client := newClient(t, "127.0.0.1:1", func(o *fuseboard.Options) {
				o.AcquireTimeout, o.WhenUnavailable = 50*time.Millisecond, test.choice
			})
			breaker, err := client.Breaker("away", fuseboard.BreakerOptions{Policy: three()})
			if err != nil {
				t.Fatal(err)
			}
			called := 0
			start := time.Now()
			for range 20 {
				_, err = fuseboard.Execute(t.Context(), breaker, func(context.Context) (int, error) {
					called++
					return 0, errDown
				})
			}
			if time.Since(start) > 10*time.Second {
				t.Errorf("20 calls took %s", time.Since(start))
			}
			if called != test.calls {
				t.Errorf("%d calls were made, want %d", called, test.calls)
			}
			var rejection *fuseboard.RejectedError
			if errors.As(err, &rejection) && rejection.Reason != test.reason || rejection == nil && test.reason != 0 {
				t.Errorf("the last error is %v", err)
			}
		})
	}
}

func TestEventsAreToldOnceOverAReconnect(t *testing.T) {
	server := startServer(t)
	client := newClient(t, server.Address, nil)
	breaker := newBreaker(t, client, "watched", fuseboard.BreakerOptions{Policy: three()})
	events := breaker.Subscribe(0)
	if err := breaker.Reset(t.Context(), "drill"); err != nil {
		t.Fatal(err)
	}
	if event := next(t, events); event.Kind != fuseboard.EventReset || event.Comment != "drill" || event.Breaker != "watched" {
		t.Fatalf("got %+v", event)
	}
	server.Stop()
	again, err := fuseboardtest.StartServerAt(server.Address, "--manual-clock")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Stop)
	if event := next(t, events); event.Kind != fuseboard.EventLost {
		t.Fatalf("a server that forgot everything: got %+v, want EventLost", event)
	}
	eventually(t, "the client is whole again", func() bool {
		_, err := fuseboard.Execute(t.Context(), breaker, works)
		return err == nil && client.Stats().Usable && breaker.View().State == fuseboard.StateClosed
	})
	for range 3 {
		_, _ = fuseboard.Execute(t.Context(), breaker, fails)
	}
	if event := next(t, events); event.Kind != fuseboard.EventOpened || event.To != fuseboard.StateOpen {
		t.Fatalf("got %+v", event)
	}
	if stats := client.Stats(); stats.Reconnects == 0 || stats.Resyncs != 1 {
		t.Errorf("stats are %+v", stats)
	}
}

func next(t *testing.T, events *fuseboard.Subscription) fuseboard.Event {
	t.Helper()
	select {
	case event := <-events.Events():
		return event
	case <-time.After(generous):
		t.Fatal("no event")
		return fuseboard.Event{}
	}
}

func TestStateTellsAllAndAnUnknownBreakerIsNotFound(t *testing.T) {
	client := newClient(t, startServer(t).Address, nil)
	declared := newBreaker(t, client, "declared", fuseboard.BreakerOptions{Policy: three()})
	status, err := declared.State(t.Context())
	if err != nil || status.State != fuseboard.StateClosed || status.Message.GetPolicy().GetPolicy().GetFailureThreshold() != 3 {
		t.Fatalf("got %+v, %v", status, err)
	}
	unknown := newBreaker(t, client, "unknown", fuseboard.BreakerOptions{Mode: fuseboard.ModeStrict})
	if err := unknown.Reset(t.Context(), "drill"); !errors.Is(err, fuseboard.ErrNotFound) && err != nil {
		t.Errorf("reset: %v", err)
	}
}

func TestCloseTellsWhatWaitsAndLeavesNoGoroutine(t *testing.T) {
	server := startServer(t)
	before := runtime.NumGoroutine()
	client := newClient(t, server.Address, func(o *fuseboard.Options) { o.ReportInterval = time.Minute })
	breaker := newBreaker(t, client, "closing", fuseboard.BreakerOptions{Policy: three()})
	for range 25 {
		if _, err := fuseboard.Execute(t.Context(), breaker, works); err != nil {
			t.Fatal(err)
		}
	}
	late, err := breaker.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	late.Success()
	if stats := client.Stats(); stats.Reported != 25 || stats.DroppedReports != 1 {
		t.Errorf("stats are %+v", stats)
	}
	if _, err := fuseboard.Execute(t.Context(), breaker, works); err != nil {
		t.Errorf("after Close: %v", err)
	}
	if _, err := breaker.State(t.Context()); !errors.Is(err, fuseboard.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	eventually(t, "every goroutine has ended", func() bool { return runtime.NumGoroutine() <= before })
}

func TestManyCallersAndACloseInBetweenDoNoHarm(t *testing.T) {
	client := newClient(t, startServer(t).Address, nil)
	cached := newBreaker(t, client, "many", fuseboard.BreakerOptions{})
	strict := newBreaker(t, client, "many/strict", fuseboard.BreakerOptions{Mode: fuseboard.ModeStrict})
	done := make(chan struct{})
	for worker := range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range 200 {
				breaker := cached
				if i%4 == 0 {
					breaker = strict
				}
				_, _ = fuseboard.Execute(context.Background(), breaker, works)
				if worker == 0 && i == 150 {
					_ = client.Close()
				}
			}
		}()
	}
	for range 8 {
		select {
		case <-done:
		case <-time.After(generous):
			t.Fatal("a call hangs")
		}
	}
	stats := client.Stats()
	permits := stats.Permits
	if told := stats.Reported + stats.DroppedReports + stats.Unreported; told != permits.Cached+permits.Server+permits.Local {
		t.Errorf("%d outcomes are accounted for: %+v", told, stats)
	}
}

func TestAMistakeInTheOptionsIsNamed(t *testing.T) {
	for field, options := range map[string]fuseboard.Options{
		"ProgressInterval": {ProgressInterval: time.Millisecond},
		"AcquireTimeout":   {AcquireTimeout: -1},
		"Address":          {Address: "ftp://there:1"},
	} {
		if _, err := fuseboard.New(options); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v", field, err)
		}
	}
	client := newClient(t, "127.0.0.1:1", nil)
	if _, err := client.Breaker("no spaces", fuseboard.BreakerOptions{}); err == nil {
		t.Error("a key with a space was taken")
	}
}

// noisy is an observer that panics, and calls the client again.
type noisy struct {
	fuseboard.NopObserver
	client *fuseboard.Client
	heard  chan fuseboard.Report
}

func (n *noisy) Finished(_ string, report fuseboard.Report) {
	_ = n.client.Stats()
	n.heard <- report
	panic("a mistake")
}

func TestAnObserverThatPanicsDoesNoHarm(t *testing.T) {
	observer := &noisy{heard: make(chan fuseboard.Report, 1)}
	client := newClient(t, startServer(t).Address, func(o *fuseboard.Options) { o.Observer = observer })
	observer.client = client
	breaker := newBreaker(t, client, "noisy", fuseboard.BreakerOptions{})
	if _, err := fuseboard.Execute(t.Context(), breaker, works); err != nil {
		t.Fatal(err)
	}
	if report := <-observer.heard; report.Outcome != fuseboard.Success {
		t.Errorf("heard %+v", report)
	}
}

func TestTheServersClockMovesABreaker(t *testing.T) {
	server := startServer(t)
	clock, err := fuseboardtest.NewClock(server.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer clock.Close()
	client := newClient(t, server.Address, nil)
	breaker := newBreaker(t, client, "clock", fuseboard.BreakerOptions{Policy: three()})
	for range 3 {
		_, _ = fuseboard.Execute(t.Context(), breaker, fails)
	}
	if _, err := clock.Advance(t.Context(), 30*time.Second); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the view is half-open", func() bool { return breaker.View().State == fuseboard.StateHalfOpen })
	if _, err := fuseboard.Execute(t.Context(), breaker, works); err != nil {
		t.Fatal(err)
	}
	if state := breaker.View().State; state != fuseboard.StateClosed {
		t.Errorf("after the probe the view is %s, want closed", state)
	}
}

// acquired is a permit, or the reason why there is none.
func acquired(t *testing.T, breaker *fuseboard.Breaker) *fuseboard.Permit {
	t.Helper()
	permit, err := breaker.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return permit
}

func TestTheTwoStepsStopAtTheThresholdWithoutWaitingForAReport(t *testing.T) {
	server := startServer(t)
	for name, mode := range map[string]fuseboard.Mode{"cached": fuseboard.ModeCached, "strict": fuseboard.ModeStrict} {
		t.Run(name, func(t *testing.T) {
			client := newClient(t, server.Address, func(o *fuseboard.Options) { o.Mode = mode })
			for round := range 20 {
				breaker := newBreaker(t, client, fmt.Sprintf("two/%s/%d", name, round), fuseboard.BreakerOptions{Policy: three()})
				acquired(t, breaker).Success()
				calls := 0
				for range 200 {
					permit, err := breaker.Acquire(t.Context())
					if err != nil {
						continue
					}
					calls++
					permit.Failure()
				}
				if calls != 3 {
					t.Errorf("%d calls were permitted, want 3", calls)
				}
			}
		})
	}
}

func TestOutcomesOfTwoGenerationsThatAlternateAreAllTold(t *testing.T) {
	client := newClient(t, startServer(t).Address, nil)
	breaker := newBreaker(t, client, "alternate", fuseboard.BreakerOptions{Policy: three()})
	acquired(t, breaker).Success()
	eventually(t, "it is told", func() bool { return client.Stats().Reported == 1 })
	var permits []*fuseboard.Permit
	for range 30 {
		permits = append(permits, acquired(t, breaker))
	}
	if err := breaker.Reset(t.Context(), "drill"); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		permits = append(permits, acquired(t, breaker))
	}
	for i := range 30 {
		permits[i].Success()
		permits[30+i].Success()
	}
	eventually(t, "all 60 are told", func() bool { return client.Stats().Reported == 61 })
	status, err := breaker.State(t.Context())
	if err != nil || status.Successes != 31 {
		t.Errorf("%d successes are counted, want 31: %v", status.Successes, err)
	}
	if stats := client.Stats(); stats.DroppedReports != 0 || stats.StaleReports != 30 {
		t.Errorf("stats are %+v", stats)
	}
}

func TestTheLocalBreakerKnowsTheFailuresFromBeforeTheServerWasLost(t *testing.T) {
	server := startServer(t)
	client := newClient(t, server.Address, nil)
	breaker := newBreaker(t, client, "lost", fuseboard.BreakerOptions{Policy: three()})
	for range 2 {
		_, _ = fuseboard.Execute(t.Context(), breaker, fails)
	}
	server.Stop()
	eventually(t, "the server is away", func() bool { return !client.Stats().Usable })
	if _, err := fuseboard.Execute(t.Context(), breaker, fails); err != errDown {
		t.Fatalf("got %v, want the call's own error", err)
	}
	if _, err := fuseboard.Execute(t.Context(), breaker, fails); !errors.Is(err, fuseboard.ErrRejected) {
		t.Errorf("after the third failure in a row: got %v, want a rejection", err)
	}
}
func TestFailuresAtOnceAndASuccessBeforeTheyAreSentOpenToo(t *testing.T) {
	client := newClient(t, startServer(t).Address, nil)
	for _, failures := range []int{3, 5, 10, 50} {
		breaker := newBreaker(t, client, fmt.Sprintf("at-once/%d", failures), fuseboard.BreakerOptions{Policy: three()})
		acquired(t, breaker).Success()
		var permits []*fuseboard.Permit
		for range failures + 1 {
			permits = append(permits, acquired(t, breaker))
		}
		for _, permit := range permits[:failures] {
			permit.Failure()
		}
		permits[failures].Success()
		if _, err := breaker.Acquire(t.Context()); !errors.Is(err, fuseboard.ErrRejected) {
			t.Errorf("after %d failures and a success: got %v, want a rejection", failures, err)
		}
	}
}
