// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"strings"
	"testing"
)

// TestUsedOfACutReply: who closes before the last event, which has the count, has still used what was read.
func TestUsedOfACutReply(t *testing.T) {
	in, one, all := int64(25), int64(1), int64(7)
	text := strings.Repeat("word", 300)
	for _, c := range []struct {
		name string
		o    Outcome
		want int64
	}{
		{"cut after a first word on it", Outcome{Status: 200, Text: text, Cut: "client", Usage: Usage{InputTokens: &in, OutputTokens: &one}}, 300},
		{"cut with a greater count", Outcome{Status: 200, Text: "word", Cut: "client", Usage: Usage{OutputTokens: &all}}, 7},
		{"whole", Outcome{Status: 200, Text: text, Usage: Usage{OutputTokens: &all}}, 7},
		{"no word on it", Outcome{Status: 200, Text: text}, 300},
	} {
		if got := *c.o.Used(0).OutputTokens; got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestUsedOfAKeptReply: what is served again was counted where the provider was asked.
func TestUsedOfAKeptReply(t *testing.T) {
	o := Outcome{Status: 200, Text: strings.Repeat("word", 300), ResponseID: "r", ReplyOf: "exc_1"}
	if u := o.Used(4000); u != (Usage{}) {
		t.Errorf("%+v", u)
	}
}
