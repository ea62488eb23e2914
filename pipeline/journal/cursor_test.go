// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
)

func TestFollow(t *testing.T) {
	dir := t.TempDir()
	j := open(t, options(t, dir))
	c, err := j.Follow(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const n = 400
	closed := make(chan error)
	go func() {
		for i := range n {
			j.Append(event("exc_1", i, strings.Repeat("x", 700)))
		}
		closed <- j.Close()
	}()
	events := 0
	var end pipeline.Position
	for {
		e, err := c.Next(context.Background())
		if errors.Is(err, ErrClosed) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == pipeline.KindEvent {
			events++
			if events == n/2 {
				end = e.End
			}
		}
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if events != n {
		t.Errorf("%d events, want %d", events, n)
	}
	r, err := OpenReader(dir, end)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	e, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	for e.Kind != pipeline.KindEvent { // a checkpoint may lie between
		if e, err = r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	var ev pipeline.Event
	if err := e.Decode(&ev); err != nil || ev.Seq != n/2 {
		t.Errorf("continued with event %d, want %d (%v)", ev.Seq, n/2, err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	j = open(t, options(t, dir))
	c2, err := j.Follow(Mark{{Generation: j.State().Generation, Sequence: j.State().Sequence, Position: j.State().Durable}})
	if err != nil {
		t.Fatal(err)
	}
	defer c2.Close()
	cancel()
	if _, err := c2.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled Next: %v", err)
	}
	if _, err := OpenReader(dir, pipeline.Position{Segment: 99}); err == nil {
		t.Error("a position in a segment that is not there was accepted")
	}
}
