// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/agent/admin"
	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// fakeRecords has two sessions of ada, and remembers holds and what was erased.
type fakeRecords struct {
	daemon *fakeDaemon
	holds  []adminapi.Hold
}

func (f *fakeRecords) Erase(_ context.Context, _ admin.Person, r adminapi.EraseRequest) (adminapi.Erasure, error) {
	list := []string{"ses_1", "ses_2"}
	switch {
	case r.Session != "" && !slices.Contains(list, r.Session) || r.Principal != "" && r.Principal != "ada":
		return adminapi.Erasure{}, admin.ErrNotFound
	case slices.ContainsFunc(f.holds, func(h adminapi.Hold) bool { return h.RecordSubject == r.RecordSubject }):
		return adminapi.Erasure{}, &admin.Denied{Err: errors.New("a legal hold forbids it")}
	case r.Session != "":
		list = []string{r.Session}
	}
	e := adminapi.Erasure{RecordSubject: r.RecordSubject, Sessions: len(list), List: list, Digest: "0123abcd", Keys: len(list), DryRun: r.DryRun}
	if r.DryRun {
		return e, nil
	}
	return e, f.daemon.note("erased " + strings.Join(list, " ") + " " + r.Digest + " " + r.Reason)
}

func (f *fakeRecords) Holds(context.Context) ([]adminapi.Hold, error) { return f.holds, nil }

func (f *fakeRecords) AddHold(_ context.Context, by admin.Person, r adminapi.HoldRequest) (adminapi.Hold, error) {
	h := adminapi.Hold{RecordSubject: r.RecordSubject, Reason: r.Reason, Since: second(0), User: by.User}
	f.holds = append(f.holds, h)
	return h, nil
}

func (f *fakeRecords) ReleaseHold(_ context.Context, _ admin.Person, r adminapi.HoldRequest) (adminapi.Hold, error) {
	n := len(f.holds)
	f.holds = slices.DeleteFunc(f.holds, func(h adminapi.Hold) bool { return h.RecordSubject == r.RecordSubject })
	if len(f.holds) == n {
		return adminapi.Hold{}, &admin.Refused{Err: errors.New("that is not under hold")}
	}
	return adminapi.Hold{}, nil
}
