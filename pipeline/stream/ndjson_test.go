// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func lines(t testing.TB, limit int, pieces ...string) ([]got, error) {
	t.Helper()
	return splitBy(t, NewNDJSON(limit), pieces...)
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []got
	}{
		{"nothing", "", nil},
		{"one", "{}\n", []got{{"{}\n", "", "{}", true, false}}},
		{"CRLF", "{}\r\n[]\n", []got{{"{}\r\n", "", "{}", true, false}, {"[]\n", "", "[]", true, false}}},
		{"CR inside", "{}\r{}\n", []got{{"{}\r{}\n", "", "{}\r{}", true, false}}},
		{"blank lines", "\n \t\r\n{}\n", []got{{"\n", "", "", false, false}, {" \t\r\n", "", "", false, false}, {"{}\n", "", "{}", true, false}}},
		{"no end", "{}\n{\"a\":1}", []got{{"{}\n", "", "{}", true, false}, {"{\"a\":1}", "", "{\"a\":1}", true, true}}},
		{"half a line end", "{}\r", []got{{"{}\r", "", "{}\r", true, true}}},
		{"white space at the end", "{}\n  ", []got{{"{}\n", "", "{}", true, false}, {"  ", "", "", false, true}}},
		{"separators of Unicode", "\"a\u2028b\u0085c\"\n", []got{{"\"a\u2028b\u0085c\"\n", "", "\"a\u2028b\u0085c\"", true, false}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := lines(t, 0, c.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, out); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLineLimit(t *testing.T) {
	for name, c := range map[string]struct {
		pieces []string
		ok     bool
	}{
		"too long":               {[]string{strings.Repeat("x", 30) + "\n"}, false},
		"too long, no end":       {[]string{strings.Repeat("x", 30)}, false},
		"too long, byte by byte": {strings.Split(strings.Repeat("x", 30), ""), false},
		"as long as allowed":     {[]string{strings.Repeat("x", 19) + "\n"}, true},
		"many short ones":        {[]string{strings.Repeat("short\n", 20)}, true},
	} {
		if _, err := lines(t, 20, c.pieces...); errors.Is(err, ErrEventTooLarge) == c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// AppendLine's output is one event with that data.
func TestAppendLine(t *testing.T) {
	out, err := lines(t, 0, string(AppendLine(nil, []byte(`{"a":1}`))))
	if err != nil || len(out) != 1 || out[0].Data != `{"a":1}` || out[0].Partial {
		t.Errorf("%+v, %v", out, err)
	}
}

// FuzzNDJSON: any split gives the same events, and their bytes are those of the stream.
func FuzzNDJSON(f *testing.F) {
	f.Add([]byte("{\"a\":1}\n\r\n{\"b\":2}\r\n[3]"), uint8(3))
	f.Add([]byte("\n\n\r\r\n \n"), uint8(1))
	f.Add([]byte("\"caf\u00e9\"\n\"\u2028\"\n"), uint8(2))
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		sameInPieces(t, in, step, lines)
	})
}
