// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// Field is something that a query can name.
type Field struct {
	Name string
	Doc  string // a sentence
	// Number says that the values are numbers, which can be compared: tokens:>1000.
	Number bool
	// Many says that there are too many values to list them, so that no glob is possible.
	Many bool

	column string // of a number
	get    func(x *journal.Exchange) []string
}

// Fields lists what a query can name, besides since, until and words.
func Fields() []Field {
	one := func(s string) []string {
		if s == "" {
			return nil
		}
		return []string{s}
	}
	return []Field{
		{Name: "principal", Doc: "SPIFFE ID or user who asked.", get: func(x *journal.Exchange) []string {
			return append(one(x.Principal.SPIFFEID), one(x.Principal.User)...)
		}},
		{Name: "workload", Doc: "Unit, container, pod, program or its name.", get: func(x *journal.Exchange) []string {
			var out []string
			for _, s := range []string{x.Workload.Unit, x.Workload.Container, x.Workload.Pod, x.Workload.Exe, x.Workload.Comm} {
				out = append(out, one(s)...)
			}
			return out
		}},
		{Name: "namespace", Doc: "Kubernetes namespace.", get: func(x *journal.Exchange) []string { return one(x.Workload.Namespace) }},
		{Name: "cgroup", Doc: "Control group.", get: func(x *journal.Exchange) []string { return one(x.Workload.Cgroup) }},
		{Name: "uid", Doc: "User ID of the process.", get: func(x *journal.Exchange) []string { return one(strconv.FormatUint(uint64(x.Workload.UID), 10)) }},
		{Name: "scope", Doc: "Scope of the configuration.", get: func(x *journal.Exchange) []string { return one(x.Scope) }},
		{Name: "mode", Doc: "`observe` or `enforce`.", get: func(x *journal.Exchange) []string { return one(x.Verdict.Mode) }},
		{Name: "endpoint", Doc: "Name or host of the endpoint.", get: func(x *journal.Exchange) []string { return append(one(x.Endpoint), one(x.Host)...) }},
		{Name: "model", Doc: "Model that was asked for, or that answered.", get: func(x *journal.Exchange) []string {
			return append(one(x.Model), one(x.Response.Model)...)
		}},
		{Name: "operation", Doc: "`chat`, `completions`, `embeddings`, `models`, …", get: func(x *journal.Exchange) []string { return one(x.Operation) }},
		{Name: "tool", Doc: "Tool that the model called, refused or not, or that answered.", get: func(x *journal.Exchange) []string {
			var out []string
			for i := range x.Tools {
				out = append(out, one(x.Tools[i].Name)...)
			}
			for i := range x.Steps {
				if x.Steps[i].Kind == pipeline.StepToolResult {
					out = append(out, one(x.Steps[i].Name)...)
				}
			}
			return out
		}},
		{Name: "verdict", Doc: "What was decided, on the whole or on any part: `allow`, `transform`, `hold`, `deny`.", get: func(x *journal.Exchange) []string {
			out := []string{x.Verdict.Action}
			for i := range x.Decisions {
				out = append(out, x.Decisions[i].Action)
			}
			return out
		}},
		{Name: "stage", Doc: "Stage of a decision: `call`, `prompt`, `toolCall`, …", get: func(x *journal.Exchange) []string {
			out := one(x.Verdict.Stage)
			for i := range x.Decisions {
				out = append(out, x.Decisions[i].Stage)
			}
			return out
		}},
		{Name: "rule", Doc: "Rule that decided: `guardrail/no-shell`.", get: func(x *journal.Exchange) []string {
			out := one(x.Verdict.Rule)
			for i := range x.Decisions {
				out = append(out, one(x.Decisions[i].Rule)...)
			}
			return out
		}},
		{Name: "mask", Doc: "Type of a masked value: `EMAIL`.", get: func(x *journal.Exchange) []string {
			var out []string
			for i := range x.Masked {
				out = append(out, x.Masked[i].Type)
			}
			return out
		}},
		{Name: "fingerprint", Doc: "Keyed fingerprint of a masked value.", Many: true, get: func(x *journal.Exchange) []string {
			var out []string
			for i := range x.Masked {
				out = append(out, one(x.Masked[i].Fingerprint)...)
			}
			return out
		}},
		{Name: "cut", Doc: "Why a reply did not end by itself: `client`, `upstream`, `agent`, `error`.", get: func(x *journal.Exchange) []string { return one(x.Cut) }},
		{Name: "policy", Doc: "Version of the policy that decided.", get: func(x *journal.Exchange) []string { return one(x.Policy) }},
		{Name: "credential", Doc: "Keyed fingerprint of the provider key.", Many: true, get: func(x *journal.Exchange) []string { return one(x.Request.Credential) }},
		{Name: "session", Doc: "ID of a session.", Many: true, get: func(x *journal.Exchange) []string { return one(x.SessionID) }},
		{Name: "exchange", Doc: "ID of an exchange.", Many: true, get: func(x *journal.Exchange) []string { return one(x.ExchangeID) }},
		{Name: "approval", Doc: "ID of what people were asked.", Many: true, get: func(x *journal.Exchange) []string { return one(x.Verdict.Approval) }},
		{Name: "elevation", Doc: "ID of the grant that allowed it.", Many: true, get: func(x *journal.Exchange) []string { return one(x.Verdict.Elevation) }},
		{Name: "is", Doc: "`denied` (or would have been), `masked`, `held`, `cut`, `uninspected`, `streamed`, `estimated`.", get: func(x *journal.Exchange) []string {
			var out []string
			add := func(name string, on bool) {
				if on {
					out = append(out, name)
				}
			}
			add("denied", denied(x))
			add("masked", len(x.Masked) > 0)
			add("held", x.HoldMS > 0 || x.Verdict.Approval != "")
			add("cut", x.Cut != "")
			add("uninspected", x.Uninspected != "")
			add("streamed", x.Stream)
			return out
		}},
		{Name: "status", Doc: "HTTP status of the reply.", Number: true, column: "status"},
		{Name: "masks", Doc: "Number of masked values.", Number: true, column: "masked"},
		{Name: "tokens", Doc: "Tokens, in and out.", Number: true, column: "input + e.output"},
		{Name: "duration", Doc: "Milliseconds that it took.", Number: true, column: "duration"},
	}
}

// denied tells whether something of an exchange was denied, or would have been.
func denied(x *journal.Exchange) bool {
	if x.Verdict.Action == pipeline.Deny.String() {
		return true
	}
	for i := range x.Decisions {
		if x.Decisions[i].Action == pipeline.Deny.String() {
			return true
		}
	}
	return false
}

// token is the word of the index that stands for a field with a value. Case does not matter.
func token(field, value string) string {
	return "f" + strconv.FormatUint(xxhash.Sum64String(field+"\x00"+strings.ToLower(value)), 36)
}

// every is the word that all exchanges have.
const every = "fall"
