// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal/anchor"
)

// Anchors keeps signed checkpoints where this host cannot change them. Keep returns when one is there for good, and may block.
// Each states all before it, so that one that was never kept is made up for by the next.
type Anchors interface {
	Keep(context.Context, anchor.Anchor) error
}

// CheckSigned is a checkpoint that is there to be signed.
const CheckSigned = "signed"

// Signature makes a checkpoint provable. It is over what anchor.Anchor says.
type Signature struct {
	Journal string    `json:"journal"`
	Epoch   uint64    `json:"epoch"`
	Time    time.Time `json:"time"`
	Key     string    `json:"key"`
	Next    string    `json:"next"`
	Value   string    `json:"value"`
}

// anchor is the statement that a checkpoint's signature is over.
func (c *Checkpoint) anchor() anchor.Anchor {
	a := anchor.Anchor{Boot: c.Boot, Generation: c.Generation, Sequence: c.Sequence, Head: c.Head.String()}
	if s := c.Signed; s != nil {
		a.Journal, a.Epoch, a.Time, a.Key, a.Next, a.Signature = s.Journal, s.Epoch, s.Time, s.Key, s.Next, s.Value
	}
	return a
}

// publicName is the file that tells an auditor which key the signatures of a journal begin with.
const publicName = "journal.pub"

// signing is what the writer knows about its signatures; j.mu guards it.
type signing struct {
	signer   *anchor.Signer
	signedAt time.Time
	signed   uint64          // sequence of the last signed checkpoint
	pending  []anchor.Anchor // on disk and not yet kept elsewhere
	news     chan struct{}   // capacity 1: there is something pending

	anchoredAt    uint64 // sequence that the last one covers which was kept elsewhere
	noMore        chan struct{}
	anchored      chan struct{} // nobody keeps anchors any more
	cancelAnchors context.CancelFunc
}

// maxPending bounds the anchors that wait while they cannot be kept. The oldest go first: later ones state the same and more.
const maxPending = 1000

// openSigner opens or makes the signing key, and notes the first public key where an auditor finds it.
func (j *Journal) openSigner() error {
	s, journal, first, err := anchor.OpenSigner(keysDir(j.o.Dir), j.o.random)
	if err != nil {
		return err
	}
	if first != "" {
		if err := notePublic(filepath.Join(j.o.Dir, publicName), fmt.Sprintf("sallyport-journal %s %s\n", journal, first)); err != nil {
			return fmt.Errorf("noting the public key of the journal: %w", err)
		}
	}
	j.signer, j.signedAt, j.news = s, time.Now(), make(chan struct{}, 1)
	return nil
}

// notePublic adds a line: a journal whose signatures had to begin anew has several.
func notePublic(path, line string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Sync(), f.Close())
}

// signTurn is a signature that was made and is not on disk yet.
type signTurn struct {
	*anchor.Turn
	anchor anchor.Anchor
}

// sign completes a checkpoint with a signature, if it is this process's turn. One that cannot be signed is written all the same:
// that nothing is signed any more shows, and is told.
func (j *Journal) sign(c *Checkpoint, wait time.Duration) *signTurn {
	t, err := j.signer.Begin(wait)
	if err != nil {
		j.o.Notice(fmt.Errorf("signing a checkpoint: %w", err))
	}
	if t == nil {
		return nil
	}
	a := c.anchor()
	a.Time = j.o.Now()
	t.Sign(&a)
	c.Signed = &Signature{a.Journal, a.Epoch, a.Time, a.Key, a.Next, a.Signature}
	return &signTurn{t, a}
}

// end gives the turn back. Only if the checkpoint is on disk the key has served its time; then the anchor can be kept. j.mu is held.
func (j *Journal) endTurn(t *signTurn, durable bool) {
	if t == nil {
		return
	}
	if err := t.End(durable); err != nil {
		j.o.Notice(fmt.Errorf("signing a checkpoint: %w", err))
	}
	if !durable {
		return
	}
	j.signed, j.signedAt = t.anchor.Sequence+1, time.Now()
	if j.o.Anchors == nil {
		return
	}
	if len(j.pending) >= maxPending {
		j.pending = append(j.pending[:0], j.pending[1:]...)
	}
	j.pending = append(j.pending, t.anchor)
	select {
	case j.news <- struct{}{}:
	default:
	}
}

// signDue says whether the chain has grown enough since the last signature; j.mu is held.
func (j *Journal) signDue() bool {
	return j.err == nil && j.seq > j.signed && (j.seq-j.signed >= j.o.SignRecords || time.Since(j.signedAt) >= j.o.SignEvery)
}

// signNow writes a signed checkpoint and brings it to disk. Only the committer calls it.
func (j *Journal) signNow(group []chan error) []chan error {
	j.mu.Lock()
	if !j.signDue() || j.shut {
		j.mu.Unlock()
		return group
	}
	var t *signTurn
	if err := j.room(checkpointRoom, true); err == nil && j.signDue() { // else it was signed with the end of the segment, or there is no room
		c := j.checkpoint(CheckSigned)
		if t = j.sign(c, 0); t != nil && j.own(pipeline.KindCheckpoint, c) != nil {
			j.endTurn(t, false)
			t = nil
		}
	}
	if t == nil {
		j.signedAt = time.Now() // not again at once
	}
	j.mu.Unlock()
	if t == nil {
		return group
	}
	group, _ = j.syncOnce(group)
	j.mu.Lock()
	j.endTurn(t, j.err == nil && j.synced > t.anchor.Sequence)
	j.mu.Unlock()
	return group
}

// keepAnchors hands signed checkpoints to Options.Anchors until there are no more, or ctx ends.
func (j *Journal) keepAnchors(ctx context.Context) {
	defer close(j.anchored)
	pause := j.o.AnchorRetry
	for {
		a, ok := j.oldestPending()
		if !ok {
			select {
			case <-j.news:
				continue
			case <-j.noMore:
				if _, ok := j.oldestPending(); !ok {
					return
				}
				continue
			}
		}
		err := j.o.Anchors.Keep(ctx, a)
		if err == nil {
			pause = j.o.AnchorRetry
			j.kept(a)
			continue
		}
		if ctx.Err() != nil {
			return
		}
		j.o.Notice(fmt.Errorf("a signed checkpoint cannot be kept off this host: %w", err))
		select {
		case <-time.After(pause):
			pause = min(2*pause, 5*time.Minute)
		case <-ctx.Done():
			return
		}
	}
}

func (j *Journal) oldestPending() (a anchor.Anchor, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.pending) == 0 {
		return a, false
	}
	return j.pending[0], true
}

func (j *Journal) kept(a anchor.Anchor) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.anchoredAt = a.Sequence
	if len(j.pending) > 0 && j.pending[0] == a { // else there were too many meanwhile
		j.pending = j.pending[1:]
	}
}

// endAnchors gives the last ones a moment.
func (j *Journal) endAnchors() {
	if j.o.Anchors == nil {
		return
	}
	close(j.noMore)
	select {
	case <-j.anchored:
	case <-time.After(j.o.AnchorWait):
		j.cancelAnchors()
		<-j.anchored
	}
	j.cancelAnchors()
}
