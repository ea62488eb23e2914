// SPDX-License-Identifier: Apache-2.0

//go:build root

package trust

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent/trust/inspector"
)

// nodeScript connects for each line "ADDRESS HOST"; "usr1" sets a handler of its own.
const nodeScript = `
const https = require('https');
require('readline').createInterface({input: process.stdin}).on('line', line => {
  if (line === 'usr1') { process.on('SIGUSR1', () => {}); console.log('ok'); return }
  const [address, host] = line.split(' '), [ip, port] = address.split(':');
  const req = https.request({host: ip, port, servername: host, agent: false}, () => {});
  req.on('socket', s => s.on('secureConnect', () => { console.log('ok'); req.destroy() }));
  req.on('error', e => { if (e.code !== 'ECONNRESET') console.log('no: ' + e.code) });
});
console.log('ready');
`

// nodes are the versions to test: the one of the PATH, and those that NODES lists.
func nodes(t *testing.T) []string {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("Node.js is needed: make deps")
	}
	return append([]string{path}, filepath.SplitList(os.Getenv("NODES"))...)
}

func (p *program) process() inspector.Process {
	return inspector.Process{PID: p.pid(), Start: p.startTime()}
}

// listens says whether the program listens at the inspector's port, as /proc of its own network namespace shows it.
func (p *program) listens() bool {
	return strings.Contains(read(p.t, fmt.Sprintf("/proc/%d/net/tcp", p.pid())), "0100007F:240D 00000000:0000 0A")
}

// alone runs a program in a network namespace of its own, where port 9229 is nobody else's, with a loopback that leads to the
// server.
func alone(t *testing.T, env []string, argv ...string) *program {
	t.Helper()
	return start(t, env, append([]string{"unshare", "-n", "sh", "-c", `ip link set lo up && exec "$@"`, "sh"}, argv...)...)
}

func TestInspector(t *testing.T) {
	for _, node := range nodes(t) {
		out, err := exec.Command(node, "--version").Output()
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSpace(string(out)), func(t *testing.T) {
			dir := t.TempDir()
			c := newCA(t, filepath.Join(dir, "ca"), host)
			file := filepath.Join(dir, "open")
			i := inspector.New(file)
			p := start(t, nil, node, "-e", nodeScript)
			wantNo(t, "before", p.ask(c.addr, host), "UNABLE_TO_GET_ISSUER_CERT_LOCALLY")
			for _, want := range []string{"", "already"} {
				how, err := i.Add(t.Context(), p.process(), c.RootsPEM())
				if err != nil || want != "" && how != want || how != "default" && how != "patched" && how != "already" {
					t.Fatalf("%q, %v", how, err)
				}
				wantOK(t, "after", p.ask(c.addr, host))
				if p.listens() {
					t.Error("the inspector is open")
				}
			}
			if left := read(t, file); left != "[]\n" {
				t.Errorf("noted as open: %s", left)
			}
			q := alone(t, nil, node, "-e", nodeScript)
			if how, err := i.Add(t.Context(), q.process(), c.RootsPEM()); err != nil {
				t.Errorf("in a network namespace of its own: %q, %v", how, err)
			}
			if q.listens() {
				t.Error("the inspector is open")
			}
		})
	}
}

// TestInspectorRefuses: programs that must not be sent the signal are not, and what does not work is said.
func TestInspectorRefuses(t *testing.T) {
	node := nodes(t)[0]
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	i := inspector.New(filepath.Join(dir, "open"))
	add := func(t *testing.T, p *program, process inspector.Process, want string) {
		t.Helper()
		if how, err := i.Add(t.Context(), process, c.RootsPEM()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q, %v: want %q", how, err, want)
		}
		if err := syscall.Kill(p.pid(), 0); err != nil {
			t.Error("the program has ended")
		}
	}
	t.Run("a program that is called node and would die of the signal", func(t *testing.T) {
		fake := filepath.Join(dir, "node")
		b := read(t, "/bin/sh")
		if err := os.WriteFile(fake, []byte(b), 0o755); err != nil {
			t.Fatal(err)
		}
		p := start(t, nil, fake, "-c", "echo ready; while read x; do echo $x; done")
		add(t, p, p.process(), "does not handle SIGUSR1")
		if got := p.ask("alive"); got != "alive" {
			t.Errorf("it says %q", got)
		}
	})
	t.Run("a program that is not Node", func(t *testing.T) {
		p := start(t, nil, "python3", "-u", "-c", python)
		add(t, p, p.process(), "is not Node.js")
	})
	t.Run("another process of that number", func(t *testing.T) {
		p := start(t, nil, node, "-e", nodeScript)
		add(t, p, inspector.Process{PID: p.pid(), Start: p.startTime() - 20_000_000}, "has ended")
	})
	t.Run("a handler of its own", func(t *testing.T) {
		p := alone(t, nil, node, "-e", nodeScript)
		wantOK(t, "handler", p.ask("usr1"))
		add(t, p, p.process(), "opened no inspector")
	})
	t.Run("another program has the port", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:9229")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		p := start(t, nil, node, "-e", nodeScript)
		add(t, p, p.process(), "opened no inspector")
		wantNo(t, "after", p.ask(c.addr, host), "UNABLE_TO_GET_ISSUER_CERT_LOCALLY")
	})
}

// TestInspectorRecover: what a killed agent left open is closed by the next; what the program's owner opened is not.
func TestInspectorRecover(t *testing.T) {
	node := nodes(t)[0]
	dir := t.TempDir()
	file := filepath.Join(dir, "open")
	p := alone(t, nil, node, "-e", nodeScript)
	note := fmt.Sprintf(`[{"pid":%d,"start":%d}]`, p.pid(), p.startTime())
	if err := os.WriteFile(file, []byte(note), 0o600); err != nil {
		t.Fatal(err)
	}
	i := inspector.New(file)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if n, err := i.Recover(ctx); n != 1 || err != nil || read(t, file) != note {
		t.Errorf("before it opened: %d, %v, %s", n, err, read(t, file))
	}
	if err := syscall.Kill(p.pid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	await(t, p.listens)
	if n, err := i.Recover(ctx); n != 1 || err != nil || read(t, file) != "[]\n" {
		t.Errorf("%d, %v, %s", n, err, read(t, file))
	}
	if p.listens() {
		t.Error("the inspector is open")
	}
	own := alone(t, nil, node, "--inspect", "-e", nodeScript)
	c := newCA(t, filepath.Join(dir, "ca"), host)
	if how, err := i.Add(ctx, own.process(), c.RootsPEM()); err == nil {
		t.Errorf("a debugging session of its owner was used: %s", how)
	}
	if _, err := i.Recover(ctx); err != nil || !own.listens() {
		t.Errorf("a debugging session of its owner was closed: %v", err)
	}
}
