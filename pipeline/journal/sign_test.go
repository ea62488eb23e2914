// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal/anchor"
)

// store keeps anchors in memory; while it is down it refuses them.
type store struct {
	mu   sync.Mutex
	down bool
	list []anchor.Anchor
}

func (s *store) Keep(_ context.Context, a anchor.Anchor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return errors.New("the store is down")
	}
	s.list = append(s.list, a)
	return nil
}

func (s *store) all() []anchor.Anchor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]anchor.Anchor{}, s.list...)
}

// witnessed is a journal of some generations and segments with its anchors.
func witnessed(t testing.TB) (string, []anchor.Anchor) {
	t.Helper()
	dir, s := t.TempDir(), &store{}
	for g := range 3 {
		o := options(t, dir)
		o.Anchors, o.SignRecords = s, 50
		j := open(t, o)
		for i := range 150 {
			put(t, j, event("exc_1", i, strings.Repeat("x", 800)))
		}
		put(t, j, intent(fmt.Sprint("exc_", g)))
		closeJournal(t, j)
	}
	return dir, s.all()
}

func TestSignedCheckpoints(t *testing.T) {
	dir, anchors := witnessed(t)
	rep := verified(t, dir)
	if rep.Signatures == nil || rep.Signatures.First != 0 || rep.Signatures.Count < 9 || rep.Signatures.Last != rep.Signatures.Count-1 || rep.Evidence != EvidenceLocal || rep.Anchors != 0 {
		t.Fatalf("report %+v, signatures %+v", rep, rep.Signatures)
	}
	public := strings.Fields(string(must(os.ReadFile(filepath.Join(dir, publicName)))))
	if len(public) != 3 || public[1] != rep.Signatures.Journal || public[2] != rep.Signatures.Key {
		t.Errorf("the auditor is told %q", public)
	}
	if uint64(len(anchors)) != rep.Signatures.Count {
		t.Errorf("%d anchors of %d signed checkpoints", len(anchors), rep.Signatures.Count)
	}
	rep, err := VerifyWith(dir, VerifyOptions{Anchors: anchors, Anchored: true, Key: public[2]})
	if err != nil || !rep.OK || rep.Evidence != EvidenceAnchored || rep.Anchors != len(anchors) {
		t.Fatalf("report %+v %v %v", rep, rep.Problem, err)
	}
	// The private keys of the past are gone: no seed in the state leads to one that signed.
	state := must(os.ReadFile(filepath.Join(keysDir(dir), "signer")))
	if bytes.Count(state, []byte("SLYPSIGN")) != 1 {
		t.Error("an old key is still there")
	}
	odd := copyDir(t, dir)
	if err := os.WriteFile(filepath.Join(odd, publicName), []byte("sallyport-journal "+public[1]+" "+strings.Repeat("0", 64)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if rep := must(Verify(odd)); len(rep.Warnings) != 1 || !strings.Contains(rep.Warnings[0], "journal.pub does not have the key") {
		t.Errorf("another public key: %q", rep.Warnings)
	}
	other := anchors[1]
	other.Journal = strings.Repeat("0", 32)
	for name, tt := range map[string]struct {
		o    VerifyOptions
		want string
	}{
		"another first key":  {VerifyOptions{Key: strings.Repeat("0", 64)}, "not with the given one"},
		"no anchors":         {VerifyOptions{Anchored: true}, "no anchor is of this journal"},
		"forged anchor":      {VerifyOptions{Anchored: true, Anchors: append([]anchor.Anchor{other}, anchors...)}, "no valid signature"},
		"anchors of another": {VerifyOptions{Anchored: true, Anchors: func() []anchor.Anchor { _, a := witnessed(t); return a }()}, ""},
	} {
		rep, err := VerifyWith(dir, tt.o)
		if err != nil || rep.OK || !strings.Contains(strings.Join(rep.Findings, "; ")+fmt.Sprint(rep.Problem), tt.want) {
			t.Errorf("%s: %+v %v, want %q", name, rep, err, tt.want)
		}
	}
}

// What a journal alone cannot show, anchors do: each of these folders verifies without them.
func TestAnchorsShow(t *testing.T) {
	dir, anchors := witnessed(t)
	all := must(listSegments(dir))
	last := all[len(all)-1]
	for name, tt := range map[string]struct {
		do   func(dir string) error
		want string
	}{
		"newest segment taken away":      {func(d string) error { return os.Remove(segmentPath(d, last)) }, "missing"},
		"newest generation taken away":   {rollBack, "generation 3, anchored at"},
		"oldest segments taken away":     {func(d string) error { return os.Remove(segmentPath(d, 1)) }, "no record says that they were removed"},
		"last records cut off":           {cutTail(2), "newest records are missing"},
		"last checkpoint cut off":        {cutTail(1), "the checkpoint behind record"},
		"cut off, with an excuse":        {excuse, "newest records are missing"},
		"taken away, with an excuse":     {func(d string) error { return errors.Join(rollBack(d), excuse(d)) }, "generation 3, anchored at"},
		"written anew with the last key": {rewrite(true), "history was rewritten"},
		"written anew with other keys":   {rewrite(false), "it was written anew"},
	} {
		t.Run(name, func(t *testing.T) {
			work := copyDir(t, dir)
			if err := errors.Join(os.CopyFS(keysDir(work), os.DirFS(keysDir(dir))), tt.do(work)); err != nil {
				t.Fatal(err)
			}
			if rep := must(Verify(work)); rep.Problem != nil {
				t.Fatalf("it shows without anchors: %v", rep.Problem)
			}
			rep, err := VerifyWith(work, VerifyOptions{Anchors: anchors, Anchored: true})
			text := strings.Join(rep.Findings, "; ")
			if rep.Problem != nil {
				text += rep.Problem.Error()
			}
			if err != nil || rep.OK || !strings.Contains(text, tt.want) {
				t.Errorf("found %q %v, want %q", text, err, tt.want)
			}
		})
	}
}

// Whoever can write what is kept elsewhere can add anchors there, and nothing that counts: they name checkpoints that the journal does not have.
func TestForgedAnchors(t *testing.T) {
	dir, anchors := witnessed(t)
	r := must(OpenReader(dir, pipeline.Position{}))
	defer r.Close()
	for range 7 {
		must(r.Next())
	}
	e := must(r.Next())
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	last := anchors[len(anchors)-1]
	for name, tt := range map[string]struct {
		journal string
		epoch   uint64
		want    string
	}{
		"epoch that is to come":     {last.Journal, last.Epoch + 1, "signed with another key"},
		"epoch far in the future":   {last.Journal, last.Epoch + 100, "the anchor is forged"},
		"epoch that was":            {last.Journal, 1, "signed with another key"},
		"another journal's":         {strings.Repeat("0", 32), 1, ""},
		"another's, and none of us": {strings.Repeat("0", 32), 1, "no anchor is of this journal"},
	} {
		t.Run(name, func(t *testing.T) {
			a := anchor.Anchor{Journal: tt.journal, Epoch: tt.epoch, Generation: e.Generation, Sequence: e.Sequence, Head: e.Hash.String(), Time: last.Time.AddDate(1, 0, 0),
				Key: hex.EncodeToString(public), Next: last.Next}
			a.Signature = hex.EncodeToString(ed25519.Sign(private, a.Message()))
			if err := a.Check(); err != nil {
				t.Fatal(err)
			}
			all := append([]anchor.Anchor{a}, anchors...)
			if tt.want == "no anchor is of this journal" {
				all = all[:1]
			}
			rep := must(VerifyWith(dir, VerifyOptions{Anchors: all, Anchored: true}))
			if text := strings.Join(rep.Findings, "; "); !strings.Contains(text, tt.want) || rep.OK != (tt.want == "") {
				t.Errorf("found %q, want %q", text, tt.want)
			}
			if rep.Anchors >= len(all) {
				t.Errorf("it counts: %d of %d anchors, the newest of %s", rep.Anchors, len(all), rep.Anchored)
			}
		})
	}
}

// goOn cuts the end off and goes on as the daemon would.
func goOn(dir string, records ...any) error {
	if err := cutTail(30)(dir); err != nil {
		return err
	}
	j, err := Open(Options{Dir: dir, SegmentBytes: minSegment, Now: clock()})
	for _, r := range records {
		err = errors.Join(err, j.wait(pipeline.KindAdmin, r))
	}
	return errors.Join(err, j.Close())
}

// excuse does that, and writes that retention took what is missing and that damage was repaired.
func excuse(dir string) error {
	x := Expiry{Action: ActionExpireSegments}
	for g := uint64(1); g <= 3; g++ {
		x.Removed = append(x.Removed, Removed{Generation: g, Sequence: 1 << 20})
	}
	return goOn(dir, &x, map[string]string{"action": ActionRepair})
}

// rollBack takes the newest generation away.
func rollBack(dir string) error {
	cat, err := openCatalog(dir)
	if err != nil {
		return err
	}
	newest := cat.infos[len(cat.infos)-1].generation
	for _, s := range cat.infos {
		if s.generation == newest {
			err = errors.Join(err, os.Remove(segmentPath(dir, s.number)))
		}
	}
	return err
}

// cutTail cuts records off the end.
func cutTail(n int) func(dir string) error {
	return func(dir string) error {
		r, err := OpenReader(dir, pipeline.Position{})
		if err != nil {
			return err
		}
		defer r.Close()
		var at []pipeline.Position
		for {
			e, err := r.Next()
			if err != nil {
				break
			}
			at = append(at, e.Position)
		}
		cut := at[len(at)-n]
		for s := must(listSegments(dir)); s[len(s)-1] > cut.Segment; s = s[:len(s)-1] {
			if err := os.Remove(segmentPath(dir, s[len(s)-1])); err != nil {
				return err
			}
		}
		return os.Truncate(segmentPath(dir, cut.Segment), int64(cut.Offset))
	}
}

// rewrite writes a whole journal anew in which one thing is missing, as somebody with all of the host's rights can.
func rewrite(keys bool) func(dir string) error {
	return func(dir string) error {
		other := dir + ".new"
		if keys {
			if err := errors.Join(os.MkdirAll(keysDir(other), 0o700), copyFile(filepath.Join(keysDir(dir), "signer"), filepath.Join(keysDir(other), "signer"))); err != nil {
				return err
			}
		}
		now := clock()
		for g := range 3 {
			j, err := Open(Options{Dir: other, SegmentBytes: minSegment, Now: now, SignRecords: 50})
			if err != nil {
				return err
			}
			for i := range 150 {
				r := event("exc_1", i, strings.Repeat("y", 800))
				r.Time = now()
				j.Append(r)
			}
			r := intent(fmt.Sprint("exc_", g))
			r.Time = now()
			j.Append(r)
			if err := j.Close(); err != nil {
				return err
			}
		}
		for _, path := range must(filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))) {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
		for _, path := range must(filepath.Glob(filepath.Join(other, "*"+segmentSuffix))) {
			if err := os.Rename(path, filepath.Join(dir, filepath.Base(path))); err != nil {
				return err
			}
		}
		return os.RemoveAll(other)
	}
}

// What retention removes is on record, and anchors of it are no accusation.
func TestAnchorsOfExpired(t *testing.T) {
	const day = 24 * time.Hour
	dir, s := t.TempDir(), &store{}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o := options(t, dir)
	o.Anchors, o.Now = s, func() time.Time { return now }
	for range 2 {
		j := open(t, o)
		for i := range 200 {
			r := event("exc_1", i, strings.Repeat("x", 800))
			r.Time = now
			put(t, j, r)
		}
		closeJournal(t, j)
		now = now.Add(10 * day)
	}
	j := open(t, o)
	if x, err := j.Expire(context.Background(), Retention{Content: day, Metadata: 15 * day}, 0); err != nil || x.Segments < 3 {
		t.Fatalf("%+v %v", x, err)
	}
	closeJournal(t, j)
	rep, err := VerifyWith(dir, VerifyOptions{Anchors: s.all(), Anchored: true})
	if err != nil || !rep.OK || rep.ExpiredAnchors == 0 || rep.Anchors+rep.ExpiredAnchors != len(s.all()) || rep.Unrecorded() {
		t.Errorf("report %+v %v", rep, err)
	}
	if err := os.Remove(segmentPath(dir, rep.First)); err != nil {
		t.Fatal(err)
	}
	if rep, err := VerifyWith(dir, VerifyOptions{Anchors: s.all(), Anchored: true}); err != nil || rep.OK {
		t.Errorf("one more is missing: %+v %v", rep, err)
	}
}

// Anchors that cannot be kept wait, and come in order when they can; the journal does not wait for them.
func TestAnchorsWait(t *testing.T) {
	s := &store{down: true}
	var mu sync.Mutex
	var told []error
	o := options(t, t.TempDir())
	o.Anchors, o.SignRecords, o.AnchorRetry = s, 10, time.Millisecond
	o.Notice = func(err error) { mu.Lock(); defer mu.Unlock(); told = append(told, err) }
	j := open(t, o)
	for i := range 100 {
		put(t, j, event("exc_1", i, "x"))
		put(t, j, outcome("exc_1"))
	}
	if st := j.State(); st.Pending < 5 || st.Signed == 0 || st.Anchored != 0 {
		t.Errorf("state %+v", st)
	}
	s.mu.Lock()
	s.down = false
	s.mu.Unlock()
	closeJournal(t, j)
	rep, err := VerifyWith(o.Dir, VerifyOptions{Anchors: s.all(), Anchored: true})
	if err != nil || !rep.OK || uint64(len(s.all())) != rep.Signatures.Count {
		t.Errorf("%d anchors, report %+v %v", len(s.all()), rep, err)
	}
	for i, a := range s.all() {
		if a.Epoch != uint64(i) {
			t.Errorf("anchor %d is of epoch %d", i, a.Epoch)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(told) == 0 || !strings.Contains(told[0].Error(), "cannot be kept off this host") {
		t.Errorf("told %v", told)
	}
}

// Two generations that run side by side sign in turn, each key once.
func TestSignersSideBySide(t *testing.T) {
	dir, s := t.TempDir(), &store{}
	o := beside(t, dir)
	o.Anchors, o.SignRecords = s, 7
	old := open(t, o)
	fresh := takeOver(t, o)
	for i := range 60 {
		put(t, old, event("exc_old", i, "x"))
		put(t, fresh, event("exc_new", i, "x"))
		put(t, old, outcome("exc_old"))
		put(t, fresh, outcome("exc_new"))
	}
	closeJournal(t, old)
	closeJournal(t, fresh)
	rep, err := VerifyWith(dir, VerifyOptions{Anchors: s.all(), Anchored: true})
	if err != nil || !rep.OK || rep.Signatures.Count < 10 || rep.Signatures.Last != rep.Signatures.Count-1 {
		t.Errorf("report %+v %+v %v %v", rep, rep.Signatures, rep.Problem, err)
	}
}

// A signing key that is damaged stops the start; one that was moved away begins a new series, and shows.
func TestSignerState(t *testing.T) {
	dir := t.TempDir()
	closeJournal(t, open(t, options(t, dir)))
	path := filepath.Join(keysDir(dir), "signer")
	whole := must(os.ReadFile(path))
	patch(t, path, func(b []byte) []byte { clear(b[20:200]); return b })
	if _, err := Open(options(t, dir)); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("Open: %v", err)
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	closeJournal(t, open(t, options(t, dir)))
	verified(t, dir)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	closeJournal(t, open(t, options(t, dir)))
	if rep := must(Verify(dir)); !rep.OK || len(rep.Warnings) != 1 || !strings.Contains(rep.Warnings[0], "begin anew") {
		t.Errorf("report %+v", rep)
	}
}
