// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal/content"
)

// Subject is whose content is meant: that of one session, or of all sessions of one principal.
type Subject struct {
	Session   string `json:"session,omitempty"`
	Principal string `json:"principal,omitempty"` // SPIFFE ID or user
}

func (s Subject) String() string {
	if s.Session != "" {
		return "session " + s.Session
	}
	return "principal " + s.Principal
}

func (s Subject) check() error {
	if (s.Session == "") == (s.Principal == "") || len(s.Session) > 255 || len(s.Principal) > 2048 {
		return errors.New("want a session or a principal, and not both")
	}
	return nil
}

// is says whether a principal is meant.
func (s Subject) is(p *pipeline.Principal) bool {
	return s.Principal != "" && (p.SPIFFEID == s.Principal || p.User == s.Principal)
}

// The actions of admin records that the journal makes itself.
const (
	ActionErase          = "record.erase"           // is about to be done
	ActionErased         = "record.erased"          // is done
	ActionHold           = "record.hold"            // from now on nothing of it is erased
	ActionRelease        = "record.hold.release"    // it may be again
	ActionExpireContent  = "record.expire.content"  // keys are destroyed, as record.retention wants
	ActionExpireSegments = "record.expire.segments" // the oldest segments are removed, as record.retention wants
)

// Erasure is the body of the admin records about an erasure. The list of sessions is not repeated for a principal with many:
// its digest is SHA-256 over the sorted IDs, each followed by a newline.
type Erasure struct {
	Action string `json:"action"`
	Subject
	By       pipeline.Person `json:"by"`
	Reason   string          `json:"reason,omitempty"`
	Sessions int             `json:"sessions"`
	List     []string        `json:"list,omitempty"`
	Digest   string          `json:"digest"`
	Keys     int             `json:"keys"` // to be destroyed, or that were

	All []string `json:"-"` // the whole list, for those who keep copies of contents
}

// maxListed bounds Erasure.List.
const maxListed = 1000

// ErrHeld says that a hold forbids to erase.
var ErrHeld = errors.New("a legal hold forbids it")

// ErrNothing says that nothing in the journal belongs to a subject.
var ErrNothing = errors.New("the journal has nothing of it")

// Find says what an erasure would destroy. A hold on any of it is ErrHeld.
func (j *Journal) Find(ctx context.Context, s Subject) (Erasure, error) {
	e, _, err := j.find(ctx, s)
	return e, err
}

func (j *Journal) find(ctx context.Context, s Subject) (e Erasure, sessions map[string]bool, err error) {
	e = Erasure{Subject: s}
	if err := s.check(); err != nil {
		return e, nil, err
	}
	if sessions, err = j.sessionsOf(ctx, []Subject{s}); err != nil {
		return e, nil, err
	}
	held, err := j.held(ctx)
	if err != nil {
		return e, nil, err
	}
	for _, id := range sorted(sessions) {
		if held[id] {
			return e, nil, fmt.Errorf("session %s cannot be erased: %w: sallyport hold list says which", id, ErrHeld)
		}
		e.Sessions++
		e.All = append(e.All, id)
		if e.Sessions <= maxListed {
			e.List = append(e.List, id)
		}
	}
	e.Digest = digestOf(sessions)
	sums := sumsOf(sessions)
	err = j.store.Keys(func(k content.Key) error {
		if k.Live && sums[k.Session] {
			e.Keys++
		}
		return nil
	})
	if err == nil && e.Keys == 0 {
		err = ErrNothing
	}
	return e, sessions, err
}

// Erase destroys the keys of a subject: its contents cannot be read any more by anybody, wherever the journal was copied to without
// its keys. Who asked, and for what, is on disk before. What a session says later has another key.
func (j *Journal) Erase(ctx context.Context, s Subject, by pipeline.Person, reason string) (Erasure, error) {
	j.admin.Lock()
	defer j.admin.Unlock()
	e, sessions, err := j.find(ctx, s)
	if err != nil {
		return e, err
	}
	e.Action, e.By, e.Reason = ActionErase, by, reason
	if err := j.wait(pipeline.KindAdmin, &e); err != nil {
		return e, fmt.Errorf("recording the erasure, which was not begun: %w", err)
	}
	sums := sumsOf(sessions)
	n, err := j.destroy(func(k content.Key) bool { return sums[k.Session] }, func(id string) bool { return sessions[id] })
	e.Action, e.Keys = ActionErased, n
	if err != nil {
		return e, fmt.Errorf("erasing %s: %w: %d keys are destroyed; repeat it for the others", s, err, n)
	}
	if err := j.wait(pipeline.KindAdmin, &e); err != nil {
		return e, fmt.Errorf("recording the end of an erasure that was done: %w", err)
	}
	return e, nil
}

// destroy erases keys, after the writer has stopped using them.
func (j *Journal) destroy(key func(content.Key) bool, session func(string) bool) (int, error) {
	fresh := j.keys.Forget(session)
	if err := j.keys.Sync(); err != nil { // a key that is not on disk yet would come there after its erasure
		return 0, err
	}
	n, err := j.store.Erase(func(k content.Key) bool { return (k.Generation != j.gen || k.Slot < fresh) && key(k) })
	return n, errors.Join(err, j.store.Sweep(func(g uint64) bool { return g != j.gen && !j.running(g) }))
}

// sessionsOf lists the sessions that are meant by any of some subjects. For principals the whole journal is read.
func (j *Journal) sessionsOf(ctx context.Context, all []Subject) (map[string]bool, error) {
	out := map[string]bool{}
	principals := false
	for _, s := range all {
		if s.Session != "" {
			out[s.Session] = true
		}
		principals = principals || s.Principal != ""
	}
	if !principals {
		return out, nil
	}
	err := j.scan(ctx, func(e *Entry) error {
		if e.Kind != pipeline.KindIntent || out[e.Session] {
			return nil
		}
		var in struct {
			Principal pipeline.Principal `json:"principal"`
		}
		if err := e.Metadata(&in); err != nil {
			return err
		}
		for _, s := range all {
			if s.is(&in.Principal) {
				out[e.Session] = true
			}
		}
		return nil
	})
	return out, err
}

// scan reads all that is there now.
func (j *Journal) scan(ctx context.Context, take func(*Entry) error) error {
	if err := j.catchUp(); err != nil {
		return err
	}
	r, err := OpenReader(j.o.Dir, pipeline.Position{})
	if err != nil {
		return err
	}
	defer r.Close()
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := take(e); err != nil {
			return err
		}
	}
}

func sorted(set map[string]bool) []string {
	out := make([]string, 0, len(set))
	for s := range set {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

func digestOf(sessions map[string]bool) string {
	h := sha256.New()
	for _, s := range sorted(sessions) {
		h.Write([]byte(s))
		h.Write([]byte{'\n'})
	}
	return hex.EncodeToString(h.Sum(nil))
}

func sumsOf(sessions map[string]bool) map[[sha256.Size]byte]bool {
	out := make(map[[sha256.Size]byte]bool, len(sessions))
	for s := range sessions {
		out[content.SessionSum(s)] = true
	}
	return out
}

// Hold keeps content, and the records around it, from being erased or expiring.
type Hold struct {
	Subject
	By     pipeline.Person `json:"by"`
	Since  time.Time       `json:"since"`
	Reason string          `json:"reason"`
}

// HoldChange is the body of the admin record about a hold.
type HoldChange struct {
	Action string `json:"action"`
	Hold
}
