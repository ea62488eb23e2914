// SPDX-License-Identifier: Apache-2.0

package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

var update = flag.Bool("update", false, "rewrite golden files and docs/fields.md")

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, got, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is out of date: run go test ./pipeline/elastic/document -update\n%s", path, diff)
	}
}

// full is an exchange in which every field has a value.
func full() *journal.Exchange {
	n := int64(10)
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	return &journal.Exchange{
		SessionID: "ses_1", ExchangeID: "exc_1", FlowID: "flw_1", Time: at, Ended: at.Add(250 * time.Millisecond), Scope: "agents",
		Principal: journal.Principal{SPIFFEID: "spiffe://example.org/unit/a", User: "ada", Source: "template"},
		Workload: journal.Workload{PID: 7, Start: 1234, UID: 1000, LoginUID: 1001, Cgroup: "/a.service", Unit: "a.service", Container: "c1", Pod: "p1",
			Namespace: "ns", ServiceAccount: "sa", Comm: "python", Exe: "/usr/bin/python3", Found: "memory"},
		Endpoint: "openai", Host: "api.openai.com", Port: 443, Protocol: "openai", Operation: "chat", Model: "gpt-4o-mini", Stream: true,
		Request: journal.Request{Method: "POST", Target: "/v1/chat/completions?beta", UserAgent: "OpenAI/Python", Credential: "fp1", Bytes: 23,
			SHA256: "00", Body: json.RawMessage(`{"content":"a prompt"}`)},
		Response: journal.Response{Status: 200, ID: "chatcmpl-1", Model: "gpt-4o-mini-2024", Finish: []string{"tool_calls"}, Text: "a reply", Bytes: 900, CutReason: "reset"},
		Tools: []journal.Tool{{Name: "search", ID: "call_1", Action: "allow", Args: json.RawMessage(`{"q":"an argument"}`)},
			{Name: "bash", ID: "call_2", Action: "deny"}},
		Steps:     []pipeline.Step{{Kind: pipeline.StepPrompt, Text: "a prompt"}, {Kind: pipeline.StepToolOffer, Name: "search"}, {Kind: pipeline.StepToolOffer, Name: "bash"}},
		Verdict:   journal.Verdict{Action: "deny", Stage: "toolCall", Rule: "guardrail/no-shell", Reason: "no \"shell\"\n", Mode: "enforce", Enforced: true, Decision: "dec_1", Elevation: "elv_1", Approval: "apr_1"},
		Decisions: []journal.Decision{{ID: "dec_1"}}, Masked: []pipeline.Mask{{Type: "EMAIL", Rule: "email"}, {Type: "EMAIL", Rule: "email"}, {Type: "CREDIT_CARD", Rule: "card", Action: "last_four", Fingerprint: "aa"}},
		Usage: pipeline.Usage{InputTokens: &n, OutputTokens: &n, CachedTokens: &n}, DurationMS: 250, OverheadUS: 300, FirstMS: 40, HoldMS: 1200, ReplyOf: "exc_0", Parent: "exc_00", Status: 200,
		Cut: "client", Content: "erased", Uninspected: "why", Policy: "p1", Record: journal.Place{Segment: 3, Offset: 80},
	}
}

// record is the head that all test documents have.
func record(kind string) Record {
	var h journal.Hash
	h[0], h[31] = 0xab, 1
	return Record{Kind: kind, Time: time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC), Session: "ses_1", Exchange: "exc_1", Generation: 2, Sequence: 9,
		At: pipeline.Position{Segment: 3, Offset: 80}, Hash: h}
}

var origin = Origin{Host: "h1", Version: "v1", Namespace: "default"}

// sources have a value in every field of their stream, each at least in one of them.
func sources() map[string]map[string]*source {
	w := pipeline.Workload{PID: 7, Start: 1234, UID: 1000, LoginUID: 1001, Cgroup: "/a.service", Unit: "a.service", Container: "c1", Pod: "p1", Namespace: "ns",
		ServiceAccount: "sa", Comm: "python", Exe: "/usr/bin/python3", Found: "memory"}
	who := pipeline.Principal{SPIFFEID: "spiffe://example.org/unit/a", User: "ada", Source: "template"}
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_900_123, time.UTC)
	decided := pipeline.Decision{ID: "dec_1", Mode: pipeline.ModeEnforce, Enforced: true, Policy: "p1", UID: 1000, Scope: "agents", Model: "m", Endpoint: "openai",
		SPIFFEID: who.SPIFFEID, Verdict: pipeline.Verdict{Action: pipeline.Deny, Stage: "toolCall", Rule: "guardrail/no-shell", Reason: "why", Elevation: "elv_1", Approval: "apr_1"},
		Step: &pipeline.Step{Kind: pipeline.StepToolCall, Name: "bash", Args: json.RawMessage(`{"q":"an argument"}`)}}
	asked := pipeline.Approval{ID: "apr_1", State: pipeline.ApprovalWaiting, Asked: &pipeline.ApprovalAsked{Of: pipeline.ApprovalOfElevation, Rule: "guardrail/ask", Reason: "why",
		Session: "ses_1", Exchange: "exc_1", Decision: "dec_1", Scope: "agents", Endpoint: "openai", Operation: "chat", Model: "m", Workload: w, Principal: who, Body: "a prompt",
		Step: &pipeline.Step{Name: "bash", Args: json.RawMessage(`{"q":"an argument"}`)}, Settings: pipeline.ApprovalSettings{Approvers: []string{"leads"}, Minimum: 2},
		Requester: &pipeline.Person{User: "bob", UID: 1002}, Role: "admin", For: time.Hour}}
	voted := pipeline.Approval{ID: "elv_1", State: pipeline.ApprovalApproved, Note: "fine", Voted: &pipeline.ApprovalVote{Time: at, By: pipeline.Person{User: "eve", UID: 1003}, Approve: true,
		Scope: pipeline.ScopeSession, For: time.Minute, Late: true}, Used: &pipeline.ApprovalUse{Exchange: "exc_2"}}
	fl := pipeline.Flow{ID: "flw_1", Disposition: pipeline.FlowCut, Reason: "older", Scope: "agents", Mode: pipeline.ModeEnforce, Workload: w, Principal: who, SNI: "api.openai.com",
		Dest: "192.0.2.1:443", BytesUp: 5, BytesDown: 6, Count: 7, Older: &pipeline.Older{Action: "cut", Ended: pipeline.OlderIdle, How: "destroy", Source: "kernel", WaitedMS: 9}}
	sealed := journal.Checkpoint{Reason: "segment", Boot: "b1", Generation: 2, Sequence: 8, Signed: &journal.Signature{Journal: "00ff", Epoch: 3, Time: at, Key: "aa", Next: "bb", Value: "cc"}}
	observed := full()
	observed.Verdict.Enforced, observed.Verdict.Mode, observed.Cut = false, "observe", ""
	all := journal.Parts{Intent: &pipeline.Intent{Call: pipeline.Call{Steps: []pipeline.Step{{Kind: pipeline.StepPrompt, Text: "a prompt"}, {Kind: pipeline.StepToolOffer, Name: "search", Text: "an offer"},
		{Kind: pipeline.StepToolResult, ID: "call_0", Text: "a result", Index: 1}}}}, Outcome: &pipeline.Outcome{Text: "a reply", Tools: []pipeline.Step{{Kind: pipeline.StepToolCall, Name: "search", Args: json.RawMessage(`{"q":"an argument"}`)}}}}
	parts, whole := split(&all, false)
	all.Intent.Parent, all.Intent.Repeats, all.Intent.SameFrame = "exc_00", 1, true
	later, lean := split(&all, false)
	stub := func() *journal.Exchange { return &journal.Exchange{SessionID: "ses_1", ExchangeID: "exc_1", Time: at} }
	read := func(kind string, body any) *source {
		s := &source{rec: record(kind), Exchange: stub()}
		s.take(body)
		return s
	}
	return map[string]map[string]*source{
		Exchange: {"full": {Exchange: full(), rec: record(pipeline.KindOutcome), thread: "thr_1"}, "empty": {Exchange: &journal.Exchange{}}, "observed": {Exchange: observed, rec: record(pipeline.KindOutcome)}},
		Content: {"content": {Exchange: full(), rec: record(pipeline.KindOutcome), part: &parts[0], parts: 1, whole: whole},
			"later": {Exchange: full(), rec: record(pipeline.KindOutcome), part: &later[0], parts: 1, whole: lean}},
		Decision: {"decision": read(pipeline.KindDecision, &decided), "approval": read(pipeline.KindApproval, &asked), "elevation": read(pipeline.KindElevation, &voted)},
		Flow:     {"flow": read(pipeline.KindFlow, &fl), "gap": read(pipeline.KindGap, &pipeline.Gap{Reason: "torn", Bytes: 5, Count: 2})},
		Admin: {"admin": read(pipeline.KindAdmin, readAction([]byte(`{"action":"record.erase","session":"ses_1","target":"t","reason":"asked","by":{"user":"ada","uid":1000},"pid":7,"comm":"sallyport"}`))),
			"policy": read(pipeline.KindPolicy, readAction([]byte(`{"version":"p2","cause":"file","action":7}`)))},
		Agent: {"checkpoint": read(pipeline.KindCheckpoint, &sealed), "open": read(journal.KindOpen, nil)},
	}
}

func TestTable(t *testing.T) {
	name := regexp.MustCompile(`^@?[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$`)
	types := map[string]string{}
	for _, st := range Streams() {
		seen := map[string]bool{}
		for _, f := range Fields(st.Name) {
			if !name.MatchString(f.Name) || seen[f.Name] {
				t.Errorf("%s: field %q", st.Name, f.Name)
			}
			seen[f.Name] = true
			for i := range f.Name { // an object cannot have a value of its own
				if f.Name[i] == '.' && seen[f.Name[:i]] {
					t.Errorf("%s and %s", f.Name[:i], f.Name)
				}
			}
			if !strings.HasSuffix(f.Doc, ".") {
				t.Errorf("%s: %q is no sentence", f.Name, f.Doc)
			}
			if was := types[f.Name]; was != "" && was != f.Type {
				t.Errorf("%s: %s and %s", f.Name, was, f.Type)
			}
			types[f.Name] = f.Type
			given := false
			for _, s := range sources()[st.Name] {
				s.Origin, s.stream = origin, &st
				ok, v := false, f.get(s)
				switch v := v.(type) {
				case nil:
					continue
				case string:
					ok, given = f.Type == keyword || f.Type == text || f.Type == opaque, given || v != ""
				case []string:
					ok, given = f.Type == keyword || f.Type == text, given || len(v) > 0
				case json.RawMessage:
					ok, given = f.Type == opaque, given || len(v) > 0
				case int64:
					ok, given = f.Type == long, true
				case bool:
					ok, given = f.Type == boolean, true
				case time.Time:
					ok, given = f.Type == date, true
				}
				if !ok {
					t.Errorf("%s: %s has the value %#v", f.Name, f.Type, v)
				}
			}
			if !given {
				t.Errorf("%s: %s has no value in any test document", st.Name, f.Name)
			}
		}
	}
}

// What was said is in the stream of contents and nowhere else.
func TestDocuments(t *testing.T) {
	m := NewMaker(origin)
	for stream, list := range sources() {
		for name, s := range list {
			t.Run(name, func(t *testing.T) {
				d := m.doc(stream, "1", s)
				if bytes.ContainsAny(d.JSON, "\r\n") {
					t.Errorf("a line break in %q", d.JSON)
				}
				for _, content := range []string{"a prompt", "a reply", "an argument", "an offer", "a result"} {
					before := name == "later" && (content == "a prompt" || content == "an offer")
					if got, want := bytes.Contains(d.JSON, []byte(content)), stream == Content && !before; got != want {
						t.Errorf("the document holds %q: %v", content, got)
					}
				}
				var out bytes.Buffer
				if err := json.Indent(&out, d.JSON, "", "  "); err != nil {
					t.Fatalf("%v in %s", err, d.JSON)
				}
				golden(t, filepath.Join("testdata", name+".json"), append(out.Bytes(), '\n'))
			})
		}
	}
}

func TestRoutes(t *testing.T) {
	for kind, want := range map[string]string{pipeline.KindIntent: "", pipeline.KindEvent: "", pipeline.KindOriginal: "", pipeline.KindOutcome: Exchange, pipeline.KindDecision: Decision, pipeline.KindApproval: Decision,
		pipeline.KindElevation: Decision, pipeline.KindFlow: Flow, pipeline.KindGap: Flow, pipeline.KindAdmin: Admin, pipeline.KindPolicy: Admin, pipeline.KindConfig: Admin,
		journal.KindOpen: Agent, pipeline.KindCheckpoint: Agent, "of tomorrow": Agent} {
		if got := Route(kind); got != want {
			t.Errorf("%s goes to %q, want %q", kind, got, want)
		}
	}
}

func TestTemplates(t *testing.T) {
	var out bytes.Buffer
	for _, tpl := range Templates(Lifecycle{}) {
		fmt.Fprintf(&out, "PUT %s\n%s\n\n", tpl.Path, tpl.Body)
	}
	golden(t, filepath.Join("testdata", "templates.txt"), out.Bytes())
}

func TestFieldsPage(t *testing.T) {
	var b strings.Builder
	b.WriteString(`<!-- Made from the table in pipeline/elastic/document by ` + "`go test ./pipeline/elastic/document -update`" + `; do not edit. -->
# Fields in Elasticsearch

Names follow the Elastic Common Schema ` + ECSVersion + ` and the OpenTelemetry conventions for generative AI; what neither has is under ` + "`sallyport.`" + `. The ID of a document is the hash of its record in the journal (of contents, with the number of
the part), so each is there once however often it is sent. Fields without a value are absent. Keywords longer than 1,024 characters are kept but not indexed. See [elasticsearch.md](elasticsearch.md) for the streams and who may read them.
`)
	for _, s := range Streams() {
		fmt.Fprintf(&b, "\n## `%s-<namespace>`\n\n%s\n\n| field | type | meaning |\n|---|---|---|\n", s.Template(), s.Doc)
		for _, f := range Fields(s.Name) {
			typ := f.Type
			if typ == opaque {
				typ += ", not indexed"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, typ, f.Doc)
		}
	}
	golden(t, filepath.Join("..", "..", "..", "docs", "fields.md"), []byte(b.String()))
}

// What the documents of one exchange cost beside the path.
func BenchmarkExchange(b *testing.B) {
	m := NewMaker(origin)
	p := &journal.Parts{Intent: &pipeline.Intent{Call: pipeline.Call{Steps: []pipeline.Step{{Kind: pipeline.StepPrompt, Text: strings.Repeat("a prompt ", 100)}}}}, Outcome: &pipeline.Outcome{Text: "a reply"}}
	b.ReportAllocs()
	for b.Loop() {
		m.Exchange(record(pipeline.KindOutcome), p)
	}
}
