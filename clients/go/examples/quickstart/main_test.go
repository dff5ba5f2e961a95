package main

import (
	"strings"
	"testing"
	"time"

	"fuseboard.dev/fuseboard"
	"fuseboard.dev/fuseboard/fuseboardtest"
)

func TestItCallsThreeTimesAndThenNoMore(t *testing.T) {
	server, err := fuseboardtest.StartServer()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	var out strings.Builder
	options := fuseboard.Options{
		Address: server.Address, AcquireTimeout: 10 * time.Second, ReportTimeout: 10 * time.Second, MaxStaleness: time.Minute,
	}
	if err := run(t.Context(), options, &out); err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("called: connection refused\n", 3) + strings.Repeat("not called: open\n", 2)
	if out.String() != want {
		t.Errorf("got:\n%s", out.String())
	}
}
