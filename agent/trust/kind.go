// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"debug/elf"
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// The kinds of program that read their trust stores in ways of their own.
const (
	kindPython = "python"
	kindNode   = "node"
	kindBun    = "bun"
	kindDeno   = "deno"
	kindJava   = "java"
	kindGo     = "go"
)

// kindOf tells by the executable what kind of program a process is; else what it is called.
func kindOf(p *process) string {
	name := strings.TrimSuffix(path.Base(p.link("exe")), " (deleted)")
	switch {
	case strings.HasPrefix(name, "python"), strings.HasPrefix(name, "pypy"):
		return kindPython
	case strings.HasPrefix(name, "node"):
		return kindNode
	case name == kindBun, name == kindDeno, name == kindJava:
		return name
	case p.isGo():
		return kindGo
	}
	return name
}

// Kind says what kind of program a process is; "" if it has ended. start is in nanoseconds since boot.
func (t *Trust) Kind(pid int, start uint64) string {
	p, err := openProcess(pid, start)
	if err != nil {
		return ""
	}
	defer p.close()
	return kindOf(p)
}

// readsSystem says whether a JavaScript runtime was told to read the system's store.
func (p *process) readsSystem(kind string) bool {
	env := p.environ()
	if kind == kindDeno {
		return strings.Contains(env["DENO_TLS_CA_STORE"], "system")
	}
	args, err := p.read("cmdline", maxEnviron)
	told := env["NODE_OPTIONS"]
	if err == nil {
		told += " " + strings.ReplaceAll(string(args), "\x00", " ")
	}
	return env["NODE_USE_SYSTEM_CA"] == "1" || strings.Contains(told, "--use-system-ca") || strings.Contains(told, "--use-openssl-ca")
}

// isGo looks for the section that Go's linker makes in every program.
func (p *process) isGo() bool {
	fd, err := unix.Openat(int(p.proc.Fd()), "exe", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	f, err := elf.NewFile(&fileAt{fd: fd})
	if err != nil {
		return false
	}
	return f.Section(".go.buildinfo") != nil
}

// fileAt reads a descriptor, a bounded number of times: what a program calls its executable is for it to choose.
type fileAt struct{ fd, reads int }

func (f *fileAt) ReadAt(b []byte, off int64) (int, error) {
	if f.reads++; f.reads > 1000 {
		return 0, errors.New("too many reads")
	}
	n, err := unix.Pread(f.fd, b, off)
	if err == nil && n < len(b) {
		err = errors.New("short read")
	}
	return n, err
}

// mend says what makes a program of a kind trust us.
func (t *Trust) mend(kind string) string {
	const run = "or start it with `sallyport run -- CMD`"
	roots := t.opts.RootsFile
	if roots == "" {
		roots = "the file of our roots"
	}
	switch kind {
	case kindPython:
		return "restart the program: Python keeps what it read when the client was made; " + run
	case kindNode:
		return fmt.Sprintf("set NODE_EXTRA_CA_CERTS=%s where it is started (Node.js reads no store of the system), %s, or set trust.node_inspector: true", roots, run)
	case kindBun:
		return fmt.Sprintf("set NODE_EXTRA_CA_CERTS=%s where it is started, %s", roots, run)
	case kindDeno:
		return "set DENO_TLS_CA_STORE=system where it is started, so that Deno reads the system's store, " + run
	case kindJava:
		return "restart the program with `sallyport run -- CMD`, where the key store of its JDK holds our root (a file that javax.net.ssl.trustStore names is not changed: import our root into it)"
	case kindGo:
		return "restart the program: Go reads the system's store once; " + run
	}
	return "restart the program, " + run + ": it read its trust store before our root was in it, or has one of its own"
}

// Trusting says what is known of a process's trust from its stores alone, and what mends it. start is in nanoseconds
// since boot.
func (t *Trust) Trusting(pid int, start uint64) agent.Trusting {
	p, err := openProcess(pid, start)
	if err != nil {
		return agent.Trusting{State: agent.TrustMissing, Why: err.Error(), Mend: t.mend("")}
	}
	defer p.close()
	kind := kindOf(p)
	out := agent.Trusting{Kind: kind, Mend: t.mend(kind)}
	if (kind == kindNode || kind == kindBun || kind == kindDeno) && !p.readsSystem(kind) {
		out.State, out.Why = agent.TrustMissing, "it has not read our root" // whatever lies in its stores
		return out
	}
	if ok, why := t.Trusted(pid, start); !ok {
		out.State, out.Why = agent.TrustMissing, why
		return out
	}
	out.State, out.Why = agent.TrustUnread, "its trust stores hold our root, but it has not read one of them since"
	return out
}
