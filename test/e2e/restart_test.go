// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/test/lab"
)

// connects opens connections from eight threads until a file appears. A proxy that enforces closes them without an answer;
// the provider itself answers plain HTTP on its TLS port with some bytes.
const connects = `
import os, socket, sys, threading
host, stop = sys.argv[1], sys.argv[2]
done = {"proxied": 0, "direct": 0, "failed": 0}
lock = threading.Lock()
def work():
    while not os.path.exists(stop):
        s = socket.socket()
        s.settimeout(60)
        kind = "failed"
        try:
            if s.connect_ex((host, 443)) == 0:
                s.sendall(b"GET / HTTP/1.0\r\n\r\n")
                try:
                    kind = "direct" if s.recv(100) else "proxied"
                except ConnectionResetError:
                    kind = "proxied"
        except OSError as e:
            print(e, file=sys.stderr)
        s.close()
        with lock:
            done[kind] += 1
threads = [threading.Thread(target=work) for _ in range(8)]
for t in threads: t.start()
for t in threads: t.join()
print(done["proxied"], done["direct"], done["failed"])
`

// TestRestartsLoseNothing restarts the daemon under a service manager that keeps its sockets, again and again, while
// programs connect: none of them goes direct, none is refused, no stream is cut within the drain time. RESTARTS says how often (3).
func TestRestartsLoseNothing(t *testing.T) {
	restarts := 3
	if n, err := strconv.Atoi(os.Getenv("RESTARTS")); err == nil && n > 0 {
		restarts = n
	}
	w := newWorld(t, "")
	ctx := t.Context()
	must(t, w.d.Stop(ctx))
	dir := filepath.Dir(w.d.Config)
	m, err := lab.NewManager(dir)
	must(t, err)
	t.Cleanup(func() { must(t, m.Close()) })
	w.lab.Manager = m
	w.start()

	stop := filepath.Join(dir, "stop")
	py := filepath.Join(root(t), "build", "venv-current", "bin", "python")
	cmd, cleanup, err := w.lab.Command(ctx, lab.App{Cgroup: enforced, Args: []string{py, "-c", connects, w.lab.Fake.String(), stop}})
	must(t, err)
	defer cleanup()
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	must(t, w.lab.Start(enforced, cmd))

	for i := range restarts {
		// A stream that is running when the daemon is told to stop comes to its end.
		stream := make(chan string, 1)
		if i == 0 {
			app := w.app(enforced, "current", "stream.py", "pace 10ms long 60")
			scmd, sclean, err := w.lab.Command(ctx, app)
			must(t, err)
			defer sclean()
			pipe, err := scmd.StdoutPipe()
			must(t, err)
			must(t, w.lab.Start(enforced, scmd))
			first := make([]byte, 1)
			if _, err := pipe.Read(first); err != nil {
				t.Fatal(err)
			}
			go func() { stream <- finish(scmd, pipe) }()
		} else {
			close(stream)
		}
		must(t, w.d.Stop(ctx))
		if why := <-stream; why != "" {
			t.Errorf("a stream within the drain time: %s", why)
		}
		w.start()
	}
	must(t, os.WriteFile(stop, nil, 0o644))
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, errOut.String())
	}
	counts := strings.Fields(out.String())
	if len(counts) != 3 || counts[0] == "0" || counts[1] != "0" || counts[2] != "0" {
		t.Errorf("proxied, direct, failed: %v (%s)", counts, errOut.String())
	}
	t.Logf("%d restarts; proxied, direct, failed: %v", restarts, counts)
	w.covered()
	if s := m.States(); !slices.Contains(s, "READY=1") || !slices.Contains(s, "STOPPING=1") {
		t.Errorf("the manager heard %q", s)
	}
	if out := w.run(w.app(enforced, "current", "plain.py", "say: again")); out != "again\n" {
		t.Errorf("after the restarts: %q", out)
	}

	// Killed, nobody comes back: the sockets that the manager keeps do not keep the scope open.
	must(t, w.d.Kill())
	deadline := time.Now().Add(10 * time.Second)
	for connectError(t, w, enforced) != "111" {
		if time.Now().After(deadline) {
			t.Fatal("after kill -9, connections are still taken into a queue that nobody reads")
		}
	}
	// Stopped for good: the manager closes the sockets, and the scope is refused at once.
	w.start()
	must(t, w.d.Stop(ctx))
	m.Drop()
	if code := connectError(t, w, enforced); code != "111" {
		t.Errorf("after a stop, connect gave errno %q, want 111", code)
	}
}

// finish reads the rest of a program's output and says what went wrong, "" for nothing.
func finish(cmd *exec.Cmd, pipe interface{ Read([]byte) (int, error) }) string {
	var b strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := pipe.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		return err.Error() + " after " + b.String()
	}
	return ""
}
