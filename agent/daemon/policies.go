// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/agent/daemon/snapshot"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/mask"
	"github.com/sallyport-dev/sallyport/pipeline/policy"
)

// lookEvery is how often the policy folder is looked at. A change comes in force when the folder looked the same twice.
const lookEvery = time.Second

// restless is how many looks in a row may find the folder being changed before that is told as a mistake.
const restless = 30

// The causes of a policy coming into force.
const (
	causeStart  = "start"
	causeReload = "reload"
	causeFile   = "file"
)

// PolicyChange is the body of a policy record. Who changed the folder is told as far as the file system knows it: whose the
// files are and when they were last written. That is not who wrote them, if several can.
type PolicyChange struct {
	Version  string       `json:"version"`
	Cause    string       `json:"cause"`              // "start", "reload" (asked for by SIGHUP) or "file" (the folder changed)
	Previous string       `json:"previous,omitempty"` // the version that was in force; "" at the start: see the policy record before
	Files    []PolicyFile `json:"files,omitempty"`    // that differ from the previous version; at the start all
}

// PolicyFile is one file of a change.
type PolicyFile struct {
	Name     string    `json:"name"`
	Change   string    `json:"change"`           // "added", "changed" or "removed"
	SHA256   string    `json:"sha256,omitempty"` // of what is there now
	UID      uint32    `json:"uid"`              // of the owner, of a removed file as it was
	Owner    string    `json:"owner,omitempty"`  // the name of that user on this host, if there is one
	GID      uint32    `json:"gid"`
	Modified time.Time `json:"modified"`
	Text     string    `json:"text,omitempty"` // of what is there now; secrets, should there be any, are masked
}

// policies holds the policy in force and puts what is in the folder into its place: as a whole, recorded before it decides
// anything, and only if it has no mistake. It is the Decider of flow.
type policies struct {
	*policy.Engine

	dir string
	log *slog.Logger

	record  func(context.Context, pipeline.Record) error // durable when it returns
	prepare func(*policy.Set) error                      // what a set needs before it is in force; may be nil

	mu     sync.Mutex // one change at a time
	now    *snapshot.Folder
	seen   snapshot.Mark // of what was tried last, in force or refused
	next   snapshot.Mark // of what the last look found, if that is not seen
	moving int           // looks in a row at a folder that is being changed

	once    sync.Once
	secrets *mask.Engine // masks secrets in what is recorded

	state atomic.Pointer[adminapi.Policy]
}

func (d *daemon) openPolicy(ctx context.Context) error {
	if err := config.CheckFiles(d.cfg); err != nil {
		return &UsageError{err}
	}
	d.policy = &policies{dir: d.cfg.Policy.Dir, log: d.Log}
	if d.policy.log == nil { // a check of the configuration has none
		d.policy.log = slog.New(slog.DiscardHandler)
	}
	if d.masking != nil {
		d.masking.policy, d.policy.prepare = d.policy, d.masking.prepare
	}
	return d.policy.open(ctx)
}

// open reads the folder for the first time; who writes to it just then gets a moment to finish.
func (p *policies) open(ctx context.Context) error {
	for try := 0; ; try++ {
		snap, set, err := p.read()
		if err == nil {
			p.now, p.seen = snap, snap.Mark
			p.Engine = policy.NewEngine(set, policy.EngineOptions{})
			p.state.Store(&adminapi.Policy{Version: set.Version(), Loaded: time.Now(), Cause: causeStart})
			return nil
		}
		if !errors.Is(err, snapshot.ErrMoving) || try == 50 {
			return &UsageError{err}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// read gives what is in the folder, compiled from exactly the bytes of which the snapshot tells.
func (p *policies) read() (*snapshot.Folder, *policy.Set, error) {
	snap, err := snapshot.Read(p.dir)
	if err != nil {
		return nil, nil, err
	}
	set, err := policy.LoadFS(snap)
	if err == nil && p.prepare != nil {
		err = p.prepare(set)
	}
	if err != nil {
		return snap, nil, fmt.Errorf("in %s: %w", p.dir, err)
	}
	return snap, set, nil
}

// begin records what is in force from the start on.
func (p *policies) begin(ctx context.Context, record func(context.Context, pipeline.Record) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.record = record
	return p.write(ctx, PolicyChange{Version: p.Version(), Cause: causeStart, Files: p.changes(nil, p.now)})
}

func (p *policies) write(ctx context.Context, c PolicyChange) error {
	return p.record(ctx, pipeline.Record{Kind: pipeline.KindPolicy, Time: time.Now(), Body: c})
}

// watch looks at the folder until ctx ends.
func (p *policies) watch(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			p.look(ctx)
		}
	}
}

// look puts a changed folder in force once it has come to rest: two looks in a row saw the same.
func (p *policies) look(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, err := snapshot.Look(p.dir)
	if err != nil { // also a folder that is gone may be there again in a moment
		m = snapshot.Mark("error: " + err.Error())
	}
	switch {
	case m == p.seen:
		p.next, p.moving = "", 0
		return
	case m != p.next:
		p.next = m
		p.stir(fmt.Errorf("%s: %w", p.dir, snapshot.ErrMoving))
		return
	}
	switch err := p.change(ctx, causeFile); {
	case errors.Is(err, snapshot.ErrMoving):
		p.stir(err)
	case errors.Is(err, pipeline.ErrNotRecorded): // the next look tries again
	default:
		p.next, p.moving, p.seen = "", 0, m
	}
}

// stir notes that the folder does not come to rest.
func (p *policies) stir(err error) {
	if p.moving++; p.moving == restless {
		p.seen = "" // what is told now is taken back once it is at rest
		p.refuse(fmt.Errorf("the policy folder does not come to rest: %w", err))
	}
}

// reload reads the folder at once.
func (p *policies) reload(ctx context.Context, cause string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.change(ctx, cause); errors.Is(err, snapshot.ErrMoving) {
		p.seen = "" // it is looked at again
		p.refuse(err)
	}
}

// change puts what is in the folder in force, or says why not; mu is held. The record of the change is on disk before the
// first decision by it. An error that wraps snapshot.ErrMoving is told nobody.
func (p *policies) change(ctx context.Context, cause string) error {
	snap, set, err := p.read()
	if errors.Is(err, snapshot.ErrMoving) {
		return err
	}
	if snap != nil {
		p.seen = snap.Mark
	}
	if err != nil {
		p.refuse(err)
		return err
	}
	old := p.Version()
	if set.Version() == old && cause == causeFile { // touched, or put back
		p.now = snap
		p.accept(*p.state.Load())
		return nil
	}
	c := PolicyChange{Version: set.Version(), Cause: cause, Previous: old, Files: p.changes(p.now, snap)}
	if err := p.write(ctx, c); err != nil {
		p.seen = "" // what is in the folder is not tried and done with
		err = fmt.Errorf("the change is %w: %w", pipeline.ErrNotRecorded, err)
		p.refuse(err)
		return err
	}
	p.Swap(set)
	p.now = snap
	p.accept(adminapi.Policy{Version: set.Version(), Loaded: time.Now(), Cause: cause})
	p.log.Info("policy reloaded", telemetry.KeyVersion, set.Version(), telemetry.KeyState, cause, "files", words(c.Files))
	return nil
}

func (p *policies) accept(s adminapi.Policy) {
	s.Error = ""
	p.state.Store(&s)
}

// refuse tells of a candidate that is not put in force, once for each mistake.
func (p *policies) refuse(err error) {
	s := *p.state.Load()
	if s.Error == err.Error() {
		return
	}
	s.Error = err.Error()
	p.state.Store(&s)
	p.log.Error("the new policy is refused, the old one stays in force", telemetry.KeyVersion, s.Version, telemetry.KeyError, err)
}

// tell adds to the daemon's status.
func (p *policies) tell(s *adminapi.Status) {
	s.Policy = *p.state.Load()
	if e := s.Policy.Error; e != "" {
		first, _, _ := strings.Cut(e, "\n")
		s.Warnings = append(s.Warnings, "what is in the policy folder now is not in force, the version before it is: "+first)
	}
}

// engine masks secrets in what is recorded. It has no rules of anybody's, so it compiles; nil else, and then texts are left out.
func (p *policies) engine() *mask.Engine {
	p.once.Do(func() { p.secrets, _ = mask.New(mask.Options{}) })
	return p.secrets
}

// changes lists what differs between two snapshots; the first may be nil.
func (p *policies) changes(from, to *snapshot.Folder) []PolicyFile {
	secrets := p.engine()
	fresh, gone := to.Changed(from)
	var out []PolicyFile
	add := func(f snapshot.File, how string) {
		c := PolicyFile{Name: f.Name, Change: how, SHA256: f.SHA256, UID: f.UID, GID: f.GID, Modified: f.Modified}
		if how == "removed" {
			c.SHA256 = ""
		} else if raw, err := fs.ReadFile(to, f.Name); err == nil && secrets != nil { // it was read, so it is there
			c.Text = withoutSecrets(secrets, raw)
		}
		if u, err := user.LookupId(strconv.FormatUint(uint64(f.UID), 10)); err == nil {
			c.Owner = u.Username
		}
		out = append(out, c)
	}
	for _, f := range fresh {
		how := "added"
		if from != nil {
			for _, o := range from.Files {
				if o.Name == f.Name {
					how = "changed"
				}
			}
		}
		add(f, how)
	}
	for _, f := range gone {
		add(f, "removed")
	}
	return out
}

// words says for a log what changed, and whose the files are.
func words(files []PolicyFile) string {
	var out []string
	for i, f := range files {
		if i == 10 {
			out = append(out, fmt.Sprintf("and %d more", len(files)-i))
			break
		}
		owner := f.Owner
		if owner == "" {
			owner = fmt.Sprint("uid ", f.UID)
		}
		out = append(out, fmt.Sprintf("%s %s (of %s, written %s)", f.Name, f.Change, owner, f.Modified.UTC().Format(time.RFC3339)))
	}
	return strings.Join(out, "; ")
}
