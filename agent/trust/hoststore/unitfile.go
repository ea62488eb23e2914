// SPDX-License-Identifier: Apache-2.0

package hoststore

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// unitFolders are where systemd looks for units, the first wins (systemd.unit(5)).
var unitFolders = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// Unit is what the files of a unit say, as far as it concerns trust.
type Unit struct {
	Name  string
	Paths []string // absolute paths in its commands: programs, scripts, their interpreters
	Node  string   // NODE_EXTRA_CA_CERTS that it sets itself
	Root  string   // a root folder or image of its own
}

// Match lists the service units that are installed here whose names match a pattern of path.Match; a pattern without
// special characters stands for itself, installed or not.
func (s *Store) Match(pattern string) []string {
	if !strings.ContainsAny(pattern, `*?[\`) {
		return []string{pattern}
	}
	var out []string
	for _, dir := range unitFolders {
		list, err := os.ReadDir(s.at(dir))
		if err != nil {
			continue
		}
		for _, e := range list {
			n := e.Name()
			if ok, err := path.Match(pattern, n); err == nil && ok && strings.HasSuffix(n, ".service") {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Read reads the files of a unit. One that is not there has none.
func (s *Store) Read(name string) Unit {
	u := Unit{Name: name}
	names := []string{name}
	if before, rest, ok := strings.Cut(name, "@"); ok && rest != ".service" {
		names = append(names, before+"@.service")
	}
	for _, n := range names {
		for _, dir := range unitFolders {
			if b, err := os.ReadFile(s.at(filepath.Join(dir, n))); err == nil {
				u.add(string(b))
				break
			}
		}
	}
	for _, n := range names {
		for _, dir := range unitFolders {
			list, err := filepath.Glob(s.at(filepath.Join(dir, n+".d", "*.conf")))
			if err != nil {
				continue
			}
			for _, f := range list {
				if b, err := os.ReadFile(f); err == nil && filepath.Base(f) != dropInName {
					u.add(string(b))
				}
			}
		}
	}
	for _, p := range u.Paths {
		if i := interpreter(s.at(p)); i != "" && !slices.Contains(u.Paths, i) {
			u.Paths = append(u.Paths, i)
		}
	}
	return u
}

// add reads one file of a unit.
func (u *Unit) add(text string) {
	section := ""
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if !ok || section != "[Service]" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		v = strings.TrimSpace(v)
		switch strings.TrimSpace(k) {
		case "ExecStart":
			for _, w := range words(v) {
				w = strings.TrimLeft(w, "@-:+!|")
				if path.IsAbs(w) && !slices.Contains(u.Paths, w) {
					u.Paths = append(u.Paths, w)
				}
			}
		case "Environment":
			for _, w := range words(v) {
				if file, ok := strings.CutPrefix(w, "NODE_EXTRA_CA_CERTS="); ok {
					u.Node = file
				}
			}
		case "RootDirectory", "RootImage":
			u.Root = v
		}
	}
}

// words splits a value as systemd does, without its escapes.
func words(v string) []string {
	var out []string
	var w strings.Builder
	in, quote := false, byte(0)
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, in = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if in {
				out = append(out, w.String())
				w.Reset()
				in = false
			}
		default:
			w.WriteByte(c)
			in = true
		}
	}
	if in {
		out = append(out, w.String())
	}
	return out
}

// interpreter is the program that a script names in its first line.
func interpreter(script string) string {
	f, err := os.Open(script)
	if err != nil {
		return ""
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return ""
	}
	b := make([]byte, 256)
	n, _ := f.Read(b) // a script that is shorter, or none
	line, ok := strings.CutPrefix(string(b[:n]), "#!")
	if !ok {
		return ""
	}
	line, _, _ = strings.Cut(line, "\n")
	if list := strings.Fields(line); len(list) > 0 && path.IsAbs(list[0]) {
		return list[0]
	}
	return ""
}
