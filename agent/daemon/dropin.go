// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/agent/config"
)

// unitFolders are where systemd finds units (systemd.unit(5)).
var unitFolders = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// dropInFolders are where people may have let us write drop-ins that outlive a boot, or this one.
var dropInFolders = []string{"/etc/systemd/system", "/run/systemd/system"}

const (
	dropInName   = "50-sallyport.conf"
	dropInHeader = "# Written by sallyportd guard --drop-ins: do not edit.\n"
)

// DropIns writes, below a folder of systemd units, a drop-in for each unit that a scope names: it starts after the guard
// and the daemon, and one whose scope fails closed does not start without the guard. Drop-ins of ours that nothing wants
// any more are removed. It says what it did, and what it could not, a line each. units are the folders to look for units
// in; nil = systemd's.
func DropIns(cfg *config.Config, dir string, units []string) (done []string, err error) {
	if units == nil {
		units = unitFolders
	}
	want := map[string]string{}
	for _, s := range cfg.Protect {
		if s.Match.Unit == "" || s.Mode == "off" {
			continue
		}
		names, whole, err := unitNames(s.Match.Unit, units)
		if err != nil {
			return done, err
		}
		if !whole {
			done = append(done, fmt.Sprintf("scope %s: %s covers only the units that there are now: run this again when one is added", s.Name, s.Match.Unit))
		}
		for _, name := range names {
			if _, taken := want[name]; !taken { // the first scope wins
				want[name] = dropIn(s)
			}
		}
	}
	removed, err := removeDropIns([]string{dir}, func(unit string) bool { return want[unit] != "" })
	if done = append(done, removed...); err != nil {
		return done, err
	}
	names := make([]string, 0, len(want))
	for name := range want {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		at := filepath.Join(dir, name+".d", dropInName)
		if old, err := os.ReadFile(at); err == nil && string(old) == want[name] {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return done, fmt.Errorf("making the folder of a drop-in: %w", err)
		}
		if err := os.WriteFile(at+".new", []byte(want[name]), 0o644); err != nil {
			return done, fmt.Errorf("writing a drop-in: %w", err)
		}
		if err := os.Rename(at+".new", at); err != nil {
			return done, fmt.Errorf("writing a drop-in: %w", err)
		}
		done = append(done, "wrote "+at)
	}
	return done, nil
}

func dropIn(s config.Scope) string {
	need := "Wants"
	if s.Mode == "enforce" || s.Fail == "closed" {
		need = "Requires"
	}
	return dropInHeader + "# Scope " + s.Name + ", mode " + s.Mode + ".\n[Unit]\n" + need + "=sallyport-guard.service\nWants=sallyport.service\nAfter=sallyport-guard.service sallyport.service\n"
}

// unitNames turns a pattern into the names whose NAME.d systemd reads for the units that match. whole says whether that
// covers units to come.
func unitNames(pattern string, units []string) (names []string, whole bool, err error) {
	base, kind := strings.TrimSuffix(pattern, path.Ext(pattern)), path.Ext(pattern)
	prefix, found := strings.CutSuffix(base, "*")
	switch plain := func(s string) bool { return !strings.ContainsAny(s, "*?[/") }; {
	case kind == ".scope":
		return nil, true, nil // made at run time, by something that was started after us
	case plain(pattern):
		return []string{pattern}, true, nil
	case found && plain(prefix) && kind == ".service" && (strings.HasSuffix(prefix, "-") || strings.HasSuffix(prefix, "@")):
		return []string{prefix + kind}, true, nil // foo-.service.d is for all foo-*.service, foo@.service.d for all instances
	}
	for _, dir := range units {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, false, fmt.Errorf("looking for units: %w", err)
		}
		for _, e := range entries {
			if ok, merr := path.Match(pattern, e.Name()); merr == nil && ok && strings.HasSuffix(e.Name(), ".service") && !slices.Contains(names, e.Name()) {
				names = append(names, e.Name())
			}
		}
	}
	return names, false, nil
}

// removeDropIns removes the drop-ins that we wrote, but for those to keep.
func removeDropIns(dirs []string, keep func(unit string) bool) (done []string, err error) {
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.d", dropInName))
		if err != nil {
			return done, err
		}
		for _, f := range files {
			raw, err := os.ReadFile(f)
			if err != nil {
				return done, fmt.Errorf("reading a drop-in: %w", err)
			}
			if !strings.HasPrefix(string(raw), dropInHeader) || keep(strings.TrimSuffix(filepath.Base(filepath.Dir(f)), ".d")) {
				continue
			}
			if err := os.Remove(f); err != nil {
				return done, fmt.Errorf("removing a drop-in: %w", err)
			}
			_ = os.Remove(filepath.Dir(f)) // unless others have something there
			done = append(done, "removed "+f)
		}
	}
	return done, nil
}
