// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// TestTwoFeeders: while one agent takes over from another both feed one file, and each puts its place over the other's. Every exchange is in it
// once, also after both have ended and a third goes on from whatever place was left.
func TestTwoFeeders(t *testing.T) {
	r := newRig(t)
	other, err := Open(t.Context(), Options{Path: filepath.Join(r.dir, "archive.db"), Now: r.a.o.Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	done := make(chan error, 2)
	follow, stop := context.WithCancel(ctx)
	for _, a := range []*Archive{r.a, other} {
		go func() { done <- a.Follow(follow, r.j) }()
	}
	const n = 200
	for i := range n / 4 {
		list := samples()
		for k := range list {
			list[k].session = fmt.Sprint("ses_", i)
		}
		r.write(list...)
	}
	whole := func() bool {
		s, err := r.a.Stats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return s.Exchanges == n
	}
	for !whole() {
		time.Sleep(time.Millisecond)
	}
	stop()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	if err := r.a.add(ctx, nil, place{}); err != nil { // the place of one that had read nothing yet
		t.Fatal(err)
	}
	r.write(samples()[:1]...)
	r.follow(n + 1)
	q, err := Parse("-session:ses_none scope:agents", r.base)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.a.Search(ctx, q, 0, 2*n)
	if err != nil || len(p.Hits) != n+1 {
		t.Errorf("%d found, %v", len(p.Hits), err)
	}
	list, _, err := r.a.Sessions(ctx, q, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.ID != "ses_a" && s.Exchanges != 4 {
			t.Errorf("%s has %d exchanges", s.ID, s.Exchanges)
		}
	}
}
