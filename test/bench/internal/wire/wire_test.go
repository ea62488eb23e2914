// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
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
