// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

func approvalsOf(d *Approvals) (out approvals) {
	out.Groups, out.Approvers, out.Timeout, out.Webhook, out.ConsoleURL = d.Groups, d.Approvers, d.Timeout.String(), d.Webhook, d.ConsoleURL
	e := &out.Elevation
	e.Groups, e.Approvers, e.Timeout, e.Longest = d.Elevation.Groups, d.Elevation.Approvers, d.Elevation.Timeout.String(), d.Elevation.Longest.String()
	return out
}

// maxWait is how long something may wait for people, or be granted.
const maxWait = 30 * 24 * time.Hour

// build checks approvals and translates them.
func (a *approvals) build(p *problems) Approvals {
	at := func(path ...any) int { return p.line(append([]any{"approvals"}, path...)...) }
	groups := func(list []string, path ...any) []string {
		if slices.ContainsFunc(list, func(g string) bool { return strings.TrimSpace(g) == "" }) {
			p.add(at(path...), "a group of approvers is empty, which is nobody: name it or remove it")
		}
		return list
	}
	approvers := func(n int, path ...any) int {
		if n < 1 || n > 16 {
			p.add(at(path...), "approvers %d: give a number of people from 1 to 16", n)
		}
		return n
	}
	wait := func(s string, path ...any) time.Duration {
		d, ok := duration(s)
		if !ok || d < time.Second || d > maxWait {
			p.add(at(path...), "%s %q is no duration of one second to 30 days: give a number with a unit, such as 10m", dotted(path), s)
		}
		return d
	}
	e := &a.Elevation
	out := Approvals{
		Groups: groups(a.Groups, "groups"), Approvers: approvers(a.Approvers, "approvers"), Timeout: wait(a.Timeout, "timeout"),
		Elevation: Elevation{groups(e.Groups, "elevation", "groups"), approvers(e.Approvers, "elevation", "approvers"),
			wait(e.Timeout, "elevation", "timeout"), wait(e.Longest, "elevation", "longest")},
		Webhook: a.Webhook, ConsoleURL: a.ConsoleURL,
	}
	httpURL(p, a.ConsoleURL, "approvals", "console_url")
	a.Webhook.check(p)
	return out
}

func (w *Webhook) check(p *problems) {
	at := p.line("approvals", "webhook")
	if w.URL == "" {
		if w.SecretFile != "" || w.CAFile != "" {
			p.add(at, "approvals.webhook has no url: give one, or remove secret_file and ca_file")
		}
		return
	}
	httpURL(p, w.URL, "approvals", "webhook", "url")
	if u, err := url.Parse(w.URL); err == nil && u.Scheme == "http" && !loopback(u.Hostname()) {
		p.add(p.line("approvals", "webhook", "url"), "approvals.webhook.url is not https: without TLS anybody on the way reads it; http only to this host")
	}
	if w.SecretFile == "" {
		p.add(at, "approvals.webhook has no secret_file: messages are signed with it, make one with (printf whsec_; openssl rand -base64 32)")
	}
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
