package fuseboard

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"fuseboard.dev/fuseboard/internal/script"
)

// Mode is how calls are decided.
type Mode uint8

// The modes. The zero Mode is the client's for a breaker, and ModeCached for a client.
const (
	_ Mode = iota
	// ModeCached decides in this process's memory while the breaker is closed or open.
	ModeCached
	// ModeStrict asks the server for each call.
	ModeStrict
)

// WhenUnavailable is what decides calls while the server cannot be asked.
type WhenUnavailable uint8

// The choices. The zero value is the client's for a breaker, and UnavailableLocal for a client.
const (
	_ WhenUnavailable = iota
	// UnavailableLocal: a breaker in this process stands in.
	UnavailableLocal
	// UnavailablePermit: every call is permitted.
	UnavailablePermit
	// UnavailableReject: every call is rejected, for ReasonUnavailable.
	UnavailableReject
)

// Options are a client's. The zero Options are good for a server on this machine. A zero field is its default, also
// for durations; negative durations are errors.
type Options struct {
	// Address of the server: "host:port", "http://host:port", or "https://host:port", the latter with TLS. Default:
	// FUSEBOARD_ADDRESS, else "127.0.0.1:50051".
	Address string
	// Caller is who asks, as "service/instance". Bytes other than A-Z a-z 0-9 . _ - : / become "-"; at most 200 are
	// kept. Default: FUSEBOARD_CALLER, else FUSEBOARD_SERVICE (else "app"), the host's name and the process's number.
	Caller string
	// Token is sent with each request as "authorization: Bearer …". Default: FUSEBOARD_TOKEN, else none.
	Token string
	// TLS switches TLS on, with these roots, certificates and server name. Default: off, but for an https address,
	// where it is the machine's roots.
	TLS *tls.Config

	// Mode of breakers that say none. Default: ModeCached.
	Mode Mode
	// WhenUnavailable of breakers that say none. Default: UnavailableLocal.
	WhenUnavailable WhenUnavailable

	// AcquireTimeout is the longest wait for the answer to an acquire. Default: 50 ms.
	AcquireTimeout time.Duration
	// ReportTimeout is the longest wait of Execute for the answer to a report. Default: 50 ms.
	ReportTimeout time.Duration
	// ReportInterval is how long successes are gathered before they are told. Default: 100 ms.
	ReportInterval time.Duration
	// ProgressInterval is how often the server says that it is there. 1 s to 60 s. Default: 2 s.
	ProgressInterval time.Duration
	// MaxStaleness is how old what the watch said may be for a call to be permitted from memory. Default: twice the
	// progress interval.
	MaxStaleness time.Duration
	// CloseTimeout is the longest wait of Close. Default: 1 s.
	CloseTimeout time.Duration

	// Logger hears of the link's ups and downs, and of mistakes in hooks of yours. Default: slog.Default().
	Logger *slog.Logger
	// Observer hears of every decision, outcome and event. Default: none.
	Observer Observer

	// Clock, where it is set, is the time that decisions go by: what has passed since any fixed point, never going
	// back. It is for tests. The link's own timers go by the machine's clock all the same.
	Clock func() time.Duration
	// Script, where it is set, decides in the place of a server, and the client opens no connection. It is set by
	// package fuseboardtest.
	Script script.Script
}

// BreakerOptions are one breaker's.
type BreakerOptions struct {
	// Policy that is declared for it. Default: none is; the server's own policy holds.
	Policy *Policy
	// Revision of the declaration: the highest stands, the first among equals. 0: none, the last one stands.
	Revision uint64
	// Mode of this breaker. Default: the client's.
	Mode Mode
	// WhenUnavailable of this breaker. Default: the client's.
	WhenUnavailable WhenUnavailable
	// CallTimeout is the longest that Execute lets a call take: the call's context ends then, and its outcome is
	// Timeout. 0: no limit.
	CallTimeout time.Duration
	// Classify says what a call's result or error means. It must be safe for concurrent use. It is not asked where the
	// user's own context has ended. Default: an error is a Failure, or a Timeout if it says that it is one.
	Classify func(result any, err error) Report
}

// validated is the options with every field resolved, or what is wrong with them.
func (o Options) validated() (Options, error) {
	for name, value := range map[string]time.Duration{
		"AcquireTimeout": o.AcquireTimeout, "ReportTimeout": o.ReportTimeout, "ReportInterval": o.ReportInterval,
		"ProgressInterval": o.ProgressInterval, "MaxStaleness": o.MaxStaleness, "CloseTimeout": o.CloseTimeout,
	} {
		if value < 0 {
			return o, fmt.Errorf("fuseboard: Options.%s is negative", name)
		}
	}
	if o.Mode > ModeStrict {
		return o, fmt.Errorf("fuseboard: Options.Mode %d is none", o.Mode)
	}
	if o.WhenUnavailable > UnavailableReject {
		return o, fmt.Errorf("fuseboard: Options.WhenUnavailable %d is none", o.WhenUnavailable)
	}
	o.Address = cmp.Or(o.Address, os.Getenv("FUSEBOARD_ADDRESS"), "127.0.0.1:50051")
	o.Caller = keyBytes(cmp.Or(o.Caller, os.Getenv("FUSEBOARD_CALLER"), defaultCaller()))
	o.Token = cmp.Or(o.Token, os.Getenv("FUSEBOARD_TOKEN"))
	o.Mode = cmp.Or(o.Mode, ModeCached)
	o.WhenUnavailable = cmp.Or(o.WhenUnavailable, UnavailableLocal)
	o.AcquireTimeout = cmp.Or(o.AcquireTimeout, 50*time.Millisecond)
	o.ReportTimeout = cmp.Or(o.ReportTimeout, 50*time.Millisecond)
	o.ReportInterval = cmp.Or(o.ReportInterval, 100*time.Millisecond)
	o.ProgressInterval = cmp.Or(o.ProgressInterval, 2*time.Second)
	if o.ProgressInterval < time.Second || o.ProgressInterval > time.Minute {
		return o, fmt.Errorf("fuseboard: Options.ProgressInterval is %s; it is to be 1 s to 60 s", o.ProgressInterval)
	}
	o.MaxStaleness = cmp.Or(o.MaxStaleness, 2*o.ProgressInterval)
	o.CloseTimeout = cmp.Or(o.CloseTimeout, time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if scheme, rest, found := strings.Cut(o.Address, "://"); found {
		switch {
		case scheme == "https" && o.TLS == nil:
			o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		case scheme != "https" && scheme != "http":
			return o, fmt.Errorf("fuseboard: Options.Address %q: the scheme is to be http or https", o.Address)
		case scheme == "http" && o.TLS != nil:
			return o, fmt.Errorf("fuseboard: Options.Address %q: TLS is set, so the scheme is to be https", o.Address)
		}
		o.Address = strings.TrimSuffix(rest, "/")
	}
	return o, nil
}

func (o BreakerOptions) validated(client Options) (BreakerOptions, error) {
	switch {
	case o.CallTimeout < 0:
		return o, fmt.Errorf("fuseboard: BreakerOptions.CallTimeout is negative")
	case o.Mode > ModeStrict:
		return o, fmt.Errorf("fuseboard: BreakerOptions.Mode %d is none", o.Mode)
	case o.WhenUnavailable > UnavailableReject:
		return o, fmt.Errorf("fuseboard: BreakerOptions.WhenUnavailable %d is none", o.WhenUnavailable)
	}
	o.Mode = cmp.Or(o.Mode, client.Mode)
	o.WhenUnavailable = cmp.Or(o.WhenUnavailable, client.WhenUnavailable)
	return o, nil
}

func defaultCaller() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%s-%d", cmp.Or(os.Getenv("FUSEBOARD_SERVICE"), "app"), host, os.Getpid())
}

// maxKeyBytes is the longest key, and the longest caller.
const maxKeyBytes = 200

func isKeyByte(b byte) bool {
	return b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b >= '0' && b <= ':' || b >= '-' && b <= '/' || b == '_'
}

// keyBytes is text with what is not a key's byte turned into "-", cut to a key's length.
func keyBytes(text string) string {
	kept := []byte(text[:min(len(text), maxKeyBytes)])
	for i, b := range kept {
		if !isKeyByte(b) {
			kept[i] = '-'
		}
	}
	return string(kept)
}

func validKey(key string) error {
	if key == "" || len(key) > maxKeyBytes {
		return fmt.Errorf("fuseboard: key %q has %d bytes; it is to have 1 to %d", key, len(key), maxKeyBytes)
	}
	for i := range len(key) {
		if !isKeyByte(key[i]) {
			return fmt.Errorf("fuseboard: key %q: byte %d is none of A-Z a-z 0-9 . _ - : /", key, i)
		}
	}
	return nil
}
