// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/sallyport-dev/sallyport/agent"
)

// TestChanged: what makes an upgrade of a reload.
func TestChanged(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	conf, other := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "sallyportd")
	for _, path := range []string{conf, other} {
		if err := os.WriteFile(path, []byte("x"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name    string
		command []string
		edit    string // of the configuration; "-" removes it
		want    string
	}{
		{"nothing", []string{exe}, "", ""},
		{"no way to start one", nil, "y", ""},
		{"the program", []string{other}, "", "program"},
		{"the program is gone", []string{filepath.Join(dir, "none")}, "", ""},
		{"the configuration", []string{exe}, "y", "configuration"},
		{"the configuration is gone", []string{exe}, "-", ""},
		{"only its time", []string{exe}, "x", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(conf, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			d := &daemon{Options: Options{Command: c.command, ConfigFile: conf}, configSum: fingerprint(conf)}
			switch c.edit {
			case "":
			case "-":
				if err := os.Remove(conf); err != nil {
					t.Fatal(err)
				}
			default:
				if err := os.WriteFile(conf, []byte(c.edit), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := d.changed(); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestRenumber: a connection that an earlier daemon's programs redirected has that one's number of its scope.
func TestRenumber(t *testing.T) {
	d := &daemon{generation: 7}
	for _, c := range []struct {
		name              string
		generation, scope uint32
		want              uint32
	}{
		{"ours", 7, 3, 3},
		{"ours, no scope", 7, agent.ScopeDefault, agent.ScopeDefault},
		{"an earlier one's", 6, 3, agent.ScopePending},
		{"an earlier one's, the first", 6, 0, agent.ScopePending},
		{"an earlier one's, no scope", 6, agent.ScopeDefault, agent.ScopePending},
		{"an earlier one's, pending", 6, agent.ScopePending, agent.ScopePending},
	} {
		if got := d.renumber(agent.Conn{Generation: c.generation, Scope: c.scope}).Scope; got != c.want {
			t.Errorf("%s: scope %d, want %d", c.name, got, c.want)
		}
	}
}

// TestLeadershipEnds: who lets go waits until all that it ran has ended, and nothing else does.
func TestLeadershipEnds(t *testing.T) {
	g, ctx := errgroup.WithContext(context.Background())
	l := lead(ctx, g)
	var ended atomic.Int32
	for range 3 {
		l.start(func(ctx context.Context) error {
			<-ctx.Done()
			ended.Add(1)
			return nil
		})
	}
	l.end()
	if n := ended.Load(); n != 3 {
		t.Errorf("%d of 3 have ended", n)
	}
	if ctx.Err() != nil {
		t.Error("all else ended too")
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// TestReloadIsTold: a manager hears of the beginning and the end of a reload, but not of a daemon that is not ready.
func TestReloadIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	d := &daemon{Options: Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))}}
	d.ready.set("starting")
	d.reloading()
	d.reloaded("")
	d.ready.set("")
	d.reloading()
	d.reloaded("fine")
	buf := make([]byte, 1000)
	for _, want := range []string{"RELOADING=1\nMONOTONIC_USEC=", "READY=1\nSTATUS=fine"} {
		n, err := conn.Read(buf)
		if err != nil || !strings.HasPrefix(string(buf[:n]), want) {
			t.Errorf("%q, %v, want %q", buf[:n], err, want)
		}
	}
}

// TestUpgradeNeedsReadiness: a daemon that is not ready, or does not know how it was started, begins nothing.
func TestUpgradeNeedsReadiness(t *testing.T) {
	for name, c := range map[string]struct {
		ready   string
		command []string
	}{
		"starting":        {"starting", []string{"/no/such/program"}},
		"handing over":    {"handing over", []string{"/no/such/program"}},
		"unknown command": {"", nil},
	} {
		d := &daemon{Options: Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Command: c.command}}
		d.ready.set(c.ready)
		if end := d.upgrade(t.Context(), nil); end != nil {
			t.Errorf("%s: upgraded", name)
		}
	}
}
