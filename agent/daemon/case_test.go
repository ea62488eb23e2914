// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bufio"
	"bytes"
	"crypto/sha256"
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
