// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func made(id string) entry {
	return entry{ID: id, Tag: tagPrefix + "x", Time: time.Unix(0, 0).UTC(), Path: "/p"}
}

func ids(list []entry) string {
	var out []string
	for _, e := range list {
		out = append(out, e.ID)
	}
	return strings.Join(out, " ")
}

func openEntries(t *testing.T, l ledger) string {
	t.Helper()
	list, err := l.read()
	if err != nil {
		t.Fatal(err)
	}
	return ids(list)
}

func TestLedger(t *testing.T) {
	l := ledger{filepath.Join(t.TempDir(), "ledger")}
	if got := openEntries(t, l); got != "" {
		t.Errorf("without a file: %q", got)
	}
	for _, batch := range [][]entry{{made("1"), made("2")}, nil, {made("3")}, {{ID: "2", Over: "removed"}}} {
		if err := l.append(batch...); err != nil {
			t.Fatal(err)
		}
	}
	if got := openEntries(t, l); got != "1 3" {
		t.Errorf("open: %q", got)
	}
	if st, err := os.Stat(l.path); err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st, err)
	}
}

// TestLedgerTorn cuts the file at every byte: what was complete stays, and what is appended afterwards is read.
func TestLedgerTorn(t *testing.T) {
	whole := ledger{filepath.Join(t.TempDir(), "whole")}
	if err := whole.append(made("1"), made("2")); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(whole.path)
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.IndexByte(b, '\n')
	dir := t.TempDir()
	for cut := range len(b) + 1 {
		l := ledger{filepath.Join(dir, fmt.Sprint(cut))}
		if err := os.WriteFile(l.path, b[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := l.append(made("3")); err != nil {
			t.Fatal(err)
		}
		want := "3"
		if cut >= first {
			want = "1 3"
		}
		if cut >= len(b)-1 {
			want = "1 2 3"
		}
		if got := openEntries(t, l); got != want {
			t.Errorf("cut at %d of %d: %q, want %q", cut, len(b), got, want)
		}
	}
}

func TestLedgerCompacts(t *testing.T) {
	l := ledger{filepath.Join(t.TempDir(), "ledger")}
	var over []entry
	for i := range 10_000 {
		e := made(fmt.Sprint(i))
		over = append(over, e, entry{ID: e.ID, Over: "removed"})
	}
	if err := l.append(over...); err != nil {
		t.Fatal(err)
	}
	if err := l.append(made("keep")); err != nil {
		t.Fatal(err)
	}
	// A second writer goes on meanwhile: nothing that it wrote may be lost.
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			if err := l.append(made(fmt.Sprintf("w%d", i))); err != nil {
				t.Error(err)
			}
		})
	}
	if err := l.compact(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	got := openEntries(t, l)
	for _, want := range []string{"keep", "w0", "w1", "w2", "w3"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing from %q", want, got)
		}
	}
	if st, err := os.Stat(l.path); err != nil || st.Size() > maxLedger/10 || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(l.path), ".*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestLedgerUnwritable(t *testing.T) {
	l := ledger{filepath.Join(t.TempDir(), "missing", "ledger")}
	if err := l.append(made("1")); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/etc/hostname", link); err != nil {
		t.Fatal(err)
	}
	if err := (ledger{link}).append(made("1")); err == nil {
		t.Error("followed a link")
	}
}

func FuzzLedger(f *testing.F) {
	f.Add([]byte(`{"id":"1","tag":"sallyport-x"}` + "\n" + `{"id":"1","over":"gone"}` + "\n{"))
	f.Add([]byte(`{"id":"1","tag":"other"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, e := range parseLedger(b) {
			if e.ID == "" || e.Over != "" || !strings.HasPrefix(e.Tag, tagPrefix) {
				t.Errorf("%+v", e)
			}
		}
	})
}
