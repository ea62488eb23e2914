// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// keysOf lists the keys of a JSON text, in order.
func keysOf(t *testing.T, text string) (keys []string) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	var value func()
	next := func() json.Token {
		tok, err := d.Token()
		if err != nil && err != io.EOF {
			t.Fatalf("%v: %s", err, text)
		}
		return tok
	}
	value = func() {
		switch next() {
		case json.Delim('{'):
			for d.More() {
				keys = append(keys, next().(string))
				value()
			}
			next()
		case json.Delim('['):
			for d.More() {
				value()
			}
			next()
		}
	}
	value()
	return keys
}

// TestKeysStay: names and addresses are not looked for in keys of JSON, which say what a value is and mostly not the value; so who reads the JSON finds them.
// Values beside them are masked, numbers too, which leaves no JSON: they become strings here.
func TestKeysStay(t *testing.T) {
	e, err := New(Options{Names: true})
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{"name", "Name", "address", "Address", "street", "Street", "city", "zip", "postcode", "postal_code", "country", "住所", "氏名", "郵便番号", "番地", "Street Address",
		"First Name", "Last Name", "house_number", "floor", "state", "Tokyo", "James", "James Miller", "ward", "line1", "addressLine1", "〒", "Region", "会社名", "Calle", "Straße", "rue", "Rue de Paris"}
	values := []string{"〒100-0001", "〒150-0043 東京都渋谷区", "大阪市北区梅田3-1-3", "150-0043", "2-21-1 Dogenzaka", "12 High Street", "Springfield", "Hauptstraße 5", "10115 Berlin", "Tokyo", "Shibuya-ku",
		"Tanaka Hiroshi", "田中太郎", "03-1234-5678", "Mark City 3-4", "12 rue de la Paix", "75002 Paris", "London SW1A 1AA", "Apt 4", "1-1", "x", "", "17060", "9"}
	r := rand.New(rand.NewPCG(3, 4))
	masked := 0
	for i := range 3000 {
		var b strings.Builder
		sep, colon := []string{", ", ",", ",\n  "}[r.IntN(3)], []string{": ", ":", " : "}[r.IntN(3)]
		for k := range 2 + r.IntN(5) {
			if k > 0 {
				b.WriteString(sep)
			}
			fmt.Fprintf(&b, "%q%s%q", keys[r.IntN(len(keys))], colon, values[r.IntN(len(values))])
		}
		text := "{" + b.String() + "}"
		want, quoted := keysOf(t, text), i%3 == 0
		if quoted { // JSON in JSON
			q, err := json.Marshal(text)
			if err != nil {
				t.Fatal(err)
			}
			text = string(q)
		}
		out, masks, err := e.Mask("text", text, StreamOptions{})
		if err != nil {
			t.Fatal(err)
		}
		masked += len(masks)
		if quoted {
			var inner string
			if err := json.Unmarshal([]byte(out), &inner); err != nil {
				t.Fatalf("%s becomes %s: %v", text, out, err)
			}
			out = inner
		}
		if got := keysOf(t, out); !slices.Equal(got, want) {
			t.Fatalf("%s\nbecomes\n%s", text, out)
		}
	}
	if masked < 3000 {
		t.Errorf("%d values are masked in all", masked)
	}
	// At the end of a text, where it may have been cut off, and in pieces.
	for text, want := range map[string]string{`{"James": `: `{"James": `, `{"James":`: `{"James":`, `{"Straße" : "x"}`: `{"Straße" : "x"}`, `said "James"`: `said "[PERSON]"`,
		`{"name": "James Miller"}`: `{"name": "[PERSON]"}`, `{"a":"James Miller","James Miller":"b"}`: `{"a":"[PERSON]","James Miller":"b"}`, `James Miller: "hello"`: `[PERSON]: "hello"`,
		"the quick brown fox jumps ove": "the quick brown fox jumps ove", "I am James": "I am [PERSON]", "ask james miller": "ask [PERSON]"} {
		for piece := 1; piece <= len(text); piece++ {
			s := e.Stream("text", StreamOptions{})
			var out []byte
			for from := 0; from < len(text); from += piece {
				if out, err = s.Write(out, []byte(text[from:min(len(text), from+piece)])); err != nil {
					t.Fatal(err)
				}
			}
			if out, err = s.Flush(out); err != nil {
				t.Fatal(err)
			}
			s.Release()
			if string(out) != want {
				t.Errorf("%q in pieces of %d becomes %q, want %q", text, piece, out, want)
			}
		}
	}
}
