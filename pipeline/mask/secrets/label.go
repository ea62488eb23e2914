// SPDX-License-Identifier: Apache-2.0

package secrets

import "github.com/sallyport-dev/sallyport/pipeline/mask/rule"

// labels are rules for values that words of prose name, at some distance.
func labels() []*rule.Rule {
	return []*rule.Rule{
		{
			Name: "labelled-value", Type: generic, Family: rule.Secret,
			Why:     "=, :, is, was, … behind the name of a vendor, or behind a sentence about a password, a key or a token, and a value that is no word",
			Pattern: "(?:(?i: is| was| (?:to|as|are|with) [\"'`])|[=:])[\\t \"'`*=>:(]{0,8}(?i:now |set to |currently )?[!-~]{5,200}",
			Check: func(left, m []byte) (int, int, bool) {
				if from, to, ok := ofVendor(left, m); ok {
					return from, to, true
				}
				return prose(left, m)
			},
		},
		{
			Name: "labelled-hex", Type: generic, Family: rule.Secret, Left: inToken, Right: rule.Word.And(rule.Of("-/+")),
			Why:     "hex digits with key, token, secret or the like to the left and no word for a hash between",
			Pattern: `[0-9a-fA-F]{32,128}`,
			Check: func(left, m []byte) (int, int, bool) {
				t := measure(m)
				return 0, len(m), !t.uniform() && t.digit > 0 && t.lower+t.upper > 0 && labelled(left)
			},
		},
		{
			Name: "labelled-uuid", Type: generic, Family: rule.Secret, Left: inToken, Right: rule.Word.And(rule.Of("-")),
			Why:     "UUID with key, token, secret or the like to the left and no word for an identifier between",
			Pattern: `[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`,
			Check: func(left, m []byte) (int, int, bool) {
				return 0, len(m), measure(m).distinct > 6 && labelled(left)
			},
		},
	}
}

// labelled reads the words to the left, the last first, until one tells.
func labelled(left []byte) bool {
	e := len(left)
	for n := 0; n < 5 && e > 0; n++ {
		for e > 0 && !alnum(left[e-1]) {
			if left[e-1] == '\n' && n > 0 || left[e-1] == ';' {
				return false
			}
			e--
		}
		s := e
		for s > 0 && word(left[s-1]) {
			s--
		}
		w := left[s:e]
		if len(w) == 0 || s == 0 && len(left) == rule.Context {
			return false
		}
		switch {
		case anyHas(w, innocent):
			return false
		case anyHas(w, telling):
			return !anyEnds(w, []string{"_id", "id", "name"}) || has(w, "private_key_id")
		case has(w, "key") && n < 4:
			before := left[:s]
			for len(before) > 0 && !alnum(before[len(before)-1]) {
				before = before[:len(before)-1]
			}
			return anyEnds(w[:len(w)-3], qualifiers) || anyEnds(before, qualifiers) || anyEnds(before, vendors) || anyHas(w, vendors)
		}
		e = s
	}
	return false
}

var telling = []string{"secret", "token", "apikey", "api_key", "access_key", "private_key", "password", "passwd", "credential", "authkey", "auth_key", "bearer", "license_key", "licensekey", "sonar_login", "x-api"}

var innocent = []string{
	"commit", "sha", "hash", "digest", "checksum", "etag", "md5", "revision", "image", "trace", "span", "request", "uuid", "guid", "correlation", "session_id", "client", "tenant", "app_id", "project", "account", "user",
	"order", "invoice", "device_id", "object", "record", "node", "blob", "tree", "version", "build", "public", "fingerprint", "signature", "nonce", "cache", "index", "resource", "subscription", "page", "csrf", "id",
	"directory", "github", "http", "https", "merge", "branch", "transaction", "block", "contract", "address", "file", "tokenizer", "max_token",
}

// prose asks whether a value behind "is" or ":" is what a sentence about a secret gives.
func prose(left, m []byte) (from, to int, ok bool) {
	i := 0
	if m[0] == ' ' { // a word
		for i = 1; i < len(m) && letter(m[i]); i++ {
		}
	} else if m[0] == ',' || m[0] == '|' || len(m) > 1 && m[1] != ' ' {
		return 0, 0, false
	}
	for i < len(m) && (m[i] == ' ' || m[i] == '=' || m[i] == ':' || m[i] == '>') {
		i++
	}
	for _, w := range []string{"now ", "set to ", "currently "} {
		if at(m, i, w) {
			i += len(w)
		}
	}
	if i+1 < len(m) && letter(m[i]) && (m[i+1] == '"' || m[i+1] == '\'') { // b"…"
		i++
	}
	quote := byte(0)
	for i < len(m) && (m[i] == '"' || m[i] == '\'' || m[i] == '`' || m[i] == '*' || m[i] == '(') {
		if m[i] != '(' && m[i] != '*' {
			quote = m[i]
		}
		i++
	}
	from, to = i, len(m)
	if quote != 0 {
		for to = from; to < len(m) && m[to] != quote; to++ {
		}
	}
	for to > from && (!alnum(m[to-1]) && m[to-1] != '=' && m[to-1] != '!' && m[to-1] != '$' && m[to-1] != '#' && m[to-1] != '@' && m[to-1] != '&' && m[to-1] != '/' && m[to-1] != '+') {
		to--
	}
	if to-from < 5 {
		return 0, 0, false
	}
	v := m[from:to]
	t := measure(v)
	if t.digit == 0 && t.other == 0 && quote == 0 {
		return 0, 0, false
	}
	about := subject(left)
	if about == 0 || placeholder(v) || skipsCode(v, hole{}, password) {
		return 0, 0, false
	}
	switch about {
	case 'p':
		for _, w := range commonWords {
			if len(v) == len(w) && at(v, 0, w) {
				return 0, 0, false
			}
		}
		return from, to, quote != 0 && m[0] != ':' && !bytesHave(v, '(') || t.n >= 6 && t.digit > 0 && t.lower+t.upper > 0 && !looksLikeWord(v) && (t.n >= 8 || t.other > 0 || t.upper > 0)
	case 's':
		return from, to, t.n >= 12 && t.random() && !(uuid(v)) && !(t.hex && t.digit == t.n)
	}
	return 0, 0, false
}

// subject tells what the sentence or the line to the left is about: 'p' password, 's' another secret.
func subject(left []byte) byte {
	words := 0
	for i := len(left) - 1; i >= 0 && words < 9; i-- {
		c := left[i]
		if c == '\n' || c == ';' || c == '.' && i+1 < len(left) && left[i+1] == ' ' || c == '!' || c == '?' && i+1 < len(left) && left[i+1] == ' ' || c == ',' && words > 0 {
			return 0
		}
		if c != ' ' {
			continue
		}
		words++
		w := left[i+1:]
		if s := aboutSecret(w); s != 0 {
			return s
		}
	}
	return aboutSecret(left)
}

func aboutSecret(w []byte) byte {
	switch {
	case at(w, 0, "password"), at(w, 0, "passcode"), at(w, 0, "passphrase"), at(w, 0, "passwort"), at(w, 0, "pwd"), at(w, 0, "kennwort"):
		return 'p'
	case at(w, 0, "token") && !at(w, 0, "tokens") && !at(w, 0, "tokeniz"), at(w, 0, "secret"), at(w, 0, "credential"), at(w, 0, "api key"), at(w, 0, "api-key"), at(w, 0, "api_key"), at(w, 0, "apikey"), at(w, 0, "access key"), at(w, 0, "private key"),
		at(w, 0, "license key"):
		return 's'
	}
	for i := range w {
		if w[i] == ' ' {
			if at(w, i+1, "key") && anyEnds(w[:i], qualifiers) { // "unseal key"
				return 's'
			}
			break
		}
	}
	return 0
}
