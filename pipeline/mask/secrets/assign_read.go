// SPDX-License-Identifier: Apache-2.0

package secrets

// ident is the identifier, or the words, that name a secret.
type ident struct {
	end       int  // of the identifier in the match
	bad       bool // it names no secret: max_tokens, public_key, compass
	qualified bool // of key: api key, secret key, …
	short     bool // "pass": a word of prose
	caps      bool // DB_PASS
	flag      bool // --password, -Password
	query     bool // ?token=
	first     bool // of the line
	argument  bool // it is the first one of a call, or a flag in a list: ("NAME", "value")
}

// nameOf reads the identifier around the word that m begins with.
func nameOf(k kind, left, m []byte) (id ident) {
	core := coreLen(k, m)
	id.end = core
	for id.end < len(m) && (word(m[id.end]) || (m[id.end] == '.' || m[id.end] == '-') && id.end+1 < len(m) && alnum(m[id.end+1])) {
		id.end++
	}
	start := len(left)
	for start > 0 && (word(left[start-1]) || left[start-1] == '.' || left[start-1] == '-' || left[start-1] == '$') {
		start--
	}
	pre, rest := left[start:], m[core:id.end]
	if n := len(pre); n > 1 && (pre[n-1] == 'n' || pre[n-1] == 't' || pre[n-1] == 'r') && start > 0 && left[start-1] == '\\' {
		pre = pre[1:]
	}
	id.flag = len(pre) > 0 && pre[0] == '-' || len(pre) == 0 && start > 0 && left[start-1] == '/' && k == password
	id.query = start > 0 && (left[start-1] == '?' || left[start-1] == '&')
	quoted := start > 0 && (left[start-1] == '"' || left[start-1] == '\'' || left[start-1] == '`')
	id.argument = start == 0 || quoted && (start == 1 || left[start-2] == '(' || len(pre) > 0 && pre[0] == '-')
	id.first = len(left) == 0 || left[len(left)-1] == '\n'
	id.caps = m[0] < 'a' && m[core-1] < 'a'
	id.short = k == password && (core == 4 && at(m, 0, "pass") || core <= 3)
	id.bad = !edges(k, pre, m[:core], rest, id.short) || anyEndsWord(pre, notBefore) || negated(k, pre, rest)
	if id.bad && k == key && core == 3 && ends(pre, "private_") && len(rest) == 3 && at(rest, 0, "_id") { // the file of a service account of Google
		id.bad = false
	}
	if k != key || id.bad {
		return id
	}
	before := pre // "API key", "api_key", "apiKey"
	if len(before) == 0 && start > 0 && left[start-1] == ' ' {
		e := start - 1
		for start = e; start > 0 && (alnum(left[start-1]) || left[start-1] == '-'); start-- {
		}
		before = left[start:e]
		if anyEndsWord(before, notBefore) {
			id.bad = true
			return id
		}
	}
	for n := len(before); n > 0 && !alnum(before[n-1]); n-- {
		before = before[:n-1]
	}
	id.qualified = at(m, 0, "auth") || anyEnds(before, qualifiers)
	return id
}

// coreLen is the length of the word of kind k that m begins with.
func coreLen(k kind, m []byte) int {
	n := 0
	for _, w := range cores[k] {
		if len(w) > n && at(m, 0, w) {
			n = len(w)
		}
	}
	if n > 0 {
		return n
	}
	for n < len(m) && (word(m[n]) || m[n] >= 0x80) {
		n++
	}
	return max(1, n)
}

// cores are the words of the patterns that have other words behind them in one identifier.
var cores = [...][]string{
	password: {"password", "passwd", "passwort", "passphrase", "passcode", "passwrd", "pass", "pwd", "psw", "pw", "mot de passe", "kennwort", "senha"},
	secret:   {"secret", "credential", "creds"},
	token:    {"token", "_pat", "jwt", "authorization", "oauth"},
	key:      {"key", "auth"},
	session:  {"session", "sessid", "_sid", ".sid", "cookie"},
	vendor:   vendors,
}

// edges tells whether the word is a word, or a part of an identifier: not the pass of compass, not the key of monkey.
func edges(k kind, pre, core, rest []byte, short bool) bool {
	inWord := len(pre) > 0 && letter(pre[len(pre)-1]) && !(core[0] < 'a' && pre[len(pre)-1] >= 'a')
	if inWord && !(len(pre) == 2 && pre[0] == '-' && pre[1] == 'D') { // -Dname=value
		switch {
		case k == key:
			if !anyEnds(pre, qualifiers) || core[0]|32 == 'a' {
				return false
			}
		case short, k == session, k == vendor, core[0]|32 == 'o', len(core) == 4:
			if !anyEnds(pre, []string{"db", "my", "user", "root", "admin", "sql", "ldap", "smtp", "ftp", "php", "j"}) {
				return false
			}
		}
	}
	if len(rest) == 0 || !letter(rest[0]) || rest[0] < 'a' && core[len(core)-1] >= 'a' {
		return true
	}
	switch { // the word goes on in the same case
	case k == vendor:
		return core[len(core)-1] < 'a' && core[0] < 'a' && rest[0] < 'a' || len(rest) == 1 && rest[0] == 's' || anyAt(rest, vendorTails)
	case len(rest) == 1 && rest[0]|32 == 's', len(rest) > 1 && rest[0]|32 == 's' && !letter(rest[1]), core[len(core)-1] < 'a':
		return k != key || rest[0]|32 == 's' || rest[0]|32 == 'i' && len(rest) == 2
	case k == token && at(core, 0, "oauth"), k == password && !short, k == session:
		return true
	}
	return at(rest, 0, "key") || at(rest, 0, "token") || at(rest, 0, "id") && len(rest) == 2 || at(rest, 0, "hash") || at(rest, 0, "base64")
}

// endsWord is ends at the border of a word: max_ ends max_ and userMax_, not climax_.
func endsWord(v []byte, w string) bool {
	s := len(v) - len(w)
	return s >= 0 && at(v, s, w) && (s == 0 || !letter(v[s-1]) || !letter(w[0]) || v[s] < 'a' && v[s-1] >= 'a')
}

func anyEndsWord(v []byte, words []string) bool {
	for _, w := range words {
		if endsWord(v, w) {
			return true
		}
	}
	return false
}

// vendorTails go on behind the name of a vendor in one word.
var vendorTails = []string{"api", "key", "token", "secret", "pass", "auth", "access", "logic", "bot", "app", "cloud", "client", "dev"}

func anyAt(v []byte, words []string) bool {
	for _, w := range words {
		if at(v, 0, w) {
			return true
		}
	}
	return false
}

// negated tells whether the rest of the identifier says that it is about a secret but is none.
func negated(k kind, pre, rest []byte) bool {
	under := len(rest) > 0 && !letter(rest[0])
	for len(rest) > 0 && (rest[0] == '_' || rest[0] == '-' || rest[0] == '.' || rest[0] == 's') {
		rest = rest[1:]
	}
	if k == session && len(rest) == 2 && at(rest, 0, "id") && !under {
		return false
	}
	if len(rest) == 2 && at(rest, 0, "id") || ends(rest, "_id") || ends(rest, "Id") && rest[len(rest)-2] == 'I' || ends(rest, "-id") || ends(rest, "arn") {
		return true
	}
	for _, w := range notBehind {
		if endsWord(rest, w) || at(rest, 0, w) && (len(rest) == len(w) || !letter(rest[len(w)])) {
			return true
		}
	}
	return k == vendor && (anyHas(rest, notOfVendor) || anyHas(pre, notOfVendor))
}

// notBehind: password_hash stays, password_file does not.
var notBehind = []string{
	"name", "type", "file", "path", "url", "uri", "length", "len", "size", "count", "expiry", "expires", "expires_in", "ttl", "policy", "field", "prefix", "regex", "pattern", "var", "ref",
	"manager", "version", "rotation", "algorithm", "usage", "limit", "required", "enabled", "disabled", "budget", "hint", "strength", "label", "placeholder", "endpoint", "format", "provider",
	"generator", "validator", "error", "message", "status", "index", "word", "board", "words", "store", "pair", "down", "code_verifier", "ring", "id_token_signing_alg", "title", "description",
	"environment", "image", "class", "handler", "owner", "scope", "timeout", "max", "min", "age", "at", "by", "for", "from", "date", "time", "created", "reset", "fingerprint", "identifier", "domain", "host", "hostname", "server", "port", "email", "user", "username", "region", "issuer", "audience", "callback", "redirect", "method", "header", "param", "mode",
}

// notBefore: of max_tokens, public_key, csrf_token.
var notBefore = []string{
	"max_", "min_", "num_", "total_", "prompt_", "completion_", "input_", "output_", "next_", "next", "starting-", "start_", "page_", "nextpage", "next_page_", "csrf", "csrf_", "xsrf_", "xsrf", "authenticity_", "public", "public_",
	"public-", "primary_", "primary", "foreign_", "foreign", "cache_", "cache", "sort_", "sort", "partition_", "hot", "short", "eos_", "bos_", "pad_", "unk_", "cls_", "sep_", "mask_", "stop_",
	"continuation_", "continuation", "cursor_", "idempotency_", "idempotency-", "idempotency", "index_", "column_", "row_", "dict_", "object_", "map_", "group_", "lookup_", "message_", "routing_",
	"translation_", "i18n", "author", "no_", "is_", "has_", "get_", "use_", "check_", "validate_", "publishable_", "publishable", "anti_forgery_", "request", "pub_", "pub", "pubkey", "block_",
	"site_", "event_", "dedup_", "storage_path_", "s3_", "data_", "feature_", "config_", "array_", "etag_", "resume_", "sync_", "special_", "per_", "cached_", "used_",
}

// notOfVendor: what is told about a vendor and is no secret.
var notOfVendor = []string{
	"url", "host", "version", "commit", "sha", "digest", "image", "tag", "zone", "region", "project", "org", "user", "mail", "checksum", "hash", "domain", "bucket", "public", "repo", "rev",
	"trace", "request", "integrity", "etag", "title", "kit", "name", "model", "channel", "path",
}

// qualifiers make a key a secret.
var qualifiers = []string{
	"api", "app", "access", "secret", "private", "priv", "auth", "encryption", "encrypt", "encoder", "signing", "sign", "signature", "master", "account", "shared", "service", "client", "consumer",
	"license", "licence", "deploy", "admin", "write", "insert", "query", "personal", "ssh", "hmac", "server", "storage", "subscription", "root", "preshared", "psk", "developer", "dev", "integration",
	"ingest", "unseal", "recovery", "stream", "token", "webhook", "aes", "jwt", "cookie", "database", "db", "crypto", "cipher", "security", "session", "backup", "production", "prod", "test", "live",
	"user", "device", "internal", "mail", "sms", "maps", "pix", "provision", "write_", "read", "feed", "io", "mapbox", "github", "openai", "anthropic", "gemini", "cohere", "mistral", "groq",
}
