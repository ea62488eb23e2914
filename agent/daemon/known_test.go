// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// TestKnownTexts: a text without a finding is looked through once; one with a finding each time, with the same result; and what a
// role may see is not known to be clean for those who may not.
func TestKnownTexts(t *testing.T) {
	mail, token := "ada@"+"example.org", "ghp_"+strings.Repeat("a1B2c3", 6)
	d := maskDaemon(t, maskPolicy, func(c *config.Mask) {
		c.Actions = []config.MaskAction{{Types: []string{"EMAIL"}, Roles: []string{"support-*"}, Action: "allow"},
			{Types: []string{"secrets"}, Carriers: []string{"prompt"}, Action: "tag"}}
	})
	filler := strings.Repeat("a word and a word, ", 5)
	clean, allowed, dirty := filler+"nothing", filler+"write to "+mail, filler+"the token is "+token
	ask := fmt.Sprintf(`{"model":"m","messages":[{"role":"system","content":%q},{"role":"user","content":%q},{"role":"user","content":%q}]}`, clean, allowed, dirty)
	reply := `{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"yes"},"finish_reason":"stop"}]}`
	app := &pipeline.Meta{Mode: pipeline.ModeEnforce, Workload: pipeline.Workload{PID: 1, Unit: "app.service", UID: 1000}}
	other := &pipeline.Meta{Mode: pipeline.ModeEnforce, Workload: pipeline.Workload{PID: 2, Unit: "other.service", UID: 1000}}
	for turn := range 3 {
		w, err := exchange(t, d, pipeline.ModeEnforce, ask, "application/json", reply)
		if err != nil {
			t.Fatal(err)
		}
		w.hides(token)
		in := last[pipeline.Intent](w, pipeline.KindIntent)
		if strings.Contains(string(w.up.Sent[0]), token) || !strings.Contains(string(in.Body), mail) || !strings.Contains(string(in.Body), clean) || len(in.Masks) != 1 {
			t.Errorf("turn %d: %s %+v", turn, in.Body, in.Masks)
		}
		for text, want := range map[string]bool{clean: true, allowed: true, dirty: false} {
			for _, m := range []*pipeline.Meta{app, other} {
				_, got := d.masking.Known(pipeline.CarrierPrompt, m, nil, []byte(text), false)
				if want := want && m == app; got != want {
					t.Errorf("turn %d, %s: %.110q known to be clean: %v, want %v", turn, m.Workload.Unit, text, got, want)
				}
			}
		}
	}
	if key, known := d.masking.Known(pipeline.CarrierPrompt, app, nil, []byte("short"), false); known || key != [16]byte{} {
		t.Error("a short text is remembered")
	}
}
