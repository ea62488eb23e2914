// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/mask/action"
	"github.com/sallyport-dev/sallyport/pipeline/mask/names"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// CarrierArgs is the carrier that is searched for secrets only, if nothing else is set. Every other name is searched for all.
const CarrierArgs = "args"

// Options configures an Engine.
type Options struct {
	// Key makes fingerprints and pseudonyms. Empty: masks carry no fingerprint. It is not kept in a form that prints.
	Key []byte
	// Rules are searched for besides the built-in ones.
	Rules []*rule.Rule
	// Names switches on the search for names of people and postal addresses.
	Names bool
	// Table says what becomes of values; nil: the built-in rows.
	Table *action.Table
	// Explain makes rewriters keep why each value was masked, or was not although its form is that of a rule (Rewriter.Explained).
	Explain bool

	only   []*rule.Rule // instead of the built-in rules; for tests
	states int          // of each automaton, instead of tableStates; for tests
}

// Engine holds the compiled rules. It may be used by any number of goroutines.
type Engine struct {
	o               Options
	keys            *action.Keys
	rules           []*compiled
	built           int // of the rules, those that are built in
	names           stage
	free            sync.Pool // of *Rewriter
	larges, askings sync.Pool // of what these borrow
	plans           sync.Map  // *action.Plan to *planned
	nplan           int
	tags            map[*rule.Rule]string
	mu              sync.Mutex

	all, secrets *program // secrets: those of the families Allowed and Secret; made when it is first needed
}

// New compiles the rules: make one Engine and keep it. An error is about a rule.
func New(o Options) (*Engine, error) {
	o.Key = append([]byte(nil), o.Key...)
	e := &Engine{o: o, keys: action.NewKeys(o.Key)}
	clear(o.Key)
	e.o.Key = nil
	list := o.only
	if list == nil {
		list = builtin()
	}
	e.built = len(list)
	list = append(list[:len(list):len(list)], o.Rules...)
	seen := map[string]bool{}
	for _, r := range list {
		if seen[r.Name] {
			return nil, fmt.Errorf("rule %s: there are two of this name", r.Name)
		}
		seen[r.Name] = true
	}
	if err := e.compile(list, o.Names); err != nil {
		return nil, err
	}
	return e, e.finish()
}

// compile compiles rules, and loads the model of names, on all processors at once: whoever starts waits for it.
func (e *Engine) compile(list []*rule.Rule, withNames bool) error {
	e.rules = make([]*compiled, len(list))
	errs := make([]error, len(list)+1)
	var next atomic.Int64
	var wg sync.WaitGroup
	if withNames {
		wg.Go(func() {
			m, err := names.New()
			if err != nil {
				errs[len(list)] = fmt.Errorf("the model of names: %w", err)
				return
			}
			e.names = model{m}
		})
	}
	for range max(1, min(runtime.GOMAXPROCS(0), len(list)/8)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(list); i = int(next.Add(1)) - 1 {
				e.rules[i], errs[i] = compile(list[i], i)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	for i, c := range e.rules {
		for _, o := range e.rules[:i] {
			if c.twin < 0 && o.Pattern == c.Pattern {
				c.twin, o.twin = o.id, o.id
			}
		}
	}
	return nil
}

// Plain is an engine of the built-in rules, without names, that tags what it finds and keeps no fingerprints. It shares what is compiled.
func (e *Engine) Plain() (*Engine, error) {
	w := &Engine{keys: action.NewKeys(nil), rules: e.rules[:e.built:e.built], built: e.built}
	return w, w.finish()
}

// With is the engine with rules more. It shares what is compiled.
func (e *Engine) With(rules []*rule.Rule) (*Engine, error) {
	w := &Engine{o: e.o, keys: e.keys, names: e.names, built: e.built, rules: e.rules[:len(e.rules):len(e.rules)]}
	for _, r := range rules {
		for _, c := range w.rules {
			if c.Name == r.Name {
				return nil, fmt.Errorf("rule %s: there are two of this name", r.Name)
			}
		}
		c, err := compile(r, len(w.rules))
		if err != nil {
			return nil, err
		}
		w.rules = append(w.rules, c)
	}
	return w, w.finish()
}

func (e *Engine) finish() (err error) {
	e.tags = map[*rule.Rule]string{}
	for _, r := range e.Rules() {
		e.tags[r] = r.Tag()
	}
	e.all, err = e.program(func(*compiled) bool { return true })
	return err
}

// Bound says how many bytes a candidate of one rule can hold back at most.
type Bound struct {
	Rule, Type string
	Bytes      int
}

// Bounds lists the bound of every rule.
func (e *Engine) Bounds() []Bound {
	var out []Bound
	for _, c := range e.rules {
		out = append(out, Bound{Rule: c.Name, Type: c.Type, Bytes: c.bound})
	}
	if e.names != nil {
		for _, r := range e.names.Rules() {
			out = append(out, Bound{Rule: r.Name, Type: r.Type, Bytes: e.names.Bound()})
		}
	}
	return out
}

// MostHeld is the most bytes that a Rewriter ever holds. That is no more than a candidate holds, but where several overlap: an open value may begin
// in a candidate that begins in a value that is found. Or it is the longest entry of the list of values that are allowed.
func (e *Engine) MostHeld() int {
	most := 0
	for _, b := range e.Bounds() {
		most = max(most, b.Bytes)
	}
	return max(3*most, action.MaxAllow) + 4
}

// Rules lists all rules, those of the names stage last.
func (e *Engine) Rules() []*rule.Rule {
	var out []*rule.Rule
	for _, c := range e.rules {
		out = append(out, c.Rule)
	}
	if e.names != nil {
		out = append(out, e.names.Rules()...)
	}
	return out
}

// StreamOptions are about one text.
type StreamOptions struct {
	Session string   // pseudonyms are the same within one
	Roles   []string // of the caller; rows of the table may ask for them
	// Plan says what becomes of values in this text; nil: what Options.Table plans for replies.
	Plan *action.Plan
	// Context is text that stands to the left: rules may begin in it, but it is never released and no mask covers it.
	Context []byte
}

// Stream starts the masking of one text.
func (e *Engine) Stream(carrier string, o StreamOptions) *Rewriter {
	r, ok := e.free.Get().(*Rewriter)
	if !ok {
		r = newRewriter(e)
	}
	r.start(carrier, o)
	return r
}

// Clear tells whether it is known at once that nothing of a whole text would be masked, neither as it stands nor anything in it that begins in before,
// which stands to the left of it. It allocates nothing and looks at each byte once. False may mean anything.
func (e *Engine) Clear(p *action.Plan, before, text []byte) bool {
	k := e.plan(p)
	if k.prog == nil {
		return true
	}
	return !k.names && !k.prog.rings(before, text)
}

// Mask masks a whole text. The offsets of the masks are bytes of text. After an error nothing of the text may be used.
func (e *Engine) Mask(carrier, text string, o StreamOptions) (string, []pipeline.Mask, error) {
	out, masks, err := e.Append(make([]byte, 0, len(text)+len(text)/8), carrier, []byte(text), o)
	if err != nil {
		return "", masks, err
	}
	return string(out), masks, nil
}

// Append masks a whole text and appends the result to dst. After an error nothing of the text is appended.
func (e *Engine) Append(dst []byte, carrier string, text []byte, o StreamOptions) ([]byte, []pipeline.Mask, error) {
	r := e.Stream(carrier, o)
	out, err := r.Write(dst, text)
	if err == nil {
		out, err = r.Flush(out)
	}
	masks := r.Masks()
	r.Release()
	if err != nil {
		clear(out[len(dst):])
		return dst, masks, err
	}
	return out, masks, nil
}

// DeniedError says that the text has a value whose action is to deny. Nothing of the value was released, and nothing will be.
type DeniedError struct{ Carrier, Type, Rule, Why string }

func (e *DeniedError) Error() string {
	return fmt.Sprintf("the text has a value of type %s (rule %s), which the settings deny", e.Type, e.Rule)
}

// Refused is what pipeline.MaskRefused asks for.
func (e *DeniedError) Refused() pipeline.Mask {
	return pipeline.Mask{Carrier: e.Carrier, Type: e.Type, Rule: e.Rule, Why: e.Why, Action: action.Deny.String()}
}
