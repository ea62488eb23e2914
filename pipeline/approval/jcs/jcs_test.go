// SPDX-License-Identifier: Apache-2.0

package jcs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline/approval/jcs"
)

// TestNumbers has the table of RFC 8785, appendix B.
func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		bits uint64
		want string
	}{
		{0x0000000000000000, "0"}, {0x8000000000000000, "0"},
		{0x0000000000000001, "5e-324"}, {0x8000000000000001, "-5e-324"},
		{0x7fefffffffffffff, "1.7976931348623157e+308"}, {0xffefffffffffffff, "-1.7976931348623157e+308"},
		{0x4340000000000000, "9007199254740992"}, {0xc340000000000000, "-9007199254740992"},
		{0x4430000000000000, "295147905179352830000"},
		{0x44b52d02c7e14af5, "9.999999999999997e+22"}, {0x44b52d02c7e14af6, "1e+23"}, {0x44b52d02c7e14af7, "1.0000000000000001e+23"},
		{0x444b1ae4d6e2ef4e, "999999999999999700000"}, {0x444b1ae4d6e2ef4f, "999999999999999900000"}, {0x444b1ae4d6e2ef50, "1e+21"},
		{0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"}, {0x3eb0c6f7a0b5ed8d, "0.000001"},
		{0x41b3de4355555553, "333333333.3333332"}, {0x41b3de4355555554, "333333333.33333325"}, {0x41b3de4355555555, "333333333.3333333"},
		{0x41b3de4355555556, "333333333.3333334"}, {0x41b3de4355555557, "333333333.33333343"},
		{0xbecbf647612f3696, "-0.0000033333333333333333"}, {0x43143ff3c1cb0959, "1424953923781206.2"},
	} {
		if got := string(jcs.AppendNumber(nil, math.Float64frombits(c.bits))); got != c.want {
			t.Errorf("%016x: got %s, want %s", c.bits, got, c.want)
		}
	}
}

func TestAppend(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		err            error
	}{
		{name: "the RFC's example of an object", in: `{
  "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
  "literals": [null, true, false]
}`, want: `{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`},
		{name: "the RFC's example of order", in: `{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`,
			want: `{"\r":"Carriage Return","1":"One","` + "\u0080" + `":"Control","ö":"Latin Small Letter O With Diaeresis","€":"Euro Sign","😀":"Emoji: Grinning Face","` + "\ufb33" + `":"Hebrew Letter Dalet With Dagesh"}`},
		{name: "order inside", in: `{"b":{"d":1,"c":[{"z":1,"y":2}]},"a":{}}`, want: `{"a":{},"b":{"c":[{"y":2,"z":1}],"d":1}}`},
		{name: "empty", in: ` [ ] `, want: `[]`},
		{name: "escapes", in: `"\b\t\n\f\r\u0001\u001f\u007f"`, want: "\"\\b\\t\\n\\f\\r\\u0001\\u001f\x7f\""},
		{name: "scalar", in: `-0.0`, want: `0`},
		{name: "duplicate key", in: `{"a":1,"a":1}`, err: jcs.ErrDuplicate},
		{name: "duplicate key, written in two ways", in: `{"a":1,"b":2,"\u0061":1}`, err: jcs.ErrDuplicate},
		{name: "duplicate key with an escape", in: `{"\"":1,"\u0022":1}`, err: jcs.ErrDuplicate},
		{name: "lone surrogate", in: `"\ud800"`, err: jcs.ErrString},
		{name: "lone low surrogate", in: `"\udc00"`, err: jcs.ErrString},
		{name: "two high surrogates", in: `"\ud800\ud800"`, err: jcs.ErrString},
		{name: "a surrogate in UTF-8", in: "\"\xed\xa0\x80\"", err: jcs.ErrString},
		{name: "no UTF-8", in: "\"\xff\"", err: jcs.ErrString},
		{name: "too great", in: `1e400`, err: jcs.ErrNumber},
		{name: "trailing data", in: `{} {}`, err: jcs.ErrSyntax},
		{name: "nothing", in: ``, err: jcs.ErrSyntax},
		{name: "open object", in: `{"a":1`, err: jcs.ErrSyntax},
		{name: "trailing comma", in: `[1,]`, err: jcs.ErrSyntax},
		{name: "trailing comma in an object", in: `{"a":1,}`, err: jcs.ErrSyntax},
		{name: "leading zero", in: `01`, err: jcs.ErrSyntax},
		{name: "bare minus", in: `-`, err: jcs.ErrSyntax},
		{name: "dot without digits", in: `1.`, err: jcs.ErrSyntax},
		{name: "control character", in: "\"\n\"", err: jcs.ErrSyntax},
		{name: "odd escape", in: `"\x41"`, err: jcs.ErrSyntax},
		{name: "odd hex", in: `"\u00g0"`, err: jcs.ErrSyntax},
		{name: "NaN", in: `NaN`, err: jcs.ErrSyntax},
		{name: "too deep", in: strings.Repeat("[", 1000) + strings.Repeat("]", 1000), err: jcs.ErrDepth},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := jcs.Append([]byte("x"), []byte(c.in))
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if string(got) != "x"+c.want {
				t.Errorf("got  %s\nwant x%s", got, c.want)
			}
		})
	}
}

func TestAppendExact(t *testing.T) {
	for in, want := range map[string]string{
		"1": "1", "1.0": "1", "1e2": "100", "100e-2": "1", "0.1": "0.1", "0": "0", "0e999999999999999999999": "", "-1.50": "-1.5",
		"9007199254740993": "", "0.1000000000000000055": "", "-0": "", "0.00": "0", "1e23": "1e+23", "123456789012345678": "",
		"9007199254740992": "9007199254740992", "333333333.33333329": "", "5e-324": "5e-324", "4e-324": "",
	} {
		got, err := jcs.AppendExact(nil, []byte(in))
		if want == "" {
			if !errors.Is(err, jcs.ErrInexact) {
				t.Errorf("%s: %s, %v; want it refused", in, got, err)
			}
		} else if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v; want %s", in, got, err, want)
		}
	}
}

func FuzzAppend(f *testing.F) {
	for _, s := range []string{`{"b":[1,2.5e-7,"\u20ac\ud83d\ude00"],"a":null}`, `{"a":1,"\u0061":2}`, `"\ud800"`, `[-0,1e21,1e-7,123456789012345678901]`, `{"\"\\":{"":[]}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := jcs.Append(nil, in)
		if err != nil {
			return
		}
		var a, b any
		if err := json.Unmarshal(in, &a); err != nil {
			t.Fatalf("%q is no JSON for others: %v", in, err)
		}
		if err := json.Unmarshal(out, &b); err != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("%q became %q (%v)", in, out, err)
		}
		if again, err := jcs.Append(nil, out); err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%q became %q, that %q (%v)", in, out, again, err)
		}
		if exact, err := jcs.AppendExact(nil, in); err == nil && !bytes.Equal(exact, out) {
			t.Fatalf("%q: exactly %q, else %q", in, exact, out)
		}
	})
}
