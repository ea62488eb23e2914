// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// The two records that each exchange has are encoded by hand, byte for byte as encoding/json would: by reflection they
// were a twentieth of all the time under load. What is rare is left to encoding/json.

// fields appends the members of JSON objects.
type fields struct {
	b   []byte
	err error
}

// open begins an object, or an array with bracket '['.
func (f *fields) open(name string, bracket byte) {
	f.name(name)
	f.b = append(f.b, bracket)
}

// shut ends what open began.
func (f *fields) shut(bracket byte) { f.b = append(f.b, bracket) }

// name begins a member, or an element without a name.
func (f *fields) name(name string) {
	if n := len(f.b); n > 0 && f.b[n-1] != '{' && f.b[n-1] != '[' {
		f.b = append(f.b, ',')
	}
	if name != "" {
		f.b = append(append(append(f.b, '"'), name...), '"', ':')
	}
}

func (f *fields) text(name, v string) {
	f.name(name)
	for i := range len(v) {
		if c := v[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			f.any(v)
			return
		}
	}
	f.b = append(append(append(f.b, '"'), v...), '"')
}

func (f *fields) textIf(name, v string) {
	if v != "" {
		f.text(name, v)
	}
}

func (f *fields) int(name string, v int64) {
	f.name(name)
	f.b = strconv.AppendInt(f.b, v, 10)
}

func (f *fields) intIf(name string, v int64) {
	if v != 0 {
		f.int(name, v)
	}
}

func (f *fields) uint(name string, v uint64) {
	f.name(name)
	f.b = strconv.AppendUint(f.b, v, 10)
}

func (f *fields) uintIf(name string, v uint64) {
	if v != 0 {
		f.uint(name, v)
	}
}

func (f *fields) intPointer(name string, v *int64) {
	if v != nil {
		f.int(name, *v)
	}
}

func (f *fields) bool(name string, v bool) {
	f.name(name)
	f.b = strconv.AppendBool(f.b, v)
}

// any appends a value, whose name is there, by encoding/json.
func (f *fields) any(v any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		f.err = err
		return
	}
	f.b = append(f.b, buf.Bytes()[:buf.Len()-1]...)
}

func (f *fields) anyIf(name string, here bool, v any) {
	if here {
		f.name(name)
		f.any(v)
	}
}

// The parts of an intent.
const (
	intentWhole    = iota // for comparison with encoding/json
	intentMetadata        // without steps, body and its digest
	intentContent         // only steps and digest: the texts of steps whose place in the body is known are left out
)

func appendIntent(dst []byte, in *pipeline.Intent, part int) ([]byte, error) {
	f := fields{b: dst}
	f.open("", '{')
	if part == intentContent {
		if len(in.Call.Steps) > 0 {
			f.open("call", '{')
			f.steps("steps", in.Call.Steps, true, len(in.Body))
			f.shut('}')
		}
		f.textIf("body_sha256", in.BodySHA256)
		f.anyIf("original", len(in.SealedOriginal) > 0, in.SealedOriginal)
		f.shut('}')
		return f.b, f.err
	}
	f.textIf("flow", in.Flow)
	f.text("scope", in.Scope)
	f.text("mode", in.Mode.String())
	w := &in.Workload
	f.open("workload", '{')
	f.uint("pid", uint64(w.PID))
	f.uint("start", w.Start)
	f.textIf("comm", w.Comm)
	f.textIf("exe", w.Exe)
	f.textIf("cgroup", w.Cgroup)
	f.textIf("unit", w.Unit)
	f.textIf("container", w.Container)
	f.textIf("pod", w.Pod)
	f.textIf("namespace", w.Namespace)
	f.textIf("service_account", w.ServiceAccount)
	f.uint("uid", uint64(w.UID))
	f.uint("login_uid", uint64(w.LoginUID))
	f.anyIf("labels", len(w.Labels) > 0, w.Labels)
	f.textIf("found", w.Found)
	f.shut('}')
	p := &in.Principal
	f.open("principal", '{')
	f.textIf("spiffe_id", p.SPIFFEID)
	f.textIf("source", p.Source)
	f.textIf("user", p.User)
	f.anyIf("groups", len(p.Groups) > 0, p.Groups)
	f.anyIf("expires", !p.Expires.IsZero(), p.Expires)
	f.shut('}')
	f.open("endpoint", '{')
	f.text("name", in.Endpoint.Name)
	f.text("host", in.Endpoint.Host)
	f.text("protocol", in.Endpoint.Protocol)
	f.uint("port", uint64(in.Endpoint.Port))
	f.textIf("base_path", in.Endpoint.BasePath)
	f.shut('}')
	f.text("method", in.Method)
	f.text("target", in.Target)
	f.textIf("user_agent", in.UserAgent)
	f.textIf("credential", in.Credential)
	f.open("call", '{')
	f.text("operation", in.Call.Operation)
	f.text("model", in.Call.Model)
	f.bool("stream", in.Call.Stream)
	if part == intentWhole {
		f.steps("steps", in.Call.Steps, false, len(in.Body))
	}
	f.intIf("max_tokens", in.Call.MaxTokens)
	f.textIf("previous", in.Call.Previous)
	f.textIf("thread", in.Call.Thread)
	f.shut('}')
	f.int("body_bytes", in.BodyBytes)
	if part == intentWhole {
		f.textIf("body_sha256", in.BodySHA256)
	}
	f.anyIf("masks", len(in.Masks) > 0, in.Masks)
	f.textIf("policy", in.Policy)
	f.textIf("uninspected", in.Uninspected)
	f.textIf("parent", in.Parent)
	f.uintIf("chain", in.Chain)
	f.uintIf("opening", in.Opening)
	f.intIf("repeats", int64(in.Repeats))
	if in.SameFrame {
		f.bool("same_frame", true)
	}
	f.anyIf("original", part == intentWhole && len(in.SealedOriginal) > 0, in.SealedOriginal)
	f.textIf("original_missing", in.OriginalMissing)
	f.shut('}')
	return f.b, f.err
}

// shortText is the length below which a text is repeated: its place would take as much.
const shortText = 32

// steps leaves the texts out that stand in a body of so many bytes, if they are kept apart from it.
func (f *fields) steps(name string, steps []pipeline.Step, apart bool, size int) {
	if len(steps) == 0 {
		return
	}
	f.open(name, '[')
	for i := range steps {
		s := &steps[i]
		f.open("", '{')
		f.text("kind", s.Kind)
		f.textIf("name", s.Name)
		f.textIf("id", s.ID)
		f.int("index", int64(s.Index))
		f.anyIf("args", len(s.Args) > 0, s.Args)
		from, end := s.From[0], s.From[1]
		elsewhere := from >= 0 && from < end && end <= size && len(s.Text) >= shortText
		if !apart || !elsewhere {
			f.textIf("text", s.Text)
		}
		if s.ByProvider {
			f.bool("by_provider", true)
		}
		if !apart && s.From != [2]int{} || apart && elsewhere {
			f.open("from", '[')
			f.int("", int64(from))
			f.int("", int64(end))
			f.shut(']')
		}
		f.shut('}')
	}
	f.shut(']')
}

func appendOutcome(dst []byte, o *pipeline.Outcome) ([]byte, error) {
	f := fields{b: dst}
	f.open("", '{')
	f.int("status", int64(o.Status))
	v := &o.Verdict
	f.open("verdict", '{')
	f.text("action", v.Action.String())
	f.textIf("stage", v.Stage)
	f.textIf("rule", v.Rule)
	f.textIf("reason", v.Reason)
	f.textIf("hold", v.Hold)
	f.textIf("credential", v.Credential)
	f.textIf("code", v.Code)
	f.textIf("elevation", v.Elevation)
	f.textIf("approval", v.Approval)
	f.anyIf("matched", len(v.Matched) > 0, v.Matched)
	f.textIf("digest", v.Digest)
	f.anyIf("removed", len(v.Removed) > 0, v.Removed)
	f.shut('}')
	f.textIf("decision", o.Decision)
	f.bool("enforced", o.Enforced)
	f.textIf("cut", o.Cut)
	f.textIf("cut_reason", o.CutReason)
	f.textIf("response_id", o.ResponseID)
	f.textIf("response_model", o.ResponseModel)
	if len(o.Finish) > 0 {
		f.open("finish", '[')
		for _, s := range o.Finish {
			f.text("", s)
		}
		f.shut(']')
	}
	f.textIf("text", o.Text)
	f.steps("tools", o.Tools, false, 0)
	f.anyIf("masks", len(o.Masks) > 0, o.Masks)
	f.open("usage", '{')
	f.intPointer("input_tokens", o.Usage.InputTokens)
	f.intPointer("output_tokens", o.Usage.OutputTokens)
	f.intPointer("cached_tokens", o.Usage.CachedTokens)
	f.shut('}')
	f.int("bytes_released", o.BytesReleased)
	f.int("duration_ms", o.DurationMS)
	f.intIf("first_release_ms", o.FirstReleaseMS)
	f.int("overhead_us", o.OverheadUS)
	f.intIf("hold_ms", o.HoldMS)
	f.textIf("reply_of", o.ReplyOf)
	if len(o.Pace) > 0 {
		f.open("pace", '[')
		for _, p := range o.Pace {
			f.open("", '{')
			f.int("at", p.At)
			f.int("bytes", int64(p.Bytes))
			f.shut('}')
		}
		f.shut(']')
	}
	if k := o.Original; k != nil {
		f.open("original", '{')
		f.int("pieces", int64(k.Pieces))
		f.int("bytes", k.Bytes)
		f.textIf("cut", k.Cut)
		f.shut('}')
	}
	f.textIf("original_missing", o.OriginalMissing)
	f.shut('}')
	return f.b, f.err
}
