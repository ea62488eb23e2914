// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"time"
)

func recordOf(p *problems, f *record) Record {
	max, ok := size(f.MaxBytes)
	if !ok {
		p.add(p.line("record", "max_bytes"), "max_bytes %q is no size: give a whole number with a unit, such as 10GiB", f.MaxBytes)
	}
	if !f.Required {
		p.add(p.line("record", "required"), "record.required: false is not supported yet: remove it")
	}
	r := Record{Required: f.Required, Dir: f.Dir, MaxBytes: max, WhenFull: f.WhenFull, Anchors: f.Anchors, Original: f.Original, Recipients: f.Recipients}
	switch {
	case f.Original != "" && f.Original != "sealed":
		p.add(p.line("record", "original"), "record.original %q is not known: use sealed, or leave it out", f.Original)
	case f.Original == "sealed" && (len(f.Recipients) < 2 || len(f.Recipients) > 5):
		p.add(p.line("record", "original"), "record.original: sealed needs the public keys of two to five people in record.recipients: any two of them can read originals together")
	case f.Original == "" && len(f.Recipients) > 0:
		p.add(p.line("record", "recipients"), "record.recipients without record.original: sealed: add that, or remove them")
	}
	for i, r := range f.Recipients {
		if !strings.HasPrefix(r, "age1") {
			p.add(p.line("record", "recipients", i), "recipient %q is no age public key: give one that begins with age1", r)
		}
	}
	for _, k := range []struct {
		name, value string
		to          *time.Duration
	}{
		{"content", f.Retention.Content, &r.Retention.Content}, {"metadata", f.Retention.Metadata, &r.Retention.Metadata},
		{"admin", f.Retention.Admin, &r.Retention.Admin},
	} {
		if *k.to, ok = days(k.value); !ok {
			p.add(p.line("record", "retention", k.name), "retention of %s %q is no time: give whole days such as 30d, or hours such as 12h, at least 1h; empty keeps for good", k.name, k.value)
		}
	}
	if r := r.Retention; r.Metadata > 0 && (r.Content == 0 || r.Content > r.Metadata) {
		p.add(p.line("record", "retention", "metadata"), "retention of metadata is shorter than that of content, which nobody could tell the origin of: give content at most as long")
	}
	return r
}

// days reads "30d" or a duration; "" is 0, for good.
func days(s string) (time.Duration, bool) {
	if s == "" {
		return 0, true
	}
	d, ok := age(s)
	return d, ok && d >= time.Hour
}
