// SPDX-License-Identifier: Apache-2.0

// Package workload finds out who is calling: from a process that the kernel named, by its cgroup, to the systemd unit,
// container or pod that it belongs to, and to a SPIFFE ID. One file per source.
//
// What a process can choose for itself (its name, its arguments) is shown to people but is never part of an identity.
package workload

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// ErrGone says that the process ended, or that its pid belongs to another one by now.
var ErrGone = errors.New("the process ended")

// Options say how identities are made.
type Options struct {
	TrustDomain string // of SPIFFE IDs
	Template    string // path with {unit}, {container}, {pod}, {cgroup}, {uid}, {exe}; "" = no SPIFFE IDs
	ProcRoot    string // "/proc"

	// Person names the user with a uid and the groups that the user is in; default: what the host says.
	Person func(uid uint32) (user string, groups []string, err error)
}

// Identifier implements proxy.Identifier. It is safe for concurrent use.
type Identifier struct {
	proc     proc
	template *template
	person   func(uint32) (string, []string, error)

	mu      sync.Mutex
	cache   map[key]entry
	persons map[uint32]person
}

type person struct {
	user   string
	groups []string
	until  time.Time
}

type key struct {
	pid   uint32
	start uint64
	uid   uint32
	cg    uint64
}

type entry struct {
	w     pipeline.Workload
	p     pipeline.Principal
	until time.Time
}

// remembered is how long an answer is used again. Moving to another cgroup or changing the uid shows in the kernel's
// record and so misses the cache; only the executable could be newer than what is remembered.
const (
	remembered    = time.Second
	personsPeriod = time.Minute // how long a user's name and groups are used again, also if there are none
	maxRemember   = 4096
)

// New checks the template.
func New(o Options) (*Identifier, error) {
	t, err := parseTemplate(o.TrustDomain, o.Template)
	if err != nil {
		return nil, err
	}
	if o.ProcRoot == "" {
		o.ProcRoot = "/proc"
	}
	if o.Person == nil {
		o.Person = lookup
	}
	return &Identifier{proc: proc{o.ProcRoot}, template: t, person: o.Person, cache: map[key]entry{}, persons: map[uint32]person{}}, nil
}

// Identify reads what the process is. Its start time is compared before and after, so that a reused pid is ErrGone and
// never a wrong identity. The uid is that of the connect call, which the kernel recorded.
func (i *Identifier) Identify(_ context.Context, p agent.Process) (pipeline.Workload, pipeline.Principal, error) {
	k := key{p.TGID, p.Start, p.UID, p.CgroupID}
	now := time.Now()
	i.mu.Lock()
	e, ok := i.cache[k]
	i.mu.Unlock()
	if ok && now.Before(e.until) {
		return e.w, e.p, nil
	}
	w, sure, err := i.read(p.TGID, p.Start)
	if err != nil {
		return pipeline.Workload{}, pipeline.Principal{}, err
	}
	w.Start, w.UID, w.LoginUID = p.Start, p.UID, p.LoginUID
	principal := i.principal(known{&w, sure}, now)
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.cache) >= maxRemember {
		clear(i.cache)
	}
	i.cache[k] = entry{w, principal, now.Add(remembered)}
	return w, principal, nil
}

// Look reads what a process is now, by its pid alone: for questions, not for decisions on a connection.
func (i *Identifier) Look(pid uint32) (pipeline.Workload, error) {
	st, err := i.proc.stat(pid)
	if err != nil {
		return pipeline.Workload{}, err
	}
	w, _, err := i.read(pid, st.startTicks*nsPerTick)
	if err != nil {
		return w, err
	}
	if w.UID, w.LoginUID, err = i.proc.users(pid); err != nil {
		return w, err
	}
	return w, nil
}

func (i *Identifier) read(pid uint32, start uint64) (w pipeline.Workload, sureExe bool, err error) {
	w = pipeline.Workload{PID: pid, Start: start}
	check := func() error {
		st, err := i.proc.stat(pid)
		if err != nil {
			return err
		}
		if st.startTicks != start/nsPerTick {
			return fmt.Errorf("process %d: %w", pid, ErrGone)
		}
		w.Comm = st.comm
		return nil
	}
	if err := check(); err != nil {
		return w, false, err
	}
	if w.Cgroup, err = i.proc.cgroup(pid); err != nil {
		return w, false, err
	}
	w.Exe, sureExe = i.proc.exe(pid)
	w.Unit = Unit(w.Cgroup)
	w.Container = Container(w.Cgroup)
	w.Pod = Pod(w.Cgroup)
	return w, sureExe, check()
}

func (i *Identifier) principal(w known, now time.Time) pipeline.Principal {
	var p pipeline.Principal
	if id := i.template.render(w); id != "" {
		p.SPIFFEID, p.Source = id, "template"
	}
	if signedIn(w.Workload) {
		p.User, p.Groups = i.named(w.LoginUID, now)
	}
	return p
}

// signedIn tells whether a login uid is worth something. Once it is set only root changes it; but a process that has none (of a
// service, of a container) may set it to any user's, without a right, and so would be whoever the policy trusts. It counts for
// that very user, for root of the host (sudo), and for what runs in that user's slice, where only root puts others (sudo -u).
func signedIn(w *pipeline.Workload) bool {
	switch {
	case w.LoginUID == agent.NoLogin:
		return false
	case strings.HasPrefix(w.Cgroup, fmt.Sprintf("/user.slice/user-%d.slice/", w.LoginUID)):
		return true
	case w.Container != "" || w.Pod != "": // its uids are whatever its image says
		return false
	}
	return w.UID == w.LoginUID || w.UID == 0
}

// named looks a user up, seldom: the host may ask a server for it. The groups are not to be changed.
func (i *Identifier) named(uid uint32, now time.Time) (string, []string) {
	i.mu.Lock()
	known, ok := i.persons[uid]
	i.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.user, known.groups
	}
	name, groups, err := i.person(uid)
	if err != nil {
		name, groups = "", nil // unknown: matches no binding
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.persons) >= maxRemember {
		clear(i.persons)
	}
	i.persons[uid] = person{name, groups, now.Add(personsPeriod)}
	return name, groups
}

// lookup asks the host's user data base.
func lookup(uid uint32) (string, []string, error) {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return "", nil, err
	}
	ids, err := u.GroupIds()
	if err != nil {
		return u.Username, nil, nil // the name alone is known
	}
	var groups []string
	for _, id := range ids {
		if g, err := user.LookupGroupId(id); err == nil {
			groups = append(groups, g.Name)
		}
	}
	return u.Username, groups, nil
}
