// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// world is an exchange through flow with everything of masking that is real.
type world struct {
	t      *testing.T
	log    *fakes.Log
	client fakes.Client
	up     fakes.Upstream
}

func exchange(t *testing.T, d *daemon, mode pipeline.Mode, request, kind string, pieces ...string) (*world, error) {
	t.Helper()
	w := &world{t: t, log: &fakes.Log{}}
	f, err := flow.New(flow.Options{Decider: d.policy, Masker: d.masking, Log: w.log, Sessions: fakes.Sessions("ses_1"), Codecs: protocols(),
		Notice: func(stage string, err error) { t.Logf("%s: %v", stage, err) }})
	if err != nil {
		t.Fatal(err)
	}
	w.client = fakes.Client{Payload: []byte(request), Request: pipeline.Head{Method: "POST", Target: "/v1/chat/completions",
		Fields: []pipeline.Field{{Name: "content-type", Value: "application/json"}}}}
	w.up = fakes.Upstream{Head: pipeline.Head{Status: 200, Fields: []pipeline.Field{{Name: "content-type", Value: kind}}}}
	for _, p := range pieces {
		w.up.Pieces = append(w.up.Pieces, []byte(p))
	}
	m := &pipeline.Meta{Mode: mode, Scope: "agents", Workload: pipeline.Workload{PID: 1, Unit: "app.service", UID: 1000},
		Endpoint: pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Protocol: "openai"}}
	return w, f.Serve(context.Background(), m, &w.client, &w.up)
}

// last reads the last record of a kind.
func last[T any](w *world, kind string) (out T) {
	w.t.Helper()
	all := w.log.Of(kind)
	if len(all) == 0 {
		w.t.Fatalf("no %s is recorded", kind)
	}
	if err := json.Unmarshal(all[len(all)-1], &out); err != nil {
		w.t.Fatal(err)
	}
	return out
}

// hides checks that a value is neither with the application nor on record.
func (w *world) hides(values ...string) {
	w.t.Helper()
	for _, v := range values {
		if strings.Contains(string(w.client.Got), v) {
			w.t.Errorf("%s was released: %s", v, w.client.Got)
		}
		for _, e := range w.log.Entries {
			if strings.Contains(string(e.JSON), v) {
				w.t.Errorf("%s is on record: %s", v, e.JSON)
			}
		}
	}
}

func saying(text string) (out []string) {
	for _, r := range text { // a token for each character
		b, _ := json.Marshal(string(r))
		out = append(out, `data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":`+string(b)+`},"finish_reason":null}]}`+"\n\n")
	}
	return append(out, `data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\n", "data: [DONE]\n\n")
}

// said is the text of the deltas that the application got.
func (w *world) said() string {
	var b strings.Builder
	for l := range strings.SplitSeq(string(w.client.Got), "\n") {
		var c struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if data, ok := strings.CutPrefix(l, "data: {"); ok && json.Unmarshal([]byte("{"+data), &c) == nil && len(c.Choices) > 0 {
			b.WriteString(c.Choices[0].Delta.Content)
		}
	}
	return b.String()
}

// TestMaskedExchange: settings, roles, guardrails, refusals and the record, with all rules, through the protocol.
func TestMaskedExchange(t *testing.T) {
	mail, card, token := "ada@"+"example.org", "4111 1111 1111 "+"1111", "ghp_"+strings.Repeat("a1B2c3", 6)
	d := maskDaemon(t, maskPolicy, func(c *config.Mask) {
		c.Names = true
		c.Actions = []config.MaskAction{{Types: []string{"PRIVATE_KEY"}, Action: "deny"}, {Types: []string{"EMAIL"}, Roles: []string{"support-*"}, Action: "pseudonym"},
			{Types: []string{"CREDIT_CARD"}, Action: "last_four"}, {Types: []string{"secrets"}, Carriers: []string{"prompt"}, Action: "tag"}}
		c.Allow = []string{"*@sallyport.example"}
	})
	ask := `{"model":"m","stream":true,"messages":[{"role":"user","content":"the token is ` + token + ` of ` + mail + `"}]}`

	w, err := exchange(t, d, pipeline.ModeEnforce, ask, "text/event-stream", saying("Mail "+mail+" or help@sallyport.example, then "+mail+". Card "+card+", token "+token+". Badger-7 is on.")...)
	if err != nil {
		t.Fatal(err)
	}
	w.hides(card, token)
	var a, b, c string
	if _, err := fmt.Sscanf(w.said(), "Mail [EMAIL_%8s] or help@sallyport.example, then [EMAIL_%8s]. Card [CREDIT_CARD:1111], token [%s [CODE NAME] is on.", &a, &b, &c); err != nil || a != b {
		t.Errorf("said %q", w.said())
	}
	if sent := string(w.up.Sent[0]); strings.Contains(sent, token) || !strings.Contains(sent, mail) {
		t.Errorf("sent %s", sent)
	}
	in, out := last[pipeline.Intent](w, pipeline.KindIntent), last[pipeline.Outcome](w, pipeline.KindOutcome)
	if strings.Contains(string(in.Body), mail) || len(in.Masks) != 2 {
		t.Errorf("recorded %s %+v", in.Body, in.Masks)
	}
	prints := map[string]string{}
	for _, m := range out.Masks {
		if m.Rule == "" || m.Why == "" || m.Fingerprint == "" || m.Carrier == "" || m.Len == 0 {
			t.Errorf("%+v says too little", m)
		}
		if m.Type == "EMAIL" && prints[m.Type] != "" && prints[m.Type] != m.Fingerprint {
			t.Errorf("equal values have the fingerprints %s and %s", prints[m.Type], m.Fingerprint)
		}
		prints[m.Type] = m.Fingerprint
	}
	for _, m := range in.Masks { // the same address in the request
		if m.Type == "EMAIL" && m.Fingerprint != prints["EMAIL"] {
			t.Errorf("%+v has another fingerprint than the reply's", m)
		}
		if m.Upstream != (m.Type != "EMAIL") {
			t.Errorf("%+v: what was sent?", m)
		}
	}
	if len(out.Masks) != 5 || out.Verdict.Action != pipeline.Transform {
		t.Errorf("%+v %+v", out.Verdict, out.Masks)
	}

	// A value that ends the exchange.
	pem := "-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", 4) + "\n-----END PRIVATE KEY-----\n"
	w, err = exchange(t, d, pipeline.ModeEnforce, ask, "text/event-stream", saying("Here it is:\n"+pem)...)
	if err == nil {
		t.Fatal("it went on")
	}
	w.hides("MIIEvQ")
	if strings.Contains(string(w.client.Got), "-----BEGIN") {
		t.Errorf("got %s", w.client.Got)
	}
	dec, out := last[pipeline.Decision](w, pipeline.KindDecision), last[pipeline.Outcome](w, pipeline.KindOutcome)
	if !strings.HasPrefix(dec.Verdict.Rule, "mask/") || dec.Verdict.Action != pipeline.Deny || dec.Verdict.Stage != pipeline.StepResponse || out.Decision != dec.ID ||
		!strings.Contains(string(w.client.Got), "sallyport_denied") || strings.Contains(string(w.client.Got), "[DONE]") {
		t.Errorf("%+v, got %s", dec.Verdict, w.client.Got)
	}
	// Observed: nothing changes, and the record is masked.
	w, err = exchange(t, d, pipeline.ModeObserve, ask, "text/event-stream", saying("Here it is:\n"+pem)...)
	if err != nil || !strings.Contains(w.said(), "MIIEvQ") || string(w.up.Sent[0]) != ask {
		t.Errorf("%v, sent %s", err, w.up.Sent)
	}
	if out := last[pipeline.Outcome](w, pipeline.KindOutcome); strings.Contains(out.Text, "MIIEvQ") || len(out.Masks) == 0 {
		t.Errorf("%+v", out)
	}
}
