// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"testing"
	"time"
)

// A flood of one kind is logged up to a point, then counted; other kinds are not lost in it, and the sum is right.
func TestNotices(t *testing.T) {
	var c notices
	now := time.Unix(1_800_000_000, 0)
	logged := 0
	for i := range 1000 {
		if c.admit("exchange", now.Add(time.Duration(i)*time.Millisecond)) {
			logged++
		}
	}
	if logged != noticesEach || !c.admit("journal", now) {
		t.Errorf("%d logged", logged)
	}
	if got := c.rest(now.Add(time.Second), false); got != nil {
		t.Errorf("before the minute is over: %v", got)
	}
	if got := c.rest(now.Add(noticesFor), false); len(got) != 1 || got["exchange"]+logged != 1000 {
		t.Errorf("%v", got)
	}
	if !c.admit("exchange", now.Add(noticesFor)) {
		t.Error("the next minute does not begin anew")
	}
	for range noticesEach {
		c.admit("exchange", now.Add(noticesFor))
	}
	if got := c.rest(now.Add(noticesFor), true); got["exchange"] != 1 {
		t.Errorf("at the end: %v", got)
	}
}
