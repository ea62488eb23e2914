// SPDX-License-Identifier: Apache-2.0

package inspector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/websocket"
	"golang.org/x/sys/unix"
)

// The bounds of one Add.
const (
	openLimit  = 5 * time.Second  // until the port is there
	talkLimit  = 10 * time.Second // for everything that is said over it
	closeLimit = 12 * time.Second // for closing it
	patience   = 4 * time.Second  // for one try of that
	guardAfter = 15 * time.Second // after which the program closes it by itself
	pollEvery  = 10 * time.Millisecond
	maxMessage = 1 << 20
)

// Inspector remembers what it has open.
type Inspector struct {
	file string
	turn chan struct{} // one program at a time: they all want the same port
}

// New returns an Inspector that notes in a file which programs it has open.
func New(file string) *Inspector { return &Inspector{file, make(chan struct{}, 1)} }

// Add adds PEM certificates to the roots of a running Node.js program. It says how: "default" (the list of defaults was
// replaced, Node 22.19, 24.5 and newer), "patched" (each new TLS context gets them) or "already". An error that mentions
// an open port means that it could not be closed.
func (i *Inspector) Add(ctx context.Context, p Process, roots [][]byte) (how string, err error) {
	select {
	case i.turn <- struct{}{}:
		defer func() { <-i.turn }()
	case <-ctx.Done():
		return "", fmt.Errorf("waiting for other programs: %w", ctx.Err())
	}
	t, err := pin(p)
	if err != nil {
		return "", err
	}
	defer t.close()
	if err := t.ready(); err != nil {
		return "", err
	}
	before, err := t.listening()
	if err != nil {
		return "", err
	}
	if err := i.note(p, before); err != nil {
		return "", err
	}
	if err := errors.Join(t.same(), t.ready()); err != nil { // as late as can be
		return "", errors.Join(err, i.done(p))
	}
	if err := unix.PidfdSendSignal(t.pidfd, unix.SIGUSR1, nil, 0); err != nil {
		return "", errors.Join(fmt.Errorf("sending SIGUSR1: %w", err), i.done(p))
	}
	inode, at, err := t.opened(ctx, before)
	if err != nil {
		return "", err // it stays noted: it may open one later, which Recover then closes
	}
	how, err = t.inject(ctx, inode, at, roots)
	if cerr := t.shut(inode, at, err == nil); cerr != nil {
		// It stays noted: the next agent tries again.
		return how, errors.Join(err, fmt.Errorf("the inspector of process %d is still open at %s: restart the program: %w", p.PID, at, cerr))
	}
	return how, errors.Join(err, i.done(p))
}

// opened waits for a port that was not there before.
func (t *target) opened(ctx context.Context, before map[uint64]netip.AddrPort) (uint64, netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	for {
		now, err := t.listening()
		if err != nil {
			return 0, netip.AddrPort{}, err
		}
		for inode, at := range now {
			if _, old := before[inode]; !old {
				return inode, at, nil
			}
		}
		select {
		case <-ctx.Done():
			return 0, netip.AddrPort{}, errors.New("it opened no inspector: another program may have its port (9229), or it handles SIGUSR1 in its own way")
		case <-time.After(pollEvery):
		}
	}
}

// inject talks to the program.
func (t *target) inject(ctx context.Context, inode uint64, at netip.AddrPort, roots [][]byte) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, talkLimit)
	defer cancel()
	s, err := t.session(ctx, inode, at)
	if err != nil {
		return "", err
	}
	defer s.close()
	if _, err := s.evaluate(fmt.Sprintf(guardScript, guardAfter.Milliseconds())); err != nil {
		return "", err
	}
	var list []string
	for _, r := range roots {
		list = append(list, string(r))
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return "", err
	}
	how, err := s.evaluate(fmt.Sprintf(addScript, raw))
	if err != nil {
		return "", fmt.Errorf("adding our roots: %w", err)
	}
	_, err = s.evaluate(closeScript)
	return how, err
}

// shut waits until the port is gone. If it stays, the program is told again to close it. What went before does not bound
// this.
func (t *target) shut(inode uint64, at netip.AddrPort, told bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	var last error
	for {
		if !told {
			s, err := t.session(ctx, inode, at)
			if err == nil {
				_, err = s.evaluate(closeScript)
				s.close()
			}
			last = err
		}
		told = false
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(pollEvery) {
			now, err := t.listening()
			if _, open := now[inode]; err != nil || !open { // closed, or gone with the process
				return nil
			}
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), last)
		}
	}
}

// The scripts run in the program's own context. builtin works in modules of both kinds. Closing comes a moment after it was
// asked for: Node 22 and 24 crash if a session comes or goes while they close.
const (
	builtin     = `const builtin = n => process.getBuiltinModule ? process.getBuiltinModule(n) : require(n);`
	guardScript = `(() => { ` + builtin + ` setTimeout(() => { try { builtin('inspector').close() } catch {} }, %d).unref(); return 'guarded' })()`
	closeScript = `(() => { ` + builtin + ` setTimeout(() => builtin('inspector').close(), 500); return 'closing' })()`
	addScript   = `(() => { ` + builtin + `
const roots = %s, tls = builtin('tls'), mark = Symbol.for('sallyport.roots');
const have = globalThis[mark] ??= new Set(), fresh = roots.filter(r => !have.has(r));
if (!fresh.length) return 'already';
let how;
if (tls.setDefaultCACertificates) {
  tls.setDefaultCACertificates([...tls.getCACertificates('default'), ...fresh]);
  how = 'default';
} else {
  const make = tls.createSecureContext;
  tls.createSecureContext = function (options, ...rest) {
    const c = make.call(this, options, ...rest);
    if (!options || !options.ca) for (const r of fresh) c.context.addCACert(r);
    return c;
  };
  how = 'patched';
}
for (const r of fresh) have.add(r);
return how })()`
)

// session is one connection to an inspector.
type session struct {
	ws *websocket.Conn
	id int
}

// session connects to the inspector that the process listens with.
func (t *target) session(ctx context.Context, inode uint64, at netip.AddrPort) (*session, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return t.dial(ctx, inode, at) }
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+"/json/list", nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the inspector: %w", err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
	if err != nil {
		return nil, fmt.Errorf("asking the inspector: %w", err)
	}
	id, err := targetID(raw)
	if err != nil {
		return nil, err
	}
	c, err := t.dial(ctx, inode, at)
	if err != nil {
		return nil, err
	}
	if end, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(end)
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	ws, err := websocket.NewClient(&websocket.Config{Location: &url.URL{Scheme: "ws", Host: at.String(), Path: "/" + id},
		Origin: &url.URL{Scheme: "http", Host: at.String()}, Version: websocket.ProtocolVersionHybi13}, c)
	if err != nil {
		stop()
		c.Close()
		return nil, fmt.Errorf("opening the inspector: %w", err)
	}
	ws.MaxPayloadBytes = maxMessage
	return &session{ws: ws}, nil
}

// targetID reads the name of what can be inspected.
func targetID(list []byte) (string, error) {
	var targets []struct{ ID, Type string }
	if err := json.Unmarshal(list, &targets); err != nil {
		return "", fmt.Errorf("the port answers, but not as an inspector does: %w", err)
	}
	for _, x := range targets {
		if x.Type == "node" && x.ID != "" && len(x.ID) <= 64 && strings.Trim(x.ID, "0123456789abcdefABCDEF-") == "" {
			return x.ID, nil
		}
	}
	return "", errors.New("the port answers, but not as an inspector of Node.js does")
}

func (s *session) close() { s.ws.Close() }

// answer is a message of the inspector.
type answer struct {
	ID     int
	Error  *struct{ Message string }
	Result struct {
		Result           struct{ Value any }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
}

// evaluate runs a script and returns the text that it returns.
func (s *session) evaluate(script string) (string, error) {
	s.id++
	call := map[string]any{"id": s.id, "method": "Runtime.evaluate",
		"params": map[string]any{"expression": script, "includeCommandLineAPI": true, "returnByValue": true, "silent": true}}
	if err := websocket.JSON.Send(s.ws, call); err != nil {
		return "", fmt.Errorf("talking to the inspector: %w", err)
	}
	for {
		var a answer
		if err := websocket.JSON.Receive(s.ws, &a); err != nil {
			return "", fmt.Errorf("talking to the inspector: %w", err)
		}
		switch {
		case a.ID != s.id:
			continue // an event
		case a.Error != nil:
			return "", fmt.Errorf("the inspector refuses: %s", a.Error.Message)
		case a.Result.ExceptionDetails != nil:
			x := a.Result.ExceptionDetails
			what, _, _ := strings.Cut(x.Text+" "+x.Exception.Description, "\n")
			return "", fmt.Errorf("the program answers: %s", what)
		}
		text, _ := a.Result.Result.Value.(string)
		return text, nil
	}
}
