// SPDX-License-Identifier: Apache-2.0

package secrets

import "github.com/sallyport-dev/sallyport/pipeline/mask/rule"

// urls are rules for passwords in URLs and connection strings.
func urls() []*rule.Rule {
	userinfo := `:(?:\\?/){2}[!-.0-9;-?A-Z\[-~]{0,64}:[!#-&(-;=?-_a-~\x{80}-\x{7ff}]{1,96}@[A-Za-z0-9\[]`
	return []*rule.Rule{
		{
			Name: "url-password", Type: connection, Family: rule.Secret, Pattern: userinfo,
			Why: "the password in a URL: scheme://user:password@host",
			Check: func(left, m []byte) (int, int, bool) {
				return userPassword(m, anyEnds(left, webSchemes))
			},
		},
		{
			Name: "url-password-encoded", Type: connection, Family: rule.Secret,
			Why:     "the password in a URL that is escaped for a URL: %3A%2F%2Fuser%3Apassword%40host",
			Pattern: `(?i:%3a%2f%2f)[A-Za-z0-9_.-]{0,64}(?i:%3a)[A-Za-z0-9_.~!$*%-]{1,96}(?i:%40)`,
			Check: func(_, m []byte) (int, int, bool) {
				for i := 9; i < len(m); i++ {
					if at(m, i, "%3a") {
						return i + 3, len(m) - 3, len(m)-3-(i+3) > 2
					}
				}
				return 0, 0, false
			},
		},
		{
			Name: "connection-string-password", Type: connection, Family: rule.Secret,
			Why:     "Password=, Pwd=, AccountKey=, SharedAccessKey=, Secret= among name=value; pairs",
			Pattern: `(?i:password|passwd|pwd|accountkey|sharedaccesskey|sharedsecret|primarykey|secret|apikey|accesskey)[ ]?=[ ]?["'{]?[!#-&(-:<-_a-~\x{80}-\x{7ff}]{1,110}`,
			Left:    rule.Alnum,
			Check:   pairPassword,
		},
		{
			Name: "jdbc-oracle-password", Type: connection, Family: rule.Secret,
			Why:     "Oracle: jdbc:oracle:thin:user/password@",
			Pattern: `(?i:oracle:(?:thin|oci)8?:)[A-Za-z0-9_]{1,32}/[!-.0-?A-~]{1,64}@`,
			Check: func(_, m []byte) (int, int, bool) {
				for i, c := range m {
					if c == '/' {
						v := m[i+1 : len(m)-1]
						return i + 1, len(m) - 1, len(v) >= 3 && !placeholder(v)
					}
				}
				return 0, 0, false
			},
		},
		{
			Name: "pgpass-password", Type: connection, Family: rule.Secret,
			Why:     ".pgpass: host:port:data base:user:password",
			Pattern: `:(?:[0-9]{4,5}|\*):[A-Za-z0-9_*-]{1,63}:[A-Za-z0-9_*-]{1,63}:[!-~]{4,100}`,
			Check: func(left, m []byte) (int, int, bool) {
				colons, i := 0, 0
				for ; i < len(m) && colons < 4; i++ {
					if m[i] == ':' {
						colons++
					}
				}
				v := m[i:]
				t := measure(v)
				return i, len(m), len(left) > 0 && alnum(left[len(left)-1]) && !placeholder(v) && t.digit < t.n && t.digit > 0 && t.lower+t.upper > 0 && !bytesHave(v, ':')
			},
		},
	}
}

var webSchemes = []string{"http", "https", "ws", "wss", "ftp", "ftps", "sftp", "ssh", "git", "git+https", "git+http", "svn"}

// userPassword finds the password in ://user:password@h.
func userPassword(m []byte, web bool) (from, to int, ok bool) {
	for from = 1; m[from] == '\\' || m[from] == '/'; from++ {
	}
	for from < len(m) && m[from] != ':' {
		if m[from] == '/' || m[from] == '?' || m[from] == '#' {
			return 0, 0, false
		}
		from++
	}
	from++
	to = -1 // the last @ before the path; if there is none, the first behind
	for i := from; i < len(m); i++ {
		if m[i] == '@' {
			to = i
		}
		if (m[i] == '/' || m[i] == '?') && to >= 0 {
			break
		}
	}
	if to <= from {
		return 0, 0, false
	}
	v := m[from:to]
	if placeholder(v) || has(v, "://") || len(v) < 2 || bytesHave(v, '/') && (web || digit(v[0]) && portFirst(v)) {
		return 0, 0, false
	}
	for _, w := range []string{"password", "pass", "passwd", "pwd", "token", "secret_key", "yourpassword", "your_password", "db_password", "dbpassword", "api_key", "port", "pat"} {
		if len(v) == len(w) && at(v, 0, w) {
			return 0, 0, false
		}
	}
	return from, to, true
}

// portFirst tells whether v is a port, a slash and a path.
func portFirst(v []byte) bool {
	for i, c := range v {
		if c == '/' {
			return i <= 5
		}
		if !digit(c) {
			return false
		}
	}
	return false
}

// pairPassword finds the value of name=value in a list of such pairs with semicolons, or with spaces as libpq has them.
func pairPassword(left, m []byte) (from, to int, ok bool) {
	pairs := false
	for i := len(left) - 1; i >= 0 && left[i] != '\n' && !pairs; i-- {
		if left[i] == ';' || left[i] == '=' && i > 4 && (ends(left[:i], "host") || ends(left[:i], "server") || ends(left[:i], "dbname") || ends(left[:i], "user") || ends(left[:i], "data source")) {
			pairs = true
		}
	}
	tail := len(left) > 0 && left[len(left)-1] == '\n' && has(left, ";")
	if !pairs && !tail {
		return 0, 0, false
	}
	for from < len(m) && m[from] != '=' {
		from++
	}
	for from++; from < len(m) && (m[from] == ' ' || m[from] == '"' || m[from] == '\'' || m[from] == '{'); from++ {
	}
	if from >= len(m) {
		return 0, 0, false
	}
	to = from
	for to < len(m) && !(m[to] == '\\' && to+1 < len(m) && (m[to+1] == 'n' || m[to+1] == '"')) && !(m[to] == '&' && pairAhead(m[to+1:])) {
		to++
	}
	for to > from && (m[to-1] == '\\' || m[to-1] == ',' || m[to-1] == ')' || m[to-1] == '}') {
		to--
	}
	v := m[from:to]
	if len(v) < 4 || placeholder(v) || skipsCode(v, hole{}, password) {
		return 0, 0, false
	}
	for _, w := range commonWords {
		if len(v) == len(w) && at(v, 0, w) {
			return 0, 0, false
		}
	}
	return from, to, true
}
