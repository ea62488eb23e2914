// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal/content"
	"github.com/sallyport-dev/sallyport/pipeline/journal/original"
)

// The original of a request is kept sealed if the record is told to, and in no other form. What cannot be sealed is not kept: the
// record of the request says so, and the request goes on as one whose original nobody wanted.
func TestOriginals(t *testing.T) {
	for name, c := range map[string]struct {
		seal    func([]byte) ([]byte, error)
		want    string
		missing string
	}{
		"not kept": {nil, "", ""},
		"sealed":   {func(b []byte) ([]byte, error) { return fmt.Appendf(nil, `{"box":%d}`, len(b)), nil }, `{"box":11}`, ""},
		"cannot be sealed": {func(b []byte) ([]byte, error) {
			return []byte(`"half of it"`), errors.New("no recipient " + strings.Repeat("x", 500))
		}, "", "no recipient xxx"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := options(t, dir)
			var notices []string
			o.Seal, o.Notice = c.seal, func(err error) { notices = append(notices, err.Error()) }
			j := open(t, o)
			put(t, j, pipeline.Record{Kind: pipeline.KindIntent, Session: "s", Exchange: "e", Body: &pipeline.Intent{Body: []byte(`"[EMAIL]"`), Original: []byte("canary-4711")}})
			closeJournal(t, j)
			for _, e := range entries(t, dir) {
				var in pipeline.Intent
				if e.Kind != pipeline.KindIntent {
					continue
				}
				if err := e.Decode(&in); err != nil || string(in.SealedOriginal) != c.want || in.Original != nil || string(in.Body) != `"[EMAIL]"` {
					t.Errorf("%s %v", in.SealedOriginal, err)
				}
				if !strings.HasPrefix(in.OriginalMissing, c.missing) || (c.missing == "") != (in.OriginalMissing == "") || len(in.OriginalMissing) > 300 {
					t.Errorf("missing: %q", in.OriginalMissing)
				}
				if (len(notices) == 1) != (c.missing != "") {
					t.Errorf("notices %q", notices)
				}
			}
			if bytes.Contains(must(os.ReadFile(segmentPath(dir, 1))), []byte("canary")) {
				t.Error("the original is in the clear")
			}
		})
	}
}

// auditors are three people and what seals to them.
func auditors(t *testing.T) (*original.Sealer, [3][]age.Identity) {
	t.Helper()
	var names []string
	var who [3][]age.Identity
	for i := range who {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		names, who[i] = append(names, id.Recipient().String()), []age.Identity{id}
	}
	s, err := original.New(names)
	if err != nil {
		t.Fatal(err)
	}
	return s, who
}

const veryWords = "canary-4711, and what else the provider said"

// answered writes an exchange whose reply was kept in so many pieces, the key with the second of them.
func answered(t *testing.T, j *Journal, s *original.Sealer, exchange, reply string, pieces int, change func(*pipeline.Outcome)) {
	t.Helper()
	record := func(kind string, body any) pipeline.Record {
		return pipeline.Record{Kind: kind, Session: "ses_" + exchange, Exchange: exchange, Body: body}
	}
	put(t, j, record(pipeline.KindIntent, &pipeline.Intent{Body: []byte(`{"say":"it"}`)}))
	r := s.Reply(exchange)
	defer r.Close()
	size := (len(reply) + pieces - 1) / pieces
	for n := range pieces {
		plain := reply[n*size : min((n+1)*size, len(reply))]
		p := &pipeline.Original{Seq: n, Bytes: len(plain), Data: r.Piece(nil, []byte(plain), n == pieces-1)}
		if n == 1 {
			var err error
			if p.Key, err = r.Key(); err != nil {
				t.Fatal(err)
			}
		}
		put(t, j, record(pipeline.KindOriginal, p))
		put(t, j, record(pipeline.KindEvent, &pipeline.Event{Seq: n, Data: "[MASKED]"}))
	}
	out := &pipeline.Outcome{Text: "[MASKED]", Original: &pipeline.Kept{Pieces: pieces, Bytes: int64(len(reply))}}
	if change != nil {
		change(out)
	}
	put(t, j, record(pipeline.KindOutcome, out))
}

// A reply goes through the journal sealed, and comes back for two of three people. Nothing else shows it.
func TestReplyOriginal(t *testing.T) {
	dir := t.TempDir()
	s, who := auditors(t)
	j := open(t, options(t, dir))
	answered(t, j, s, "exc_1", veryWords, 3, nil)
	answered(t, j, s, "exc_2", "another", 2, nil)
	put(t, j, pipeline.Record{Kind: pipeline.KindIntent, Session: "ses_3", Exchange: "exc_3", Body: &pipeline.Intent{}})
	closeJournal(t, j)
	verified(t, dir)
	if b := must(os.ReadFile(segmentPath(dir, 1))); bytes.Contains(b, []byte("canary")) || bytes.Contains(b, []byte("age-encryption.org")) {
		t.Error("it is in the clear, or not under the session's key")
	}
	seen := 0
	for _, e := range entries(t, dir) {
		if e.Kind != pipeline.KindOriginal {
			continue
		}
		seen++
		out, err := json.Marshal(&e)
		if err != nil || bytes.Contains(out, []byte("canary")) || !bytes.Contains(out, []byte(`"data":"`)) || e.flags&flagSealed == 0 {
			t.Errorf("exported as %s, %v", out, err)
		}
		var clear map[string]any
		if err := e.Metadata(&clear); err != nil || len(clear) != 2 {
			t.Errorf("outside stand %v, %v", clear, err)
		}
	}
	if seen != 5 {
		t.Fatalf("%d pieces", seen)
	}

	o, err := FindOriginals(context.Background(), dir, "exc_1")
	if err != nil || !o.Ended || o.Request != nil || len(o.Pieces) != 3 || o.Reply == nil || *o.Reply != (pipeline.Kept{Pieces: 3, Bytes: int64(len(veryWords))}) {
		t.Fatalf("%+v %v", o, err)
	}
	for _, two := range [][2]int{{0, 1}, {1, 2}, {2, 0}} {
		got, whole, err := original.OpenReply(o.Exchange, o.Key, o.Pieces, who[two[0]], who[two[1]])
		if string(got) != veryWords || !whole || err != nil {
			t.Errorf("%v: %q %t %v", two, got, whole, err)
		}
	}
	for i := range who {
		if got, _, err := original.OpenReply(o.Exchange, o.Key, o.Pieces, who[i], who[i]); !errors.Is(err, original.ErrAlone) || got != nil {
			t.Errorf("%d alone: %q %v", i, got, err)
		}
	}
	if o, err := FindOriginals(context.Background(), dir, "exc_3"); err != nil || o.Key != nil || o.Pieces != nil || o.Ended {
		t.Errorf("%+v %v", o, err)
	}
	if _, err := FindOriginals(context.Background(), dir, "exc_4"); err == nil || !strings.Contains(err.Error(), "no exchange") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := FindOriginals(ctx, dir, "exc_1"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}

	// What is erased is gone for them too.
	store := content.NewStore(keysDir(dir), nil)
	n, err := store.Erase(func(k content.Key) bool { return k.Session == content.SessionSum("ses_exc_1") })
	if err := errors.Join(err, store.Close()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	verified(t, dir)
	if o, err = FindOriginals(context.Background(), dir, "exc_1"); err != nil || o.Content != ContentErased || o.Key != nil {
		t.Errorf("%+v %v", o, err)
	}
	for _, p := range o.Pieces {
		if len(p) > 0 {
			t.Error("a piece outlives its session")
		}
	}
	if o, err = FindOriginals(context.Background(), dir, "exc_2"); err != nil || o.Content != ContentHere || o.Key == nil {
		t.Errorf("the other session: %+v %v", o, err)
	}
}

// Records of versions without originals of replies are read as ever.
func TestOriginalsOfOlderVersions(t *testing.T) {
	dir := t.TempDir()
	if err := copyFile(filepath.Join("testdata", "version1.segment"), segmentPath(dir, 1)); err != nil {
		t.Fatal(err)
	}
	verified(t, dir)
	for _, e := range entries(t, dir) {
		if e.Exchange == "" {
			continue
		}
		o, err := FindOriginals(context.Background(), dir, e.Exchange)
		if err != nil || o.Key != nil || o.Request != nil || o.Reply != nil {
			t.Errorf("%+v %v", o, err)
		}
		return
	}
	t.Fatal("there is no exchange in it")
}

// What was done to sealed pieces on disk is found: by both verifiers, and by who unseals.
func TestOriginalTampered(t *testing.T) {
	dir := t.TempDir()
	s, _ := auditors(t)
	j := open(t, options(t, dir))
	answered(t, j, s, "exc_1", veryWords, 2, nil)
	closeJournal(t, j)
	at := 0
	for _, e := range entries(t, dir) {
		if e.Kind == pipeline.KindOriginal {
			at = int(e.End.Offset) - 3 // in the tag of the sealed part
		}
	}
	if err := flipAt(1, at)(dir); err != nil {
		t.Fatal(err)
	}
	if rep := must(Verify(dir)); rep.OK {
		t.Error("Verify does not notice")
	}
	if o, err := FindOriginals(context.Background(), dir, "exc_1"); err == nil {
		t.Errorf("read as %+v", o)
	}
	if out, err := python(t, dir); err == nil || !strings.HasPrefix(out, "NOT whole: ") {
		t.Errorf("docs/verify.py does not notice: %s", out)
	}
}

func python(t *testing.T, args ...string) (string, error) {
	t.Helper()
	name, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("docs/verify.py is tested with python3: install it")
	}
	out, err := exec.Command(name, append([]string{filepath.Join("..", "..", "docs", "verify.py")}, args...)...).CombinedOutput()
	return string(out), err
}

// Both verifiers count the pieces of replies, so that a writer that left one out is found; not where retention took the oldest.
func TestOriginalPiecesAreCounted(t *testing.T) {
	s, _ := auditors(t)
	long := strings.Repeat("words and words ", 12<<10) // in several segments
	for name, c := range map[string]struct {
		write func(t *testing.T, j *Journal)
		gone  bool // the first segment
		want  string
	}{
		"whole": {func(t *testing.T, j *Journal) { answered(t, j, s, "exc_1", veryWords, 3, nil) }, false, ""},
		"cut by the end of the daemon": {func(t *testing.T, j *Journal) {
			answered(t, j, s, "exc_1", veryWords, 2, func(o *pipeline.Outcome) { o.Original, o.Cut = nil, CutAgent })
		}, false, ""},
		"too few": {func(t *testing.T, j *Journal) {
			answered(t, j, s, "exc_1", veryWords, 2, func(o *pipeline.Outcome) { o.Original.Pieces = 3 })
		}, false, "names other pieces"},
		"too many": {func(t *testing.T, j *Journal) {
			answered(t, j, s, "exc_1", veryWords, 2, func(o *pipeline.Outcome) { o.Original.Pieces = 1 })
		}, false, "names other pieces"},
		"none": {func(t *testing.T, j *Journal) {
			put(t, j, pipeline.Record{Kind: pipeline.KindOutcome, Session: "s", Exchange: "e", Body: &pipeline.Outcome{Original: &pipeline.Kept{Pieces: 1}}})
		}, false, "names other pieces"},
		"one left out": {func(t *testing.T, j *Journal) {
			put(t, j, pipeline.Record{Kind: pipeline.KindOriginal, Session: "s", Exchange: "e", Body: &pipeline.Original{Seq: 0}})
			put(t, j, pipeline.Record{Kind: pipeline.KindOriginal, Session: "s", Exchange: "e", Body: &pipeline.Original{Seq: 2}})
		}, false, "missing before it"},
		"oldest removed": {func(t *testing.T, j *Journal) { answered(t, j, s, "exc_1", long, 8, nil) }, true, ""},
		"oldest removed, and too few": {func(t *testing.T, j *Journal) {
			answered(t, j, s, "exc_1", long, 8, func(o *pipeline.Outcome) { o.Original.Pieces++ })
		}, true, "names other pieces"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := options(t, dir)
			o.SegmentBytes = minSegment
			j := open(t, o)
			c.write(t, j)
			closeJournal(t, j)
			if c.gone {
				if err := os.Remove(segmentPath(dir, 1)); err != nil {
					t.Fatal(err)
				}
				if _, err := FindOriginals(context.Background(), dir, "exc_1"); err == nil || !strings.Contains(err.Error(), "older segment") {
					t.Errorf("unsealing: %v", err)
				}
			}
			rep := must(Verify(dir))
			if rep.OK != (c.want == "") || !rep.OK && !strings.Contains(rep.Problem.What, c.want) {
				t.Errorf("Verify: %+v", rep.Problem)
			}
			if out, err := python(t, dir); (err == nil) != (c.want == "") || !strings.Contains(out, c.want) {
				t.Errorf("docs/verify.py: %s %v", out, err)
			}
		})
	}
}
