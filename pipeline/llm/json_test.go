// SPDX-License-Identifier: Apache-2.0

package llm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// read reads a whole value as encoding/json would, with the scanner.
func read(s *Scanner) (any, error) {
	switch s.Peek() {
	case Object:
		out := map[string]any{}
		err := s.Object(func(m Member) error {
			v, err := read(s)
			out[string(m.Key)] = v
			return err
		})
		return out, err
	case Array:
		out := []any{}
		err := s.Array(func(int) error {
			v, err := read(s)
			out = append(out, v)
			return err
		})
		return out, err
	case String:
		text, _, err := s.Text()
		return string(text), err
	case Bool:
		return s.Bool()
	}
	at, err := s.Skip()
	if err != nil {
		return nil, err
	}
	if b := s.Bytes(at); string(b) != "null" {
		return json.Number(b), nil
	}
	return nil, nil
}

func scan(data []byte, strict bool) (any, error) {
	s := Scanner{Strict: strict}
	if err := s.Reset(data); err != nil {
		return nil, err
	}
	v, err := read(&s)
	if err == nil {
		err = s.End()
	}
	return v, err
}

func TestScanner(t *testing.T) {
	long := strings.Repeat("lorem ipsum ", 40)
	for _, c := range []struct{ name, in, want string }{
		{"object", ` { "a" : [ 1 , -2.5e+3 , true , null ] } `, `{"a":[1,-2.5e+3,true,null]}`},
		{"empty", `{}`, `{}`},
		{"escapes", `"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"`, `"\"\\/\b\f\n\r\té😀"`},
		{"long text, quote at the end of a word of eight", `"` + long + `1234567"`, `"` + long + `1234567"`},
		{"long text, escape in the middle", `"` + long + `\n` + long + `"`, `"` + long + `\n` + long + `"`},
		{"bytes above 0x7f beside a quote", `"ééééééé"`, `"ééééééé"`},
		{"deep", strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth), strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth)},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := scan([]byte(c.in), true)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			enc := json.NewEncoder(&got)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(v); err != nil {
				t.Fatal(err)
			}
			if s := strings.TrimSuffix(got.String(), "\n"); s != c.want {
				t.Errorf("got %s, want %s", s, c.want)
			}
		})
	}
}

func TestScannerRefuses(t *testing.T) {
	for _, c := range []struct{ name, in, says string }{
		{"nothing", "", "ends early"},
		{"space only", " ", "ends early"},
		{"two values", "1 2", "after the JSON value"},
		{"leading zero", "01", "after the JSON value"},
		{"plus", "+1", "byte 0"},
		{"no fraction", "1.", "ends early"},
		{"comma at the end", "[1,]", "byte 3"},
		{"no comma", `{"a":1 "b":2}`, "byte 7"},
		{"single quotes", "{'a':1}", "byte 1"},
		{"open text", `"abc`, "ends early"},
		{"line end in a text", "\"12345678\n\"", "byte 9"},
		{"control byte behind eight plain ones", "\"abcdefgh\x1fxxxxxxxx\"", "byte 9"},
		{"unknown escape", `"\x"`, ""},
		{"half an escape", `"\u12"`, ""},
		{"lone surrogate", `"\ud800"`, ""},
		{"not UTF-8", "\"\xff\"", "not UTF-8"},
		{"too deep", strings.Repeat("[", MaxDepth+1), "nested more than"},
		{"almost true", "tru", ""},
		{"byte order mark", "\ufeff1", "byte 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := scan([]byte(c.in), true)
			if err == nil {
				t.Fatalf("read as %v", v)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
}

func TestInt(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "42": 42, "999999999999999": 999999999999999, "1000000000000000": -1, "-1": -1, "1.0": -1, "1e3": -1, `"1"`: -1} {
		var s Scanner
		if err := s.Reset([]byte(in)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Int(); (err == nil) != (want >= 0) || err == nil && got != want {
			t.Errorf("%s: %d, %v", in, got, err)
		}
	}
}

func TestSplice(t *testing.T) {
	data := []byte("0123456789")
	for _, c := range []struct {
		name  string
		edits []Edit
		want  string // "" = an error
	}{
		{"none", nil, "0123456789"},
		{"in any order", []Edit{{Span{7, 9}, []byte("B")}, {Span{0, 2}, []byte("aaa")}}, "aaa23456B9"},
		{"insertion", []Edit{{Span{5, 5}, []byte("-")}}, "01234-56789"},
		{"all", []Edit{{Span{0, 10}, nil}}, ""},
		{"overlap", []Edit{{Span{0, 5}, nil}, {Span{4, 6}, nil}}, "error"},
		{"behind the end", []Edit{{Span{9, 11}, nil}}, "error"},
		{"backwards", []Edit{{Span{5, 4}, nil}}, "error"},
	} {
		got, err := Splice(nil, data, c.edits)
		if (err != nil) != (c.want == "error") || err == nil && string(got) != c.want {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

// depth is how deep arrays and objects nest, roughly: brackets in strings count too.
func depth(data []byte) (most int) {
	d := 0
	for _, c := range data {
		switch c {
		case '[', '{':
			d++
			most = max(most, d)
		case ']', '}':
			d--
		}
	}
	return most
}

// FuzzScanner compares with encoding/json: what it takes and what it reads, and that texts survive the way back.
func FuzzScanner(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := scan(data, false)
		var want any
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.UseNumber()
		werr := dec.Decode(&want)
		if werr == nil && !json.Valid(data) {
			werr = fmt.Errorf("more than one value")
		}
		if werr == nil && utf8.Valid(data) && depth(data) <= MaxDepth {
			if err != nil {
				t.Fatalf("refused %q: %v", data, err)
			}
		} else if err == nil && werr != nil {
			t.Fatalf("took %q, which encoding/json does not: %v", data, werr)
		}
		if err != nil {
			return
		}
		// encoding/json turns lone surrogates into U+FFFD: compare after both went through it.
		got, gerr := json.Marshal(v)
		exp, eerr := json.Marshal(want)
		if gerr != nil || eerr != nil {
			t.Fatal(gerr, eerr)
		}
		if !bytes.Contains(data, []byte(`\u`)) && !bytes.Equal(got, exp) {
			t.Fatalf("read %s, want %s", got, exp)
		}
		if text, ok := v.(string); ok {
			back, err := scan(AppendString(nil, []byte(text)), false)
			if err != nil || back != text {
				t.Fatalf("%q comes back as %q, %v", text, back, err)
			}
		}
	})
}

func BenchmarkText(b *testing.B) {
	data := []byte(`"` + strings.Repeat("The quick brown fox jumps over the lazy dog. ", 1<<12) + `"`)
	b.SetBytes(int64(len(data)))
	var s Scanner
	for b.Loop() {
		if err := s.Reset(data); err != nil {
			b.Fatal(err)
		}
		if _, _, err := s.Text(); err != nil {
			b.Fatal(err)
		}
	}
}

func TestFind(t *testing.T) {
	for body, want := range map[string]string{
		`{"type":"a"}`: "a",
		`{"x":{"type":"no"},"y":[1,{}],"type":"\u0061b"}`: "ab",
		`{"x":"type"}`: "",
		`{}`:           "",
	} {
		var s Scanner
		if err := s.Reset([]byte(body)); err != nil {
			t.Fatal(err)
		}
		got, err := s.Find("type")
		if err != nil || string(got) != want || s.Pos() != 0 {
			t.Errorf("%s: %q at %d, %v", body, got, s.Pos(), err)
		}
		if _, err := s.Skip(); err != nil || s.End() != nil {
			t.Errorf("%s cannot be read after: %v", body, err)
		}
	}
	for _, body := range []string{`[]`, `{"type":1}`, `{"x":`, `{"type"`} {
		var s Scanner
		if err := s.Reset([]byte(body)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Find("type"); err == nil {
			t.Errorf("%s: found %q", body, got)
		}
	}
}

// TestAppendStringOneLine: what is written anew is one line to every reader.
func TestAppendStringOneLine(t *testing.T) {
	const ends = "\n\v\f\r\x1c\x1d\x1e\u0085\u2028\u2029"
	got := AppendString(nil, []byte("a"+ends+"b"))
	var s Scanner
	if err := s.Reset(got); err != nil || strings.ContainsAny(string(got), ends) {
		t.Fatalf("%q, %v", got, err)
	}
	if text, _, err := s.Text(); err != nil || string(text) != "a"+ends+"b" {
		t.Errorf("%q, %v", text, err)
	}
}
