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

	first, last map[uint64]uint64            // of each generation: the records from its first in the case to the checkpoint that signs its last
	signed      map[uint64]bool              // last is that checkpoint
	seen        map[string]bool              // sessions that have records
	versions    map[string]map[string]string // texts of a version of the policy, by file
	used        map[string]bool              // versions that decided something in the case
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
	c.versions, c.used = map[string]map[string]string{}, map[string]bool{}
	var now map[string]string
	return c.each(ctx, func(e *journal.Entry) error {
		switch {
		case c.sessions[e.Session] && e.Session != "":
			if c.first[e.Generation] == 0 {
				c.first[e.Generation] = e.Sequence
			}
			c.last[e.Generation], c.signed[e.Generation] = e.Sequence, false
			c.seen[e.Session] = true
			c.manifest.Records++
			if e.Kind == pipeline.KindIntent || e.Kind == pipeline.KindDecision {
				var x struct {
					Policy string `json:"policy"`
				}
				if err := e.Metadata(&x); err != nil {
					return err
				}
				c.used[x.Policy] = true
			}
		case e.Kind == pipeline.KindCheckpoint && c.first[e.Generation] != 0 && !c.signed[e.Generation]:
			var x journal.Checkpoint
			if err := e.Metadata(&x); err != nil {
				return err
			}
			if x.Signed != nil {
				c.last[e.Generation], c.signed[e.Generation] = e.Sequence, true
			}
		case e.Kind == pipeline.KindPolicy:
			var x struct {
				Version, Previous string
				Files             []struct{ Name, Change, Text string }
			}
			if err := e.Decode(&x); err != nil {
				return err
			}
			next := map[string]string{}
			if x.Previous != "" {
				for name, text := range now {
					next[name] = text
				}
			}
			for _, f := range x.Files {
				next[f.Name] = f.Text
				if f.Change == "removed" {
					delete(next, f.Name)
				}
			}
			now = next
			c.versions[x.Version] = next
		}
		return nil
	})
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
		if err != nil {
			return err
		}
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

// policies adds the texts of all versions of the policy that decided something.
func (c *caseFile) policies(one func(string, func(io.Writer) error) error) error {
	for _, version := range sortedKeys(c.used) {
		texts, ok := c.versions[version]
		if version == "" {
			continue
		}
		if !ok {
			c.manifest.Notes = append(c.manifest.Notes, "the journal does not have the text of policy version "+version)
		}
		for _, name := range sortedKeys(texts) {
			if err := one("policy/"+fileName(version)+"/"+fileName(name), func(w io.Writer) error {
				_, err := io.WriteString(w, texts[name])
				return err
			}); err != nil {
				return err
			}
		}
	}
	return nil
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
