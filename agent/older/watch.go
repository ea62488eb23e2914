// SPDX-License-Identifier: Apache-2.0

package older

import (
	"errors"
	"fmt"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// tend looks at each watched connection and cuts those whose time has come.
func (o *Older) tend() {
	lost := false
	for cookie, w := range o.watched {
		lost = !o.look(cookie, w) || lost
	}
	if lost { // they closed it, or others hold it now
		o.scan()
	}
}

// look looks at one connection; false if none of those who held it does so any more.
func (o *Older) look(cookie uint64, w *watch) (held bool) {
	late := time.Since(w.found) >= w.policy.Deadline
	var denied error
	for _, s := range w.sockets {
		st, err := o.o.touch.look(s)
		switch {
		case errors.Is(err, errGone):
			continue
		case err != nil:
			denied = err
			if late {
				o.cut(cookie, w, s, pipeline.OlderDeadline)
				return true
			}
			continue
		case st.redirected: // nobody can make it so afterwards, but it costs nothing to be sure
			delete(o.watched, cookie)
		case st.closed:
			o.end(cookie, w, pipeline.OlderGone, "", "")
		case late:
			o.cut(cookie, w, s, pipeline.OlderDeadline)
		case st.idle(w.policy.Idle):
			o.cut(cookie, w, s, pipeline.OlderIdle)
		}
		return true
	}
	if denied != nil {
		o.once("whether older connections are idle cannot be told, so they are cut at the deadline: " + denied.Error())
		return true
	}
	return false
}

// cut ends a connection. An idle one is closed in order; at the deadline nothing that is queued may leave any more. Each way
// is tried if the other does not work.
func (o *Older) cut(cookie uint64, w *watch, s agent.Socket, when string) {
	if !o.stillWanted(w) {
		o.end(cookie, w, pipeline.OlderLeft, "", "no scope that is in force covers its process any more")
		return
	}
	ways := []way{{"shutdown", o.o.touch.shut}, {"destroy", o.o.touch.destroy}}
	if when == pipeline.OlderDeadline {
		ways[0], ways[1] = ways[1], ways[0]
	}
	var errs []error
	for _, way := range ways {
		err := way.do(s)
		switch over := o.over(s); {
		case err == nil && over:
			o.end(cookie, w, when, way.name, "")
			return
		case errors.Is(err, errGone) && over:
			o.end(cookie, w, pipeline.OlderGone, "", "")
			return
		case err == nil || errors.Is(err, errGone):
			err = fmt.Errorf("%s had no effect", way.name) // destroying finds no MPTCP socket
		}
		errs = append(errs, err)
	}
	o.end(cookie, w, pipeline.OlderFailed, "", errors.Join(errs...).Error())
}

// over says whether a connection can carry nothing any more, as far as can be told.
func (o *Older) over(s agent.Socket) bool {
	st, err := o.o.touch.look(s)
	return err != nil || st.closed
}

type way struct {
	name string
	do   func(agent.Socket) error
}

// stillWanted asks again: somebody may have broken the glass meanwhile.
func (o *Older) stillWanted(w *watch) bool {
	for _, s := range w.sockets {
		if _, p, ok := o.o.Judge(s.PID, s.Start); ok && p.Action == Cut {
			return true
		}
	}
	return false
}

func (o *Older) end(cookie uint64, w *watch, ended, how, why string) {
	delete(o.watched, cookie)
	o.known[cookie] = ended != pipeline.OlderLeft
	o.record(w.conn, w.found, ended, how, why)
}

// record writes the one record of a connection.
func (o *Older) record(c conn, found time.Time, ended, how, why string) {
	s := c.sockets[0]
	body := pipeline.Flow{Disposition: pipeline.FlowOlder, Reason: why, Scope: c.policy.Scope, Mode: c.policy.Mode, Dest: s.Remote.String()}
	if how != "" {
		body.Disposition = pipeline.FlowCut
	}
	if len(c.holders) > 0 {
		body.Workload, body.Principal = c.holders[0].Workload, c.holders[0].Principal
	}
	body.Older = &pipeline.Older{Action: string(c.policy.Action), Ended: ended, How: how, Source: c.source, Local: s.Local.String(),
		NetNS: s.NetNSInode, FoundAt: found, WaitedMS: time.Since(found).Milliseconds(), Holders: c.holders}
	if oldest := o.oldest(c.sockets); oldest > 0 {
		body.Older.MaxAgeMS = oldest.Milliseconds()
	}
	o.o.Record(pipeline.Record{Kind: pipeline.KindFlow, Time: time.Now(), Body: body})
	o.o.Log.Info("a connection older than its scope", "dest", body.Dest, "scope", body.Scope, "pid", body.Workload.PID, "ended", ended, "how", how, "reason", why)
}

// oldest is how long the oldest holder has run: the connection is not older than that, unless it was inherited.
func (o *Older) oldest(sockets []agent.Socket) (age time.Duration) {
	now, err := sinceBoot()
	if err != nil {
		return 0
	}
	for _, s := range sockets {
		age = max(age, now-time.Duration(s.Start))
	}
	return age
}
