// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// handed is what arrives of a server's socket in another process.
func handed(t *testing.T, s *Server) *net.UnixListener {
	t.Helper()
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	return l.(*net.UnixListener)
}

func serve(t *testing.T, s *Server) (done chan error) {
	t.Helper()
	done = make(chan error, 1)
	go func() { done <- s.Serve() }()
	return done
}

// TestHandOver: while nobody accepts, clients wait; who was asked before answers; the socket stays until its last owner ends.
func TestHandOver(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	busy := &fakeDaemon{block: make(chan struct{}), entered: make(chan struct{}, 1)}
	o := Options{Socket: socket, Status: busy}
	old, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	oldDone := serve(t, old)
	asked := make(chan error, 2)
	ask := func() {
		c := adminapi.NewClient(socket)
		defer c.Close()
		_, err := c.Status(context.Background())
		asked <- err
	}
	go ask()
	<-busy.entered
	ln := handed(t, old)
	if err := old.Release(); err != nil {
		t.Fatal(err)
	}
	if err := <-oldDone; err != nil {
		t.Errorf("Serve after Release: %v", err)
	}
	go ask() // waits in the queue
	o.Later, o.Status = true, &fakeDaemon{}
	young, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := young.Take(ln); err != nil {
		t.Fatal(err)
	}
	youngDone := serve(t, young)
	if err := <-asked; err != nil { // the second one: the first is held up
		t.Error(err)
	}
	close(busy.block)
	if err := <-asked; err != nil {
		t.Errorf("a request that ran when the socket was handed over: %v", err)
	}
	if err := old.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(socket); err != nil {
		t.Errorf("the former owner removed the socket: %v", err)
	}
	if err := young.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-youngDone; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// TestHandOverToAnotherPath: the file of a socket that is not configured any more goes, once its owner has let go of it.
func TestHandOverToAnotherPath(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a.sock"), filepath.Join(dir, "b", "b.sock")
	old, err := New(Options{Socket: from})
	if err != nil {
		t.Fatal(err)
	}
	done := serve(t, old)
	ln := handed(t, old)
	young, err := New(Options{Socket: to, Later: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(to); err == nil {
		t.Error("the socket was opened before its time")
	}
	if err := old.Release(); err != nil {
		t.Fatal(err)
	}
	<-done
	if err := young.Take(ln); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(from); !os.IsNotExist(err) {
		t.Errorf("the former socket: %v", err)
	}
	if _, err := os.Lstat(to); err != nil {
		t.Error(err)
	}
	if err := young.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := old.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestShutdownBeforeTake: a start that fails before it took the socket leaves it alone.
func TestShutdownBeforeTake(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	old, err := New(Options{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	for _, take := range []bool{false, true} {
		young, err := New(Options{Socket: socket, Later: true})
		if err != nil {
			t.Fatal(err)
		}
		if take { // but did not serve
			if err := young.Take(handed(t, old)); err != nil {
				t.Fatal(err)
			}
		}
		if err := young.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(socket); err != nil {
			t.Errorf("the socket is gone: %v", err)
		}
	}
	if err := old.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}
