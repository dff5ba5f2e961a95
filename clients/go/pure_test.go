package fuseboard

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	fuseboardv1 "fuseboard.dev/fuseboard/gen/fuseboard/v1"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const s = time.Second

func closedView() view {
	return view{scope: scope{state: StateClosed, generation: 1}, caller: scope{state: StateClosed}}
}

func TestAViewDecides(t *testing.T) {
	open := view{scope: scope{state: StateOpen, until: 30 * s}, caller: scope{state: StateClosed}}
	isolated := closedView()
	isolated.caller = scope{state: StateOpen, until: 30 * s}
	probing := closedView()
	probing.caller.state = StateHalfOpen
	with := func(v view, mode OverrideMode, until time.Duration) view {
		v.override, v.overrideUntil = mode, until
		return v
	}
	for name, test := range map[string]struct {
		view    view
		fresh   bool
		at      time.Duration
		verdict verdict
		reason  Reason
		wait    time.Duration
	}{
		"nothing known: ask":                        {view: view{}, fresh: true},
		"closed and fresh: permit":                  {view: closedView(), fresh: true, verdict: permitHere},
		"closed and stale: ask":                     {view: closedView()},
		"half-open: ask":                            {view: view{scope: scope{state: StateHalfOpen}}, fresh: true},
		"open and stale: reject":                    {view: open, at: 20 * s, verdict: rejectHere, reason: ReasonOpen, wait: 10 * s},
		"open, the last moment: at least 10 ms":     {view: open, at: 30*s - 1, verdict: rejectHere, reason: ReasonOpen, wait: minRetryAfter},
		"open, deadline passed: ask":                {view: open, at: 30 * s, fresh: true},
		"caller isolated: reject":                   {view: isolated, at: 20 * s, verdict: rejectHere, reason: ReasonCallerIsolated, wait: 10 * s},
		"caller isolated, deadline passed: ask":     {view: isolated, at: 30 * s, fresh: true},
		"caller half-open: ask":                     {view: probing, fresh: true},
		"forced open, staying: reject for 30 s":     {view: with(closedView(), OverrideForcedOpen, 0), verdict: rejectHere, reason: ReasonForcedOpen, wait: 30 * s},
		"forced open, expiring: what is left":       {view: with(closedView(), OverrideForcedOpen, 30*s), at: 25 * s, verdict: rejectHere, reason: ReasonForcedOpen, wait: 5 * s},
		"forced open, past its end: until an event": {view: with(closedView(), OverrideForcedOpen, 30*s), at: 40 * s, verdict: rejectHere, reason: ReasonForcedOpen, wait: minRetryAfter},
		"forced closed over closed: permit":         {view: with(closedView(), OverrideForcedClosed, 0), fresh: true, verdict: permitHere},
		"forced closed over open: ask":              {view: with(open, OverrideForcedClosed, 0), fresh: true},
		"shadow over an isolated caller: permit":    {view: with(isolated, OverrideShadow, 0), fresh: true, verdict: permitHere},
	} {
		verdict, reason, wait := decide(&test.view, test.fresh, test.at)
		if verdict != test.verdict || reason != test.reason || wait != test.wait {
			t.Errorf("%s: got %d %s %s", name, verdict, reason, wait)
		}
	}
}

func openStatus(generation uint64, remaining time.Duration) *fuseboardv1.BreakerStatus {
	return &fuseboardv1.BreakerStatus{
		State: fuseboardv1.State_STATE_OPEN, Generation: generation, StateRemaining: durationpb.New(remaining),
	}
}

func TestAStatusOfALowerGenerationChangesNothing(t *testing.T) {
	v := closedView()
	v.generation = 5
	v.applyStatus(openStatus(4, 30*s), "me", time.Time{}, s)
	if v.state != StateClosed || v.generation != 5 {
		t.Errorf("view is %+v", v)
	}
	v.applyStatus(openStatus(6, 30*s), "me", time.Time{}, s)
	if v.state != StateOpen || v.until != 31*s {
		t.Errorf("view is %+v", v)
	}
}

func TestAnotherCallersScopeIsNotOurs(t *testing.T) {
	v := closedView()
	status := openStatus(1, 0)
	status.State = fuseboardv1.State_STATE_CLOSED
	status.Caller = &fuseboardv1.CallerStatus{Caller: "other", State: fuseboardv1.State_STATE_OPEN, Generation: 1}
	v.applyStatus(status, "me", time.Time{}, 0)
	if v.caller.state != StateClosed {
		t.Errorf("caller is %s, want closed", v.caller.state)
	}
	status.Caller.Caller = "me"
	v.applyStatus(status, "me", time.Time{}, 0)
	if v.caller.state != StateOpen {
		t.Errorf("caller is %s, want open", v.caller.state)
	}
}

func TestAnEventIsTakenOnceWhateverAnAnswerToldBefore(t *testing.T) {
	v := closedView()
	status := openStatus(2, 30*s)
	status.Sequence = 7
	v.applyStatus(status, "me", time.Time{}, 0)
	event := &fuseboardv1.Event{Sequence: 7, Status: status, EventTime: timestamppb.Now()}
	if !v.applyEvent(event, "me", 0) {
		t.Error("the watch's event was taken for one that was told")
	}
	if v.applyEvent(event, "me", 0) {
		t.Error("the event was taken twice")
	}
}

func TestARejectionsRetryAfterIsBelievedWhereNoDeadlineIsKnown(t *testing.T) {
	v := view{}
	v.applyAnswer(answer{state: StateOpen, generation: 2, reason: ReasonOpen, retryAfter: 5 * s}, s)
	if v.state != StateOpen || v.until != 6*s {
		t.Errorf("view is %+v", v)
	}
	v.applyAnswer(answer{state: StateClosed, generation: 9, provisional: true}, s)
	if v.generation != 2 {
		t.Error("a provisional answer moved the view")
	}
}

func TestAWatchThatGoesOnFromATokenDoubtsAllButRefusals(t *testing.T) {
	v := closedView()
	v.doubt()
	if v.state != StateUnknown || v.generation != 1 {
		t.Errorf("closed view became %+v", v)
	}
	v = view{scope: scope{state: StateOpen, until: s}}
	v.doubt()
	if v.state != StateOpen {
		t.Errorf("open view became %+v", v)
	}
}

func TestATallyCountsWhatItsRunOfFailuresNeeds(t *testing.T) {
	var tally tally
	for _, outcome := range []Outcome{Failure, Success, Timeout, Failure, Ignored, Cancelled} {
		tally.add(&Report{Outcome: outcome, RetryAfter: s}, outcome == Success)
	}
	tally.add(&Report{Outcome: Failure, Origin: OriginLocal}, false)
	got := tally.message("db", 0)
	if got.GetSuccesses() != 1 || got.GetFailures() != 2 || got.GetTimeouts() != 1 || got.GetIgnored() != 2 ||
		got.GetSlow() != 1 || got.GetTrailingFailures() != 2 || got.GetLocalFailures() != 1 {
		t.Errorf("tally is %v", got)
	}
}

// tallyOf counts outcomes in their order.
func tallyOf(outcomes []Report) *tally {
	var counted tally
	for i := range outcomes {
		counted.add(&outcomes[i], false)
	}
	return &counted
}

// runsOfParts composes the runs of two tallies, one after the other, as a server does.
func runsOfParts(a, b *tally) [3]uint32 {
	leading, trailing := a.leading, b.trailing
	if a.successes == 0 {
		leading += b.leading
	}
	if b.successes == 0 {
		trailing += a.trailing
	}
	return [3]uint32{leading, max(a.longest, b.longest, a.trailing+b.leading), trailing}
}

func TestRunsOfFailuresAreExactAndComposeWhereverATallyIsSplit(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 1))
	kinds := []Report{
		{Outcome: Success}, {Outcome: Failure}, {Outcome: Failure}, {Outcome: Timeout}, {Outcome: Ignored},
		{Outcome: Cancelled}, {Outcome: Failure, Origin: OriginLocal},
	}
	for range 2000 {
		outcomes := make([]Report, random.IntN(24))
		var runs []uint32
		run := uint32(0)
		for i := range outcomes {
			outcomes[i] = kinds[random.IntN(len(kinds))]
			switch {
			case outcomes[i].Outcome == Success:
				runs = append(runs, run)
				run = 0
			case outcomes[i].moves():
				run++
			}
		}
		runs = append(runs, run)
		want := [3]uint32{runs[0], slices.Max(runs), run}
		whole := tallyOf(outcomes).message("db", 0)
		if got := [3]uint32{whole.GetLeadingFailures(), whole.GetLongestRun(), whole.GetTrailingFailures()}; got != want {
			t.Fatalf("%v: runs are %v, want %v", outcomes, got, want)
		}
		for at := range len(outcomes) + 1 {
			if got := runsOfParts(tallyOf(outcomes[:at]), tallyOf(outcomes[at:])); got != want {
				t.Fatalf("%v split at %d: runs are %v, want %v", outcomes, at, got, want)
			}
		}
	}
}

func TestOutcomesOfTwoGenerationsMayAlternateAndNoneIsDropped(t *testing.T) {
	all := newTallies("db", new(budget))
	for i := range 60 {
		tally, dropped := all.at(uint64(1+i%2), 0, s)
		tally.add(&Report{Outcome: Success}, false)
		if dropped != (lost{}) {
			t.Fatalf("dropped %+v at outcome %d", dropped, i)
		}
	}
	taken, expired := all.take(10, 2*s, 10*s)
	if len(taken) != 2 || taken[0].generation != 1 || taken[0].calls != 30 || taken[1].calls != 30 || expired != (lost{}) || !all.empty() {
		t.Errorf("taken %+v, expired %+v", taken, expired)
	}
}

func TestAFullTallyIsFollowedByAnother(t *testing.T) {
	all := newTallies("db", new(budget))
	first, _ := all.at(1, 0, 0)
	first.calls = maxTallyCalls
	if second, _ := all.at(1, 0, 0); second.calls != 0 || len(all.pending) != 2 {
		t.Errorf("second %+v, %d pending", second, len(all.pending))
	}
}

func TestPendingTalliesAreBoundedInBytesAndInAge(t *testing.T) {
	shared := new(budget)
	all, other := newTallies("db", shared), newTallies("other", shared)
	room := int(maxExtraBytes/all.bytes) + 1
	var dropped lost
	for generation := range uint64(room + 3) {
		tally, lost := all.at(generation+1, 0, s)
		tally.add(&Report{Outcome: Success}, false)
		tally.rejections = 2
		dropped.add(lost)
	}
	if dropped != (lost{calls: 3, rejections: 6}) || len(all.pending) != room {
		t.Errorf("dropped %+v, %d pending, want %d", dropped, len(all.pending), room)
	}
	if _, dropped := other.at(1, 0, s); dropped != (lost{}) || len(other.pending) != 1 {
		t.Errorf("another breaker's first tally found no place: %+v", dropped)
	}
	if expired := all.expire(12*s, 10*s); expired != (lost{uint64(room), uint64(2 * room)}) || !all.empty() {
		t.Errorf("%+v expired, empty %t", expired, all.empty())
	}
	if used := shared.used.Load(); used != 0 {
		t.Errorf("%d bytes are used by nothing", used)
	}
}

func TestDelaysGrowToTheirBound(t *testing.T) {
	var retry retrying
	for i, want := range []time.Duration{s, 400 * time.Millisecond, 800 * time.Millisecond, 1600 * time.Millisecond, 3200 * time.Millisecond, 5 * s, 5 * s} {
		if got := retry.next(); got != want {
			t.Errorf("delay %d is below %s, want %s", i, got, want)
		}
	}
	retry.worked()
	if got := retry.next(); got != s {
		t.Errorf("after it worked the delay is below %s", got)
	}
}

func TestACallersForeignBytesBecomeDashes(t *testing.T) {
	if got := keyBytes("web 1/ä:2.x_y-z"); got != "web-1/--:2.x_y-z" {
		t.Errorf("got %q", got)
	}
}

func TestASlowReaderIsToldWhatItLostAndHoldsUpNobody(t *testing.T) {
	var all subscriptions
	subscription := all.add("", 2)
	for sequence := range uint64(5) {
		all.publish(Event{Kind: EventOpened, Sequence: sequence + 1})
	}
	<-subscription.Events()
	<-subscription.Events()
	all.publish(Event{Kind: EventClosed, Sequence: 6})
	if lost := <-subscription.Events(); lost.Kind != EventLost || lost.Lost != 3 {
		t.Errorf("got %+v, want 3 lost", lost)
	}
	if next := <-subscription.Events(); next.Sequence != 6 {
		t.Errorf("got %+v", next)
	}
	all.close()
	if _, open := <-subscription.Events(); open {
		t.Error("the channel is open after close")
	}
}

func TestAPolicyHasEveryFieldOfTheProtos(t *testing.T) {
	fields := (&fuseboardv1.Policy{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		name := ""
		for _, word := range strings.Split(string(fields.Get(i).Name()), "_") {
			name += strings.ToUpper(word[:1]) + word[1:]
		}
		if _, found := reflect.TypeFor[Policy]().FieldByName(name); !found {
			t.Errorf("Policy has no %s", name)
		}
	}
	policy := Policy{Voters: VotersService, TripOn: TripOnFailure, OpenDurationMin: Set(time.Millisecond)}
	message := policy.message()
	if message.GetVoters() != fuseboardv1.Voters_VOTERS_SERVICE || message.GetTripOn() != fuseboardv1.TripOn_TRIP_ON_FAILURE ||
		message.GetOpenDurationMin().AsDuration() != time.Millisecond {
		t.Errorf("message is %v", message)
	}
}

func TestABurstOfMovesIsOneEventWithItsCount(t *testing.T) {
	at := time.Unix(100, 0).UTC()
	message := &fuseboardv1.Event{EventTime: timestamppb.New(at)}
	if event := eventOf(message); event.Count != 1 || event.First != at {
		t.Errorf("one move is %+v", event)
	}
	message.Count, message.FirstEventTime = 7, timestamppb.New(at.Add(-s))
	if event := eventOf(message); event.Count != 7 || event.First != at.Add(-s) || event.Time != at {
		t.Errorf("a burst is %+v", event)
	}
}
