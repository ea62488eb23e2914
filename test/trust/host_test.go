// SPDX-License-Identifier: Apache-2.0

//go:build root

package trust

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/agent/trust"
	"github.com/sallyport-dev/sallyport/test/lab"
)

// changed are the folders in which files are changed, beside virtual environments.
var changed = []string{"/etc/ssl/certs", "/usr/local/share/ca-certificates", "/etc/ca-certificates", "/etc/ca-certificates.conf"}

// TestHostFiles: programs in the host's namespace trust us, in both Python worlds; upgrades of both stores work while we are
// there and do not take that away; and afterwards every file is what it was, also if the agent was killed.
func TestHostFiles(t *testing.T) {
	if !asHost(t) {
		return
	}
	dir := t.TempDir()
	v := venv(t, dir, "0.3")
	packages := filepath.Join(v, sitePackages)
	certifi := filepath.Join(packages, "certifi/cacert.pem")
	tool(t, filepath.Join(v, "bin/python"), "-m", "pip", "install", "--quiet", "--no-deps", "certifi==2024.8.30")
	reinstall(t) // it may also be an upgrade
	frozen := filepath.Join(dir, "frozen/_internal")
	others := []string{filepath.Join(packages, "botocore/cacert.pem"), filepath.Join(packages, "grpc/_cython/_credentials/roots.pem"), filepath.Join(frozen, "certifi/cacert.pem")}
	for _, o := range others {
		copyBundle(t, o)
	}
	all := append([]string{filepath.Join(packages, "certifi"), filepath.Join(packages, "pip/_vendor/certifi"), frozen, filepath.Dir(others[0]), filepath.Dir(others[1])}, changed...)
	before, mounts := state(t, all...), hostMounts(t)
	keystore := read(t, "/etc/ssl/certs/ca-certificates.crt")

	c := newCA(t, filepath.Join(dir, "ca"), host)
	ledger := filepath.Join(dir, "state/ledger")
	tr := hostTrust(t, c, ledger)
	p := start(t, nil, filepath.Join(v, "bin/python"), "-u", "-c", python)
	stores := map[string][]string{"system": {"system", c.addr, host}, "certifi": {"file", certifi, c.addr, host}}
	for name, ask := range stores {
		wantNo(t, name+" before", p.ask(ask...), untrusted)
	}
	if ok, why := tr.Trusted(p.pid(), p.startTime()); ok || why == "" {
		t.Errorf("trusted before: %v, %q", ok, why)
	}
	if err := tr.PrepareHost(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	r := apply(t, tr, p, filepath.Join(packages, "langchain_core/__init__.py"), filepath.Join(frozen, "libcrypto.so.3"))
	if r.Outcome != trust.Covered {
		t.Errorf("%+v", r)
	}
	for _, o := range others {
		wantOK(t, o, p.ask("file", o, c.addr, host))
	}
	covered := func(when string) {
		t.Helper()
		for name, ask := range stores {
			wantOK(t, name+" "+when, p.ask(ask...))
		}
	}
	covered("after")
	if ok, why := tr.Trusted(p.pid(), p.startTime()); !ok {
		t.Errorf("not trusted: %s", why)
	}
	if d := cmp.Diff(mounts, hostMounts(t)); d != "" {
		t.Errorf("something was mounted: %s", d)
	}
	for _, ch := range status(t, tr) {
		if ch.State != "applied" || !ch.Current || ch.Kind != "anchor" && ch.Kind != "block" {
			t.Errorf("%+v", ch)
		}
	}
	if len(status(t, tr)) < 3 { // the system's, certifi's, pip's own
		t.Errorf("%+v", status(t, tr))
	}

	ctx, stop := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() {
		watched <- tr.WatchHost(ctx, func(problems map[string]error, err error) {
			for p, e := range problems {
				t.Errorf("%s: %v", p, e)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}()
	tool(t, filepath.Join(v, "bin/python"), "-m", "pip", "install", "--quiet", "-U", "--no-deps", "certifi")
	if !bytes.Contains([]byte(tool(t, filepath.Join(v, "bin/python"), "-m", "pip", "list")), []byte("certifi")) {
		t.Error("certifi is gone")
	}
	await(t, func() bool { return strings.Contains(read(t, certifi), "sallyport") })
	covered("after pip install -U certifi")
	reinstall(t)
	covered("after apt-get install --reinstall ca-certificates")
	stop()
	if err := <-watched; err != nil {
		t.Error(err)
	}
	// As after kill -9: another agent finds what is there, and what an upgrade took meanwhile.
	tool(t, filepath.Join(v, "bin/python"), "-m", "pip", "install", "--quiet", "--no-deps", "certifi==2024.8.30")
	reinstall(t)
	wantNo(t, "certifi without an agent", p.ask(stores["certifi"]...), untrusted)
	lost := 0
	for _, ch := range status(t, tr) {
		if ch.State == "lost" && !ch.Current {
			lost++
		}
	}
	if lost != 1 {
		t.Errorf("%d lost", lost)
	}
	if err := hostTrust(t, c, ledger).PrepareHost(t.Context(), nil); err != nil {
		t.Error(err)
	}
	covered("under another agent")

	for _, ch := range remove(t, hostTrust(t, nil, ledger)) { // as uninstall does: without roots
		if ch.State != "removed" {
			t.Errorf("%+v", ch)
		}
	}
	for name, ask := range stores {
		wantNo(t, name+" after removal", p.ask(ask...), untrusted)
	}
	if d := cmp.Diff(keystore, read(t, "/etc/ssl/certs/ca-certificates.crt")); d != "" {
		t.Error("the bundle is another one")
	}
	// Packages gave their files new times meanwhile: only what we do may not show.
	if d := cmp.Diff(withoutTimes(before), withoutTimes(state(t, all...))); d != "" {
		t.Errorf("after removal: %s", d)
	}
	if list := status(t, tr); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

// withoutTimes leaves the times out, and what Python compiled.
func withoutTimes(s string) string {
	var out []string
	for line := range strings.Lines(s) {
		if f := strings.Fields(line); !strings.Contains(f[0], "__pycache__") && !strings.Contains(f[0], "/java/") {
			if len(f) == 6 && f[3] != "->" {
				f = f[:5]
			}
			out = append(out, strings.Join(f, " "))
		}
	}
	return strings.Join(out, "\n")
}

// tool runs a program of the host.
func tool(t *testing.T, argv ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive", "PIP_DISABLE_PIP_VERSION_CHECK=1", "PIP_ROOT_USER_ACTION=ignore",
		"PIP_CERT=/etc/ssl/certs/ca-certificates.crt"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", argv, err, out)
	}
	return string(out)
}

// reinstall brings the package of the system's store anew; without a network, as far as dpkg does it by itself.
func reinstall(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "apt-get", "install", "--reinstall", "-y", "-qq", "ca-certificates")
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"}
	out, err := cmd.CombinedOutput()
	if err == nil {
		return
	}
	if !bytes.Contains(out, []byte("Failed to fetch")) && !bytes.Contains(out, []byte("Unable to locate")) && !bytes.Contains(out, []byte("not possible, it cannot be downloaded")) {
		t.Fatalf("apt-get: %v: %s", err, out)
	}
	t.Log("no package to be had: its own scripts are run instead")
	tool(t, "sh", "/var/lib/dpkg/info/ca-certificates.postinst", "configure")
	tool(t, "update-ca-certificates", "--fresh")
}

// TestHostCapabilities: what the unit lets the daemon do is enough for files of other users, with their lists and attributes.
func TestHostCapabilities(t *testing.T) {
	if !asHost(t) {
		return
	}
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	s := newSite(t, dir)
	if err := lab.FewCertificates(); err != nil {
		t.Fatal(err)
	}
	for path := s.certifi; path != dir; path = filepath.Dir(path) {
		if err := os.Chown(path, 1234, 5678); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{os.Chmod(s.certifi, 0o640), os.Chmod(filepath.Dir(s.certifi), 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Setxattr(s.certifi, "user.note", []byte("kept"), 0); err != nil {
		t.Fatal(err)
	}
	all := append([]string{filepath.Join(dir, "venv")}, changed...)
	before := state(t, all...)
	unit, err := os.ReadFile("../../deploy/systemd/sallyport.service")
	if err != nil {
		t.Fatal(err)
	}
	caps := "-all"
	for line := range strings.Lines(string(unit)) {
		if v, ok := strings.CutPrefix(line, "CapabilityBoundingSet="); ok {
			for _, c := range strings.Fields(v) {
				caps += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
			}
		}
	}
	ledger := filepath.Join(dir, "state/ledger")
	limited := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "setpriv", append([]string{"--bounding-set=" + caps, "--inh-caps=-all", "--no-new-privs", os.Args[0], "0"}, args...)...)
		cmd.Env = []string{role + "=stepper", "PATH=/usr/bin:/bin"}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	limited("add", ledger, filepath.Join(c.dir, "gen-0001/root.crt"), s.hint)
	st, err := os.Stat(s.certifi)
	if err != nil {
		t.Fatal(err)
	}
	if sys := st.Sys().(*syscall.Stat_t); sys.Uid != 1234 || sys.Gid != 5678 || st.Mode() != 0o640 || !strings.Contains(read(t, s.certifi), "sallyport") {
		t.Errorf("uid %d gid %d mode %v", sys.Uid, sys.Gid, st.Mode())
	}
	note := make([]byte, 16)
	if n, err := syscall.Getxattr(s.certifi, "user.note", note); err != nil || string(note[:n]) != "kept" {
		t.Errorf("attribute: %v", err)
	}
	limited("remove", ledger)
	if d := cmp.Diff(before, state(t, all...)); d != "" {
		t.Error(d)
	}
}

// TestHostRefused: a file system that cannot be written to, and a file that nobody may change, are left alone with the reason.
func TestHostRefused(t *testing.T) {
	if !asHost(t) {
		return
	}
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	ledger := filepath.Join(dir, "state/ledger")
	tr := hostTrust(t, c, ledger)
	s := newSite(t, dir)
	venv := filepath.Join(dir, "venv")
	for _, err := range []error{syscall.Mount(venv, venv, "", syscall.MS_BIND, ""), syscall.Mount("", venv, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	defer syscall.Unmount(venv, syscall.MNT_DETACH)
	over := newSite(t, filepath.Join(dir, "over"))
	other := filepath.Join(dir, "other.pem")
	copyBundle(t, other)
	for _, err := range []error{syscall.Mount(other, over.certifi, "", syscall.MS_BIND, ""), lab.FewCertificates()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	defer syscall.Unmount(over.certifi, syscall.MNT_DETACH)
	p := start(t, nil, "python3", "-u", "-c", python)
	before := state(t, venv, filepath.Dir(over.certifi))
	r := apply(t, tr, p, s.hint, over.hint)
	want := map[string]string{s.certifi: "read-only file system", over.certifi: "something is mounted over it"}
	if r.Outcome != trust.Partly || len(r.Skipped) != len(want) {
		t.Errorf("%+v", r)
	}
	for _, sk := range r.Skipped {
		if want[sk.Path] == "" || !strings.Contains(sk.Reason, want[sk.Path]) {
			t.Errorf("%+v", sk)
		}
	}
	if d := cmp.Diff(before, state(t, venv, filepath.Dir(over.certifi))); d != "" {
		t.Error(d)
	}
	for _, ch := range remove(t, tr) {
		if strings.HasPrefix(ch.State, "failed") {
			t.Errorf("%+v", ch)
		}
	}
}

// TestHostKill kills the agent at every step of adding and of removing: afterwards every file is, or can be made, what it was,
// to the byte, its permissions, its owner and its time.
func TestHostKill(t *testing.T) {
	if !asHost(t) {
		return
	}
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	root := filepath.Join(c.dir, "gen-0001/root.crt")
	s := newSite(t, dir)
	for _, err := range []error{os.Chown(s.certifi, 1234, 5678), os.Chmod(s.certifi, 0o640), lab.FewCertificates()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	all := append([]string{filepath.Join(dir, "venv")}, changed...)
	ledger := filepath.Join(dir, "state/ledger")
	before := state(t, all...)
	check := func(when string) {
		t.Helper()
		if d := cmp.Diff(before, state(t, all...)); d != "" {
			t.Errorf("%s: %s", when, d)
		}
	}
	add := []string{"add", ledger, root, s.hint}
	steps := 0
	for n := 1; ; n++ {
		at := step(t, n, add...)
		if at != "" {
			steps++
		}
		if n%2 == 0 { // another agent goes on where this one was killed
			if again := step(t, 0, add...); again != "" {
				t.Errorf("killed at %s", again)
			}
		}
		step(t, 0, "remove", ledger)
		check("added until " + at)
		if at == "" {
			break
		}
	}
	for n := 1; ; n++ {
		step(t, 0, add...)
		at := step(t, n, "remove", ledger)
		if at != "" {
			steps++
			step(t, 0, "remove", ledger)
		}
		check("removed until " + at)
		if at == "" {
			break
		}
	}
	if steps < 12 {
		t.Errorf("only %d steps", steps)
	}
	if _, err := os.ReadDir(filepath.Join(dir, "state")); errors.Is(err, fs.ErrNotExist) {
		t.Error("no ledger")
	}
}
