package fuseboard

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrRejected is what every rejection is, for errors.Is. The particulars are in a *RejectedError.
	ErrRejected = errors.New("fuseboard: rejected")
	// ErrNotFound: the server has never seen this breaker. Of State and Reset.
	ErrNotFound = errors.New("fuseboard: breaker not found")
	// ErrClosed: the client was closed. Of the methods that need the server; calls are decided all the same.
	ErrClosed = errors.New("fuseboard: client is closed")
	// ErrTooManyBreakers: a client has at most 1,000 breakers.
	ErrTooManyBreakers = errors.New("fuseboard: a client has at most 1,000 breakers")
)

// RejectedError says that a call was not permitted, why, and when to ask again. Find it with errors.As.
type RejectedError struct {
	// Breaker is the key of the breaker.
	Breaker string
	// Reason is why the call was rejected.
	Reason Reason
	// RetryAfter is how long to wait before asking again: at least 10 ms.
	RetryAfter time.Duration
	// State is the breaker's state as far as it is known, else StateUnknown.
	State State
	// Source is who rejected it.
	Source Source
}

// Error names the breaker, the reason and the wait.
func (e *RejectedError) Error() string {
	if e.Reason == ReasonUnavailable {
		return fmt.Sprintf("fuseboard: breaker %q rejected the call: the server could not be asked", e.Breaker)
	}
	return fmt.Sprintf("fuseboard: breaker %q rejected the call: %s; retry after %s", e.Breaker, e.Reason, e.RetryAfter)
}

// Is makes errors.Is(err, ErrRejected) true.
func (e *RejectedError) Is(target error) bool { return target == ErrRejected }
