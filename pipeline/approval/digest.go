// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/approval/jcs"
)

// The bounds of arguments of a call that can be told apart: how many, and how long their names are.
const (
	maxFields = 64
	maxNames  = 4 << 10
)

// bound is what a decision is bound to.
type bound struct {
	of     string
	digest string
	fields map[string]string // digests of the arguments by name; nil if they cannot be told apart
}

// caller is the part of a principal that binds.
type caller struct {
	SPIFFEID string `json:"spiffe_id"`
	User     string `json:"user"`
	UID      uint32 `json:"uid"`
	Login    uint32 `json:"login_uid"` // not every login has a name here
	Place    string `json:"workload"`  // of who has no SPIFFE ID
}

func callerOf(p *pipeline.Principal, w *pipeline.Workload) caller {
	c := caller{SPIFFEID: p.SPIFFEID, User: p.User, UID: w.UID, Login: w.LoginUID}
	if c.SPIFFEID == "" {
		c.Place = w.Place()
	}
	return c
}

// bind computes what a decision about h is bound to: the thing as it stands, the thing as it is shown, who calls, and the rule as
// it reads. It is keyed, since what is masked may be short enough to be guessed.
func (d *Desk) bind(h *pipeline.Held) (bound, error) {
	b := bound{of: pipeline.ApprovalOfRequest}
	what := map[string]any{"principal": callerOf(&h.Meta.Principal, &h.Meta.Workload), "rule": h.Verdict.Rule, "rule_digest": h.Verdict.Digest, "raw": d.exactly(h.Raw)}
	if s := h.Step; s != nil && s.Kind == pipeline.StepToolCall {
		b.of = pipeline.ApprovalOfCall
		what["tool"], what["shown"] = d.sum([]byte(s.Name)), d.exactly(s.Args) // names may be no Unicode, which JSON would replace
		b.fields = d.fields(h.Raw, s.Args)
	} else {
		what["shown"] = d.exactly(h.Body)
		what["endpoint"], what["target"] = h.Meta.Endpoint, d.sum([]byte(h.Target))
		if h.Call != nil {
			what["operation"] = h.Call.Operation
		}
		if s != nil && s.Kind == pipeline.StepResponse {
			b.of, what["shown"] = pipeline.ApprovalOfResponse, d.exactly([]byte(s.Text))
		}
	}
	what["of"] = b.of
	text, err := json.Marshal(what)
	if err != nil {
		return b, err
	}
	if text, err = jcs.AppendExact(nil, text); err != nil {
		return b, err
	}
	b.digest = d.sum(text)
	return b, nil
}

// exactly stands for JSON in its canonical form, or for what has none as the bytes that it is.
func (d *Desk) exactly(raw []byte) any {
	if text, err := jcs.AppendExact(nil, raw); err == nil {
		return map[string]string{"json": d.sum(text)}
	}
	return map[string]string{"bytes": d.sum(raw)}
}

func (d *Desk) sum(text []byte) string {
	h := hmac.New(sha256.New, d.o.Key)
	h.Write(text)
	return hex.EncodeToString(h.Sum(nil))
}

// fields gives each argument a digest of its own, which also says of what type it is. Arguments whose names are masked, and those
// that are no JSON object with a canonical form, cannot be told apart.
func (d *Desk) fields(raw, shown []byte) map[string]string {
	all, err := members(raw)
	if err != nil || len(all) > maxFields {
		return nil
	}
	seen, err := members(shown)
	if err != nil || len(seen) != len(all) {
		return nil
	}
	out, names := make(map[string]string, len(all)), 0
	for name, value := range all {
		if names += len(name); names > maxNames {
			return nil
		}
		if _, ok := seen[name]; !ok {
			return nil
		}
		quoted, err := json.Marshal(name)
		if err != nil {
			return nil
		}
		out[name] = string(value[:1]) + d.sum(append(append([]byte(`["argument",`), quoted...), value...))
	}
	return out
}

var errNoObject = errors.New("no object")

// members are the canonical values of an object.
func members(raw []byte) (map[string]json.RawMessage, error) {
	text, err := jcs.AppendExact(nil, raw)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(text, []byte{'{'}) {
		return nil, errNoObject
	}
	var out map[string]json.RawMessage
	return out, json.Unmarshal(text, &out)
}

// likeness tells whether arguments are those that were approved, but for the values of those that may differ, which must be there
// and keep their type.
func likeness(approved, now map[string]string, free []string) bool {
	if approved == nil || len(approved) != len(now) {
		return false
	}
	for name, sum := range approved {
		other, ok := now[name]
		if !ok || sum == "" || other == "" {
			return false
		}
		if sum == other {
			continue
		}
		loose := false
		for _, f := range free {
			loose = loose || f == name
		}
		if !loose || typeOf(sum) != typeOf(other) {
			return false
		}
	}
	return true
}

// typeOf is the type of an argument by the first byte of its value.
func typeOf(sum string) byte {
	switch c := sum[0]; c {
	case 't', 'f':
		return 't'
	case '"', '{', '[', 'n':
		return c
	}
	return '0' // a number
}
