// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/llm/anthropic"
	"github.com/sallyport-dev/sallyport/pipeline/llm/ollama"
	"github.com/sallyport-dev/sallyport/pipeline/llm/openai"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// carrying is a place where a value may stand, and what brings it there: a whole reply, a stream, or a request, in which {V} is the
// value, {1} and {2} are its two parts, and {B1} and {B2} are these in numbers. What begins with ! is refused, with = passes as it is.
type carrying struct {
	protocol, operation, carrier, where string
	whole, stream, request              string
	status                              int
}

// fragments are parts of the value, of which none may be anywhere.
var fragments = []string{"-hun", "ter2", "45,104,117,110", "116,101,114,50", `\u0068un`}

var opaqueText = strings.Repeat("EqoBCkgIARABGAIiQL2UoU0b1OHYi+", 3) + "=="

func numbers(s string) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint([]byte(s)), "[]"), " ", ",")
}

func (c *carrying) fill(s string) string {
	at := len("sk-proj-hun")
	return strings.NewReplacer("{V}", secret, "{1}", secret[:at], "{2}", secret[at:], "{B1}", numbers(secret[:at]), "{B2}", numbers(secret[at:]),
		"{O}", opaqueText).Replace(strings.TrimLeft(s, "!="))
}

// rig makes an exchange of a case.
func (c *carrying) rig(t testing.TB, stream bool) *rig {
	var r *rig
	asks, target := fmt.Sprintf(`{"model":"m","stream":%t,"messages":[{"role":"user","content":"Say hi"}]}`, stream), ""
	switch c.protocol + " " + c.operation {
	case "openai chat":
		target = "/v1/chat/completions"
	case "openai responses":
		asks, target = fmt.Sprintf(`{"model":"m","stream":%t,"input":"Say hi"}`, stream), "/v1/responses"
	case "openai completions":
		asks, target = fmt.Sprintf(`{"model":"m","stream":%t,"prompt":"Say hi"}`, stream), "/v1/completions"
	case "openai embeddings":
		asks, target = `{"model":"m","input":"Say hi"}`, "/v1/embeddings"
	case "openai models":
		asks, target = "", "/v1/models"
	case "anthropic messages":
		asks, target = strings.Replace(asks, "{", `{"max_tokens":100,`, 1), "/v1/messages"
	case "anthropic count_tokens":
		target = "/v1/messages/count_tokens"
		asks = `{"model":"m","messages":[{"role":"user","content":"Say hi"}]}`
	case "ollama chat":
		target = "/api/chat"
	case "ollama generate":
		asks, target = fmt.Sprintf(`{"model":"m","stream":%t,"prompt":"Say hi"}`, stream), "/api/generate"
	case "ollama embed":
		asks, target = `{"model":"m","input":"Say hi"}`, "/api/embed"
	case "ollama models":
		asks, target = "", "/api/tags"
	default:
		t.Fatalf("no operation %s %s", c.protocol, c.operation)
	}
	if c.request != "" {
		asks = c.fill(c.request)
	}
	r = newRig(t, pipeline.ModeEnforce, asks)
	r.opts.Codecs = llm.Registry{"openai": openai.Provider{}, "anthropic": anthropic.Provider{}, "ollama": ollama.Provider{}}
	r.meta.Endpoint.Protocol, r.client.Request.Target = c.protocol, target
	if asks == "" {
		r.client.Request.Method = "GET"
	}
	return r
}

// pieces are the events of a stream.
func (c *carrying) pieces() (out []string) {
	sep := "\n\n"
	if c.protocol == "ollama" {
		sep = "\n"
	}
	for _, p := range strings.SplitAfter(c.fill(c.stream), sep) {
		if p != "" {
			out = append(out, p)
		}
	}
	return out
}

func (c *carrying) kind() string {
	if c.protocol == "ollama" {
		return ndjson
	}
	return "text/event-stream"
}

func (c *carrying) name() string {
	return c.protocol + " " + c.operation + " " + c.carrier + ": " + c.where
}

func (c *carrying) statusOr200() int {
	if c.status == 0 {
		return 200
	}
	return c.status
}

// noFragment checks what the application and the record got.
func (r *rig) noFragment() {
	r.t.Helper()
	for _, f := range fragments {
		if strings.Contains(string(r.client.Got), f) {
			r.t.Fatalf("released %q: %s", f, r.client.Got)
		}
		for _, e := range r.log.Entries {
			if strings.Contains(string(e.JSON), f) {
				r.t.Fatalf("%q is in a record: %s", f, e.JSON)
			}
		}
	}
}

// carried checks one run of a case. It returns what was released.
func (c *carrying) carried(r *rig, form string) string {
	r.t.Helper()
	err := r.serve()
	got := string(r.client.Got)
	switch {
	case strings.HasPrefix(form, "!"):
		if !strings.Contains(got, "sallyport_not_inspected") {
			r.t.Fatalf("%v: released %s", err, got)
		}
		r.noFragment()
	case strings.HasPrefix(form, "="):
		if err != nil || got != c.fill(form) {
			r.t.Fatalf("%v: released %s\nwant %s", err, got, c.fill(form))
		}
	default:
		r.noFragment()
		if err != nil || !strings.Contains(got, with) {
			r.t.Fatalf("%v (%v): nothing is masked in %s", err, r.notes, got)
		}
		if !slices.ContainsFunc(r.outcome().Masks, func(m pipeline.Mask) bool { return m.Carrier == c.carrier }) {
			r.t.Fatalf("no mask in %s: %+v", c.carrier, r.outcome().Masks)
		}
		for _, line := range strings.Split(got, "\n") {
			data, isData := strings.CutPrefix(line, "data: ")
			if (isData || c.protocol == "ollama") && data != "" && data != "[DONE]" && !json.Valid([]byte(data)) {
				r.t.Fatalf("no JSON: %s", line)
			}
		}
	}
	return got
}

// TestCarriers: wherever a value stands in what a provider says or an application asks, it is masked there, in what is released and on
// record, however the bytes of the reply are cut.
func TestCarriers(t *testing.T) {
	for _, c := range carriers {
		t.Run(c.name(), func(t *testing.T) {
			if c.request != "" {
				r := c.rig(t, false)
				r.reply(400, "text/plain", "no")
				if err := r.serve(); err != nil {
					t.Fatal(err)
				}
				r.noFragment()
				if !slices.ContainsFunc(r.intent().Masks, func(m pipeline.Mask) bool { return m.Carrier == c.carrier }) {
					t.Fatalf("no mask in %s: %+v", c.carrier, r.intent().Masks)
				}
			}
			if c.whole != "" {
				got := c.carried(c.rig(t, false).reply(c.statusOr200(), "application/json", c.fill(c.whole)), c.whole)
				if !json.Valid([]byte(got)) {
					t.Fatalf("no JSON: %s", got)
				}
			}
			if c.stream != "" {
				pieces := c.pieces()
				want := c.carried(c.rig(t, true).reply(200, c.kind(), pieces...), c.stream)
				if strings.HasPrefix(c.stream, "!") {
					return
				}
				everySplit(pieces, func(pieces []string) {
					if got := c.carried(c.rig(t, true).reply(200, c.kind(), pieces...), c.stream); got != want {
						t.Fatalf("%q:\n got %s\nwant %s", pieces, got, want)
					}
				})
			}
		})
	}
}

// TestCarriersObserved: where nothing is enforced every byte passes, and the record still holds none of the value.
func TestCarriersObserved(t *testing.T) {
	for _, c := range carriers {
		t.Run(c.name(), func(t *testing.T) {
			run := func(stream bool, kind string, pieces ...string) {
				t.Helper()
				r := c.rig(t, stream).reply(c.statusOr200(), kind, pieces...)
				r.meta.Mode = pipeline.ModeObserve
				if stream {
					r.up.Head.Status = 200
				}
				if got := r.must(); got != strings.Join(pieces, "") {
					t.Fatalf("released %s", got)
				}
				r.client.Got = nil
				r.noFragment()
			}
			if c.whole != "" {
				run(false, "application/json", c.fill(c.whole))
			}
			if c.stream != "" {
				run(true, c.kind(), c.pieces()...)
			}
		})
	}
}

// failing is a masker that fails in one carrier, after some bytes.
type failing struct {
	fakes.Masker
	carrier string
	after   int
}

type failingWriter struct {
	flow.Rewriter
	left int
}

var errMasker = errors.New("masker is broken")

func (f failing) Stream(carrier string, m *pipeline.Meta, before []byte) flow.Rewriter {
	rw := f.Masker.Stream(carrier, m, before)
	if carrier != f.carrier {
		return rw
	}
	return &failingWriter{rw, f.after}
}

func (w *failingWriter) Write(dst, src []byte) ([]byte, error) {
	if w.left -= len(src); w.left < 0 {
		return dst, errMasker
	}
	return w.Rewriter.Write(dst, src)
}

func (w *failingWriter) Flush(dst []byte) ([]byte, error) {
	if w.left == 0 {
		return dst, errMasker
	}
	return w.Rewriter.Flush(dst)
}

// TestCarriersFail: a masker that fails, in whatever carrier and at whatever byte, ends the exchange, and nothing of the value
// is released or on record.
func TestCarriersFail(t *testing.T) {
	for _, c := range carriers {
		if c.request != "" || strings.ContainsAny(c.whole+c.stream, "!") || strings.HasPrefix(c.whole+c.stream, "=") {
			continue
		}
		t.Run(c.name(), func(t *testing.T) {
			fail := func(stream bool, form string, pieces ...string) {
				if form == "" {
					return
				}
				for after := range len(secret) + 1 {
					kind := "application/json"
					if stream {
						kind = c.kind()
					}
					r := c.rig(t, stream).reply(c.statusOr200(), kind, pieces...)
					if stream {
						r.up.Head.Status = 200
					}
					r.opts.Masker = failing{fakes.Masker{Words: []string{secret}, With: with}, c.carrier, after}
					_ = r.serve()
					r.noFragment()
					if got := string(r.client.Got); strings.Contains(got, with) && !strings.Contains(got, "sallyport_") && after < len(secret) {
						t.Fatalf("after %d bytes: released %s", after, got)
					}
				}
			}
			fail(false, c.whole, c.fill(c.whole))
			fail(true, c.stream, c.pieces()...)
		})
	}
}

const tableBegins, tableEnds = "<!-- carriers -->\n", "<!-- end of carriers -->"

// rows is the table of the documentation.
func rows() string {
	say := func(form string) string {
		switch {
		case form == "":
			return ""
		case form[0] == '!':
			return "refused"
		case form[0] == '=':
			return "passes"
		}
		return "masked"
	}
	var b strings.Builder
	b.WriteString("| protocol | operation | carrier | where | whole | streamed | recorded request |\n|---|---|---|---|---|---|---|\n")
	for _, c := range carriers {
		fmt.Fprintf(&b, "| %s | %s | `%s` | %s | %s | %s | %s |\n", c.protocol, c.operation, c.carrier, c.where, say(c.whole), say(c.stream), say(c.request))
	}
	return b.String()
}

// TestCarriersAreDocumented: the table in the documentation is that of TestCarriers.
func TestCarriersAreDocumented(t *testing.T) {
	const name = "../../docs/protocols.md"
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), tableBegins)
	_, after, ends := strings.Cut(rest, tableEnds)
	if !ok || !ends {
		t.Fatalf("%s has no table of carriers", name)
	}
	if now := before + tableBegins + rows() + tableEnds + after; now != string(b) {
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(name, []byte(now), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		t.Errorf("the table in %s is not that of the test: run it with UPDATE=1", name)
	}
}

// TestEveryCarrierIsTested: there is a case for each carrier that has a name.
func TestEveryCarrierIsTested(t *testing.T) {
	for _, name := range pipeline.Carriers() {
		if !slices.ContainsFunc(carriers, func(c carrying) bool { return c.carrier == name }) {
			t.Errorf("%s", name)
		}
	}
}
