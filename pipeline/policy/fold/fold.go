// SPDX-License-Identifier: Apache-2.0

package fold

import (
	"strings"
	"unicode"
	"unicode/utf8"
	"unsafe"

	"golang.org/x/text/unicode/norm"
)

// Depth is how many encodings one inside the other are undone.
const Depth = 3

// Bounds of all readings of one text together, in bytes: Times its length and Extra.
const (
	Times = 12
	Extra = 64 << 10
)

// Form is one reading of a text, or of a part of it.
type Form struct {
	Text string
	at   []int32 // where each byte of Text comes from; nil: the whole of from and to
	from int
	to   int
}

// Source tells which bytes of the original text the bytes start to end of a form were read from: all that had a part in them.
func (f *Form) Source(start, end int) (int, int) {
	if f.at == nil || start >= end {
		return f.from, f.to
	}
	if end > start+1 && f.Text[end-1] == '\n' && int(f.at[end-1]) > int(f.at[end-2]) { // the end of a line that is a run's
		end--
	}
	to := end
	for to < len(f.at) && f.at[to] == f.at[end-1] { // one character may have become several
		to++
	}
	last := f.to
	if to < len(f.at) {
		last = int(f.at[to])
	}
	first := int(f.at[start])
	if last <= first { // over the lines of several runs
		return f.from, f.to
	}
	return first, last
}

// Forms appends the readings of text that differ from it to dst. trace keeps account of where each byte comes from; without
// it, Source names the whole. complete is false if there was more to undo than the bounds allow.
func Forms(dst []Form, text string, trace bool) (forms []Form, complete bool) {
	r := reader{forms: dst, first: len(dst), room: Times*len(text) + Extra, trace: trace, complete: true}
	raw := Form{Text: text, to: len(text)}
	r.read(&raw, Depth)
	for i, depth, end := r.first, Depth-1, len(r.forms); i < len(r.forms) && depth > 0; depth, end = depth-1, len(r.forms) {
		for ; i < end; i++ {
			f := r.forms[i] // reading it may move the list
			r.read(&f, depth)
		}
	}
	return r.forms, r.complete
}

type reader struct {
	forms    []Form
	first    int
	room     int
	trace    bool
	complete bool
	buf      []byte
	rest     builder
	single   int
}

// add keeps a form that says something new.
func (r *reader) add(f Form) bool {
	if f.Text == "" {
		return false
	}
	for i := r.first; i < len(r.forms); i++ {
		if o := &r.forms[i]; o.Text == f.Text && o.from == f.from && o.to == f.to {
			return false
		}
	}
	if r.room < len(f.Text) {
		r.complete = false
		return false
	}
	r.room -= len(f.Text)
	r.forms = append(r.forms, f)
	return true
}

// read finds the readings of one form: first the escapes within it, then what is to be seen of it, then the runs of encoded
// bytes in it.
func (r *reader) read(f *Form, depth int) {
	odd := strange(f.Text)
	if at := escapeAt(f.Text); at >= 0 {
		r.derive(f, unescape)
	}
	if odd {
		if tags(f.Text) {
			r.derive(f, hidden)
		}
		seen, changed := Form{}, false
		if veiled(f.Text) {
			seen, changed = r.derive(f, visible)
		}
		if !changed {
			seen = *f
		}
		r.derive(&seen, plain)
	}
	r.runs(f)
}

// derive applies a step to a form and keeps what comes out if it differs.
func (r *reader) derive(f *Form, step func(*builder, string)) (Form, bool) {
	b := builder{out: make([]byte, 0, len(f.Text)), trace: r.trace}
	step(&b, f.Text)
	if string(b.out) == f.Text {
		return Form{}, false
	}
	out := Form{Text: unsafe.String(unsafe.SliceData(b.out), len(b.out)), from: f.from, to: f.to} // nobody writes to it any more
	if r.trace {
		out.at = b.at
		for i := range out.at {
			if f.at != nil {
				out.at[i] = f.at[out.at[i]]
			} else if f.from != 0 || f.to != len(f.Text) || !f.whole() {
				out.at = nil // of a decoded run: the whole of it
				break
			}
		}
	}
	r.add(out)
	return out, true
}

// whole says whether a form without account of its bytes is the original text itself.
func (f *Form) whole() bool { return f.from == 0 && f.to == len(f.Text) && f.at == nil }

// builder makes a text and keeps account of where its bytes come from.
type builder struct {
	out   []byte
	at    []int32
	trace bool
}

func (b *builder) add(s []byte, from int) {
	b.out = append(b.out, s...)
	if b.trace {
		for range s {
			b.at = append(b.at, int32(from))
		}
	}
}

func (b *builder) byte(c byte, from int) {
	b.out = append(b.out, c)
	if b.trace {
		b.at = append(b.at, int32(from))
	}
}

// copy takes s as it is; it stands at from.
func (b *builder) copy(s string, from int) {
	b.out = append(b.out, s...)
	if b.trace {
		for i := range len(s) {
			b.at = append(b.at, int32(from+i))
		}
	}
}

// unseen tells whether a byte is a control character that nobody sees.
func unseen(c byte) bool { return c < utf8.RuneSelf && !ordinary(c) }

// visible takes out what cannot be seen and brings the rest into the form NFKC.
func visible(b *builder, s string) {
	var seg []byte
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if unseen(c) {
				i++
				continue
			}
			next := i + 1
			for next < len(s) && unseen(s[next]) {
				next++
			}
			if next == len(s) || s[next] < utf8.RuneSelf {
				b.byte(c, i)
				i = next
				continue
			}
		}
		// A piece with characters beyond ASCII and the one before it, which may be the base of a mark, whatever unseen is between.
		from := i
		seg = seg[:0]
		n := 0
		for kept := 0; i < len(s) && kept < maxPiece; n++ {
			if kept > 0 && s[i] < utf8.RuneSelf && !unseen(s[i]) {
				break
			}
			c, size := utf8.DecodeRuneInString(s[i:])
			if !ignorable(c) {
				seg = append(seg, s[i:i+size]...)
				kept++
			}
			i += size
		}
		composed := norm.NFKC.Bytes(seg)
		if len(composed) > 3*len(seg)+8 { // a ligature of many letters: nothing that a rule would name
			composed = seg
		}
		if b.trace && n == len(composed) && n == i-from { // one for one
			b.copy(string(composed), from)
		} else if b.trace {
			b.pieces(s[from:i], composed, from)
		} else {
			b.out = append(b.out, composed...)
		}
	}
}

// veiled says whether visible would change a text.
func veiled(s string) bool {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if !ordinary(c) {
				return true
			}
			i++
			continue
		}
		c, n := utf8.DecodeRuneInString(s[i:])
		if ignorable(c) {
			return true
		}
		i += n
	}
	return norm.NFKC.QuickSpanString(s) != len(s)
}

// maxPiece bounds how many characters are brought into a normal form at once.
const maxPiece = 64

// pieces accounts for a normalised piece character by character where that gives the same, else as a whole.
func (b *builder) pieces(s string, composed []byte, from int) {
	mark, markAt := len(b.out), len(b.at)
	for i, c := range s {
		if !ignorable(c) {
			b.add(norm.NFKC.Bytes([]byte(s[i:i+max(1, runeLen(s[i:]))])), from+i)
		}
	}
	if string(b.out[mark:]) != string(composed) {
		b.out, b.at = b.out[:mark], b.at[:markAt]
		b.add(composed, from)
	}
}

func runeLen(s string) int {
	_, n := utf8.DecodeRuneInString(s)
	return n
}

// plain turns letters that look like ASCII into these, and takes marks off letters.
func plain(b *builder, s string) {
	for i := 0; i < len(s); {
		c, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case n > 1 && int(c) < len(flat) && flat[c] != 0:
			b.byte(flat[c], i)
		case n == 1: // ASCII, or a byte that is no character
			b.byte(s[i], i)
		case likeness(c) != 0:
			b.byte(likeness(c), i)
		case ignorable(c):
		default:
			plainSlow(b, s[i:i+n], i)
		}
		i += n
	}
}

// plainSlow takes a character apart.
func plainSlow(b *builder, s string, at int) {
	var space [64]byte
	for _, d := range string(norm.NFKD.AppendString(space[:0], s)) {
		if l := likeness(d); l != 0 {
			b.byte(l, at)
		} else if !unicode.Is(unicode.Mn, d) {
			b.add(utf8.AppendRune(nil, d), at)
		}
	}
}

// flat are the letters of the first scripts that plain turns into one ASCII character; 0 for others.
var flat = func() (t [0x600]byte) {
	for c := rune(0x80); int(c) < len(t); c++ {
		if t[c] = likeness(c); t[c] == 0 && !ignorable(c) {
			var b builder
			plainSlow(&b, string(c), 0)
			if len(b.out) == 1 {
				t[c] = b.out[0]
			}
		}
	}
	return t
}()

// tags tells whether there are tag characters, which nobody sees and models read.
func tags(s string) bool { return strings.Contains(s, "\U000e0000"[:2]) }

// hidden is what tag characters say.
func hidden(b *builder, s string) {
	for i, c := range s {
		if c >= 0xE0020 && c <= 0xE007E {
			b.byte(byte(c-0xE0000), i)
		}
	}
}
