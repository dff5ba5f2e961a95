package fuseboard

import "fmt"

// Observer hears what a client does, as values: for metrics. Its methods are called from many goroutines at a time and
// hold up who calls, so they should be quick. A panic in one is logged and does no harm. Embed NopObserver to hear only
// some.
type Observer interface {
	// Decided: a call was permitted or rejected. reason is 0 for a permit.
	Decided(breaker string, permitted bool, source Source, reason Reason)
	// Finished: a permitted call was reported.
	Finished(breaker string, report Report)
	// Happened: the watch told an event, once for each that is told to subscriptions.
	Happened(event Event)
	// LinkChanged: the session has become usable, or is no longer.
	LinkChanged(usable bool)
}

// NopObserver hears nothing.
type NopObserver struct{}

// Decided does nothing.
func (NopObserver) Decided(string, bool, Source, Reason) {}

// Finished does nothing.
func (NopObserver) Finished(string, Report) {}

// Happened does nothing.
func (NopObserver) Happened(Event) {}

// LinkChanged does nothing.
func (NopObserver) LinkChanged(bool) {}

// observe calls the observer, where there is one, and survives what it does.
func (c *Client) observe(call func(Observer)) {
	defer c.survive("observer")
	call(c.options.Observer)
}

// survive logs a panic in a hook of the user's.
func (c *Client) survive(hook string) {
	if problem := recover(); problem != nil {
		c.options.Logger.Error("fuseboard: a hook panicked", "hook", hook, "panic", fmt.Sprint(problem))
	}
}
