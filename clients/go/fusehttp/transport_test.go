package fusehttp_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fuseboard.dev/fuseboard"
	"fuseboard.dev/fuseboard/fuseboardtest"
	"fuseboard.dev/fuseboard/fusehttp"
)

func guarded(t *testing.T, handler http.HandlerFunc) (*fuseboardtest.Fake, *http.Client, string) {
	t.Helper()
	fake := fuseboardtest.New(t)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	transport := &fusehttp.Transport{Base: server.Client().Transport, Breaker: fusehttp.One(breaker(t, fake))}
	return fake, &http.Client{Transport: transport}, server.URL
}

func breaker(t *testing.T, fake *fuseboardtest.Fake) *fuseboard.Breaker {
	t.Helper()
	made, err := fake.Client().Breaker("api", fuseboard.BreakerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestAStatusOf500AndAboveIsAFailureAndTheResponseIsUntouched(t *testing.T) {
	fake, client, url := guarded(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusBadGateway)
		} else {
			w.WriteHeader(http.StatusNotFound)
		}
	})
	for _, path := range []string{"/bad", "/missing"} {
		response, err := client.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
	if fake.Count("api", fuseboard.Failure) != 1 || fake.Count("api", fuseboard.Success) != 1 {
		t.Error("a 502 is to be a failure, and a 404 a success")
	}
}

func TestARejectedRequestIsNotMade(t *testing.T) {
	fake, client, url := guarded(t, func(http.ResponseWriter, *http.Request) { t.Error("the request was made") })
	fake.Open("api", time.Second)
	_, err := client.Post(url, "text/plain", strings.NewReader("body"))
	if !errors.Is(err, fuseboard.ErrRejected) {
		t.Errorf("got %v, want a rejection", err)
	}
}

func TestATransportErrorIsAFailureAndACancelledRequestIsNot(t *testing.T) {
	fake, client, url := guarded(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	cancelled, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := client.Do(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := client.Get("http://127.0.0.1:1/"); err == nil {
		t.Error("nobody listens there")
	}
	if fake.Count("api", fuseboard.Cancelled) != 1 || fake.Count("api", fuseboard.Failure) != 1 {
		t.Error("one cancelled and one failure were to be reported")
	}
}

func TestRetryAfterIsReadInSecondsAndAsADate(t *testing.T) {
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "soon": 0, "-1": 0, "120": 2 * time.Minute,
		"Mon, 01 Jan 2024 00:00:30 GMT": 30 * time.Second, "Sun, 31 Dec 2023 00:00:00 GMT": 0,
	} {
		if got := fusehttp.RetryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	report := fusehttp.Classify(&http.Response{StatusCode: 503, Header: http.Header{"Retry-After": {"7"}}}, nil)
	if report.Outcome != fuseboard.Failure || report.RetryAfter != 7*time.Second {
		t.Errorf("a 503 is reported as %+v", report)
	}
}

func TestTheMiddlewareAnswers503WithRetryAfter(t *testing.T) {
	fake := fuseboardtest.New(t)
	status := http.StatusOK
	handler := fusehttp.Middleware(breaker(t, fake), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
	}))
	serve := func() *httptest.ResponseRecorder {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
		return recorder
	}
	serve()
	status = http.StatusInternalServerError
	serve()
	if fake.Count("api", fuseboard.Success) != 1 || fake.Count("api", fuseboard.Failure) != 1 {
		t.Error("a 200 is to be a success, and a 500 a failure")
	}
	fake.Open("api", 1500*time.Millisecond)
	if answer := serve(); answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") != "2" {
		t.Errorf("got %d with Retry-After %q", answer.Code, answer.Header().Get("Retry-After"))
	}
}

func TestAHandlersPanicIsAFailure(t *testing.T) {
	fake := fuseboardtest.New(t)
	handler := fusehttp.Middleware(breaker(t, fake), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oh") }))
	func() {
		defer func() { _ = recover() }()
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	}()
	if fake.Count("api", fuseboard.Failure) != 1 {
		t.Error("no failure was reported")
	}
}
