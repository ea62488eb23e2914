// SPDX-License-Identifier: Apache-2.0

//go:build root

package trust

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/agent/trust"
)

const untrusted = "certificate verify failed"

func TestRunningPython(t *testing.T) {
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	tr := newTrust(t, c, filepath.Join(dir, "ledger"))
	s := newSite(t, dir)
	custom := filepath.Join(dir, "custom.pem")
	copyBundle(t, custom)
	p := namespaced(t, "REQUESTS_CA_BUNDLE="+custom)
	ours, theirs := hostMounts(t), p.mounts()
	stores := map[string][]string{"system": {"system", c.addr, host}, "certifi": {"file", s.certifi, c.addr, host}, "variable": {"file", custom, c.addr, host}}
	for name, ask := range stores {
		wantNo(t, name+" before", p.ask(ask...), untrusted)
	}
	if ok, why := tr.Trusted(p.pid(), p.startTime()); ok || why == "" {
		t.Errorf("trusted before: %v, %q", ok, why)
	}

	r := apply(t, tr, p, s.hint)
	if r.Outcome != trust.Covered || len(r.Skipped) != 0 {
		t.Errorf("%+v", r)
	}
	for name, ask := range stores {
		wantOK(t, name, p.ask(ask...))
	}
	if ok, why := tr.Trusted(p.pid(), p.startTime()); !ok {
		t.Errorf("not trusted: %s", why)
	}
	if d := cmp.Diff(ours, hostMounts(t)); d != "" {
		t.Errorf("the host's mounts changed: %s", d)
	}
	kinds := map[string]int{}
	for _, st := range r.Stores {
		kinds[st.Kind]++
	}
	if kinds["system"] == 0 || kinds["certifi"] == 0 || kinds["variable"] != 1 {
		t.Errorf("stores: %+v", r.Stores)
	}

	t.Run("idempotent", func(t *testing.T) {
		before, ledger := p.mounts(), read(t, filepath.Join(dir, "ledger"))
		again := apply(t, tr, p, s.hint)
		if again.Outcome != trust.Covered {
			t.Errorf("%+v", again)
		}
		for _, st := range again.Stores {
			if st.New {
				t.Errorf("%s was mounted again", st.Path)
			}
		}
		if d := cmp.Diff(before, p.mounts()); d != "" {
			t.Error(d)
		}
		if ledger != read(t, filepath.Join(dir, "ledger")) {
			t.Error("the ledger grew")
		}
	})
	t.Run("second environment", func(t *testing.T) {
		other := newSite(t, filepath.Join(dir, "other"))
		wantNo(t, "before", p.ask("file", other.certifi, c.addr, host), untrusted)
		apply(t, tr, p, other.hint)
		wantOK(t, "after", p.ask("file", other.certifi, c.addr, host))
	})
	t.Run("status", func(t *testing.T) {
		list, err := tr.Status()
		if err != nil || len(list) == 0 {
			t.Fatal(list, err)
		}
		for _, ch := range list {
			if ch.State != "applied" || ch.PID != p.pid() || ch.MountNS != r.MountNS || ch.Comm != "python3" {
				t.Errorf("%+v", ch)
			}
		}
	})
	for _, ch := range remove(t, tr) {
		if ch.State != "removed" {
			t.Errorf("%+v", ch)
		}
	}
	if d := cmp.Diff(theirs, p.mounts()); d != "" {
		t.Errorf("mounts after Remove: %s", d)
	}
	for name, ask := range stores {
		wantNo(t, name+" after Remove", p.ask(ask...), untrusted)
	}
	if ok, _ := tr.Trusted(p.pid(), p.startTime()); ok {
		t.Error("still trusted")
	}
	if again := remove(t, tr); len(again) != 0 {
		t.Errorf("removed twice: %+v", again)
	}
}

func TestUserNamespace(t *testing.T) {
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	tr := newTrust(t, c, filepath.Join(dir, "ledger"))
	p := start(t, nil, "unshare", "-Urm", "python3", "-u", "-c", python)
	before := p.mounts()
	if r := apply(t, tr, p); r.Outcome != trust.Covered {
		t.Errorf("%+v", r)
	}
	wantOK(t, "system", p.ask("system", c.addr, host))
	remove(t, tr)
	if d := cmp.Diff(before, p.mounts()); d != "" {
		t.Error(d)
	}
}

func TestChroot(t *testing.T) {
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	tr := newTrust(t, c, filepath.Join(dir, "ledger"))
	root := filepath.Join(dir, "root")
	copyBundle(t, filepath.Join(root, "real/bundle.pem"))
	if err := os.MkdirAll(filepath.Join(root, "etc/ssl/certs"), 0o755); err != nil {
		t.Fatal(err)
	}
	// A link that leaves the root for whoever follows it outside.
	if err := os.Symlink("/../../../../real/bundle.pem", filepath.Join(root, "etc/ssl/certs/ca-certificates.crt")); err != nil {
		t.Fatal(err)
	}
	p := namespaced(t)
	before, hostBefore := p.mounts(), hostMounts(t)
	wantOK(t, "chroot", p.ask("chroot", root))
	r := apply(t, tr, p)
	if len(r.Stores) != 1 || r.Stores[0].Path != filepath.Join(root, "real/bundle.pem") {
		t.Errorf("%+v", r)
	}
	wantOK(t, "file", p.ask("file", "/etc/ssl/certs/ca-certificates.crt", c.addr, host))
	if list, err := tr.Status(); err != nil || len(list) != 1 || list[0].State != "applied" {
		t.Errorf("status %+v, %v", list, err)
	}
	remove(t, tr)
	wantNo(t, "file", p.ask("file", "/etc/ssl/certs/ca-certificates.crt", c.addr, host), untrusted)
	if d := cmp.Diff(hostBefore, hostMounts(t)); d != "" || !strings.Contains(before, " / ") {
		t.Errorf("a mount of ours is in the host's table: %s", d)
	}
}

func TestHostNamespace(t *testing.T) {
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	tr := newTrust(t, c, filepath.Join(dir, "ledger"))
	p := start(t, nil, "python3", "-u", "-c", python)
	before := hostMounts(t)
	r := apply(t, tr, p)
	if r.Outcome != trust.Host || !strings.Contains(r.Reason, "sallyport run -- CMD") || len(r.Stores) != 0 {
		t.Errorf("%+v", r)
	}
	if ok, why := tr.Trusted(p.pid(), p.startTime()); ok || !strings.Contains(why, "sallyport run -- CMD") {
		t.Errorf("trusted %v, %q", ok, why)
	}
	if d := cmp.Diff(before, hostMounts(t)); d != "" {
		t.Error(d)
	}
	if _, err := os.Stat(filepath.Join(dir, "ledger")); !os.IsNotExist(err) {
		t.Errorf("the ledger was written: %v", err)
	}
}

func TestReusedPID(t *testing.T) {
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	tr := newTrust(t, c, filepath.Join(dir, "ledger"))
	p := namespaced(t)
	before := p.mounts()
	if _, err := tr.Apply(t.Context(), p.pid(), p.startTime()-20_000_000, nil); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("error %v", err)
	}
	if ok, _ := tr.Trusted(p.pid(), p.startTime()-20_000_000); ok {
		t.Error("trusted")
	}
	if d := cmp.Diff(before, p.mounts()); d != "" {
		t.Error(d)
	}
	p.stop()
	if _, err := tr.Apply(t.Context(), p.pid(), 0, nil); err == nil {
		t.Error("applied to a process that has ended")
	}
}

// TestKilledAgent: the ledger alone is enough to undo what a killed agent did.
func TestKilledAgent(t *testing.T) {
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	s := newSite(t, dir)
	p := namespaced(t)
	before := p.mounts()
	ledger := filepath.Join(dir, "ledger")
	a := start(t, []string{role + "=agent"}, os.Args[0])
	wantOK(t, "agent", a.ask(ledger, filepath.Join(c.dir, "gen-0001/root.crt"), itoa(p.pid()), s.hint))
	a.stop() // kill -9
	wantOK(t, "trust outlives the agent", p.ask("system", c.addr, host))
	f, err := os.OpenFile(ledger, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"id":"torn by the cra`); err != nil {
		t.Fatal(err)
	}
	f.Close()

	restarted := newTrust(t, c, ledger)
	if ok, why := restarted.Trusted(p.pid(), p.startTime()); !ok {
		t.Errorf("not trusted after a restart: %s", why)
	}
	other := newSite(t, filepath.Join(dir, "other"))
	apply(t, restarted, p, other.hint) // appends behind the torn line

	uninstall := newTrust(t, nil, ledger) // holds no roots
	n := 0
	for _, ch := range remove(t, uninstall) {
		if n++; ch.State != "removed" {
			t.Errorf("%+v", ch)
		}
	}
	if n < 4 {
		t.Errorf("%d changes removed", n)
	}
	if d := cmp.Diff(before, p.mounts()); d != "" {
		t.Error(d)
	}
}

// TestNestedNamespace: a namespace that was copied from a changed one is restored too.
func TestNestedNamespace(t *testing.T) {
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	tr := newTrust(t, c, filepath.Join(dir, "ledger"))
	p := namespaced(t)
	before := p.mounts()
	points := mountPoints(before)
	apply(t, tr, p)
	nested := p.ask("nest")
	await(t, func() bool { return link("/proc/"+nested+"/ns/mnt") != link("/proc/"+itoa(p.pid())+"/ns/mnt") })
	defer func() {
		if err := kill(nested); err != nil {
			t.Error(err)
		}
	}()
	namespaces := map[uint64]bool{}
	for _, ch := range remove(t, tr) {
		if namespaces[ch.MountNS] = true; ch.State != "removed" {
			t.Errorf("%+v", ch)
		}
	}
	if len(namespaces) != 2 {
		t.Errorf("changes in %d namespaces", len(namespaces))
	}
	if d := cmp.Diff(points, mountPoints(read(t, "/proc/"+nested+"/mountinfo"))); d != "" {
		t.Errorf("the copy still holds our mounts: %s", d)
	}
	if d := cmp.Diff(before, p.mounts()); d != "" {
		t.Error(d)
	}
}

// TestEndedNamespace: nothing is left to do when the namespace went with its processes.
func TestEndedNamespace(t *testing.T) {
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	tr := newTrust(t, c, filepath.Join(dir, "ledger"))
	p := namespaced(t)
	apply(t, tr, p)
	p.stop()
	list, err := tr.Status()
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	for _, ch := range append(list, remove(t, tr)...) {
		if ch.State != "gone" {
			t.Errorf("%+v", ch)
		}
	}
	if list, err = tr.Status(); err != nil || len(list) != 0 {
		t.Errorf("after Remove: %+v, %v", list, err)
	}
}

func TestSomethingMountedOver(t *testing.T) {
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	tr := newTrust(t, c, filepath.Join(dir, "ledger"))
	s := newSite(t, dir)
	p := namespaced(t)
	before := p.mounts()
	apply(t, tr, p, s.hint)
	wantOK(t, "mount", p.ask("mount", "/etc/hostname", s.certifi))
	failed := 0
	for _, ch := range remove(t, tr) {
		if strings.HasPrefix(ch.State, "failed: ") {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d failed", failed)
	}
	list, err := tr.Status()
	if err != nil || len(list) != 1 || list[0].Path != s.certifi || list[0].State != "applied" {
		t.Errorf("status %+v, %v", list, err)
	}
	wantOK(t, "umount", p.ask("umount", s.certifi))
	remove(t, tr)
	if d := cmp.Diff(before, p.mounts()); d != "" {
		t.Error(d)
	}
}

// TestNewRoots: a further root is laid over stores that hold the first.
func TestNewRoots(t *testing.T) {
	const more = "api.mistral.ai"
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	ledger := filepath.Join(dir, "ledger")
	s := newSite(t, dir)
	p := namespaced(t)
	before := p.mounts()
	apply(t, newTrust(t, c, ledger), p, s.hint)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	second := newCA(t, c.dir, host, more)
	tr := newTrust(t, second, ledger)
	// A program that holds only the old root goes on: its names get leaves of that root.
	if ok, why := tr.Trusted(p.pid(), p.startTime()); !ok {
		t.Errorf("not trusted with the old roots: %s", why)
	}
	wantOK(t, "with the old roots", p.ask("system", second.addr, host))
	wantNo(t, "with the old roots", p.ask("system", second.addr, more), untrusted)
	for _, ch := range status(t, tr) {
		if ch.State != "applied" || ch.Current {
			t.Errorf("before the new roots: %+v", ch)
		}
	}
	if strange := newTrust(t, newCA(t, filepath.Join(dir, "strange"), host), ledger); strange != nil {
		if ok, _ := strange.Trusted(p.pid(), p.startTime()); ok {
			t.Error("trusted with the roots of another authority")
		}
	}
	apply(t, tr, p, s.hint)
	current := 0
	for _, ch := range status(t, tr) {
		if ch.Current {
			current++
		}
	}
	if current == 0 {
		t.Error("no change is current")
	}
	for _, name := range []string{host, more} {
		wantOK(t, name, p.ask("system", second.addr, name))
		wantOK(t, name, p.ask("file", s.certifi, second.addr, name))
	}
	remove(t, tr)
	if d := cmp.Diff(before, p.mounts()); d != "" {
		t.Error(d)
	}
}
