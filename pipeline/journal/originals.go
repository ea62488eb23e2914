// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Originals is what the journal has of an exchange as it was before it was masked, sealed: it tells nothing by itself.
type Originals struct {
	Exchange       string
	Content        string          // ContentHere, or why what is sealed is not there any more
	Request        json.RawMessage // nil if none is kept
	RequestMissing string          // why not, though something was masked

	Key          json.RawMessage // of the reply; nil if none is kept
	Pieces       [][]byte        // of the reply, in order
	Reply        *pipeline.Kept  // as the outcome has it; nil if there is none, or no outcome
	ReplyMissing string
	Ended        bool // there is an outcome
}

// FindOriginals reads a journal folder up to the end of an exchange. A journal that does not have it is an error.
func FindOriginals(ctx context.Context, dir, exchange string) (*Originals, error) {
	r, err := OpenReader(dir, pipeline.Position{})
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	defer r.Close()
	out, found := &Originals{Exchange: exchange}, false
	for n := 0; !out.Ended; n++ {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && n%1024 == 0 {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("reading the journal (sallyport journal verify says more): %w", err)
		}
		if e.Exchange != exchange {
			continue
		}
		found = true
		if err := out.take(e); err != nil {
			return nil, err
		}
	}
	if !found {
		return nil, fmt.Errorf("the journal in %s has no exchange %q", dir, exchange)
	}
	return out, out.whole()
}

func (o *Originals) take(e *Entry) error {
	switch e.Kind {
	case pipeline.KindIntent, pipeline.KindOriginal, pipeline.KindOutcome:
	default:
		return nil
	}
	state, err := e.Content()
	if err != nil {
		return err
	}
	if state != ContentHere {
		o.Content = state
	}
	switch e.Kind {
	case pipeline.KindIntent:
		var in pipeline.Intent
		if err := e.Decode(&in); err != nil {
			return err
		}
		o.Request, o.RequestMissing = in.SealedOriginal, in.OriginalMissing
	case pipeline.KindOriginal:
		var p pipeline.Original
		if err := e.Decode(&p); err != nil {
			return err
		}
		if p.Seq != len(o.Pieces) {
			return fmt.Errorf("the journal has no piece %d of the reply of %s: an older segment is not here", len(o.Pieces), o.Exchange)
		}
		o.Pieces = append(o.Pieces, slices.Clone(p.Data))
		if len(p.Key) > 0 {
			o.Key = p.Key
		}
	case pipeline.KindOutcome:
		var out pipeline.Outcome
		if err := e.Decode(&out); err != nil {
			return err
		}
		o.Ended, o.Reply, o.ReplyMissing = true, out.Original, out.OriginalMissing
	}
	return nil
}

// whole compares with what the outcome says.
func (o *Originals) whole() error {
	if o.Reply != nil && o.Reply.Pieces != len(o.Pieces) {
		return fmt.Errorf("the journal has %d of %d pieces of the reply of %s: older segments are not here", len(o.Pieces), o.Reply.Pieces, o.Exchange)
	}
	return nil
}
