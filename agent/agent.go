// SPDX-License-Identifier: Apache-2.0

// Package agent holds the words that the packages below it share: which process opened which connection, and in
// which scope. It imports nothing of ours, does no I/O and starts no goroutine.
package agent

import (
	"fmt"
	"net/netip"
	"time"
)

// Process is one thread group as the kernel saw it when it connected or was marked.
type Process struct {
	TGID     uint32
	Start    uint64 // nanoseconds since boot at which the thread group leader started (task_struct.start_boottime)
	UID      uint32
	LoginUID uint32 // NoLogin if the process belongs to no login session
	Comm     string
	CgroupID uint64 // inode of the cgroup v2 folder
	NetNS    uint64 // netns cookie (SO_NETNS_COOKIE), not the inode
}

// NoLogin is the audit login uid of a process outside any login session.
const NoLogin = ^uint32(0)

// Scope IDs that name no configured scope. Configured scopes count from 0 in the order of the configuration.
const (
	ScopeDefault uint32 = 0xFFFF_FFFE // a marked process that no scope names: capture.default_mode
	ScopePending uint32 = 0xFFFF_FFFD // a cgroup too new to be resolved in the kernel: user space resolves it at accept
)

// Conn is what the kernel stored about one redirected connection.
type Conn struct {
	Orig       netip.AddrPort // where the application wanted to go; IPv4 is never in mapped form
	Cookie     uint64         // socket cookie of the client's socket
	Proc       Process
	Scope      uint32 // index of the scope, or one of the Scope constants
	Generation uint32 // generation of the program that redirected it
}

// MarkKind says why a process was marked.
type MarkKind uint8

const (
	MarkLangChain  MarkKind = iota + 1 // it opened a LangChain package file
	MarkDescendant                     // its parent carried the LangChain mark at fork
	MarkStarted                        // no mark: a program that reads trust stores was executed, in a scope's cgroup or watched
)

// Mark tells that a thread group was recognised as a LangChain program.
type Mark struct {
	Proc Process
	Kind MarkKind
	Path string // the path that gave it away, as the process named it; empty for descendants
}

// Mode is what a scope does with its connections. The order is one of growing strength.
type Mode uint8

const (
	ModeOff Mode = iota
	ModeDiscover
	ModeObserve
	ModeEnforce
)

var modeNames = [...]string{"off", "discover", "observe", "enforce"}

func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// ParseMode reads the name that a configuration gives.
func ParseMode(s string) (Mode, error) {
	for i, n := range modeNames {
		if s == n {
			return Mode(i), nil
		}
	}
	return 0, fmt.Errorf("mode %q: want off, discover, observe or enforce", s)
}

// Scope is one entry of protect[]: a selection of workloads and what to do with them. A nil or empty criterion does
// not narrow; at least one is set; all that are set must hold.
type Scope struct {
	Name   string
	Match  Match
	Mode   Mode
	Closed bool // refuse connections while the agent is dead or hung; always true for enforce
	Deny   bool // refuse, rather than pass through, when trust in our root is not proven

	DenyDNS bool // refuse connections to well-known encrypted name servers; enforce only

	Canary int // hundredths of a percent of the instances that are enforced, the others are observed; 0 = all are
}

// Match selects processes. All criteria that are set must hold.
type Match struct {
	Cgroup    string            // path below the cgroup v2 root, globs allowed; the whole subtree matches
	Unit      string            // systemd unit, globs allowed
	PodLabels map[string]string // exact
	UID       *uint32
	Exe       string // absolute path of the executable, globs allowed
	LangChain bool   // carries the LangChain mark
}

// Unsupported says that this kernel, or the rights we hold, do not offer a feature.
type Unsupported struct {
	Feature   string
	MinKernel string // lowest kernel version known to offer it, "" if rights are what is missing
	Err       error
}

func (e *Unsupported) Error() string {
	s := e.Feature + " is not supported here"
	if e.MinKernel != "" {
		s += " (needs Linux " + e.MinKernel + " or newer)"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Unsupported) Unwrap() error { return e.Err }

// ScopeRow is a scope as the kernel programs see it. The programs keep, for each criterion, a mask of the scopes
// (bit i = row i) that a cgroup, uid or executable satisfies; a row matches when every criterion it needs is
// satisfied; the lowest matching row wins.
type ScopeRow struct {
	Mode       Mode
	Closed     bool
	NeedCgroup bool
	NeedUID    bool
	NeedExe    bool
	NeedMark   bool
	Name       string // of the configured scope, at most 64 bytes: a bypass is asked for by name and follows it to another row
}

// MaxScopes is how many rows the kernel programs hold.
const MaxScopes = 64

// CgroupEvent tells that a cgroup v2 folder came or went. Path is below the cgroup v2 root, with a leading slash.
type CgroupEvent struct {
	ID      uint64
	Path    string
	Removed bool
}

// File names an executable by device and inode, as stat reports them.
type File struct{ Dev, Ino uint64 }

// RootID names a root certificate: the first eight bytes of its SHA-256, big endian. 0 is none.
type RootID uint64

// StoreFile is a trust store that holds roots of ours, as the kernel programs know it.
type StoreFile struct {
	File        // Ino 0: everything on the device
	FSID uint64 // f_fsid of a file system without a disk, whose device number comes again; 0 = not compared
}

// StoreOpen tells that a process has opened a store while it held these roots.
type StoreOpen struct {
	File  File
	Roots []RootID
	Since uint64 // nanoseconds since boot
}

// Proofs are what the kernel knows of a process's trust since its last exec; a child begins with those of its parent.
type Proofs struct {
	Opens     []StoreOpen
	Good, Bad []RootID // roots under which a handshake was completed, or refused by the process
}

// Opened says whether the process opened a store that held a root, and which.
func (p *Proofs) Opened(root RootID) (StoreOpen, bool) {
	for _, o := range p.Opens {
		for _, r := range o.Roots {
			if r == root && r != 0 {
				return o, true
			}
		}
	}
	return StoreOpen{}, false
}

// TrustState says why a process is, or is not, taken to trust a root.
type TrustState string

const (
	TrustHandshake TrustState = "handshake" // proven: it completed a handshake, or was given the root by its inspector
	TrustOpened    TrustState = "opened"    // proven: it opened a store while the root was in it
	TrustUnread    TrustState = "unread"    // its stores hold the root, but it has not read one since
	TrustMissing   TrustState = "missing"   // its stores do not hold the root
	TrustRefused   TrustState = "refused"   // it refused our certificate
)

// Proven says whether the state is one of those that prove trust.
func (s TrustState) Proven() bool { return s == TrustHandshake || s == TrustOpened }

// Trusting is what the trust stores and the kind of a program say of it.
type Trusting struct {
	State TrustState // never TrustHandshake, TrustOpened or TrustRefused: those the kernel and the proxy know
	Kind  string     // of the program: "python", "node", "java", "go", or what it is called
	Why   string     // for people; "" if the state is proven
	Mend  string     // what makes a program of this kind trust us
}

// NetNSWhy says why a network namespace needs a listener.
type NetNSWhy uint32

const (
	NetNSConnect NetNSWhy = iota + 1 // a connection found none: it was refused, or went direct, as its scope says
	NetNSScope                       // a process of a scope begins to run there
	NetNSPending                     // perhaps of a scope: its cgroup is too new to be resolved
)

// NetNSAsk tells that the listener of a network namespace is wanted. The thread was in it, unless it is a connection of a
// socket that was made elsewhere.
type NetNSAsk struct {
	NetNS     uint64 // netns cookie
	TGID, TID uint32
	Why       NetNSWhy
	At        time.Duration // CLOCK_MONOTONIC
}
