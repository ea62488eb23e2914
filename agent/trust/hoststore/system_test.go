// SPDX-License-Identifier: Apache-2.0

package hoststore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/agent"
)

// rebuild does what the tools do: the bundle is made from what packages brought and what lies in the folder for additions.
const rebuild = `cat "$TOP/packaged.pem" >"$TOP$BUNDLE.new"
for f in "$TOP$ANCHORS"/*; do [ ! -f "$f" ] || cat "$f" >>"$TOP$BUNDLE.new"; done
mv "$TOP$BUNDLE.new" "$TOP$BUNDLE"
echo "$0 $*" >>"$TOP/tool.log"
`

func (h host) tool(program, anchors, bundle string, other []byte) {
	h.write("/packaged.pem", string(other))
	h.write(bundle, string(other))
	if err := os.MkdirAll(h.at(anchors), 0o755); err != nil {
		h.t.Fatal(err)
	}
	h.program(program, "ANCHORS="+anchors+" BUNDLE="+bundle+"\n"+rebuild)
}

// TestTools: each distribution's tool is found, used and undone.
func TestTools(t *testing.T) {
	one, two, other := newRoot(t, commonName+"one"), newRoot(t, commonName+"two"), newRoot(t, "Other CA")
	for _, c := range []struct{ name, program, anchors, bundle, args string }{
		{"Fedora", "/usr/bin/update-ca-trust", "/etc/pki/ca-trust/source/anchors", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "extract"},
		{"SUSE", "/usr/sbin/update-ca-certificates", "/etc/pki/trust/anchors", "/var/lib/ca-certificates/ca-bundle.pem", ""},
		{"Arch", "/usr/bin/update-ca-trust", "/etc/ca-certificates/trust-source/anchors", "/etc/ca-certificates/extracted/tls-ca-bundle.pem", ""},
		{"Debian", "/usr/sbin/update-ca-certificates", "/usr/local/share/ca-certificates", "/etc/ssl/certs/ca-certificates.crt", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			h.tool(c.program, c.anchors, c.bundle, other)
			h.write(filepath.Dir(c.bundle)+"/Other.pem", string(other)) // as Debian has a link to each
			m := &memory{}
			s := h.store(m, "/run/systemd/system", one)
			if name, err := s.Tool(); err != nil || !strings.Contains(name, c.name) {
				t.Errorf("%s, %v", name, err)
			}
			if s.SystemCovered() {
				t.Error("covered before")
			}
			for range 2 { // the second time there is nothing to do
				if err := s.System(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if got := read(t, h.at("/tool.log")); strings.Count(got, "\n") != 1 || strings.TrimSpace(strings.TrimPrefix(got, h.at(c.program))) != c.args {
				t.Errorf("%q", got)
			}
			if !s.SystemCovered() || len(m.list) != 1 {
				t.Errorf("%+v", m.list)
			}
			more := h.store(m, "/run/systemd/system", one, two)
			if more.SystemCovered() {
				t.Error("covered for a further root")
			}
			if _, err := more.Look(t.Context()); err != nil || !more.SystemCovered() || len(m.list) != 2 {
				t.Errorf("%v, %+v", err, m.list)
			}
			h.write(c.bundle, string(other)) // as a package does that does not run the tool
			if list, err := more.Status(); err != nil || list[0].State != "lost" || list[0].Current {
				t.Errorf("%+v, %v", list, err)
			}
			if _, err := more.Look(t.Context()); err != nil || !more.SystemCovered() {
				t.Errorf("not put in again: %v", err)
			}
			if list, err := h.store(m, "/run/systemd/system").Remove(t.Context()); err != nil || len(list) != 2 || list[0].State != "removed" || len(m.list) != 0 {
				t.Errorf("%+v, %v", list, err)
			}
			left, err := filepath.Glob(h.at(c.anchors) + "/*")
			if err != nil || len(left) > 0 || read(t, h.at(c.bundle)) != string(other) {
				t.Errorf("left %v, %v", left, err)
			}
		})
	}
}

// TestNoTool: where there is none, that is a kind of error that says what to do.
func TestNoTool(t *testing.T) {
	h := newHost(t)
	m := &memory{}
	s := h.store(m, "/run/systemd/system", newRoot(t, commonName+"one"))
	var no *agent.Unsupported
	if err := s.System(t.Context()); !errors.As(err, &no) || !strings.Contains(err.Error(), "install ca-certificates") || len(m.list) > 0 {
		t.Errorf("%v", err)
	}
}

// TestByHand: what somebody wrote into the bundle himself would not survive the tool, so it is not run.
func TestByHand(t *testing.T) {
	one, other, mine := newRoot(t, commonName+"one"), newRoot(t, "Other CA"), newRoot(t, "Corporate CA")
	h := newHost(t)
	h.tool("/usr/sbin/update-ca-certificates", "/usr/local/share/ca-certificates", "/etc/ssl/certs/ca-certificates.crt", other)
	h.write("/etc/ssl/certs/Other.pem", string(other))
	h.write("/etc/ssl/certs/ca-certificates.crt", string(other)+string(mine))
	m := &memory{}
	s := h.store(m, "/run/systemd/system", one)
	if err := s.System(t.Context()); err == nil || !strings.Contains(err.Error(), "holds 1 certificates") || !strings.Contains(err.Error(), "put them into") || len(m.list) > 0 {
		t.Errorf("%v", err)
	}
	if read(t, h.at("/etc/ssl/certs/ca-certificates.crt")) != string(other)+string(mine) {
		t.Error("the bundle was changed")
	}
}

// TestAnchorOfOthers: what somebody added to our file stays.
func TestAnchorOfOthers(t *testing.T) {
	one, other, mine := newRoot(t, commonName+"one"), newRoot(t, "Other CA"), newRoot(t, "Corporate CA")
	h := newHost(t)
	h.tool("/usr/bin/update-ca-trust", "/etc/pki/ca-trust/source/anchors", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", other)
	m := &memory{}
	s := h.store(m, "/run/systemd/system", one)
	if err := s.System(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := m.list[0].Path
	write(t, path, []byte("# ours\n"+string(mine)+string(one)))
	if list, err := s.Remove(t.Context()); err != nil || list[0].State != "removed" {
		t.Errorf("%+v, %v", list, err)
	}
	if d := cmp.Diff("# ours\n"+string(mine), read(t, path)); d != "" {
		t.Error(d)
	}
}

// TestToolFails: a tool that does nothing is an error in its own words, and it can be undone.
func TestToolFails(t *testing.T) {
	other := newRoot(t, "Other CA")
	h := newHost(t)
	h.tool("/usr/bin/update-ca-trust", "/etc/pki/ca-trust/source/anchors", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", other)
	h.program("/usr/bin/update-ca-trust", "echo no room >&2; exit 3\n")
	m := &memory{}
	s := h.store(m, "/run/systemd/system", newRoot(t, commonName+"one"))
	if err := s.System(t.Context()); err == nil || !strings.Contains(err.Error(), "no room") || !strings.Contains(err.Error(), "exit status 3") || len(m.list) != 1 {
		t.Errorf("%v", err)
	}
	if list, err := s.Remove(t.Context()); err != nil || list[0].State != "removed" || len(m.list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if left, err := filepath.Glob(h.at("/etc/pki/ca-trust/source/anchors/*")); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}
