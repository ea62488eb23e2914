// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"path"
	"strings"
)

// packaged are the stores that Python packages bring along, below the folder that packages are installed in.
var packaged = []string{
	"certifi/cacert.pem",
	"pip/_vendor/certifi/cacert.pem",
	"botocore/cacert.pem", // read if certifi is missing
	"grpc/_cython/_credentials/roots.pem",
	"httplib2/cacerts.txt",
}

// bundled are the stores of frozen applications and of Python builds that bring their own OpenSSL, below their prefix.
var bundled = []string{
	"_internal/certifi/cacert.pem", // PyInstaller
	"certifi/cacert.pem",
	"lib/certifi/cacert.pem", // cx_Freeze
	"ssl/cert.pem",           // conda
	"ssl/cacert.pem",
	"etc/ssl/cert.pem",
}

const maxPlaces = 64 // folders of packages looked at per process

// evidence is what tells where a process loads its packages from.
type evidence struct {
	hints    []string          // files that it opened, or programs that it is going to run
	env      map[string]string //
	exe      string            // executable
	argv0    string            // as it was called: a venv's python is a link to the system's
	cwd      string
	maps     string                                  // /proc/PID/maps
	programs []string                                // those that it is going to run, where links lead
	list     func(folder string, limit int) []string // names in a folder of the process
}

// places collects folders, each once and not too many.
type places struct {
	seen map[string]bool
	list []string
}

func (p *places) add(dir string) {
	if path.IsAbs(dir) && !p.seen[dir] && len(p.list) < maxPlaces {
		p.seen[dir] = true
		p.list = append(p.list, dir)
	}
}

// installed cuts a path behind the folder that packages are installed in.
func installed(file string) (dir string, ok bool) {
	for _, mark := range []string{"/site-packages/", "/dist-packages/"} {
		if i := strings.LastIndex(file, mark); i >= 0 {
			return file[:i+len(mark)-1], true
		}
	}
	return "", false
}

// certifiStores are all copies of certifi, and what other packages bring, that the process may read. The files that it
// opened say best where they are; the rest finds copies in other folders of its search path.
func certifiStores(e evidence) []candidate {
	packages, prefixes := places{seen: map[string]bool{}}, places{seen: map[string]bool{}}
	file := func(f string) {
		if dir, ok := installed(f); ok {
			packages.add(dir)
		} else if i := strings.Index(f, "/_internal/"); i >= 0 {
			prefixes.add(f[:i])
		} else if i := strings.Index(f, "/_MEI"); i >= 0 { // PyInstaller's one-file form unpacks into a temporary folder
			if j := strings.IndexByte(f[i+1:], '/'); j >= 0 {
				packages.add(f[:i+1+j])
			}
		} else if i := strings.LastIndex(f, "/langchain"); i > 0 { // packages in a folder of PYTHONPATH
			packages.add(f[:i])
		}
	}
	for _, h := range e.hints {
		if !path.IsAbs(h) {
			h = path.Join(e.cwd, h)
		}
		if dir := path.Dir(h); path.Base(dir) == "bin" { // a program that is about to be started
			prefixes.add(path.Dir(dir))
		}
		file(h)
	}
	for line := range strings.Lines(e.maps) {
		if i := strings.IndexByte(line, '/'); i >= 0 {
			if f := strings.TrimSuffix(line[i:], "\n"); strings.Contains(f, "-packages/") || strings.Contains(f, "/_internal/") || strings.Contains(f, "/_MEI") {
				file(f)
			}
		}
	}
	for dir := range strings.SplitSeq(e.env["PYTHONPATH"], ":") {
		packages.add(dir)
	}
	prefixes.add(e.env["VIRTUAL_ENV"])
	prefixes.add(e.env["CONDA_PREFIX"])
	if e.argv0 != "" && strings.Contains(e.argv0, "/") {
		argv0 := e.argv0
		if !path.IsAbs(argv0) {
			argv0 = path.Join(e.cwd, argv0)
		}
		prefixes.add(path.Dir(path.Dir(argv0)))
	}
	if e.exe != "" {
		prefixes.add(path.Dir(e.exe)) // a frozen application
		prefixes.add(path.Dir(path.Dir(e.exe)))
	}
	if home := e.env["HOME"]; home != "" {
		prefixes.add(path.Join(home, ".local"))
	}
	prefixes.add("/usr/local")
	for _, p := range prefixes.list {
		lib := path.Join(p, "lib")
		for _, n := range e.list(lib, maxNames) {
			if strings.HasPrefix(n, "python3") {
				packages.add(path.Join(lib, n, "site-packages"))
				packages.add(path.Join(lib, n, "dist-packages"))
			}
		}
	}
	var out []candidate
	for _, dir := range packages.list {
		for _, f := range packaged {
			out = append(out, candidate{"certifi", path.Join(dir, f), false})
		}
	}
	for _, dir := range prefixes.list {
		for _, f := range bundled {
			out = append(out, candidate{"certifi", path.Join(dir, f), false})
		}
	}
	return out
}
