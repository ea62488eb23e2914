// SPDX-License-Identifier: Apache-2.0

package manage

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// VerifyOptions says what is compared.
type VerifyOptions struct {
	Dir       string // of the journal
	Namespace string
	Host      string       // whose documents they are
	Version   string       // of this program
	Versions  []string     // others that this host has run: that documents of theirs lack fields is no failure
	Shipped   journal.Mark // records behind it need not be there yet; nil: all have to be
	Progress  func(documents int)
}

// The things that can be wrong with a document.
const (
	Missing   = "missing"   // the journal has its record, and the index has no document
	Duplicate = "duplicate" // the index has it more than once
	Altered   = "altered"   // it says something else than its record
	Foreign   = "foreign"   // it is of this host, and the journal has no such record
	Left      = "left"      // contents that were erased in the journal
	Broken    = "broken"    // it leaves out what the exchange that it names does not have
	Version   = "version"   // it says that another version of the program made it, and this one makes another; whether it was altered is not known
)

// Problem is one document that is not as it should be.
type Problem struct {
	Kind   string `json:"kind"`
	Stream string `json:"stream"`
	ID     string `json:"id"`
	Detail string `json:"detail,omitempty"`
}

// Report is what Verify found.
type Report struct {
	OK        bool           `json:"ok"`
	Documents int            `json:"documents"` // that the journal's records make
	Same      int            `json:"same"`
	Pending   int            `json:"pending"` // not shipped yet
	Older     int            `json:"older"`   // of records that the journal does not have any more
	Counts    map[string]int `json:"counts"`
	Problems  []Problem      `json:"problems"` // the first of them
}

// maxProblems bounds Report.Problems; Counts has all.
const maxProblems = 1000

func (r *Report) add(p Problem) {
	r.Counts[p.Kind]++
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, p)
	}
}

// hit is a document that was found.
type hit struct {
	ID     string          `json:"_id"`
	Index  string          `json:"_index"`
	Source json.RawMessage `json:"_source"`
	Sort   []any           `json:"sort"`
}

type found struct {
	Pit      string `json:"pit_id"`
	TimedOut bool   `json:"timed_out"`
	Shards   struct {
		Total  int `json:"total"`
		Failed int `json:"failed"`
	} `json:"_shards"`
	Hits struct {
		Total struct {
			Value int `json:"value"`
		} `json:"total"`
		Hits []hit `json:"hits"`
	} `json:"hits"`
}

// Verify compares the journal with the index, document by document.
func Verify(ctx context.Context, c *client.Client, o VerifyOptions) (*Report, error) {
	v := &verifier{o: o, c: c, rep: &Report{Counts: map[string]int{}, Problems: []Problem{}}, known: map[uint64]made{}, said: map[uint64]said{}, seed: maphash.MakeSeed(), makers: map[document.Origin]*document.Maker{}}
	if err := c.Do(ctx, http.MethodPost, "/"+document.Pattern(o.Namespace)+"/_refresh", nil, nil); err != nil && !client.Is(err, http.StatusForbidden) {
		return nil, fmt.Errorf("refreshing the data streams: %w", err) // without the right to, the newest second may be missing
	}
	if err := v.journal(ctx); err != nil {
		return nil, err
	}
	if err := v.foreign(ctx); err != nil {
		return nil, err
	}
	v.rep.OK = v.rep.Counts[Missing]+v.rep.Counts[Duplicate]+v.rep.Counts[Altered]+v.rep.Counts[Foreign]+v.rep.Counts[Left]+v.rep.Counts[Broken]+v.unknown == 0
	return v.rep, nil
}

type verifier struct {
	o      VerifyOptions
	c      *client.Client
	rep    *Report
	known  map[uint64]made // by key: each record that makes documents
	said   map[uint64]said // by exchange
	seed   maphash.Seed
	oldest pipeline.Position
	batch  []expected
	docs   int // of the batch

	unknown int // documents of versions that nobody has named
	makers  map[document.Origin]*document.Maker
	loader  *journal.Loader
}

// made says which documents a record makes.
type made struct {
	stream string
	parts  int  // documents of contents; -1: it is not known
	gone   bool // its contents
}

// said is what the record of a request has: the first bytes of the digests of its instructions and tools, and of its messages.
type said struct{ frame, messages uint64 }

// expected is a record, and what it is to have made.
type expected struct {
	hash  journal.Hash
	forms [2][]document.Doc // without their JSON: with what is new in it; with all, if that is another
	again func(*document.Maker) ([]document.Doc, error)
	claim *claim
}

// claim is what the record says that the record of its parent has.
type claim struct {
	parent         uint64 // the key of its ID
	repeats, frame bool   // the messages; the instructions and tools
	shared         said   // as this record has it
}

// verifyDocs is how many documents are asked for at once.
const verifyDocs = 200

// key stands for a hash, or a name, in 8 bytes: nobody outside can find another one with the same.
func (v *verifier) key(b []byte) uint64 { return maphash.Bytes(v.seed, b) }

func (v *verifier) journal(ctx context.Context) (err error) {
	r, err := journal.OpenReader(v.o.Dir, pipeline.Position{})
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	v.loader = journal.NewLoader(v.o.Dir)
	defer func() { err = errors.Join(err, r.Close(), v.loader.Close()) }()
	folder := journal.NewFolder()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return v.compare(ctx)
		}
		if err != nil {
			return fmt.Errorf("reading the journal: %w", err)
		}
		if v.oldest == (pipeline.Position{}) {
			v.oldest = e.Position
		}
		if err := v.record(e, folder.Add(e)); err != nil {
			return err
		}
		if v.docs >= verifyDocs {
			if err := v.compare(ctx); err != nil {
				return err
			}
		}
	}
}

func (v *verifier) record(e *journal.Entry, done *journal.Refs) error {
	stream := document.Route(e.Kind)
	if stream == "" {
		return nil
	}
	m := made{stream: stream, parts: -1}
	defer func() { v.known[v.key(e.Hash[:])] = m }()
	if v.o.Shipped != nil && !v.o.Shipped.Covers(e.Generation, e.Position) {
		v.rep.Pending++
		return nil
	}
	x := expected{hash: e.Hash}
	rec := document.RecordOf(e)
	if done == nil {
		x.again = func(m *document.Maker) ([]document.Doc, error) {
			e, err := v.loader.Read(rec.At)
			if err != nil {
				return nil, err
			}
			d, err := m.Record(e)
			return []document.Doc{d}, err
		}
	} else {
		refs := *done
		x.again = func(m *document.Maker) ([]document.Doc, error) {
			parts, err := v.loader.Load(&refs)
			if err != nil {
				return nil, err
			}
			return m.Exchange(rec, parts), nil
		}
		parts, err := v.loader.Load(&refs)
		if err != nil {
			return fmt.Errorf("reading the exchange that ends at segment %d offset %d: %w", e.Position.Segment, e.Position.Offset, err)
		}
		m.gone = parts.Content != journal.ContentHere
		x.claim = v.claims(parts)
	}
	for i := range x.forms {
		var err error
		if x.forms[i], err = x.again(v.maker(document.Origin{Host: v.o.Host, Namespace: v.o.Namespace, Whole: i == 1})); err != nil {
			return fmt.Errorf("reading the %s record at segment %d offset %d: %w", e.Kind, e.Position.Segment, e.Position.Offset, err)
		}
		for n := range x.forms[i] {
			x.forms[i][n].JSON = nil // it is made again, one at a time
		}
		if x.claim == nil {
			break
		}
	}
	v.docs += len(x.forms[0])
	v.batch = append(v.batch, x)
	return nil
}

// claims notes what the request of an exchange has, and gives what it says of its parent; nil if it says nothing.
func (v *verifier) claims(p *journal.Parts) *claim {
	if p.Content != journal.ContentHere {
		return nil
	}
	in := p.Intent
	d := document.Said(in)
	first := func(b [sha256.Size]byte) uint64 { return binary.BigEndian.Uint64(b[:]) }
	v.said[v.key([]byte(p.Exchange))] = said{first(d.Frame), first(d.Messages)}
	if in.Parent == "" || in.Repeats == 0 && !in.SameFrame {
		return nil
	}
	return &claim{v.key([]byte(in.Parent)), in.Repeats > 0, in.SameFrame, said{first(d.Frame), first(d.Shared)}}
}

func (v *verifier) maker(o document.Origin) *document.Maker {
	m := v.makers[o]
	if m == nil {
		m = document.NewMaker(o)
		v.makers[o] = m
	}
	return m
}
