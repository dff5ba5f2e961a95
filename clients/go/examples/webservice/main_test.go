package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fuseboard.dev/fuseboard/fuseboardtest"
)

func TestItAnswersFromMemoryWhileTheBreakerIsOpen(t *testing.T) {
	var asked atomic.Int32
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, "1.25")
	}))
	defer upstream.Close()
	fake := fuseboardtest.New(t)
	app := newApp(fake.Client(), upstream.URL)
	get := func() *httptest.ResponseRecorder {
		answer := httptest.NewRecorder()
		app.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/rates", nil))
		return answer
	}
	key := "http/" + strings.TrimPrefix(upstream.URL, "http://")

	fake.Open(key, time.Second)
	if answer := get(); answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") != "1" {
		t.Errorf("with nothing in memory: got %d", answer.Code)
	}
	fake.Close(key)
	if answer := get(); answer.Body.String() != "1.25" {
		t.Errorf("got %q", answer.Body)
	}
	fake.Open(key, time.Second)
	if answer := get(); answer.Body.String() != "1.25" || answer.Header().Get("Warning") == "" || asked.Load() != 1 {
		t.Errorf("got %q, asked %d times", answer.Body, asked.Load())
	}
}
