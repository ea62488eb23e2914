// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/elastic/go-elasticsearch/v8"

	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// Options configures New. Of APIKey and Username with Password one may be given.
type Options struct {
	URL       string
	CA        []byte // PEM that replaces the system roots; nil = system roots
	APIKey    Secret // encoded, as Elasticsearch shows it
	Username  string
	Password  Secret
	Namespace string // the tenant; "default"
	Host      string // "" = the name of this host
	Version   string

	Journal *journal.Journal
	Dir     string // where cursor and dead letters are kept; "" = the journal's folder

	BatchDocs  int           // 500
	BatchBytes int           // 4 MiB; one document may be larger
	Linger     time.Duration // how long a batch may gather; 500 ms
	MinBackoff time.Duration // 500 ms
	MaxBackoff time.Duration // 30 s
	Log        *slog.Logger  // nil = none
}

func (o *Options) complete() error {
	if o.Journal == nil {
		return errors.New("elastic: a shipper needs a journal")
	}
	if o.Namespace == "" {
		o.Namespace = "default"
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
	Dead      uint64 // documents given up since the start
	LastError string // of the last attempt that went wrong; "" after one that went well
}

// Shipper ships one journal to one Elasticsearch.
type Shipper struct {
	o      Options
	client *elasticsearch.Client
	close  func()
	enc    *encoder
	stream string

	cursor   *journal.Cursor
	folder   *journal.Folder
	loader   *journal.Loader
	saved    cursorFile // as on disk
	savedAt  time.Time
	skip     journal.Mark
	prepared bool // the templates are there

	mu    sync.Mutex
	state State
	done  journal.Mark // everything up to here is dealt with

	needed uint64 // the oldest segment that a start would read
}

// New checks the options. Nothing is sent before Run.
func New(o Options) (*Shipper, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	s := &Shipper{o: o, enc: newEncoder(Origin{Host: o.Host, Version: o.Version, Namespace: o.Namespace}),
		stream: templateName + "-" + o.Namespace, state: State{State: StateStarting}}
	var err error
	if s.client, s.close, err = newClient(&o); err != nil {
		return nil, err
	}
	return s, nil
}

// Run ships until ctx ends or the journal is closed, and then returns nil. Nothing that Elasticsearch does ends it. If it
// cannot go on, because the journal is damaged or its own files cannot be written, it says so in State and waits for ctx:
// shipping is not worth stopping the traffic for.
func (s *Shipper) Run(ctx context.Context) error {
	defer s.close()
	err := s.run(ctx)
	if err == nil || ctx.Err() != nil || errors.Is(err, journal.ErrClosed) {
		return nil
	}
	s.fail(StateStopped, err)
	s.o.Log.Error("shipping to Elasticsearch has stopped; restart sallyportd once the cause is mended", "error", err)
	<-ctx.Done()
	return nil
}

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
	s.loader.SkipBody = true // documents hold no content
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
	s.saved, s.skip = from, from.Done
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
func (s *Shipper) deadPath() string   { return filepath.Join(s.o.Dir, "elastic.dead.jsonl") }

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
		if done == nil || s.skip.Covers(e.Generation, e.Position) {
			continue
		}
		parts, err := s.loader.Load(done)
		if err != nil {
			// What is wrong with one exchange must not keep all later ones back.
			if err := s.bury(&item{id: done.Hash.String(), exchange: done.Exchange, at: done.Outcome}, 0, err.Error()); err != nil {
				return err
			}
			continue
		}
		doc := parts.Document()
		b.add(done, s.enc.append(nil, &doc))
	}
	return nil
}

// saveEvery is how often the cursor is written while it moves over records that are no exchanges.
const saveEvery = 5 * time.Second

// advance notes that everything read so far is dealt with. now asks for it to be on disk.
func (s *Shipper) advance(now bool) error {
	at := s.cursor.Mark()
	next := cursorFile{Resume: s.folder.Resume(at), Done: s.skip.Later(at)} // after a start: still reading what was shipped before
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
