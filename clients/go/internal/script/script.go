// Package script is how fuseboardtest puts decisions of a test's own in the place of a server's.
package script

import "time"

// Decision is what a script says to one call. Numbers are those of the enums of package fuseboard.
type Decision struct {
	Permitted  bool
	State      uint8
	Reason     uint8
	RetryAfter time.Duration
}

// Script decides calls and hears how they went. It must be safe for concurrent use.
type Script interface {
	// Decide answers one call to a breaker.
	Decide(key string) Decision
	// Reported tells the outcome of a permitted call.
	Reported(key string, outcome uint8)
	// Reset tells that a breaker was reset.
	Reset(key string)
}
