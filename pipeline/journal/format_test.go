// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
)

var update = flag.Bool("update", false, "rewrite golden files and generated parts of docs")

// example is the journal that docs/journal-format.md takes apart: one generation with one event in it.
func example(t testing.TB) []byte {
	t.Helper()
	dir := t.TempDir()
	o := options(t, dir)
	o.random = fixed()
	j := open(t, o)
	put(t, j, pipeline.Record{Kind: pipeline.KindEvent, Session: "ses_1", Exchange: "exc_1", Body: &pipeline.Event{Seq: 1, Bytes: 10, Data: "data: hi\n\n"}})
	closeJournal(t, j)
	return must(os.ReadFile(segmentPath(dir, 1)))
}

// fixed makes keys that come out the same each time, so that a golden file can hold what they sealed.
func fixed() io.Reader { return rand.NewChaCha8([32]byte([]byte("keys of the example, not secret."))) }

// Journals of the version before, which sealed nothing, are read and gone on with.
func TestVersion1(t *testing.T) {
	dir := t.TempDir()
	if err := copyFile(filepath.Join("testdata", "version1.segment"), segmentPath(dir, 1)); err != nil {
		t.Fatal(err)
	}
	verified(t, dir)
	j := open(t, options(t, dir))
	put(t, j, event("exc_1", 2, "data: ho\n\n"))
	closeJournal(t, j)
	if rep := verified(t, dir); rep.Generations != 2 {
		t.Errorf("report %+v", rep)
	}
	var data []string
	for _, e := range entries(t, dir) {
		if e.Kind == pipeline.KindEvent {
			var ev pipeline.Event
			if err := e.Decode(&ev); err != nil {
				t.Error(err)
			}
			data = append(data, ev.Data)
		}
	}
	if want := []string{"data: hi\n\n", "data: ho\n\n"}; !slices.Equal(data, want) {
		t.Errorf("read %q, want %q", data, want)
	}
}

// A journal of a later version is refused, with what to do.
func TestLaterVersion(t *testing.T) {
	dir := t.TempDir()
	b := example(t)
	b[7]++
	if err := os.WriteFile(segmentPath(dir, 1), mended(b), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(options(t, dir)); err == nil || !strings.Contains(err.Error(), "newer version of Sallyport") {
		t.Errorf("Open: %v", err)
	}
}

func TestFormatPage(t *testing.T) {
	b := example(t)
	golden(t, filepath.Join("testdata", "example.segment"), b)

	var page strings.Builder
	dump := func(title string, at, n int) {
		fmt.Fprintf(&page, "%s\n", title)
		for i := at; i < at+n; i += 16 {
			row := b[i:min(i+16, at+n)]
			text := bytes.Clone(row)
			for k, c := range text {
				if c < ' ' || c > '~' {
					text[k] = '.'
				}
			}
			fmt.Fprintf(&page, "%05x  %-47s  %s\n", i, spaced(row), text)
		}
	}
	dump("segment header", 0, segmentHeader)
	dir := t.TempDir()
	if err := os.WriteFile(segmentPath(dir, 1), b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries(t, dir) {
		dump(fmt.Sprintf("\n%s record, hash %s", e.Kind, e.Hash), int(e.Position.Offset), int(e.End.Offset-e.Position.Offset))
	}
	path := filepath.Join("..", "..", "docs", "journal-format.md")
	const begin, end = "<!-- example: begin -->\n", "<!-- example: end -->"
	doc := string(must(os.ReadFile(path)))
	head, rest, ok1 := strings.Cut(doc, begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the example", path)
	}
	golden(t, path, []byte(head+begin+"```\n"+page.String()+"```\n"+end+tail))
}

func spaced(b []byte) string {
	out := make([]string, len(b))
	for i, c := range b {
		out[i] = fmt.Sprintf("%02x", c)
	}
	return strings.Join(out, " ")
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, got, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is out of date: go test -update, and think about readers of older journals\n%s", path, got)
	}
}

// A folder may hold anything: reading it ends, stays within the file, and never yields a record whose checksum is wrong.
func FuzzReader(f *testing.F) {
	seed, err := os.ReadFile(filepath.Join("testdata", "example.segment"))
	if err != nil {
		f.Fatal(err)
	}
	for _, mend := range []bool{false, true} {
		f.Add(seed, mend)
		f.Add(append(bytes.Clone(seed), make([]byte, 300)...), mend)
		f.Add(seed[:len(seed)-20], mend)
	}
	f.Fuzz(func(t *testing.T, b []byte, mend bool) {
		if mend {
			b = mended(b)
		}
		dir := t.TempDir()
		if err := os.WriteFile(segmentPath(dir, 1), b, 0o600); err != nil {
			t.Fatal(err)
		}
		rep, err := Verify(dir)
		if err == nil && rep.OK == (rep.Problem != nil) {
			t.Fatalf("report %+v", rep)
		}
		r, err := OpenReader(dir, pipeline.Position{})
		if err != nil {
			return
		}
		defer r.Close()
		at := uint64(segmentHeader)
		for n := uint64(0); ; n++ {
			e, err := r.Next()
			if err != nil {
				if rep.OK && (!errors.Is(err, io.EOF) || n != rep.Records) {
					t.Fatalf("verified %d records, read %d: %v", rep.Records, n, err)
				}
				return
			}
			if e.Position.Offset != at || e.End.Offset <= at || e.End.Offset > uint64(len(b)) {
				t.Fatalf("record at %d, want %d; ends at %d of %d", e.Position.Offset, at, e.End.Offset, len(b))
			}
			at = e.End.Offset
			frame := b[e.Position.Offset:e.End.Offset]
			if _, why := parse(frame, new(Entry)); why != "" {
				t.Fatal(why)
			}
			if out, err := e.MarshalJSON(); err == nil && !json.Valid(out) {
				t.Fatalf("not JSON: %q", out)
			}
			var in pipeline.Intent
			_ = e.Decode(&in) // may be anything, must not panic
		}
	})
}

// mended is b with the checksums made right, so that what they protect is tried too.
func mended(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) < segmentHeader {
		return b
	}
	le := binary.LittleEndian
	le.PutUint32(b[76:], crc32.Checksum(b[:76], castagnoli))
	for at := segmentHeader; at+frameHeader <= len(b); {
		n := int(le.Uint32(b[at:]))
		if n < frameHeader || n > len(b)-at {
			break
		}
		le.PutUint32(b[at+4:], checksum(b[at:at+n]))
		at += n
	}
	return b
}
