// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Since gives every exchange that ended at or after a time, oldest first and without the bodies of requests, to f.
func (x *Index) Since(at time.Time, f func(*Parts)) error {
	x.mu.Lock()
	var refs []Refs
	for _, e := range x.queue {
		if e.session != nil && !e.session.Last.Before(at) && e.Outcome != (pipeline.Position{}) {
			r := e.refs()
			r.Decisions = nil
			refs = append(refs, r)
		}
	}
	dir, flush, keys := x.dir, x.flush, x.keys
	x.mu.Unlock()
	if len(refs) == 0 {
		return nil
	}
	if err := flush(); err != nil {
		return err
	}
	l := newLoader(dir, keys)
	l.SkipBody = true
	defer l.Close()
	for i := range refs {
		p, err := l.Load(&refs[i])
		if err != nil {
			return err
		}
		if !p.Ended.Before(at) {
			f(p)
		}
	}
	return nil
}
