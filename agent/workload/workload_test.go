// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// fakeProc is a /proc with one process, 42.
type fakeProc struct {
	t   *testing.T
	dir string
}

func newFakeProc(t *testing.T) fakeProc {
	f := fakeProc{t, t.TempDir()}
	exe := filepath.Join(f.dir, "python3")
	f.write("python3", "x")
	f.stat("42", "py (thon) 3", 12345)
	f.write("42/cgroup", "3:cpuset:/v1\n0::/system.slice/app.service\n")
	f.write("42/status", "Name:\tx\nUid:\t1001\t1002\t1003\t1004\n")
	f.write("42/loginuid", "1000")
	if err := os.Symlink(exe, filepath.Join(f.dir, "42", "exe")); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f fakeProc) write(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f fakeProc) stat(pid, comm string, ticks uint64) {
	f.write(pid+"/stat", fmt.Sprintf("%s (%s) S 1 1 1 0 -1 4194560 1 1 0 0 1 1 0 0 20 0 1 0 %d 1 1\n", pid, comm, ticks))
}

func (f fakeProc) identifier(o Options) *Identifier {
	f.t.Helper()
	o.ProcRoot, o.TrustDomain = f.dir, "example.org"
	if o.Person == nil {
		o.Person = func(uid uint32) (string, []string, error) {
			if uid != 1000 {
				return "", nil, errors.New("nobody")
			}
			return "ann", []string{"ops", "dev"}, nil
		}
	}
	i, err := New(o)
	if err != nil {
		f.t.Fatal(err)
	}
	return i
}

var proc42 = agent.Process{TGID: 42, Start: 12345*nsPerTick + 999, UID: 1000, LoginUID: 1000, Comm: "python", CgroupID: 7}

func TestIdentify(t *testing.T) {
	f := newFakeProc(t)
	w, p, err := f.identifier(Options{Template: "unit/{unit}"}).Identify(t.Context(), proc42)
	if err != nil {
		t.Fatal(err)
	}
	wantW := pipeline.Workload{PID: 42, Start: proc42.Start, Comm: "py (thon) 3", Exe: filepath.Join(f.dir, "python3"),
		Cgroup: "/system.slice/app.service", Unit: "app.service", UID: 1000, LoginUID: 1000}
	wantP := pipeline.Principal{SPIFFEID: "spiffe://example.org/unit/app.service", Source: "template", User: "ann", Groups: []string{"ops", "dev"}}
	if diff := cmp.Diff(wantW, w) + cmp.Diff(wantP, p); diff != "" {
		t.Error(diff)
	}
}

func TestIdentifyFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(fakeProc)
		gone   bool
		want   string
	}{
		{"another process has the pid", func(f fakeProc) { f.stat("42", "x", 12346) }, true, "ended"},
		{"no process", func(f fakeProc) { os.RemoveAll(filepath.Join(f.dir, "42")) }, true, "ended"},
		{"no cgroup v2", func(f fakeProc) { f.write("42/cgroup", "3:cpuset:/v1\n") }, false, "in no cgroup v2"},
		{"outside our cgroup namespace", func(f fakeProc) { f.write("42/cgroup", "0::/../../app.service\n") }, false, "above ours"},
		{"short stat", func(f fakeProc) { f.write("42/stat", "42 (x) S 1\n") }, false, "short stat line"},
		{"no stat", func(f fakeProc) { f.write("42/stat", "") }, false, "unreadable stat line"},
		{"start is no number", func(f fakeProc) {
			f.write("42/stat", "42 (x) "+strings.Repeat("a ", 30))
		}, false, "start time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeProc(t)
			c.change(f)
			w, p, err := f.identifier(Options{Template: "unit/{unit}"}).Identify(t.Context(), proc42)
			if err == nil || errors.Is(err, ErrGone) != c.gone || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
			if diff := cmp.Diff(pipeline.Workload{}, w) + cmp.Diff(pipeline.Principal{}, p); diff != "" {
				t.Error("something is known of it", diff)
			}
		})
	}
}

// TestPidReusedWhileReading gives the pid to another process after the first look at it.
func TestPidReusedWhileReading(t *testing.T) {
	f := newFakeProc(t)
	name := filepath.Join(f.dir, "42", "cgroup")
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	var swap sync.WaitGroup
	swap.Go(func() {
		w, err := os.OpenFile(name, os.O_WRONLY, 0) // waits until the reader is between its two looks
		if err != nil {
			t.Error(err)
			return
		}
		f.stat("42", "other", 99999)
		_, err = w.WriteString("0::/system.slice/privileged.service\n")
		if err := errors.Join(err, w.Close()); err != nil {
			t.Error(err)
		}
	})
	_, p, err := f.identifier(Options{Template: "unit/{unit}"}).Identify(t.Context(), proc42)
	swap.Wait()
	if !errors.Is(err, ErrGone) || p.SPIFFEID != "" {
		t.Errorf("got %+v, %v", p, err)
	}
}

// A process without a login may name any user as its own: that makes it nobody.
func TestSignedIn(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for _, c := range []struct {
		name, cgroup string
		uid, login   uint32
		want         string
	}{
		{"that user", "/system.slice/cron.service", 1000, 1000, "ann"},
		{"root by sudo", "/system.slice/ssh.service", 0, 1000, "ann"},
		{"another by sudo", "/user.slice/user-1000.slice/session-3.scope", 1001, 1000, "ann"},
		{"a service that names a user", "/system.slice/app.service", 1001, 1000, ""},
		{"another user that names one", "/user.slice/user-1001.slice/session-3.scope", 1001, 1000, ""},
		{"a slice like it", "/user.slice/user-10001.slice/session-3.scope", 1001, 1000, ""},
		{"root of a container", "/system.slice/docker-" + id + ".scope", 0, 1000, ""},
		{"a container's user with the same uid", "/system.slice/docker-" + id + ".scope", 1000, 1000, ""},
		{"a person's own container", "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope", 100000, 1000, "ann"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeProc(t)
			f.write("42/cgroup", "0::"+c.cgroup+"\n")
			proc := proc42
			proc.UID, proc.LoginUID = c.uid, c.login
			w, p, err := f.identifier(Options{}).Identify(t.Context(), proc)
			if err != nil || p.User != c.want || len(p.Groups) > 0 != (c.want != "") || w.LoginUID != c.login {
				t.Errorf("%+v, %+v, %v", w, p, err)
			}
		})
	}
}

func TestNobody(t *testing.T) {
	f := newFakeProc(t)
	f.write("42/cgroup", "0::/\n")
	p42 := proc42
	p42.LoginUID = agent.NoLogin
	_, p, err := f.identifier(Options{Template: "unit/{unit}"}).Identify(t.Context(), p42)
	if diff := cmp.Diff(pipeline.Principal{}, p); err != nil || diff != "" {
		t.Error(err, diff)
	}
	p42.LoginUID = 4711
	if _, p, err = f.identifier(Options{}).Identify(t.Context(), p42); err != nil || p.User != "" {
		t.Errorf("a user that is not known: got %+v, %v", p, err)
	}
}

func TestExe(t *testing.T) {
	f := newFakeProc(t)
	p := proc{f.dir}
	path := filepath.Join(f.dir, "python3")
	if got, sure := p.exe(42); got != path || !sure {
		t.Errorf("got %s, %v", got, sure)
	}
	if got, sure := p.exe(43); got != "" || sure {
		t.Errorf("of no process: got %s, %v", got, sure)
	}
	// A real process whose file was removed, then replaced.
	prog := filepath.Join(t.TempDir(), "prog")
	cat, err := os.ReadFile("/bin/cat")
	if err == nil {
		err = os.WriteFile(prog, cat, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(prog)
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	pid := uint32(cmd.Process.Pid)
	if got, sure := (proc{"/proc"}).exe(pid); got != prog || !sure {
		t.Errorf("running: got %s, %v", got, sure)
	}
	if err := os.Remove(prog); err != nil {
		t.Fatal(err)
	}
	if got, sure := (proc{"/proc"}).exe(pid); got != prog || sure {
		t.Errorf("removed: got %s, %v", got, sure)
	}
	if err := os.WriteFile(prog, []byte("another"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, sure := (proc{"/proc"}).exe(pid); got != prog || sure {
		t.Errorf("replaced: got %s, %v", got, sure)
	}
}

// TestRealProcess identifies this very process.
func TestRealProcess(t *testing.T) {
	i, err := New(Options{TrustDomain: "example.org", Template: "exe/{exe}"})
	if err != nil {
		t.Fatal(err)
	}
	w, err := i.Look(uint32(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if w.Exe != self || w.UID != uint32(os.Getuid()) || w.Cgroup == "" || w.Comm == "" {
		t.Errorf("got %+v", w)
	}
	got, p, err := i.Identify(t.Context(), agent.Process{TGID: w.PID, Start: w.Start, UID: w.UID, LoginUID: w.LoginUID})
	if err != nil || !cmp.Equal(got, w) || !strings.HasPrefix(p.SPIFFEID, "spiffe://example.org/exe/_2f") {
		t.Errorf("got %+v, %+v, %v", got, p, err)
	}
	if _, _, err := i.Identify(t.Context(), agent.Process{TGID: w.PID, Start: w.Start + nsPerTick}); !errors.Is(err, ErrGone) {
		t.Errorf("with another start time: got %v", err)
	}
	if _, err := i.Look(1 << 31); !errors.Is(err, ErrGone) {
		t.Errorf("no such process: got %v", err)
	}
}

func TestLook(t *testing.T) {
	f := newFakeProc(t)
	w, err := f.identifier(Options{}).Look(42)
	if err != nil || w.UID != 1001 || w.LoginUID != 1000 || w.Start != 12345*nsPerTick {
		t.Errorf("got %+v, %v", w, err)
	}
	f.write("42/status", "Name:\tx\n")
	if _, err := f.identifier(Options{}).Look(42); err == nil {
		t.Error("a process without a uid was accepted")
	}
}

// TestRemembers: an answer is used again for a second, and only for the same process, uid and cgroup.
func TestRemembers(t *testing.T) {
	f := newFakeProc(t)
	asked := 0
	i := f.identifier(Options{Template: "unit/{unit}", Person: func(uint32) (string, []string, error) { asked++; return strconv.Itoa(asked), nil, nil }})
	synctest.Test(t, func(t *testing.T) {
		unit := func(p agent.Process) string {
			w, _, err := i.Identify(context.Background(), p)
			if err != nil {
				t.Error(err)
			}
			return w.Unit
		}
		if got := unit(proc42); got != "app.service" {
			t.Errorf("got %s", got)
		}
		f.write("42/cgroup", "0::/system.slice/other.service\n")
		if got := unit(proc42); got != "app.service" {
			t.Errorf("not remembered: got %s", got)
		}
		moved := proc42
		moved.CgroupID++
		if got := unit(moved); got != "other.service" {
			t.Errorf("in another cgroup: got %s", got)
		}
		time.Sleep(remembered)
		if got := unit(proc42); got != "other.service" || asked != 1 {
			t.Errorf("later: got %s, asked %d times", got, asked)
		}
		time.Sleep(personsPeriod)
		if unit(proc42); asked != 2 {
			t.Errorf("the user was asked for %d times", asked)
		}
		for n := range maxRemember + 1 {
			p := proc42
			p.CgroupID = uint64(n)
			unit(p)
		}
		if len(i.cache) > maxRemember {
			t.Errorf("%d answers are remembered", len(i.cache))
		}
	})
}

func FuzzStat(f *testing.F) {
	f.Add([]byte("42 (a) b) S " + strings.Repeat("1 ", 40)))
	f.Add([]byte("42 (a"))
	f.Add([]byte(")("))
	dir := f.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "42"), 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, "42", "stat"), b, 0o644); err != nil {
			t.Fatal(err)
		}
		if st, err := (proc{dir}).stat(42); err != nil && (st != stat{}) {
			t.Errorf("got %+v with %v", st, err)
		}
	})
}

func BenchmarkIdentify(b *testing.B) {
	i, err := New(Options{TrustDomain: "example.org", Template: "unit/{unit}"})
	if err != nil {
		b.Fatal(err)
	}
	w, err := i.Look(uint32(os.Getpid()))
	if err != nil {
		b.Fatal(err)
	}
	p := agent.Process{TGID: w.PID, Start: w.Start, LoginUID: agent.NoLogin}
	b.Run("remembered", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := i.Identify(b.Context(), p); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			p.CgroupID++
			if _, _, err := i.Identify(b.Context(), p); err != nil {
				b.Fatal(err)
			}
		}
	})
}
