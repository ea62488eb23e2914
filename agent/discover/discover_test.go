// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/agent"
)

// zipped makes an archive of empty files.
func zipped(t testing.TB, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, n := range names {
		if _, err := z.Create(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// frozenProgram makes what PyInstaller makes: a loader, an archive with a table, and in it a PYZ with a table of its own;
// behind it section headers.
func frozenProgram(modules string, files ...string) []byte {
	pyz := append([]byte("PYZ\x00\xa7\r\r\n\x00\x00\x00\x0c"), modules...)
	entry := func(name string, offset, length int, kind byte) []byte {
		text := name + "\x00"
		b := binary.BigEndian.AppendUint32(nil, uint32(entryHeader+len(text)))
		b = binary.BigEndian.AppendUint32(b, uint32(offset))
		b = binary.BigEndian.AppendUint32(b, uint32(length))
		b = binary.BigEndian.AppendUint32(b, uint32(length))
		return append(append(b, 0, kind), text...)
	}
	toc := entry("PYZ.pyz", 0, len(pyz), 'z')
	for _, f := range files {
		toc = append(toc, entry(f, 0, 0, 'x')...)
	}
	pkg := append(slices.Clone(pyz), toc...)
	cookie := slices.Clone(frozenMagic)
	for _, n := range []int{len(pkg) + cookieSize, len(pyz), len(toc), 311} {
		cookie = binary.BigEndian.AppendUint32(cookie, uint32(n))
	}
	cookie = append(cookie, make([]byte, 64)...)
	out := append([]byte("\x7fELF and a loader"), pkg...)
	return append(append(out, cookie...), "section headers"...)
}

func TestProgram(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"PyInstaller", frozenProgram("\xfa\x0elangchain_core)"), "PyInstaller archive"},
		{"PyInstaller with its files apart", frozenProgram("os", "langchain_core/py.typed"), "PyInstaller archive"},
		{"PyInstaller of something else", frozenProgram("\xfa\x08requests)", "requests/cacert.pem", "langchain_core-1.0.dist-info/METADATA"), ""},
		{"an archive behind a program", append([]byte("\x7fELF program"), zipped(t, "langchain_core/__init__.py")...), "zip archive behind the executable"},
		{"a plain program", []byte("\x7fELF program that only talks of langchain_core/ and @langchain/core"), ""},
		{"an archive alone", zipped(t, "langchain_core/__init__.py"), ""},
		{"a text", []byte("#!/bin/sh\nimport langchain\n"), ""},
		{"empty", nil, ""},
		{"a cookie that lies about its size", append([]byte("\x7fELF"), append(frozenMagic, bytes.Repeat([]byte{0xff}, 80)...)...), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := program(bytes.NewReader(c.data), int64(len(c.data)))
			if err != nil || got.how != c.want {
				t.Errorf("got %q, %v", got.how, err)
			}
		})
	}
}

// proc is a made-up process: its folder of /proc and the files that it sees.
type proc struct {
	t    *testing.T
	root string // of /proc
	fs   string
}

const pid, start = 7, 12345 * nsPerTick

func newProc(t *testing.T, exe string, args []string, environ string, files map[string]string) *proc {
	t.Helper()
	p := &proc{t, t.TempDir(), t.TempDir()}
	dir := filepath.Join(p.root, "7")
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(dir, 0o755))
	for name, text := range files {
		f := filepath.Join(p.fs, name)
		must(os.MkdirAll(filepath.Dir(f), 0o755))
		must(os.WriteFile(f, []byte(text), 0o644))
	}
	if _, ok := files[exe]; !ok {
		must(os.MkdirAll(filepath.Join(p.fs, filepath.Dir(exe)), 0o755))
		must(os.WriteFile(filepath.Join(p.fs, exe), []byte("\x7fELF"), 0o755))
	}
	must(os.Symlink(filepath.Join(p.fs, exe), filepath.Join(dir, "exe")))
	must(os.Symlink(p.fs, filepath.Join(dir, "root")))
	must(os.Symlink("/srv", filepath.Join(dir, "cwd")))
	must(os.WriteFile(filepath.Join(dir, "cmdline"), []byte(strings.Join(args, "\x00")+"\x00"), 0o644))
	must(os.WriteFile(filepath.Join(dir, "environ"), []byte(environ), 0o644))
	must(os.WriteFile(filepath.Join(dir, "maps"), []byte(files["maps"]), 0o644))
	must(os.WriteFile(filepath.Join(dir, "stat"), []byte("7 (x) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0"), 0o644))
	return p
}

// found runs the search over the process until it has looked at it, and says how it was recognised.
func (p *proc) found(o Options, fresh bool) (out []Finding, d *Discover) {
	o.proc = p.root
	marks := map[uint32]bool{}
	o.Mark = func(f Finding) (bool, error) { is := !marks[f.PID]; marks[f.PID] = true; return is, nil }
	o.Unmark = func(pid uint32, _ uint64) error { delete(marks, pid); return nil }
	if o.Judge == nil {
		o.Judge = func(agent.Program, bool) error { return nil }
	}
	o.Found = func(f Finding) { out = append(out, f) }
	d = New(o)
	d.look(p.t.Context(), job{pid: pid, start: start, fresh: fresh})
	return out, d
}

func TestScripts(t *testing.T) {
	app, plain := string(zipped(t, "__main__.py", "langchain_core/__init__.py")), string(zipped(t, "__main__.py", "langchain_core.py"))
	pex := string(zipped(t, ".deps/langchain_core-1.0-py3-none-any.whl/langchain_core/__init__.py"))
	const py, node = "usr/bin/python3.11", "usr/bin/node"
	for _, c := range []struct {
		name    string
		exe     string
		args    []string
		environ string
		files   map[string]string
		want    string
	}{
		{name: "zipapp", exe: py, args: []string{"python3", "/srv/app.pyz", "x"}, files: map[string]string{"srv/app.pyz": "#!/usr/bin/python3\n" + app}, want: "zip archive /srv/app.pyz"},
		{name: "zipapp, by a relative name and options", exe: py, args: []string{"python3", "-Es", "-W", "ignore", "-Xdev", "app.pyz"}, files: map[string]string{"srv/app.pyz": app}, want: "zip archive /srv/app.pyz"},
		{name: "PEX", exe: py, args: []string{"python3", "/srv/app.pex"}, files: map[string]string{"srv/app.pex": "#!/usr/bin/env python3\n" + pex}, want: "zip archive /srv/app.pex"},
		{name: "another zipapp", exe: py, args: []string{"python3", "/srv/app.pyz"}, files: map[string]string{"srv/app.pyz": plain}},
		{name: "zipimport by PYTHONPATH", exe: py, args: []string{"python3", "/srv/main.py"}, environ: "A=1\x00PYTHONPATH=/lib:/srv/lib.zip\x00", files: map[string]string{"srv/main.py": "pass", "srv/lib.zip": app}, want: "zip archive /srv/lib.zip"},
		{name: "a script that imports", exe: py, args: []string{"python3", "/srv/main.py"}, files: map[string]string{"srv/main.py": "import os\nfrom langchain_openai import ChatOpenAI\n"}, want: "import in script /srv/main.py"},
		{name: "a script that imports late", exe: py, args: []string{"python3", "/srv/main.py"}, files: map[string]string{"srv/main.py": "def f():\n    import langchain.chat\n"}, want: "import in script /srv/main.py"},
		{name: "a module in the working directory", exe: py, args: []string{"python3", "-um", "bots.one"}, files: map[string]string{"srv/bots/one/__main__.py": "import langchain_core"}, want: "import in script /srv/bots/one/__main__.py"},
		{name: "a folder", exe: py, args: []string{"python3", "/srv/bot"}, files: map[string]string{"srv/bot/__main__.py": "import langchain_core"}, want: "import in script /srv/bot/__main__.py"},
		{name: "a script that talks of it", exe: py, args: []string{"python3", "/srv/main.py"}, files: map[string]string{"srv/main.py": "# import langchain some day\nx = 'from langchain_core import y'\nimport langchainx\n"}},
		{name: "pip, over an archive of it", exe: py, args: []string{"python3", "/usr/bin/pip", "install", "/srv/langchain_core.whl"}, files: map[string]string{"usr/bin/pip": "from pip import main", "srv/langchain_core.whl": app}},
		{name: "a module of the library, over an archive of it", exe: py, args: []string{"python3", "-m", "zipfile", "-l", "/srv/app.pyz"}, files: map[string]string{"srv/app.pyz": app}},
		{name: "code on the command line", exe: py, args: []string{"python3", "-c", "import langchain", "/srv/app.pyz"}, files: map[string]string{"srv/app.pyz": app}},
		{name: "standard input", exe: py, args: []string{"python3", "-", "/srv/app.pyz"}, files: map[string]string{"srv/app.pyz": app}},
		{name: "a bundle", exe: node, args: []string{"node", "--enable-source-maps", "-r", "./env.js", "bundle.mjs"}, files: map[string]string{"srv/bundle.mjs": `this._addVersion("@langchain/core","1")`, "srv/env.js": "x"}, want: "JavaScript /srv/bundle.mjs"},
		{name: "a bundle without the package's name", exe: node, args: []string{"node", "bundle.js"}, files: map[string]string{"srv/bundle.js": `lc_namespace=["langchain_core","messages"]`}, want: "JavaScript /srv/bundle.js"},
		{name: "a bundle, run by a verb", exe: "usr/bin/bun", args: []string{"bun", "run", "bundle"}, files: map[string]string{"srv/bundle.js": `"@langchain/core"`}, want: "JavaScript /srv/bundle.js"},
		{name: "another script", exe: node, args: []string{"node", "server.js", "bundle.js"}, files: map[string]string{"srv/server.js": "1", "srv/bundle.js": "@langchain/core"}},
		{name: "code for node", exe: node, args: []string{"node", "-e", "1", "bundle.js"}, files: map[string]string{"srv/bundle.js": "@langchain/core"}},
		{name: "tar, over an archive of it", exe: "usr/bin/tar", args: []string{"tar", "-xf", "/srv/app.pyz"}, files: map[string]string{"srv/app.pyz": app}},
		{name: "grep, over a bundle", exe: "usr/bin/grep", args: []string{"grep", "x", "/srv/bundle.js"}, files: map[string]string{"srv/bundle.js": "@langchain/core"}},
		{name: "a file that is gone", exe: py, args: []string{"python3", "/srv/gone.py"}},
		{name: "no arguments", exe: py, args: []string{"python3"}},
		{name: "a mapped library", exe: py, args: []string{"python3"}, files: map[string]string{"maps": "7f0000000000-7f0000001000 r-xp 00000000 08:01 12 /venv/site-packages/langchain_x/fast.so\n"}, want: "mapped file /venv/site-packages/langchain_x/fast.so"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProc(t, c.exe, c.args, c.environ, c.files)
			got, _ := p.found(Options{}, false)
			if c.want == "" && len(got) == 0 {
				return
			}
			if len(got) != 1 || got[0].How != c.want || !got[0].New || got[0].PID != pid || got[0].Start != start {
				t.Errorf("got %+v, want %q", got, c.want)
			}
		})
	}
}

// TestLinks: a link leads where it leads the process, and nothing but a regular file is opened.
func TestLinks(t *testing.T) {
	p := newProc(t, "usr/bin/python3", []string{"python3", "/srv/main.py"}, "", map[string]string{"opt/main.py": "import langchain"})
	if err := os.MkdirAll(filepath.Join(p.fs, "srv"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/opt/main.py", filepath.Join(p.fs, "srv/main.py")); err != nil {
		t.Fatal(err)
	}
	if got, _ := p.found(Options{}, true); len(got) != 1 {
		t.Errorf("an absolute link: %+v", got)
	}
}

func TestAnotherProcess(t *testing.T) {
	p := newProc(t, "usr/bin/python3", []string{"python3", "/srv/main.py"}, "", map[string]string{"srv/main.py": "import langchain"})
	d := New(Options{proc: p.root, Mark: func(Finding) (bool, error) { t.Error("marked"); return true, nil }, Found: func(Finding) { t.Error("found") }})
	d.look(t.Context(), job{pid: pid, start: start + 5*nsPerTick})
	d.look(t.Context(), job{pid: 8, start: start})
}

// TestChangedMeanwhile: a mark is taken back if the process runs something else by the time it is set.
func TestChangedMeanwhile(t *testing.T) {
	p := newProc(t, "usr/bin/python3", []string{"python3", "/srv/main.py"}, "", map[string]string{"srv/main.py": "import langchain"})
	unmarked := false
	d := New(Options{proc: p.root, Found: func(Finding) { t.Error("found") }, Unmark: func(uint32, uint64) error { unmarked = true; return nil },
		Mark: func(Finding) (bool, error) {
			exe := filepath.Join(p.root, "7/exe")
			if err := os.Remove(exe); err != nil {
				t.Fatal(err)
			}
			return true, os.Symlink("/proc/self/exe", exe)
		}})
	d.look(t.Context(), job{pid: pid, start: start})
	if !unmarked {
		t.Error("the mark stays")
	}
}

func TestNotWanted(t *testing.T) {
	p := newProc(t, "usr/bin/python3", []string{"python3", "/srv/main.py"}, "", map[string]string{"srv/main.py": "import langchain"})
	if got, _ := p.found(Options{Wanted: func(uint32, uint64) bool { return false }}, false); len(got) != 0 {
		t.Errorf("got %+v", got)
	}
}

// TestJudge: what is found of an executable that was just executed is told to the kernel once it is sure that it is that one.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name  string
		other bool
		want  []bool
	}{
		{name: "the same file", want: []bool{true}},
		{name: "another file by now", other: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProc(t, "srv/app", []string{"app"}, "", map[string]string{"srv/app": string(frozenProgram("langchain_core"))})
			f, err := process{p.root, pid}.executable()
			if err != nil {
				t.Fatal(err)
			}
			file := f.id
			f.Close()
			if c.other {
				file.Size++
			}
			var judged []bool
			d := New(Options{proc: p.root, Mark: func(Finding) (bool, error) { return true, nil }, Found: func(Finding) {},
				Judge: func(_ agent.Program, is bool) error { judged = append(judged, is); return nil }})
			d.look(t.Context(), job{pid: pid, start: start, fresh: true, exec: file})
			if !slices.Equal(judged, c.want) {
				t.Errorf("judged %v", judged)
			}
		})
	}
}

// TestTooLarge: what is too large to be read counts as nothing, and is not read again.
func TestTooLarge(t *testing.T) {
	p := newProc(t, "usr/bin/node", []string{"node", "/srv/bundle.js"}, "", map[string]string{"srv/bundle.js": ""})
	if err := os.Truncate(filepath.Join(p.fs, "srv/bundle.js"), maxText+1); err != nil {
		t.Fatal(err)
	}
	if got, d := p.found(Options{}, false); len(got) != 0 || len(d.cache) != 1 {
		t.Errorf("got %+v, %d remembered", got, len(d.cache))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := &bounded{ctx: ctx, r: bytes.NewReader([]byte("x")), left: 1}
	if _, err := b.ReadAt(make([]byte, 1), 0); err == nil || b.err == nil {
		t.Error("it reads on although nobody waits")
	}
}

func TestRunStops(t *testing.T) {
	p := newProc(t, "usr/bin/python3", []string{"python3", "/srv/main.py"}, "", map[string]string{"srv/main.py": "import langchain"})
	found := make(chan Finding, 8)
	d := New(Options{proc: p.root, Mark: func(Finding) (bool, error) { return true, nil }, Found: func(f Finding) { found <- f }})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- d.Run(ctx) }()
	<-found // those that ran before
	d.Look(pid, start)
	<-found
	d.Exec(agent.Exec{PID: pid, Start: start})
	<-found
	d.Again()
	<-found
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDropped(t *testing.T) {
	d := New(Options{})
	for range queueSize + 3 {
		d.Look(1, 1)
	}
	if n := d.Dropped(); n != 3 {
		t.Errorf("%d", n)
	}
}

func TestInPackage(t *testing.T) {
	for path, want := range map[string]bool{
		"/v/site-packages/langchain/x.py": true, "/v/langchain_core/x.py": true, "/n/node_modules/@langchain/core/i.js": true, "/n/node_modules/langchain/i.js": true,
		"/work/langchain/app.py": false, "/v/langchain_core-1.dist-info/x": false, "/v/langchain_core": false, "": false, "/": false, "/@langchain2/x": false, "/my-langchain_x/y": false,
	} {
		if got := inPackage(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
