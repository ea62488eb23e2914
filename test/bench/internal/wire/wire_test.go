// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTagRoundTrip(t *testing.T) {
	s := Spec{ID: 42, Bytes: 1024, Deltas: 7, Delay: 20 * time.Millisecond, First: time.Millisecond, Closed: true}
	body := RequestBody("m", s, 4096, true)
	if !json.Valid(body) {
		t.Fatal("request is not JSON")
	}
	got, ok := ParseTag(body)
	if !ok || got != s {
		t.Fatalf("got %+v, %v", got, ok)
	}
	if _, ok := ParseTag([]byte("no tag")); ok {
		t.Fatal("found a tag where there is none")
	}
	if _, ok := ParseTag([]byte("[[bench id=x]]")); ok {
		t.Fatal("took a broken tag")
	}
}

func TestWantsStream(t *testing.T) {
	for body, want := range map[string]bool{
		`{"stream":true}`: true, `{"stream": true, "a":1}`: true, `{"stream":false}`: false,
		`{}`: false, `{"a":"\"stream\" x","stream" : true}`: true,
	} {
		if WantsStream([]byte(body)) != want {
			t.Errorf("%s: want %v", body, want)
		}
	}
}

func TestResponseBody(t *testing.T) {
	s := Spec{ID: 9, Bytes: 1024}
	req := RequestBody("m", s, 1024, false)
	a, b := ResponseBody(nil, s, req), ResponseBody(nil, s, req)
	if string(a) != string(b) {
		t.Fatal("not deterministic")
	}
	var v struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.Unmarshal(a, &v); err != nil || len(v.Choices[0].Message.Content) != 1024 {
		t.Fatalf("%v %s", err, a)
	}
	req[len(req)-5] ^= 1
	if string(ResponseBody(nil, s, req)) == string(a) {
		t.Fatal("a changed request must change the answer")
	}
}

func TestDelta(t *testing.T) {
	at := time.Unix(1700000000, 123)
	i, ns, ok := ParseDelta(AppendChunk(nil, Spec{ID: 3, Closed: true}, 17, at))
	if !ok || i != 17 || ns != at.UnixNano() {
		t.Fatal(i, ns, ok)
	}
	if i, _, ok = ParseDelta([]byte(`data: {"choices": [{"delta": {"content": " jumps"}}], "obfuscation": "w4:99"}`)); !ok || i != 4 {
		t.Fatal("spaced JSON must parse")
	}
	for _, l := range [][]byte{AppendFirst(nil, 1), AppendLast(nil, 1), []byte(": ping"),
		[]byte(`data: {"choices": [{"delta": {"content": " jumps"}}], "obfuscation": "w5:99"}`)} {
		if _, _, ok := ParseDelta(l); ok {
			t.Errorf("took %s for a delta", l)
		}
	}
}

// TestVerifier: whatever happens to a stream on its way is seen.
func TestVerifier(t *testing.T) {
	s := Spec{ID: 5, Deltas: 4}
	var lines []string
	add := func(b []byte) { lines = slices.AppendSeq(lines, strings.Lines(string(b))) }
	add(AppendFirst(nil, s.ID))
	for i := range s.Deltas {
		add(AppendChunk(nil, s, i, time.Unix(1700000000, int64(i))))
	}
	add(AppendLast(nil, s.ID))
	swap := func(i, j int) func([]string) []string {
		return func(l []string) []string { l[i], l[j] = l[j], l[i]; return l }
	}
	replace := func(i int, old, new string) func([]string) []string {
		return func(l []string) []string { l[i] = strings.Replace(l[i], old, new, 1); return l }
	}
	for _, c := range []struct {
		name   string
		change func([]string) []string
		right  bool
	}{
		{"as it was sent", func(l []string) []string { return l }, true},
		{"two deltas change places", swap(2, 4), false},
		{"a delta is missing", func(l []string) []string { return slices.Delete(l, 4, 6) }, false},
		{"a delta twice", func(l []string) []string { return slices.Insert(l, 4, l[2], l[3]) }, false},
		{"another word", replace(4, "quick", "slow"), false},
		{"a space more", replace(4, `:{"content"`, `: {"content"`), false},
		{"another stream's delta", replace(4, "bench-5", "bench-6"), false},
		{"another role", replace(0, "assistant", "user"), false},
		{"another end", replace(10, "stop", "length"), false},
		{"no blank line", func(l []string) []string { return slices.Delete(l, 3, 4) }, false},
		{"no end mark", func(l []string) []string { return l[:len(l)-2] }, false},
		{"cut in a line", func(l []string) []string { l[6] = l[6][:20]; return l[:7] }, false},
		{"cut before the end", func(l []string) []string { return l[:8] }, false},
		{"more after the end", func(l []string) []string { return append(l, "\n") }, false},
		{"nothing at all", func(l []string) []string { return nil }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := NewVerifier(s)
			var err error
			for _, l := range c.change(slices.Clone(lines)) {
				if err = v.Line([]byte(l)); err != nil {
					break
				}
			}
			if got := err == nil && v.Ended(); got != c.right {
				t.Errorf("right: %v (%v), want %v", got, err, c.right)
			}
		})
	}
}
