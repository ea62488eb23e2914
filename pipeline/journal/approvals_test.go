// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

func approvalRecord(id string) pipeline.Record {
	return pipeline.Record{Kind: pipeline.KindApproval, Body: &pipeline.Approval{ID: id, State: pipeline.ApprovalWaiting}}
}

func snapshotMark(id string, end bool) pipeline.Record {
	return pipeline.Record{Kind: pipeline.KindApproval, Body: &pipeline.Approval{Mark: &pipeline.ApprovalSnapshot{ID: id, End: end}}}
}

// visited lists what Approvals gives: IDs, and marks in brackets.
func visited(t *testing.T, dir string, since time.Time) (string, time.Time) {
	t.Helper()
	var out []string
	newest, err := Approvals(dir, since, func(r pipeline.Record) error {
		a := r.Body.(*pipeline.Approval)
		switch {
		case a.Mark == nil:
			out = append(out, a.ID)
		case a.Mark.End:
			out = append(out, a.Mark.ID+">")
		default:
			out = append(out, "<"+a.Mark.ID)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " "), newest
}

func TestApprovals(t *testing.T) {
	const fill = "-" // events until the segment is another one
	for _, c := range []struct {
		name    string
		records string // IDs; <x begins a snapshot, x> ends it; | starts a new generation
		since   string // of the time of this ID; "" all
		want    string
	}{
		{"nothing", "", "", ""},
		{"all", "a - b | c - d", "", "a b c d"},
		{"from the snapshot on", "a - b <s b s> c - d", "", "<s b s> c d"},
		{"from the newest", "a <s a s> b - <t a b t> c", "", "<t a b t> c"},
		{"one without an end", "a <s a s> b - <t a - c", "", "<s a s> b <t a c"},
		{"one without an end, killed in it", "a <s a s> b <t a | c", "", "<s a s> b <t a c"},
		{"one that ends in a later segment", "a - <s a - b - s> c", "", "<s a b s> c"},
		{"one that ends in a later segment, twice", "a - <s a - s> b - <t b - t> c", "", "<t b t> c"},
		{"an earlier generation has it", "a <s a s> b | c | d", "", "<s a s> b c d"},
		{"by time", "a - b - c - d", "c", "c d"},
		{"by time, a snapshot before", "a <s s> - b - c", "c", "c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			o := options(t, dir)
			now := o.Now
			j := open(t, o)
			var since, last time.Time
			for _, w := range strings.Fields(c.records) {
				var r pipeline.Record
				switch {
				case w == fill:
					for at := j.State().Durable.Segment; j.State().Durable.Segment == at; {
						put(t, j, event("exc_1", 0, strings.Repeat("x", minSegment/2)))
					}
					continue
				case w == "|":
					closeJournal(t, j)
					j = open(t, o)
					continue
				case strings.HasPrefix(w, "<"):
					r = snapshotMark(w[1:], false)
				case strings.HasSuffix(w, ">"):
					r = snapshotMark(w[:len(w)-1], true)
				default:
					r = approvalRecord(w)
				}
				r.Time = now()
				if w == c.since {
					since = r.Time
				}
				last = r.Time
				put(t, j, r)
			}
			got, newest := visited(t, dir, since)
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if newest.Before(last) {
				t.Errorf("newest %s, want %s", newest, last)
			}
		})
	}
}

// TestApprovalsBeside has a snapshot of a generation beside which an earlier one still writes.
func TestApprovalsBeside(t *testing.T) {
	dir := t.TempDir()
	o := options(t, dir)
	o.Beside = true
	a := open(t, o)
	put(t, a, approvalRecord("a"))
	b := open(t, o)
	put(t, b, snapshotMark("s", false))
	put(t, b, snapshotMark("s", true))
	put(t, a, approvalRecord("b"))
	got, _ := visited(t, dir, time.Time{})
	if !strings.Contains(got, "b") {
		t.Errorf("got %q", got)
	}
}
