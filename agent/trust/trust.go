// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/trust/hoststore"
)

// Options configure a Trust.
type Options struct {
	Ledger string   // default /var/lib/sallyport/trust.ledger; its folder is made if missing
	Roots  [][]byte // PEM, each one certificate; none: only Remove and Status work
	// RootsFile, if set, is written with all roots, readable by everybody, for programs that read no store at all
	// (NODE_EXTRA_CA_CERTS). Its folder is made if missing.
	RootsFile string
	Parallel  int // how many processes are looked at at once, those that hang included; default 16
	Opens     Opens

	Host    HostMode // what is done for processes in the host's own mount namespace; "" = HostNone
	UnitDir string   // where drop-ins go with HostUnit; default /run/systemd/system, which a boot empties
	Copies  string   // folder of the copies that drop-ins mount; default CopiesOf(Ledger)
	// Step is told where a change of the host's files has come to, so that a test can end the process there.
	Step func(string)
}

// Opens is told which files hold our roots, so that a process that opens one is known to trust them (agent/kernel). What
// it does not support is left out; nil: nobody is told.
type Opens interface {
	Cover(f agent.StoreFile, roots []agent.RootID) error
	Watch(pid int, start uint64) error
}

// Trust changes trust stores. It is safe for concurrent use.
type Trust struct {
	opts   Options
	ledger ledger
	boot   string
	roots  [][]byte // PEM
	links  []hashLink
	ids    []agent.RootID
	digest string          // of the set of roots, as tags carry it
	older  map[string]bool // digests of the sets that were before the newest roots came, or the oldest ended
	hostNS map[uint64]bool
	self   uint64 // our own mount namespace
	host   *hoststore.Store
	slots  chan struct{}
	wg     sync.WaitGroup

	mu    sync.Mutex
	busy  map[uint64]chan struct{} // namespaces being changed
	known map[known]bool           // processes found covered
}

// hashLink is one of our roots as a folder of certificates names it.
type hashLink struct {
	hash string
	pem  []byte
}

// known is a process in a namespace.
type known struct {
	pid   int
	start uint64
	ns    uint64
}

// maxKnown bounds the memory of covered processes; it is forgotten at once beyond that.
const maxKnown = 4096

// DefaultLedger is where the ledger lies if Options do not say.
const DefaultLedger = "/var/lib/sallyport/trust.ledger"

// New reads nothing but the ledger's place and changes nothing but the RootsFile.
func New(o Options) (*Trust, error) {
	if o.Ledger == "" {
		o.Ledger = DefaultLedger
	}
	if o.Host == "" {
		o.Host = HostNone
	}
	if o.UnitDir == "" {
		o.UnitDir = "/run/systemd/system"
	}
	if o.Copies == "" {
		o.Copies = CopiesOf(o.Ledger)
	}
	if o.Parallel <= 0 {
		o.Parallel = 16
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("reading the boot ID: %w", err)
	}
	t := &Trust{opts: o, ledger: ledger{o.Ledger}, boot: strings.TrimSpace(string(boot)), hostNS: map[uint64]bool{},
		slots: make(chan struct{}, o.Parallel), busy: map[uint64]chan struct{}{}, known: map[known]bool{}}
	if err := t.setRoots(o.Roots); err != nil {
		return nil, err
	}
	for _, pid := range hostPIDs() {
		p, err := openProcess(pid, 0)
		if err != nil && pid != os.Getpid() {
			continue // we may not look: Apply recognises its namespace by the mounts
		}
		if err != nil {
			return nil, fmt.Errorf("finding our own mount namespace: %w", err)
		}
		t.hostNS[p.ns] = true
		if pid == os.Getpid() {
			t.self = p.ns
		}
		p.close()
	}
	if err := os.MkdirAll(filepath.Dir(o.Ledger), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the trust ledger: %w", err)
	}
	if err := t.ledger.compact(); err != nil {
		return nil, err
	}
	if err := t.openHost(); err != nil {
		return nil, err
	}
	if o.RootsFile != "" && len(t.roots) > 0 {
		if err := os.MkdirAll(filepath.Dir(o.RootsFile), 0o755); err != nil {
			return nil, fmt.Errorf("making the folder of the file of roots: %w", err)
		}
		// Left alone if it is as it should be: containers may have that very file mounted.
		if b, err := os.ReadFile(o.RootsFile); err != nil || !bytes.Equal(b, bytes.Join(t.roots, nil)) {
			if err := replaceFile(o.RootsFile, bytes.Join(t.roots, nil), 0o644); err != nil {
				return nil, fmt.Errorf("writing our roots to %s: %w", o.RootsFile, err)
			}
		}
	}
	return t, nil
}

func (t *Trust) setRoots(roots [][]byte) error {
	sums := make([][]byte, 0, len(roots))
	for _, r := range roots {
		block, rest := pem.Decode(r)
		if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
			return errors.New("a root for the trust stores is not one PEM certificate")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("a root for the trust stores: %w", err)
		}
		hash, err := subjectHash(c.RawSubject)
		if err != nil {
			return fmt.Errorf("a root for the trust stores: %w", err)
		}
		clean := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes})
		t.roots = append(t.roots, clean)
		t.links = append(t.links, hashLink{hash, clean})
		sum := sha256.Sum256(block.Bytes)
		sums = append(sums, sum[:])
		t.ids = append(t.ids, rootID(block.Bytes))
	}
	// Roots come in the order in which they were made: sets of earlier times are runs of them.
	t.digest, t.older = digest(sums), map[string]bool{}
	for i := range sums {
		for j := i + 1; j <= len(sums); j++ {
			t.older[digest(sums[i:j])] = true
		}
	}
	return nil
}

func digest(sums [][]byte) string {
	all := sha256.Sum256(bytes.Join(slices.SortedFunc(slices.Values(sums), bytes.Compare), nil))
	return hex.EncodeToString(all[:8])
}

// Env returns the variables that a program which we start ourselves needs besides the mounts: Node reads no store.
func (t *Trust) Env() []string {
	if t.opts.RootsFile == "" {
		return nil
	}
	return []string{"NODE_EXTRA_CA_CERTS=" + t.opts.RootsFile}
}

// Roots names our roots.
func (t *Trust) Roots() []agent.RootID { return slices.Clone(t.ids) }

// RootsFile returns Options.RootsFile.
func (t *Trust) RootsFile() string { return t.opts.RootsFile }

// Outcome says how Apply ended.
type Outcome string

const (
	Covered Outcome = "covered"         // every store that was found holds our roots
	Partly  Outcome = "partly covered"  // some; Skipped says why not the rest
	Host    Outcome = "host namespace"  // the process shares the host's mounts: nothing was changed
	Nothing Outcome = "no store found"  // nothing was changed
	Failed  Outcome = "nothing covered" // stores were found, none could be changed
)

// Result is what Apply did.
type Result struct {
	Outcome Outcome
	Reason  string // one line for people, with the mend; empty if Covered
	MountNS uint64 // inode of the mount namespace
	Comm    string
	Stores  []Store // what holds our roots now
	Skipped []Skip  // what does not
}

// Store is one store that holds our roots.
type Store struct {
	Kind string // "system", "certifi" or "variable"
	Path string // from the root of the namespace
	New  bool   // mounted by this Apply
}

// Skip is one store that was left as it is.
type Skip struct{ Kind, Path, Reason string }

const hostReason = "it runs in the host's mount namespace, where nothing is mounted: start it with `sallyport run -- CMD`, or in a container or a unit with PrivateMounts=yes, or set trust.host"

// Trusted says whether the stores in the process's mount namespace hold all our current roots; if not, why, with the
// mend. That it really read them after that is for the handshake to show. start is in nanoseconds since boot.
func (t *Trust) Trusted(pid int, start uint64) (bool, string) {
	p, err := openProcess(pid, start)
	if err != nil {
		return false, err.Error()
	}
	defer p.close()
	if t.hostNS[p.ns] {
		return t.hostTrusted(p, start)
	}
	k := known{pid, start, p.ns}
	t.mu.Lock()
	yes := t.known[k]
	t.mu.Unlock()
	if yes {
		return true, ""
	}
	table, err := p.mounts()
	if err != nil {
		return false, err.Error()
	}
	older := false
	for _, m := range table {
		tag, ok := m.ours()
		if ok && t.current(tag) {
			t.remember(k)
			return true, ""
		}
		older = older || ok && t.wasCurrent(tag)
	}
	if older || t.unitTrusted(p, start) { // names that it knew get leaves of the root that it knows
		return true, ""
	}
	return false, "its trust stores do not hold our roots (yet)"
}

// current says whether a tag stands for the roots that we have now.
func (t *Trust) current(tag string) bool {
	return len(t.roots) > 0 && strings.HasPrefix(tag, tagPrefix+t.digest+"-")
}

// wasCurrent says whether a tag stands for roots that we still have, if not for all. The stores get the rest when the process
// is looked at again; what it has read stays as it is until it ends, and the authority goes on using the oldest root that
// covers a name.
func (t *Trust) wasCurrent(tag string) bool {
	digest, _, ok := strings.Cut(strings.TrimPrefix(tag, tagPrefix), "-")
	return ok && t.older[digest]
}

// Apply puts our roots into every store that the process may read, if its mount namespace is its own. It is idempotent:
// a store that holds them is left alone. In the host's namespace it does what Options.Host says. hints are files that the process opened, as it named them, or
// programs that it is going to run; start is its start
// time in nanoseconds since boot. An error means that nothing was changed, unless it is ctx's: then the work goes on,
// and the ledger knows.
func (t *Trust) Apply(ctx context.Context, pid int, start uint64, hints []string) (Result, error) {
	if len(t.roots) == 0 {
		return Result{}, errors.New("no roots are set: nothing to add to trust stores")
	}
	var r Result
	err := t.run(ctx, func() (err error) {
		r, err = t.apply(ctx, pid, start, hints)
		return err
	})
	if err != nil {
		return Result{}, fmt.Errorf("adding our roots for process %d: %w", pid, err)
	}
	return r, nil
}

// run does something that a hostile file system may hold up for ever: the caller waits as long as ctx lets it, Close
// until it ends.
func (t *Trust) run(ctx context.Context, do func() error) error {
	select {
	case t.slots <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("waiting for other trust stores: %w", ctx.Err())
	}
	done := make(chan error, 1)
	t.wg.Go(func() {
		defer func() { <-t.slots }()
		done <- do()
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("waiting for its file system: %w", ctx.Err())
	}
}

// Close waits for work under way, as long as ctx lets it: a file system that never answers cannot be waited for. What
// was mounted stays: trust outlives the agent. Nothing else may be called any more.
func (t *Trust) Close(ctx context.Context) error {
	done := make(chan struct{})
	go func() { t.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for trust stores under way: %w", ctx.Err())
	}
}

// hold makes the caller the only one that changes a namespace, until the returned function is called.
func (t *Trust) hold(ns uint64) (release func()) {
	for {
		t.mu.Lock()
		other := t.busy[ns]
		if other == nil {
			mine := make(chan struct{})
			t.busy[ns] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.busy, ns)
				t.mu.Unlock()
				close(mine)
			}
		}
		t.mu.Unlock()
		<-other
	}
}

// Change is one change of ours in one namespace.
type Change struct {
	ID      string // as in the ledger
	Kind    string // "mount"; on the host "anchor", "block" or "unit"
	Store   string // "system", "certifi" or "variable"
	Path    string
	PID     int // for which it was made
	Start   uint64
	Comm    string
	MountNS uint64
	Time    time.Time
	State   string // "applied", "removed", "gone", "lost" (somebody else took it out), or "failed: WHY"
	Current bool   // all roots that we have now are there
}
