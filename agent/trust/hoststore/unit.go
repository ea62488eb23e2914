// SPDX-License-Identifier: Apache-2.0

package hoststore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Units says where drop-ins and what they need lie.
type Units struct {
	Dir       string // /run/systemd/system, until the next boot, or /etc/systemd/system
	Copies    string // folder of the merged copies; made if missing
	RootsFile string // file with all our roots, for Node.js
}

// dropInName is not that of the drop-in by which a unit waits for the guard: a name counts once, in the first folder that has it.
const dropInName = "50-sallyport-trust.conf"

// DropIn is what a unit gets.
type DropIn struct {
	Unit    string
	Path    string
	Text    []byte
	Copies  []Copy
	Skipped map[string]error // stores that it does not cover, and why
}

// Copy is a merged store that is laid over another file inside the unit.
type Copy struct {
	Path string // the copy
	Over string // the file
	Data []byte
	UID  int
	GID  int
	Mode os.FileMode
}

// Plan makes the drop-in of a unit: copies of the system's bundles and of files, each with our roots.
func (s *Store) Plan(unit string, files []string) (*DropIn, error) {
	if !plain(unit) || strings.Contains(unit, "/") || !strings.HasSuffix(unit, ".service") {
		return nil, fmt.Errorf("%q is no service unit", unit)
	}
	u := s.Read(unit)
	if u.Root != "" {
		return nil, fmt.Errorf("%s has a root of its own (%s): it gets our roots when it runs", unit, u.Root)
	}
	d := &DropIn{Unit: unit, Path: filepath.Join(s.at(s.o.Units.Dir), unit+".d", dropInName), Skipped: map[string]error{}}
	dir := filepath.Join(s.o.Units.Copies, unit)
	over := append(s.bundles(), files...)
	if u.Node != "" {
		over = append(over, u.Node)
	}
	slices.Sort(over)
	for _, path := range slices.Compact(over) {
		c, err := s.copyOf(path)
		if err != nil {
			d.Skipped[path] = err
			continue
		}
		c.Path = filepath.Join(dir, sum([]byte(path))[:16]+".pem")
		d.Copies = append(d.Copies, c)
	}
	var b strings.Builder
	b.WriteString(markBegin + "\n# Written by sallyportd (trust.host: unit), and anew when something changes. Applies at the next start of the unit.\n")
	if !strings.HasPrefix(s.o.Units.Dir, "/run/") {
		b.WriteString("[Unit]\nAfter=sallyport.service\n\n")
	}
	b.WriteString("[Service]\nPrivateMounts=yes\n")
	for _, c := range d.Copies {
		fmt.Fprintf(&b, "BindReadOnlyPaths=-%s:%s\n", c.Path, c.Over)
	}
	if u.Node == "" && s.o.Units.RootsFile != "" {
		fmt.Fprintf(&b, "Environment=NODE_EXTRA_CA_CERTS=%s\n", s.o.Units.RootsFile)
	}
	b.WriteString(markEnd + "\n")
	d.Text = []byte(b.String())
	return d, nil
}

// plain says whether a name can stand in a unit file as it is. Whoever may name folders must not write directives.
func plain(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("/._+@~=,-", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// bundles are the system's, without links.
func (s *Store) bundles() []string {
	var out []string
	for _, t := range tools {
		if p, err := filepath.EvalSymlinks(s.at(t.bundle)); err == nil {
			out = append(out, p)
		}
	}
	return out
}

func (s *Store) copyOf(path string) (c Copy, err error) {
	if !plain(path) {
		return c, errors.New("its path cannot stand in a unit file: use letters, digits and ._+@~=,-")
	}
	f, err := openFile(path)
	if err != nil {
		return c, err
	}
	defer f.close()
	data, err := f.read()
	if err != nil {
		return c, err
	}
	have, err := certificates(data)
	if err != nil {
		return c, err
	}
	if !holds(have, s.roots) {
		data = addBlock(data, s.roots)
	}
	return Copy{Over: path, Data: data, UID: int(f.stat.Uid), GID: int(f.stat.Gid), Mode: os.FileMode(f.stat.Mode & 0o777)}, nil
}

// WriteUnit writes what Plan made, and says whether anything is new. systemd is told if so.
func (s *Store) WriteUnit(ctx context.Context, d *DropIn) (changed bool, err error) {
	release, err := s.exclusive()
	if err != nil {
		return false, err
	}
	defer release()
	list, err := s.o.Ledger.Standing()
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(list, func(r Record) bool { return r.Kind == KindUnit && r.Path == d.Path })
	var r Record
	if i >= 0 {
		r = list[i]
	}
	if changed, err = s.writeUnit(d, r); changed {
		err = errors.Join(err, s.reload(ctx))
	}
	return changed, err
}

func (s *Store) writeUnit(d *DropIn, r Record) (changed bool, err error) {
	if r.ID == "" {
		id := newID()
		r = Record{ID: "unit-" + id, Kind: KindUnit, Store: "unit", Path: d.Path, Temp: ".sallyport-" + id, Time: time.Now().UTC(),
			Copies: filepath.Join(s.o.Units.Copies, d.Unit)}
		if _, err := os.Stat(dirOf(r)); missing(err) {
			r.Made = true
		}
		if err := s.o.Ledger.Announce(r); err != nil {
			return false, err
		}
		s.o.Step("unit announced")
	}
	if err := os.MkdirAll(r.Copies, 0o700); err != nil {
		return false, err
	}
	for _, c := range d.Copies {
		if b, err := os.ReadFile(c.Path); err == nil && bytes.Equal(b, c.Data) {
			continue
		}
		if err := writeFile(c.Path, r.Temp, c.Data); err != nil {
			return false, err
		}
		if err := errors.Join(os.Chmod(c.Path, c.Mode), os.Lchown(c.Path, c.UID, c.GID)); err != nil {
			return false, err
		}
		s.o.Step("copy written")
	}
	old, err := os.ReadFile(d.Path)
	if err != nil && !missing(err) {
		return false, err
	}
	fresh := append(cutText(old), d.Text...)
	if bytes.Equal(old, fresh) {
		return false, nil
	}
	if err := os.MkdirAll(dirOf(r), 0o755); err != nil {
		return false, err
	}
	if err := writeFile(d.Path, r.Temp, fresh); err != nil {
		return false, err
	}
	s.o.Step("unit written")
	return true, nil
}

// cutText takes the marks and everything between them out of a text.
func cutText(text []byte) []byte {
	var out []byte
	inside := false
	for line := range bytes.Lines(text) {
		switch strings.TrimRight(string(line), "\r\n") {
		case markBegin:
			inside = true
		case markEnd:
			if !inside {
				out = append(out, line...)
			}
			inside = false
		default:
			if !inside {
				out = append(out, line...)
			}
		}
	}
	return out
}

func unitOf(r Record) string { return strings.TrimSuffix(filepath.Base(dirOf(r)), ".d") }

// covered reads the files that a drop-in lays copies over.
func covered(text []byte) []string {
	var out []string
	for line := range bytes.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "BindReadOnlyPaths=-"); ok {
			if _, over, ok := strings.Cut(v, ":"); ok {
				out = append(out, over)
			}
		}
	}
	return out
}

// lookUnit writes copies anew when what they were made from has changed.
func (s *Store) lookUnit(r Record) error {
	if len(s.roots) == 0 {
		return nil
	}
	text, err := os.ReadFile(r.Path)
	if missing(err) {
		return nil // a boot took it, or a person did: it is written again when that is asked for
	}
	if err != nil {
		return err
	}
	d, err := s.Plan(unitOf(r), covered(text))
	if err != nil {
		return err
	}
	changed, err := s.writeUnit(d, r)
	if changed {
		err = errors.Join(err, s.reload(context.Background()))
	}
	return err
}

func (s *Store) stateOfUnit(r Record) (string, bool) {
	text, err := os.ReadFile(r.Path)
	if missing(err) {
		return "gone", false
	}
	if err != nil {
		return "failed: " + err.Error(), false
	}
	if len(cutText(text)) == len(text) {
		return "lost", false
	}
	d, err := s.Plan(unitOf(r), covered(text))
	if err != nil {
		return "failed: " + err.Error(), false
	}
	for _, c := range d.Copies {
		if b, err := os.ReadFile(c.Path); err != nil || !bytes.Equal(b, c.Data) {
			return "applied", false
		}
	}
	return "applied", bytes.Equal(append(cutText(text), d.Text...), text)
}

// removeUnit takes our part out of a drop-in, and the copies. A unit that runs keeps its mounts until it ends.
func (s *Store) removeUnit(r Record) (string, error) {
	dir, err := openDir(dirOf(r))
	if err == nil {
		defer unix.Close(dir)
		if err := discard(dir, r.Temp); err != nil {
			return "", err
		}
	} else if !missing(err) {
		return "", err
	}
	state := "removed"
	text, err := os.ReadFile(r.Path)
	switch rest := cutText(text); {
	case missing(err):
		state = "gone"
	case err != nil:
		return "", err
	case len(bytes.TrimSpace(rest)) == 0:
		err = os.Remove(r.Path)
	case len(rest) < len(text):
		err = writeFile(r.Path, r.Temp, rest)
	}
	if err != nil && !missing(err) {
		return "", err
	}
	s.o.Step("unit removed")
	if r.Made {
		_ = os.Remove(dirOf(r)) // unless somebody put something there
	}
	if r.Copies == "" || !filepath.IsAbs(r.Copies) {
		return state, nil
	}
	if err := os.RemoveAll(r.Copies); err != nil {
		return "", err
	}
	_ = os.Remove(filepath.Dir(r.Copies)) // unless another unit has copies
	return state, nil
}

// reload has systemd read its units again, if it runs here.
func (s *Store) reload(ctx context.Context) error {
	program := s.at("/usr/bin/systemctl")
	if _, err := os.Stat(program); err != nil || s.o.Top == "" && !s.underSystemd() {
		return nil // nobody has read them
	}
	if out, err := s.direct(ctx, "", program, "daemon-reload"); err != nil {
		return errors.Join(err, lastLine(out))
	}
	return nil
}
