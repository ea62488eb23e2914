// SPDX-License-Identifier: Apache-2.0

package manage

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// compare asks for the documents of the batch.
func (v *verifier) compare(ctx context.Context) error {
	ids := map[string][]string{} // by stream
	for i := range v.batch {
		docs := v.batch[i].forms[0]
		if more := v.batch[i].forms[1]; len(more) > len(docs) { // document n has the same ID in both
			docs = more
		}
		for n := range docs {
			ids[docs[n].Stream] = append(ids[docs[n].Stream], docs[n].ID)
		}
	}
	hits := map[string]map[string][]hit{} // by stream and ID
	for stream, list := range ids {
		var err error
		if hits[stream], err = v.find(ctx, stream, list); err != nil {
			return err
		}
	}
	for i := range v.batch {
		x := &v.batch[i]
		docs, whole := v.formOf(x, hits[document.Content])
		for n := range docs {
			if err := v.judge(x, n, whole, &docs[n], hits[docs[n].Stream][docs[n].ID]); err != nil {
				return err
			}
		}
		v.rep.Documents += len(docs)
	}
	v.batch, v.docs = v.batch[:0], 0
	if v.o.Progress != nil {
		v.o.Progress(v.rep.Documents)
	}
	return nil
}

// formOf takes the documents of the form that the first document of contents is in, and checks what they leave out.
func (v *verifier) formOf(x *expected, contents map[string][]hit) (docs []document.Doc, whole bool) {
	docs = x.forms[0]
	if x.claim != nil {
		first := document.ContentID(x.hash, 1)
		var is struct {
			Sallyport struct{ Content struct{ Earlier string } }
		}
		if hits := contents[first]; len(hits) > 0 && json.Unmarshal(hits[0].Source, &is) == nil && is.Sallyport.Content.Earlier == "" {
			docs, whole = x.forms[1], true
		} else if len(hits) > 0 {
			v.check(x.claim, first)
		}
	}
	k := v.key(x.hash[:])
	m := v.known[k]
	m.parts = 0
	for i := range docs {
		if docs[i].Stream == document.Content {
			m.parts++
		}
	}
	v.known[k] = m
	return docs, whole
}

// check compares what a record says that its parent's has with what that has. Of one that is older than the journal nothing is known.
func (v *verifier) check(c *claim, id string) {
	had, ok := v.said[c.parent]
	if !ok {
		return
	}
	if c.repeats && had.messages != c.shared.messages || c.frame && had.frame != c.shared.frame {
		v.rep.add(Problem{Broken, document.Content, id, "the exchange before did not say what is left out here"})
	}
}

// find searches all backing indices of a stream for IDs.
func (v *verifier) find(ctx context.Context, stream string, ids []string) (map[string][]hit, error) {
	out := map[string][]hit{}
	for len(ids) > 0 {
		n := min(len(ids), verifyDocs)
		got, err := search(ctx, v.c, "/"+document.Index(stream, v.o.Namespace)+"/_search", map[string]any{"size": 10 * verifyDocs,
			"query": map[string]any{"ids": map[string]any{"values": ids[:n]}}})
		if client.Is(err, http.StatusNotFound) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("searching %s for documents: %w", document.Index(stream, v.o.Namespace), err)
		}
		for _, h := range got.Hits.Hits {
			out[h.ID] = append(out[h.ID], h)
		}
		ids = ids[n:]
	}
	return out, nil
}

// judge compares document n of a record with what was found of it.
func (v *verifier) judge(x *expected, n int, whole bool, d *document.Doc, hits []hit) error {
	if len(hits) == 0 {
		v.rep.add(Problem{Missing, d.Stream, d.ID, ""})
		return nil
	}
	if len(hits) > 1 {
		var in []string
		for _, h := range hits {
			in = append(in, h.Index)
		}
		v.rep.add(Problem{Duplicate, d.Stream, d.ID, "in " + strings.Join(in, ", ")})
	}
	for _, h := range hits {
		var is struct {
			Agent struct{ Version string }
			Host  struct{ Name string }
			ECS   struct{ Version string } `json:"ecs"`
		}
		if err := json.Unmarshal(h.Source, &is); err != nil {
			v.rep.add(Problem{Altered, d.Stream, d.ID, "it is no document of Sallyport"})
			continue
		}
		docs, err := x.again(v.maker(document.Origin{Host: is.Host.Name, Version: is.Agent.Version, Namespace: v.o.Namespace, Whole: whole}))
		if err != nil {
			return fmt.Errorf("reading the record of document %s: %w", d.ID, err)
		}
		switch where, same := difference(docs[min(n, len(docs)-1)].JSON, h.Source, v.known[v.key(x.hash[:])].gone); {
		case is.Host.Name != v.o.Host:
			v.rep.add(Problem{Altered, d.Stream, d.ID, "host.name is another"})
		case same && len(hits) == 1:
			v.rep.Same++
		case same:
		case is.Agent.Version != v.o.Version && (is.ECS.Version != document.ECSVersion || strings.HasPrefix(where, "+")):
			v.rep.add(Problem{Version, d.Stream, d.ID, "the field " + where[1:] + " is of another version: " + client.OneLine(is.Agent.Version)})
			if !slices.Contains(v.o.Versions, is.Agent.Version) {
				v.unknown++
			}
		default:
			v.rep.add(Problem{Altered, d.Stream, d.ID, "the field " + where[1:] + " is another"})
		}
	}
	return nil
}

// foreign looks for documents of this host that the journal has no record of.
func (v *verifier) foreign(ctx context.Context) error {
	for _, s := range document.Streams() {
		err := each(ctx, v.c, s.Index(v.o.Namespace), term("host.name", v.o.Host), []string{"sallyport.record.segment"}, func(h *hit) error { return v.belongs(s.Name, h) })
		if err != nil {
			return err
		}
	}
	return nil
}

// belongs checks that a record makes a document of this ID in this stream.
func (v *verifier) belongs(stream string, h *hit) error {
	id, part, parted := strings.Cut(h.ID, "-")
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != len(journal.Hash{}) || id != hex.EncodeToString(raw) {
		v.rep.add(Problem{Foreign, stream, h.ID, "its ID is no hash of a record"})
		return nil
	}
	m, ok := v.known[v.key(raw)]
	if !ok {
		var doc struct {
			Sallyport struct{ Record struct{ Segment uint64 } }
		}
		if err := json.Unmarshal(h.Source, &doc); err == nil && doc.Sallyport.Record.Segment > 0 && doc.Sallyport.Record.Segment < v.oldest.Segment {
			v.rep.Older++
			return nil
		}
		v.rep.add(Problem{Foreign, stream, h.ID, ""})
		return nil
	}
	if !parted {
		if stream != m.stream {
			v.rep.add(Problem{Foreign, stream, h.ID, "its record makes one in " + m.stream})
		}
		return nil
	}
	n, err := strconv.Atoi(part)
	switch {
	case m.stream != document.Exchange || stream != document.Content || err != nil || n < 1 || part != strconv.Itoa(n):
		v.rep.add(Problem{Foreign, stream, h.ID, "no record makes one of this ID"})
	case m.gone:
		v.rep.add(Problem{Left, stream, h.ID, "its contents were erased in the journal: sallyport elastic erase"})
	case m.parts >= 0 && n > m.parts:
		v.rep.add(Problem{Foreign, stream, h.ID, fmt.Sprintf("its record makes %d documents of contents", m.parts)})
	}
	return nil
}
