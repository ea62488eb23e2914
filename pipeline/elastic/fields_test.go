// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
		t.Errorf("%s is out of date: run go test ./pipeline/elastic -update\n%s", path, diff)
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
		Decisions: []journal.Decision{{ID: "dec_1"}}, Masked: []pipeline.Mask{{Type: "EMAIL", Rule: "mail", Fingerprint: "aa"}, {Type: "EMAIL", Rule: "mail", Fingerprint: "aa"}, {Type: "CREDIT_CARD", Action: "last_four"}},
		Usage: pipeline.Usage{InputTokens: &n, OutputTokens: &n, CachedTokens: &n}, DurationMS: 250, OverheadUS: 300, FirstMS: 40, HoldMS: 1200, ReplyOf: "exc_0", Parent: "exc_00", Status: 200,
		Cut: "client", Uninspected: "why", Policy: "p1", Record: journal.Place{Segment: 3, Offset: 80},
	}
}

func TestTable(t *testing.T) {
	name := regexp.MustCompile(`^@?[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$`)
	seen := map[string]bool{}
	s := &source{full(), Origin{"h1", "v1", "default"}}
	for _, f := range Fields() {
		if !name.MatchString(f.Name) || seen[f.Name] {
			t.Errorf("field %q", f.Name)
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
		if !slices.Contains([]string{keyword, text, date, long, boolean}, f.Type) {
			t.Errorf("%s: type %s", f.Name, f.Type)
		}
		ok := false
		switch f.get(s).(type) {
		case string, []string:
			ok = f.Type == keyword || f.Type == text
		case int64:
			ok = f.Type == long
		case bool:
			ok = f.Type == boolean
		case time.Time:
			ok = f.Type == date
		}
		if v := f.get(s); !ok || v == "" {
			t.Errorf("%s: %s has the value %#v", f.Name, f.Type, v)
		}
	}
}

func TestDocuments(t *testing.T) {
	observed := full()
	observed.Verdict.Enforced, observed.Verdict.Mode, observed.Cut = false, "observe", ""
	enc := newEncoder(Origin{"h1", "v1", "default"})
	for name, x := range map[string]*journal.Exchange{"full": full(), "empty": {}, "observed": observed} {
		t.Run(name, func(t *testing.T) {
			raw := enc.append(nil, x)
			if bytes.ContainsAny(raw, "\r\n") {
				t.Errorf("a line break in %q", raw)
			}
			for _, content := range []string{"a prompt", "a reply", "an argument"} {
				if bytes.Contains(raw, []byte(content)) {
					t.Errorf("the document holds %q", content)
				}
			}
			var out bytes.Buffer
			if err := json.Indent(&out, raw, "", "  "); err != nil {
				t.Fatalf("%v in %s", err, raw)
			}
			golden(t, filepath.Join("testdata", name+".json"), append(out.Bytes(), '\n'))
		})
	}
}

func TestTemplates(t *testing.T) {
	var out bytes.Buffer
	for _, tpl := range Templates() {
		kind := "index_template"
		if tpl.Component {
			kind = "component_template"
		}
		fmt.Fprintf(&out, "PUT _%s/%s\n%s\n\n", kind, tpl.Name, tpl.Body)
	}
	golden(t, filepath.Join("testdata", "templates.txt"), out.Bytes())
}

func TestFieldsPage(t *testing.T) {
	var b strings.Builder
	b.WriteString(`<!-- Made from the table in pipeline/elastic/fields.go by ` + "`go test ./pipeline/elastic -update`" + `; do not edit. -->
# Fields in Elasticsearch

Each exchange that has ended is one document in the data stream ` + "`logs-sallyport.exchange-<namespace>`" + `. Names follow the Elastic Common Schema ` + ECSVersion + ` and the OpenTelemetry
conventions for generative AI; what neither has is under ` + "`sallyport.`" + `. The ID of a document is the hash of the outcome's record in the journal, so each exchange is there once however often it is sent.
Documents hold metadata only: no prompt, reply or tool argument. Fields without a value are absent. Keywords longer than 1,024 characters are kept but not indexed.

`)
	b.WriteString("| field | type | meaning |\n|---|---|---|\n")
	for _, f := range Fields() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, f.Type, f.Doc)
	}
	golden(t, filepath.Join("..", "..", "docs", "fields.md"), []byte(b.String()))
}

func TestSecretDoesNotPrint(t *testing.T) {
	s := NewSecret("hunter2")
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", s, "options", Options{APIKey: s})
	encoded, err := json.Marshal(map[string]any{"key": s, "p": &s})
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{
		fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s, s, s, s), fmt.Sprintf("%v %+v %#v", &s, &s, &s),
		fmt.Sprintf("%+v %#v", Options{Password: s}, Options{Password: s}), log.String(), string(encoded), fmt.Sprint(errors.New(s.String())),
	} {
		if strings.Contains(got, "hunter2") || strings.Contains(got, "68756e74657232") {
			t.Errorf("the secret is in %q", got)
		}
	}
}

func TestReadSecret(t *testing.T) {
	tests := map[string]struct {
		content string
		mode    os.FileMode
		want    string
	}{
		"good":            {"a2V5\n", 0o600, ""},
		"read only":       {"a2V5", 0o400, ""},
		"group may read":  {"a2V5\n", 0o640, "chmod 0600"},
		"all may read":    {"a2V5\n", 0o604, "chmod 0600"},
		"empty":           {"\n", 0o600, "is empty"},
		"two lines":       {"a2V5\nb2V5\n", 0o600, "several lines"},
		"much too long":   {strings.Repeat("a", maxSecret+1), 0o600, "on one line"},
		"missing":         {"", 0, "no such file"},
		"not a file":      {"", os.ModeDir | 0o700, "mode 0700"},
		"words in a line": {"ApiKey a2V5", 0o600, "several lines"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			switch {
			case tt.mode.IsDir():
				if err := os.Mkdir(path, 0o700); err != nil {
					t.Fatal(err)
				}
			case tt.mode != 0:
				if err := errors.Join(os.WriteFile(path, []byte(tt.content), 0o600), os.Chmod(path, tt.mode)); err != nil {
					t.Fatal(err)
				}
			}
			s, err := ReadSecret(path)
			if tt.want == "" {
				if err != nil || s.value != "a2V5" {
					t.Errorf("%v %q", err, s.value)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "a2V5") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestBadOptions(t *testing.T) {
	j, err := journal.Open(journal.Options{Dir: t.TempDir(), SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	key := NewSecret("hunter2")
	tests := map[string]struct {
		o    Options
		want string
	}{
		"no journal":        {Options{URL: "https://es:9200"}, "needs a journal"},
		"no URL":            {Options{Journal: j}, "elasticsearch.url"},
		"other scheme":      {Options{Journal: j, URL: "ftp://es"}, "elasticsearch.url"},
		"password in URL":   {Options{Journal: j, URL: "https://u:hunter2@es"}, "api_key_file"},
		"key without TLS":   {Options{Journal: j, URL: "http://es:9200", APIKey: key}, "not https"},
		"key and password":  {Options{Journal: j, URL: "https://es", APIKey: key, Username: "u"}, "or a user name"},
		"bad CA":            {Options{Journal: j, URL: "https://es", CA: []byte("x")}, "ca_file"},
		"bad namespace":     {Options{Journal: j, URL: "https://es", Namespace: "a-b"}, "namespace"},
		"namespace is path": {Options{Journal: j, URL: "https://es", Namespace: "../x"}, "namespace"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := New(tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// What one document costs beside the path.
func BenchmarkDocument(b *testing.B) {
	enc := newEncoder(Origin{"h1", "v1", "default"})
	x := full()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = enc.append(buf[:0], x)
	}
}
