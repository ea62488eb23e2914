// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// got is an event with memory of its own.
type got struct {
	Raw, Name, Data  string
	HasData, Partial bool
}

// split feeds pieces and collects the events.
func split(t testing.TB, limit int, pieces ...string) (out []got, err error) {
	t.Helper()
	return splitBy(t, NewSSE(limit), pieces...)
}

func splitBy(t testing.TB, s Splitter, pieces ...string) (out []got, err error) {
	t.Helper()
	pull := func() error {
		for {
			e, ok, err := s.Next()
			if err != nil || !ok {
				return err
			}
			if e.At >= 0 && e.HasData && !bytes.Equal(e.Raw[e.At:e.At+len(e.Data)], e.Data) {
				t.Errorf("data is not where it is said to be: %q in %q", e.Data, e.Raw)
			}
			out = append(out, got{string(e.Raw), string(e.Name), string(e.Data), e.HasData, e.Partial})
		}
	}
	for _, p := range pieces {
		s.Write([]byte(p))
		if err := pull(); err != nil {
			return out, err
		}
	}
	s.End()
	return out, pull()
}

func TestEvents(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []got
	}{
		{"nothing", "", nil},
		{"one", "data: a\n\n", []got{{"data: a\n\n", "", "a", true, false}}},
		{"no space", "data:a\n\n", []got{{"data:a\n\n", "", "a", true, false}}},
		{"two spaces", "data:  a\n\n", []got{{"data:  a\n\n", "", " a", true, false}}},
		{"line ends", "data: a\r\n\r\ndata: b\n\n", []got{{"data: a\r\n\r\n", "", "a", true, false}, {"data: b\n\n", "", "b", true, false}}},
		{"name", "event: error\ndata: x\n\n", []got{{"event: error\ndata: x\n\n", "error", "x", true, false}}},
		{"several data fields", "data: a\ndata: b\n\n", []got{{"data: a\ndata: b\n\n", "", "a\nb", true, false}}},
		{"comment", ": hello\n\n", []got{{": hello\n\n", "", "", false, false}}},
		{"data without a value", "data\n\n", []got{{"data\n\n", "", "", true, false}}},
		{"end in the middle", "data: a\n\ndata: b\n", []got{{"data: a\n\n", "", "a", true, false}, {"data: b\n", "", "b", true, true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := split(t, 0, c.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, out); diff != "" {
				t.Error(diff)
			}
		})
	}
}

const sample = "\uFEFFdata: {\"a\":1}\n\n: ping\n\nevent: x\r\ndata: one\r\ndata: two\r\n\r\nid: 7\nretry: 10\ndata: caf\u00e9\n\ndata: [DONE]\n\n"

// TestAnySplit: the events do not depend on how the bytes arrive, and nothing is lost of them.
func TestAnySplit(t *testing.T) {
	want, err := split(t, 0, sample)
	if err != nil {
		t.Fatal(err)
	}
	check := func(pieces []string) {
		t.Helper()
		out, err := split(t, 0, pieces...)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out); diff != "" {
			t.Fatalf("%q: %s", pieces, diff)
		}
	}
	for i := range sample {
		check([]string{sample[:i], sample[i:]})
	}
	check(strings.Split(sample, ""))
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		var pieces []string
		for rest := sample; rest != ""; {
			n := 1 + r.IntN(min(len(rest), 17))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		check(pieces)
	}
}

func TestLimit(t *testing.T) {
	if _, err := split(t, 20, "data: "+strings.Repeat("x", 30)); !errors.Is(err, ErrEventTooLarge) {
		t.Errorf("got %v", err)
	}
	if _, err := split(t, 20, "data: short\n\n", "data: short\n\n"); err != nil {
		t.Errorf("many small events: %v", err)
	}
}

// AppendEvent's output is one event with that data, whatever the data hold.
func TestAppendEvent(t *testing.T) {
	for _, data := range []string{"", "x", "a\nb", "a\r\nb\rc", "data: y\n\ndata: z"} {
		out, err := split(t, 0, string(AppendEvent(nil, "error", []byte(data))))
		want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(data)
		if err != nil || len(out) != 1 || out[0].Data != want || out[0].Name != "error" {
			t.Errorf("%q became %+v, %v", data, out, err)
		}
	}
}

func FuzzSSE(f *testing.F) {
	f.Add([]byte(sample), uint8(3))
	f.Add([]byte("data: a\r\rdata: b\r"), uint8(1))
	f.Add([]byte("\n\n\ndata\n:\n\n"), uint8(2))
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		sameInPieces(t, in, step, split)
	})
}

// sameInPieces: however a stream is cut, the events are the same, and their bytes are those of the stream.
func sameInPieces(t *testing.T, in []byte, step uint8, split func(testing.TB, int, ...string) ([]got, error)) {
	t.Helper()
	whole, err := split(t, 1<<16, string(in))
	if err != nil {
		return
	}
	var raw strings.Builder
	for _, e := range whole {
		raw.WriteString(e.Raw)
	}
	if raw.String() != string(in) {
		t.Fatalf("the events are not the stream: %q of %q", raw.String(), in)
	}
	var pieces []string
	for rest := string(in); rest != ""; {
		n := min(len(rest), int(step)%7+1)
		pieces, rest = append(pieces, rest[:n]), rest[n:]
	}
	parts, err := split(t, 1<<16, pieces...)
	if diff := cmp.Diff(whole, parts); err != nil || diff != "" {
		t.Fatalf("%v %s", err, diff)
	}
}
