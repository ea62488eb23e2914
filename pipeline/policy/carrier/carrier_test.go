// SPDX-License-Identifier: Apache-2.0

package carrier

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
)

func TestRead(t *testing.T) {
	for _, c := range []struct {
		name, args string
		want       []string
	}{
		{"strings and keys", `{"a":"b","c":[1,"d"]}`, []string{"a", "b", "c", "d"}},
		{"escapes", `{"a":"\u0072m\n"}`, []string{"{\"a\":\"rm\n\"}", "a", "rm\n"}},
		{"JSON in a string", `{"q":"{\"k\":\"v\"}"}`, []string{`{"q":"{"k":"v"}"}`, "q", `{"k":"v"}`, "k", "v"}},
		{"broken off", `{"a":"b`, []string{"a", "b"}},
		{"no JSON", `find x`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			texts := Read(nil, &pipeline.Step{Args: []byte(c.args)})
			var got []string
			for _, x := range texts[1:] {
				got = append(got, x.Text)
			}
			if texts[0].Text != c.args || texts[0].Part != Args || !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestStrings(t *testing.T) {
	raw := []byte(`{"a":"b\"c","d":[true,"e"],"":1}`)
	var got []string
	for _, s := range Strings(raw) {
		got = append(got, string(raw[s[0]:s[1]]))
	}
	if want := []string{"a", `b\"c`, "d", "e", ""}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if Strings([]byte(`{"a":`)) != nil {
		t.Error("strings of no JSON")
	}
}

// FuzzRead: every text stands within the arguments, and a string that needs no decoding is what stands there.
func FuzzRead(f *testing.F) {
	for _, s := range []string{`{"a":"b"}`, `{"q":"{\"k\":\"v\"}"}`, `"\ud83d\ude00"`, `{"a":"\`, `""""`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, args []byte) {
		for _, x := range Read(nil, &pipeline.Step{Args: args}) {
			if x.From < 0 || x.To < x.From || x.To > len(args) {
				t.Fatalf("%q: %+v", args, x)
			}
		}
		for _, s := range Strings(args) {
			var v string
			if err := json.Unmarshal(args[s[0]-1:s[1]+1], &v); err != nil {
				t.Fatalf("%q: %v is no string: %v", args, s, err)
			}
		}
	})
}
