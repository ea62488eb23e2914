// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"testing"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// TestTree: turns are in one column, branches are indented, a parent that is not there leaves a root, and results are found.
func TestTree(t *testing.T) {
	x := func(s int, id, parent string, out *pipeline.Outcome, steps ...pipeline.Step) adminapi.Exchange {
		return adminapi.NewExchange(adminapi.Parts{Session: "ses_1", Exchange: id, Time: second(s), Outcome: out,
			Intent: &pipeline.Intent{Parent: parent, Mode: pipeline.ModeEnforce, Call: pipeline.Call{Operation: "chat", Model: "m\x1b[2J", Steps: steps}}})
	}
	call := &pipeline.Outcome{Tools: []pipeline.Step{{Kind: pipeline.StepToolCall, Name: "search", ID: "c1"}, {Kind: pipeline.StepToolCall, Name: "read", ID: "c2", Index: 1}}}
	result := pipeline.Step{Kind: pipeline.StepToolResult, ID: "c1", Text: "found"}
	s := adminapi.NewSession([]adminapi.Exchange{
		x(0, "exc_1", "exc_0", call), x(1, "exc_2", "exc_1", call, result), x(2, "exc_3", "exc_2", &pipeline.Outcome{}, result), x(3, "exc_4", "exc_1", nil),
		x(4, "exc_5", "", nil, result), x(5, "exc_6", "exc_4", nil),
	})
	var out bytes.Buffer
	a := &app{out: &out, getenv: func(string) string { return "" }}
	if err := a.showTree(&s); err != nil {
		t.Fatal(err)
	}
	want := `ses_1  6 exchanges from 2026-01-31 12:00:00 UTC on
12:00:00  exc_1  chat m�[2J  allow
  · search → exc_2
  · read
├─ 12:00:01  exc_2  chat m�[2J  allow
│    · search → exc_3
│    · read
│  12:00:02  exc_3  chat m�[2J  allow
└─ 12:00:03  exc_4  chat m�[2J  allow
   12:00:05  exc_6  chat m�[2J  allow
12:00:04  exc_5  chat m�[2J  allow
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
