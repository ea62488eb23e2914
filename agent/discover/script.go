// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// language is what an interpreter runs.
type language uint8

const (
	none language = iota
	python
	javascript
)

// interpreter says what an executable runs, by its name: as runs_scripts of track.bpf.c does.
func interpreter(exe string) language {
	switch name := filepath.Base(exe); {
	case strings.HasPrefix(name, "python"), strings.HasPrefix(name, "pypy"):
		return python
	case strings.HasPrefix(name, "node"), name == "bun", name == "deno":
		return javascript
	}
	return none
}

const (
	maxText    = 32 << 20 // of a script or bundle
	maxImports = 16       // entries of PYTHONPATH
	maxTries   = 3        // arguments that may be the script, where options are not known
)

// script looks at what an interpreter was told to run, and at the archives that it was told to import from.
func (d *Discover) script(ctx context.Context, p process, l language) (evidence, error) {
	args, err := p.arguments()
	if err != nil {
		return evidence{}, err
	}
	var failed error
	for _, name := range candidates(l, args) {
		e, err := d.source(ctx, p, l, name)
		if e.how != "" {
			return e, nil
		}
		if err == nil {
			break
		}
		failed = err
	}
	if l != python {
		return evidence{}, failed
	}
	entries := strings.Split(p.variable("PYTHONPATH"), ":")
	for _, name := range entries[:min(len(entries), maxImports)] {
		if filepath.Ext(name) == "" {
			continue // a folder: what is opened in it is seen by the kernel programs
		}
		f, err := p.open(name)
		if err != nil {
			continue
		}
		e, err := d.cached(ctx, f, func(r io.ReaderAt) (evidence, error) { return archive(r, f.size(), f.name) })
		f.Close()
		if err == nil && e.how != "" {
			return e, nil
		}
	}
	return evidence{}, failed
}

// source looks at one script, archive or bundle.
func (d *Discover) source(ctx context.Context, p process, l language, name string) (evidence, error) {
	f, err := p.open(name)
	if err != nil {
		return evidence{}, err
	}
	defer f.Close()
	return d.cached(ctx, f, func(r io.ReaderAt) (evidence, error) {
		if l == python {
			if e, err := archive(r, f.size(), f.name); !errors.Is(err, errNoArchive) {
				return e, err
			}
		}
		text, err := io.ReadAll(io.NewSectionReader(r, 0, min(f.size(), maxText)))
		if err != nil {
			return evidence{}, err
		}
		switch {
		case l == python && pythonImport.Match(text):
			return evidence{"import in script " + f.name, f.name}, nil
		case l == javascript && bundles(text):
			return evidence{"JavaScript " + f.name, f.name}, nil
		case f.size() > maxText:
			return evidence{}, errLarge
		}
		return evidence{}, nil
	})
}

// pythonImport is a statement at the beginning of a line.
var pythonImport = regexp.MustCompile(`(?m)^[ \t]*(?:from|import)[ \t]+langchain(?:_[a-z0-9_]+)?(?:[ \t.,;]|\r?$)`)

// bundles says whether a JavaScript text holds LangChain, or imports it: by the name of its package, which it tells providers
// even when it was minified, or by what its objects are serialised under.
func bundles(text []byte) bool {
	return bytes.Contains(text, []byte("@langchain/core")) || bytes.Contains(text, []byte("@langchain/openai")) ||
		bytes.Contains(text, []byte("lc_namespace")) && bytes.Contains(text, []byte("langchain_core"))
}

// candidates are the arguments that may be the script, in the order in which they are tried; none if the program comes from
// elsewhere, as by -c.
func candidates(l language, args []string) []string {
	if len(args) < 2 {
		return nil
	}
	if l == python {
		return pythonScript(args[1:])
	}
	return nodeScript(args[1:])
}

// pythonScript reads the command line as python does (python(1)): options are letters that may stand together, and c, m, W
// and X take what follows.
func pythonScript(args []string) []string {
	for len(args) > 0 {
		a := args[0]
		args = args[1:]
		switch {
		case a == "-":
			return nil // standard input
		case a == "--":
			return inside(args[:min(1, len(args))])
		case strings.HasPrefix(a, "--"):
			if a == "--check-hash-based-pycs" && len(args) > 0 {
				args = args[1:]
			}
		case strings.HasPrefix(a, "-"):
			i := strings.IndexAny(a, "cmWX")
			if i < 0 {
				continue
			}
			value := a[i+1:]
			if value == "" {
				if len(args) == 0 {
					return nil
				}
				value, args = args[0], args[1:]
			}
			switch a[i] {
			case 'c':
				return nil
			case 'm':
				file := strings.ReplaceAll(value, ".", "/")
				return []string{file + ".py", file + "/__main__.py"}
			}
		default:
			return inside([]string{a})
		}
	}
	return nil
}

// inside adds the file that python runs if it is given a folder.
func inside(script []string) []string {
	if len(script) == 0 {
		return nil
	}
	return []string{script[0], filepath.Join(script[0], "__main__.py")}
}

// nodeScript finds the script of node, bun and deno: the first arguments that are no options and no option's value, as far
// as that can be told. Bun and deno have verbs before it.
func nodeScript(args []string) (out []string) {
	valued := []string{"-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions", "--env-file", "--title"}
	for i := 0; i < len(args) && len(out) < 2*maxTries; i++ {
		switch a := args[i]; {
		case a == "-" || slices.Contains([]string{"-e", "--eval", "-p", "--print", "-pe"}, a):
			return out
		case slices.Contains(valued, a):
			i++
		case strings.HasPrefix(a, "-"):
		default:
			out = append(out, a)
			if filepath.Ext(a) == "" {
				out = append(out, a+".js")
			}
		}
	}
	return out
}
