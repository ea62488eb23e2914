// SPDX-License-Identifier: Apache-2.0

package approval_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/approval"
)

// fact is something that was told to somebody when so many records were on disk.
type fact struct {
	onDisk   int
	id, what string
}

// FuzzKill lets a desk do what bytes say, over a journal whose disk is slow, and then looks at every point at which it may have
// been killed: nothing that somebody was told may be missing from what was on disk then, and what is on disk must come back.
func FuzzKill(f *testing.F) {
	for _, s := range []string{"acdw", "aAbBcdefgh0123", "eEdDrwte", "abcabcdddwwwsdwsts", "a1b2sc3d4rwt", "aaaaddddssssddddwwww", "mndmdndw"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 60 {
			ops = ops[:60]
		}
		synctest.Test(t, func(t *testing.T) {
			log, facts := perform(t, ops)
			for n := range log.len() + 1 {
				killedAt(t, log, n, facts)
			}
		})
	})
}

// perform carries operations out, and notes what was told.
func perform(t *testing.T, ops []byte) (*journal, []fact) {
	r := newRig(t, pipeline.ApprovalSettings{Timeout: 5 * time.Minute, Valid: 3 * time.Minute, Minimum: 1, MaxFor: time.Hour})
	r.log.slow = 10 * time.Millisecond
	var facts []fact
	told := make(chan fact, 1000)
	note := func(id, what string) {
		r.log.mu.Lock()
		defer r.log.mu.Unlock()
		told <- fact{r.log.onDisk, id, what}
	}
	ctx, cancel := context.WithCancel(bg())
	for i, op := range ops {
		pick := func() (string, bool) {
			all := r.desk.List(approval.Filter{All: true})
			if len(all) == 0 {
				return "", false
			}
			return all[int(op)%len(all)].ID, true
		}
		switch op % 8 {
		case 0, 1: // something is held
			h := call(fmt.Sprint(i), fmt.Sprint(op%3))
			if op%2 == 0 {
				h.Patience = time.Minute
			}
			go func() {
				if v, err := r.desk.Wait(ctx, h); err == nil && v.Action == pipeline.Allow {
					note(v.Approval, "used "+h.Use)
				}
			}()
		case 2, 3, 4: // somebody decides
			id, ok := pick()
			if !ok {
				break
			}
			what, by := yes, alice
			if op%16 == 3 {
				what = no
			}
			if op%16 == 12 {
				what, by = approval.Decision{Approve: true, Scope: pipeline.ScopeSession}, bob
			}
			go func() {
				if it, err := r.desk.Decide(ctx, id, by, what); err == nil {
					note(id, fmt.Sprintf("voted %s %t", by.User, what.Approve))
					_ = it
				}
			}()
		case 5:
			go func() {
				a := ask()
				a.Role = fmt.Sprint("r", op%3)
				if it, err := r.desk.Elevate(ctx, a); err == nil {
					note(it.ID, "asked")
				}
			}()
		case 6:
			if id, ok := pick(); ok && op%16 == 6 {
				go func() {
					if _, err := r.desk.Revoke(ctx, id, bob, ""); err == nil {
						note(id, "revoked")
					}
				}()
			} else {
				go func() { _ = r.desk.Snapshot() }()
			}
		case 7:
			time.Sleep(time.Duration(op) * time.Second)
		}
		if op%5 != 0 {
			time.Sleep(7 * time.Millisecond)
		}
	}
	time.Sleep(time.Second)
	cancel()
	r.end()
	time.Sleep(time.Second)
	close(told)
	for f := range told {
		facts = append(facts, f)
	}
	return r.log, facts
}

// killedAt starts anew from the first n records.
func killedAt(t *testing.T, log *journal, n int, facts []fact) {
	t.Helper()
	want := map[string]*pipeline.Approval{} // the last record of each
	uses, votes := map[string]map[string]bool{}, map[string]map[string]bool{}
	begun, from := map[string]int{}, 0
	for i, r := range log.records[:n] {
		a := decoded(t, r).Body.(*pipeline.Approval)
		if a.Mark != nil {
			if !a.Mark.End {
				begun[a.Mark.ID] = i
			} else {
				from = max(from, begun[a.Mark.ID])
			}
			continue
		}
		if uses[a.ID] == nil {
			uses[a.ID], votes[a.ID] = map[string]bool{}, map[string]bool{}
		}
		want[a.ID] = a
		if a.Used != nil {
			if uses[a.ID]["used "+a.Used.Use] || a.State == pipeline.ApprovalUsed && len(uses[a.ID]) > 0 {
				t.Fatalf("%s is used twice", a.ID)
			}
			uses[a.ID]["used "+a.Used.Use] = true
		}
		if a.Voted != nil {
			votes[a.ID][fmt.Sprintf("voted %s %t", a.Voted.By.User, a.Voted.Approve)] = true
		}
	}
	for _, f := range facts {
		if f.onDisk > n || f.what == "" {
			continue
		}
		a := want[f.id]
		ok := a != nil && (f.what == "asked" || f.what == "revoked" && a.State == pipeline.ApprovalRevoked || uses[f.id][f.what] || votes[f.id][f.what])
		if !ok {
			t.Fatalf("killed after %d records: %s %s was told when %d were on disk, and is not there", n, f.id, f.what, f.onDisk)
		}
	}
	for _, start := range []int{0, from} {
		d, err := approval.New(approval.Options{Log: new(journal), Key: key, Default: pipeline.ApprovalSettings{Timeout: 5 * time.Minute, Valid: 3 * time.Minute}})
		if err != nil {
			t.Fatal(err)
		}
		log.replay(t, d, start, n)
		for id, a := range want {
			it, err := d.Get(id)
			if err != nil {
				if start > 0 && a.State != pipeline.ApprovalWaiting && a.State != pipeline.ApprovalApproved {
					continue // over, and older than the snapshot
				}
				t.Fatalf("killed after %d records: %s (%s) is lost", n, id, a.State)
			}
			late := a.State == pipeline.ApprovalWaiting && it.State == pipeline.ApprovalExpired ||
				a.State == pipeline.ApprovalApproved && (it.State == pipeline.ApprovalLapsed || it.State == pipeline.ApprovalEnded)
			if it.State != a.State && !late {
				t.Fatalf("killed after %d records: %s is %s, its last record says %s", n, id, it.State, a.State)
			}
			if len(it.Uses) != len(uses[id]) || len(it.Votes) < len(votes[id]) {
				b, _ := json.Marshal(it)
				t.Fatalf("killed after %d records: %s with uses %v and votes %v came back as %s", n, id, uses[id], votes[id], b)
			}
		}
		if start == from {
			break
		}
	}
}
