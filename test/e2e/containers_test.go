// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/test/lab"
)

// hold is what runs in a container: it shows its mounts, runs the program, and shows them again when it is told to.
const hold = `
echo MOUNTS; cat /proc/self/mountinfo; echo END
"$@" && echo RAN || echo FAILED
while read line; do echo MOUNTS; cat /proc/self/mountinfo; echo END; done
`

// pivot makes a root of its own out of the host's, by an overlay, as container runtimes do. LAYOUT changes it before the
// host's goes; READONLY=1 then closes it.
const pivot = `
set -e
mount -t tmpfs box "$BOX"
mkdir "$BOX/up" "$BOX/wk" "$BOX/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$BOX/up,workdir=$BOX/wk" "$BOX/root"
cd "$BOX/root"
cp "$HOSTS" etc/hosts
mount -t proc proc proc
mount --rbind /dev dev
eval "$LAYOUT"
mkdir old
pivot_root . old
cd /
umount -l /old
[ -z "$READONLY" ] || mount -o remount,ro /
if [ -z "$INNER" ]; then exec /bin/sh -c "$HOLD" sh "$@"; fi
exec /bin/sh -c "$INNER" sh /bin/sh -c "$HOLD" sh "$@"
`

// box is a running container.
type box struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
	before string // its mount table before the program ran
	said   []string
}

// container is how one is made.
type container struct {
	name     string
	layout   string // shell, in the new root
	readonly bool
	inner    string // shell in it that runs "$@", which holds
	venvs    []string
	fails    bool // the program finds no store that it reads
}

var containers = []container{
	{name: "overlay"},
	{name: "read-only root", readonly: true},
	{name: "user namespace of root", inner: `exec unshare -U -r -m --propagation private "$@"`},
	{name: "user namespace of somebody", layout: `chmod a+rx root root/.pyenv 2>/dev/null || true`,
		inner: `exec setpriv --reuid=65534 --regid=65534 --clear-groups unshare -U -r -m --propagation private "$@"`},
	{name: "peers", inner: `mount --make-rshared /; unshare -m --propagation unchanged sleep 1000 </dev/null >/dev/null 2>&1 & echo PEER $!; exec "$@"`},
	{name: "only a bundle", venvs: []string{"current"}, layout: `rm -rf usr/lib/ssl/certs; cp -L etc/ssl/certs/ca-certificates.crt b; rm -rf etc/ssl/certs; mkdir -p etc/ssl/certs; mv b etc/ssl/certs/ca-certificates.crt`},
	{name: "only hashes", venvs: []string{"current"}, layout: `rm -f usr/lib/ssl/cert.pem etc/ssl/certs/ca-certificates.crt`},
	{name: "as on musl", venvs: []string{"current"}, layout: `cp -L etc/ssl/certs/ca-certificates.crt etc/ssl/cert.pem; rm -rf etc/ssl/certs usr/lib/ssl/certs; ln -sf /etc/ssl/cert.pem usr/lib/ssl/cert.pem`},
	{name: "no system store, certifi", venvs: []string{"0.3"}, layout: `rm -rf etc/ssl/certs usr/lib/ssl/cert.pem usr/lib/ssl/certs`},
	{name: "no system store", venvs: []string{"current"}, layout: `rm -rf etc/ssl/certs usr/lib/ssl/cert.pem usr/lib/ssl/certs`, fails: true},
}

// start runs a program of test/e2e/python in a container.
func (c *container) start(t *testing.T, w *world, cgroup, venv string, args ...string) *box {
	t.Helper()
	app := w.app(cgroup, venv, args...)
	dir, err := os.MkdirTemp("", "sallyport-box") // not t.TempDir: mount options take no comma
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	hosts := filepath.Join(dir, "hosts")
	must(t, os.WriteFile(hosts, []byte("127.0.0.1 localhost\n"+w.lab.Fake.String()+" api.openai.com\n"), 0o644))
	must(t, os.Mkdir(filepath.Join(dir, "box"), 0o755))
	must(t, os.Chmod(dir, 0o755))
	env := append(app.Env, "BOX="+filepath.Join(dir, "box"), "HOSTS="+hosts, "LAYOUT="+c.layout, "HOLD="+hold, "INNER="+c.inner, "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	if c.readonly {
		env = append(env, "READONLY=1")
	}
	argv := []string{"/usr/bin/unshare", "-m", "--propagation", "private", "/bin/sh", "-c", pivot, "sh"}
	cmd, cleanup, err := w.lab.Command(t.Context(), lab.App{Cgroup: cgroup, Shared: true, Env: env, Args: append(argv, app.Args...)})
	must(t, err)
	t.Cleanup(cleanup)
	b := &box{t: t, cmd: cmd}
	b.in, err = cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	b.out = bufio.NewScanner(out)
	var errs strings.Builder
	cmd.Stderr = &errs
	must(t, w.lab.Start(cgroup, cmd))
	t.Cleanup(func() {
		b.in.Close()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the container said:\n%s\n%s", strings.Join(b.said, "\n"), errs.String())
		}
	})
	b.before = b.table()
	return b
}

// wait waits for the end of the program.
func (b *box) wait() bool {
	b.t.Helper()
	for b.out.Scan() {
		switch line := b.out.Text(); line {
		case "RAN", "FAILED":
			return line == "RAN"
		default:
			b.said = append(b.said, line)
		}
	}
	b.t.Fatalf("the container ended: %v", b.out.Err())
	return false
}

// table reads a mount table that the container shows.
func (b *box) table() string {
	b.t.Helper()
	var out []string
	for in := false; b.out.Scan(); {
		switch line := b.out.Text(); {
		case line == "MOUNTS":
			in = true
		case line == "END":
			return strings.Join(out, "\n")
		case in:
			out = append(out, line)
		default:
			b.said = append(b.said, line)
		}
	}
	b.t.Fatalf("the container ended: %v", b.out.Err())
	return ""
}

// changed says whether a mount table holds a mount of ours.
func changed(table string) bool { return strings.Contains(table, " tmpfs sallyport-") }

func (b *box) mounts() string {
	b.t.Helper()
	_, err := io.WriteString(b.in, "again\n")
	must(b.t, err)
	return b.table()
}

// TestContainers: real programs of both generations in containers of every layout complete their handshake with us, and
// when trust is removed the mounts are what they were.
func TestContainers(t *testing.T) {
	w := newWorld(t, "")
	for _, c := range containers {
		venvs := c.venvs
		if venvs == nil {
			venvs = generations
		}
		for _, venv := range venvs {
			t.Run(c.name+", "+venv, func(t *testing.T) {
				before := len(w.fake.Requests())
				b := c.start(t, w, enforced, venv, "plain.py", "say: good morning")
				if ran := b.wait(); ran == c.fails {
					t.Errorf("the program ran: %v", ran)
				}
				if got := len(w.fake.Requests()) - before; got != map[bool]int{false: 1, true: 0}[c.fails] {
					t.Errorf("%d requests reached the provider", got)
				}
				if during := b.mounts(); !changed(during) {
					t.Errorf("no trust store was changed:\n%s", during)
				}
				if out, err := w.d.CLI(t.Context(), "trust", "remove"); err != nil {
					t.Errorf("%v: %s", err, out)
				}
				if d := cmp.Diff(b.before, b.mounts()); d != "" {
					t.Errorf("mounts after trust remove: %s", d)
				}
				for _, said := range b.said { // a namespace into which the mounts spread
					if pid, ok := strings.CutPrefix(said, "PEER "); ok {
						if table, err := os.ReadFile("/proc/" + pid + "/mountinfo"); err != nil || changed(string(table)) || len(table) == 0 {
							t.Errorf("the peer: %v: %s", err, table)
						}
					}
				}
			})
		}
	}
	for _, x := range w.exchanges() {
		if x.Verdict.Mode != "enforce" || x.Response.Status != 200 {
			t.Errorf("recorded: %+v", x)
		}
	}
}

// TestContainerUninstall: after kill -9 of the daemon, uninstall alone restores a container that still runs.
func TestContainerUninstall(t *testing.T) {
	w := newWorld(t, "")
	b := containers[1].start(t, w, enforced, "current", "plain.py", "say: good morning")
	if !b.wait() || !changed(b.mounts()) {
		t.Fatal("the program did not run under us")
	}
	must(t, w.d.Kill())
	out, err := exec.Command(filepath.Join(root(t), "build", "sallyportd"), "uninstall", "--pin-dir", w.lab.PinDir(),
		"--ledger", filepath.Join(w.lab.State(), "trust.ledger")).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if d := cmp.Diff(b.before, b.mounts()); d != "" {
		t.Errorf("mounts after uninstall: %s", d)
	}
}
