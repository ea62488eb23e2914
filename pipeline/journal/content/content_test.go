// SPDX-License-Identifier: Apache-2.0

package content

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// book is a journal in memory: sealed content by place.
type book map[pipeline.Position][]byte

var aad = []byte("aad")

func (b book) fetch(at pipeline.Position) (uint64, []byte, []byte, error) {
	sealed, ok := b[at]
	if !ok {
		return 0, nil, nil, errors.New("no record there")
	}
	return 1, sealed, aad, nil
}

func (b book) add(w *Writer, s *Session, content []byte, split int, again bool) pipeline.Position {
	at := pipeline.Position{Segment: 1, Offset: uint64(80 + 1000*len(b))}
	sealed, note := s.Seal(nil, aad, content, split, again)
	b[at] = sealed
	note.Recorded(w, at)
	return at
}

func writer(t testing.TB, dir string) (*Store, *Writer) {
	t.Helper()
	s := NewStore(dir, nil)
	w, err := s.NewWriter(1, func() time.Time { return time.Unix(1_700_000_000, 0) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(w.Close(), s.Close()) })
	return s, w
}

func session(t testing.TB, w *Writer, id string) *Session {
	t.Helper()
	s, err := w.Session(id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Whatever is sealed comes back, whether or not parts of it were recorded before; a session finds only its own.
func TestSealAndOpen(t *testing.T) {
	store, w := writer(t, t.TempDir())
	b, o := book{}, (*Opener)(nil)
	o = NewOpener(store, b.fetch)
	random := rand.New(rand.NewPCG(1, 2))
	var texts [][]byte
	var places []pipeline.Position
	body := []byte(nil)
	for i := range 200 {
		switch random.IntN(5) {
		case 0:
			body = nil
		case 1: // cut off somewhere
			body = body[:random.IntN(len(body)+1)]
		}
		more := bytes.Repeat([]byte(fmt.Sprintf(`{"n":%d}`, random.IntN(50))), random.IntN(700))
		body = append(bytes.Clone(body), more...)
		at := b.add(w, session(t, w, fmt.Sprint("ses_", i%3)), body, len(body)/2, i%4 != 0)
		texts, places = append(texts, body), append(places, at)
	}
	for i, at := range places {
		got, split, err := o.Open(1, b[at], aad)
		if err != nil || !bytes.Equal(got, texts[i]) || split != len(texts[i])/2 {
			t.Fatalf("content %d: %d bytes, split %d, want %d: %v", i, len(got), split, len(texts[i]), err)
		}
	}
	if _, _, err := o.Open(1, b[places[0]], []byte("other record")); !errors.Is(err, errSealed) {
		t.Errorf("content was moved to another record: %v", err)
	}
	for n := range b[places[1]] {
		if _, _, err := o.Open(1, b[places[1]][:n], aad); err == nil {
			t.Fatalf("content cut to %d bytes was opened", n)
		}
		bad := bytes.Clone(b[places[1]])
		bad[n] ^= 1
		if _, _, err := o.Open(1, bad, aad); err == nil {
			t.Fatalf("content with byte %d changed was opened", n)
		}
	}
}

func TestErase(t *testing.T) {
	dir := t.TempDir()
	store, w := writer(t, dir)
	b := book{}
	long := bytes.Repeat([]byte(`{"text":"something long enough to be found again"}`), 50)
	first := b.add(w, session(t, w, "ses_1"), long, 0, true)
	second := b.add(w, session(t, w, "ses_1"), append(bytes.Clone(long), "more"...), 0, true)
	other := b.add(w, session(t, w, "ses_2"), long, 0, true)
	if len(b[second]) > len(long)/2 {
		t.Errorf("%d bytes for content that was recorded before", len(b[second]))
	}
	if len(b[other]) < len(long) {
		t.Error("a session refers to the content of another")
	}
	o := NewOpener(store, b.fetch)
	if _, _, err := o.Open(1, b[second], aad); err != nil {
		t.Fatal(err)
	}
	if err := w.Sync(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "0000000000000001.keys")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w.Forget(func(id string) bool { return id == "ses_1" })
	n, err := store.Erase(func(k Key) bool { return k.Session == SessionSum("ses_1") })
	if n != 1 || err != nil {
		t.Fatalf("%d keys erased: %v", n, err)
	}
	after, err := os.ReadFile(file)
	if err != nil || len(after) != len(before) {
		t.Fatal(len(after), err)
	}
	if !bytes.Equal(after[slotSize+64:2*slotSize], make([]byte, 64)) {
		t.Error("the key is still in the file")
	}
	for name, fresh := range map[string]*Opener{"the same reader": o, "another reader": NewOpener(NewStore(dir, nil), b.fetch)} {
		for _, at := range []pipeline.Position{first, second} {
			if _, _, err := fresh.Open(1, b[at], aad); !errors.Is(err, ErrErased) || !Gone(err) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, _, err := fresh.Open(1, b[other], aad); err != nil {
			t.Errorf("%s: the other session: %v", name, err)
		}
	}
	// What the session says from now on has a key of its own, and refers to nothing that is gone.
	third := b.add(w, session(t, w, "ses_1"), long, 0, true)
	if got, _, err := o.Open(1, b[third], aad); err != nil || !bytes.Equal(got, long) {
		t.Errorf("after an erasure: %v", err)
	}
	if n, err := store.Erase(func(Key) bool { return true }); n != 2 || err != nil {
		t.Errorf("%d keys erased: %v", n, err)
	}
	if err := store.Sweep(func(uint64) bool { return false }); err != nil {
		t.Error(err)
	}
	if err := store.Sweep(func(uint64) bool { return true }); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file without keys stays: %v", err)
	}
	if _, _, err := NewOpener(NewStore(dir, nil), b.fetch).Open(1, b[other], aad); !errors.Is(err, ErrErased) {
		t.Errorf("of a removed file: %v", err)
	}
}

// A crash while a key was being erased leaves it erased or there.
func TestErasureThatCrashed(t *testing.T) {
	dir := t.TempDir()
	_, w := writer(t, dir)
	b := book{}
	at := b.add(w, session(t, w, "ses_1"), []byte("text"), 0, false)
	if err := w.Sync(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "0000000000000001.keys")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	clear(raw[slotSize+64 : 2*slotSize])
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	s := NewStore(dir, nil)
	if _, _, err := NewOpener(s, b.fetch).Open(1, b[at], aad); !errors.Is(err, ErrErased) {
		t.Error(err)
	}
	if err := s.Keys(func(k Key) error {
		if k.Live {
			t.Error("the key counts as there")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// The folder of keys is never begun anew over keys that are there, and a damaged one is named.
func TestStrangeFolders(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(dir string) error
		want string
	}{
		"journal's key missing": {func(d string) error { return os.Remove(filepath.Join(d, masterName)) }, "journal.key is missing"},
		"journal's key short":   {func(d string) error { return os.Truncate(filepath.Join(d, masterName), 20) }, "is no key of a journal"},
		"key file of another": {func(d string) error {
			return os.Rename(filepath.Join(d, "0000000000000001.keys"), filepath.Join(d, "0000000000000002.keys"))
		}, "generation 1"},
		"key slot damaged": {func(d string) error {
			f, err := os.OpenFile(filepath.Join(d, "0000000000000001.keys"), os.O_RDWR, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte{0xff}, slotSize+20)
			return errors.Join(err, f.Close())
		}, "a key slot is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, w := writer(t, dir)
			session(t, w, "ses_1")
			if err := errors.Join(w.Close(), s.Close(), tt.do(dir)); err != nil {
				t.Fatal(err)
			}
			s = NewStore(dir, nil)
			_, err := s.NewWriter(2, time.Now)
			if err == nil {
				err = s.Keys(func(Key) error { return nil })
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// Many sessions come and go in bounded memory, and each keeps its key.
func TestManySessions(t *testing.T) {
	store, w := writer(t, t.TempDir())
	b := book{}
	text := bytes.Repeat([]byte(`{"text":"something"}`), 40)
	var at []pipeline.Position
	for i := range maxKept + 100 {
		s := session(t, w, fmt.Sprint("ses_", i))
		if i%1000 == 0 {
			at = append(at, b.add(w, s, text, 0, true))
		}
	}
	if len(w.sessions) > maxKept {
		t.Errorf("%d sessions are kept", len(w.sessions))
	}
	o := NewOpener(store, b.fetch)
	for _, p := range at {
		if got, _, err := o.Open(1, b[p], aad); err != nil || !bytes.Equal(got, text) {
			t.Fatal(err)
		}
	}
	for _, s := range []int{0, maxChunks / 2, maxChunks - 1} {
		note := Note{s: session(t, w, "big")}
		for i := range maxChunks / 2 {
			note.ids, note.at = append(note.ids, chunkID{byte(i), byte(i >> 8), byte(i >> 16), byte(s)}), append(note.at, 0)
		}
		note.Recorded(w, pipeline.Position{})
		if w.chunks > maxChunks {
			t.Errorf("%d chunks are kept", w.chunks)
		}
	}
}

// Any bytes behind a sound tag are read or refused.
func FuzzPieces(f *testing.F) {
	f.Add([]byte{0, 0, 'x'})
	f.Add([]byte{1, 2, 4, 3, 1, 80, 0, 'x', 'y'})
	f.Add([]byte{5, 1, 0x81, 0x80, 0x80, 0x80, 0x01, 1, 80, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, list, fresh, err := parsePieces(raw)
		if err != nil {
			return
		}
		own := 0
		for _, p := range list {
			if p.n < 0 {
				t.Fatal("a negative piece")
			}
			if !p.old {
				own += p.n
			}
		}
		if len(list) > 0 && own != len(fresh) {
			t.Fatalf("%d bytes in pieces, %d are there", own, len(fresh))
		}
	})
}
