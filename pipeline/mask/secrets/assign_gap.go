// SPDX-License-Identifier: Apache-2.0

package secrets

// hole is what stands between a name and its value, and where the value is.
type hole struct {
	from, to                                                             int
	quote                                                                byte // that opens the value, or 0
	closed                                                               bool // a quote was closed behind the name
	sep, equals, colon, comma, is, link, newline, xml, spaced, flag, bar bool
	spaces                                                               int
}

// readGap finds where the value begins.
func readGap(m []byte, i int) (g hole, ok bool) {
	start, extra := i, 0
	for i < len(m) {
		c := m[i]
		switch {
		case alnum(c):
			e := i
			for e < len(m) && alnum(m[e]) {
				e++
			}
			n, is := linkAt(m[i:e])
			switch {
			case n && e < len(m) && m[e] != '.' && (m[e] != '(' || e+1 < len(m) && (m[e+1] == '"' || m[e+1] == '\'' || m[e+1] == '`')) && m[e] != '_' && !(len(m[i:e]) == 1 && m[e] != '"' && m[e] != '\''):
				g.is, g.link = g.is || is, true
			case !g.sep && !g.is && extra < 2 && i > start && e < len(m) && e-i <= 16 && (m[i-1] == ' ' || m[i-1] == '(' || m[i-1] == '"' || m[i-1] == '\'') && sepAhead(m[e:]):
				extra++ // "API key (production): …", "password for root is …", "Unseal Key 2: …"
			default:
				g.from = i
				return g, i > start
			}
			i = e
		case c == '"' || c == '\'' || c == '`':
			if i+1 < len(m) && !g.sep && !g.is && g.spaces == 0 && extra == 0 && !g.closed {
				g.closed = true
				i++
				continue
			}
			if extra > 0 && !g.sep && !g.is {
				i++
				continue
			}
			if c == '`' && i+2 < len(m) && m[i+1] == '`' && m[i+2] == '`' { // a block of code
				i += 3
				continue
			}
			if i+1 < len(m) && m[i+1] != c && (m[i+1] == '"' || m[i+1] == '\'') { // '"…"'
				i++
				c = m[i]
			}
			if n := namesValue(m[i:]); n > 0 { // "name": "PASSWORD", "value": …
				g.link, g.comma, i = true, false, i+n
				continue
			}
			if g.link && g.comma && !g.colon && !g.equals { // "NAME", "value": here "value" is closed
				g.comma = false
				i++
				continue
			}
			if i+1 < len(m) && (m[i+1] == ',' || m[i+1] == ':' || m[i+1] == ' ') && g.link && !g.equals { // "value":
				i++
				continue
			}
			g.quote, g.from = c, i+1
			return g, true
		case c == '\\':
			switch {
			case i+1 < len(m) && (m[i+1] == '"' || m[i+1] == '\'' || m[i+1] == '\\'):
				i++
			case at(m, i, `\u0022`), at(m, i, `\u0027`):
				i += 6
			case i+1 < len(m) && (m[i+1] == 'n' || m[i+1] == 'r' || m[i+1] == 't'):
				g.newline = g.newline || m[i+1] != 't'
				i += 2
			default:
				g.from = i
				return g, true
			}
		case c == ' ' || c == '\t':
			g.spaces++
			if c == '\t' {
				g.spaces++
			}
			g.spaced = true
			i++
		case c == '\n' || c == '\r':
			g.newline = true
			i++
		case c == '=' || c == ':' || c == '>' || c == '|' || c == ',':
			if g.sep && g.spaced && c != '=' && c != '>' && c != '|' && m[i-1] == ' ' {
				g.from = i
				return g, true
			}
			g.sep = g.sep || c != ','
			g.equals, g.colon, g.xml, g.comma, g.bar = g.equals || c == '=', g.colon || c == ':', g.xml || c == '>', g.comma || c == ',', g.bar || c == '|'
			i++
		case c == '*' || c == '_':
			if m[i-1] == ' ' && g.sep && !(i+1 < len(m) && m[i+1] == c) {
				g.from = i
				return g, true
			}
			i++
		case (c == ')' || c == ']' || c == '}') && !g.sep, c == '[' && i+1 < len(m) && (m[i+1] == '"' || m[i+1] == '\'' || m[i+1] == ' ' || m[i+1] == ']'), c == ']' && m[i-1] == '[':
			i++
		case c == '(' && !g.sep && i+1 < len(m) && (m[i+1] == '"' || m[i+1] == '\'' || m[i+1] == '`') && i == start: // setPassword("…")
			g.sep, g.quote, g.from = true, m[i+1], i+2
			return g, true
		case c == '(' && i+1 < len(m) && (m[i+1] == '"' || m[i+1] == '\'' || m[i+1] == '`'), c == '(' && !g.sep && i+1 < len(m) && alnum(m[i+1]):
			i++
		case (c == '.' || c == '!' || c == '+' || c == '?') && i+1 < len(m) && (m[i+1] == '=' || m[i+1] == ':'):
			i++
		case c == '&' && (at(m, i, "&quot;") || at(m, i, "&#34;") || at(m, i, "&#39;") || at(m, i, "&apos;")):
			for m[i] != ';' {
				i++
			}
			i++
		case c == '-' && i+1 < len(m) && (m[i+1] == '\n' || m[i+1] == '\r') && g.xml: // >- of YAML
			i++
		case c == '-' && i+1 < len(m) && (m[i+1] == '>' || m[i+1] == ' ') && i > 0:
			g.sep = g.sep || m[i+1] == ' ' && m[i-1] == ' '
			i++
		case c == '{' && !g.sep && i+1 < len(m) && (m[i+1] == '\n' || m[i+1] == ' '):
			i++
		case c == 0xef || c == 0xe2: // ： → – — “ ‘
			g.sep = g.sep || c == 0xef || i+1 < len(m) && m[i+1] == 0x86
			if i+2 < len(m) && m[i+1] == 0x80 && (m[i+2] == 0x9c || m[i+2] == 0x98) {
				g.quote, g.from = 0xe2, i+3
				return g, true
			}
			i += 3
		default:
			g.from = i
			return g, i > start
		}
	}
	return g, false
}

// namesValue is the length of "value" in quotes if m begins with it and a colon or = follows, or 0.
func namesValue(m []byte) int {
	for _, w := range []string{"value", "val", "default", "content"} {
		if e := len(w) + 2; at(m, 1, w) && e < len(m) && m[e-1] == m[0] && (m[e] == ':' || m[e] == '=' || m[e] == ' ' && e+1 < len(m) && m[e+1] == ':') {
			return e
		}
	}
	return 0
}

// sepAhead tells whether a separator, or "is", comes soon.
func sepAhead(m []byte) bool {
	for i, c := range m {
		switch {
		case c == ':' || c == '=':
			return true
		case c == ' ':
			if at(m, i+1, "is ") || at(m, i+1, "was ") || at(m, i+1, "to ") || at(m, i+1, "is:") {
				return true
			}
		case !alnum(c) && c != ')' && c != '"' && c != '\'' && c != '-' && c != '_':
			return false
		}
		if i > 24 {
			return false
		}
	}
	return false
}

// linkAt tells whether w goes with a separator, and whether it is one.
func linkAt(w []byte) (link, is bool) {
	for _, l := range linkWords {
		if len(w) == len(l) && at(w, 0, l) {
			return true, false
		}
	}
	for _, l := range isWords {
		if len(w) == len(l) && at(w, 0, l) {
			return true, true
		}
	}
	return false, false
}

var linkWords = []string{"value", "val", "default", "content", "string", "str", "text", "bytes", "byte", "char", "any", "const", "secretstr", "bearer", "basic", "token", "apikey", "now", "set", "b", "r", "f", "u", "n", "env",
	"raw", "bash", "sh", "json", "yaml", "ini", "new", "ssws", "negotiate", "digest"}

var isWords = []string{"is", "was", "are", "as", "to", "with", "equals", "ist", "est", "es", "lautet"}

// links tells whether what stands between makes the value belong to the name.
func (g *hole) links(left, m []byte, name ident) bool {
	switch {
	case g.comma && !g.sep && !g.is:
		return g.closed && g.quote != 0 && name.argument && !g.newline
	case g.bar && !g.equals && !g.colon:
		return !g.newline && g.spaced
	case g.sep:
		return true
	case g.is:
		return true
	case g.flag:
		return g.spaces == 1 && !g.newline
	case g.quote != 0 && g.spaces > 0 && !g.newline:
		return true
	case g.newline:
		return false
	}
	v := m[g.from:g.to]
	if g.spaces >= 2 || g.spaces == 1 && len(v) >= 20 {
		return random(v, 16)
	}
	return g.spaces == 1 && (has(left[max(0, len(left)-64):], "login ") || has(left[max(0, len(left)-64):], "username ")) // .netrc
}

// valueIn cuts the value out of the match.
func valueIn(k kind, m []byte, g hole, query bool) (from, to int) {
	from, to = g.from, g.from
	escaped := from >= 2 && m[from-2] == '\\'
	if g.quote != 0 {
		for to < len(m) && m[to] != g.quote {
			if m[to] == '\\' && to+1 < len(m) {
				if escaped && (m[to+1] == g.quote || m[to+1] == '"') { // the quote that opened was escaped too: a text in a text
					break
				}
				to++
			}
			to++
		}
		to = min(to, len(m))
	} else {
		for to < len(m) && !(m[to] == '"' || m[to] == '`' || m[to] == '<' && to > from && (g.xml || k != password || to+1 < len(m) && m[to+1] == '/') || m[to] == ' ' || m[to] == '\n' || m[to] == '\t' || m[to] == '\r' || m[to] == '\'' && k != password) {
			c := m[to]
			if c == '&' && (at(m, to, "&quot;") || at(m, to, "&#34;") || at(m, to, "&#39;") || at(m, to, "&apos;")) {
				break
			}
			if c == '\\' && (to+1 == len(m) || m[to+1] == 'n' || m[to+1] == 'r' || m[to+1] == 't' || m[to+1] == 'u' || m[to+1] == '"' || m[to+1] == '\'') {
				break
			}
			if (c == '&' || c == ';' || c == ',') && (query || k != password || pairAhead(m[to+1:])) || c == '#' && query || c == '|' && g.bar {
				break
			}
			to++
		}
		for to > from && (k != password && !keyEnd(m[to-1]) || m[to-1] == ',' || m[to-1] == ';' || m[to-1] == ':' || m[to-1] == '.' || m[to-1] == ')' || m[to-1] == '}' || m[to-1] == ']' || m[to-1] == '\'' ||
			m[to-1] == '*' && to-from > 2 && m[to-2] == '*' || m[to-1] == '*' && m[to-2] == '*') {
			to--
		}
	}
	if k != password {
		for i := from; i < to; i++ {
			if m[i] == ' ' || m[i] == ',' && i > from {
				return from, i
			}
		}
	}
	return from, to
}

func keyEnd(c byte) bool {
	return alnum(c) || c == '=' || c == '_' || c == '-' || c == '+' || c == '/' || c == '~' || c == '!' || c == '$' || c == '%' || c == '@' || c == '^' || c == '*' || c == '&' || c == '>' || c >= 0x80
}

// pairAhead: name= or "name": or nothing.
func pairAhead(m []byte) bool {
	i := 0
	for i < len(m) && (word(m[i]) || m[i] == ' ' || m[i] == '"' || m[i] == '\'') {
		i++
	}
	return len(m) == 0 || i > 1 && i < len(m) && (m[i] == '=' || m[i] == ':')
}

// braces: {name}
func braces(v []byte) bool {
	open := false
	for i, c := range v {
		open = open || c == '{' && i+1 < len(v) && letter(v[i+1])
		if open && c == '}' {
			return true
		}
	}
	return false
}

// skipsCode tells whether v is code: a call, an index, a field, a name.
func skipsCode(v []byte, g hole, k kind) bool {
	if g.quote != 0 {
		return v[0] == ')' || bytesHave(v, ' ') && k != password || k != password && braces(v)
	}
	if (v[0] == '(' || v[0] == '[' || v[0] == '{') && len(v) > 1 && (v[1] == '\'' || v[1] == '"' || !digit(v[1]) && func() bool { t := measure(v); return t.wordy() }()) || at(v, 0, "arn:") || v[0] == ')' || v[0] == ',' || v[0] == '+' && len(v) > 1 && letter(v[1]) && bytesHave(v, '.') {
		return true
	}
	names := 0
	for names < len(v) && (word(v[names]) || v[names] == '.' || v[names] == ':' || v[names] == '-' && names+1 < len(v) && v[names+1] == '>') {
		names++
	}
	if names > 1 && names < len(v) && (v[names] == '(' || v[names] == '[') {
		t := measure(v[:names])
		return t.wordy() || t.digit == 0 && bytesHave(v[:names], '.') || names+1 == len(v) || v[names+1] == '\'' || v[names+1] == '"' || t.digit < 2 && (v[names] == '[' || bytesHave(v[names:], ')'))
	}
	dots := 0
	for i, c := range v {
		if c == '.' && i > 0 && i+1 < len(v) && letter(v[i+1]) {
			dots++
		}
	}
	t := measure(v)
	if names == len(v) && t.digit == 0 && dots > 0 && t.wordy() {
		return true
	}
	return has(v, "://") || v[0] == '/' && (t.wordy() || k == vendor || k == key || k == token) || v[0] == '&' || has(v, "=>") || v[0] == '-' && t.wordy()
}
