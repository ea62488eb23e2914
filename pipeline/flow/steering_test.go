// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// TestSteeringIsMaskedOnRecord: a key in what steers a request is not on record, in any mode.
func TestSteeringIsMaskedOnRecord(t *testing.T) {
	key := "AKIA" + "Q7X4ZPLM2N3B5VCT"
	for _, c := range []struct{ name, target, agent, request string }{
		{"the path", "/v1/models/" + key, "", ""},
		{"a path that nobody knows", "/v1/x/" + key, "", plain},
		{"a query", "/v1/chat/completions?" + key, "", plain},
		{"a name in a query", "/v1/chat/completions?" + key + "=1", "", plain},
		{"the user agent", "", "app/" + key, plain},
		{"the model", "", "", strings.Replace(plain, "gpt-4o-mini", key, 1)},
	} {
		for _, mode := range []pipeline.Mode{pipeline.ModeEnforce, pipeline.ModeObserve} {
			t.Run(c.name, func(t *testing.T) {
				r := newRig(t, mode, c.request)
				r.opts.Masker = newEngine(t)
				if c.target != "" {
					r.client.Request.Target = c.target
				}
				if c.request == "" {
					r.client.Request.Method = "GET"
				}
				r.client.Request.Fields = append(r.client.Request.Fields, pipeline.Field{Name: "User-Agent", Value: c.agent})
				r.reply(200, "application/json", completion("hi"))
				if err := r.serve(); err != nil {
					t.Fatal(err)
				}
				for _, e := range r.log.Entries {
					if strings.Contains(string(e.JSON), key) {
						t.Errorf("%s: %s", e.Kind, e.JSON)
					}
				}
				for _, n := range r.notes {
					if strings.Contains(n, key) {
						t.Error(n)
					}
				}
			})
		}
	}
}
