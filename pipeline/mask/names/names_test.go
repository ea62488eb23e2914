// SPDX-License-Identifier: Apache-2.0

package names

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

func model(t testing.TB) *Model {
	t.Helper()
	m, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// texts are what all properties are tried on.
func texts() map[string]string {
	all := map[string]string{
		"mail":      "From: Maria Keller <m.keller@example.com>\nTo: \"O'Brien, Sean\" <sean@example.org>\n\nHi Sean,\n\nplease ask Dr. Jean-Luc van der Berg.\n\nBest,\nMaria",
		"address":   "Ship it to John Smith, 12 Oak Street, Apt. 4B\nSpringfield, IL 62704. Or to Musterstraße 12a, 10115 Berlin, or 5 rue de la Paix\n75002 Paris.",
		"json":      `{"name": "Łukasz Żółty", "address": {"street": "ul. Długa 5/7", "city": "Kraków"}, "note": "Call\nJosé \"Pepe\" García"}`,
		"prose":     "The quick brown fox jumps over the lazy dog. However, in March the Senate met in Washington, and Apple sold 12 million phones.",
		"table":     "| Name | City |\n|---|---|\n| Anna Müller | Köln |\n| Yuki Tanaka | Osaka |\n",
		"marks":     "Jose\u0301 Garci\u0301a said “Hello”, Peter’s friend — Ana – left…",
		"scripts":   "Иван Петров и Мария. 山田太郎さん. محمد علي. Γιώργος Παπαδόπουλος",
		"capitals":  strings.Repeat("JOHN SMITH AND MARY JONES ", 40),
		"names":     strings.Repeat("Anna Maria Peter Paul John James ", 60),
		"long":      strings.Repeat("Abcdefghij", 300) + " John Smith",
		"gap":       "John" + strings.Repeat(" ", 500) + "Smith" + strings.Repeat("-", 100) + "Mary",
		"digits":    strings.Repeat("12 Main Street 34567 ", 50),
		"invalid":   "John \xff\xfe Smith \xc3 \xe2\x80 Mary\xc3 Jones \xf0\x9f\x98 Anna\xed\xa0\x80 Bell\x80\x80\x80",
		"nul":       "John\x00Smith\x00\x00 Mary Jones\x00",
		"backslash": `\\n\n\John \nSmith\tMary\\Jones\u00e9 \`,
		"escapes":   `{"name": "Mar\u00eda Garc\u00eda", "to": "Jos\u00e9 &Aacute;lvarez, Mar&iacute;a L&oacute;pez\u00"}`,
		"invisible": "My name is Ma\u200bria Gon\u00adzalez\u200b.",
		"cut":       "Dr. Müller\xc3",
		"empty":     "",
		"unended":   "My name is John",
	}
	return all
}

// scan feeds a text in pieces that end at cuts, and checks what must hold after each.
func scan(t testing.TB, m *Model, text string, cuts []int) []rule.Span {
	t.Helper()
	s := m.NewScanner()
	var out []rule.Span
	settled, at := 0, 0
	feed := func(to int) {
		s.Feed([]byte(text[at:to]))
		at = to
		n := len(out)
		out = s.Take(out)
		for _, f := range out[n:] {
			if f.Start < settled {
				t.Fatalf("a span begins at %d, but all before %d was settled", f.Start, settled)
			}
		}
		now := s.Settled()
		if now < settled || now > at || len(out) > 0 && now < out[len(out)-1].End {
			t.Fatalf("settled is %d after %d, of %d bytes, with %v", now, settled, at, out)
		}
		if settled = now; at-settled > m.Bound() {
			t.Fatalf("%d bytes are held back at %d, more than %d", at-settled, at, m.Bound())
		}
	}
	for _, c := range cuts {
		feed(c)
	}
	feed(len(text))
	s.End()
	n := len(out)
	out = s.Take(out)
	for i, f := range out {
		if i >= n && f.Start < settled || f.Start >= f.End || f.End > len(text) || i > 0 && f.Start < out[i-1].End || f.Rule == nil {
			t.Fatalf("bad span %v at %d of %v", f, i, out)
		}
	}
	if s.Settled() != len(text) {
		t.Fatalf("settled is %d at the end of %d bytes", s.Settled(), len(text))
	}
	return out
}

func every(n int) []int {
	cuts := make([]int, n)
	for i := range cuts {
		cuts[i] = i
	}
	return cuts
}

func TestAnySplitGivesTheSameSpans(t *testing.T) {
	m := model(t)
	for name, text := range texts() {
		t.Run(name, func(t *testing.T) {
			want := scan(t, m, text, nil)
			try := func(how string, cuts []int) {
				if got := scan(t, m, text, cuts); !slices.Equal(got, want) {
					t.Fatalf("%s: got %v, want %v", how, show(text, got), show(text, want))
				}
			}
			try("one byte each", every(len(text)))
			for i := range min(len(text), 400) {
				try(fmt.Sprint("cut at ", i), []int{i})
			}
			r := rand.New(rand.NewPCG(1, 2))
			for range 20 {
				var cuts []int
				for at := r.IntN(9); at < len(text); at += 1 + r.IntN(30) {
					cuts = append(cuts, at)
				}
				try(fmt.Sprint("cuts at ", cuts), cuts)
			}
		})
	}
}

func show(text string, spans []rule.Span) []string {
	var out []string
	for _, s := range spans {
		out = append(out, s.Rule.Type+" "+text[s.Start:s.End])
	}
	return out
}

func TestFinds(t *testing.T) {
	m := model(t)
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"letter", "Dear Mr. Johnson,\nthank you.\n\nBest regards,\nEmily Carter", []string{"PERSON Johnson", "PERSON Emily Carter"}},
		{"field", `{"name": "Maria Keller", "product": "Windows 11"}`, []string{"PERSON Maria Keller"}},
		{"street", "She lives at 12 Oak Street, Springfield, IL 62704.", []string{"ADDRESS 12 Oak Street, Springfield, IL 62704"}},
		{"Straße", "Anschrift: Bahnhofstraße 12, 10115 Berlin", []string{"ADDRESS Bahnhofstraße 12, 10115 Berlin"}},
		{"prose", "However, the European Union and the United States met in Paris in March 2024.", nil},
		{"code", "func NewServer(addr string) (*Server, error) { return &Server{Addr: addr}, nil }", nil},
		{"escapes of JSON", `{"name": "Mar\u00eda Garc\u00eda"}`, []string{`PERSON Mar\u00eda Garc\u00eda`}},
		{"entities of HTML", `Dear Mr. Mar&iacute;a, hello`, []string{`PERSON Mar&iacute;a`}},
		{"nothing", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := show(c.text, scan(t, m, c.text, nil)); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestMachinesAreNobody: nothing is found in what machines write for machines, however it is cut.
func TestMachinesAreNobody(t *testing.T) {
	m := model(t)
	long := strings.Repeat("uq9ZeD9JbpKoEzBxWeLAXj2Y", 2)
	for _, c := range []struct{ name, text string }{
		{"base64", "data:image/png;base64," + long + "+ZCWhk+" + long + "/Hf/" + long + "+WPc"},
		{"a dump in hex", "00000010: fe3d e198 57a4 3b09 e20b bce2 5963 09f7\n00000020: bfd7 f589 4a18 74cd 3d52 d42b 1d0b 37d2\n"},
		{"the number of a port", "Accepted publickey for deploy from 192.0.2.7 port 51234 ssh2: ED25519"},
		{"a variable", "defer ln.Close()"}, {"a variable of an interface", "if err := ln.(*TCPListener).SetDeadline(t); err != nil {"},
	} {
		for _, cuts := range [][]int{nil, every(len(c.text))} {
			if got := scan(t, m, c.text, cuts); len(got) > 0 {
				t.Errorf("%s: %v", c.name, show(c.text, got))
			}
		}
	}
	if got := scan(t, m, "Write to Anna Becker/Maria Santos.", nil); len(got) != 2 {
		t.Errorf("names beside a slash: %v", got)
	}
}

func TestScannerIsUsedAgain(t *testing.T) {
	m := model(t)
	s := m.NewScanner()
	s.Feed([]byte("My name is Jo"))
	s.Reset()
	text := "Dear Emily Carter, hello"
	s.Feed([]byte(text))
	s.End()
	if got, want := show(text, s.Take(nil)), []string{"PERSON Emily Carter"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNoAllocationsWhenWarm(t *testing.T) {
	m := model(t)
	s := m.NewScanner()
	text := []byte(texts()["mail"] + texts()["address"] + texts()["names"])
	var spans []rule.Span
	once := func() {
		s.Reset()
		for i := 0; i < len(text); i += 7 {
			s.Feed(text[i:min(len(text), i+7)])
			spans = s.Take(spans[:0])
			_ = s.Settled()
		}
		s.End()
		spans = s.Take(spans[:0])
	}
	once()
	if n := testing.AllocsPerRun(20, once); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestStateIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Scanner{}); n > 8<<10 {
		t.Errorf("a scanner has %d bytes, at most 8 KiB are wanted", n)
	}
}

func TestReadRefusesWhatIsCut(t *testing.T) {
	for _, n := range []int{0, 5, 100, len(packed) / 2, len(packed) - 1} {
		if _, err := Read(packed[:n]); err == nil {
			t.Errorf("%d bytes of the model were taken for all of it", n)
		}
	}
}

func FuzzSplits(f *testing.F) {
	for _, text := range texts() {
		f.Add([]byte(text), uint64(3))
	}
	m := model(f)
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		var cuts []int
		for at := r.IntN(9); at < len(text); at += 1 + r.IntN(1+r.IntN(40)) {
			cuts = append(cuts, at)
		}
		want := scan(t, m, string(text), nil)
		if got := scan(t, m, string(text), cuts); !slices.Equal(got, want) {
			t.Fatalf("cut at %v: got %v, want %v", cuts, got, want)
		}
		if got := scan(t, m, string(text), every(len(text))); !slices.Equal(got, want) {
			t.Fatalf("byte by byte: got %v, want %v", got, want)
		}
	})
}

// processor is the time that this process has had of the processors: on a busy machine it says more than the clock.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkScan(b *testing.B) {
	m := model(b)
	prose := strings.Repeat("In this section we look at how the system behaves when the load grows, and what can be done about it. "+
		"The results show that most of the time is spent waiting for the disk, so a cache in front of it helps a lot. ", 60)
	mixed := strings.Repeat(texts()["prose"]+" First, open the settings page. Then choose your plan and press the button to continue with the next step. ", 60)
	code := strings.Repeat("func (s *Server) Handle(w http.ResponseWriter, r *http.Request) {\n\tif err := s.store.Put(r.Context(), key, value); err != nil {\n\t\thttp.Error(w, err.Error(), 500)\n\t}\n}\n", 60)
	for _, c := range []struct{ name, text string }{{"prose", prose}, {"mixed", mixed}, {"code", code}, {"names", strings.Repeat(texts()["mail"]+texts()["address"], 40)}} {
		b.Run(c.name, func(b *testing.B) {
			s := m.NewScanner()
			text := []byte(c.text)
			var spans []rule.Span
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			began, n := processor(b), 0
			for b.Loop() {
				s.Reset()
				s.Feed(text)
				s.End()
				spans = s.Take(spans[:0])
				n++
			}
			b.ReportMetric(float64(len(text)*n)/1e6/(processor(b)-began).Seconds(), "MB/cpu-s")
		})
	}
}
