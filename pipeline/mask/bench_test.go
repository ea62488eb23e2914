// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// Texts of benchmarks, each repeated.
const (
	prose = "It is not known who built the bridge, or when. The oldest map on which it appears was drawn by a monk who never left his valley, so he must have been told " +
		"about it; and what he was told was wrong in every detail but one. Travellers wrote of its seven arches, though there are only six, and of a toll that nobody has paid " +
		"within living memory. In the spring of 1842 the river took the middle of it. They put it up again in eleven weeks, with stone from the church.\n"
	numbers1 = "In 2024 we sold 1,300 units at 42.50 each, 17% more than in the 12 months before; 3 of 8 shops (3.2, 5.1 and 7) closed on 31 March, and room 204 is free.\n"
	code     = "func (s *store) load(ctx context.Context, id int) (*item, error) {\n\tif s.items == nil {\n\t\treturn nil, fmt.Errorf(\"loading item %d: %w\", id, errClosed)\n\t}\n" +
		"\ts.mu.RLock()\n\tdefer s.mu.RUnlock()\n\tfor i := 0; i < len(s.items); i++ {\n\t\tif it := s.items[i]; it.id == id && it.until.After(s.now()) {\n\t\t\treturn it, nil\n\t\t}\n\t}\n" +
		"\t// Not found: the caller may look at the disk.\n\tpath := filepath.Join(s.dir, strconv.Itoa(id)+\".json\")\n\treturn s.read(ctx, path, maxSize)\n}\n\n"
)

// dense is text that is full of values.
func dense() string {
	return "key " + keyOpenAI + ", mail jane.doe@example.org or +1 202-555-0143; " + keyGitHub + "\ncard 4111 1111 1111 1111, born 12/03/1975, SSN 219-09-9999, " +
		"password: \"hV7#kQ2!xZ9m\", host 10.20.30.40, " + keyAWS + " and Jane Fox, 12 High Street, Springfield.\n"
}

func benchWrite(b *testing.B, o Options, carrier, text string, piece int) {
	e, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	in := []byte(strings.Repeat(text, 1+(64<<10)/len(text)))
	dst := make([]byte, 0, 2*len(in))
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		r := e.Stream(carrier, StreamOptions{})
		dst = dst[:0]
		for at := 0; at < len(in); at += piece {
			if dst, err = r.Write(dst, in[at:min(at+piece, len(in))]); err != nil {
				b.Fatal(err)
			}
		}
		if dst, err = r.Flush(dst); err != nil {
			b.Fatal(err)
		}
		r.Release()
	}
}

// BenchmarkWrite: secrets alone, all rules, all rules and names; in pieces of 4 KiB, and of a token.
func BenchmarkWrite(b *testing.B) {
	texts := map[string]string{"prose": prose, "numbers": numbers1, "code": code, "dense": dense()}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		for _, c := range []struct {
			name    string
			o       Options
			carrier string
			piece   int
		}{{"secrets", Options{}, CarrierArgs, 4096}, {"rules", Options{}, "text", 4096}, {"all", Options{Names: true}, "text", 4096}, {"all-tokens", Options{Names: true}, "text", 4}} {
			b.Run(name+"/"+c.name, func(b *testing.B) { benchWrite(b, c.o, c.carrier, texts[name], c.piece) })
		}
	}
}

// BenchmarkHostile is text that makes rules work for nothing.
func BenchmarkHostile(b *testing.B) {
	texts := hostile()
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		b.Run(name, func(b *testing.B) { benchWrite(b, Options{Names: true}, "text", texts[name], 4096) })
	}
}

func BenchmarkStream(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		testEngine.Stream("text", StreamOptions{}).Release()
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		if _, err := New(Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
