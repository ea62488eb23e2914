// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/journal/original"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// A reply that is masked as it streams comes back, byte for byte as the provider sent it, for two of the three people of the
// configuration, from the journal on disk: with the masker, the flow and the journal of the daemon.
func TestOriginalOfReply(t *testing.T) {
	mail, token := "ada@"+"example.org", "ghp_"+strings.Repeat("a1B2c3", 6)
	ask := `{"model":"m","stream":true,"messages":[{"role":"user","content":"the token is ` + token + `"}]}`
	masked := saying(strings.Repeat("words and more words, ", 100) + "then mail " + mail + " with " + token + ". " + strings.Repeat("And so on. ", 100))
	whole := `{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"mail ` + mail + `"},"finish_reason":"stop"}]}`
	for _, c := range []struct {
		name   string
		mode   pipeline.Mode
		sealed bool // record.original
		kind   string
		pieces []string
		kept   bool
	}{
		{"stream", pipeline.ModeEnforce, true, "text/event-stream", masked, true},
		{"stream, observed", pipeline.ModeObserve, true, "text/event-stream", masked, true},
		{"whole", pipeline.ModeEnforce, true, "application/json", []string{whole}, true},
		{"nothing masked", pipeline.ModeEnforce, true, "text/event-stream", saying("nothing of it"), false},
		{"not wanted", pipeline.ModeEnforce, false, "text/event-stream", masked, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := maskDaemon(t, maskPolicy, func(*config.Mask) {})
			dir := filepath.Join(t.TempDir(), "journal")
			d.cfg.Record = config.Record{Dir: dir, Required: true}
			var who [3][]age.Identity
			if c.sealed {
				d.cfg.Record.Original = "sealed"
			}
			for i := range who {
				id, err := age.GenerateX25519Identity()
				if err != nil {
					t.Fatal(err)
				}
				who[i] = []age.Identity{id}
				if c.sealed {
					d.cfg.Record.Recipients = append(d.cfg.Record.Recipients, id.Recipient().String())
				}
			}
			o, err := d.journalOptions()
			if err != nil {
				t.Fatal(err)
			}
			if d.journal, err = journal.Open(o); err != nil {
				t.Fatal(err)
			}
			f, err := flow.New(flow.Options{Decider: d.policy, Masker: d.masking, Log: d.journal, Sessions: fakes.Sessions("ses_1"), Codecs: protocols(), Originals: d.sealing(),
				Notice: func(stage string, err error) { t.Errorf("%s: %v", stage, err) }})
			if err != nil {
				t.Fatal(err)
			}
			client := fakes.Client{Payload: []byte(ask), Request: pipeline.Head{Method: "POST", Target: "/v1/chat/completions", Fields: []pipeline.Field{{Name: "content-type", Value: "application/json"}}}}
			up := fakes.Upstream{Head: pipeline.Head{Status: 200, Fields: []pipeline.Field{{Name: "content-type", Value: c.kind}}}}
			for _, p := range c.pieces {
				up.Pieces = append(up.Pieces, []byte(p))
			}
			m := &pipeline.Meta{Mode: c.mode, Scope: "agents", Workload: pipeline.Workload{PID: 1, Unit: "app.service", UID: 1000},
				Endpoint: pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Protocol: "openai"}}
			if err := errors.Join(f.Serve(context.Background(), m, &client, &up), d.journal.Close()); err != nil {
				t.Fatal(err)
			}
			sent := strings.Join(c.pieces, "")
			if got := string(client.Got); strings.Contains(got, mail) && c.mode == pipeline.ModeEnforce || got == sent && c.kept && c.mode == pipeline.ModeEnforce {
				t.Error("the application gets what is masked")
			}
			files, err := filepath.Glob(filepath.Join(dir, "*.segment"))
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			for _, name := range files {
				b, err := os.ReadFile(name)
				if err != nil || bytes.Contains(b, []byte(mail)) || bytes.Contains(b, []byte(token)) {
					t.Errorf("%s has it in the clear, %v", name, err)
				}
			}
			if rep, err := journal.Verify(dir); err != nil || !rep.OK {
				t.Errorf("%+v %v", rep, err)
			}

			x, err := journal.FindOriginals(context.Background(), dir, m.Exchange)
			if err != nil || !x.Ended || (x.Key != nil) != c.kept || (x.Reply != nil) != c.kept || (x.Request != nil) != c.sealed || x.ReplyMissing != "" {
				t.Fatalf("%+v %v", x, err)
			}
			if !c.kept {
				if len(x.Pieces) > 0 {
					t.Error("there are pieces")
				}
				return
			}
			for _, two := range [][2]int{{0, 1}, {1, 2}, {2, 0}} {
				got, whole, err := original.OpenReply(m.Exchange, x.Key, x.Pieces, who[two[0]], who[two[1]])
				if string(got) != sent || !whole || err != nil {
					t.Errorf("%v: %d bytes of %d, whole %t, %v", two, len(got), len(sent), whole, err)
				}
			}
			if got, _, err := original.OpenReply(m.Exchange, x.Key, x.Pieces, who[1], who[1]); !errors.Is(err, original.ErrAlone) || got != nil {
				t.Errorf("alone: %q %v", got, err)
			}
			if got, err := original.Open(x.Request, who[0], who[2]); string(got) != ask || err != nil {
				t.Errorf("the request: %q %v", got, err)
			}
		})
	}
}
