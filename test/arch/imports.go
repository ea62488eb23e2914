// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"fmt"
	"slices"
	"strings"
)

// Package is what a rule needs to know about one package. Names are import paths; those of ours lack the module's name.
type Package struct {
	Name        string   // "agent/proxy"
	Imports     []string // of its code, ours and others'
	TestImports []string // of its tests, internal and external
}

// Violation is one broken rule.
type Violation struct {
	Where string // package or file
	What  string
	Why   string
}

func (v Violation) String() string { return fmt.Sprintf("%s: %s: %s", v.Where, v.What, v.Why) }

// permission lets packages that match from import packages of ours that match to. A name matches itself; "x/*" matches
// everything below x, at any depth.
type permission struct {
	from string
	to   []string
}

// permissions is the import table. A package takes the first row that matches it. Besides, every package may import the
// ones below it (agent/proxy → agent/proxy/http1).
var permissions = []permission{
	{"agent", nil},
	{"agent/daemon", []string{"agent", "agent/*", "pipeline", "pipeline/*", "tlsca", "tlsca/*"}},
	{"agent/config", nil},
	{"agent/telemetry", nil},
	{"agent/kernel", []string{"agent", "pipeline", "bpf"}},
	{"agent/kernel/*", []string{"agent", "bpf"}},
	{"agent/admin", []string{"agent", "pipeline", "agent/adminapi"}},
	{"agent/*", []string{"agent", "pipeline"}},

	{"pipeline", nil},
	{"pipeline/flow", []string{"pipeline", "pipeline/llm", "pipeline/stream"}},
	{"pipeline/llm", []string{"pipeline", "pipeline/stream"}},
	{"pipeline/llm/*", []string{"pipeline", "pipeline/llm", "pipeline/stream"}}, // the compiler sees to it that only one of the two imports the other
	{"pipeline/archive", []string{"pipeline", "pipeline/journal"}},
	{"pipeline/elastic", []string{"pipeline", "pipeline/journal", "pipeline/journal/durable"}},
	{"pipeline/elastic/kibana", nil}, // words and numbers: its tests compare them with the table of fields
	{"pipeline/journal/*", []string{"pipeline", "pipeline/journal/durable"}},
	{"pipeline/elastic/*", []string{"pipeline", "pipeline/journal", "pipeline/journal/anchor", "pipeline/secretfile", "pipeline/elastic/*"}}, // its parts
	{"pipeline/report", []string{"pipeline", "pipeline/journal", "pipeline/archive"}},
	{"pipeline/policy", []string{"pipeline", "pipeline/mask/rule"}},  // a guardrail that masks replies is a rule of masking: its words, not its engine
	{"pipeline/policy/*", []string{"pipeline", "pipeline/policy/*"}}, // tools around the engine, and its parts
	{"pipeline/mask/*", []string{"pipeline", "pipeline/mask/*"}},     // the engine's parts
	{"pipeline/*", []string{"pipeline"}},

	{"tlsca", nil},
	{"tlsca/*", []string{"tlsca"}},
	{"bpf", nil},
	{"bpf/*", nil},
	{"docs", nil},

	{"cmd/sallyportd", []string{"agent", "agent/daemon", "agent/config", "agent/telemetry"}},
	{"cmd/sallyport", []string{"docs", "agent/adminapi", "agent/config", "pipeline", "pipeline/mask", "pipeline/mask/*", "pipeline/policy", "pipeline/policy/*", "pipeline/journal", "pipeline/journal/anchor", "pipeline/journal/original", "pipeline/llm", "pipeline/archive", "pipeline/elastic", "pipeline/elastic/*"}},
	{"deploy/*", nil},
}

// testPermissions are what tests may import besides.
var testPermissions = []permission{
	{"cmd/sallyport", []string{"agent/admin"}},                                                  // its scripts talk to a real server with fakes behind it
	{"pipeline/policy/*", []string{"pipeline/policy", "pipeline/policy/*", "pipeline/journal"}}, // real rules, over a real record
	{"pipeline/mask/*", []string{"pipeline/mask", "pipeline/mask/*"}},
	{"pipeline/elastic/kibana", []string{"pipeline/elastic/document"}},
	{"pipeline/elastic/manage", []string{"pipeline/elastic"}},                         // what is compared and erased was shipped by the real shipper
	{"pipeline/flow", []string{"pipeline/llm/*", "pipeline/mask", "pipeline/mask/*"}}, // an exchange is tested in a protocol that exists, and masks what there is
}

// reasons explain why one package must not import another: the first row that matches is the message.
var reasons = []struct {
	from, to string
	why      string
}{
	{"*", "test/*", "what ships must not depend on what tests it"},
	{"*", "cmd/*", "a program is the end of the line: move what is shared into a package"},
	{"agent", "*", "the first-level package is a vocabulary: everybody imports it, so it imports nothing of ours"},
	{"pipeline", "*", "the first-level package is a vocabulary: everybody imports it, so it imports nothing of ours"},
	{"tlsca", "*", "the first-level package is a vocabulary: everybody imports it, so it imports nothing of ours"},
	{"*", "bpf", "only agent/kernel touches the kernel objects, so that one package knows their maps and lifetimes"},
	{"*", "bpf/*", "only agent/kernel touches the kernel objects, so that one package knows their maps and lifetimes"},
	{"*", "agent/daemon", "the daemon plugs all parts together; a part that imports it cannot be tested alone (only cmd/sallyportd and test may)"},
	{"cmd/sallyport", "tlsca/*", "the command-line tool runs as any user and must never come near a secret key"},
	{"cmd/sallyport", "*", "the command-line tool talks to the daemon through agent/adminapi and runs as any user"},
	{"pipeline/*", "agent", "pipeline needs no host: it is replayed over recordings, where there is no agent"},
	{"pipeline/*", "agent/*", "pipeline needs no host: it is replayed over recordings, where there is no agent"},
	{"tlsca/*", "*", "the folder that holds keys uses nobody of ours: strings and options in, certificates out"},
	{"bpf", "*", "kernel objects know nobody"},
	{"agent/config", "*", "config imports nothing: each package has Options of its own, translated in agent/daemon"},
	{"agent/telemetry", "*", "telemetry is used by all and so uses nobody"},
	{"*", "tlsca/*", "keys stay behind an interface that the consumer declares; agent/daemon plugs them in"},
	{"agent/*", "agent/*", "packages side by side meet only through interfaces that the consumer declares; agent/daemon plugs them together"},
	{"agent/*", "pipeline/*", "agent moves bytes and does not know what a prompt is: declare an interface and let agent/daemon plug it in"},
	{"pipeline/*", "pipeline/*", "packages side by side meet only through interfaces that the consumer declares, the listed pairs excepted"},
	{"*", "*", "the import table has no such row: decide on it there before writing the code"},
}

// forbidden names packages of others that a package must not import.
var forbidden = []struct {
	from    string
	to      []string
	why     string
	inTests bool
}{
	{"agent", hostPackages, "a vocabulary does no I/O", false},
	{"pipeline", hostPackages, "a vocabulary does no I/O", false},
	{"tlsca", hostPackages, "a vocabulary does no I/O", false},
	{"pipeline/*", []string{"github.com/cilium/ebpf", "github.com/cilium/ebpf/*", "github.com/vishvananda/netlink", "github.com/vishvananda/netns"},
		"pipeline needs no root, no kernel and no listening socket", true},
	{"pipeline/policy", []string{"net/http", "os/exec"}, "deciding is pure: the same call gives the same verdict, also in a replay", false},
	{"pipeline/stream", []string{"net", "net/http", "os"}, "protocol code has no sockets: bytes in, events out", false},
	{"agent/proxy/*", []string{"net", "net/http", "os"}, "protocol code has no sockets: bytes in, events out", false},
	{"*", []string{"net/http/httputil"}, "ReverseProxy loses header order and cuts streams", false},
	{"*", []string{"net/http/pprof", "expvar"}, "they register themselves on a global handler", false},
}

var hostPackages = []string{"os", "os/*", "net", "net/http", "syscall", "golang.org/x/sys/unix", "io/ioutil", "log", "log/slog"}

// CheckImports applies the import table to packages.
func CheckImports(pkgs []Package) []Violation {
	var out []Violation
	for _, p := range pkgs {
		if p.Name == "test" || strings.HasPrefix(p.Name, "test/") {
			continue // tests may import anything
		}
		row := permissionOf(p.Name)
		if row == nil {
			out = append(out, Violation{p.Name, "no row of the import table matches", "decide what it may import before filling it (an empty room is worse than a missing one)"})
			continue
		}
		check := func(imports []string, tests bool) {
			for _, to := range imports {
				if v, bad := checkOne(p.Name, to, row, tests); bad {
					out = append(out, v)
				}
			}
		}
		check(p.Imports, false)
		check(p.TestImports, true)
	}
	return out
}

func checkOne(from, to string, row *permission, tests bool) (Violation, bool) {
	verb := "imports "
	if tests {
		verb = "its tests import "
	}
	if !ours(to) {
		for _, f := range forbidden {
			if match(f.from, from) && matchAny(f.to, to) && (!tests || f.inTests) {
				return Violation{from, verb + to, f.why}, true
			}
		}
		return Violation{}, false
	}
	switch {
	case to == from && tests: // an external test imports what it tests
	case strings.HasPrefix(to, from+"/") && from != "agent" && from != "pipeline" && from != "tlsca":
	case tests && strings.HasPrefix(to, "test/"):
	case tests && slices.ContainsFunc(testPermissions, func(p permission) bool { return match(p.from, from) && matchAny(p.to, to) }):
	case matchAny(row.to, to) && !(to == "agent/daemon" && from != "cmd/sallyportd"):
	default:
		for _, r := range reasons {
			if match(r.from, from) && match(r.to, to) {
				return Violation{from, verb + to, r.why}, true
			}
		}
	}
	return Violation{}, false
}

func permissionOf(name string) *permission {
	for i := range permissions {
		if match(permissions[i].from, name) {
			return &permissions[i]
		}
	}
	return nil
}

// ours says whether an import path, shortened, is one of this module.
func ours(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return slices.Contains([]string{"agent", "bpf", "cmd", "deploy", "pipeline", "test", "tlsca"}, first)
}

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, name) })
}

func match(pattern, name string) bool {
	if pattern == "*" || pattern == name {
		return true
	}
	dir, ok := strings.CutSuffix(pattern, "/*")
	return ok && strings.HasPrefix(name, dir+"/")
}
