// SPDX-License-Identifier: Apache-2.0

package secrets

import "github.com/sallyport-dev/sallyport/pipeline/mask/rule"

// commands are rules for headers of HTTP and for flags of commands.
func commands() []*rule.Rule {
	return []*rule.Rule{
		{
			Name: "authorization-bearer", Type: generic, Family: rule.Secret, Left: rule.Alnum,
			Why:     "Bearer, ApiKey, SSWS and a value that looks random, or any behind Authorization",
			Pattern: `(?i:bearer|apikey|ssws|genie ?key|splunk)[ :]{1,3}["'` + "`" + `]?[A-Za-z0-9_.~+/=:%|!-]{1,600}`,
			Check:   bearer,
		},
		{
			Name: "authorization-basic", Type: generic, Family: rule.Secret, Left: rule.Alnum,
			Why:     "Basic and base64 of name:password",
			Pattern: `(?i:basic) {1,2}[A-Za-z0-9+/=_-]{1,300}`,
			Check: func(left, m []byte) (int, int, bool) {
				from := 5
				for from < len(m) && m[from] == ' ' {
					from++
				}
				v := m[from:]
				if len(v) < 8 || placeholder(v) {
					return 0, 0, false
				}
				near := left[max(0, len(left)-24):]
				t := measure(v)
				return from, len(m), has(near, "authorization") && (t.digit > 0 || t.upper > 0 && t.lower > 0) && !(t.wordy() && t.digit == 0) || pairInBase64(v)
			},
		},
		{
			Name: "command-password", Type: generic, Family: rule.Secret,
			Why:     "-p, -P, -w, -a, -pw of commands that take a password so: docker login, mysql, psexec, sshpass, ldapsearch, redis-cli, …",
			Pattern: ` -(?:p|P|w|a|pw)[ =]?["']?[!#-&(-_a-~]{3,100}`,
			Check:   flagPassword,
		},
		{
			Name: "curl-user", Type: generic, Family: rule.Secret,
			Why:     "curl -u name:password",
			Pattern: `[ \t](?:-u|--user|--proxy-user|-U)[ =]{0,2}["']?[!#-&(-9;-_a-~]{1,80}:["']?[!#-&(-_a-~]{1,100}`,
			Check:   curlUser,
		},
		{
			Name: "call-credentials", Type: generic, Family: rule.Secret,
			Why:     "a call that takes a name and a password: NetworkCredential(…), HTTPBasicAuth(…), DirectoryEntry(…), auth=(…)",
			Pattern: `(?i:credentials?|basic_?auth|directoryentry|auth ?= ?|\.login|passwordauthentication)\([^()\n\x{800}-\x{10ffff}]{0,60}["'], {0,12}\n? {0,12}["'][!#-&(-_a-~]{4,64}["']`,
			Check: func(_, m []byte) (int, int, bool) {
				from := len(m) - 2
				for from > 0 && m[from] != '"' && m[from] != '\'' {
					from--
				}
				from++
				v := m[from : len(m)-1]
				for _, w := range commonWords {
					if len(v) == len(w) && at(v, 0, w) {
						return 0, 0, false
					}
				}
				return from, len(m) - 1, !placeholder(v) && !has(v, "://")
			},
		},
		{
			Name: "vault-unseal-key", Type: vendorToken, Family: rule.Secret,
			Why:     "Vault: the argument of operator unseal",
			Pattern: `operator unseal [A-Za-z0-9+/=]{40,64}`,
			Check:   func(_, m []byte) (int, int, bool) { return 16, len(m), true },
		},
		{
			Name: "nuget-push-key", Type: vendorToken, Family: rule.Secret,
			Why:     "NuGet, gem, twine: push and a random argument",
			Pattern: `(?:nuget|dotnet) push [!-~]{1,60} [A-Za-z0-9-]{30,60}`,
			Check: func(_, m []byte) (int, int, bool) {
				from := len(m)
				for m[from-1] != ' ' {
					from--
				}
				return from, len(m), random(m[from:], 30)
			},
		},
		{
			Name: "app-password", Type: generic, Family: rule.Secret, Right: rule.Alnum,
			Why:     "four groups of four letters behind app password (Google)",
			Pattern: `(?i:password|passwort)[^A-Za-z0-9\n\x{80}-\x{10ffff}]{1,8}[a-z]{4} [a-z]{4} [a-z]{4} [a-z]{4}`,
			Check: func(_, m []byte) (int, int, bool) {
				t := measure(m[len(m)-19:])
				return len(m) - 19, len(m), !t.wordy()
			},
		},
	}
}

func bearer(left, m []byte) (from, to int, ok bool) {
	for from < len(m) && m[from] != ' ' && m[from] != ':' {
		from++
	}
	for from < len(m) && (m[from] == ' ' || m[from] == ':' || m[from] == '"' || m[from] == '\'' || m[from] == '`') {
		from++
	}
	to = len(m)
	for to > from && !alnum(m[to-1]) && m[to-1] != '=' {
		to--
	}
	if to-from < 8 {
		return 0, 0, false
	}
	v := m[from:to]
	if placeholder(v) {
		return 0, 0, false
	}
	t := measure(v)
	if anyEnds(left, []string{"max_", "next", "csrf", "csrf-", "page ", "eos ", "pad "}) {
		return 0, 0, false
	}
	if has(left[max(0, len(left)-24):], "authorization") && (t.digit > 0 && t.lower+t.upper > 0 && t.distinct >= 6) {
		return from, to, true
	}
	if m[0]|32 == 'b' {
		return from, to, t.n >= 12 && (t.random() || uuid(v))
	}
	return from, to, t.n >= 20 && t.random()
}

// pairInBase64 tells whether v is base64 of printable bytes with a colon among them.
func pairInBase64(v []byte) bool {
	var bits uint32
	n, colon := 0, false
	for i, c := range v {
		var d uint32
		switch {
		case 'A' <= c && c <= 'Z':
			d = uint32(c - 'A')
		case 'a' <= c && c <= 'z':
			d = uint32(c-'a') + 26
		case digit(c):
			d = uint32(c-'0') + 52
		case c == '+' || c == '-':
			d = 62
		case c == '/' || c == '_':
			d = 63
		default:
			return colon && i > 8
		}
		bits, n = bits<<6|d, n+6
		if n >= 8 {
			n -= 8
			b := byte(bits >> n)
			if b < ' ' || b > '~' {
				return false
			}
			colon = colon || b == ':' && i > 2
		}
	}
	return colon
}

// takers take a password by a short flag.
var takers = []string{"login", "mysql", "mariadb", "psexec", "sshpass", "ldap", "redis-cli", "mongo", "zip", "7z", "sqlcmd", "bcp", "rdesktop", "smbclient", "plink", "pscp", "nexus", "unzip", "ipmitool", "kinit", "net use", "curl", "az "}

func flagPassword(left, m []byte) (from, to int, ok bool) {
	if !anyHas(left, takers) {
		return 0, 0, false
	}
	from = 3
	if m[2] == 'p' && m[3] == 'w' && (m[4] == ' ' || m[4] == '=') {
		from = 4
	}
	for from < len(m) && (m[from] == ' ' || m[from] == '=' || m[from] == '"' || m[from] == '\'') {
		from++
	}
	to = len(m)
	v := m[from:to]
	if len(v) < 3 || placeholder(v) || v[0] == '-' {
		return 0, 0, false
	}
	t := measure(v)
	if t.digit+t.other == t.n && bytesHave(v, ':') || t.digit == t.n && t.n <= 5 {
		return 0, 0, false // a port
	}
	return from, to, m[2] == 'p' && !has(left, "curl") || m[2] == 'P' && (has(left, "sqlcmd") || has(left, "bcp") || has(left, "zip")) || m[2] == 'w' && has(left, "ldap") || m[2] == 'a' && has(left, "redis") || has(left, "kinit") && m[2] == 'w'
}

func curlUser(left, m []byte) (from, to int, ok bool) {
	for from < len(m) && m[from] != 'u' && m[from] != 'U' && m[from] != 'r' {
		from++
	}
	for from < len(m) && m[from] != ' ' && m[from] != '=' && m[from] != '"' && m[from] != '\'' {
		from++
	}
	for from < len(m) && (m[from] == ' ' || m[from] == '=' || m[from] == '"' || m[from] == '\'') {
		from++
	}
	to, colon := len(m), from
	for colon < to && m[colon] != ':' {
		colon++
	}
	if colon+1 >= to {
		return 0, 0, false
	}
	v := m[colon+1 : to]
	for len(v) > 0 && (v[0] == '\'' || v[0] == '"') {
		v = v[1:]
	}
	if len(v) < 3 || placeholder(v) || placeholder(m[from:colon]) || measure(v).digit == len(v) {
		return 0, 0, false
	}
	for _, w := range commonWords {
		if len(v) == len(w) && at(v, 0, w) {
			return 0, 0, false
		}
	}
	return from, to, has(left, "curl") || has(left, "http") || has(left, " -d ") || has(left, " -H ") || random(v, 8)
}
