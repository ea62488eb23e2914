// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/pipeline/mask"
	"github.com/sallyport-dev/sallyport/pipeline/mask/action"
	"github.com/sallyport-dev/sallyport/pipeline/mask/custom"
	"github.com/sallyport-dev/sallyport/pipeline/mask/known"
	"github.com/sallyport-dev/sallyport/pipeline/policy"
)

// masking makes the rewriters of flow: those of the configuration and, in replies, those of the guardrails of the policy in force.
type masking struct {
	made   *custom.Made
	base   *masker    // without guardrails; for requests
	policy *policies  // whose roles callers have
	known  *known.Set // texts of requests, under base

	mu   sync.Mutex // one set at a time
	last atomic.Pointer[masker]
}

// masker is an engine with its table, for one set of policies.
type masker struct {
	set    *policy.Set
	engine *mask.Engine
	table  *action.Table
}

// maskSettings are those of the configuration.
func maskSettings(c *config.Mask) *custom.Settings {
	s := &custom.Settings{Prompts: c.Prompts, Allow: c.Allow}
	for _, r := range c.Actions {
		s.Actions = append(s.Actions, custom.RowSpec(r))
	}
	for _, r := range c.Rules {
		s.Rules = append(s.Rules, custom.Spec(r))
	}
	return s
}

// newMasking compiles what the configuration says of masking. The key may be nil: then there are no fingerprints.
func newMasking(c *config.Mask, key []byte) (*masking, error) {
	made, err := maskSettings(c).Make()
	if err != nil {
		return nil, &UsageError{fmt.Errorf("mask: %w", err)}
	}
	table, err := action.New(made.Action)
	if err != nil {
		return nil, &UsageError{fmt.Errorf("mask: %w", err)}
	}
	engine, err := mask.New(mask.Options{Key: key, Rules: made.Rules, Names: c.Names, Table: table})
	if err != nil {
		return nil, &UsageError{fmt.Errorf("mask: %w", err)}
	}
	if err := table.Unknown(engine.Rules()); err != nil {
		return nil, &UsageError{fmt.Errorf("mask: %w", err)}
	}
	return &masking{made: made, base: &masker{engine: engine, table: table}, known: known.New(knownTexts)}, nil
}

// prepare makes the masker of a set of policies, so that one that cannot be is refused before it is in force.
func (k *masking) prepare(set *policy.Set) error {
	_, err := k.of(set)
	return err
}

// of is the masker of a set of policies.
func (k *masking) of(set *policy.Set) (*masker, error) {
	if m := k.last.Load(); m != nil && m.set == set {
		return m, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if m := k.last.Load(); m != nil && m.set == set {
		return m, nil
	}
	m := &masker{set: set, engine: k.base.engine, table: k.base.table}
	if rules := set.ResponseRules(); len(rules) > 0 {
		var names []string
		for _, r := range rules {
			names = append(names, r.Name)
		}
		s := k.made.Action
		s.First = []action.Row{{Rules: names, Carriers: []string{action.Args}, Action: action.Allow}, {Rules: names, Action: action.Tag}}
		var err error
		if m.table, err = action.New(s); err == nil {
			m.engine, err = k.base.engine.With(rules)
		}
		if err != nil {
			return nil, fmt.Errorf("the guardrails that mask replies: %w", err)
		}
	}
	k.last.Store(m)
	return m, nil
}

// Stream makes a rewriter for a text of a reply. Where nothing is enforced, what would end the exchange is tagged in the record.
func (k *masking) Stream(carrier string, m *pipeline.Meta, before []byte) flow.Rewriter {
	now, err := k.of(k.policy.Set())
	if err != nil { // it was prepared, so it cannot be; but what cannot be masked does not pass
		return broken{err}
	}
	o := mask.StreamOptions{Session: m.Session, Context: before}
	if roles := k.roles(now.table, m); m.Mode == pipeline.ModeObserve {
		o.Plan = now.table.Record(carrier, roles)
	} else {
		o.Plan = now.table.Plan(carrier, roles)
	}
	return now.engine.Stream(carrier, o)
}

// Clear tells whether it is known at once that Stream, or Request for the record, would change nothing of a text.
func (k *masking) Clear(carrier string, m *pipeline.Meta, before, text []byte, record bool) bool {
	now := k.base
	if !record {
		var err error
		if now, err = k.of(k.policy.Set()); err != nil {
			return false
		}
	}
	roles := k.roles(now.table, m)
	if record || m.Mode == pipeline.ModeObserve {
		return now.engine.Clear(now.table.Record(carrier, roles), before, text)
	}
	return now.engine.Clear(now.table.Plan(carrier, roles), before, text)
}

// roles are those of the caller, if the table asks for any.
func (k *masking) roles(t *action.Table, m *pipeline.Meta) []string {
	if !t.ByRole() {
		return nil
	}
	return k.policy.RolesOf(m)
}

// plain is an engine of the built-in rules alone, whatever the configuration says. Without masking it is made anew.
func (k *masking) plain() (*mask.Engine, error) {
	if k == nil {
		return mask.New(mask.Options{})
	}
	return k.base.engine.Plain()
}

// flow is the body of a record of a connection with secrets masked in what the application can choose.
func (k *masking) flow(body any) any {
	f, ok := body.(pipeline.Flow)
	if !ok || k == nil {
		return body
	}
	plan := k.base.table.Record(action.Args, nil)
	for _, s := range []*string{&f.SNI, &f.Reason} {
		if k.base.engine.Clear(plan, nil, []byte(*s)) {
			continue
		}
		var err error
		if *s, _, err = k.base.engine.Mask(action.Args, *s, mask.StreamOptions{Plan: plan}); err != nil {
			*s = "[not masked]"
		}
	}
	return f
}

// Request makes a rewriter for a text of a request: as it is sent, or as it is recorded.
func (k *masking) Request(carrier string, m *pipeline.Meta, before []byte, sent bool) flow.Rewriter {
	o := mask.StreamOptions{Session: m.Session, Context: before}
	roles := k.roles(k.base.table, m)
	if !sent {
		o.Plan = k.base.table.Record(carrier, roles)
	} else if o.Plan = k.base.table.Sent(carrier, roles); o.Plan.Idle() {
		return nil
	}
	return k.base.engine.Stream(carrier, o)
}

// knownTexts is how many texts of requests are remembered: those of some hundred long conversations, for 1 to 2 MB.
const knownTexts = 1 << 14

// Known knows texts of requests again: the turns of a conversation repeat all that was said before.
func (k *masking) Known(carrier string, m *pipeline.Meta, before, text []byte, sent bool) (key [16]byte, clean bool) {
	if len(text) < known.Min {
		return key, false
	}
	p := &m.Principal
	key = k.known.Key(&known.Text{Caller: []string{p.SPIFFEID, p.User}, Roles: k.roles(k.base.table, m), Carrier: carrier, Sent: sent, Before: before, Text: text})
	return key, k.known.Has(key)
}

// Clean remembers a text in which nothing was found.
func (k *masking) Clean(key [16]byte) { k.known.Add(key) }

// broken is the rewriter of a text that cannot be masked.
type broken struct{ err error }

func (b broken) Write(dst, _ []byte) ([]byte, error) { return dst, b.err }
func (b broken) Flush(dst []byte) ([]byte, error)    { return dst, b.err }
func (b broken) Held() int                           { return 0 }
func (b broken) Masks() []pipeline.Mask              { return nil }
func (b broken) Release()                            {}

var (
	_ flow.Rememberer = (*masking)(nil)
	_ flow.Clearer    = (*masking)(nil)
)

// openMasking compiles what the configuration says of masking.
func (d *daemon) openMasking(context.Context) error {
	key, err := d.fingerprintKey()
	if err == nil {
		d.masking, err = newMasking(&d.cfg.Mask, key)
	}
	return err
}

// Check finds what is wrong with configuration and policy without touching anything.
func Check(cfg *config.Config) error {
	d := &daemon{cfg: cfg}
	var err error
	if d.masking, err = newMasking(&cfg.Mask, nil); err != nil {
		return err
	}
	if err := d.openPolicy(context.Background()); err != nil {
		return err
	}
	if err := d.openWebhook(); err != nil {
		return err
	}
	return d.checkScopes()
}
