// SPDX-License-Identifier: Apache-2.0

package succession

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A predecessor that ends in between is noticed: nobody leads by accident.
func TestPredecessorThatEnds(t *testing.T) {
	for _, at := range []string{"offer", "prepared", "ready"} {
		t.Run(at, func(t *testing.T) {
			near, file, err := pair()
			if err != nil {
				t.Fatal(err)
			}
			far, err := open(file)
			if err != nil {
				t.Fatal(err)
			}
			p := &Predecessor{line: far}
			defer p.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			steps := []func() error{
				func() error { return near.send(wordOffer + `{"pids":[1]}`) },
				func() error { return near.send(wordGo) },
				func() error { return near.send(wordLead) },
			}
			n := slices.Index([]string{"offer", "prepared", "ready"}, at)
			for _, step := range steps[:n] {
				if err := step(); err != nil {
					t.Fatal(err)
				}
			}
			if err := near.conn.Close(); err != nil {
				t.Fatal(err)
			}
			done := 0
			for _, step := range []func(context.Context) error{p.accept, p.Prepared, p.Ready} {
				if err = step(ctx); err != nil {
					break
				}
				done++
			}
			if done > n || !errors.Is(err, ErrGone) {
				t.Errorf("%d steps, %v", done, err)
			}
		})
	}
}

func TestOffersThatAreNone(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, _, o := sockets(t)
	tcp := o.Listeners[0]
	for name, c := range map[string]struct {
		word  string
		files []*os.File
	}{
		"another word":     {"go", nil},
		"no JSON":          {wordOffer + "{", nil},
		"no process":       {wordOffer + "{}", nil},
		"no socket":        {wordOffer + `{"pids":[1]}`, []*os.File{f}},
		"admin, but none":  {wordOffer + `{"pids":[1],"admin":true}`, nil},
		"the same twice":   {wordOffer + `{"pids":[1]}`, []*os.File{tcp, tcp}},
		"admin among them": {wordOffer + `{"pids":[1]}`, []*os.File{o.Admin}},
	} {
		t.Run(name, func(t *testing.T) {
			near, file, err := pair()
			if err != nil {
				t.Fatal(err)
			}
			defer near.conn.Close()
			far, err := open(file)
			if err != nil {
				t.Fatal(err)
			}
			p := &Predecessor{line: far}
			defer p.Close()
			if err := near.send(c.word, c.files...); err != nil {
				t.Fatal(err)
			}
			if err := p.accept(context.Background()); err == nil {
				t.Errorf("taken: %+v", p)
			}
		})
	}
}

func TestInheritNothing(t *testing.T) {
	if p, err := Inherit(context.Background()); p != nil || err != nil {
		t.Errorf("%v %v", p, err)
	}
	for _, v := range []string{"x", "-1", "0", "4"} {
		t.Setenv(variable, v)
		if p, err := Inherit(context.Background()); p != nil || err == nil {
			t.Errorf("%s: %v %v", v, p, err)
		}
	}
}

func TestWait(t *testing.T) {
	_, _, o := sockets(t)
	s := start(t, "hangs before prepared", o)
	fd, err := unix.PidfdOpen(s.PID(), 0)
	if err != nil {
		t.Fatal(err)
	}
	near, file, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	defer near.conn.Close()
	far, err := open(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &Predecessor{line: far, ends: []end{{s.PID(), os.NewFile(uintptr(fd), "pidfd")}}}
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := p.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) || !slices.Equal(p.Left(), []int{s.PID()}) {
		t.Errorf("%v, left %v", err, p.Left())
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(context.Background()); err != nil || len(p.Left()) != 0 {
		t.Errorf("%v, left %v", err, p.Left())
	}
}

// Handing a listener over does not disturb whoever accepts on it: its descriptor stays non-blocking.
func TestOfferLeavesListenersAlone(t *testing.T) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	near, file, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	defer near.conn.Close()
	far, err := open(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &Predecessor{line: far}
	defer p.Close()
	if err := near.send(wordOffer+`{"pids":[1]}`, f); err != nil {
		t.Fatal(err)
	}
	if err := p.accept(context.Background()); err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	if !p.Offers(at) || p.Offers(netip.MustParseAddrPort("127.0.0.1:1")) {
		t.Error("what is offered is not known")
	}
	if err := lend(f, func(fd int) error {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if flags&unix.O_NONBLOCK == 0 {
			t.Error("the listener was made blocking")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := l.SetDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("accept: %v", err)
	}
	if _, err := p.Take(at); err != nil {
		t.Error(err)
	}
	if _, err := p.Take(at); err == nil {
		t.Error("taken twice")
	}
	if u, err := p.TakeAdmin(); u != nil || err != nil {
		t.Errorf("%v %v", u, err)
	}
}

// Sockets of other network namespaces come before "go", as many messages as it takes.
func TestMore(t *testing.T) {
	for _, c := range []struct {
		name  string
		words []string
		each  int // sockets with each of the words but the last
		want  int
		err   string
	}{
		{"none", []string{wordGo}, 0, 0, ""},
		{"some", []string{wordMore, wordGo}, 3, 3, ""},
		{"many", []string{wordMore, wordMore, wordGo}, maxFiles, 2 * maxFiles, ""},
		{"another word", []string{wordMore, wordLead}, 1, 0, `said "lead"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, o := sockets(t)
			null, err := os.Open(os.DevNull) // no listener: left out
			if err != nil {
				t.Fatal(err)
			}
			defer null.Close()
			near, file, err := pair()
			if err != nil {
				t.Fatal(err)
			}
			defer near.conn.Close()
			far, err := open(file)
			if err != nil {
				t.Fatal(err)
			}
			p := &Predecessor{line: far}
			defer p.Close()
			sent := make(chan error, 1)
			go func() {
				err := near.expect(context.Background(), wordPrepared)
				for i, word := range c.words {
					var files []*os.File
					if i < len(c.words)-1 {
						files = slices.Repeat(o.Listeners[:1], c.each)
						if c.each < maxFiles {
							files = append(files, null)
						}
					}
					err = errors.Join(err, near.send(word, files...))
				}
				sent <- err
			}()
			err = p.Prepared(context.Background())
			if serr := <-sent; serr != nil {
				t.Fatal(serr)
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("%v, want %q", err, c.err)
			}
			if err != nil {
				return
			}
			got := p.TakeOthers()
			for _, l := range got {
				l.Close()
			}
			if len(got) != c.want || len(p.TakeOthers()) != 0 {
				t.Errorf("%d sockets, want %d", len(got), c.want)
			}
		})
	}
}
