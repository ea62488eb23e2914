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

// TestEstimated: usage is marked wherever the provider has not had the last word on it.
func TestEstimated(t *testing.T) {
	in, out, none := int64(25), int64(7), int64(0)
	both := Usage{InputTokens: &in, OutputTokens: &out}
	text := strings.Repeat("word", 300)
	for _, c := range []struct {
		name string
		o    Outcome
		want bool
	}{
		{"the provider said all of it", Outcome{Status: 200, Text: text, Usage: both}, false},
		{"said that it was nothing", Outcome{Status: 200, Usage: Usage{InputTokens: &none, OutputTokens: &none}}, false},
		{"nothing on what went in", Outcome{Status: 200, Usage: Usage{OutputTokens: &out}}, true},
		{"nothing on what came out", Outcome{Status: 200, Text: text, Usage: Usage{InputTokens: &in}}, true},
		{"nothing on either", Outcome{Status: 200, Text: text}, true},
		{"cut, with more than was said", Outcome{Status: 200, Text: text, Cut: "client", Usage: both}, true},
		{"cut, with what was said", Outcome{Status: 200, Text: "word", Cut: "upstream", Usage: both}, true},
		{"cut before anything", Outcome{Status: 200, Cut: "upstream", Usage: Usage{InputTokens: &none}}, false},
		{"a kept reply", Outcome{Status: 200, Text: text, ResponseID: "r", ReplyOf: "exc_1"}, false},
		{"a kept reply, cut", Outcome{Status: 200, Text: text, ResponseID: "r", ReplyOf: "exc_1", Cut: "client", Usage: both}, false},
		{"refused before it was sent", Outcome{Status: 403, BytesReleased: 90, Verdict: Verdict{Action: Deny}}, false},
		{"refused by the provider", Outcome{Status: 403, ResponseID: "r", BytesReleased: 90, Verdict: Verdict{Action: Deny}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := int64(400)
			if c.name == "cut before anything" {
				body = 0
			}
			if used := c.o.Used(body); c.o.Estimated(used) != c.want {
				t.Errorf("estimated: %t, used %+v", !c.want, used)
			}
		})
	}
}
