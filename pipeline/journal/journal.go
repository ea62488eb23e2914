// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal/content"
)

// Journal is the writer of a folder. It is safe for concurrent use.
type Journal struct {
	o      Options
	lock   *os.File // of the generation
	folder *os.File // kept open: to begin a segment must not need a descriptor that is not to be had

	mu      sync.Mutex // guards everything below
	err     error      // why nothing is taken any more; set once
	shut    bool       // Close was called
	active  *os.File
	info    segmentInfo // of the active segment
	size    int64       // of the active segment's file
	off     int64       // where the next frame goes
	tail    []byte      // the frames before off that are not in the file yet
	closed  int64       // bytes of all other segments
	gen     uint64
	seq     uint64 // of the last record written
	head    Hash
	synced  uint64            // sequence up to which the generation is on disk
	durable pipeline.Position // end of what is on disk
	waiters []chan error
	moved   chan struct{} // closed at the next commit; nil if nobody waits
	retired []*os.File    // older segments, complete and synced, for the committer to close
	spare   *os.File      // a prepared segment
	making  bool          // a spare is being prepared
	written uint64        // records since Open
	lazy    bool          // the timer for events runs
	shortage
	signing

	timer   *time.Timer
	aio     *syncer
	sync    func(f *os.File, waiters int) error // aio.datasync, but for tests of failing disks
	kick    chan struct{}                       // capacity 1: there is something to sync
	stop    chan struct{}
	stopped chan struct{} // the committer is done
	tasks   sync.WaitGroup
	buffers sync.Pool
	store   *content.Store  // the session keys of the folder
	keys    *content.Writer // makes those of this generation
	old     earlier         // what was there before Open
	indexed Mark            // the index has what lies before

	following *follower // what CloseOpen began; nil if no other generation runs

	begun map[string]uint64 // exchanges of this generation without an outcome, by the segment of their intent

	admin sync.Mutex // one erasure, hold or expiry at a time; taken before mu
	holds []Hold     // in force; guarded by mu

	lives map[uint64]bool   // other generations whose writers live
	ends  map[uint64]uint64 // the last sequence of earlier generations, as far as anybody asked
}

// Open takes the folder over: it checks the newest segment of each generation that has ended since, cuts off what a crash
// left behind, and begins a generation of its own in a new segment. A damaged journal is refused and left as it is.
func Open(o Options) (*Journal, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the journal folder: %w", err)
	}
	if err := os.Chmod(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("closing the journal folder to others: %w", err)
	}
	folder, err := lockFolder(o.Dir, lockWait)
	if err != nil {
		return nil, err
	}
	dir, err := os.Open(o.Dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the journal folder: %w", err), folder.Close())
	}
	j := &Journal{o: o, folder: dir, aio: new(syncer), kick: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
		begun: map[string]uint64{}, lives: map[uint64]bool{}, ends: map[uint64]uint64{}}
	j.sync, j.store = j.aio.datasync, content.NewStore(keysDir(o.Dir), o.random)
	j.buffers.New = func() any { return new(bytes.Buffer) }
	if err := errors.Join(j.start(), folder.Close()); err != nil {
		if j.active != nil {
			err = errors.Join(err, j.active.Close())
		}
		if j.lock != nil {
			err = errors.Join(err, unlockGeneration(j.lock))
		}
		return nil, errors.Join(advise(err, o.Dir), j.old.letGo(), j.dropPrepared(), j.closeKeys(), j.aio.close(), dir.Close())
	}
	j.timer = time.AfterFunc(time.Hour, j.wake)
	j.timer.Stop()
	go j.commit()
	if o.Anchors != nil {
		ctx, cancel := context.WithCancel(context.Background())
		j.noMore, j.anchored, j.cancelAnchors = make(chan struct{}), make(chan struct{}), cancel
		go j.keepAnchors(ctx)
	}
	return j, nil
}

// advise adds what to do to an error that a person has to act on.
func advise(err error, dir string) error {
	var d *Damage
	if errors.As(err, &d) {
		return fmt.Errorf("%w; run `sallyport journal verify %s`, and `sallyport journal repair` to go on: it moves the damaged parts aside", err, dir)
	}
	return err
}

func (j *Journal) start() (err error) {
	if err := j.inspect(); err != nil {
		return err
	}
	if err := removeTemporary(j.o.Dir, func(g uint64) bool { return j.lives[g] }); err != nil {
		return fmt.Errorf("clearing the journal folder: %w", err)
	}
	keyed, err := j.store.Newest() // of a journal that was repaired, or is older than its keys: no number has two meanings
	if err != nil {
		return err
	}
	j.gen = max(j.old.newest, keyed) + 1
	if j.lock, err = lockGeneration(j.o.Dir, j.gen); err == nil && j.lock == nil {
		err = ErrLocked
	}
	if err != nil {
		return err
	}
	if j.keys, err = j.store.NewWriter(j.gen, j.o.Now); err != nil {
		return err
	}
	if err := j.openSigner(); err != nil {
		return err
	}
	if j.o.Index != nil {
		if err := j.loadIndex(); err != nil {
			return err
		}
	}
	if j.closed, err = j.usage(); err != nil {
		return err
	}
	if err := j.openEmergency(); err != nil {
		return err
	}
	size := max(j.segmentSize(j.closed), minSegment)
	f, err := j.newFile("filled", size, true)
	if err != nil {
		return fmt.Errorf("making a journal segment: %w", err)
	}
	if err := j.begin(f, j.old.last+1, size); err != nil {
		return err
	}
	if err := j.own(KindOpen, j.opening()); err != nil {
		return err
	}
	if len(j.holds) > 0 {
		if err := j.noteState(); err != nil {
			return err
		}
	}
	if j.old.dropped > 0 {
		if err := j.own(pipeline.KindGap, torn(j.old.dropped)); err != nil {
			return err
		}
	}
	if j.full, j.cause = j.old.cause != "", j.old.cause; j.full {
		if err := j.noteShortage(FullBegin); err != nil {
			return err
		}
	}
	if err := datasync(j.active); err != nil {
		return fmt.Errorf("syncing the journal: %w", err)
	}
	j.synced, j.durable = j.seq, pipeline.Position{Segment: j.info.number, Offset: uint64(j.off)}
	return j.old.release()
}

// opening names the generations that the one before did not know the end of.
func (j *Journal) opening() *Opening {
	o := &Opening{Generation: j.gen, Boot: j.boot()}
	for _, p := range j.old.ends {
		j.ends[p.Generation] = p.Sequence
		if o.Predecessor != nil {
			o.Earlier = append(o.Earlier, *o.Predecessor)
		}
		o.Predecessor = &p
	}
	return o
}

// loadIndex fills the index from before this generation; what those that run still write comes by follow.
func (j *Journal) loadIndex() (err error) {
	cat, err := openCatalog(j.o.Dir)
	if err != nil {
		return err
	}
	needed := cat.last()
	for g := range j.lives {
		needed = min(needed, cat.newest(g).number)
	}
	j.indexed, err = j.o.Index.load(cat, j.gen, needed, j.o.IndexBytes, j.store, j.catchUp)
	return err
}

// boot names the boot, so that times since boot in records can be told apart.
func (j *Journal) boot() string {
	if j.o.BootID != "" {
		return j.o.BootID
	}
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "" // absent in odd sandboxes; nothing depends on it
	}
	return strings.TrimSpace(string(b))
}

// Append implements flow.Log. The record is in the file when it returns, but for an Awaited one, which the committer writes
// with others; the channel then yields, once, nil when it is on disk or why it never will be. Exchange and session IDs have at most 255 bytes.
func (j *Journal) Append(r pipeline.Record) (pipeline.Position, <-chan error) {
	if r.Time.IsZero() {
		r.Time = j.o.Now()
	}
	done := make(chan error, 1)
	pos, err := j.append(r, done)
	if err != nil {
		done <- err
		return pos, done
	}
	if j.o.Index != nil {
		j.o.Index.observe(&r, pos)
	}
	return pos, done
}

func (j *Journal) append(r pipeline.Record, done chan error) (pipeline.Position, error) {
	buf, h, note, err := j.frame(&r)
	if err != nil {
		return pipeline.Position{}, err
	}
	defer j.release(buf)
	pos, err := j.put(&r, buf, h, done)
	if err == nil {
		note.Recorded(j.keys, pos)
	}
	return pos, err
}

// put takes a frame, if there is room for it.
func (j *Journal) put(r *pipeline.Record, buf *bytes.Buffer, h *header, done chan error) (pipeline.Position, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return pipeline.Position{}, j.err
	}
	if j.shut {
		return pipeline.Position{}, ErrClosed
	}
	if err := j.room(int64(buf.Len()), essential(r)); err != nil {
		if j.full && !essential(r) {
			j.refused++
		}
		return pipeline.Position{}, err
	}
	pos, err := j.write(buf.Bytes(), h, r.Awaited)
	if err != nil {
		return pos, err
	}
	switch r.Kind {
	case pipeline.KindIntent:
		j.begun[r.Exchange] = pos.Segment
	case pipeline.KindOutcome:
		delete(j.begun, r.Exchange)
	}
	j.waiters = append(j.waiters, done)
	if r.Kind != pipeline.KindEvent && r.Kind != pipeline.KindOriginal || r.Awaited {
		j.wake()
	} else if !j.lazy {
		j.lazy = true
		j.timer.Reset(j.o.EventDelay)
	}
	return pos, nil
}

// frame encodes a record, all but what is known only under the lock.
func (j *Journal) frame(r *pipeline.Record) (buf *bytes.Buffer, h *header, note content.Note, err error) {
	number, ok := kindNumber(r.Kind)
	if !ok {
		return nil, nil, note, fmt.Errorf("journal: unknown record kind %q", r.Kind)
	}
	if len(r.Session) > 255 || len(r.Exchange) > 255 {
		return nil, nil, note, fmt.Errorf("journal: a %s record with an ID of more than 255 bytes", r.Kind)
	}
	h = &header{kind: number, time: r.Time.UnixNano(), session: r.Session, exchange: r.Exchange}
	buf = j.buffers.Get().(*bytes.Buffer)
	buf.Reset()
	var blank [frameHeader]byte
	buf.Write(blank[:])
	buf.WriteString(r.Session)
	buf.WriteString(r.Exchange)
	start := buf.Len()
	if h.flags, note, err = j.encode(buf, r, number); err != nil {
		j.release(buf)
		return nil, nil, note, fmt.Errorf("encoding a %s record: %w", r.Kind, err)
	}
	if buf.Len() > maxFrame {
		j.release(buf)
		return nil, nil, note, fmt.Errorf("journal: a %s record of more than %d bytes", r.Kind, maxFrame)
	}
	h.digest = sha256.Sum256(buf.Bytes()[start:])
	return buf, h, note, nil
}

func (j *Journal) release(buf *bytes.Buffer) {
	if buf.Cap() <= 4<<20 {
		j.buffers.Put(buf)
	}
}

// fail makes the journal refuse everything from now on. The first cause stays.
func (j *Journal) fail(err error) error {
	if j.err == nil {
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			err = fmt.Errorf("%w: free disk space, then restart sallyportd", err)
		} else {
			err = fmt.Errorf("%w: check the disk, then restart sallyportd", err)
		}
		j.err = err
		j.wake() // whoever waits for a sync is to hear of it
	}
	return j.err
}
