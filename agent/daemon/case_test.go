// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent/admin"
	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// caseRig is a record, the sallyport command, and an empty folder in which a stranger looks at cases.
type caseRig struct {
	*recordRig
	cli      string
	stranger string
}

func newCaseRig(t *testing.T, cli string) *caseRig {
	r := &caseRig{recordRig: newRecordRig(t, 0), cli: cli, stranger: t.TempDir()}
	r.must(os.WriteFile(filepath.Join(r.policy, "a.yaml"), []byte(allowing("gpt-4o")), 0o600))
	r.must(os.WriteFile(filepath.Join(r.policy, "b c.yaml"), []byte("# another file\n"), 0o600))
	r.must(os.WriteFile(filepath.Join(r.policy, "b_c.yaml"), []byte("# whose name is nearly the same\n"), 0o600))
	r.start()
	return r
}

// buildCLI makes the command that people have.
func buildCLI(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "sallyport")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/sallyport-dev/sallyport/cmd/sallyport").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return bin
}

// sallyport runs the command against the daemon.
func (r *caseRig) sallyport(args ...string) (string, error) {
	cmd := exec.Command(r.cli, append([]string{"--socket", r.socket}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + r.dir, "TZ=UTC"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// export makes a case and unpacks it where nothing else is.
func (r *caseRig) export(args ...string) (said string) {
	r.t.Helper()
	r.signed()
	file := filepath.Join(r.dir, "case.tgz")
	r.must(errors.Join(os.RemoveAll(file), os.RemoveAll(filepath.Join(r.stranger, "case"))))
	said, err := r.sallyport(append([]string{"case", "export", "--journal", r.d.journal.Dir(), "--out", file}, args...)...)
	if err != nil {
		r.t.Fatalf("%v: %s", err, said)
	}
	if out, err := exec.Command("tar", "xzf", file, "-C", r.stranger).CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %s", err, out)
	}
	return said
}

// verify runs the program in the case, with nothing of ours around it.
func (r *caseRig) verify(args ...string) (string, error) {
	cmd := exec.Command("python3", append([]string{"case/verify_case.py"}, args...)...)
	cmd.Dir, cmd.Env = r.stranger, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (r *caseRig) whole(args ...string) string {
	r.t.Helper()
	out, err := r.verify(args...)
	if err != nil || !strings.HasPrefix(out, "whole: ") {
		r.t.Fatalf("%v: %s", err, out)
	}
	return out
}

func (r *caseRig) file(name string) string { return filepath.Join(r.stranger, "case", name) }

func (r *caseRig) read(name string) string {
	r.t.Helper()
	raw, err := os.ReadFile(r.file(name))
	r.must(err)
	return string(raw)
}

// holds tells whether any file of the case has a text, in the clear or as it stands in the chain.
func (r *caseRig) holds(text string) (in []string) {
	r.t.Helper()
	r.must(filepath.WalkDir(r.file(""), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		for line := range bytes.Lines(raw) {
			var l struct{ Content []byte }
			if json.Unmarshal(line, &l) == nil {
				raw = append(raw, l.Content...)
			}
		}
		if bytes.Contains(raw, []byte(text)) {
			in = append(in, filepath.Base(path))
		}
		return err
	}))
	return in
}

// object is any JSON object.
type object = map[string]any

// lines changes a file of JSON lines; edit gives nil for a line to leave out.
func (r *caseRig) lines(name string, edit func(n int, l object) object) {
	r.t.Helper()
	f, err := os.Open(r.file(name))
	r.must(err)
	defer f.Close()
	var out bytes.Buffer
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<24)
	for n := 0; s.Scan(); n++ {
		var l object
		d := json.NewDecoder(bytes.NewReader(s.Bytes()))
		d.UseNumber()
		r.must(d.Decode(&l))
		if l = edit(n, l); l != nil {
			r.must(json.NewEncoder(&out).Encode(l))
		}
	}
	r.must(s.Err())
	r.must(os.WriteFile(r.file(name), out.Bytes(), 0o600))
}

// replace changes a text in a file.
func (r *caseRig) replace(name, old, with string) {
	r.t.Helper()
	was := r.read(name)
	if !strings.Contains(was, old) {
		r.t.Fatalf("%s has no %q", name, old)
	}
	r.must(os.WriteFile(r.file(name), []byte(strings.ReplaceAll(was, old, with)), 0o600))
}

// manifest changes MANIFEST.json, and makes its sums those of the files as they are.
func (r *caseRig) manifest(edit func(object)) {
	r.t.Helper()
	var m object
	r.must(json.Unmarshal([]byte(r.read("MANIFEST.json")), &m))
	if edit != nil {
		edit(m)
	}
	var files []any
	for _, f := range m["files"].([]any) {
		f := f.(object)
		raw, err := os.ReadFile(r.file(f["name"].(string)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		r.must(err)
		sum := sha256.Sum256(raw)
		f["sha256"], f["bytes"] = hex.EncodeToString(sum[:]), len(raw)
		files = append(files, f)
	}
	m["files"] = files
	raw, err := json.Marshal(m)
	r.must(err)
	r.must(os.WriteFile(r.file("MANIFEST.json"), raw, 0o600))
}

// TestCase makes cases of a real record with the real command, and looks at them as a stranger does: with what is in them and nothing else.
func TestCase(t *testing.T) {
	cli := buildCLI(t)
	conversation := []said{
		{session: "ses_a", user: "ada", prompt: "please wire the zebra money", answer: "I would rather not."},
		{session: "ses_b", user: "bob", prompt: "the walrus is nobody's business", answer: "walrus"},
		{session: "ses_a", user: "ada", prompt: "rm zebra", tool: "shell", deny: true},
		{session: "ses_c", user: "ada", prompt: "a zebra too", answer: "yes"},
		{session: "ses_c", user: "ada", prompt: "is it going on", open: true},
	}
	t.Run("by query", func(t *testing.T) {
		r := newCaseRig(t, cli)
		r.say(conversation[:3]...)
		first := r.d.policy.Version()
		r.must(os.WriteFile(filepath.Join(r.policy, "a.yaml"), []byte(allowing("gpt-4o, gpt-5")), 0o600))
		r.d.policy.reload(t.Context(), causeReload)
		r.say(conversation[3:]...)
		r.archived(4)
		said := r.export("--anchors", filepath.Join(r.dir, "anchors"), "zebra", "principal:ada")
		if !strings.Contains(said, "2 sessions, 10 records") || strings.Contains(said, "note:") {
			t.Errorf("said %s", said)
		}
		if out := r.whole(); !strings.Contains(out, "whole: 10 records of 2 sessions") || !strings.Contains(out, "anchors that were not kept elsewhere") || !strings.Contains(out, "2 of 2 policy versions proven") {
			t.Errorf("verified: %s", out)
		}
		if out := r.whole("--anchors", filepath.Join(r.dir, "anchors")); strings.Contains(out, " 0 anchors agree") || strings.Contains(out, "not kept elsewhere") {
			t.Errorf("with anchors: %s", out)
		}
		if in := r.holds("walrus"); in != nil {
			t.Errorf("another session's words are in %s", in)
		}
		var m struct {
			Query    string
			Sessions []string
			Recorded bool `json:"reading_recorded"`
		}
		r.must(json.Unmarshal([]byte(r.read("MANIFEST.json")), &m))
		if m.Query != "zebra principal:ada" || !slices.Equal(m.Sessions, []string{"ses_a", "ses_c"}) || !m.Recorded {
			t.Errorf("%+v", m)
		}
		var s adminapi.Session
		r.must(json.Unmarshal([]byte(r.read("sessions/ses_a.json")), &s))
		if len(s.Exchanges) != 2 || s.Exchanges[0].Response.Text != "I would rather not." || s.Exchanges[1].Tools[0].Action != "deny" {
			t.Errorf("conversation: %+v", s)
		}
		for version, want := range map[string]string{first: allowing("gpt-4o"), r.d.policy.Version(): allowing("gpt-4o, gpt-5")} {
			dir := "policy/" + strings.ReplaceAll(version, ":", "_") + "/"
			if r.read(dir+"a.yaml") != want || r.read(dir+"b_c.yaml") != "# another file\n" || r.read(dir+"2-b_c.yaml") != "# whose name is nearly the same\n" {
				t.Errorf("the texts of %s are others", version)
			}
		}
		if n := strings.Count(r.records(), `"action":"session.read"`); n != 2 {
			t.Errorf("%d readings are on record, want 2", n)
		}
		if out, err := r.sallyport("case", "export", "--journal", r.d.journal.Dir(), "--out", filepath.Join(r.dir, "no.tgz"), "okapi"); err == nil || !strings.Contains(out, "finds no session") {
			t.Errorf("nothing found: %v %s", err, out)
		}
	})
	t.Run("not signed yet", func(t *testing.T) {
		r := newCaseRig(t, cli)
		r.end()
		r.sign = time.Hour
		r.start()
		r.say(conversation[0])
		file := filepath.Join(r.dir, "case.tgz")
		said, err := r.sallyport("case", "export", "--journal", r.d.journal.Dir(), "--session", "ses_a", "--out", file)
		if err != nil || !strings.Contains(said, "no signed checkpoint covers") {
			t.Fatalf("%v: %s", err, said)
		}
		r.must(exec.Command("tar", "xzf", file, "-C", r.stranger).Run())
		if out, err := r.verify(); err == nil || !strings.Contains(out, "have no signature behind them") {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("held and erased", func(t *testing.T) {
		r := newCaseRig(t, cli)
		r.say(conversation[:4]...)
		r.archived(4)
		by := admin.Person{User: "dpo", ID: 1001}
		held, c := adminapi.RecordSubject{Principal: "ada"}, console{r.d}
		if _, err := c.AddHold(t.Context(), by, adminapi.HoldRequest{RecordSubject: held, Reason: "case 12"}); err != nil {
			t.Fatal(err)
		}
		var denied *admin.Denied
		if _, err := c.Erase(t.Context(), by, adminapi.EraseRequest{RecordSubject: adminapi.RecordSubject{Session: "ses_a"}}); !errors.As(err, &denied) {
			t.Fatalf("what is held is erased: %v", err)
		}
		said := r.export("zebra")
		if want := "principal ada is under legal hold since"; !strings.Contains(said, want) || !strings.Contains(r.whole(), want) || !strings.Contains(r.read("MANIFEST.json"), `"reason": "case 12"`) {
			t.Errorf("of the hold: %s", said)
		}
		if said = r.export("walrus"); strings.Contains(said, "hold") {
			t.Errorf("another's hold is told: %s", said)
		}
		if _, err := c.ReleaseHold(t.Context(), by, adminapi.HoldRequest{RecordSubject: held}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Erase(t.Context(), by, adminapi.EraseRequest{RecordSubject: adminapi.RecordSubject{Session: "ses_a"}, Reason: "asked for"}); err != nil {
			t.Fatal(err)
		}
		said = r.export("--session", "ses_a", "--session", "ses_c")
		if want := "session ses_a: the contents of "; !strings.Contains(said, want) || !strings.Contains(said, "erased, by a person or by retention") || strings.Contains(said, "hold") || !strings.Contains(r.whole(), want) {
			t.Errorf("of the erasure: %s", said)
		}
		for _, words := range []string{"zebra money", "rather not", "rm zebra"} {
			if in := r.holds(words); in != nil {
				t.Errorf("%q, which was erased, is in %s", words, in)
			}
		}
		if in := r.holds("a zebra too"); !slices.Equal(in, []string{"records.jsonl", "ses_c.json"}) {
			t.Errorf("what was not erased is in %s", in)
		}
		var s adminapi.Session
		r.must(json.Unmarshal([]byte(r.read("sessions/ses_a.json")), &s))
		if len(s.Exchanges) != 2 || s.Exchanges[0].Content != "erased" || s.Exchanges[1].Verdict.Rule != "guardrail/no-shell" {
			t.Errorf("conversation: %+v", s)
		}
		// What is said to have been erased must still be what the chain holds.
		r.replace("records.jsonl", "guardrail/no-shell", "guardrail/no-shill")
		r.manifest(nil)
		if out, err := r.verify(); err == nil || !strings.Contains(out, "does not say what the chain holds") {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("a secret in the policy", func(t *testing.T) {
		r := newCaseRig(t, cli)
		secret := "sk-" + "ant-api03-" + strings.Repeat("Ab3dEf6hIj", 9) + "AA-AAAAAA" + "AA"
		r.must(os.WriteFile(filepath.Join(r.policy, "s.yaml"), []byte("# "+secret+"\n"), 0o600))
		r.d.policy.reload(t.Context(), causeReload)
		r.say(conversation[0])
		said := r.export("--session", "ses_a")
		if want := "secrets are masked in s.yaml"; !strings.Contains(said, want) || !strings.Contains(r.whole(), "0 of 1 policy versions proven") || r.holds(secret) != nil {
			t.Errorf("said %s", said)
		}
	})
	t.Run("changed", func(t *testing.T) { caseChanged(newCaseRig(t, cli), conversation) })
}

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

// records is all of the journal, as JSON.
func (r *recordRig) records() string {
	r.t.Helper()
	in := reader(r.t, r.d.journal.Dir())
	defer in.Close()
	var out strings.Builder
	for {
		e, err := in.Next()
		if err != nil {
			return out.String()
		}
		raw, err := json.Marshal(e)
		r.must(err)
		fmt.Fprintf(&out, "%s\n", raw)
	}
}
