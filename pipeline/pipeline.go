// SPDX-License-Identifier: Apache-2.0

// Package pipeline holds the words in which a conversation is described: who calls, what they call, what was decided,
// what was recorded. It imports nothing of ours, does no I/O and starts no goroutine.
package pipeline

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Mode is what a scope does with an exchange.
type Mode uint8

const (
	ModeOff Mode = iota
	ModeDiscover
	ModeObserve
	ModeEnforce
)

var modeNames = [...]string{"off", "discover", "observe", "enforce"}

func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// MarshalText makes modes readable in records.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (m *Mode) UnmarshalText(b []byte) error {
	for i, n := range modeNames {
		if string(b) == n {
			*m = Mode(i)
			return nil
		}
	}
	return fmt.Errorf("mode %q: want off, discover, observe or enforce", b)
}

// Action is what a verdict does. The order is one of growing severity: the most severe of several wins.
type Action uint8

const (
	Allow Action = iota
	Alert
	Transform // something is removed or masked, the rest goes on
	Hold
	Deny
)

var actionNames = [...]string{"allow", "alert", "transform", "hold", "deny"}

func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// MarshalText makes actions readable in records.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (a *Action) UnmarshalText(b []byte) error {
	for i, n := range actionNames {
		if string(b) == n {
			*a = Action(i)
			return nil
		}
	}
	return fmt.Errorf("unknown action %q", b)
}

// Workload is what runs.
type Workload struct {
	PID            uint32            `json:"pid"`
	Start          uint64            `json:"start"` // nanoseconds since boot; with PID it names one thread group
	Comm           string            `json:"comm,omitempty"`
	Exe            string            `json:"exe,omitempty"`
	Cgroup         string            `json:"cgroup,omitempty"` // path below the cgroup v2 root
	Unit           string            `json:"unit,omitempty"`
	Container      string            `json:"container,omitempty"`
	Pod            string            `json:"pod,omitempty"` // pod UID until pod names are known
	Namespace      string            `json:"namespace,omitempty"`
	ServiceAccount string            `json:"service_account,omitempty"`
	UID            uint32            `json:"uid"`
	LoginUID       uint32            `json:"login_uid"`
	Labels         map[string]string `json:"labels,omitempty"`
	Found          string            `json:"found,omitempty"` // how it was recognised as a LangChain program, if not by opening a package's file
}

// Place tells workloads apart that have no identity: uids say little, all containers may be root.
func (w *Workload) Place() string {
	switch {
	case w.Namespace != "" && w.ServiceAccount != "":
		return "serviceaccount/" + w.Namespace + "/" + w.ServiceAccount
	case w.Pod != "":
		return "pod/" + w.Pod
	case w.Container != "":
		return "container/" + w.Container
	case w.Unit != "":
		return "unit/" + w.Unit
	}
	return "cgroup/" + w.Cgroup
}

// Principal is who acts. Unknown stays empty, and an empty value matches no binding.
type Principal struct {
	SPIFFEID string    `json:"spiffe_id,omitempty"`
	Source   string    `json:"source,omitempty"` // how the SPIFFE ID came about: "template", later "workload-api"
	User     string    `json:"user,omitempty"`
	Groups   []string  `json:"groups,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`
}

// Endpoint is one provider host with its wire protocol.
type Endpoint struct {
	Name     string `json:"name"`
	Host     string `json:"host"`
	Protocol string `json:"protocol"`
	Port     uint16 `json:"port"`
	BasePath string `json:"base_path,omitempty"` // what the paths of its API begin with; "" = as the protocol has it
}

// Field is one header field; order and case are those of the wire.
type Field struct{ Name, Value string }

// Head is the head of a request (Method, Target) or of a reply (Status). Credential fields are not among Fields:
// Credential holds a keyed fingerprint of what was cut out, "" if there was none.
type Head struct {
	Method, Target string
	Status         int
	Reason         string
	Fields         []Field
	Credential     string
}

// Get returns the first value of a field, comparing names without case; "" if it is absent.
func (h *Head) Get(name string) string {
	for i := range h.Fields {
		if strings.EqualFold(h.Fields[i].Name, name) {
			return h.Fields[i].Value
		}
	}
	return ""
}

// Clone copies a head so that its fields can be changed.
func (h Head) Clone() Head {
	h.Fields = append([]Field(nil), h.Fields...)
	return h
}

// Set replaces the first field of that name, keeping its place and case, removes further ones, and appends if there
// is none.
func (h *Head) Set(name, value string) {
	out, done := h.Fields[:0:0], false
	for _, f := range h.Fields {
		if !strings.EqualFold(f.Name, name) {
			out = append(out, f)
		} else if !done {
			out, done = append(out, Field{f.Name, value}), true
		}
	}
	if !done {
		out = append(out, Field{name, value})
	}
	h.Fields = out
}

// Del removes all fields of that name.
func (h *Head) Del(name string) {
	out := h.Fields[:0:0]
	for _, f := range h.Fields {
		if !strings.EqualFold(f.Name, name) {
			out = append(out, f)
		}
	}
	h.Fields = out
}

// Meta is what is known about an exchange before its body is read.
type Meta struct {
	Session, Exchange string
	Flow              string
	Scope             string
	Mode              Mode
	Workload          Workload
	Principal         Principal
	Endpoint          Endpoint
	Start             time.Time

	// What Sessions finds: the exchange of this session that this one goes on from, "" if it is known of none; and keyed hashes of its
	// messages, and of its instructions and tools, by which the next turn is recognised (0 = none).
	Parent         string
	Chain, Opening uint64
	Shared         int // how many messages, from the first, the request has in common with Parent's: all that Parent's has; 0 if it is not known
}

// The kinds of step that policy can name.
const (
	StepPrompt     = "prompt"
	StepToolOffer  = "toolOffer"
	StepToolCall   = "toolCall"
	StepToolResult = "toolResult"
	StepResponse   = "response"
)

// Step is one thing inside an exchange that policy can name. Text is the text of a prompt, result or response; Args
// the complete arguments of a tool call as the model wrote them (usually, but not surely, valid JSON).
type Step struct {
	Kind  string          `json:"kind"`
	Name  string          `json:"name,omitempty"` // tool name
	ID    string          `json:"id,omitempty"`   // tool call ID
	Index int             `json:"index"`
	Args  json.RawMessage `json:"args,omitempty"`
	Text  string          `json:"text,omitempty"`

	// ByProvider marks a tool that the provider runs itself: it is decided when it is offered, because no call of it asks us.
	ByProvider bool `json:"by_provider,omitempty"`

	// Beside are further texts that reach the model with the step, a line each: what the parameters of an offered tool, or the form that
	// is demanded of an answer, say in words. They can be matched, not masked, and are recorded in Intent.Body only.
	Beside string `json:"-"`

	// From is where the JSON string of Text stands in Intent.Body: start and end, in bytes, half open. A record that has it
	// leaves Text out; who reads the record gets Text again, and no From.
	From [2]int `json:"from,omitzero"`
}

// The operations of Call.
const (
	OpChat        = "chat" // a model answers a conversation, whatever the protocol calls it
	OpCompletions = "completions"
	OpEmbeddings  = "embeddings"
	OpModels      = "models" // what models there are
	OpCountTokens = "count_tokens"
)

// InFrame says whether a step is around the conversation: its instructions, and what is only offered.
func InFrame(s *Step) bool { return s.Kind == StepToolOffer || s.Index < 0 }

// Messages are the steps of a conversation, in its order, without what is around it.
func Messages(steps []Step) []*Step {
	var out []*Step
	for i := range steps {
		if !InFrame(&steps[i]) {
			out = append(out, &steps[i])
		}
	}
	slices.SortStableFunc(out, func(a, b *Step) int { return cmp.Compare(a.Index, b.Index) })
	return out
}

// Call is what a request asks for, in words that no provider owns.
type Call struct {
	Operation string `json:"operation"`
	Model     string `json:"model"`
	Stream    bool   `json:"stream"`
	Steps     []Step `json:"steps,omitempty"`

	MaxTokens int64 `json:"max_tokens,omitempty"` // the most that the request lets the model write; 0 if it does not say

	// What the request goes on from, if that is kept at the provider: the ID of a reply, of a conversation.
	Previous string `json:"previous,omitempty"`
	Thread   string `json:"thread,omitempty"`
}

// Verdict is one decision. Rule and Reason are meant for people and never hold a pattern or a matched value.
type Verdict struct {
	Action     Action `json:"action"`
	Stage      string `json:"stage,omitempty"` // "call" or a step kind
	Rule       string `json:"rule,omitempty"`  // "role/NAME", "guardrail/NAME", "builtin/NAME"
	Reason     string `json:"reason,omitempty"`
	Hold       string `json:"hold,omitempty"`
	Credential string `json:"credential,omitempty"` // the name of a credential to use upstream, never a key

	Code      string    `json:"code,omitempty"`      // the kind of a denial, for the application: "" for denied, CodeBudget
	Elevation string    `json:"elevation,omitempty"` // the grant without which it would have been denied
	Approval  string    `json:"approval,omitempty"`  // what people decide, or decided, about it
	Matched   []Matched `json:"matched,omitempty"`   // every guardrail that matched, by name, and rules that only observe
	Digest    string    `json:"digest,omitempty"`    // of the rule that holds, so that an approval is for this rule as it reads now
	Removed   []Step    `json:"removed,omitempty"`   // the tools that a Transform takes out of the offer, without their texts
	// Masks are what a Transform is to put in place of what matched in the step's Text or Args (Carrier "text" or "args").
	Masks []Mask `json:"-"`
	// Done says of a Transform that it was carried out. Who decides does not set it.
	Done bool `json:"-"`
}

// CodeBudget is the code of a denial for want of budget.
const CodeBudget = "budget"

// Matched is one rule that had something to say about a step.
type Matched struct {
	Rule     string `json:"rule"`
	Action   Action `json:"action"`             // what it asks for
	Observed bool   `json:"observed,omitempty"` // it is only watched: it changed nothing
}

// Grant is a role that a caller has for a time, on top of those bound to it.
type Grant struct {
	ID    string // of the elevation
	Role  string
	Until time.Time // zero: until it is ended by what it hangs on
}

// Mask is one masked span. At and Len are byte offsets into the original text of its carrier; With is what stands
// there now. The value itself is never kept: Fingerprint is a keyed hash of it, so that equal ones mean equal values.
type Mask struct {
	Carrier     string `json:"carrier"`
	Type        string `json:"type"`
	Rule        string `json:"rule,omitempty"`   // that found it
	Why         string `json:"why,omitempty"`    // what gave it away, in words that hold no value
	Action      string `json:"action,omitempty"` // what stands in its place, unless it is a tag
	Fingerprint string `json:"fingerprint,omitempty"`
	At          int    `json:"at"`
	Len         int    `json:"len"`
	With        string `json:"with"`
	Upstream    bool   `json:"upstream,omitempty"` // of a request: it was masked before it was sent
}

// MaskRefused is an error of a rewriter: a value was found that is to end the exchange. Nothing of it was released, and the error holds
// nothing of it. Refused says where it was found, by which rule, and why; not at which place.
type MaskRefused interface {
	error
	Refused() Mask
}

// Position is a place in the journal.
type Position struct {
	Segment uint64 `json:"segment"`
	Offset  uint64 `json:"offset"`
}
