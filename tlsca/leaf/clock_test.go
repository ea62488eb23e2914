// SPDX-License-Identifier: Apache-2.0

package leaf

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A clock that is set, in either direction, leaves no program with a certificate that is not valid to it.
func TestClockIsSet(t *testing.T) {
	for _, tc := range []struct {
		name  string
		jump  time.Duration
		fresh bool
	}{
		{"a minute ahead", time.Minute, false},
		{"two days ahead", 2 * day, true},
		{"half an hour back", -time.Hour / 2, false},
		{"two days back", -2 * day, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var set time.Duration
				now := func() time.Time { return time.Unix(0, time.Now().Add(set).UnixNano()) }
				s := newSigner(t)
				s.now = now
				c := newCache(t, Options{Signer: s, Now: now})
				first := get(t, c, host)
				set = tc.jump
				second := get(t, c, host)
				if fresh := second != first; fresh != tc.fresh {
					t.Errorf("a fresh certificate: %v", fresh)
				}
				if at := now(); at.Before(second.Leaf.NotBefore) || !at.Before(second.Leaf.NotAfter) {
					t.Errorf("%s is not within %s and %s", at, second.Leaf.NotBefore, second.Leaf.NotAfter)
				}
				// Renewal goes by the new clock.
				time.Sleep(17 * time.Hour)
				get(t, c, host)
				time.Sleep(s.takes)
				synctest.Wait()
				if third := get(t, c, host); third == second {
					t.Error("not renewed after two thirds of its life")
				}
			})
		})
	}
}

// With a signer that fails after the clock was set, nobody gets what is not valid, and the signer is left in peace.
func TestClockIsSetAndNoSigner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set time.Duration
		now := func() time.Time { return time.Now().Add(set) }
		s := newSigner(t)
		s.now = now
		c := newCache(t, Options{Signer: s, Now: now})
		get(t, c, host)
		s.fail.Store(true)
		for _, set = range []time.Duration{2 * day, -2 * day} {
			before := s.calls.Load()
			for range 5 {
				if cert, err := c.Leaf(t.Context(), host); err == nil {
					t.Fatalf("a certificate from %s to %s at %s", cert.Leaf.NotBefore, cert.Leaf.NotAfter, now())
				}
			}
			if n := s.calls.Load() - before; n != 1 {
				t.Errorf("%d signatures were asked for", n)
			}
			time.Sleep(retry)
		}
		// A remote signer whose clock stayed behind.
		s.fail.Store(false)
		set, s.now = 0, func() time.Time { return time.Now().Add(2 * day) }
		if _, err := c.Leaf(t.Context(), "eu."+host); err == nil || !strings.Contains(err.Error(), "begins later") {
			t.Errorf("%v", err)
		}
	})
}
