// SPDX-License-Identifier: Apache-2.0

//go:build root

package trust

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent/trust"
	"github.com/sallyport-dev/sallyport/test/lab"
	"github.com/sallyport-dev/sallyport/tlsca/authority"
	"github.com/sallyport-dev/sallyport/tlsca/leaf"
)

const host = "api.openai.com"

// role tells the test binary, run again, to be something else.
const role = "SALLYPORT_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "client":
		client(os.Stdin, os.Stdout)
		return
	case "agent":
		agent(os.Stdin, os.Stdout)
		return
	case "stepper", "units":
		do := stepper
		if os.Getenv(role) == "units" {
			do = units
		}
		if err := do(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(lab.InsideEnv) != "" {
		if err := lab.StandForHost(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests change mount namespaces: run them as root (sudo make test-root)")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// client is a Go program that makes one TLS connection per line "ADDRESS HOST".
func client(in io.Reader, out io.Writer) {
	fmt.Fprintln(out, "ready")
	for s := bufio.NewScanner(in); s.Scan(); {
		addr, name, _ := strings.Cut(s.Text(), " ")
		c, err := tls.Dial("tcp", addr, &tls.Config{ServerName: name})
		if err != nil {
			fmt.Fprintln(out, "no:", err)
			continue
		}
		c.Close()
		fmt.Fprintln(out, "ok")
	}
}

// agent is a Trust that adds roots for one process per line "LEDGER ROOTS PID HINT", and lives until it is killed.
func agent(in io.Reader, out io.Writer) {
	fmt.Fprintln(out, "ready")
	for s := bufio.NewScanner(in); s.Scan(); {
		f := strings.Fields(s.Text())
		root, err := os.ReadFile(f[1])
		if err != nil {
			fmt.Fprintln(out, "no:", err)
			continue
		}
		t, err := trust.New(trust.Options{Ledger: f[0], Roots: [][]byte{root}})
		if err == nil {
			pid, _ := strconv.Atoi(f[2])
			_, err = t.Apply(context.Background(), pid, 0, f[3:])
		}
		if err != nil {
			fmt.Fprintln(out, "no:", err)
			continue
		}
		fmt.Fprintln(out, "ok")
	}
}

// ca is a CA with a server that shows its leaf for whatever name is asked for.
type ca struct {
	*authority.Authority
	dir  string
	addr string
}

func newCA(t *testing.T, dir string, names ...string) *ca {
	t.Helper()
	a, err := authority.Open(authority.Options{Dir: dir, Names: names})
	if err != nil {
		t.Fatal(err)
	}
	certs, err := leaf.New(leaf.Options{Signer: a})
	if err != nil {
		t.Fatal(err)
	}
	c := &ca{Authority: a, dir: dir}
	c.addr = serve(t, func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return certs.Leaf(h.Context(), h.ServerName) })
	t.Cleanup(func() {
		if err := errors.Join(certs.Close(), a.Close()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// serve finishes handshakes and closes.
func serve(t *testing.T, get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: get})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func(c net.Conn) {
				defer c.Close()
				c.SetDeadline(time.Now().Add(10 * time.Second))
				if c.(*tls.Conn).Handshake() == nil {
					io.Copy(io.Discard, c)
				}
			}(c)
		}
	}()
	return l.Addr().String()
}

// program is a child that answers one line to each line.
type program struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// start runs a program and waits for its first line, "ready". Its environment is exactly env.
func start(t *testing.T, env []string, argv ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(argv[0], argv[1:]...)}
	p.cmd.Env = append([]string{"PATH=/usr/bin:/bin"}, env...)
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	if got := p.line(); got != "ready" {
		t.Fatalf("%v says %q", argv, got)
	}
	return p
}

func (p *program) line() string {
	p.t.Helper()
	timer := time.AfterFunc(30*time.Second, func() { p.cmd.Process.Kill() })
	defer timer.Stop()
	if !p.out.Scan() {
		p.t.Fatalf("%v ended: %v", p.cmd.Args, p.out.Err())
	}
	return p.out.Text()
}

func (p *program) ask(words ...string) string {
	p.t.Helper()
	if _, err := io.WriteString(p.in, strings.Join(words, " ")+"\n"); err != nil {
		p.t.Fatal(err)
	}
	return p.line()
}

func (p *program) stop() {
	p.in.Close()
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

func (p *program) pid() int { return p.cmd.Process.Pid }

// mounts is the mount table of the program.
func (p *program) mounts() string {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", p.pid()))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// startTime of the program in nanoseconds since boot, to the resolution of /proc.
func (p *program) startTime() uint64 {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid()))
	if err != nil {
		p.t.Fatal(err)
	}
	s := string(b)
	ticks, err := strconv.ParseUint(strings.Fields(s[strings.LastIndexByte(s, ')')+1:])[19], 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return ticks*10_000_000 + 1234 // the kernel's figure is finer than /proc
}

// python connects: "system ADDRESS HOST" with a default context, "file PATH ADDRESS HOST" with that bundle alone; it
// does "chroot DIR" and "unshare" too.
const python = `
import encodings.idna, ctypes, os, socket, ssl, subprocess, sys
print("ready", flush=True)
for line in sys.stdin:
    f = line.split()
    try:
        if f[0] == "chroot":
            os.chroot(f[1]); os.chdir("/")
            print("ok", flush=True)
            continue
        if f[0] == "nest":
            nested = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sleep", "1000"])
            print(nested.pid, flush=True)
            continue
        if f[0] == "mount":
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.mount(f[1].encode(), f[2].encode(), None, 4096, None) != 0:
                raise OSError(ctypes.get_errno(), "mount")
            print("ok", flush=True)
            continue
        if f[0] == "umount":
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.umount2(f[1].encode(), 2) != 0:
                raise OSError(ctypes.get_errno(), "umount")
            print("ok", flush=True)
            continue
        context = ssl.create_default_context(cafile=f[1] if f[0] == "file" else None)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        address, port = f[-2].split(":")
        with socket.create_connection((address, int(port))) as s:
            with context.wrap_socket(s, server_hostname=f[-1]):
                print("ok", flush=True)
    except Exception as e:
        print("no:", str(e).replace("\n", " "), flush=True)
`

// namespaced runs Python in a mount namespace of its own.
func namespaced(t *testing.T, env ...string) *program {
	t.Helper()
	return start(t, env, "unshare", "-m", "--propagation", "private", "python3", "-u", "-c", python)
}

// site is a folder as Python installs packages in, with a copy of the system's bundle as certifi's.
type site struct{ packages, certifi, hint string }

func newSite(t *testing.T, dir string) site {
	t.Helper()
	packages := filepath.Join(dir, "venv/lib/python3.11/site-packages")
	s := site{packages, filepath.Join(packages, "certifi/cacert.pem"), filepath.Join(packages, "langchain_core/__init__.py")}
	copyBundle(t, s.certifi)
	return s
}

func copyBundle(t *testing.T, to string) {
	t.Helper()
	b, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func newTrust(t *testing.T, c *ca, ledger string) *trust.Trust {
	t.Helper()
	o := trust.Options{Ledger: ledger, RootsFile: filepath.Join(filepath.Dir(ledger), "roots.pem")}
	if c != nil {
		o.Roots = c.RootsPEM()
	}
	tr, err := trust.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close(context.Background()) })
	return tr
}

func apply(t *testing.T, tr *trust.Trust, p *program, hints ...string) trust.Result {
	t.Helper()
	r, err := tr.Apply(t.Context(), p.pid(), p.startTime(), hints)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func remove(t *testing.T, tr *trust.Trust) []trust.Change {
	t.Helper()
	changes, err := tr.Remove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func wantOK(t *testing.T, what, answer string) {
	t.Helper()
	if answer != "ok" {
		t.Errorf("%s: %s", what, answer)
	}
}

func wantNo(t *testing.T, what, answer, why string) {
	t.Helper()
	if !strings.HasPrefix(answer, "no:") || !strings.Contains(answer, why) {
		t.Errorf("%s: %q, want a refusal because of %q", what, answer, why)
	}
}

func status(t *testing.T, tr *trust.Trust) []trust.Change {
	t.Helper()
	list, err := tr.Status()
	if err != nil {
		t.Fatal(err)
	}
	return list
}
