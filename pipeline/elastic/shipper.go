// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/manage"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// Options configures New.
type Options struct {
	client.Options
	Namespace string // the tenant; "default"
	Host      string // "" = the name of this host
	Version   string
	Whole     bool // documents of contents repeat what earlier ones of the session have

	Journal *journal.Journal
	Dir     string // where cursor and dead letters are kept; "" = the journal's folder

	BatchDocs  int                // 500
	BatchBytes int                // 4 MiB; one document may be larger
	Lifecycle  document.Lifecycle // of policies that are not there yet
	Linger     time.Duration      // how long a batch may gather; 500 ms
	MinBackoff time.Duration      // 500 ms
	MaxBackoff time.Duration      // 30 s
	Log        *slog.Logger       // nil = none
}

func (o *Options) complete() error {
	if o.Journal == nil {
		return errors.New("elastic: a shipper needs a journal")
	}
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	if err := client.CheckNamespace(o.Namespace); err != nil {
		return err
	}
	if o.Host == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("asking for the name of this host: %w", err)
		}
		o.Host = name
	}
	if o.Dir == "" {
		o.Dir = o.Journal.Dir()
	}
	def := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	if o.BatchDocs <= 0 {
		o.BatchDocs = 500
	}
	if o.BatchBytes <= 0 {
		o.BatchBytes = 4 << 20
	}
	def(&o.Linger, 500*time.Millisecond)
	def(&o.MinBackoff, 500*time.Millisecond)
	def(&o.MaxBackoff, 30*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// The states of a Shipper.
const (
	StateStarting = "starting" // has not talked to Elasticsearch yet
	StateOK       = "ok"
	StateRetrying = "retrying" // Elasticsearch is away or refuses; LastError says why
	StateStopped  = "stopped"  // cannot go on until a restart; LastError says why
)

// State is how shipping is doing.
type State struct {
	State     string
	Lag       int64  // records in the journal that are not dealt with yet
	Acked     uint64 // documents acknowledged since the start, those that were there already included
	Blind     bool   // the key may not look for documents in doubt
	Dead      uint64 // documents given up since the start
	LastError string // of the last attempt that went wrong; "" after one that went well
}

// Shipper ships one journal to one Elasticsearch.
type Shipper struct {
	o      Options
	client *client.Client
	makers [2]*document.Maker // of contents: what is new, whole

	cursor   *journal.Cursor
	folder   *journal.Folder
	loader   *journal.Loader
	saved    cursorFile // as on disk
	savedAt  time.Time
	skip     journal.Mark
	began    journal.State     // of the journal when shipping began: who wrote before may have shipped
	written  map[string]string // by stream: the backing index that was last written to
	forms    []formFrom        // in which contents are shipped
	bare     []string          // exchanges whose documents of contents are not there: nothing may lean on them
	prepared bool              // the templates are there
	blind    bool              // documents in doubt cannot be looked for

	mu     sync.Mutex
	state  State
	done   journal.Mark // everything up to here is dealt with
	needed uint64       // the oldest segment of what was saved
}

// New checks the options. Nothing is sent before Run.
func New(o Options) (*Shipper, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	c, err := client.New(o.Options)
	if err != nil {
		return nil, err
	}
	s := &Shipper{o: o, client: c, written: map[string]string{}, state: State{State: StateStarting}}
	for i := range s.makers {
		s.makers[i] = document.NewMaker(document.Origin{Host: o.Host, Version: o.Version, Namespace: o.Namespace, Whole: i == 1})
	}
	return s, nil
}

// Run ships until ctx ends or the journal is closed, and then returns nil. Nothing that Elasticsearch does ends it. If it
// cannot go on, because the journal is damaged or its own files cannot be written, it says so in State and waits for ctx:
// shipping is not worth stopping the traffic for.
func (s *Shipper) Run(ctx context.Context) error {
	defer s.client.Close()
	err := s.run(ctx)
	for n := 0; noRoom(err) && ctx.Err() == nil; n++ { // for the cursor: a disk that is full is so for a time
		s.fail(StateRetrying, err)
		if s.pause(ctx, n) != nil {
			return nil
		}
		err = s.run(ctx)
	}
	if err == nil || ctx.Err() != nil || errors.Is(err, journal.ErrClosed) {
		return nil
	}
	s.fail(StateStopped, err)
	s.o.Log.Error("shipping to Elasticsearch has stopped; restart sallyportd once the cause is mended", "error", err)
	<-ctx.Done()
	return nil
}

// noRoom tells whether a file could not be written for want of room.
func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

func (s *Shipper) run(ctx context.Context) (err error) {
	if err := s.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.cursor.Close(), s.loader.Close()) }()
	if err := s.prepare(ctx); err != nil {
		return err
	}
	b := &batch{}
	for {
		gathered := s.gather(ctx, b)
		if err := s.send(ctx, b); err != nil {
			return err
		}
		if err := s.advance(len(b.items) > 0 || gathered != nil); err != nil {
			return err
		}
		if gathered != nil {
			return gathered
		}
	}
}

// open reads the cursor and begins to follow the journal there.
func (s *Shipper) open() error {
	s.folder, s.loader = journal.NewFolder(), journal.NewLoader(s.o.Journal.Dir())
	s.began = s.o.Journal.State()
	from, err := readCursor(s.cursorPath())
	if err == nil {
		s.cursor, err = s.o.Journal.Follow(from.Resume)
	}
	var damage *journal.Damage
	if errors.As(err, &damage) || errors.Is(err, errBadCursor) {
		// A cursor of another journal, or none that can be read. Documents that are there already are conflicts.
		s.o.Log.Warn("the cursor of the Elasticsearch shipper does not fit the journal; shipping from the oldest record", "error", err)
		from = cursorFile{}
		s.cursor, err = s.o.Journal.Follow(nil)
	}
	if err != nil {
		return err
	}
	s.saved, s.skip, s.bare = from, from.Done, slices.Clone(from.Bare)
	if err := s.chooseForm(); err != nil {
		return errors.Join(err, s.cursor.Close())
	}
	maps.Copy(s.written, from.Written)
	s.mu.Lock()
	s.done, s.needed = from.Done, oldest(from.Resume)
	s.mu.Unlock()
	return nil
}

// Needed is the oldest segment that is still to be read, by this run or one that follows a crash. Older ones may be removed.
func (s *Shipper) Needed() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.needed, 1)
}

func oldest(m journal.Mark) (segment uint64) {
	for _, p := range m {
		if segment == 0 || p.Segment < segment {
			segment = p.Segment
		}
	}
	return segment
}

func (s *Shipper) cursorPath() string { return filepath.Join(s.o.Dir, "elastic.cursor") }

// gather reads records until the batch is full or has waited long enough. An error ends the shipping after the batch.
func (s *Shipper) gather(ctx context.Context, b *batch) error {
	b.reset()
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	for n := 0; len(b.items) < s.o.BatchDocs && b.bytes < s.o.BatchBytes; n++ {
		e, err := s.cursor.Next(wait)
		if err != nil {
			if wait.Err() != nil && ctx.Err() == nil {
				return nil
			}
			return err
		}
		if n == 0 {
			defer time.AfterFunc(s.o.Linger, cancel).Stop()
		}
		done := s.folder.Add(e)
		if s.skip.Covers(e.Generation, e.Position) {
			continue
		}
		if err := s.make(ctx, b, e, done); err != nil {
			return err
		}
	}
	return nil
}

// make brings the documents of a record into the batch; done is the exchange that ends with it, if one does.
func (s *Shipper) make(ctx context.Context, b *batch, e *journal.Entry, done *journal.Refs) error {
	stream := document.Route(e.Kind)
	if stream == "" {
		return nil
	}
	record := document.RecordOf(e)
	doubt := e.Generation != s.began.Generation || e.Sequence <= s.began.Sequence
	var err error
	if stream == document.Exchange {
		var parts *journal.Parts
		if parts, err = s.loader.Load(done); err == nil {
			for _, d := range s.form(parts, e).Exchange(record, parts) {
				b.add(d, record, doubt)
			}
		}
	} else {
		var d document.Doc
		if d, err = s.makers[0].Record(e); err == nil {
			b.add(d, record, doubt)
		}
	}
	if err == nil {
		return nil
	}
	// What is wrong with one record must not keep all later ones back.
	return s.bury(ctx, []letter{letterOf(&item{Doc: document.Doc{Stream: stream, ID: record.Hash.String()}, record: record}, 0, err.Error())})
}

// saveEvery is how often the cursor is written while it moves over records that are no exchanges.
const saveEvery = 5 * time.Second

// advance notes that everything read so far is dealt with. now asks for it to be on disk.
func (s *Shipper) advance(now bool) error {
	at := s.cursor.Mark()
	next := cursorFile{Resume: s.folder.Resume(at), Done: s.skip.Later(at), Written: maps.Clone(s.written), Forms: s.forms, Bare: slices.Clone(s.bare)} // after a start: still reading what was shipped before
	s.mu.Lock()
	s.done = next.Done
	s.mu.Unlock()
	if next.equal(&s.saved) || !now && time.Since(s.savedAt) < saveEvery {
		return nil
	}
	if err := writeCursor(s.cursorPath(), &next); err != nil {
		return err
	}
	s.saved, s.savedAt = next, time.Now()
	s.mu.Lock()
	s.needed = oldest(next.Resume)
	s.mu.Unlock()
	return nil
}

// prepare makes the templates, and keeps trying. A key that may not make them is taken to be one for which somebody else did:
// documents are refused as long as there is no data stream for them, so nothing ends up in an index of the wrong form.
func (s *Shipper) prepare(ctx context.Context) error {
	for attempt := 0; !s.prepared; attempt++ {
		err := manage.Install(ctx, s.client, s.o.Lifecycle, manage.KeepPolicies)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			s.prepared = true
			s.succeed(0)
			return nil
		case client.Is(err, http.StatusForbidden):
			s.o.Log.Info("the Elasticsearch key may not make templates; taking them as made with sallyport elastic setup")
			s.prepared = true
			return nil
		}
		s.fail(StateRetrying, err)
		if err := s.pause(ctx, attempt); err != nil {
			return err
		}
	}
	return nil
}

// State may be asked at any time.
func (s *Shipper) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.state
	st.Lag = s.o.Journal.Behind(s.done)
	return st
}

func (s *Shipper) succeed(acked int) {
	s.mu.Lock()
	was := s.state.State
	s.state.State, s.state.LastError = StateOK, ""
	s.state.Acked += uint64(acked)
	s.mu.Unlock()
	if was == StateRetrying {
		s.o.Log.Info("Elasticsearch takes documents again")
	}
}

// count adds documents that are there.
func (s *Shipper) count(acked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Acked += uint64(acked)
}

func (s *Shipper) fail(state string, err error) {
	s.mu.Lock()
	was := s.state.State
	s.state.State, s.state.LastError = state, err.Error()
	s.mu.Unlock()
	if state == StateRetrying && was != StateRetrying {
		s.o.Log.Warn("Elasticsearch does not take documents; the journal keeps them", "error", err)
	}
}

// pause waits before attempt number n (from 0) is repeated: twice as long each time, with half of it at random, so that
// a fleet does not come back all at once.
func (s *Shipper) pause(ctx context.Context, n int) error {
	d := s.o.MaxBackoff
	if n < 20 {
		d = min(d, s.o.MinBackoff<<n)
	}
	d = d/2 + rand.N(d/2+1)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
