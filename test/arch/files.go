// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
)

// The limits of size, in lines.
const (
	maxFile    = 400
	maxPackage = 2000
)

// spdx is the first line of every Go file.
const spdx = "// SPDX-License-Identifier: Apache-2.0\n"

// folders are all that may stand at the top.
var folders = []string{".ci", ".github", "agent", "bpf", "cmd", "deploy", "docs", "pipeline", "test", "tlsca"}

// unfinished finds notes to do something later. It is put together so that it does not find itself.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME)\b`)

// generated is the line by which Go tools know generated code (go.dev/s/generatedcode).
var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// File is one file of the repository.
type File struct {
	Path string // slash-separated, from the top
	Data []byte
}

// CheckFiles applies the rules about single files and about the size of packages.
func CheckFiles(files []File) []Violation {
	var out []Violation
	add := func(where, what, why string) { out = append(out, Violation{where, what, why}) }
	pkgs := map[string]*folder{}
	for _, f := range files {
		top, rest, nested := strings.Cut(f.Path, "/")
		if nested && !slices.Contains(folders, top) {
			add(f.Path, "stands in top-level folder "+top, "the top level is the map of the project: "+strings.Join(folders, " "))
		}
		if strings.Contains("/"+rest, "/testdata/") {
			continue
		}
		if text(f.Path) {
			if at := unfinished.FindIndex(f.Data); at != nil {
				add(f.Path, fmt.Sprintf("line %d has a note to do something later", 1+bytes.Count(f.Data[:at[0]], []byte("\n"))), "finish it, or open an issue and say what does not work yet")
			}
		}
		switch path.Ext(f.Path) {
		case ".go":
			if !nested {
				add(f.Path, "is a Go file at the top", "the top level holds folders, not code")
			}
			goFile(f, pkgs, add)
		case ".c", ".h", ".sh", ".py":
			head, _, _ := bytes.Cut(f.Data, []byte("\n\n"))
			if !bytes.Contains(head, []byte("SPDX-License-Identifier: ")) {
				add(f.Path, "names no license", "write SPDX-License-Identifier into its first lines")
			}
		}
	}
	for _, dir := range sortedKeys(pkgs) {
		pkgs[dir].check(dir, add)
	}
	return out
}

// folder is what is gathered about the Go files of one folder.
type folder struct {
	lines      int // without tests and generated files
	documented bool
	long       map[string]int
	doc        string // the text of doc.go
}

func (p *folder) check(dir string, add func(where, what, why string)) {
	if !p.documented {
		add(dir, "has no package comment", "the first thing that a newcomer reads is what the package is for")
	}
	for _, name := range sortedKeys(p.long) {
		if !p.explains(name) {
			add(path.Join(dir, name), fmt.Sprintf("has %d lines", p.long[name]), fmt.Sprintf("over %d a file is split, or doc.go says why not, as \"Size: %s: WHY\"", maxFile, name))
		}
	}
	if p.lines > maxPackage && !p.explains("package") {
		add(dir, fmt.Sprintf("has %d lines without tests", p.lines), fmt.Sprintf("over %d a package is split, or doc.go says why not, as \"Size: package: WHY\"", maxPackage))
	}
}

func (p *folder) explains(name string) bool {
	_, why, ok := strings.Cut(p.doc, "Size: "+name+": ")
	return ok && strings.TrimSpace(why) != ""
}

func goFile(f File, pkgs map[string]*folder, add func(where, what, why string)) {
	dir, name := path.Split(f.Path)
	dir = path.Clean(dir)
	p := pkgs[dir]
	if p == nil {
		p = &folder{long: map[string]int{}}
		pkgs[dir] = p
	}
	tree, err := parser.ParseFile(token.NewFileSet(), f.Path, f.Data, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		add(f.Path, "does not parse", err.Error())
		return
	}
	// A license line that stands right above the package clause is not a comment about the package.
	p.documented = p.documented || tree.Doc != nil && !strings.HasPrefix(tree.Doc.Text(), "SPDX")
	if generated.Match(f.Data) {
		return
	}
	if !bytes.HasPrefix(f.Data, []byte(spdx)) {
		add(f.Path, "does not begin with the license", "the first line of every Go file is "+strings.TrimSpace(spdx))
	}
	for _, d := range tree.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			add(f.Path, "has an init function", "what happens at start is written where it starts, in the order in which it happens")
		}
	}
	lines := bytes.Count(f.Data, []byte("\n"))
	if lines > maxFile {
		p.long[name] = lines
	}
	if !strings.HasSuffix(name, "_test.go") {
		p.lines += lines
	}
	if name == "doc.go" {
		p.doc = tree.Doc.Text()
	}
}

// text says whether a file is written by people.
func text(p string) bool {
	switch path.Ext(p) {
	case ".go", ".c", ".h", ".sh", ".py", ".md", ".yaml", ".yml", ".js", ".html", ".css", ".service":
		return true
	}
	return path.Base(p) == "Makefile"
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
