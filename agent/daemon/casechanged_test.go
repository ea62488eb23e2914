// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// caseChanged: whatever is changed in a case, with the sums of its manifest made to fit, is refused.
func caseChanged(r *caseRig, conversation []said) {
	t := r.t
	r.say(conversation...)
	r.archived(4)
	r.export("--anchors", filepath.Join(r.dir, "anchors"), "zebra")
	r.whole()
	version := "policy/" + strings.ReplaceAll(r.d.policy.Version(), ":", "_") + "/"
	kept := filepath.Join(r.stranger, "kept")
	r.must(os.Rename(r.file(""), kept))
	outcome := func(l object) object {
		if l["kind"] == "outcome" && l["exchange_id"] == "exc_aad" {
			return l["body"].(object)
		}
		return nil
	}
	inOutcome := func(edit func(b object)) func() {
		return func() {
			r.lines("records.jsonl", func(_ int, l object) object {
				if b := outcome(l); b != nil {
					edit(b)
				}
				return l
			})
		}
	}
	// ofSession is the session in the header of a link.
	ofSession := func(l object) string {
		h, err := hex.DecodeString(l["header"].(string))
		r.must(err)
		return string(h[108 : 108+int(h[6])])
	}
	last := func(name string) (n int) {
		r.lines(name, func(at int, l object) object { n = at; return l })
		return n
	}
	for _, c := range []struct {
		name string
		edit func()
		want string
	}{
		{"another verdict", inOutcome(func(b object) { b["verdict"].(object)["action"] = "allow" }), "does not say what the chain holds"},
		{"a field more", inOutcome(func(b object) { b["cut"] = "client" }), "does not say what the chain holds"},
		{"a field less", inOutcome(func(b object) { delete(b, "decision") }), "does not say what the chain holds"},
		{"the tool has another name", inOutcome(func(b object) { b["tools"].([]any)[0].(object)["name"] = "search" }), "does not say what the chain holds"},
		{"another time", func() {
			r.lines("records.jsonl", func(_ int, l object) object { l["time"] = "2020-01-01T00:00:00Z"; return l })
		}, "does not say what the chain holds"},
		{"another user", func() { r.replace("records.jsonl", `"user":"ada"`, `"user":"bob"`) }, "does not say what the chain holds"},
		{"another session", func() {
			r.lines("records.jsonl", func(n int, l object) object {
				if n == 0 {
					l["session_id"] = "ses_c"
				}
				return l
			})
		}, "does not say what the chain holds"},
		{"another kind", func() { r.replace("records.jsonl", `"kind":"outcome"`, `"kind":"event"`) }, "does not say what the chain holds"},
		{"words where there were none", func() {
			r.lines("records.jsonl", func(_ int, l object) object {
				if l["kind"] == "outcome" {
					l["content"] = "erased" // what is erased has no words
					l["body"].(object)["text"] = "I confess"
				}
				return l
			})
		}, "does not say what the chain holds"},
		{"a record twice", func() {
			raw := r.read("records.jsonl")
			first, _, _ := strings.Cut(raw, "\n")
			r.must(os.WriteFile(r.file("records.jsonl"), []byte(raw+first+"\n"), 0o600))
		}, "the record is not in the chain"},
		{"a record less", func() {
			r.lines("records.jsonl", func(n int, l object) object { return map[bool]object{true: l}[n != 2] })
		}, "does not have all records"},
		{"a record and its link less", func() {
			seen := 0
			r.lines("chain.jsonl", func(_ int, l object) object {
				if ofSession(l) == "ses_a" {
					if seen++; seen == 3 {
						return nil
					}
				}
				return l
			})
		}, "the hash chain is broken"},
		{"a link that lost its content", func() {
			r.lines("chain.jsonl", func(_ int, l object) object {
				if ofSession(l) == "ses_a" {
					delete(l, "content")
				}
				return l
			})
		}, "a record of the case has no content"},
		{"another content", func() {
			r.lines("chain.jsonl", func(n int, l object) object {
				if n == 0 {
					raw, err := base64.StdEncoding.DecodeString(l["content"].(string))
					r.must(err)
					raw[len(raw)-1] ^= 1
					l["content"] = base64.StdEncoding.EncodeToString(raw)
				}
				return l
			})
		}, "the content does not have its digest"},
		{"another header", func() {
			r.lines("chain.jsonl", func(n int, l object) object {
				if n == 1 {
					h := []byte(l["header"].(string))
					h[36*2] ^= 1
					l["header"] = string(h)
				}
				return l
			})
		}, "NOT whole"},
		{"no signature", func() {
			r.lines("chain.jsonl", func(_ int, l object) object {
				if ofSession(l) == "" {
					delete(l, "content")
				}
				return l
			})
		}, "have no signature behind them"},
		{"the end is cut off", func() {
			n := last("chain.jsonl")
			r.lines("chain.jsonl", func(at int, l object) object { return map[bool]object{true: l}[at != n] })
		}, "have no signature behind them"},
		{"a session less", func() {
			r.manifest(func(m object) { m["sessions"] = []string{"ses_a"} })
		}, "the record is not in the chain"},
		{"a session more", func() {
			r.manifest(func(m object) { m["sessions"] = []string{"ses_a", "ses_b", "ses_c"} })
		}, "a record of the case has no content"},
		{"other words in the conversation", func() { r.replace("sessions/ses_a.json", "I would rather not.", "With pleasure.") }, "is not what records.jsonl has"},
		{"an exchange of another session in the conversation", func() {
			raw, err := os.ReadFile(r.file("sessions/ses_c.json"))
			r.must(err)
			r.must(os.WriteFile(r.file("sessions/ses_a.json"), []byte(strings.Replace(string(raw), `"session_id": "ses_c"`, `"session_id": "ses_a"`, 1)), 0o600))
		}, "is not what records.jsonl has"},
		{"another policy", func() { r.replace(version+"a.yaml", "gpt-4o", "gpt-99") }, "its texts are not those of this version"},
		{"a file of the policy less", func() {
			r.must(os.Remove(r.file(version + "b_c.yaml")))
			r.manifest(func(m object) {
				p := m["policies"].([]any)[0].(object)
				p["files"] = slices.DeleteFunc(p["files"].([]any), func(f any) bool { return f.(object)["file"] == version+"b_c.yaml" })
			})
		}, "its texts are not those of this version"},
		{"a file less", func() { r.must(os.Remove(r.file("journal.pub"))); r.must(os.WriteFile(r.file("more"), nil, 0o600)) }, "more: it is not in the manifest"},
		{"another anchor", func() {
			r.lines("anchors.jsonl", func(_ int, l object) object { l["head"] = strings.Repeat("00", 32); return l })
		}, "an anchor has no valid signature"},
		{"no manifest", func() { r.must(os.WriteFile(r.file("MANIFEST.json"), []byte("{}"), 0o600)) }, "NOT whole"},
		{"no JSON", func() { r.must(os.WriteFile(r.file("records.jsonl"), []byte("[]\n"), 0o600)) }, "NOT whole"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.must(os.RemoveAll(r.file("")))
			r.must(os.CopyFS(r.file(""), os.DirFS(kept))) // which is whole
			c.edit()
			if c.name != "no manifest" {
				r.manifest(nil)
			}
			if out, err := r.verify(); err == nil || !strings.HasPrefix(out, "NOT whole: ") || !strings.Contains(out, c.want) {
				t.Errorf("%v: %s, want %q", err, out, c.want)
			}
		})
	}
	// Somebody else's journal and key can make a case of its own, which only what was kept elsewhere tells from ours.
	r.must(os.RemoveAll(r.file("")))
	other := newCaseRig(t, r.cli)
	other.say(conversation...)
	other.archived(4)
	other.export("zebra")
	other.whole()
	if out, err := other.verify("--anchors", filepath.Join(r.dir, "anchors")); err == nil || !strings.Contains(out, "none of the anchors is about these records") {
		t.Errorf("with anchors of another journal: %v: %s", err, out)
	}
	if out, err := other.verify("--key", strings.Repeat("00", 32)); err == nil || !strings.Contains(out, "given key") {
		t.Errorf("with another key: %v: %s", err, out)
	}
}
