// SPDX-License-Identifier: Apache-2.0

package masking

import (
	"bytes"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline/mask"
)

// sample is one document of how many that a plain test run looks at; MASKING=all looks at all, here and in the other tests.
const sample = 6

func all() bool { return os.Getenv("MASKING") == "all" }

// chosen is a sample of documents that stays the same.
func chosen(docs []Document, one uint32) []Document {
	if all() {
		return docs
	}
	return slices.DeleteFunc(slices.Clone(docs), func(d Document) bool {
		h := fnv.New32a()
		h.Write([]byte(d.ID))
		return h.Sum32()%one != 0
	})
}

func corpus(t testing.TB) []Document {
	t.Helper()
	docs, err := Dev()
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

// TestStreams: a text that is cut anywhere is masked as the whole one is, nothing is let out that is masked in the end, and no more than
// the bound is held. Every single cut, all bytes alone, 20 random cuttings. With MASKING=all: all texts.
func TestStreams(t *testing.T) {
	docs := chosen(append(corpus(t), heldout(t)...), sample)
	e := engine(t)
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			s := NewStreams(e)
			for i := w; i < len(docs); i += workers {
				if err := s.Text([]byte(docs[i].Text)); err != nil {
					t.Errorf("document %s: %v", docs[i].ID, err)
					continue
				}
				if err := s.All(20, rand.New(rand.NewPCG(7, uint64(i)))); err != nil {
					t.Errorf("document %s: %v", docs[i].ID, err)
				}
			}
		}()
	}
	wg.Wait()
	t.Logf("%d texts", len(docs))
}

// TestLongStreams: the same with texts one behind the other, which is how values come to stand close to each other.
func TestLongStreams(t *testing.T) {
	docs := corpus(t)
	s := NewStreams(engine(t))
	rnd := rand.New(rand.NewPCG(1, 2))
	rnd.Shuffle(len(docs), func(i, k int) { docs[i], docs[k] = docs[k], docs[i] })
	rounds := 6
	if all() {
		rounds = 60
	}
	for i := range rounds {
		var text []byte
		for ; len(text) < 64<<10 && len(docs) > 0; docs = docs[1:] {
			text = append(append(text, docs[0].Text...), []string{"", " ", "\n", ",", "\\n"}[rnd.IntN(5)]...)
		}
		if err := s.Text(text); err != nil {
			t.Fatal(err)
		}
		if err := s.Bytes(); err != nil {
			t.Errorf("text %d, byte by byte: %v", i, err)
		}
		for k := range 5 {
			if err := s.Random(rnd); err != nil {
				t.Errorf("text %d, cutting %d: %v", i, k, err)
			}
		}
	}
}

// TestEngineIsReference: the engine finds what the reference finds. With MASKING=all: in all texts.
func TestEngineIsReference(t *testing.T) {
	docs := chosen(corpus(t), 2*sample)
	fast := Engine(engine(t))
	slow, err := Reference()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range docs {
		f, s := fast([]byte(d.Text)), slow([]byte(d.Text))
		if !slices.Equal(f, s) {
			t.Errorf("document %s: the engine finds %v, the reference %v", d.ID, f, s)
		}
	}
}

// pieces are what rules begin with, go on with and end at.
var pieces = []string{"@", ".", "a", "co", ".uk", "com", "sk-", "ant-api03-", "AKIA", "ghp_", "eyJ", "-", " ", "\n", `\n`, `\u00e9`, "é", "1", "4", "1978", "42 42", "+", "(", ")", "/", ":", "=", `"`, "password", "key",
	"secret", "-----BEGIN RSA PRIVATE KEY-----", "-----END", "MRN", "DOB", "Dr. ", "John ", "Smith", "Street", "12 ", ",", "://", "user:", "GB29", "NWBK", "4111", "1111", "::", "2001:db8", "x", "0", "_", "AbCdEf12", "\xff", "\xc3"}

// FuzzStreams cuts texts made of such pieces.
func FuzzStreams(f *testing.F) {
	f.Add([]byte{2, 0, 2, 1, 3, 4}, uint64(1))
	f.Add([]byte{6, 7, 52, 52, 52, 12}, uint64(2))
	f.Add([]byte{34, 12, 17, 17, 11, 17, 17}, uint64(3))
	s := NewStreams(engine(f))
	f.Fuzz(func(t *testing.T, picks []byte, seed uint64) {
		var text bytes.Buffer
		for _, p := range picks[:min(len(picks), 200)] {
			text.WriteString(pieces[int(p)%len(pieces)])
		}
		if err := s.Text(text.Bytes()); err != nil {
			t.Fatal(err)
		}
		if err := s.Bytes(); err != nil {
			t.Errorf("%q byte by byte: %v", text.Bytes(), err)
		}
		rnd := rand.New(rand.NewPCG(seed, 3))
		for range 3 {
			if err := s.Random(rnd); err != nil {
				t.Errorf("%q: %v", text.Bytes(), err)
			}
		}
	})
}

var built = sync.OnceValues(NewEngine)

func engine(t testing.TB) *mask.Engine {
	t.Helper()
	e, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return e
}
