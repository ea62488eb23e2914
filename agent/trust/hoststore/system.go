// SPDX-License-Identifier: Apache-2.0

package hoststore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
)

// tool makes a distribution's store from what packages brought and from what lies in a folder for additions.
type tool struct {
	name    string   // for people
	program string   // looked for in folders of system programs
	args    []string //
	anchors string   // folder for additions
	make    bool     // that folder may be missing
	ext     string
	bundle  string // what it makes, and programs read
	links   string // folder with a link to each certificate, whose names the tool does not clear by itself; "" = none
	hooks   string // programs that are told what was added and removed
}

// tools in the order in which they are looked for: SUSE calls its own as Debian does.
var tools = []tool{
	{name: "update-ca-trust (Fedora, RHEL)", program: "update-ca-trust", args: []string{"extract"}, anchors: "/etc/pki/ca-trust/source/anchors", ext: ".pem",
		bundle: "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"},
	{name: "update-ca-certificates (SUSE)", program: "update-ca-certificates", anchors: "/etc/pki/trust/anchors", ext: ".pem",
		bundle: "/var/lib/ca-certificates/ca-bundle.pem"},
	{name: "update-ca-trust (Arch)", program: "update-ca-trust", anchors: "/etc/ca-certificates/trust-source/anchors", ext: ".crt",
		bundle: "/etc/ca-certificates/extracted/tls-ca-bundle.pem"},
	{name: "update-ca-certificates (Debian, Ubuntu, Alpine)", program: "update-ca-certificates", anchors: "/usr/local/share/ca-certificates", make: true, ext: ".crt",
		bundle: "/etc/ssl/certs/ca-certificates.crt", links: "/etc/ssl/certs", hooks: "/etc/ca-certificates/update.d"},
}

// toolLimit ends a tool that hangs; a Java keystore alone takes seconds on a busy host.
const toolLimit = 3 * time.Minute

// at puts a path below the folder that stands for /.
func (s *Store) at(path string) string { return filepath.Join("/", s.o.Top, path) }

// detect finds the distribution's tool, and its program.
func (s *Store) detect() (t tool, program string, err error) {
	for _, t := range tools {
		st, err := os.Stat(s.at(t.anchors))
		if err == nil && !st.IsDir() || err != nil && !t.make {
			continue
		}
		for _, dir := range []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
			p := s.at(filepath.Join(dir, t.program))
			if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
				return t, p, nil
			}
		}
	}
	return tool{}, "", &agent.Unsupported{Feature: "trust.host: files for the system's trust store",
		Err: errors.New("none of the tools update-ca-certificates and update-ca-trust is here: install ca-certificates, or add /run/sallyport/roots.pem to the system's roots as this distribution documents it")}
}

// Tool names the distribution's tool; the error is an *agent.Unsupported if there is none.
func (s *Store) Tool() (string, error) {
	t, _, err := s.detect()
	return t.name, err
}

// System sees to it that the system's store holds our roots.
func (s *Store) System(ctx context.Context) error {
	if len(s.roots) == 0 {
		return errors.New("no roots are set: nothing to add to trust stores")
	}
	release, err := s.exclusive()
	if err != nil {
		return err
	}
	defer release()
	return s.system(ctx)
}

// SystemCovered says whether the system's store holds all our roots now.
func (s *Store) SystemCovered() bool {
	t, _, err := s.detect()
	return err == nil && s.bundleHolds(t)
}

func (s *Store) bundleHolds(t tool) bool {
	data, err := os.ReadFile(s.at(t.bundle))
	if err != nil {
		return false
	}
	have, err := certificates(data)
	return err == nil && holds(have, s.roots)
}

func (t *tool) anchor(r root) string { return filepath.Join(t.anchors, "sallyport-"+r.sum[:16]+t.ext) }

func (s *Store) system(ctx context.Context) error {
	t, program, err := s.detect()
	if err != nil {
		return err
	}
	list, err := s.o.Ledger.Standing()
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, r := range list {
		known[r.Path] = known[r.Path] || r.Kind == KindAnchor
	}
	var lacking []root
	for _, r := range s.roots {
		path := s.at(t.anchor(r))
		if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, r.pem) || !known[path] {
			lacking = append(lacking, r)
		}
	}
	covered := s.bundleHolds(t)
	if covered && len(lacking) == 0 {
		return nil
	}
	if err := s.onlyTools(t); err != nil {
		return err
	}
	for _, r := range lacking {
		rec := Record{ID: "anchor-" + newID(), Kind: KindAnchor, Store: "system", Path: s.at(t.anchor(r)), Temp: ".sallyport-" + r.sum[:16],
			Root: r.sum, Time: time.Now().UTC()}
		if !known[rec.Path] {
			if rec.Before, err = before(s.at(t.bundle)); err != nil {
				return err
			}
			if _, err := os.Stat(s.at(t.anchors)); missing(err) {
				rec.Made = true
			}
			if err := s.o.Ledger.Announce(rec); err != nil {
				return err
			}
			s.o.Step("anchor announced")
		}
		if rec.Made {
			if err := os.MkdirAll(s.at(t.anchors), 0o755); err != nil {
				return err
			}
		}
		if err := writeFile(rec.Path, rec.Temp, r.pem); err != nil {
			return fmt.Errorf("adding our root for %s: %w", t.name, err)
		}
		s.o.Step("anchor written")
	}
	out, err := s.run(ctx, program, t.args...)
	s.o.Step("tool ran")
	if s.bundleHolds(t) {
		return nil
	}
	return fmt.Errorf("%s did not put our root into %s: %w", t.name, t.bundle, errors.Join(err, lastLine(out)))
}

// onlyTools refuses where the tool would lose what somebody wrote into the bundle by hand.
func (s *Store) onlyTools(t tool) error {
	if t.links == "" {
		return nil
	}
	data, err := os.ReadFile(s.at(t.bundle))
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	have, err := certificates(data)
	if errors.Is(err, errNoCert) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", t.bundle, err)
	}
	list, err := os.ReadDir(s.at(t.links))
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.Name() == filepath.Base(t.bundle) || e.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(s.at(t.links), e.Name()))
		if err != nil {
			continue // a link to nothing
		}
		one, err := certificates(b)
		if err != nil {
			continue
		}
		for c := range one {
			delete(have, c)
		}
	}
	for _, r := range s.roots {
		delete(have, r.sum)
	}
	if len(have) > 0 {
		return fmt.Errorf("%s holds %d certificates that %s does not know and would drop: put them into %s and run it, then this goes on by itself",
			t.bundle, len(have), t.name, t.anchors)
	}
	return nil
}

func (s *Store) stateOfAnchor(r Record) (string, bool) {
	if _, err := os.Stat(r.Path); missing(err) {
		return "lost", false
	}
	t, _, err := s.detect()
	if err != nil {
		return "failed: " + err.Error(), false
	}
	data, err := os.ReadFile(s.at(t.bundle))
	if err != nil {
		return "failed: " + err.Error(), false
	}
	have, err := certificates(data)
	if err != nil || !have[r.Root] {
		return "lost", false
	}
	return "applied", true
}
