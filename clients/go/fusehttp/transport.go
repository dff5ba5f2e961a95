// Package fusehttp puts breakers into net/http: a RoundTripper for clients, and a middleware that answers rejections.
package fusehttp

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"

	"fuseboard.dev/fuseboard"
)

// Transport is an http.RoundTripper under a breaker. A transport error and a status of 500 and above are failures, a
// timeout is a timeout, a request that its own context cancelled is cancelled, and anything else a success. A Retry-After
// of a 429 or 5xx goes into the report. The response comes back untouched.
//
// The call is over when the response's headers are there; how its body is read is not the breaker's.
type Transport struct {
	// Base makes the requests. nil: http.DefaultTransport.
	Base http.RoundTripper
	// Breaker of a request. Required. nil for one: it goes through unguarded.
	Breaker func(*http.Request) *fuseboard.Breaker
	// Classify, where it is set, says what a response or an error means, in the place of Classify of this package.
	Classify func(*http.Response, error) fuseboard.Report
}

// One is the same breaker for each request.
func One(breaker *fuseboard.Breaker) func(*http.Request) *fuseboard.Breaker {
	return func(*http.Request) *fuseboard.Breaker { return breaker }
}

// PerHost is a breaker for each host, "http/" and its name and port, with these options. A host that cannot have one
// (the client has its 1,000) goes through unguarded.
func PerHost(client *fuseboard.Client, options fuseboard.BreakerOptions) func(*http.Request) *fuseboard.Breaker {
	return func(request *http.Request) *fuseboard.Breaker {
		breaker, err := client.Breaker("http/"+request.URL.Host, options)
		if err != nil {
			return nil
		}
		return breaker
	}
}

// RoundTrip makes the request if its breaker permits it; otherwise the error is a *fuseboard.RejectedError.
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	breaker := t.Breaker(request)
	if breaker == nil {
		return base.RoundTrip(request)
	}
	classify := t.Classify
	if classify == nil {
		classify = Classify
	}
	response, err := fuseboard.Execute(request.Context(), breaker, func(ctx context.Context) (*http.Response, error) {
		return base.RoundTrip(request.WithContext(ctx))
	}, fuseboard.WithClassifier(classify))
	if err != nil && request.Body != nil && errors.Is(err, fuseboard.ErrRejected) {
		// A RoundTripper closes the body, also on errors.
		_ = request.Body.Close()
	}
	return response, err
}

// Classify is what a response or an error says about the dependency.
func Classify(response *http.Response, err error) fuseboard.Report {
	if err != nil {
		report := fuseboard.DefaultClassify(nil, err)
		var lookup *net.DNSError
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.As(err, &lookup) && !lookup.IsNotFound {
			report.Origin = fuseboard.OriginLocal
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			report.ErrorClass = "connection_refused"
		}
		return report
	}
	report := fuseboard.Report{Outcome: fuseboard.Success}
	if response.StatusCode >= 500 {
		report.Outcome = fuseboard.Failure
		report.ErrorClass = "http_" + strconv.Itoa(response.StatusCode)
	}
	if response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests {
		report.RetryAfter = RetryAfter(response.Header, time.Now())
	}
	return report
}

// RetryAfter reads a Retry-After header, in seconds or as a date. 0: there is none, or it lies in the past.
func RetryAfter(header http.Header, now time.Time) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// Middleware guards a handler: while the breaker rejects, requests are answered with 503 and Retry-After. A handler that
// answers with 500 or above, or panics, has failed; a request whose client went away is cancelled.
func Middleware(breaker *fuseboard.Breaker, next http.Handler) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		permit, err := breaker.Acquire(request.Context())
		if err != nil {
			if !WriteRejection(writer, err) {
				// The client went away while the server was asked: nobody reads this.
				writer.WriteHeader(http.StatusServiceUnavailable)
			}
			return
		}
		defer permit.Done(new(error))
		seen := &statusWriter{ResponseWriter: writer}
		next.ServeHTTP(seen, request)
		switch {
		case request.Context().Err() != nil && seen.status() < 500:
			permit.Cancelled()
		case seen.status() >= 500:
			permit.ReportAndWait(request.Context(), fuseboard.Report{
				Outcome: fuseboard.Failure, ErrorClass: "http_" + strconv.Itoa(seen.status()),
				RetryAfter: RetryAfter(writer.Header(), time.Now()),
			})
		}
	})
}

// WriteRejection answers a request that a breaker rejected: 503 with Retry-After in whole seconds, at least 1. False: err
// is no rejection, and nothing was written. For handlers that call through breakers themselves.
func WriteRejection(writer http.ResponseWriter, err error) bool {
	var rejection *fuseboard.RejectedError
	if !errors.As(err, &rejection) {
		return false
	}
	seconds := max(int64((rejection.RetryAfter+time.Second-1)/time.Second), 1)
	writer.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	http.Error(writer, "service unavailable: "+rejection.Breaker+" is "+rejection.Reason.String(), http.StatusServiceUnavailable)
	return true
}

// statusWriter remembers the status of a response.
type statusWriter struct {
	http.ResponseWriter
	once  sync.Once
	wrote int
}

func (w *statusWriter) WriteHeader(status int) {
	if status >= 200 {
		w.once.Do(func() { w.wrote = status })
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(body []byte) (int, error) {
	w.once.Do(func() { w.wrote = http.StatusOK })
	return w.ResponseWriter.Write(body)
}

// Unwrap lets http.ResponseController reach what is below.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) status() int {
	w.once.Do(func() { w.wrote = http.StatusOK })
	return w.wrote
}
