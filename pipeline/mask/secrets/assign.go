// SPDX-License-Identifier: Apache-2.0

package secrets

import (
	"fmt"
	"strings"

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
	awsKey  // exactly 40 bytes of base64
)

// Words that name a secret, in any case, as parts of patterns.
const (
	passwordWords = `passw(?:or)?d|passwd|passwort|passphrase|passcode|password|pass|pwd|psw|pw|kennwort|contrase(?:ñ|n)a|mot de passe|senha|wachtwoord|lösenord|hasło|пароль|密码|密碼|パスワード|비밀번호`
	secretWords   = `secret|credential|creds|salt|seed`
	tokenWords    = `token|jwt|bearer|authorization|oauth|api_?pat|_pat|otp`
	keyWords      = `key|auth`
	sessionWords  = `session|sessid|sess|sid|cookie|remember_me`
	awsWords      = `secret[_ .-]?access[_ .-]?key|aws[_ .-]?secret[a-z_ .-]{0,12}`
)

// gap is what may stand between the word and the value: the rest of the identifier, up to two words, closing quotes, a separator, a word
// that goes with it, opening quotes. The check reads it again, byte by byte.
const (
	gap   = `[A-Za-z0-9_.-]{0,32}(?:[ ]\(?[A-Za-z0-9#"'_-]{1,16}\)?){0,2}` + punct + `{1,16}(?:` + links + punct + `{1,10}){0,2}`
	punct = "(?:[\\t\\n\\r !-/:-@\\[-`{-~]|：|→|–|—|“|‘)"
	links = `(?i:value|val|default|content|string|str|text|bytes?|char|any|const|secretstr|bearer|basic|token|apikey|is|was|are|as|to|now|set|b|r|f|u|n|env|raw|bash|sh|json|yaml|ini|new|equals|ist|est|es|lautet)`
)

// assignments are the rules for an identifier or a word and, behind it, a value.
func assignments() []*rule.Rule {
	of := func(name, typ string, k kind, why, words, value string) *rule.Rule {
		n, space := 240, ""
		if k == password {
			n, space = 96, " " // of runes of up to two bytes
		}
		quoted := fmt.Sprintf("(?:\"[%[1]s%[2]s'`]{1,%[3]d}|'[%[1]s%[2]s\"`]{1,%[3]d}|`[%[1]s%[2]s\"']{1,%[3]d}|[%[1]s]{1,%[3]d})", value, space, n)
		return &rule.Rule{
			Name: name, Type: typ, Family: rule.Secret, Why: why,
			Pattern: "(?i:" + words + ")" + gap + quoted,
			Check:   func(left, m []byte) (int, int, bool) { return assigned(k, left, m) },
		}
	}
	const ascii = "!#-&(-_a-~"
	return []*rule.Rule{
		of("aws-secret-key", awsSecret, awsKey, "AWS: 40 bytes of base64 behind secret access key", awsWords, ascii),
		of("password-assignment", generic, password, "password, passwd, pwd, … = or : or is, and a value that no one would write for a placeholder", passwordWords, ascii+`\x{80}-\x{7ff}`),
		of("secret-assignment", generic, secret, "secret, credential, … and a random value", secretWords, ascii),
		of("token-assignment", generic, token, "token, jwt, authorization, … and a random value", tokenWords, ascii),
		of("key-assignment", generic, key, "api key, access key, private key, … and a random value", keyWords, ascii),
		of("session-assignment", generic, session, "session, sid, cookie, … and a random value", sessionWords, ascii),
		of("vendor-assignment", vendorToken, vendor, "the name of a vendor, and a random value", strings.Join(vendors, "|"), ascii),
	}
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
	if skipsCode(v, g, k) || placeholder(v) || !plausible(k, v, g, name, g.to == len(m)) {
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
	case awsKey:
		return len(v) == 40 && t.distinct >= 10 && t.run < 8 && (t.digit > 0 || t.upper > 0 && t.lower > 0)
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
		return t.n >= 16 && g.quote != 0 && t.distinct >= 5 && k != key
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

var proseWords = []string{"the", "your", "a", "an", "is", "enter", "must", "new", "my", "for", "to", "in", "and", "or", "of", "not", "be", "are", "with", "this", "password", "token", "key", "please", "no", "confirm", "old", "current", "forgot", "reset", "change", "show", "hide"}

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
	case t.n < 4, t.distinct < 3 && t.digit < t.n, g.newline && !random(v, 10) && !g.xml && !g.link:
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
		return t.n >= 8 && (digits && mixed || digits && symbols > 0) && !t.wordyWith()
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
	"must", "should", "cannot", "changed", "updated", "expired", "correct", "strong", "weak", "secure", "stored", "hashed", "encrypted", "login", "confirm", "forgot", "reset", "password:", "plaintext",
	"md5", "sha1", "sha256", "bcrypt", "argon2", "scrypt", "sha512", "base64", "utf8", "utf-8", "some_password", "yourpassword", "mypass", "field", "undefined", "unknown", "basic", "bearer",
}
