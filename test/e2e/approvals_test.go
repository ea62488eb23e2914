// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/test/lab"
)

// Two people whom every Debian has: the one whose programs ask, and the one who decides.
const (
	worker   = "daemon"
	workerID = 1
	boss     = "www-data"
	bossID   = 33
)

const askDocs = `apiVersion: sallyport.dev/v1alpha1
kind: Role
metadata: {name: support-bot}
spec: {rules: [{endpoints: [openai], operations: [chat], models: ["gpt-4o-mini*"], tools: [search, delete_files]}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: Role
metadata: {name: big-models}
spec: {rules: [{endpoints: [openai], operations: [chat], models: ["gpt-4o"], tools: []}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: RoleBinding
metadata: {name: support-bot}
spec: {role: support-bot, subjects: [{unit: langchain-support.service}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: ask-first}
spec:
  on: [toolCall]
  match: {tools: ["delete_*"]}
  action: hold
  message: Somebody has to look at deletions
  approval: {groups: [daemon, www-data], timeout: 5m, scope: [once, session]}
`

// desk is a world in which deletions are held.
func desk(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, "---\napprovals: {elevation: {groups: [www-data, daemon]}}\n")
	w.letIn()
	w.policy(askDocs)
	must(t, syscall.Kill(w.d.PID(), syscall.SIGHUP))
	if !w.logged("policy reloaded") {
		t.Fatal("the policy was not reloaded")
	}
	return w
}

// letIn lets other people reach the socket, and gives them the command.
func (w *world) letIn() {
	w.t.Helper()
	dir := filepath.Dir(w.d.Config)
	must(w.t, os.Chmod(dir, 0o755))
	raw, err := os.ReadFile(filepath.Join(root(w.t), "build", "sallyport"))
	must(w.t, err)
	must(w.t, os.WriteFile(filepath.Join(dir, "sallyport"), raw, 0o755))
}

// login starts a command as somebody who has logged in. It takes the user's uid too, unless it is to stay root.
func login(uid int, stay bool, args ...string) []string {
	if !stay {
		args = append([]string{"setpriv", fmt.Sprintf("--reuid=%d", uid), fmt.Sprintf("--regid=%d", uid), "--init-groups"}, args...)
	}
	return lab.LoggedIn(uid, args...)
}

// as runs the sallyport command as somebody.
func (w *world) as(uid int, args ...string) (string, error) {
	w.t.Helper()
	line := login(uid, false, append([]string{filepath.Join(filepath.Dir(w.d.Config), "sallyport")}, args...)...)
	cmd := exec.CommandContext(w.t.Context(), line[0], line[1:]...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "SALLYPORT_SOCKET=" + w.d.Socket, "NO_COLOR=1"}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), errors.New(strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

// asking is a LangChain program that the asker has started.
func (w *world) asking(args ...string) lab.App {
	a := w.app(enforced, "current", args...)
	a.Args = login(workerID, true, a.Args...)
	return a
}

// outcome is how a program ended.
type outcome struct {
	out, errOut string
	err         error
}

func (w *world) begin(a lab.App) <-chan outcome {
	ended := make(chan outcome, 1)
	ctx := w.t.Context()
	go func() {
		out, errOut, err := w.lab.Run(ctx, a)
		ended <- outcome{out, errOut, err}
	}()
	return ended
}

// waiting returns the one approval that waits, once it does.
func (w *world) waiting(ended <-chan outcome) (id string) {
	w.t.Helper()
	for range 600 {
		var list []struct {
			ID, State string
			Waiting   int
		}
		w.json(&list, "approvals", "list", "--state", "waiting", "-o", "json")
		if len(list) == 1 {
			return list[0].ID
		}
		select {
		case o := <-ended:
			w.t.Fatalf("the program did not wait: %+v", o)
		case <-time.After(100 * time.Millisecond):
		}
	}
	w.t.Fatal("nothing waits")
	return ""
}

const deletion = `use tool delete_files with {"path":"/srv/data"}`

// TestApprovals holds a tool call of a real program until another person decides.
func TestApprovals(t *testing.T) {
	w := desk(t)
	for _, mode := range []string{"plain", "stream"} {
		args := []string{"agent.py", deletion}
		if mode == "stream" {
			args = []string{"agent.py", "--stream", deletion}
		}
		t.Run("approved, "+mode, func(t *testing.T) {
			ended := w.begin(w.asking(args...))
			id := w.waiting(ended)
			if out, err := w.as(bossID, "approvals", "show", id); err != nil || !strings.Contains(out, `"path": "/srv/data"`) ||
				!strings.Contains(out, "user "+worker) || !strings.Contains(out, "guardrail/ask-first") {
				t.Errorf("shown: %s, %v", out, err)
			}
			if out, err := w.as(workerID, "approvals", "approve", id); err == nil || !strings.Contains(err.Error(), "nobody approves or denies what they ask for") {
				t.Errorf("the asker approved: %s, %v", out, err)
			}
			if out, err := w.as(2, "approvals", "approve", id); err == nil || !strings.Contains(err.Error(), "only operators and members of group daemon or www-data") {
				t.Errorf("somebody approved: %s, %v", out, err)
			}
			select {
			case o := <-ended:
				t.Fatalf("it was released: %+v", o)
			default:
			}
			if out, err := w.as(bossID, "approvals", "approve", id, "--reason", "looked at it"); err != nil || !strings.Contains(out, "approved") {
				t.Errorf("%s, %v", out, err)
			}
			if o := <-ended; o.err != nil || !strings.Contains(o.out, "ran delete_files on /srv/data") {
				t.Errorf("the program: %+v", o)
			}
			if out, err := w.as(bossID, "approvals", "approve", id); err == nil || !strings.Contains(err.Error(), "used already") {
				t.Errorf("once more: %s, %v", out, err)
			}
		})
	}
	t.Run("denied", func(t *testing.T) {
		ended := w.begin(w.asking("agent.py", `use tool delete_files with {"path":"/srv/more"}`))
		id := w.waiting(ended)
		if out, err := w.as(bossID, "approvals", "deny", id, "--reason", "not on Fridays"); err != nil {
			t.Errorf("%s, %v", out, err)
		}
		o := <-ended
		m := regexp.MustCompile(`\[sallyport\] tool delete_files was refused by rule guardrail/ask-first \((dec_[0-9a-f-]+)\)`).FindStringSubmatch(o.out)
		if o.err != nil || m == nil || strings.Contains(o.out, "ran delete_files") {
			t.Fatalf("the program: %+v", o)
		}
		if out, err := w.d.CLI(t.Context(), "why", m[1]); err != nil || !strings.Contains(out, id+" denied") {
			t.Errorf("why: %s, %v", out, err)
		}
	})
	t.Run("for the session, in a process that goes on", func(t *testing.T) {
		ended := w.begin(w.asking("agent.py", deletion[:len(deletion)-2]+`a"} use tool delete_files with {"path":"/srv/dataa"}`))
		id := w.waiting(ended)
		if out, err := w.as(bossID, "approvals", "approve", id, "--scope", "session", "--free", "path"); err != nil {
			t.Errorf("%s, %v", out, err)
		}
		if o := <-ended; o.err != nil || strings.Count(o.out, "ran delete_files on") != 2 {
			t.Errorf("the program: %+v", o)
		}
	})
}

// TestElevation gives a denied program a role for a time, straight from the denial, and takes it back.
func TestElevation(t *testing.T) {
	w := desk(t)
	ask := w.asking("plain.py", "say: hello", "gpt-4o")
	refused := func() string {
		t.Helper()
		out, errOut, err := w.lab.Run(t.Context(), ask)
		m := regexp.MustCompile(`sallyport why (dec_[0-9a-f-]+)`).FindStringSubmatch(errOut)
		if err == nil || m == nil {
			t.Fatalf("%s %s, %v", out, errOut, err)
		}
		return m[1]
	}
	dec := refused()
	if out, err := w.as(2, "elevate", "--for", dec, "--reason", "mine"); err == nil {
		t.Errorf("somebody else asked: %s", out)
	}
	if out, err := w.d.CLI(t.Context(), "why", dec); err != nil || !strings.Contains(out, "sallyport elevate --for "+dec) {
		t.Errorf("why: %s, %v", out, err)
	}
	out, err := w.as(workerID, "elevate", "--for", dec, "--for", "10m", "--reason", "a test", "-o", "json")
	var e struct {
		ID, State, Role string
		Needed          int
	}
	if err != nil || json.Unmarshal([]byte(out), &e) != nil || e.Role != "big-models" || e.State != "waiting" || e.Needed != 1 {
		t.Fatalf("%s, %v", out, err)
	}
	refused() // it is asked for, not granted
	if out, err := w.as(workerID, "grants", "approve", e.ID); err == nil || !strings.Contains(err.Error(), "nobody approves") {
		t.Errorf("the asker granted it: %s, %v", out, err)
	}
	if out, err := w.as(bossID, "grants", "approve", e.ID); err != nil || !strings.Contains(out, "active until") {
		t.Errorf("%s, %v", out, err)
	}
	if out := w.run(ask); out != "hello\n" {
		t.Errorf("with the role: %q", out)
	}
	must(t, w.d.Stop(t.Context()))
	w.start()
	if out := w.run(ask); out != "hello\n" {
		t.Errorf("after a restart: %q", out)
	}
	if out, err := w.as(workerID, "grants"); err != nil || !strings.Contains(out, e.ID) {
		t.Errorf("%s, %v", out, err)
	}
	if out, err := w.as(bossID, "grants", "revoke", e.ID, "--reason", "done"); err != nil || !strings.Contains(out, "revoked") {
		t.Errorf("%s, %v", out, err)
	}
	refused()
}

// TestElevationFromInside: a protected workload may ask for a role for itself, and for nothing else. Nobody has logged in
// there, so two people have to agree.
func TestElevationFromInside(t *testing.T) {
	w := desk(t)
	inside := func(args ...string) (string, error) {
		a := w.app(enforced, "current", "plain.py")
		a.Args = append([]string{filepath.Join(filepath.Dir(w.d.Config), "sallyport")}, args...)
		a.Env = []string{"SALLYPORT_SOCKET=" + w.d.Socket}
		out, _, err := w.lab.Run(t.Context(), a)
		return out, err
	}
	for _, args := range [][]string{{"approvals", "list"}, {"grants"}, {"grants", "approve", "elv_1"}, {"approvals", "approve", "apr_1"}, {"status"}} {
		if out, err := inside(args...); err == nil || !strings.Contains(err.Error(), "refused from inside") {
			t.Errorf("%v: %s, %v", args, out, err)
		}
	}
	ask := w.app(enforced, "current", "plain.py", "say: hello", "gpt-4o")
	_, errOut, err := w.lab.Run(t.Context(), w.app(observed, "current", "plain.py", "say: hello", "gpt-4o"))
	must(t, err) // observed: denied on record only
	for _, x := range w.exchanges() {
		if out, err := inside("elevate", "--for", x.ExchangeID, "--role", "big-models", "--reason", "theirs"); err == nil {
			t.Errorf("for another workload: %s (%s)", out, errOut)
		}
	}
	out, err := inside("elevate", "--role", "big-models", "--for", "10m", "--reason", "a test", "-o", "json")
	var e struct {
		ID, State string
		Needed    int
		UID       *int
		Principal struct {
			SPIFFEID string `json:"spiffe_id"`
		}
	}
	if err != nil || json.Unmarshal([]byte(out), &e) != nil || e.Needed != 2 || e.Principal.SPIFFEID != "spiffe://example.org/unit/"+enforced || e.UID == nil || *e.UID != 0 {
		t.Fatalf("%s, %v", out, err)
	}
	if out, err := w.as(bossID, "grants", "approve", e.ID); err != nil || !strings.Contains(out, "1 of 2") {
		t.Errorf("%s, %v", out, err)
	}
	if out, _, err := w.lab.Run(t.Context(), ask); err == nil {
		t.Errorf("one person was enough: %s", out)
	}
	if out, err := w.as(workerID, "grants", "approve", e.ID); err != nil || !strings.Contains(out, "active until") {
		t.Errorf("%s, %v", out, err)
	}
	if out := w.run(ask); out != "hello\n" {
		t.Errorf("with the role: %q", out)
	}
}

// TestApprovalOutlivesDaemon: what waits when the daemon ends waits in the next one; the program that comes again with the
// same thing gets it.
func TestApprovalOutlivesDaemon(t *testing.T) {
	w := desk(t)
	manage(t, w)
	begin := func(name string) (again func() string, ended <-chan outcome, id string) {
		prompt := fmt.Sprintf(`use tool delete_files with {"path":"/srv/%s"}`, name)
		ended = w.begin(w.asking("agent.py", prompt))
		return func() string { return w.run(w.asking("agent.py", prompt)) }, ended, w.waiting(ended)
	}
	for _, end := range []struct {
		name string
		do   func() error
	}{
		{"upgraded", func() error { return w.upgrade(syscall.SIGUSR2) }},
		{"stopped", func() error { defer w.start(); return w.d.Stop(t.Context()) }},
	} {
		t.Run(end.name, func(t *testing.T) {
			again, ended, id := begin(end.name)
			must(t, end.do())
			if o := <-ended; o.err == nil || strings.Contains(o.out, "ran delete_files") || !strings.Contains(o.errOut, "Approval "+id+" waits for people") {
				t.Errorf("the program: %+v", o)
			}
			if out, err := w.as(bossID, "approvals", "approve", id); err != nil || !strings.Contains(out, "nobody waited any more") {
				t.Errorf("%s, %v", out, err)
			}
			if out := again(); !strings.Contains(out, "ran delete_files on /srv/"+end.name) {
				t.Errorf("come again: %s", out)
			}
		})
	}
	t.Run("killed", func(t *testing.T) { // the program's own retry finds what waits already
		_, ended, id := begin("killed")
		must(t, w.d.Kill())
		w.start()
		if out, err := w.as(bossID, "approvals", "approve", id); err != nil || !strings.Contains(out, "approved") {
			t.Errorf("%s, %v", out, err)
		}
		if o := <-ended; o.err != nil || strings.Count(o.out, "ran delete_files on /srv/killed") != 1 {
			t.Errorf("the program: %+v", o)
		}
	})
}
