// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
)

// Originals stay in the journal: no document has anything of them, sealed or not, nor says that they are there.
func TestOriginalsStay(t *testing.T) {
	const sealed = "c2VhbGVkLW9yaWdpbmFs" // as base64 it reads the same in JSON
	data, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	r.start()
	r.append(pipeline.Record{Kind: pipeline.KindIntent, Session: "ses_1", Exchange: "exc_1", Body: &pipeline.Intent{Call: pipeline.Call{Steps: []pipeline.Step{{Kind: pipeline.StepPrompt, Text: "a prompt"}}},
		SealedOriginal: json.RawMessage(`"` + sealed + `"`)}})
	r.append(pipeline.Record{Kind: pipeline.KindOriginal, Session: "ses_1", Exchange: "exc_1", Body: &pipeline.Original{Bytes: 4711, Key: json.RawMessage(`"` + sealed + `"`), Data: data}})
	r.append(pipeline.Record{Kind: pipeline.KindOutcome, Session: "ses_1", Exchange: "exc_1", Body: &pipeline.Outcome{Status: 200, Text: "a reply", OriginalMissing: sealed,
		Original: &pipeline.Kept{Pieces: 1, Bytes: 4711}}})
	r.exchanges("after", 1)
	r.shipped()
	r.want("exc_1", "exc_after_0")
	n := 0
	for _, st := range document.Streams() {
		for _, h := range r.f.Docs(st.Name) {
			n++
			if s := string(h.Source); strings.Contains(s, sealed) || strings.Contains(s, string(data)) || strings.Contains(s, "4711") || strings.Contains(s, `"original"`) {
				t.Errorf("%s: %s", st.Name, s)
			}
		}
	}
	if n < 4 { // two exchanges, and what opened the journal
		t.Errorf("%d documents", n)
	}
}
