// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// call is an event with a piece of a tool call; the first piece of a call names it.
func call(choice, index int, id, name, args string) string {
	first := ""
	if name != "" {
		first = fmt.Sprintf(`"id":%s,"type":"function",`, quote(id))
		name = fmt.Sprintf(`"name":%s,`, quote(name))
	}
	return delta(choice, fmt.Sprintf(`{"tool_calls":[{"index":%d,%s"function":{%s"arguments":%s}}]}`, index, first, name, quote(args)), "")
}

// forbidden stands in the arguments of the tool call that is refused: not one byte of it may be released.
const forbidden = "/srv/forbidden"

var streams = map[string][]string{
	"text":              {delta(0, `{"role":"assistant","content":""}`, ""), text(0, "hel"), text(0, "lo é 😀"), delta(0, "{}", "stop"), done},
	"secret":            {text(0, "a sk-proj-"), text(0, "hunter2"), text(0, "hunter2 b sk-pro"), text(0, "x"), delta(0, "{}", "stop"), done},
	"two choices":       {text(0, "one sk-proj-"), text(1, "two"), text(0, "hunter2hunter2"), text(1, " and"), delta(1, "{}", "stop"), delta(0, "{}", "stop"), done},
	"call allowed":      {call(0, 0, "c1", "search", ""), call(0, 0, "", "", `{"q":"k`), call(0, 0, "", "", `ites"}`), delta(0, "{}", "tool_calls"), done},
	"secret in a call":  {call(0, 0, "c1", "search", `{"q":"sk-proj-`), call(0, 0, "", "", `hunter2hunter2"}`), delta(0, "{}", "tool_calls"), done},
	"call denied":       {call(0, 0, "c1", "delete", ""), call(0, 0, "", "", `{"path":"/srv/`), call(0, 0, "", "", `forbidden"}`), delta(0, "{}", "tool_calls"), done},
	"first of two":      {call(0, 0, "c1", "delete", `{"path":"`+forbidden+`"}`), call(0, 1, "c2", "search", `{"q":"x"}`), delta(0, "{}", "tool_calls"), done},
	"text, then denied": {text(0, "I will "), text(0, "do it."), call(0, 0, "c1", "delete", `{"path":"`+forbidden+`"}`), delta(0, "{}", "tool_calls"), done},
}

// result is what an application and an auditor see of one run.
type result struct {
	Got     string
	Outcome pipeline.Outcome
}

func runSplit(t testing.TB, pieces []string) result {
	t.Helper()
	r := newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", pieces...)
	r.opts.Decider = fakes.DenyTool("delete")
	got := r.must()
	r.noSecret()
	o := r.outcome()
	o.Pace, o.DurationMS, o.OverheadUS, o.FirstReleaseMS, o.Decision = nil, 0, 0, 0, ""
	o.Text = unnamed(o.Text)
	return result{unnamed(got), o}
}

// unnamed takes the decision's ID out, which differs from run to run and is of one length.
func unnamed(s string) string {
	for {
		i := strings.Index(s, "dec_")
		if i < 0 {
			return s
		}
		s = s[:i] + "DEC" + s[i+len("dec_00000000-0000-0000-0000-000000000000"):]
	}
}

// TestAnySplit: however the provider's bytes are cut, the application gets the same bytes and the record is the same;
// nothing of a secret or of a refused call's arguments is among them.
func TestAnySplit(t *testing.T) {
	for name, events := range streams {
		t.Run(name, func(t *testing.T) {
			whole := strings.Join(events, "")
			want := runSplit(t, []string{whole})
			if strings.Contains(want.Got, "hunter2") || strings.Contains(want.Got, "forbidden") || strings.Contains(want.Got, "/srv/") {
				t.Fatalf("released %s", want.Got)
			}
			if strings.Contains(name, "denied") && !strings.Contains(want.Got, "[sallyport] tool delete was refused by rule guardrail/no-delete") {
				t.Fatalf("the application is not told: %s", want.Got)
			}
			check := func(pieces []string) {
				t.Helper()
				if got := runSplit(t, pieces); !reflect.DeepEqual(got, want) {
					t.Fatalf("%d pieces:\n got %+v\nwant %+v", len(pieces), got, want)
				}
			}
			everySplit(events, check)
		})
	}
}

// everySplit cuts the bytes of events in many ways.
func everySplit(events []string, check func(pieces []string)) {
	whole := strings.Join(events, "")
	check(events)
	for i := 1; i < len(whole); i++ {
		check([]string{whole[:i], whole[i:]})
	}
	check(strings.Split(whole, ""))
	for seed := range uint64(20) {
		check(atRandom(whole, seed))
	}
}

// atRandom cuts bytes into pieces of 1 to 97.
func atRandom(s string, seed uint64) (pieces []string) {
	r := rand.New(rand.NewPCG(seed, 7))
	for s != "" {
		n := 1 + r.IntN(min(len(s), 97))
		pieces, s = append(pieces, s[:n]), s[n:]
	}
	return pieces
}

// inSteps cuts bytes into pieces of one more than step.
func inSteps(s string, step uint8) (pieces []string) {
	for s != "" {
		n := min(len(s), int(step)+1)
		pieces, s = append(pieces, s[:n]), s[n:]
	}
	return pieces
}

// TestPiecesStay: what is not changed leaves in the pieces in which it came, also where events were held for a while.
func TestPiecesStay(t *testing.T) {
	pieces := []string{text(0, "Hello") + text(0, " sk-"), text(0, "41"), text(0, " end sk"), delta(0, "{}", "stop"), done}
	r := newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", pieces...)
	var want []int
	for _, p := range pieces {
		want = append(want, len(p))
	}
	if got := r.must(); got != strings.Join(pieces, "") || !reflect.DeepEqual(r.client.Writes, want) {
		t.Errorf("writes %v, want %v", r.client.Writes, want)
	}
}

// FuzzFlowStream: no stream of a provider, however broken or cut, makes us panic, release a secret, or run on.
func FuzzFlowStream(f *testing.F) {
	for _, events := range streams {
		f.Add([]byte(strings.Join(events, "")), uint8(9))
	}
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		r := newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", inSteps(string(in), step)...)
		r.opts.Decider = fakes.DenyTool("delete")
		err := r.serve()
		for _, n := range r.notes {
			if strings.Contains(n, "panic") {
				t.Fatal(n)
			}
		}
		if err == nil && len(r.log.Of(pipeline.KindOutcome)) != 1 {
			t.Fatalf("%d outcomes", len(r.log.Of(pipeline.KindOutcome)))
		}
	})
}
