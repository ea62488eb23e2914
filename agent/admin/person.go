// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// noLogin is the login uid of a process in no login session.
const noLogin = ^uint32(0)

// Person is the human, or the account, behind a request. Whoever logged in stays the same person behind sudo: the kernel keeps
// the login uid, and only outside a login session is the uid the person.
type Person struct {
	Peer
	ID       uint32 // the login uid, or the uid outside a login session
	Login    bool   // ID is a login uid
	User     string
	Groups   []string
	Operator bool // root or an admin, on the host, outside scopes
	// Inside says that the process belongs to a scope, carries a mark, or lives in a namespace of its own: it speaks for
	// itself alone.
	Inside bool
}

// person finds out who a caller is, once per request. It fails closed: somebody without a name, or whose groups cannot be
// read, is nobody.
func (s *Server) person(p *peerConn, c *caller) error {
	login, err := s.login(c.PID)
	if err != nil {
		return forbid("refused: %v", err)
	}
	if login != noLogin && !c.vouched(login) {
		if !c.inside {
			return forbid("refused: uid %d runs this in a login session of uid %d, which proves nothing: a process without a login may name any; "+
				"run it as who logged in, or by sudo as root", c.UID, login)
		}
		login = noLogin // it speaks for its workload all the same
	}
	uid := c.UID
	if login != noLogin {
		uid = login
	}
	name, groups, err := s.opts.People(uid)
	if err != nil {
		return forbid("refused: who uid %d is cannot be found out: %v", uid, err)
	}
	if name == "" {
		return forbid("refused: uid %d has no name on this host", uid)
	}
	if err := p.alive(); err != nil {
		return forbid("refused: %v", err)
	}
	c.id, c.login, c.user, c.groups = uid, login != noLogin, name, groups
	return nil
}

// vouched says whether a login uid is worth something. Once it is set only root changes it; but a process that has none (a
// service, a container) may set it to any user's, without a right. So it counts for that very user, and for root of the host.
func (c *caller) vouched(login uint32) bool {
	return !c.elsewhere && (c.UID == login || c.UID == 0)
}

// readLogin reads the login uid. A kernel without audit knows none.
func readLogin(pid uint32) (uint32, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/loginuid", pid))
	if errors.Is(err, os.ErrNotExist) {
		return noLogin, nil // or the process has ended, which is asked last
	}
	if err != nil {
		return 0, fmt.Errorf("reading the login of process %d: %w", pid, err)
	}
	n, err := parseLogin(string(raw))
	if err != nil {
		return 0, fmt.Errorf("reading the login of process %d: no number", pid)
	}
	return n, nil
}

func parseLogin(s string) (uint32, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	return uint32(n), err
}

// people asks the host's user data base for the name of a user and all groups.
func people(uid uint32) (string, []string, error) {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return "", nil, err
	}
	ids, err := u.GroupIds()
	if err != nil {
		return "", nil, fmt.Errorf("the groups of %s: %w", u.Username, err)
	}
	var groups []string
	for _, id := range ids {
		g, err := user.LookupGroupId(id)
		var unknown user.UnknownGroupIdError
		if errors.As(err, &unknown) {
			continue // a number without a name is in no rule
		}
		if err != nil {
			return "", nil, fmt.Errorf("the groups of %s: %w", u.Username, err)
		}
		groups = append(groups, g.Name)
	}
	return u.Username, groups, nil
}

// API puts a person into the shape of the API.
func (p *Person) API() adminapi.Person {
	return adminapi.Person{User: p.User, UID: p.ID, Source: "socket"}
}
