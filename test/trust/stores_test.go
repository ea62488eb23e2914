// SPDX-License-Identifier: Apache-2.0

//go:build root

package trust

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/agent/trust"
)

// TestRefusedStores: files that a program names to make us read, copy or wait for something are left alone.
func TestRefusedStores(t *testing.T) {
	bundle := read(t, "/etc/ssl/certs/ca-certificates.crt")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		make func(path string) error
		want string // in the reason; "" = not even a store
	}{
		{"fifo", func(p string) error { return syscall.Mkfifo(p, 0o666) }, "not a regular file"},
		{"folder", func(p string) error { return os.Mkdir(p, 0o755) }, "not a regular file"},
		{"device", func(p string) error { return syscall.Mknod(p, syscall.S_IFCHR|0o666, 1<<8|5) }, "not a regular file"},
		{"password file", func(p string) error { return os.Symlink("/etc/shadow", p) }, "no PEM certificate"},
		{"key beside certificates", func(p string) error {
			return os.WriteFile(p, []byte(bundle+"-----BEGIN PRIVATE KEY-----\naGk=\n-----END PRIVATE KEY-----\n"), 0o644)
		}, "besides certificates"},
		{"too large", func(p string) error { return os.WriteFile(p, bytes.Repeat([]byte(bundle), 60), 0o644) }, "larger than"},
		{"endless", func(p string) error { return os.Symlink("/dev/zero", p) }, "not a regular file"},
		{"link to itself", func(p string) error { return os.Symlink(p, p) }, "too many levels"},
		{"link into proc", func(p string) error { return os.Symlink("/proc/self/root/etc/ssl/certs/ca-certificates.crt", p) }, "too many levels"},
		{"missing", func(p string) error { return nil }, ""},
		{"below a file", func(p string) error { return os.Symlink("/etc/hostname/x", p) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			ca := newCA(t, filepath.Join(dir, "ca"), host)
			tr := newTrust(t, ca, filepath.Join(dir, "ledger"))
			named := filepath.Join(dir, "named")
			must(c.make(named))
			p := namespaced(t, "SSL_CERT_FILE="+named)
			r := apply(t, tr, p)
			reason := ""
			for _, s := range r.Skipped {
				if s.Path == named || s.Kind == "variable" {
					reason = s.Reason
				}
			}
			if (reason == "") != (c.want == "") || !strings.Contains(reason, c.want) {
				t.Errorf("reason %q, want %q", reason, c.want)
			}
			if want := map[bool]trust.Outcome{true: trust.Partly, false: trust.Covered}[c.want != ""]; r.Outcome != want {
				t.Errorf("outcome %s, %s", r.Outcome, r.Reason)
			}
			for _, s := range r.Stores {
				if s.Kind == "variable" {
					t.Errorf("changed %s", s.Path)
				}
			}
			if strings.Contains(p.mounts(), " "+named+" ") {
				t.Error("mounted")
			}
		})
	}
}

// TestCopyKeepsPermissions: what a user could not read before, he cannot read in our copy.
func TestCopyKeepsPermissions(t *testing.T) {
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	tr := newTrust(t, c, filepath.Join(dir, "ledger"))
	named := filepath.Join(dir, "named.pem")
	copyBundle(t, named)
	when := time.Unix(1_700_000_000, 0)
	for _, err := range []error{os.Chown(named, 1234, 5678), os.Chmod(named, 0o640), os.Chtimes(named, when, when)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	p := namespaced(t, "SSL_CERT_FILE="+named)
	apply(t, tr, p)
	wantOK(t, "file", p.ask("file", named, c.addr, host))
	st, err := os.Stat(fmt.Sprintf("/proc/%d/root%s", p.pid(), named))
	if err != nil {
		t.Fatal(err)
	}
	if sys := st.Sys().(*syscall.Stat_t); sys.Uid != 1234 || sys.Gid != 5678 || st.Mode() != 0o640 || !st.ModTime().Equal(when) {
		t.Errorf("uid %d gid %d mode %v time %v", sys.Uid, sys.Gid, st.Mode(), st.ModTime())
	}
	err = os.WriteFile(fmt.Sprintf("/proc/%d/root%s", p.pid(), named), []byte("x"), 0o644)
	if err == nil {
		t.Error("the copy can be written")
	}
}

// TestHashFolderOnly: OpenSSL finds our root in a folder of hash links, where there is no bundle; links, keystores
// below and everything else in the folder stay as they are.
func TestHashFolderOnly(t *testing.T) {
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	tr := newTrust(t, c, filepath.Join(dir, "ledger"))
	hashes := filepath.Join(dir, "hashes")
	if err := os.MkdirAll(filepath.Join(hashes, "java"), 0o755); err != nil {
		t.Fatal(err)
	}
	other := newCA(t, filepath.Join(dir, "other"), "other.example")
	for name, data := range map[string][]byte{"other.pem": other.RootsPEM()[0], "java/cacerts": []byte("keystore"), "README": []byte("text")} {
		if err := os.WriteFile(filepath.Join(hashes, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("other.pem", filepath.Join(hashes, "deadbeef.0")); err != nil {
		t.Fatal(err)
	}
	p := namespaced(t, "SSL_CERT_DIR="+hashes, "SSL_CERT_FILE=/nonexistent")
	before := p.mounts()
	wantNo(t, "before", p.ask("system", c.addr, host), untrusted)
	if r := apply(t, tr, p); r.Outcome != trust.Covered {
		t.Errorf("%+v", r)
	}
	wantOK(t, "folder", p.ask("system", c.addr, host))
	seen := fmt.Sprintf("/proc/%d/root%s/", p.pid(), hashes)
	if l := link(seen + "deadbeef.0"); l != "other.pem" {
		t.Errorf("link %q", l)
	}
	if read(t, seen+"java/cacerts") != "keystore" || read(t, seen+"README") != "text" || read(t, seen+"other.pem") != string(other.RootsPEM()[0]) {
		t.Error("other files changed")
	}
	remove(t, tr)
	if d := cmp.Diff(before, p.mounts()); d != "" {
		t.Error(d)
	}
	t.Run("no hash links", func(t *testing.T) {
		secrets := filepath.Join(dir, "secrets")
		if err := os.MkdirAll(secrets, 0o700); err != nil {
			t.Fatal(err)
		}
		r := apply(t, tr, namespaced(t, "SSL_CERT_DIR="+secrets))
		if len(r.Skipped) != 1 || r.Skipped[0].Path != secrets {
			t.Errorf("%+v", r)
		}
	})
}

// TestSharedMount: a namespace whose mount is shared with the host is left alone there, or the host would see ours.
func TestSharedMount(t *testing.T) {
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	tr := newTrust(t, c, filepath.Join(dir, "ledger"))
	shared := filepath.Join(dir, "shared")
	if err := os.Mkdir(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", shared, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Unmount(shared, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	if err := syscall.Mount("", shared, "", syscall.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, shared)
	p := start(t, nil, "unshare", "-m", "--propagation", "unchanged", "python3", "-u", "-c", python)
	before := hostMounts(t)
	r := apply(t, tr, p, s.hint)
	if len(r.Skipped) != 1 || r.Skipped[0].Path != s.certifi || !strings.Contains(r.Skipped[0].Reason, "shared with the host") {
		t.Errorf("%+v", r.Skipped)
	}
	wantNo(t, "certifi", p.ask("file", s.certifi, c.addr, host), untrusted)
	if d := cmp.Diff(before, hostMounts(t)); d != "" {
		t.Error(d)
	}
	remove(t, tr)
}

// TestManyNamespaces: no descriptor and no thread is left behind.
func TestManyNamespaces(t *testing.T) {
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	tr := newTrust(t, c, filepath.Join(dir, "ledger"))
	p := namespaced(t)
	apply(t, tr, p)
	remove(t, tr)
	files, threads := countFiles(t), 0
	for range 25 {
		p := start(t, []string{role + "=client"}, "unshare", "-m", "--propagation", "private", os.Args[0])
		apply(t, tr, p)
		threads = max(threads, countThreads(t))
	}
	remove(t, tr)
	await(t, func() bool { return countThreads(t) <= threads })
	if n := countFiles(t); n > files+3*25 { // three pipes to each child
		t.Errorf("%d descriptors, before %d", n, files)
	}
	if threads > 60 {
		t.Errorf("%d threads", threads)
	}
}

func countFiles(t *testing.T) int   { return count(t, "/proc/self/fd") }
func countThreads(t *testing.T) int { return count(t, "/proc/self/task") }

func count(t *testing.T, dir string) int {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestCannotKeepOwner: without the right to give files away, a store that only its owner may read is left alone, and the
// others are changed all the same.
func TestCannotKeepOwner(t *testing.T) {
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	named := filepath.Join(dir, "named.pem")
	copyBundle(t, named)
	for _, err := range []error{os.Chown(named, 1234, 5678), os.Chmod(named, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	p := namespaced(t, "CURL_CA_BUNDLE="+named)
	ledger := filepath.Join(dir, "ledger")
	a := start(t, []string{role + "=agent"}, "setpriv", "--bounding-set=-chown", "--inh-caps=-all", os.Args[0])
	wantOK(t, "agent", a.ask(ledger, filepath.Join(c.dir, "gen-0001/root.crt"), itoa(p.pid())))
	wantOK(t, "system", p.ask("system", c.addr, host))
	wantNo(t, "named", p.ask("file", named, c.addr, host), untrusted)
	list, err := newTrust(t, nil, ledger).Remove(t.Context())
	for _, ch := range list {
		if ch.Path == named || ch.State != "removed" {
			t.Errorf("%+v", ch)
		}
	}
	if err != nil || len(list) == 0 {
		t.Errorf("%v, %v", list, err)
	}
}
