// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// ErrNotFound is what a Sessions returns for an ID that it does not know.
var ErrNotFound = errors.New("not found")

// StatusSource tells how the daemon is doing.
type StatusSource interface {
	Status(context.Context) (adminapi.Status, error)
}

// Doctor examines the host.
type Doctor interface {
	Doctor(context.Context) (adminapi.Doctor, error)
}

// Sessions reads what was recorded.
type Sessions interface {
	// Sessions lists newest first; without q.Exchanges the contents stay out. q.Limit is set.
	Sessions(ctx context.Context, q adminapi.Query) ([]adminapi.Session, error)
	// Session reads one with its exchanges, or ErrNotFound.
	Session(ctx context.Context, id string) (adminapi.Session, error)
	// Decision finds a decision by its ID, the decisive one of an exchange by the exchange's, or what is known of the trust of
	// a process (pid_N), or ErrNotFound.
	Decision(ctx context.Context, id string) (adminapi.Decision, error)
}

// Trust changes trust stores.
type Trust interface {
	Trust(context.Context) (adminapi.Trust, error)
	TrustRemove(context.Context, adminapi.TrustRemoveRequest) (adminapi.TrustRemoved, error)
	// TrustApply works on the peer's process. What the peer can choose (its environment, its files, the program that it says
	// it is going to execute) is not to be trusted more than its uid.
	TrustApply(ctx context.Context, p Peer, program string) (adminapi.TrustApplied, error)
}

// Explainer evaluates the policy in force.
type Explainer interface {
	Explain(context.Context, adminapi.ExplainRequest) (adminapi.Explanation, error)
}

// Recorder writes to the journal. It returns once the record is durable.
type Recorder interface {
	Record(context.Context, pipeline.Record) error
}

// Scopes says which processes are governed.
type Scopes interface {
	// Scoped says whether a process is in a scope or carries a mark, itself or by descent. On an error the process counts
	// as scoped.
	Scoped(pid uint32) (bool, error)
}

// Options configures a Server. A part that is nil answers "not available"; nil Scopes means that no process is scoped.
type Options struct {
	Socket     string   // absolute path; its folder is made if it is missing
	Later      bool     // the socket is another process's until Take
	Admins     []uint32 // uids besides root that may do everything
	Status     StatusSource
	Doctor     Doctor
	Sessions   Sessions
	Archive    Archive
	Trust      Trust
	Policy     Explainer
	Rollout    Rollout
	Quarantine Quarantine
	Records    Records
	Desk       Desk
	Recorder   Recorder
	Scopes     Scopes
	// Words gives what people wrote as it may be recorded: without secrets. It need not be readable any more.
	Words func(string) string
	// People names the user with a uid, and the groups of that user; default: what the host says.
	People func(uid uint32) (name string, groups []string, err error)
	Log    *slog.Logger // nil = none
}

// Server is the admin API on its socket.
type Server struct {
	opts Options
	home home
	ln   *peerListener
	http *http.Server
	log  *slog.Logger
	// login reads the login uid of a process.
	login func(pid uint32) (uint32, error)

	mu       sync.Mutex // guards what follows
	released bool
	searches map[string]time.Time // for words, by who and what: when they were recorded
}

// The timeouts of one request. A listing of long sessions takes seconds; a client that does not read is cut.
const (
	readTimeout   = 10 * time.Second
	handleTimeout = 60 * time.Second
	writeTimeout  = 90 * time.Second
	idleTimeout   = 60 * time.Second
	maxHeader     = 16 << 10
	maxBody       = 1 << 20
)

// New opens the socket, unless that is for later. From then on clients can connect; they are answered once Serve runs.
func New(o Options) (*Server, error) {
	if !filepath.IsAbs(o.Socket) {
		return nil, fmt.Errorf("admin.socket %q: want an absolute path", o.Socket)
	}
	if o.People == nil {
		o.People = people
	}
	if o.Words == nil {
		o.Words = func(s string) string { return s }
	}
	s := &Server{opts: o, log: o.Log, login: readLogin}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.home, err = readHome(); err != nil {
		return nil, err
	}
	if !o.Later {
		if err := s.Take(nil); err != nil {
			return nil, err
		}
	}
	s.http = &http.Server{
		Handler:           s.handler(),
		ConnContext:       withPeer,
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(errorLog{s.log}, "", 0),
	}
	return s, nil
}

// Take opens the socket if that was for later. A listener that another process has handed over is used if it is the
// configured socket, else it is closed and its file removed. Once Serve runs the socket is ours to remove.
func (s *Server) Take(handed *net.UnixListener) (err error) {
	if handed != nil {
		if at := handed.Addr().String(); at == s.opts.Socket {
			s.ln = &peerListener{UnixListener: handed, open: map[uint32]int{}}
			return nil
		} else if err := errors.Join(handed.Close(), os.Remove(at)); err != nil {
			return fmt.Errorf("removing the former admin.socket: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(s.opts.Socket), 0o755); err != nil {
		return fmt.Errorf("making the folder of admin.socket: %w", err)
	}
	s.ln, err = listen(s.opts.Socket, 0o666)
	return err
}

// Serve answers until Shutdown or Release, then returns nil; any other end is an error.
func (s *Server) Serve() error {
	if !s.own() {
		return nil
	}
	if err := s.http.Serve(s.ln); !errors.Is(err, http.ErrServerClosed) && !s.handedOver() {
		return fmt.Errorf("serving the admin socket: %w", err)
	}
	return nil
}

// File is the listening socket, to be handed over. The caller closes it.
func (s *Server) File() (*os.File, error) { return s.ln.File() }

// Release stops accepting and leaves the socket to the process that it was handed to. Requests that run go on until
// Shutdown.
func (s *Server) Release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released = true
	s.ln.SetUnlinkOnClose(false)
	return s.ln.Close()
}

// own makes the socket ours to remove. false: it was released.
func (s *Server) own() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.released {
		s.ln.SetUnlinkOnClose(true)
	}
	return !s.released
}

func (s *Server) handedOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.released
}

// Shutdown stops accepting, removes the socket, waits for running requests until ctx ends, then cuts them. It works
// also if Serve was never called.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("waiting for admin requests: %w", err), s.http.Close())
	}
	if s.ln != nil {
		s.ln.Close() // closed already if Serve ran: then its error says only that
	}
	return err
}

// errorLog hands what net/http has to say to our log.
type errorLog struct{ log *slog.Logger }

func (e errorLog) Write(b []byte) (int, error) {
	e.log.Warn("admin server", "error", string(b))
	return len(b), nil
}

// access is what a request needs.
type access uint8

const (
	operator  access = iota // root or an admin, on the host, outside scopes
	anyone                  // any peer; what it sees is limited to its own uid
	self                    // any peer on the host with a mount namespace of its own, for its own process
	approver                // any person on the host, outside scopes; what they see and decide hangs on their groups
	requester               // any person whose process is visible from the host, for themselves
	keeper                  // an operator of whom it is known who the person is
)

// caller is a peer that was let in. Who the person is, is known of approvers, requesters and keepers alone.
type caller struct {
	Peer
	operator bool
	inside   bool // of a scope or a namespace of its own
	// elsewhere: it has a namespace of its own besides that of mounts, which sallyport run makes too: its uid is perhaps another's.
	elsewhere bool
	id        uint32
	login     bool
	user      string
	groups    []string
}

func (c *caller) person() Person {
	return Person{Peer: c.Peer, ID: c.id, Login: c.login, User: c.user, Groups: c.groups, Operator: c.operator, Inside: c.inside}
}

// refusal is an answer that is no success.
type refusal struct {
	status  int
	code    string
	message string
}

func (e *refusal) Error() string { return e.message }

func forbid(format string, a ...any) error {
	return &refusal{http.StatusForbidden, adminapi.CodeForbidden, fmt.Sprintf(format, a...)}
}

// admit decides whether a peer may do something that needs the given access. It fails closed: what cannot be found out
// about a peer counts against it.
func (s *Server) admit(p *peerConn, need access) (caller, error) {
	c := caller{Peer: Peer{PID: uint32(max(p.cred.Pid, 0)), UID: p.cred.Uid}}
	why, outside := s.operator(p, &c)
	c.operator, c.inside = why == nil, outside != nil
	switch {
	case need == anyone:
		// A peer that we cannot see (another pid namespace) still has a uid that the kernel vouches for.
		if c.PID != 0 && p.alive() != nil {
			return c, forbid("%v", errPeerGone)
		}
		return c, nil
	case need == self:
		return c, s.ownMounts(p, &c)
	case need == keeper && c.operator:
		return c, s.person(p, &c)
	case need == approver && c.inside:
		return c, outside
	case need == approver:
		return c, s.person(p, &c)
	case need == requester && c.Start == 0:
		return c, outside // not even visible
	case need == requester:
		err := s.person(p, &c)
		if err != nil && c.inside && p.alive() == nil { // containers have users whom the host does not know
			login, lerr := s.login(c.PID)
			if lerr != nil {
				return c, forbid("refused: %v", lerr)
			}
			if c.id, c.login = c.UID, login != noLogin && c.vouched(login); c.login {
				c.id = login
			}
			c.user, c.groups, err = "", nil, nil
		}
		return c, err
	default:
		return c, why
	}
}

// operator says why a peer is no operator, nil if it is one; outside is nil if it is on the host, outside scopes. Who it is
// is read first and its liveness checked last, so that all was read about one and the same process.
func (s *Server) operator(p *peerConn, c *caller) (why, outside error) {
	foreign, scoped, err := s.look(p, c)
	switch {
	case err != nil:
		return err, err
	case len(foreign) > 0:
		outside = forbid("refused from inside another %s namespace: run it on the host", foreign[0])
	case scoped:
		outside = forbid("refused from inside a process tree that a scope governs: run it from another shell")
	}
	if c.UID != 0 && !slices.Contains(s.opts.Admins, c.UID) {
		return forbid("uid %d may not do this: run it as root, or add the uid to admin.admins", c.UID), outside
	}
	return outside, outside
}

// look reads what there is to know about a peer's process.
func (s *Server) look(p *peerConn, c *caller) (foreign []string, scoped bool, err error) {
	if c.PID == 0 {
		return nil, false, forbid("refused: the caller's process is not visible from the host: run it on the host")
	}
	if c.Comm, c.Start, err = readStat(c.PID); err != nil {
		return nil, false, forbid("refused: %v", err)
	}
	if foreign, err = s.home.foreign(c.PID); err != nil {
		return nil, false, forbid("refused: %v", err)
	}
	c.elsewhere = slices.ContainsFunc(foreign, func(ns string) bool { return ns != "mnt" })
	if scoped, err = s.scoped(c.PID); err != nil {
		return nil, false, forbid("refused: %v", err)
	}
	if err := p.alive(); err != nil {
		return nil, false, forbid("refused: %v", err)
	}
	return foreign, scoped, nil
}

func (s *Server) ownMounts(p *peerConn, c *caller) error {
	if c.PID == 0 {
		return forbid("refused: the caller's process is not visible from the host: run it on the host")
	}
	var err error
	if c.Comm, c.Start, err = readStat(c.PID); err != nil {
		return forbid("refused: %v", err)
	}
	foreign, err := s.home.foreign(c.PID)
	if err != nil {
		return forbid("refused: %v", err)
	}
	if err := p.alive(); err != nil {
		return forbid("refused: %v", err)
	}
	switch own := slices.Contains(foreign, "mnt"); {
	case !own:
		return forbid("refused: the process shares the host's mounts: start it with sallyport run")
	case len(foreign) > 1:
		return forbid("refused from inside another %s namespace: run it on the host", foreign[1])
	}
	return nil
}

func (s *Server) scoped(pid uint32) (bool, error) {
	if s.opts.Scopes == nil {
		return false, nil
	}
	return s.opts.Scopes.Scoped(pid)
}
