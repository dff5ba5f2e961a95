package fuseboard

import "time"

// Counts are numbers of decisions by their source.
type Counts struct {
	Cached, Server, Local, Unavailable uint64
}

// Stats are what a client has done since it was made.
type Stats struct {
	// Permits and Rejections by source.
	Permits, Rejections Counts
	// Reported outcomes: those that the server has acknowledged.
	Reported uint64
	// DroppedReports are outcomes that could not be told.
	DroppedReports uint64
	// DroppedRejections are rejections of this process that the server was not told of.
	DroppedRejections uint64
	// Unreported outcomes are of calls that the server did not know of.
	Unreported uint64
	// StaleReports are those of the reported that the server counted apart, because the breaker had moved on.
	StaleReports uint64
	// Reconnects of the session and of the watch.
	Reconnects uint64
	// Resyncs of the watch.
	Resyncs uint64
	// Staleness is how long ago the watch said something; since the client was made where it never did.
	Staleness time.Duration
	// Usable is whether the server can be asked.
	Usable bool
}

// counts are one breaker's.
type counts struct {
	permits, rejections         [sources]uint64
	reported, unreported, stale uint64
	lost                        lost
}

// Stats tells what the client has done since it was made.
func (c *Client) Stats() Stats {
	stats := Stats{Reconnects: c.reconnects.Load(), Resyncs: c.resyncs.Load()}
	for _, b := range c.all() {
		b.mu.Lock()
		counts := b.counts
		b.mu.Unlock()
		stats.Permits.add(counts.permits)
		stats.Rejections.add(counts.rejections)
		stats.Reported += counts.reported
		stats.DroppedReports += counts.lost.calls
		stats.DroppedRejections += counts.lost.rejections
		stats.Unreported += counts.unreported
		stats.StaleReports += counts.stale
	}
	if c.options.Script == nil {
		stats.Staleness = max(c.now()-time.Duration(c.heardAt.Load()), 0)
		stats.Usable = c.link.usable.Load()
	}
	return stats
}

func (c *Counts) add(counts [sources]uint64) {
	c.Cached += counts[SourceCached]
	c.Server += counts[SourceServer]
	c.Local += counts[SourceLocal]
	c.Unavailable += counts[SourceUnavailable]
}
