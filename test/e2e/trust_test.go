// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/test/lab"
)

// tryScript makes one TLS connection for each line "BUNDLE HOST", with that bundle as its only store, or "-" for the
// system's; it stays until its input ends.
const tryScript = `
import os, socket, ssl, sys
print(os.getpid(), flush=True)
for line in sys.stdin:
    bundle, host = line.split()
    try:
        context = ssl.create_default_context(cafile=None if bundle == "-" else bundle)
        with socket.create_connection((host, 443)) as s, context.wrap_socket(s, server_hostname=host) as t:
            print("issuer", dict(x[0] for x in t.getpeercert()["issuer"])["commonName"], flush=True)
    except Exception as e:
        print("no:", str(e).replace("\n", " "), flush=True)
`

// nodeTryScript does the same with what Node trusts.
const nodeTryScript = `
const tls = require('tls');
console.log(process.pid);
require('readline').createInterface({input: process.stdin}).on('line', line => {
  const host = line.split(' ')[1], s = tls.connect(443, host, {servername: host}, () => { console.log('issuer', s.getPeerCertificate().issuer.CN); s.destroy() });
  s.on('error', e => console.log('no:', e.code));
});
`

// trier is a program that connects when it is told to.
type trier struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Scanner
	pid string
}

func (w *world) trier(cgroup string, args ...string) *trier {
	w.t.Helper()
	hosts := map[string]string{"api.openai.com": w.lab.Fake.String(), "api.mistral.ai": w.lab.Fake.String()}
	cmd, cleanup, err := w.lab.Command(w.t.Context(), lab.App{Cgroup: cgroup, Hosts: hosts, Env: []string{"PATH=/usr/bin:/bin"}, Args: args})
	must(w.t, err)
	a := &trier{t: w.t}
	a.in, err = cmd.StdinPipe()
	must(w.t, err)
	out, err := cmd.StdoutPipe()
	must(w.t, err)
	a.out = bufio.NewScanner(out)
	must(w.t, w.lab.Start(cgroup, cmd))
	w.t.Cleanup(func() { a.in.Close(); _ = cmd.Wait(); cleanup() })
	a.pid = a.line()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) { // what it reads before that proves nothing
		table, err := os.ReadFile("/proc/" + a.pid + "/mountinfo")
		must(w.t, err)
		if changed(string(table)) {
			return a
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("its stores are not changed:\n%s", table)
		}
	}
}

func (a *trier) line() string {
	a.t.Helper()
	if !a.out.Scan() {
		a.t.Fatalf("the program ended: %v", a.out.Err())
	}
	return a.out.Text()
}

func (a *trier) ask(bundle, host string) string {
	a.t.Helper()
	_, err := io.WriteString(a.in, bundle+" "+host+"\n")
	must(a.t, err)
	return a.line()
}

// trusting is what `trust status` says of a process.
type trusting struct {
	PID             int
	Kind, State     string
	Proven          bool
	Why, Mend, Host string
}

func (w *world) trusting(pid string) (out trusting) {
	w.t.Helper()
	var status struct{ Processes []trusting }
	w.json(&status, "trust", "status", "-o", "json")
	for _, p := range status.Processes {
		if fmt.Sprint(p.PID) == pid {
			return p
		}
	}
	return out
}

const ourIssuer = "issuer Sallyport"

// python is the system's: what others install may read stores as it starts.
const python = "/usr/bin/python3"

// TestDistrust: a program that uses a store of its own is told from one that read ours, and shown with the mend; where
// the alternative is to relay unread it notices us at most once.
func TestDistrust(t *testing.T) {
	w := newWorld(t, "")
	own := filepath.Join(filepath.Dir(w.d.Config), "fake-ca.pem") // trusts the provider, and nobody else
	const host = "api.openai.com"

	strict := w.trier(enforced, python, "-u", "-c", tryScript)
	if got := strict.ask(own, host); !strings.HasPrefix(got, "no:") {
		t.Errorf("a program that trusts the provider alone: %q", got)
	}
	got := w.trusting(strict.pid)
	if got.Kind != "python" || got.State != "refused" || got.Proven || !strings.Contains(got.Mend, "restart the program") || got.Host != host {
		t.Errorf("shown as %+v", got)
	}
	for _, args := range [][]string{{"status"}, {"trust", "status"}, {"why", strict.pid}} {
		if out, err := w.d.CLI(t.Context(), args...); err != nil || !strings.Contains(out, "restart the program") {
			t.Errorf("%v: %v: %s", args, err, out)
		}
	}
	if got := strict.ask("-", host); !strings.HasPrefix(got, ourIssuer) {
		t.Errorf("a client of the same program that reads our store: %q", got)
	}
	if got := w.trusting(strict.pid); !got.Proven {
		t.Errorf("shown as %+v", got)
	}

	easy := w.trier(observed, python, "-u", "-c", tryScript)
	if got := easy.ask(own, host); !strings.HasPrefix(got, "issuer fake") && strings.HasPrefix(got, "no:") || strings.HasPrefix(got, ourIssuer) {
		t.Errorf("not proven, and yet not left alone: %q", got)
	}
	if got := w.trusting(easy.pid); got.Proven || got.State != "unread" {
		t.Errorf("shown as %+v", got)
	}
	if got := easy.ask("-", host); !strings.HasPrefix(got, ourIssuer) {
		t.Errorf("proven by its reading: %q", got)
	}
	if got := easy.ask(own, host); !strings.HasPrefix(got, "no:") {
		t.Errorf("a client with a store of its own in a program that is proven: %q", got)
	}
	if got := easy.ask(own, host); strings.HasPrefix(got, "no:") || strings.HasPrefix(got, ourIssuer) {
		t.Errorf("not left alone after it refused us: %q", got)
	}
}

// TestNewEndpoint: a name that is added makes a new root; a program that runs keeps its proof for the old name, has none
// for the new one, and gets it by reading its store again.
func TestNewEndpoint(t *testing.T) {
	w := newWorld(t, "")
	p := w.trier(observed, python, "-u", "-c", tryScript)
	const old, added = "api.openai.com", "api.mistral.ai"
	if got := p.ask("-", old); !strings.HasPrefix(got, ourIssuer) {
		t.Fatalf("before: %q", got)
	}
	bundle := filepath.Join(filepath.Dir(w.d.Config), "before.pem")
	raw, err := os.ReadFile("/proc/" + p.pid + "/root/etc/ssl/certs/ca-certificates.crt")
	must(t, err)
	must(t, os.WriteFile(bundle, raw, 0o644)) // what the program has in memory
	must(t, w.d.Stop(t.Context()))
	w.conf = strings.Replace(w.conf, "endpoints: [", "endpoints: [{name: mistral, host: "+added+", port: 443, protocol: openai}, ", 1)
	w.start()
	if got := p.ask(bundle, old); !strings.HasPrefix(got, ourIssuer) {
		t.Errorf("the old name, with the old roots: %q", got)
	}
	if got := p.ask(bundle, added); strings.HasPrefix(got, ourIssuer) {
		t.Errorf("the new name, with the old roots: %q", got)
	}
	if got := w.trusting(p.pid); got.Proven || got.Host != added {
		t.Errorf("shown as %+v", got)
	}
	if got := p.ask("-", added); !strings.HasPrefix(got, ourIssuer) {
		t.Errorf("the new name, read again: %q", got)
	}
}

// TestNodeInspector: a running Node.js program that read no store of ours gets our root through its inspector if that is
// wanted, at its first connection.
func TestNodeInspector(t *testing.T) {
	node, err := exec.LookPath("node")
	must(t, err)
	w := newWorld(t, "")
	const host = "api.openai.com"
	p := w.trier(enforced, node, "-e", nodeTryScript)
	if got := p.ask("-", host); !strings.HasPrefix(got, "no:") {
		t.Errorf("without the inspector: %q", got)
	}
	if got := w.trusting(p.pid); got.Kind != "node" || !strings.Contains(got.Mend, "NODE_EXTRA_CA_CERTS") || !strings.Contains(got.Mend, "trust.node_inspector") {
		t.Errorf("shown as %+v", got)
	}
	must(t, w.d.Stop(t.Context()))
	w.conf = strings.Replace(w.conf, "trust: {", "trust: {node_inspector: true, ", 1)
	w.start()
	if got := p.ask("-", host); !strings.HasPrefix(got, ourIssuer) {
		t.Errorf("with the inspector: %q", got)
	}
	if got := w.trusting(p.pid); !got.Proven {
		t.Errorf("shown as %+v", got)
	}
	if table, err := os.ReadFile("/proc/" + p.pid + "/net/tcp"); err != nil || strings.Contains(string(table), "0100007F:240D 00000000:0000 0A") {
		t.Errorf("the inspector is open: %v", err)
	}
	if !w.logged("added to a running program through its inspector") {
		t.Error("not logged")
	}
}
