package fuseboard

import (
	"context"
	"time"

	fuseboardv1 "fuseboard.dev/fuseboard/gen/fuseboard/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// declareTimeout bounds one Declare or GetState in the background.
	declareTimeout = 3 * time.Second
	// maxDeclarations keeps a request of the longest declarations below the server's 64 KiB.
	maxDeclarations = 100
	// refreshWithin is the spread of clients that ask for a policy that has changed for all of them.
	refreshWithin = time.Second
)

// policies declares what breakers want, and learns what is in force.
type policies struct {
	client *Client
	api    fuseboardv1.BreakerServiceClient
	wake   chan struct{}
}

func newPolicies(c *Client, api fuseboardv1.BreakerServiceClient) *policies {
	return &policies{client: c, api: api, wake: make(chan struct{}, 1)}
}

// refresh says that a breaker's policy is to be asked for.
func (p *policies) refresh(b *Breaker) {
	b.policyDue.Store(true)
	p.wakeUp()
}

func (p *policies) wakeUp() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run does what is due while the server can be asked.
func (p *policies) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		if p.client.link.usable.Load() {
			p.declare(ctx, p.undeclared())
			p.askAll(ctx)
		}
	}
}

// undeclared are the breakers whose declaration the server has not taken yet.
func (p *policies) undeclared() []*Breaker {
	var found []*Breaker
	for _, b := range p.client.all() {
		if b.declared != nil && !b.isDeclared.Load() {
			found = append(found, b)
		}
	}
	return found
}

// declareAll declares everything again, for a new session.
func (p *policies) declareAll(ctx context.Context) {
	for _, b := range p.client.all() {
		b.isDeclared.Store(false)
	}
	p.declare(ctx, p.undeclared())
}

func (p *policies) declare(ctx context.Context, breakers []*Breaker) {
	for len(breakers) > 0 {
		room := min(len(breakers), maxDeclarations)
		p.declareSome(ctx, breakers[:room])
		breakers = breakers[room:]
	}
}

// declareSome declares in one request. Where one of them is at fault none is taken, and each is tried alone.
func (p *policies) declareSome(ctx context.Context, breakers []*Breaker) {
	request := &fuseboardv1.DeclareRequest{Caller: p.client.options.Caller}
	for _, b := range breakers {
		request.Declarations = append(request.Declarations, &fuseboardv1.Declaration{
			Breaker: b.key, Policy: b.declared, Revision: b.options.Revision,
		})
	}
	limited, cancel := context.WithTimeout(ctx, declareTimeout)
	defer cancel()
	response, err := p.api.Declare(limited, request)
	code := status.Code(err)
	switch {
	case code == codes.OK:
		for i, declared := range response.GetDeclared()[:min(len(breakers), len(response.GetDeclared()))] {
			breakers[i].takeDeclared(declared)
		}
	case len(breakers) > 1 && (code == codes.InvalidArgument || code == codes.ResourceExhausted):
		for _, b := range breakers {
			p.declareSome(ctx, []*Breaker{b})
		}
	case code == codes.InvalidArgument || code == codes.ResourceExhausted:
		p.client.options.Logger.Error("fuseboard: a policy was refused", "breaker", breakers[0].key, "error", err)
		breakers[0].isDeclared.Store(true)
	case ctx.Err() == nil:
		// The next session declares it again.
		p.client.options.Logger.Warn("fuseboard: could not declare", "error", err)
	}
}

func (b *Breaker) takeDeclared(declared *fuseboardv1.Declared) {
	b.applyPolicy(declared.GetPolicy())
	b.apply(func(v *view, now time.Duration) {
		v.applyStatus(declared.GetStatus(), b.client.options.Caller, time.Time{}, now)
	})
	if declared.GetPolicy().GetDiffersFromDeclared() {
		b.client.options.Logger.Info("fuseboard: an operator's policy stands above the declared one",
			"breaker", b.key, "sources", declared.GetPolicy().GetSources())
	}
	b.isDeclared.Store(true)
}

// askAll asks for the policies that have become known to be others, at a moment of its own.
func (p *policies) askAll(ctx context.Context) {
	due := false
	for _, b := range p.client.all() {
		due = due || b.policyDue.Load()
	}
	if !due || !pause(ctx, evenly(refreshWithin)) {
		return
	}
	for _, b := range p.client.all() {
		if b.policyDue.CompareAndSwap(true, false) {
			p.ask(ctx, b)
		}
	}
}

func (p *policies) ask(ctx context.Context, b *Breaker) {
	ctx, cancel := context.WithTimeout(ctx, declareTimeout)
	defer cancel()
	response, err := p.api.GetState(ctx, &fuseboardv1.GetStateRequest{Breaker: b.key})
	if err != nil {
		// It is asked for again at the next change, or by the next session's declaration.
		p.client.options.Logger.Debug("fuseboard: could not ask for a policy", "breaker", b.key, "error", err)
		return
	}
	b.applyPolicy(response.GetPolicy())
}
