// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"time"
)

// The errors of a Client that callers tell apart. A StatusError says what the daemon answered.
var (
	ErrNotRunning = errors.New("the daemon is not running")
	ErrPermission = errors.New("no permission")
)

// StatusError is an answer other than 200.
type StatusError struct {
	Status  int
	Code    string // one of the Code constants, or "" if what answered is no sallyportd
	Message string
}

func (e *StatusError) Error() string { return e.Message }

// maxReply bounds what a client reads: a listing of sessions with their contents may be large, but not endless.
const maxReply = 1 << 30

// Client talks to the daemon. It is safe for concurrent use; Close releases its connections.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient makes a client for the socket at the given path. It connects when first used.
func NewClient(socket string) *Client {
	if socket == "" {
		socket = DefaultSocket
	}
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial(ctx, socket)
		},
		Proxy:              nil, // HTTP_PROXY is not about this socket
		DisableCompression: true,
		MaxIdleConns:       1,
	}
	return &Client{socket: socket, http: &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// dial connects and checks who is there: another user's process that took the socket's place must not be believed.
func dial(ctx context.Context, socket string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	var cred *syscall.Ucred
	var serr error
	err = raw.Control(func(fd uintptr) {
		cred, serr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, serr); err == nil && !trusted(cred.Uid, os.Geteuid()) {
		err = fmt.Errorf("uid %d listens there, which is neither root nor you: name the daemon's socket with --socket", cred.Uid)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// trusted says whether a server with that uid may tell us things.
func trusted(server uint32, own int) bool { return server == 0 || int64(server) == int64(own) }

// Close releases idle connections. The client may be used again.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status asks how the daemon is doing.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return call[Status](ctx, c, http.MethodGet, "/v1/status", nil)
}

// Doctor asks the daemon to examine the host.
func (c *Client) Doctor(ctx context.Context) (Doctor, error) {
	return call[Doctor](ctx, c, http.MethodGet, "/v1/doctor", nil)
}

// Query selects sessions.
type Query struct {
	Find      string    // sessions with an exchange that this query finds (docs/search.md); "" = all
	Since     time.Time // sessions with an exchange at or after it; zero = all
	Limit     int       // newest first; 0 = the server's default
	Exchanges bool      // with their exchanges, which counts as reading them
}

// Sessions lists sessions, newest first.
func (c *Client) Sessions(ctx context.Context, q Query) ([]Session, error) {
	v := url.Values{}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	if q.Find != "" {
		v.Set("q", q.Find)
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Exchanges {
		v.Set("exchanges", "true")
	}
	path := "/v1/sessions"
	if len(v) > 0 {
		path += "?" + v.Encode()
	}
	return call[[]Session](ctx, c, http.MethodGet, path, nil)
}

// Session reads one session with its exchanges. Reading is recorded.
func (c *Client) Session(ctx context.Context, id string) (Session, error) {
	return call[Session](ctx, c, http.MethodGet, "/v1/sessions/"+url.PathEscape(id), nil)
}

// Why explains one decision, the decisive one of an exchange, or, of pid_N, whether that process is known to trust our root.
func (c *Client) Why(ctx context.Context, id string) (Decision, error) {
	return call[Decision](ctx, c, http.MethodGet, "/v1/why/"+url.PathEscape(id), nil)
}

// Trust asks which trust stores were changed.
func (c *Client) Trust(ctx context.Context) (Trust, error) {
	return call[Trust](ctx, c, http.MethodGet, "/v1/trust", nil)
}

// TrustRemove undoes the changes of trust stores.
func (c *Client) TrustRemove(ctx context.Context, r TrustRemoveRequest) (TrustRemoved, error) {
	return call[TrustRemoved](ctx, c, http.MethodPost, "/v1/trust/remove", r)
}

// TrustApply puts our roots into the trust stores that the calling process sees. It must have a mount namespace of its own.
// program is what it is going to execute, or "".
func (c *Client) TrustApply(ctx context.Context, program string) (TrustApplied, error) {
	return call[TrustApplied](ctx, c, http.MethodPost, "/v1/trust/apply", TrustApplyRequest{Program: program})
}

// Explain asks what the policy in force says about a described call.
func (c *Client) Explain(ctx context.Context, r ExplainRequest) (Explanation, error) {
	return call[Explanation](ctx, c, http.MethodPost, "/v1/policy/explain", r)
}

func call[T any](ctx context.Context, c *Client, method, path string, body any) (out T, err error) {
	var r io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return out, fmt.Errorf("encoding the request: %w", err)
		}
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://sallyport"+path, r)
	if err != nil {
		return out, fmt.Errorf("making the request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return out, c.explain(ctx, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil {
		return out, fmt.Errorf("reading the daemon's answer: %w", err)
	}
	if len(raw) > maxReply {
		return out, errors.New("the daemon's answer is over 1 GiB: ask for less (--since, --limit)")
	}
	if resp.StatusCode != http.StatusOK {
		var e Error
		if json.Unmarshal(raw, &e) != nil || e.Message == "" {
			e = Error{Message: fmt.Sprintf("%s answered %s and is no sallyportd: check --socket", c.socket, resp.Status)}
		}
		return out, &StatusError{Status: resp.StatusCode, Code: e.Code, Message: e.Message}
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return out, fmt.Errorf("decoding the daemon's answer (are sallyport and sallyportd of one version?): %w", err)
	}
	return out, nil
}

// explain turns what the kernel says about a socket into what to do about it.
func (c *Client) explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("asking the daemon: %w", ctx.Err())
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: there is no socket %s: start sallyportd, or name its socket with --socket", ErrNotRunning, c.socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nobody listens on %s: start sallyportd", ErrNotRunning, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w to open %s: run it as root or as one of admin.admins", ErrPermission, c.socket)
	case errors.Is(err, syscall.ENOTSOCK), errors.Is(err, syscall.EPROTOTYPE):
		return fmt.Errorf("%s is no stream socket: name the daemon's socket with --socket", c.socket)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // the URL is made up and would only confuse
	}
	return fmt.Errorf("asking the daemon at %s: %w", c.socket, err)
}
