// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand"
	"reflect"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// like is what encoding/json makes of a body.
func like(t *testing.T, v any) string {
	t.Helper()
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSuffix(buf.Bytes(), []byte("\n")))
}

var odd = []string{"", "x", "plain words", "a \"quote\"", "back\\slash", "line\nend", "<html>&", "Zürich", "\u2028", "bad \xff byte", "\x00"}

// fill sets every field of a struct to something, sometimes to nothing.
func fill(rnd *rand.Rand, v reflect.Value) {
	if rnd.Intn(4) == 0 {
		return
	}
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(rnd.Int63n(2e9), rnd.Int63n(1e9)).UTC()))
		return
	case pipeline.Mode:
		v.SetUint(uint64(rnd.Intn(4)))
		return
	case pipeline.Action:
		v.SetUint(uint64(rnd.Intn(5)))
		return
	case json.RawMessage:
		v.SetBytes([]byte(`{"a":[1,"<b>"]}`))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(odd[rnd.Intn(len(odd))])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(rnd.Int63() - rnd.Int63())
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(rnd.Uint64() >> (64 - v.Type().Bits()))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("json") != "-" {
				fill(rnd, v.Field(i))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(rnd, v.Elem())
	case reflect.Array:
		for i := range v.Len() {
			fill(rnd, v.Index(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rnd.Intn(3), 3))
		for i := range v.Len() {
			fill(rnd, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"b": "1", "a": odd[rnd.Intn(len(odd))]}))
	default:
		panic(fmt.Sprintf("a field of kind %s is new: teach the encoder and this test", v.Kind()))
	}
}

// TestEncodersAreLikeJSON compares with encoding/json, so that a field added to a record and forgotten here is noticed.
func TestEncodersAreLikeJSON(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for range 2000 {
		in, out := new(pipeline.Intent), new(pipeline.Outcome)
		fill(rnd, reflect.ValueOf(in).Elem())
		fill(rnd, reflect.ValueOf(out).Elem())
		in.Body = nil
		got, err := appendIntent(nil, in, intentWhole)
		if want := like(t, in); err != nil || string(got) != want {
			t.Fatalf("intent: %v\n got %s\nwant %s", err, got, want)
		}
		got, err = appendOutcome(nil, out)
		if want := like(t, out); err != nil || string(got) != want {
			t.Fatalf("outcome: %v\n got %s\nwant %s", err, got, want)
		}
	}
}

func TestEncoderErrors(t *testing.T) {
	bad := []pipeline.Step{{Args: json.RawMessage("{")}}
	if _, err := appendIntent(nil, &pipeline.Intent{Call: pipeline.Call{Steps: bad}}, intentWhole); err == nil {
		t.Error("an intent with arguments that are no JSON is encoded")
	}
	if _, err := appendOutcome(nil, &pipeline.Outcome{Tools: bad}); err == nil {
		t.Error("an outcome with arguments that are no JSON is encoded")
	}
}

func BenchmarkEncode(b *testing.B) {
	in := &pipeline.Intent{Flow: "flw_0", Scope: "agents", Mode: pipeline.ModeEnforce, Method: "POST", Target: "/v1/chat/completions",
		UserAgent: "OpenAI/Python 3.0.1", Call: pipeline.Call{Operation: "chat", Model: "m", Steps: []pipeline.Step{{Kind: "prompt", From: [2]int{1, 900}}}},
		Workload: pipeline.Workload{PID: 1, Comm: "python3", Exe: "/usr/bin/python3", Cgroup: "/system.slice/x.service", Unit: "x.service"}}
	b.Run("by hand", func(b *testing.B) {
		var buf []byte
		for b.Loop() {
			buf, _ = appendIntent(buf[:0], in, intentContent)
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		for b.Loop() {
			_, _ = json.Marshal(in)
		}
	})
}

// TestPartsAreTheWhole: what is recorded in the clear and what is sealed are together what was to be recorded, whatever the body holds.
func TestPartsAreTheWhole(t *testing.T) {
	rnd := rand.New(rand.NewSource(2))
	places := func(steps []pipeline.Step) { // these are tested where there is a body that has them
		for i := range steps {
			steps[i].From = [2]int{}
		}
	}
	for range 500 {
		in, out, dec, app := new(pipeline.Intent), new(pipeline.Outcome), new(pipeline.Decision), new(pipeline.Approval)
		for _, v := range []any{in, out, dec, app} {
			fill(rnd, reflect.ValueOf(v).Elem())
		}
		in.Body = nil // is the attachment
		places(in.Call.Steps)
		for _, v := range []any{in, out, dec, app} {
			b := bodyOf(v)
			meta, err := b.metadata(nil)
			if err != nil {
				t.Fatal(err)
			}
			content, split, _, err := b.content(nil)
			if err != nil || split != len(content) {
				t.Fatalf("%T: split %d of %d, %v", v, split, len(content), err)
			}
			got := reflect.New(reflect.TypeOf(v).Elem()).Interface()
			for _, doc := range [][]byte{meta, content} {
				if len(doc) == 0 {
					continue
				}
				if err := json.Unmarshal(doc, got); err != nil {
					t.Fatalf("%T: %v in %s", v, err, doc)
				}
			}
			want := reflect.New(reflect.TypeOf(v).Elem()).Interface()
			if err := json.Unmarshal([]byte(like(t, v)), want); err != nil {
				t.Fatal(err)
			}
			if g, w := like(t, got), like(t, want); g != w {
				t.Fatalf("%T\n got %s\nwant %s", v, g, w)
			}
		}
	}
}
