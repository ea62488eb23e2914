// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// opened remembers what it is told.
type opened struct {
	of  map[agent.File][]agent.RootID
	err error
}

func (o *opened) Cover(f agent.StoreFile, roots []agent.RootID) error {
	o.of[f.File] = roots
	return o.err
}

func (o *opened) Watch(int, uint64) error { return o.err }

// TestCoverFiles: files that hold our roots are told, each with those that it holds; others are not.
func TestCoverFiles(t *testing.T) {
	a, b, other := newRoot(t, "a"), newRoot(t, "b"), newRoot(t, "other")
	o := options(t, a, b)
	dir := t.TempDir()
	told := &opened{of: map[agent.File][]agent.RootID{}}
	o.Opens, o.Host, o.Copies = told, HostUnit, dir
	tr, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"both": 2, "one": 1, "none": 0, "empty": 0}
	for name, content := range map[string][]byte{"both": bytes.Join([][]byte{other, a, b, a}, nil), "one": append(slices.Clone(other), b...), "none": other, "empty": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(dir, filepath.Join(dir, "folder")); err != nil {
		t.Fatal(err)
	}
	if err := tr.CoverFiles(); err != nil {
		t.Fatal(err)
	}
	want[o.RootsFile] = 2
	for name, n := range want {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		var st unix.Stat_t
		if err := unix.Stat(name, &st); err != nil {
			t.Fatal(err)
		}
		if got := told.of[agent.File{Dev: st.Dev, Ino: st.Ino}]; len(got) != n {
			t.Errorf("%s: %v, want %d", name, got, n)
		}
	}
	told.err = &agent.Unsupported{Feature: "x"}
	if err := tr.CoverFiles(); err != nil {
		t.Errorf("a kernel that does not show opens: %v", err)
	}
	told.err = os.ErrInvalid
	if err := tr.CoverFiles(); err == nil {
		t.Error("no error")
	}
}
