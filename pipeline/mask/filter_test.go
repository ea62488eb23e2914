// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestFilter(t *testing.T) {
	in := `{"id":1,"text":"é x@a.com","source":"s"}` + "\n\n" +
		`{"id":"b","text":"<nothing>"}` + "\r\n" +
		`{"text":"4111111111111111"}` // no newline at the end
	want := `{"id":1,"masked":"é [EMAIL]","spans":[{"start":3,"end":10,"type":"EMAIL"}]}` + "\n" +
		`{"id":"b","masked":"<nothing>","spans":[]}` + "\n" +
		`{"id":null,"masked":"[CREDIT_CARD]","spans":[{"start":0,"end":16,"type":"CREDIT_CARD"}]}` + "\n"
	for name, r := range map[string]io.Reader{"at once": strings.NewReader(in), "byte by byte": iotest.OneByteReader(strings.NewReader(in))} {
		var out bytes.Buffer
		if err := testEngine.Filter(r, &out); err != nil {
			t.Fatal(name, err)
		}
		if out.String() != want {
			t.Errorf("%s: got %s", name, out.String())
		}
	}
}

func TestFilterBadLines(t *testing.T) {
	in := "{\"id\":1,\"text\":\"a\"}\nnonsense\n{\"id\":2}\n{\"id\":3,\"text\":4}\n[]\n{\"id\":5,\"text\":\"\xff\"}\n{\"id\":6,\"text\":\"b\"}\n"
	var out bytes.Buffer
	err := testEngine.Filter(strings.NewReader(in), &out)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"line 2: not JSON", `line 3: "text" is missing`, "line 4: not an object", "line 5: not an object", "line 6: not UTF-8"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	want := `{"id":1,"masked":"a","spans":[]}` + "\n" + `{"id":6,"masked":"b","spans":[]}` + "\n"
	if out.String() != want {
		t.Errorf("a good line was lost: %s", out.String())
	}
	err = testEngine.Filter(strings.NewReader(strings.Repeat("x\n", 100)), io.Discard)
	if s := err.Error(); !strings.HasSuffix(s, "and 90 lines more") || strings.Count(s, "\n") != 10 {
		t.Errorf("error %q", s)
	}
}

func TestFilterErrors(t *testing.T) {
	broken := errors.New("broken")
	if err := testEngine.Filter(iotest.ErrReader(broken), io.Discard); !errors.Is(err, broken) {
		t.Error(err)
	}
	if err := testEngine.FilterText(iotest.ErrReader(broken), io.Discard); !errors.Is(err, broken) {
		t.Error(err)
	}
	if err := testEngine.Filter(strings.NewReader(`{"text":"a"}`), brokenWriter{broken}); !errors.Is(err, broken) {
		t.Error(err)
	}
	if err := testEngine.FilterText(strings.NewReader("a"), brokenWriter{broken}); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestFilterText(t *testing.T) {
	in := strings.Repeat("mail x@a.com or "+keyGitHub+"\n", 5000)
	want := strings.Repeat("mail [EMAIL] or [GITHUB_TOKEN]\n", 5000)
	var out strings.Builder
	if err := testEngine.FilterText(strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != want {
		t.Error("masked text differs")
	}
	out.Reset()
	if err := testEngine.FilterText(iotest.HalfReader(strings.NewReader(in[:2000])), &out); err != nil {
		t.Fatal(err)
	}
	if mask, _, _ := testEngine.Mask("text", in[:2000], StreamOptions{}); mask != out.String() {
		t.Error("masked text differs when read in pieces")
	}
}
