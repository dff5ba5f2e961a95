// Package fuseboard is the Go client of the Fuseboard circuit breaker server: one breaker for a whole fleet, decided in
// this process's memory while it is closed or open.
//
// Make one Client for the process, a Breaker for each dependency, and put calls through Execute. See the README for the
// way in, and docs/clients.md in the repository for what the modes guarantee.
package fuseboard
