// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"strings"
	"testing"
)

func TestWire(t *testing.T) {
	label := strings.Repeat("a", 63)
	for _, c := range []struct {
		name, host, back string // back "" = refused
	}{
		{"usual", "api.openai.com", "api.openai.com"},
		{"case and dot", "API.OpenAI.com.", "api.openai.com"},
		{"one label", "localhost", "localhost"},
		{"longest", strings.Join([]string{label, label, label, label[:61]}, "."), strings.Join([]string{label, label, label, label[:61]}, ".")},
		{"too long", strings.Join([]string{label, label, label, label[:62]}, "."), ""},
		{"a label too long", label + "a.com", ""},
		{"an empty label", "a..com", ""},
		{"nothing", "", ""},
		{"too many labels", strings.Repeat("a.", 31) + "com", ""},
		{"many labels", strings.Repeat("a.", 30) + "com", strings.Repeat("a.", 30) + "com"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := toWire(c.host)
			if (err != nil) != (c.back == "") {
				t.Fatal(err)
			}
			if got := fromWire(&k); err == nil && got != c.back {
				t.Errorf("back as %q", got)
			}
		})
	}
}
