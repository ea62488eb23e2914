// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal/anchor"
)

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
