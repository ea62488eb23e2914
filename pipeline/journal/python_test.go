// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal/anchor"
)

// docs/verify.py, which was written from the format page alone, agrees with Verify on whole journals and on damaged ones.
func TestPythonVerifier(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("docs/verify.py is tested with python3: install it")
	}
	script := must(filepath.Abs(filepath.Join("..", "..", "docs", "verify.py")))
	run := func(args ...string) (string, error) {
		out, err := exec.Command(python, append([]string{script}, args...)...).CombinedOutput()
		return string(out), err
	}
	dir, anchors := witnessed(t)
	kept, folder := filepath.Join(t.TempDir(), "anchors"), t.TempDir()
	for _, a := range anchors {
		if err := errors.Join(anchor.Open(kept).Keep(context.Background(), a), anchor.Open(folder).Keep(context.Background(), a)); err != nil {
			t.Fatal(err)
		}
	}
	key := strings.Fields(string(must(os.ReadFile(filepath.Join(dir, publicName)))))[2]
	for _, args := range [][]string{{dir}, {dir, "--anchors", kept}, {dir, "--anchors", folder, "--key", key}} {
		if out, err := run(args...); err != nil || !strings.HasPrefix(out, "whole: ") || strings.Contains(out, "local") != (len(args) == 1) {
			t.Errorf("%q: %s %v", args, out, err)
		}
	}
	old := t.TempDir()
	if err := copyFile(filepath.Join("testdata", "version1.segment"), segmentPath(old, 1)); err != nil {
		t.Fatal(err)
	}
	if out, err := run(old); err != nil {
		t.Errorf("of the version before: %s %v", out, err)
	}
	all := must(listSegments(dir))
	last := all[len(all)-1]
	torn := copyDir(t, dir)
	size := must(os.Stat(segmentPath(torn, last))).Size()
	if err := os.Truncate(segmentPath(torn, last), size-5); err != nil {
		t.Fatal(err)
	}
	if rep := must(Verify(torn)); !rep.OK || rep.Torn == 0 {
		t.Errorf("a write that a crash cut: %+v", rep)
	}
	if out, err := run(torn); err != nil || !strings.Contains(out, "unfinished write at segment") {
		t.Errorf("a write that a crash cut: %s %v", out, err)
	}
	for name, tt := range map[string]struct {
		do      func(dir string) error
		anchors bool
	}{
		"bit in a header":             {flipAt(2, 40), false},
		"bit in a record":             {flipAt(2, 4000), false},
		"bit in the newest":           {flipAt(last, 500), false},
		"cut in a segment before":     {func(d string) error { return os.Truncate(segmentPath(d, last-1), size-5) }, false},
		"segment missing":             {func(d string) error { return os.Remove(segmentPath(d, 3)) }, false},
		"segment from else":           {func(d string) error { return copyFile(segmentPath(d, 1), segmentPath(d, 3)) }, false},
		"end of a generation cut":     {func(d string) error { return os.Truncate(segmentPath(d, last-3), 81) }, false},
		"record in another's place":   {swap, false},
		"newest generation missing":   {rollBack, true},
		"newest records missing":      {cutTail(2), true},
		"newest checkpoint missing":   {cutTail(1), true},
		"end missing, with an excuse": {excuse, true},
		"checkpoints missing":         {func(d string) error { return goOn(d) }, false},
		"oldest segment missing":      {func(d string) error { return os.Remove(segmentPath(d, 1)) }, true},
		"written anew, same key":      {rewrite(true), true},
		"written anew, another key":   {rewrite(false), true},
		"signature of another's key":  {resign, false},
	} {
		t.Run(name, func(t *testing.T) {
			work := copyDir(t, dir)
			if err := errors.Join(os.CopyFS(keysDir(work), os.DirFS(keysDir(dir))), tt.do(work)); err != nil {
				t.Fatal(err)
			}
			args, o := []string{work}, VerifyOptions{}
			if tt.anchors {
				args, o = append(args, "--anchors", kept), VerifyOptions{Anchors: anchors, Anchored: true}
			}
			if rep := must(VerifyWith(work, o)); rep.OK {
				t.Fatal("Verify does not notice")
			}
			if out, err := run(args...); err == nil || !strings.HasPrefix(out, "NOT whole: ") {
				t.Errorf("docs/verify.py does not notice: %s %v", out, err)
			}
		})
	}
}

// swap exchanges two segments' names with all checksums right.
func swap(dir string) error {
	a, b := segmentPath(dir, 2), segmentPath(dir, 3)
	return errors.Join(os.Rename(a, a+".x"), os.Rename(b, a), os.Rename(a+".x", b))
}

// resign writes a last generation whose checkpoint carries a signature that nobody made.
func resign(dir string) error {
	j, err := Open(Options{Dir: dir, SegmentBytes: minSegment})
	if err != nil {
		return err
	}
	j.mu.Lock()
	c := j.checkpoint(CheckSigned)
	t := j.sign(c, 0)
	c.Signed.Value = strings.Repeat("00", 64)
	err = j.own(pipeline.KindCheckpoint, c)
	j.endTurn(t, false)
	j.mu.Unlock()
	return errors.Join(err, j.Close())
}
