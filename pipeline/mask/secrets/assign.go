// SPDX-License-Identifier: Apache-2.0

package secrets

import (
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// kind says what a word that names a secret asks of the value.
type kind uint8

const (
	password kind = iota // people choose it
	secret               // a machine made it, as a rule
	token
	key     // many keys are no secrets: the word before tells
	session // of cookies
	vendor  // only the vendor's name is there
)

// Words that name a secret, in any case, as parts of patterns.
const (
	passwordWords = `passw(?:or)?d|passwort|passphrase|passcode|pass|pwd|psw|pw|kennwort|contrase(?:ñ|n)a|mot de passe|senha|wachtwoord|lösenord|hasło|пароль|密码|密碼|パスワード|비밀번호`
	otherWords    = `secret|credential|creds|token|_pat|jwt|authorization|oauth|key|auth|session|sessid|[_.]sid|cookie`
	awsWords      = `secret[_ .-]?access[_ .-]?key|aws[_ .-]?secret[a-z_ .-]{0,12}`
)

// gap is what may stand between the word and the value: the rest of the identifier, closing quotes, a separator, a word that goes with it,
// opening quotes. The check reads it again, byte by byte.
const (
	gap   = `[A-Za-z0-9_.-]{0,32}` + punct + `{1,16}(?:` + links + punct + `{1,10})?`
	punct = "(?:[\\t\\n\\r !-/:-@\\[-`{-~]|：|→|–|—|“|‘)"
	links = `(?i:value|val|default|content|string|str|text|bytes?|any|bearer|basic|token|is|was|to|with|set to|now|b|r|f|u|new|ist|est|es|lautet|bash|sh|json|yaml|ini|env)`
)

// assignments are the rules for an identifier or a word and, behind it, a value.
func assignments() []*rule.Rule {
	const value = "[!-~\\x{80}-\\x{7ff}]{1,150}"
	return []*rule.Rule{
		{
			Name: "aws-secret-key", Type: awsSecret, Family: rule.Secret, Why: "AWS: 40 bytes of base64 behind secret access key",
			Pattern: "(?i:" + awsWords + ")[^A-Za-z0-9+/\\x{80}-\\x{10ffff}]{1,16}(?:is |value\\W{1,6}|to )?[`\"'*]{0,2}[A-Za-z0-9+/]{40}", Right: rule.Alnum.And(rule.Of("+/=")),
			Check: func(_, m []byte) (int, int, bool) {
				t := measure(m[len(m)-40:])
				return len(m) - 40, len(m), t.distinct >= 10 && t.run < 8 && (t.digit > 0 || t.upper > 0 && t.lower > 0) && !ends(m, "examplekey")
			},
		},
		{
			Name: "assignment", Type: generic, Family: rule.Secret,
			Why:     "password, secret, token, api key, authorization, session, … in an identifier or a text, then = or : or is, and a plausible value",
			Pattern: "(?i:" + passwordWords + "|" + otherWords + ")" + gap + value,
			Check: func(left, m []byte) (int, int, bool) {
				return assigned(kindOf(m), left, m)
			},
		},
		{
			Name: "passphrase", Type: generic, Family: rule.Secret,
			Why:     "password or passphrase, = or :, and words in quotes",
			Pattern: "(?i:passphrase|password|passwort)[\"']?[ ]{0,2}[:=]{1,2}[ ]{0,2}[\"'][!-~]{1,32}(?: [!-~]{1,32}){1,6}[\"']",
			Check: func(left, m []byte) (int, int, bool) {
				return assigned(password, left, m)
			},
		},
	}
}

// kindOf tells by the word that m begins with what it asks of the value.
func kindOf(m []byte) kind {
	switch {
	case at(m, 0, "secret"), at(m, 0, "cred"):
		return secret
	case at(m, 0, "token"), at(m, 0, "_pat"), at(m, 0, "jwt"), at(m, 0, "authorization"), at(m, 0, "oauth"):
		return token
	case at(m, 0, "key"), at(m, 0, "auth"):
		return key
	case at(m, 0, "sess"), at(m, 0, "cookie"), at(m, 1, "sid"):
		return session
	}
	return password
}

// assigned reads m: word, rest of the identifier, separator, value.
func assigned(k kind, left, m []byte) (from, to int, ok bool) {
	name := nameOf(k, left, m)
	if name.bad {
		return 0, 0, false
	}
	g, ok := readGap(m, name.end)
	if !ok {
		return 0, 0, false
	}
	g.flag = name.flag
	g.from, g.to = valueIn(k, m, g, name.query)
	if g.from >= g.to || !g.links(left, m, name) {
		return 0, 0, false
	}
	v := m[g.from:g.to]
	if !plausible(k, v, g, name, g.to == len(m)) || skipsCode(v, g, k) || placeholder(v) {
		return 0, 0, false
	}
	if v[0] == '?' && m[g.from-1] == ':' && has(left[max(0, len(left)-32):], "${") { // of a shell: what is said if the variable is not set
		return 0, 0, false
	}
	return g.from, g.to, true
}

// plausible tells whether the value can be one of kind k.
func plausible(k kind, v []byte, g hole, name ident, whole bool) bool {
	t := measure(v)
	switch k {
	case password:
		return plausiblePassword(v, &t, g, name, whole)
	case session:
		return len(v) >= 16 && t.random() && !uuid(v) && !(t.hex && t.n == 34 || v[0] == 'A' && v[1] == 'C' && len(v) == 34) && (g.equals || g.quote != 0)
	case vendor:
		return (g.sep || g.comma || g.flag) && len(v) >= 14 && !bytesHave(v[:len(v)-2], '=') && (t.random() || uuid(v) || t.hex && t.n >= 16 && !t.uniform() || t.digit == t.n && t.n >= 17 && g.quote != 0)
	case key:
		if !name.qualified {
			return g.sep && len(v) >= 20 && t.random() && !uuid(v) && (!t.hex || t.n >= 32)
		}
	}
	if uuid(v) {
		return !t.uniform() || t.n == 36 && t.distinct >= 6
	}
	switch {
	case t.digit == t.n:
		return t.n >= 16 && (g.quote != 0 || t.n >= 24) && t.distinct >= 5 && k != key
	case t.n < 8, t.n < 12 && (k != secret || g.quote == 0), g.newline && t.n < 16:
		return false
	case t.n < 16: // short ones must have all of the looks
		return t.digit >= 1 && !t.wordy() && !t.uniform() && t.lower+t.upper > 0
	}
	return t.random() || k == secret && g.quote != 0 && t.other >= 3 && t.distinct >= 10 && t.digit > 0 && !bytesHave(v, ' ') || k == secret && g.quote != 0 && symbols(v) > 0 && t.distinct >= 8 && !bytesHave(v, ' ')
}

// symbols counts bytes that identifiers, paths and the like do not have.
func symbols(v []byte) (n int) {
	for _, c := range v {
		switch c {
		case '!', '#', '@', '$', '%', '^', '&', '*', '?', ';':
			n++
		}
	}
	return n
}

func spaces(v []byte) (n int) {
	for _, c := range v {
		if c == ' ' {
			n++
		}
	}
	return n
}

// sentence tells whether one of the words is one of prose.
func sentence(v []byte) bool {
	for i := range v {
		if i == 0 || v[i-1] == ' ' {
			for _, w := range proseWords {
				if at(v, i, w) && (i+len(w) == len(v) || v[i+len(w)] == ' ') {
					return true
				}
			}
		}
	}
	return false
}

var proseWords = []string{"the", "your", "a", "an", "is", "enter", "must", "new", "my", "for", "to", "in", "and", "or", "of", "not", "be", "are", "this", "password", "token", "key", "please", "no", "confirm", "old", "current", "forgot", "reset", "change", "show", "hide"}

func plausiblePassword(v []byte, t *traits, g hole, name ident, whole bool) bool {
	for _, w := range commonWords {
		if len(v) == len(w) && at(v, 0, w) {
			return false
		}
	}
	digits, mixed, symbols := t.digit > 0, t.upper > 0 && t.lower > 0, 0
	for _, c := range v {
		if !word(c) && c != '.' && c != '-' && c < 0x80 {
			symbols++
		}
	}
	switch {
	case t.n < 4, t.distinct < 3 && t.digit < t.n, g.newline && !(digits && t.lower+t.upper > 0 && t.n >= 8 && g.sep) && !g.xml && !g.link:
		return false
	case bytesHave(v, ' '):
		return g.quote != 0 && t.n <= 40 && (digits && mixed || t.lower+spaces(v) == t.n && g.sep && spaces(v) <= 6 && !sentence(v))
	case g.quote != 0 && (g.sep || g.flag):
		return !name.short || t.n >= 6 && (digits || symbols > 0) || t.n >= 8
	case g.quote != 0 && g.is:
		return t.n >= 4 && !bytesHave(v, ' ')
	case t.digit == t.n:
		return t.n >= 4 && !name.short && (g.flag || g.is && t.n >= 4 || g.sep) && t.n <= 24
	case name.short && !name.caps && !g.flag:
		return t.n >= 8 && digits && (mixed || symbols > 0 || g.equals && t.lower+t.upper > 0) && !t.wordyWith()
	case g.is:
		return t.n >= 6 && (digits && (t.lower+t.upper > 0) || symbols > 0 && mixed) && !looksLikeWord(v)
	case digits && t.lower+t.upper > 0, symbols > 0 && t.n >= 6 && t.lower+t.upper > 0:
		return t.n >= 5
	case name.caps && g.equals && !g.spaced, g.flag && g.equals, name.first && g.equals && !g.spaced && whole:
		return t.n >= 6
	case mixed && t.n >= 10 && !t.wordy():
		return true
	}
	return false
}

// wordyWith is wordy but forgives a word that has digits at its end: that is what people choose.
func (t *traits) wordyWith() bool { return t.wordy() && t.digit == 0 }

// looksLikeWord: 8-character, 2FA, v2.0, 3rd: what stands behind "password is" in prose.
func looksLikeWord(v []byte) bool {
	t := measure(v)
	return t.digit <= 2 && digit(v[0]) && t.wordy() || t.n <= 5 && t.digit > 0 && t.upper == 0
}

func bytesHave(v []byte, c byte) bool {
	for _, b := range v {
		if b == c {
			return true
		}
	}
	return false
}

// commonWords are values that no one masks: names of what should stand there, and words of type systems and of prose.
var commonWords = []string{
	"password", "passwd", "pass", "passwords", "string", "text", "none", "null", "nil", "true", "false", "required", "optional", "hidden", "username", "user", "email", "empty", "type", "value",
	"default", "your password", "enter password", "token", "bytes", "object", "number", "boolean", "integer", "varchar", "char", "str", "input", "invalid", "incorrect", "wrong", "missing",
	"must", "should", "cannot", "enter", "changed", "updated", "expired", "correct", "strong", "weak", "secure", "stored", "hashed", "encrypted", "login", "confirm", "forgot", "reset", "password:", "plaintext",
	"md5", "sha1", "sha256", "bcrypt", "argon2", "scrypt", "sha512", "base64", "utf8", "utf-8", "some_password", "yourpassword", "mypass", "field", "undefined", "unknown", "basic", "bearer",
}
