// SPDX-License-Identifier: Apache-2.0

package manage

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

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
	Version   = "version"   // another version of the program made it, and this one makes another; whether it was altered is not known
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
	Pit  string `json:"pit_id"`
	Hits struct {
		Total struct {
			Value int `json:"value"`
		} `json:"total"`
		Hits []hit `json:"hits"`
	} `json:"hits"`
}

// Verify compares the journal with the index, document by document.
func Verify(ctx context.Context, c *client.Client, o VerifyOptions) (*Report, error) {
	v := &verifier{o: o, c: c, rep: &Report{Counts: map[string]int{}, Problems: []Problem{}}, known: map[uint64]bool{}, makers: map[document.Origin]*document.Maker{}}
	if err := c.Do(ctx, http.MethodPost, "/"+document.Pattern(o.Namespace)+"/_refresh", nil, nil); err != nil && !client.Is(err, http.StatusForbidden) {
		return nil, fmt.Errorf("refreshing the data streams: %w", err) // without the right to, the newest second may be missing
	}
	if err := v.journal(ctx); err != nil {
		return nil, err
	}
	if err := v.foreign(ctx); err != nil {
		return nil, err
	}
	v.rep.OK = v.rep.Counts[Missing]+v.rep.Counts[Duplicate]+v.rep.Counts[Altered]+v.rep.Counts[Foreign]+v.rep.Counts[Left] == 0
	return v.rep, nil
}

type verifier struct {
	o      VerifyOptions
	c      *client.Client
	rep    *Report
	known  map[uint64]bool // by the first bytes of the hash of each record that makes documents: its contents are gone
	oldest pipeline.Position
	batch  []expected
	makers map[document.Origin]*document.Maker
	loader *journal.Loader
}

// expected is a record with its documents as this host makes them.
type expected struct {
	document.Doc
	again func(*document.Maker) ([]document.Doc, error) // makes the documents of the record
	n     int                                           // which of them it is
}

// verifyDocs is how many documents are asked for at once.
const verifyDocs = 200

func short(h journal.Hash) uint64 { return binary.BigEndian.Uint64(h[:]) }

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
		if len(v.batch) >= verifyDocs {
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
	v.known[short(e.Hash)] = false
	if v.o.Shipped != nil && !v.o.Shipped.Covers(e.Generation, e.Position) {
		v.rep.Pending++
		return nil
	}
	rec := document.RecordOf(e)
	again := func(m *document.Maker) ([]document.Doc, error) {
		e, err := v.loader.Read(rec.At)
		if err != nil {
			return nil, err
		}
		d, err := m.Record(e)
		return []document.Doc{d}, err
	}
	if done != nil {
		refs := *done
		again = func(m *document.Maker) ([]document.Doc, error) {
			parts, err := v.loader.Load(&refs)
			if err != nil {
				return nil, err
			}
			v.known[short(rec.Hash)] = parts.Content != journal.ContentHere
			return m.Exchange(rec, parts), nil
		}
	}
	docs, err := again(v.maker(document.Origin{Host: v.o.Host, Namespace: v.o.Namespace}))
	if err != nil {
		return fmt.Errorf("reading the %s record at segment %d offset %d: %w", e.Kind, e.Position.Segment, e.Position.Offset, err)
	}
	for i, d := range docs {
		v.batch = append(v.batch, expected{d, again, i})
	}
	return nil
}

func (v *verifier) maker(o document.Origin) *document.Maker {
	m := v.makers[o]
	if m == nil {
		m = document.NewMaker(o)
		v.makers[o] = m
	}
	return m
}

// compare asks for the documents of the batch.
func (v *verifier) compare(ctx context.Context) error {
	byStream := map[string][]expected{}
	for _, x := range v.batch {
		byStream[x.Stream] = append(byStream[x.Stream], x)
	}
	v.rep.Documents += len(v.batch)
	v.batch = v.batch[:0]
	for stream, list := range byStream {
		ids := make([]string, len(list))
		for i := range list {
			ids[i] = list[i].ID
		}
		hits, err := v.find(ctx, stream, ids)
		if err != nil {
			return err
		}
		for _, x := range list {
			if err := v.judge(&x, hits[x.ID]); err != nil {
				return err
			}
		}
	}
	if v.o.Progress != nil {
		v.o.Progress(v.rep.Documents)
	}
	return nil
}

// find searches all backing indices of a stream for IDs.
func (v *verifier) find(ctx context.Context, stream string, ids []string) (map[string][]hit, error) {
	out := map[string][]hit{}
	for len(ids) > 0 {
		n := min(len(ids), verifyDocs)
		var got found
		err := v.c.Do(ctx, http.MethodPost, "/"+document.Index(stream, v.o.Namespace)+"/_search?ignore_unavailable=true", map[string]any{"size": 10 * verifyDocs,
			"query": map[string]any{"ids": map[string]any{"values": ids[:n]}}}, &got)
		if err != nil && !client.Is(err, http.StatusNotFound) {
			return nil, fmt.Errorf("searching for documents: %w", err)
		}
		for _, h := range got.Hits.Hits {
			out[h.ID] = append(out[h.ID], h)
		}
		ids = ids[n:]
	}
	return out, nil
}

func (v *verifier) judge(x *expected, hits []hit) error {
	if len(hits) == 0 {
		v.rep.add(Problem{Missing, x.Stream, x.ID, ""})
		return nil
	}
	if len(hits) > 1 {
		var in []string
		for _, h := range hits {
			in = append(in, h.Index)
		}
		v.rep.add(Problem{Duplicate, x.Stream, x.ID, "in " + strings.Join(in, ", ")})
	}
	for _, h := range hits {
		var is struct {
			Agent struct{ Version string }
			Host  struct{ Name string }
			ECS   struct{ Version string } `json:"ecs"`
		}
		if err := json.Unmarshal(h.Source, &is); err != nil {
			v.rep.add(Problem{Altered, x.Stream, x.ID, "it is no document of Sallyport"})
			continue
		}
		docs, err := x.again(v.maker(document.Origin{Host: is.Host.Name, Version: is.Agent.Version, Namespace: v.o.Namespace}))
		if err != nil {
			return fmt.Errorf("reading the record of document %s: %w", x.ID, err)
		}
		switch where, same := difference(docs[min(x.n, len(docs)-1)].JSON, h.Source); {
		case is.Host.Name != v.o.Host:
			v.rep.add(Problem{Altered, x.Stream, x.ID, "host.name is another"})
		case same && len(hits) == 1:
			v.rep.Same++
		case same:
		case is.ECS.Version != document.ECSVersion || strings.HasPrefix(where, "+") && is.Agent.Version != v.o.Version:
			v.rep.add(Problem{Version, x.Stream, x.ID, "the field " + where[1:] + " is of another version"})
		default:
			v.rep.add(Problem{Altered, x.Stream, x.ID, "the field " + where[1:] + " is another"})
		}
	}
	return nil
}
