// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/test/lab"
)

// talker is a program that answers line by line.
type talker struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// talk starts a program that keeps its connection between two questions.
func (w *world) talk(a lab.App) *talker {
	w.t.Helper()
	cmd, cleanup, err := w.lab.Command(w.t.Context(), a)
	must(w.t, err)
	w.t.Cleanup(cleanup)
	p := &talker{t: w.t, cmd: cmd}
	p.in, err = cmd.StdinPipe()
	must(w.t, err)
	out, err := cmd.StdoutPipe()
	must(w.t, err)
	p.out = bufio.NewScanner(out)
	must(w.t, w.lab.Start(a.Cgroup, cmd))
	w.t.Cleanup(func() { p.in.Close(); _ = cmd.Wait() })
	return p
}

func (p *talker) ask(prompt string) string {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in, prompt); err != nil {
		p.t.Fatal(err)
	}
	if !p.out.Scan() {
		p.t.Fatalf("the program ended when it was asked %q: %v", prompt, p.out.Err())
	}
	return p.out.Text()
}

// flows waits for records of connections that satisfy want, and fails without one.
func (w *world) flow(want func(*pipeline.Flow) bool) pipeline.Flow {
	w.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		for _, f := range w.flows() {
			if want(&f) {
				return f
			}
		}
		if time.Now().After(end) {
			w.t.Fatalf("no such record of a connection among %+v", w.flows())
		}
	}
}

// flows reads the records of connections from the journal.
func (w *world) flows() (out []pipeline.Flow) {
	w.t.Helper()
	r, err := journal.OpenReader(filepath.Join(w.lab.State(), "journal"), pipeline.Position{})
	must(w.t, err)
	defer r.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		must(w.t, err)
		var f pipeline.Flow
		if e.Kind != pipeline.KindFlow {
			continue
		}
		must(w.t, e.Decode(&f))
		out = append(out, f)
	}
}

// TestOlderConnection: a program that ran, and had its connection, before the agent was installed. In an enforcing scope
// the connection ends once it is idle and the next question goes through the proxy; in an observing one it is only listed.
func TestOlderConnection(t *testing.T) {
	w := newWorld(t, "")
	must(t, w.d.Stop(t.Context()))
	w.uninstall()
	start := func(cgroup string) *talker {
		a := w.app(cgroup, "current", "turns.py")
		a.Mounts = map[string]string{"/etc/ssl/certs/ca-certificates.crt": filepath.Join(filepath.Dir(w.d.Config), "fake-ca.pem")}
		return w.talk(a)
	}
	support, trial := start(enforced), start(observed)
	for _, p := range []*talker{support, trial} {
		if got := p.ask("say: one"); got != "one" {
			t.Fatalf("before the agent: %q", got)
		}
	}
	asked := len(w.fake.Requests())
	w.start()

	cut := w.flow(func(f *pipeline.Flow) bool { return f.Disposition == pipeline.FlowCut })
	if cut.Scope != "support" || cut.Workload.PID != uint32(support.pid()) || cut.Workload.Unit != enforced || cut.Principal.SPIFFEID != "spiffe://example.org/unit/"+enforced ||
		cut.Dest != w.lab.Fake.String()+":443" || cut.Older.Ended != pipeline.OlderIdle {
		t.Errorf("record of the one that was cut: %+v, %+v", cut, cut.Older)
	}
	listed := w.flow(func(f *pipeline.Flow) bool { return f.Disposition == pipeline.FlowOlder })
	if listed.Scope != "trial" || listed.Older.Ended != pipeline.OlderListed || listed.Workload.PID != uint32(trial.pid()) {
		t.Errorf("record of the one that is listed: %+v, %+v", listed, listed.Older)
	}
	// The next question goes through the proxy, or is refused where the program does not trust our root: never around us.
	got := support.ask("say: two")
	recorded := 0
	for _, x := range w.exchanges() {
		if x.Workload.Unit == enforced {
			recorded++
		}
	}
	if n := len(w.fake.Requests()) - asked; n != recorded || got == "two" && n != 1 {
		t.Errorf("the second question of the enforced program got %q; the provider saw %d more requests, %d are on record", got, n, recorded)
	}
	if got := trial.ask("say: two"); got != "two" {
		t.Errorf("the second question of the observed program got %q", got)
	}
	count := 0
	for _, f := range w.flows() {
		if f.Older != nil {
			count++
		}
	}
	if count != 2 {
		t.Errorf("%d records of older connections, want 2", count)
	}
}

// pid is the program's: a shell that has become it.
func (p *talker) pid() int { return p.cmd.Process.Pid }
