// SPDX-License-Identifier: Apache-2.0

package personal

import (
	"bytes"

	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// Letters of Latin scripts, two bytes each: mailboxes and hosts may have them.
const latin = "\u00c0-\u024f"

func mailRule() *rule.Rule {
	const label = `(?:[A-Za-z0-9-]{1,40}|[A-Za-z0-9` + latin + `-]{1,20})\.`
	return &rule.Rule{Name: "email", Type: "EMAIL", Family: rule.Structured,
		Pattern: `[A-Za-z0-9_` + latin + `][A-Za-z0-9._%+'~` + latin + `-]{0,63}"?(?:@|%40)(?:` + label + `){1,4}(?:[A-Za-z]{2,18}|xn--[A-Za-z0-9-]{2,18})`,
		Left:    rule.Word,
		Check:   mail,
		Why:     "a mailbox, an @ and the name of a host with a top-level domain",
	}
}

// mail refuses what only looks like an address: a password and a host in a URL, the shell account of a code host, a file for a dense screen.
func mail(left, match []byte) (int, int, bool) {
	if inEscape(left, match[0]) {
		return 0, 0, false
	}
	at := bytes.IndexByte(match, '@')
	if at < 0 {
		at = bytes.Index(match, []byte("%40"))
	}
	if s := bytes.LastIndex(left, []byte("://")); s >= 0 && !bytes.ContainsAny(left[s+3:], " \t\n\"'`<>()/|,;?=&") {
		return 0, 0, false
	}
	host := match[at+1:]
	tld := host[bytes.LastIndexByte(host, '.')+1:]
	switch string(tld) {
	case "png", "jpg", "jpeg", "gif", "svg", "webp", "js", "ts", "css", "json", "html", "yaml", "yml", "service", "mount", "socket", "local", "internal", "localhost", "route", "property", "setter":
		return 0, 0, false
	}
	if at == 3 && string(match[:3]) == "git" {
		return 0, 0, false
	}
	return 0, len(match), true
}
