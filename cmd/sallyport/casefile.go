// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/journal/anchor"
)

// caseFile collects what goes into a case.
type caseFile struct {
	journal  string
	sessions map[string]bool
	anchors  []anchor.Anchor
	manifest manifest

	first, last map[uint64]uint64          // of each generation: the records from its first in the case to the checkpoint that signs its last
	signed      map[uint64]bool            // last is that checkpoint
	seen        map[string]bool            // sessions that have records
	exchanges   map[string]bool            // that have records in the case
	principals  map[string]map[string]bool // of each session
	gone        map[string]map[string]int  // of each session: records without their contents, by why
	policy      casePolicy
}

// manifest is MANIFEST.json of a case.
type manifest struct {
	Format   string         `json:"format"`
	Created  time.Time      `json:"created"`
	Host     string         `json:"host"`
	Query    string         `json:"query,omitempty"`
	Sessions []string       `json:"sessions"`
	Recorded bool           `json:"reading_recorded"` // the journal says that the case was read
	Records  int            `json:"records"`
	Holds    []journal.Hold `json:"holds,omitempty"` // legal holds on the sessions, in force when the case was made
	Policies []policyTexts  `json:"policies,omitempty"`
	Notes    []string       `json:"notes,omitempty"` // what is missing
	Files    []manifestFile `json:"files"`
}

type manifestFile struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// each reads the whole journal.
func (c *caseFile) each(ctx context.Context, take func(*journal.Entry) error) error {
	r, err := journal.OpenReader(c.journal, pipeline.Position{})
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	defer r.Close()
	for n := 0; ; n++ {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && n%1024 == 0 {
			err = ctx.Err()
		}
		if err == nil {
			err = take(e)
		}
		if err != nil {
			return fmt.Errorf("reading the journal (sallyport journal verify says more): %w", err)
		}
	}
}

// survey finds what of the journal belongs to the case.
func (c *caseFile) survey(ctx context.Context) error {
	c.first, c.last, c.signed, c.seen = map[uint64]uint64{}, map[uint64]uint64{}, map[uint64]bool{}, map[string]bool{}
	c.exchanges, c.principals, c.gone = map[string]bool{}, map[string]map[string]bool{}, map[string]map[string]int{}
	c.policy = casePolicy{versions: map[string]map[string]policyText{}, used: map[string]bool{}}
	var holds []journal.Hold
	err := c.each(ctx, func(e *journal.Entry) (err error) {
		if holds, err = journal.FoldHolds(holds, e); err != nil {
			return err
		}
		switch {
		case c.sessions[e.Session] && e.Session != "":
			if c.first[e.Generation] == 0 {
				c.first[e.Generation] = e.Sequence
			}
			c.last[e.Generation], c.signed[e.Generation] = e.Sequence, false
			c.seen[e.Session] = true
			c.manifest.Records++
			return c.own(e)
		case e.Kind == pipeline.KindCheckpoint && c.first[e.Generation] != 0 && !c.signed[e.Generation]:
			var x journal.Checkpoint
			if err := e.Metadata(&x); err != nil {
				return err
			}
			if x.Signed != nil {
				c.last[e.Generation], c.signed[e.Generation] = e.Sequence, true
			}
		case e.Kind == pipeline.KindPolicy:
			return c.policy.take(e)
		}
		return nil
	})
	for _, h := range holds {
		for id := range c.sessions {
			if h.Session == id || h.Principal != "" && c.principals[id][h.Principal] {
				c.manifest.Holds = append(c.manifest.Holds, h)
				break
			}
		}
	}
	return err
}

// own looks at a record of the case.
func (c *caseFile) own(e *journal.Entry) error {
	if e.Exchange != "" {
		c.exchanges[e.Exchange] = true
	}
	switch state, err := e.Content(); {
	case err != nil:
		return err
	case state != journal.ContentHere:
		if c.gone[e.Session] == nil {
			c.gone[e.Session] = map[string]int{}
		}
		c.gone[e.Session][state]++
	}
	if e.Kind != pipeline.KindIntent && e.Kind != pipeline.KindDecision {
		return nil
	}
	var x struct {
		Policy    string             `json:"policy"`
		Principal pipeline.Principal `json:"principal"`
	}
	if err := e.Metadata(&x); err != nil {
		return err
	}
	c.policy.used[x.Policy] = true
	if c.principals[e.Session] == nil {
		c.principals[e.Session] = map[string]bool{}
	}
	c.principals[e.Session][x.Principal.SPIFFEID], c.principals[e.Session][x.Principal.User] = true, true
	return nil
}

// link is a line of chain.jsonl.
type link struct {
	Segment uint64 `json:"segment"`
	Offset  uint64 `json:"offset"`
	Header  string `json:"header"`
	Content []byte `json:"content,omitempty"` // of records of the case and of signed checkpoints
}

// slice writes the records of the case, as they can be read, and the chain that proves them.
func (c *caseFile) slice(ctx context.Context, records, chain io.Writer) error {
	out, links := json.NewEncoder(records), json.NewEncoder(chain)
	return c.each(ctx, func(e *journal.Entry) error {
		if from := c.first[e.Generation]; from == 0 || e.Sequence < from || e.Sequence > c.last[e.Generation] {
			return nil
		}
		l := link{Segment: e.Position.Segment, Offset: e.Position.Offset, Header: hex.EncodeToString(e.Header())}
		switch {
		case e.Session != "" && c.sessions[e.Session]:
			l.Content = e.Stored()
			if err := out.Encode(e); err != nil {
				return err
			}
		case e.Kind == pipeline.KindCheckpoint:
			var x journal.Checkpoint
			if err := e.Metadata(&x); err != nil {
				return err
			}
			if x.Signed != nil {
				l.Content = e.Stored()
			}
		}
		return links.Encode(&l)
	})
}

// caseWriter is the file that is written: a tar archive, gzipped.
type caseWriter struct {
	f   *os.File
	gz  *gzip.Writer
	tar *tar.Writer
	c   *caseFile
}

func (w *caseWriter) add(name string, size int64, from io.Reader) error {
	if err := w.tar.WriteHeader(&tar.Header{Name: "case/" + name, Mode: 0o600, Size: size, ModTime: w.c.manifest.Created, Format: tar.FormatPAX}); err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w.tar, sum), from); err != nil {
		return err
	}
	w.c.manifest.Files = append(w.c.manifest.Files, manifestFile{name, size, hex.EncodeToString(sum.Sum(nil))})
	return nil
}

// spool is a file without a name, for what has to be known as a whole before it is added.
func spool(write func(io.Writer) error) (*os.File, int64, error) {
	f, err := os.CreateTemp("", "sallyport-case-*")
	if err != nil {
		return nil, 0, err
	}
	size := int64(0)
	err = os.Remove(f.Name())
	if err == nil {
		b := bufio.NewWriterSize(f, 256<<10)
		err = errors.Join(write(b), b.Flush())
	}
	if err == nil {
		size, err = f.Seek(0, io.SeekCurrent)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, size, nil
}

// write writes all of the case. read gives a session for people, and may be nil.
func (c *caseFile) write(ctx context.Context, file string, read func(id string) (adminapi.Session, error)) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing the case: %w", err)
	}
	w := &caseWriter{f: f, gz: gzip.NewWriter(f), c: c}
	w.tar = tar.NewWriter(w.gz)
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(fmt.Errorf("writing the case: %w", err), os.Remove(file))
		}
	}()
	if err := c.fill(ctx, w, read); err != nil {
		return err
	}
	return errors.Join(w.tar.Close(), w.gz.Close(), f.Sync())
}

func (c *caseFile) fill(ctx context.Context, w *caseWriter, read func(id string) (adminapi.Session, error)) error {
	var records *os.File
	var size int64
	chain, chainSize, err := spool(func(chain io.Writer) (err error) {
		records, size, err = spool(func(records io.Writer) error { return c.slice(ctx, records, chain) })
		return err
	})
	if err != nil {
		return err
	}
	defer chain.Close()
	defer records.Close()
	if err := errors.Join(w.add("records.jsonl", size, records), w.add("chain.jsonl", chainSize, chain)); err != nil {
		return err
	}
	one := func(name string, write func(io.Writer) error) error {
		f, size, err := spool(write)
		if err != nil {
			return err
		}
		defer f.Close()
		return w.add(name, size, f)
	}
	for _, id := range c.manifest.Sessions {
		if read == nil {
			break
		}
		s, err := read(id)
		if missing := (*adminapi.StatusError)(nil); errors.As(err, &missing) && missing.Status == http.StatusNotFound {
			c.manifest.Notes = append(c.manifest.Notes, "the daemon does not have session "+id+" as a conversation any more: it is in records.jsonl only")
			continue
		}
		if err != nil {
			return err
		}
		// It may have gone on since the records were looked at.
		s.Exchanges = slices.DeleteFunc(s.Exchanges, func(x adminapi.Exchange) bool { return !c.exchanges[x.ExchangeID] })
		if err := one("sessions/"+fileName(id)+".json", func(w io.Writer) error { return indented(w, &s) }); err != nil {
			return err
		}
	}
	if err := c.policies(one); err != nil {
		return err
	}
	if len(c.anchors) > 0 {
		if err := one("anchors.jsonl", func(w io.Writer) error {
			enc := json.NewEncoder(w)
			for i := range c.anchors {
				if err := enc.Encode(&c.anchors[i]); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if err := c.programs(one); err != nil {
		return err
	}
	files := c.manifest.Files // the manifest does not list itself
	err = one("MANIFEST.json", func(w io.Writer) error { return indented(w, &c.manifest) })
	c.manifest.Files = files
	return err
}

// fileName makes a name one that can be a file's.
func fileName(s string) string {
	out := []byte(s)
	for i, b := range out {
		if (b < '0' || b > '9') && (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && b != '-' && b != '_' && (b != '.' || i == 0) {
			out[i] = '_'
		}
	}
	return string(out)
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func indented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
