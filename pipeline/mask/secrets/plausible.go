// SPDX-License-Identifier: Apache-2.0

package secrets

import "github.com/sallyport-dev/sallyport/pipeline/mask/rule"

// pairs says which letters often follow a letter in English and in identifiers of code: the pairs that make 92 % of the comments of Go's
// standard library. Of random letters 30 % are such pairs.
var pairs = [26]uint32{
	0x13eb94e, 0x0144911, 0x01a4d91, 0x0144119, 0x0afb83d, 0x0124931, 0x0006190, 0x0084111, 0x02ef87f, 0x0000000, 0x0000010, 0x11c4919, 0x010d111,
	0x01c695d, 0x07ef90c, 0x01ac911, 0x0100000, 0x13e715d, 0x11cc195, 0x11ec191, 0x00eb914, 0x0000011, 0x0024181, 0x0088000, 0x0048000, 0x0000010,
}

// traits is what a value is made of.
type traits struct {
	n, lower, upper, digit, other, distinct int
	pairs, common                           int // of two letters side by side in one case, or Xx
	switches                                int // from letters to digits and back
	most                                    int // how often the most frequent byte is there
	run                                     int // the longest run of one byte, or of bytes that count up or down
	hex                                     bool
}

func measure(v []byte) (t traits) {
	var count [128]uint8
	t.n, t.hex = len(v), len(v) > 0
	up, same, down := 1, 1, 1
	for i, c := range v {
		switch {
		case 'a' <= c && c <= 'z':
			t.lower++
			t.hex = t.hex && c <= 'f'
		case 'A' <= c && c <= 'Z':
			t.upper++
			t.hex = t.hex && c <= 'F'
		case '0' <= c && c <= '9':
			t.digit++
		default:
			t.other++
			t.hex = false
		}
		if count[c&127] < 255 {
			count[c&127]++
		}
		if count[c&127] == 1 {
			t.distinct++
		}
		t.most = max(t.most, int(count[c&127]))
		if i == 0 {
			continue
		}
		p := v[i-1]
		up, same, down = step(up, c == p+1 || p == '9' && c == '0'), step(same, c == p), step(down, c+1 == p)
		t.run = max(t.run, up, same, down)
		if letter(p) && digit(c) || digit(p) && letter(c) {
			t.switches++
		}
		if letter(p) && letter(c) && (c >= 'a' || p < 'a') {
			t.pairs++
			if pairs[(p|32)-'a']>>((c|32)-'a')&1 != 0 {
				t.common++
			}
		}
	}
	return t
}

func step(n int, on bool) int {
	if on {
		return n + 1
	}
	return 1
}

// wordy tells whether the letters look like words.
func (t *traits) wordy() bool {
	return t.pairs >= 4 && 100*t.common >= 62*t.pairs+100 && !(t.hex && t.n >= 16 && t.digit >= 3)
}

// uniform tells whether too few different bytes are there for a random value: xxxx, 0000-0000, 12345678.
func (t *traits) uniform() bool {
	want := 6
	switch {
	case t.n >= 32:
		want = 9
	case t.n >= 20:
		want = 8
	case t.n < 10:
		want = t.n/2 + 1
	}
	return t.distinct < want || 5*t.most > 2*t.n && t.n >= 12 || t.run >= 8 && 3*t.run > t.n
}

// random tells whether v, of at least least bytes, looks as if a machine had made it from all of its alphabet.
func random(v []byte, least int) bool {
	if len(v) < least {
		return false
	}
	t := measure(v)
	return t.random()
}

func (t *traits) random() bool {
	if t.uniform() || t.lower+t.upper == 0 && t.n < 30 {
		return false
	}
	if t.digit == 0 {
		return t.n >= 20 && t.upper >= t.n/5 && t.lower >= t.n/5 && !t.wordy() || t.n >= 20 && t.pairs >= 12 && 100*t.common < 45*t.pairs
	}
	if t.digit >= 6 && t.switches >= 6 {
		return true
	}
	if t.wordy() {
		return t.digit >= 4 && 10*t.digit >= 2*t.n && 100*t.common < 80*t.pairs
	}
	return t.digit >= 2 || t.n >= 24 || t.pairs < 8 || 100*t.common < 50*t.pairs
}

// placeholder tells whether v stands for a secret, or tells where it is, and is none.
func placeholder(v []byte) bool {
	if len(v) == 0 {
		return true
	}
	switch v[0] {
	case '$', '%', '{', '<', '[', '(':
		if refers(v) {
			return true
		}
	}
	if v[0] == '@' && (len(v) < 8 || v[1] == '{' || v[1] == '@') {
		return true
	}
	for i := 0; i+1 < len(v); i++ {
		switch a, b := v[i], v[i+1]; {
		case a == '{' && b == '{', a == '$' && (b == '{' || b == '('), a == '#' && b == '{', a == '<' && b == '%', a == '.' && b == '.' && i+2 < len(v) && v[i+2] == '.',
			a == '*' && b == '*', a == 0xe2 && b == 0x80 && i+2 < len(v) && (v[i+2] == 0xa6 || v[i+2] == 0xa2):
			return true
		}
	}
	if xs(v) {
		return true
	}
	for i, c := range v {
		if c >= 'A' && c <= 'Z' {
			c += 32
		}
		for _, w := range standBy[c&127] {
			if at(v, i, w) {
				return true
			}
		}
	}
	return false
}

// standBy are the words of stand by their first byte.
var standBy = func() (t [128][]string) {
	for _, w := range stand {
		t[w[0]] = append(t[w[0]], w)
	}
	return t
}()

// stand are parts of values that stand for a secret. They are long enough not to occur in random values.
var stand = []string{
	"example", "your_", "your-", "yourap", "yourse", "yourpass", "yourto", "yourkey", "changeme", "change_me", "change-me", "placeholder", "redacted", "replace_", "replace-", "replaceme",
	"insert_", "insert-", "dummy", "_here", "-here", "goes_here", "goeshere", "censored", "put_your", "undefined", "todo", "notarealkey", "not-a-real", "not_a_real", "my_api", "my-api",
	"my_secret", "my-secret", "my_token", "my-token", "mysecret", "xxxxxx", "123456789012345", "0123456789abcdef0123456789abcdef", "abcdefghijkl", "......", "environ", "getenv", "process.env",
	"<your", "[your", "{your", "_token_", "secrets.", "vault:", "ssm:", "config.", "settings.", "masked", "hidden", "sample-", "sample_",
}

// refers: $VAR, ${VAR}, %VAR%, %s, {{x}}, <x>, [x], (x).
func refers(v []byte) bool {
	last := v[len(v)-1]
	switch v[0] {
	case '$':
		if len(v) == 1 || v[1] == '{' || v[1] == '(' || len(v) > 3 && v[1] == '$' && variable(v[2:]) {
			return true
		}
		for _, c := range v[1:] { // a name of a variable
			if !word(c) && c != '.' && c != ':' && c != '-' && c != '>' && c != '[' && c != ']' {
				return false
			}
		}
		t := measure(v[1:]) // a name is not of all kinds of letters with digits among them
		return (letter(v[1]) || v[1] == '_') && !(t.digit > 0 && t.upper > 0 && t.lower > 0 && !t.wordy())
	case '%':
		return last == '%' || len(v) <= 3 || v[1] == '('
	case '{':
		return true
	case '<':
		return bytesHave(v, '>') || len(v) < 6 || letter(last)
	case '[':
		return last == ']' || len(v) < 8
	case '(':
		return last == ')'
	}
	return false
}

// variable tells whether v is a name as variables of the environment have.
func variable(v []byte) bool {
	for _, c := range v {
		if !(c >= 'A' && c <= 'Z') && c != '_' {
			return false
		}
	}
	return true
}

// xs: made of x, X, *, #, ., -, 0 and the like, at least for the most part.
func xs(v []byte) bool {
	n := 0
	for _, c := range v {
		switch c {
		case 'x', 'X', '*', '.', '-', '_', '#', '?', '~', '=', 0xe2, 0x80, 0xa2, 0xa6, ' ':
			n++
		}
	}
	return 10*n > 7*len(v)
}

func letter(c byte) bool { return 'a' <= c|32 && c|32 <= 'z' }
func digit(c byte) bool  { return '0' <= c && c <= '9' }
func word(c byte) bool   { return letter(c) || digit(c) || c == '_' }
func alnum(c byte) bool  { return letter(c) || digit(c) }

// has tells whether w, in lower case, is in v in any case.
func has(v []byte, w string) bool { return index(v, w) >= 0 }

func index(v []byte, w string) int {
	for i := 0; i+len(w) <= len(v); i++ {
		if at(v, i, w) {
			return i
		}
	}
	return -1
}

// at tells whether w, in lower case, stands at offset i of v in any case.
func at(v []byte, i int, w string) bool {
	if i < 0 || i+len(w) > len(v) {
		return false
	}
	for k := range len(w) {
		if c := v[i+k]; c != w[k] && (c < 'A' || c > 'Z' || c+32 != w[k]) {
			return false
		}
	}
	return true
}

func ends(v []byte, w string) bool { return at(v, len(v)-len(w), w) }

func anyEnds(v []byte, words []string) bool {
	for _, w := range words {
		if ends(v, w) {
			return true
		}
	}
	return false
}

func anyHas(v []byte, words []string) bool {
	for _, w := range words {
		if has(v, w) {
			return true
		}
	}
	return false
}

// uuid tells whether v is one, by its dashes.
func uuid(v []byte) bool {
	if len(v) != 36 {
		return false
	}
	for i, c := range v {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (c == '-') || !dash && !hexDigits.Has(c) {
			return false
		}
	}
	return true
}

var hexDigits = rule.Of("0-9a-fA-F")
