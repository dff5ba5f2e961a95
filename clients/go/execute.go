package fuseboard

import (
	"context"
	"errors"
)

// CallOption changes one Execute.
type CallOption[T any] func(*call[T])

type call[T any] struct {
	fallback func(ctx context.Context, err error) (T, error)
	classify func(result T, err error) Report
}

// WithFallback gives what is called with the error when a call was rejected or failed; its answer is Execute's. It is
// not called where the user's own context was cancelled.
func WithFallback[T any](fallback func(ctx context.Context, err error) (T, error)) CallOption[T] {
	return func(c *call[T]) { c.fallback = fallback }
}

// WithClassifier says what this call's result or error means, in the place of the breaker's Classify.
func WithClassifier[T any](classify func(result T, err error) Report) CallOption[T] {
	return func(c *call[T]) { c.classify = classify }
}

// Execute makes a call if the breaker permits it, and reports how it went. It gives the call's own result and error,
// untouched, or a *RejectedError, where there is no fallback.
//
// The call is made in this goroutine, with a context that ends after the breaker's CallTimeout; a call that does not
// look at its context is not cut off. Its outcome is Cancelled where ctx was cancelled and the call failed, Timeout where
// a deadline has passed and the call failed, and else what the classifier says. A panic of the call is a Failure, and goes on.
func Execute[T any](
	ctx context.Context, breaker *Breaker, fn func(ctx context.Context) (T, error), options ...CallOption[T],
) (T, error) {
	var permit Permit
	if len(options) == 0 {
		return execute(ctx, breaker, &permit, fn, nil)
	}
	var settings call[T]
	for _, option := range options {
		option(&settings)
	}
	result, err := execute(ctx, breaker, &permit, fn, settings.classify)
	if err != nil && settings.fallback != nil && !errors.Is(ctx.Err(), context.Canceled) {
		return settings.fallback(ctx, err)
	}
	return result, err
}

func execute[T any](
	ctx context.Context, breaker *Breaker, permit *Permit, fn func(ctx context.Context) (T, error),
	classify func(result T, err error) Report,
) (result T, err error) {
	if err := breaker.acquire(ctx, permit); err != nil {
		return result, err
	}
	// Reports a panic of the call; otherwise the permit has been reported by then.
	defer permit.finish(Report{Outcome: Failure, ErrorClass: "panic"})
	callCtx := ctx
	if breaker.options.CallTimeout > 0 {
		var cancel context.CancelFunc
		callCtx, cancel = context.WithTimeout(ctx, breaker.options.CallTimeout)
		defer cancel()
	}
	result, err = fn(callCtx)
	var report Report
	switch {
	case err == nil && classify == nil && breaker.options.Classify == nil:
		report.Outcome = Success
	case err != nil && callCtx.Err() != nil:
		report = contextReport(ctx, callCtx)
	case classify != nil:
		report = classifySafely(breaker, result, err, classify)
	case breaker.options.Classify != nil:
		report = breaker.classify(result, err)
	default:
		report = DefaultClassify(nil, err)
	}
	permit.ReportAndWait(ctx, report)
	return result, err
}

// contextReport is what the end of a context says about a call that failed: the user's own cancelling, or a deadline.
func contextReport(ctx, callCtx context.Context) Report {
	if errors.Is(ctx.Err(), context.Canceled) {
		return Report{Outcome: Cancelled}
	}
	if errors.Is(callCtx.Err(), context.DeadlineExceeded) {
		return Report{Outcome: Timeout, ErrorClass: "deadline_exceeded"}
	}
	return Report{Outcome: Cancelled}
}

// DefaultClassify is what holds where there is no classifier: no error is a Success, one that says of itself that it is
// a timeout (a method Timeout() bool, as net's errors have) a Timeout, a cancelled context Cancelled only for those who
// call it with the user's own, and any other a Failure. result is not looked at.
func DefaultClassify(_ any, err error) Report {
	if err == nil {
		return Report{Outcome: Success}
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return Report{Outcome: Timeout, ErrorClass: "timeout"}
	}
	return Report{Outcome: Failure}
}

// classify asks the breaker's classifier.
func (b *Breaker) classify(result any, err error) Report {
	if b.options.Classify == nil {
		return DefaultClassify(nil, err)
	}
	return classifySafely(b, result, err, b.options.Classify)
}

// classifySafely asks a classifier, and does without it where it panics.
func classifySafely[T any](b *Breaker, result T, err error, classify func(T, error) Report) (report Report) {
	report = DefaultClassify(nil, err)
	defer b.client.survive("classifier")
	return classify(result, err)
}
