// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sallyport-dev/sallyport"

// tagSets are the sets of build tags that together cover every file: the default one and that of the privileged tests.
var tagSets = []string{"", "root,e2e"}

func TestImports(t *testing.T) {
	var pkgs []Package
	for _, tags := range tagSets {
		p, err := listPackages("../..", tags)
		if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p...)
	}
	if len(pkgs) == 0 {
		t.Fatal("go list found no package")
	}
	seen := map[string]bool{} // most files are in both sets
	for _, v := range CheckImports(pkgs) {
		if s := v.String(); !seen[s] {
			seen[s] = true
			t.Error(s)
		}
	}
}

func TestFiles(t *testing.T) {
	files, err := listFiles("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range CheckFiles(files) {
		t.Error(v)
	}
}

// listPackages asks the go command for the packages below dir.
func listPackages(dir, tags string) ([]Package, error) {
	cmd := exec.Command("go", "list", "-tags", tags, "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	raw, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, stderr.String())
	}
	var out []Package
	for dec := json.NewDecoder(bytes.NewReader(raw)); ; {
		var p struct {
			ImportPath                         string
			Imports, TestImports, XTestImports []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading what go list wrote: %w", err)
		}
		out = append(out, Package{Name: short(p.ImportPath), Imports: shortAll(p.Imports), TestImports: shortAll(append(p.TestImports, p.XTestImports...))})
	}
}

func short(path string) string { return strings.TrimPrefix(path, module+"/") }

func shortAll(paths []string) []string {
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = short(p)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// listFiles reads the files that git would commit or, in a tree without git, all but build and hidden folders.
func listFiles(dir string) ([]File, error) {
	cmd := exec.Command("git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = dir
	var names []string
	if raw, err := cmd.Output(); err == nil {
		names = strings.FieldsFunc(string(raw), func(r rune) bool { return r == 0 })
	} else {
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(dir, p)
			if err != nil {
				return err
			}
			if d.IsDir() && (rel == "build" || rel == ".git") {
				return filepath.SkipDir
			}
			if d.Type().IsRegular() {
				names = append(names, filepath.ToSlash(rel))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	var out []File
	for _, n := range names {
		data, err := os.ReadFile(filepath.Join(dir, n))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, not yet committed
		}
		if err != nil {
			return nil, err
		}
		out = append(out, File{Path: n, Data: data})
	}
	if len(out) == 0 {
		return nil, errors.New("no files found")
	}
	return out, nil
}

// TestImportRules plants violations: a rule that catches nothing is no rule.
func TestImportRules(t *testing.T) {
	for _, c := range []struct {
		name     string
		pkg      Package
		want     string // part of the message; "" = allowed
		wantMany int
	}{
		{name: "pipeline knows no agent", pkg: Package{Name: "pipeline/flow", Imports: []string{"agent"}}, want: "pipeline needs no host"},
		{name: "nor in its tests", pkg: Package{Name: "pipeline/flow", TestImports: []string{"agent/proxy"}}, want: "its tests import agent/proxy"},
		{name: "bpf only by kernel", pkg: Package{Name: "agent/enrol", Imports: []string{"bpf"}}, want: "only agent/kernel"},
		{name: "kernel may", pkg: Package{Name: "agent/kernel", Imports: []string{"agent", "bpf", "os"}}},
		{name: "daemon not even bpf", pkg: Package{Name: "agent/daemon", Imports: []string{"bpf"}}, want: "only agent/kernel"},
		{name: "siblings", pkg: Package{Name: "agent/proxy", Imports: []string{"agent/kernel"}}, want: "side by side"},
		{name: "below itself", pkg: Package{Name: "agent/proxy", Imports: []string{"agent/proxy/http1", "pipeline"}}},
		{name: "vocabulary below itself", pkg: Package{Name: "agent", Imports: []string{"agent/proxy"}}, want: "vocabulary"},
		{name: "vocabulary of another", pkg: Package{Name: "agent", Imports: []string{"pipeline"}}, want: "vocabulary"},
		{name: "vocabulary does no I/O", pkg: Package{Name: "pipeline", Imports: []string{"os"}}, want: "no I/O"},
		{name: "config alone", pkg: Package{Name: "agent/config", Imports: []string{"agent"}}, want: "config imports nothing"},
		{name: "agent knows no prompt", pkg: Package{Name: "agent/proxy", Imports: []string{"pipeline/llm"}}, want: "does not know what a prompt is"},
		{name: "daemon imports all", pkg: Package{Name: "agent/daemon", Imports: []string{"agent/kernel", "pipeline/flow", "pipeline/llm/openai", "tlsca/leaf"}}},
		{name: "nobody imports the daemon", pkg: Package{Name: "agent/admin", Imports: []string{"agent/daemon"}}, want: "cannot be tested alone"},
		{name: "but its program", pkg: Package{Name: "cmd/sallyportd", Imports: []string{"agent/daemon", "agent/config"}}},
		{name: "tlsca uses nobody", pkg: Package{Name: "tlsca/leaf", Imports: []string{"pipeline"}}, want: "holds keys"},
		{name: "tlsca siblings", pkg: Package{Name: "tlsca/leaf", Imports: []string{"tlsca/authority"}}, want: "holds keys"},
		{name: "keys behind an interface", pkg: Package{Name: "agent/proxy", Imports: []string{"tlsca/leaf"}}, want: "behind an interface"},
		{name: "tool and kernel", pkg: Package{Name: "cmd/sallyport", Imports: []string{"agent/kernel", "bpf", "tlsca/leaf", "agent/daemon"}}, want: "agent/kernel", wantMany: 4},
		{name: "tool", pkg: Package{Name: "cmd/sallyport", Imports: []string{"agent/adminapi", "pipeline/mask", "pipeline/journal"}}},
		{name: "tool's tests and the server", pkg: Package{Name: "cmd/sallyport", TestImports: []string{"agent/admin"}}},
		{name: "tool and the server", pkg: Package{Name: "cmd/sallyport", Imports: []string{"agent/admin"}}, want: "agent/adminapi"},
		{name: "flow and policy", pkg: Package{Name: "pipeline/flow", Imports: []string{"pipeline/policy"}}, want: "side by side"},
		{name: "flow and llm", pkg: Package{Name: "pipeline/flow", Imports: []string{"pipeline/llm", "pipeline/stream"}}},
		{name: "provider and model", pkg: Package{Name: "pipeline/llm/openai", Imports: []string{"pipeline/llm", "pipeline/stream"}}},
		{name: "provider and policy", pkg: Package{Name: "pipeline/llm/openai", Imports: []string{"pipeline/policy"}}, want: "side by side"},
		{name: "registry and provider", pkg: Package{Name: "pipeline/llm", Imports: []string{"pipeline/llm/openai"}}},
		{name: "shippers read the journal", pkg: Package{Name: "pipeline/elastic", Imports: []string{"pipeline/journal"}}},
		{name: "code and fakes", pkg: Package{Name: "agent/proxy", Imports: []string{"test/fakes"}}, want: "what ships"},
		{name: "tests and fakes", pkg: Package{Name: "agent/proxy", TestImports: []string{"test/fakes", "agent/proxy"}}},
		{name: "unknown room", pkg: Package{Name: "util"}, want: "no row"},
		{name: "reverse proxy", pkg: Package{Name: "agent/proxy", Imports: []string{"net/http/httputil"}}, want: "header order"},
		{name: "policy is pure", pkg: Package{Name: "pipeline/policy", Imports: []string{"net/http"}}, want: "pure"},
		{name: "test imports anything", pkg: Package{Name: "test/kernel", Imports: []string{"bpf", "agent/daemon"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := CheckImports([]Package{c.pkg})
			want := max(c.wantMany, min(1, len(c.want)))
			if len(got) != want {
				t.Fatalf("%d violations, want %d: %v", len(got), want, got)
			}
			if want > 0 && !strings.Contains(got[0].String(), c.want) {
				t.Errorf("message %q lacks %q", got[0], c.want)
			}
		})
	}
}

func TestFileRules(t *testing.T) {
	src := func(s string) []byte { return []byte(spdx + "\n// Package x is for tests.\npackage x\n" + s) }
	note := "TO" + "DO"
	for _, c := range []struct {
		name  string
		files []File
		want  string // "" = allowed
	}{
		{"fine", []File{{"agent/x/x.go", src("")}}, ""},
		{"no license", []File{{"agent/x/x.go", []byte("// Package x is for tests.\npackage x\n")}}, "does not begin with the license"},
		{"license too late", []File{{"agent/x/x.go", append([]byte("\n"), src("")...)}}, "does not begin with the license"},
		{"no package comment", []File{{"agent/x/x.go", []byte(spdx + "\npackage x\n")}}, "no package comment"},
		{"license is no package comment", []File{{"agent/x/x.go", []byte(spdx + "package x\n")}}, "no package comment"},
		{"init", []File{{"agent/x/x.go", src("func init() {}\n")}}, "init function"},
		{"init as a method", []File{{"agent/x/x.go", src("type t int\nfunc (t) init() {}\n")}}, ""},
		{"generated", []File{{"bpf/x.go", []byte("// Code generated by bpf2go; DO NOT EDIT.\n\n// Package bpf is.\npackage bpf\nfunc init() {}\n")}}, ""},
		{"note", []File{{"agent/x/x.go", src("// " + note + ": later\n")}}, "line 5 has a note"},
		{"note in a script", []File{{"test/x.sh", []byte("# SPDX-License-Identifier: Apache-2.0\n# " + note + "\n")}}, "line 2 has a note"},
		{"script without license", []File{{"test/x.sh", []byte("#!/bin/sh\n")}}, "names no license"},
		{"long file", []File{{"agent/x/x.go", src(strings.Repeat("\n", maxFile))}}, "x.go: has 404 lines"},
		{"long test", []File{{"agent/x/x.go", src("")}, {"agent/x/x_test.go", src(strings.Repeat("\n", maxFile))}}, "x_test.go: has 404 lines"},
		{"long file explained", []File{{"agent/x/x.go", src(strings.Repeat("\n", maxFile))},
			{"agent/x/doc.go", []byte(spdx + "\n// Package x is for tests.\n//\n// Size: x.go: one table.\npackage x\n")}}, ""},
		{"long package", longPackage(nil), "over 2000"},
		{"long package explained", longPackage([]byte("// Package x is for tests.\n//\n// Size: package: one automaton.\n")), ""},
		{"tests do not count", []File{{"agent/x/x.go", src("")}, {"agent/x/a_test.go", src(strings.Repeat("\n", 390))}}, ""},
		{"strange folder", []File{{"util/x.go", src("")}}, "top-level folder util"},
		{"code at the top", []File{{"x.go", src("")}}, "at the top"},
		{"does not parse", []File{{"agent/x/x.go", src("func {\n")}}, "does not parse"},
		{"test data is free", []File{{"agent/x/testdata/y.go", []byte("junk")}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := CheckFiles(c.files)
			switch {
			case c.want == "" && len(got) > 0:
				t.Errorf("unexpected: %v", got)
			case c.want != "" && len(got) == 0:
				t.Errorf("not caught: want %q", c.want)
			case c.want != "" && !strings.Contains(got[0].String(), c.want):
				t.Errorf("message %q lacks %q", got[0], c.want)
			}
		})
	}
}

func longPackage(doc []byte) []File {
	var out []File
	for i := range 6 {
		out = append(out, File{fmt.Sprintf("agent/x/f%d.go", i), []byte(spdx + "\npackage x\n" + strings.Repeat("\n", 390))})
	}
	if doc == nil {
		doc = []byte("// Package x is for tests.\n")
	}
	return append(out, File{"agent/x/doc.go", []byte(spdx + "\n" + string(doc) + "package x\n")})
}
