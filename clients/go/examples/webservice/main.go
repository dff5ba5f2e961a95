// Command webservice is a web server whose requests to another service are under a breaker, with what it last heard as
// the fallback. It listens on 127.0.0.1:8080, and asks the service that UPSTREAM names.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"fuseboard.dev/fuseboard"
	"fuseboard.dev/fuseboard/fusehttp"
)

// maxBody is how much of an answer is read.
const maxBody = 1 << 20

func main() {
	client, err := fuseboard.New(fuseboard.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer client.Close()
	server := &http.Server{
		Addr: "127.0.0.1:8080", Handler: newApp(client, os.Getenv("UPSTREAM")), ReadHeaderTimeout: 5 * time.Second,
	}
	if err := server.ListenAndServe(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// app answers /rates from the upstream service, or from memory while that is down.
type app struct {
	upstream string
	http     *http.Client
	last     atomic.Pointer[[]byte]
}

func newApp(client *fuseboard.Client, upstream string) http.Handler {
	a := &app{
		upstream: upstream,
		http: &http.Client{Transport: &fusehttp.Transport{
			Breaker: fusehttp.PerHost(client, fuseboard.BreakerOptions{CallTimeout: 2 * time.Second}),
		}},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /rates", a.rates)
	return mux
}

func (a *app) rates(writer http.ResponseWriter, request *http.Request) {
	body, err := a.fetch(request.Context())
	if err == nil {
		a.last.Store(&body)
	} else if last := a.last.Load(); last != nil {
		writer.Header().Set("Warning", `110 - "response is stale"`)
		body = *last
	} else {
		if !fusehttp.WriteRejection(writer, err) {
			http.Error(writer, "the upstream service failed", http.StatusBadGateway)
		}
		return
	}
	// A reader that went away is no mistake of ours.
	_, _ = writer.Write(body)
}

func (a *app) fetch(ctx context.Context) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.upstream, nil)
	if err != nil {
		return nil, err
	}
	response, err := a.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("upstream: %s", response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, maxBody))
}
