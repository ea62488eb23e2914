// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Close writes a last checkpoint, brings everything to disk and gives the folder free. Waiting appends are answered
// before it returns; later ones get ErrClosed.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.shut {
		j.mu.Unlock()
		<-j.stopped
		return nil
	}
	j.shut = true
	var errs []error
	var t *signTurn
	if j.err == nil {
		c := j.checkpoint(CheckClose)
		t = j.sign(c, time.Second)
		errs = append(errs, j.own(pipeline.KindCheckpoint, c))
	}
	j.timer.Stop()
	j.mu.Unlock()
	close(j.stop)
	<-j.stopped
	j.tasks.Wait()
	j.mu.Lock()
	j.endTurn(t, j.err == nil && j.synced == j.seq)
	j.mu.Unlock()
	j.endAnchors()

	j.mu.Lock()
	defer j.mu.Unlock()
	errs = append(errs, j.err)
	if j.err == nil && j.synced == j.seq { // cut to the records: what is missing later was taken away, not torn
		errs = append(errs, j.active.Truncate(j.off), j.sync(j.active, 0))
	}
	for _, f := range append(j.retired, j.active) {
		errs = append(errs, f.Close())
	}
	j.retired = nil
	return errors.Join(append(errs, j.dropPrepared(), j.closeKeys(), j.aio.close(), j.lock.Close(), j.folder.Close())...)
}

// closeKeys releases the session keys.
func (j *Journal) closeKeys() (err error) {
	if j.keys != nil {
		err = j.keys.Close()
	}
	return errors.Join(err, j.store.Close())
}

func (j *Journal) checkpoint(reason string) *Checkpoint {
	return &Checkpoint{Reason: reason, Boot: j.boot(), Generation: j.gen, Sequence: j.seq, Head: j.head}
}

// State is the journal as status reports it.
type State struct {
	Head       Hash
	Generation uint64
	Sequence   uint64
	Bytes      int64 // on disk, preallocated space included
	Records    uint64
	Durable    pipeline.Position
	Full       bool   // only records that close exchanges are taken
	Refused    int64  // ordinary records since it is full
	Err        error  // why nothing is taken any more; nil while all is well
	Signed     uint64 // sequence of the last signed checkpoint
	Anchored   uint64 // sequence that the last one covers which is kept off this host
	Pending    int    // signed checkpoints that are not yet
}

// State is cheap enough to be asked every second.
func (j *Journal) State() State {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.full {
		j.recover()
	}
	s := State{Head: j.head, Generation: j.gen, Sequence: j.seq, Bytes: j.closed + j.size, Records: j.written, Durable: j.durable, Err: j.err,
		Signed: j.signed, Anchored: j.anchoredAt, Pending: len(j.pending)}
	if s.Full = j.full; j.full {
		s.Refused = j.refused
	}
	return s
}

// Dir is the folder.
func (j *Journal) Dir() string { return j.o.Dir }
