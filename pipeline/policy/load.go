// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sallyport-dev/sallyport/pipeline/policy/cond"
)

// apiVersion is the only one there is.
const apiVersion = "sallyport.dev/v1alpha1"

// Bounds of what is loaded: bytes of one file, lines of errors.
const (
	maxFile   = 4 << 20
	maxErrors = 10
)

// Load compiles the *.yaml and *.yml files directly in dir, all or nothing. Each line of the error says
// "file:line: what is wrong: what to do".
func Load(dir string) (*Set, error) { return load(os.DirFS(dir), dir) }

// LoadFS is Load of the top folder of fsys.
func LoadFS(fsys fs.FS) (*Set, error) { return load(fsys, "") }

func load(fsys fs.FS, dir string) (*Set, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("reading the policy folder %s: %w", dir, err)
	}
	l := &loader{}
	sum := sha256.New()
	for _, e := range entries { // ReadDir sorts by name
		name := e.Name()
		if ext := path.Ext(name); ext != ".yaml" && ext != ".yml" || strings.HasPrefix(name, ".") {
			continue
		}
		b, err := readFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("reading policy %s: %w", path.Join(dir, name), err)
		}
		fmt.Fprintf(sum, "%d %s %d\n", len(name), name, len(b)) // lengths keep the files apart
		sum.Write(b)
		l.file(path.Join(dir, name), b)
	}
	s := l.compile()
	if len(l.problems) > 0 {
		return nil, l.err()
	}
	s.indexGuards()
	s.version = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	return s, nil
}

func readFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("larger than %d MiB: split it", maxFile>>20)
	}
	return b, err
}

type loader struct {
	roles    []*doc[roleSpec]
	bindings []*doc[bindingSpec]
	guards   []*doc[guardSpec]
	problems []string
	conds    *cond.Env // made when it is needed
}

// add notes a problem; the text says what is wrong and what to do.
func (l *loader) add(file string, line int, format string, args ...any) {
	l.problems = append(l.problems, fmt.Sprintf("%s:%d: ", file, max(line, 1))+strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " "))
}

func (l *loader) err() error {
	var out []error
	for i, p := range l.problems {
		if i == maxErrors-1 && len(l.problems) > maxErrors {
			out = append(out, fmt.Errorf("policy: %d more problems: mend these first", len(l.problems)-i))
			break
		}
		out = append(out, errors.New(p))
	}
	return errors.Join(out...)
}

// file reads the documents twice in step: as nodes, which know their lines and kind, and strictly into that kind.
func (l *loader) file(name string, b []byte) {
	nodes, strict := yaml.NewDecoder(bytes.NewReader(b)), yaml.NewDecoder(bytes.NewReader(b))
	strict.KnownFields(true)
	for {
		var n yaml.Node
		if err := nodes.Decode(&n); err == io.EOF {
			return
		} else if err != nil {
			l.yaml(name, 1, err)
			return
		}
		top := &n
		if n.Kind == yaml.DocumentNode {
			top = n.Content[0]
		}
		kind := ""
		for i := 0; top.Kind == yaml.MappingNode && i+1 < len(top.Content); i += 2 {
			if top.Content[i].Value == "kind" {
				kind = top.Content[i+1].Value
			}
		}
		at := place{name, cmp.Or(top.Line, n.Line)}
		switch {
		case kind == "Role":
			read(l, strict, &l.roles, at)
		case kind == "RoleBinding":
			read(l, strict, &l.bindings, at)
		case kind == "Guardrail":
			read(l, strict, &l.guards, at)
		default:
			var skip yaml.Node
			if err := strict.Decode(&skip); err != nil {
				l.yaml(name, at.line, err)
				return
			}
			if !empty(top) {
				l.add(name, at.line, "kind %q is not known: use Role, RoleBinding or Guardrail", kind)
			}
			continue
		}
		l.nulls(name, top)
	}
}

func read[S any](l *loader, dec *yaml.Decoder, list *[]*doc[S], at place) {
	d := &doc[S]{}
	if err := dec.Decode(d); err != nil {
		l.yaml(at.file, at.line, err)
		return
	}
	d.place = at
	if d.APIVersion.s != apiVersion {
		l.add(at.file, cmp.Or(d.APIVersion.line, at.line), "apiVersion %q is not known: use %s", d.APIVersion.s, apiVersion)
	}
	name := d.Metadata.Name
	if !nameShape.MatchString(name.s) {
		l.add(at.file, cmp.Or(name.line, at.line), "metadata.name %q cannot be used: give letters, digits, dots, dashes, at most 63", name.s)
	}
	for _, o := range *list {
		if o.Metadata.Name.s == name.s {
			l.add(at.file, cmp.Or(name.line, at.line), "%s %s is already at %s:%d: give each its own name", d.Kind.s, name.s, o.file, o.line)
		}
	}
	*list = append(*list, d)
}

// empty says whether a document holds nothing but comments.
func empty(n *yaml.Node) bool { return n.Kind == 0 || n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// nulls refuses keys without a value: whoever deletes the value of a subject's unit must not bind every unit.
func (l *loader) nulls(file string, n *yaml.Node) {
	if empty(n) && n.Kind != 0 {
		l.add(file, n.Line, "a key or list entry has no value: give one or remove it")
	}
	for _, c := range n.Content {
		l.nulls(file, c)
	}
}

var (
	nameShape   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	yamlLine    = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
	yamlUnknown = regexp.MustCompile(`^field (.*) not found in type `)
	yamlTwice   = regexp.MustCompile(`^(?:mapping key (.*) already defined at line (\d+)|field (.*) already set in type )`)
	yamlType    = regexp.MustCompile("^cannot unmarshal (\\S+)(?: `(.*)`)? into (.*)$")
)

// yaml translates the decoder's errors, which name Go types, into words about the file.
func (l *loader) yaml(file string, line int, err error) {
	texts := []string{err.Error()}
	var te *yaml.TypeError
	if errors.As(err, &te) {
		texts = te.Errors
	}
	for _, t := range texts {
		t, line := strings.Join(strings.Fields(t), " "), line
		if m := yamlLine.FindStringSubmatch(t); m != nil {
			line, _ = strconv.Atoi(m[1]) // digits; a line beyond int stays 0 and prints as 1
			t = m[2]
		}
		if m := yamlUnknown.FindStringSubmatch(t); m != nil {
			l.add(file, line, "unknown field %q: remove it or mend its spelling", m[1])
		} else if m := yamlTwice.FindStringSubmatch(t); m != nil {
			l.add(file, line, "field %s stands here a second time: keep one", strings.Trim(m[1]+m[3], `"`))
		} else if m := yamlType.FindStringSubmatch(t); m != nil {
			l.add(file, line, "%q does not fit here: give %s", m[2], wanted(m[3]))
		} else if strings.Contains(t, "does not fit here: ") {
			l.add(file, line, "%s", t)
		} else {
			l.add(file, line, "not valid YAML (%s): mend the syntax", strings.TrimPrefix(t, "yaml: "))
		}
	}
}

// wanted names a Go type in words.
func wanted(goType string) string {
	switch {
	case goType == "int64":
		return "a whole number"
	case goType == "uint32":
		return "a number from 0 to 4294967295"
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	}
	return "fields with values"
}

// sorted puts documents in the order of their names.
func sorted[S any](in []*doc[S]) []*doc[S] {
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b *doc[S]) int { return cmp.Compare(a.Metadata.Name.s, b.Metadata.Name.s) })
	return out
}
