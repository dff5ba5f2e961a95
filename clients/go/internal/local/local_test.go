package local

import (
	"math/rand/v2"
	"testing"
	"time"
)

const s = time.Second

func rules() Rules { return Rules{Threshold: 3, OpenDuration: 20 * s} }

// fail reports so many failing calls at an instant.
func fail(t *testing.T, b *Breaker, calls int, at time.Duration) {
	t.Helper()
	for range calls {
		b.Report(permitted(t, b, at), Failure, at)
	}
}

func permitted(t *testing.T, b *Breaker, at time.Duration) Grant {
	t.Helper()
	answer := b.Acquire(at)
	if !answer.Permitted {
		t.Fatalf("at %s: rejected in state %d, want a permit", at, answer.State)
	}
	return answer.Grant
}

func rejected(t *testing.T, b *Breaker, at time.Duration, state State, wait time.Duration) {
	t.Helper()
	answer := b.Acquire(at)
	if answer.Permitted || answer.State != state || answer.RetryAfter != wait {
		t.Fatalf("at %s: %+v, want a rejection in state %d for %s", at, answer, state, wait)
	}
}

func TestItOpensAtTheThresholdForTheOpenDuration(t *testing.T) {
	b := New(rules(), Closed, 0)
	fail(t, b, 3, s)
	rejected(t, b, s, Open, 20*s)
	rejected(t, b, 21*s-1, Open, 10*time.Millisecond)
	permitted(t, b, 21*s)
}

func TestASuccessClearsTheFailuresInARow(t *testing.T) {
	b := New(rules(), Closed, 0)
	fail(t, b, 2, 0)
	b.Report(permitted(t, b, 0), Success, 0)
	fail(t, b, 2, 0)
	permitted(t, b, 0)
}

func TestFailuresPastTheMonitoringPeriodDoNotCount(t *testing.T) {
	b := New(Rules{Threshold: 2, MonitoringPeriod: 10 * s, OpenDuration: s}, Closed, 0)
	fail(t, b, 1, 0)
	fail(t, b, 1, 10*s)
	fail(t, b, 1, 20*s-1)
	rejected(t, b, 20*s, Open, s-1)
}

func TestOneProbeDecides(t *testing.T) {
	for verdict, want := range map[Verdict]State{Success: Closed, Failure: Open, Ignored: HalfOpen} {
		b := New(rules(), HalfOpen, 0)
		probe := permitted(t, b, 0)
		rejected(t, b, 0, HalfOpen, s)
		b.Report(probe, verdict, s)
		if b.state != want {
			t.Errorf("verdict %d: state %d, want %d", verdict, b.state, want)
		}
	}
}

func TestAProbeNotReportedFor60sReopensItAtThatInstant(t *testing.T) {
	b := New(rules(), HalfOpen, 0)
	probe := permitted(t, b, 0)
	rejected(t, b, 60*s-1, HalfOpen, s)
	rejected(t, b, 70*s, Open, 10*s)
	b.Report(probe, Success, 70*s)
	permitted(t, b, 80*s)
}

func TestAGrantOfAnEarlierStateMovesNothing(t *testing.T) {
	b := New(rules(), Closed, 0)
	old := permitted(t, b, 0)
	fail(t, b, 3, 0)
	permitted(t, b, 20*s)
	b.Report(old, Success, 20*s)
	rejected(t, b, 20*s, HalfOpen, s)
}

func TestACallOfAnotherSourceCountsWhileClosedOnly(t *testing.T) {
	b := New(rules(), Closed, 0)
	for range 3 {
		b.Report(Grant{}, Failure, 0)
	}
	rejected(t, b, 0, Open, 20*s)
	permitted(t, b, 20*s)
	b.Report(Grant{}, Success, 20*s)
	rejected(t, b, 20*s, HalfOpen, s)
}

func TestRulesThatAreOffAreTheDefaults(t *testing.T) {
	b := New(Rules{}, Closed, 0)
	fail(t, b, 4, 0)
	fail(t, b, 1, time.Hour)
	rejected(t, b, time.Hour, Open, 30*s)
}

func TestASequenceHasOneVerdictWheneverTheBreakerBeganToStandIn(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 2))
	r := Rules{Threshold: 3, MonitoringPeriod: 5 * s, OpenDuration: 20 * s}
	for range 2000 {
		verdicts := make([]Verdict, random.IntN(12))
		at := make([]time.Duration, len(verdicts))
		now := time.Duration(0)
		for i := range verdicts {
			now += time.Duration(random.IntN(3)) * s
			verdicts[i], at[i] = Verdict(random.IntN(3)), now
		}
		// What comes after the trip is of calls that were permitted before it, and moves nothing.
		whole, tripped := New(r, Closed, 0), len(verdicts)
		for i := range verdicts {
			whole.Report(Grant{}, verdicts[i], at[i])
			if !whole.Closed() {
				tripped = i + 1
				break
			}
		}
		for split := range tripped + 1 {
			var run Run
			for i := range split {
				switch verdicts[i] {
				case Success:
					run.Clear()
				case Failure:
					run.Add(at[i], r)
				}
			}
			late := New(r, Closed, 0)
			late.Recall(&run)
			for i := split; i < tripped; i++ {
				late.Report(Grant{}, verdicts[i], at[i])
			}
			if late.state != whole.state || late.until != whole.until {
				t.Fatalf("%v at %v, standing in after %d: state %d until %s, want %d until %s",
					verdicts, at, split, late.state, late.until, whole.state, whole.until)
			}
		}
	}
}
