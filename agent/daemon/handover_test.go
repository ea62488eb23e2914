// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestInheritedRefuses(t *testing.T) {
	own := strconv.Itoa(os.Getpid())
	for _, c := range []struct{ name, pid, fds, says string }{
		{"nothing", "", "", ""},
		{"somebody else's", "1", "2", ""},
		{"no number", own, "two", "LISTEN_FDS"},
		{"negative", own, "-1", "LISTEN_FDS"},
		{"very many", own, "32769", "LISTEN_FDS"},
		{"none", own, "0", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("LISTEN_PID", c.pid)
			t.Setenv("LISTEN_FDS", c.fds)
			t.Setenv("LISTEN_FDNAMES", "x")
			got, _, err := inherited()
			if len(got) != 0 || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, %v", got, err)
			}
			for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
				if _, there := os.LookupEnv(name); there {
					t.Errorf("%s is left for children", name)
				}
			}
		})
	}
}

// TestHandoverNeedsAStore: only with a manager that has room the daemon leaves its sockets behind.
func TestHandoverNeedsAStore(t *testing.T) {
	for _, c := range []struct {
		name  string
		heard bool
		room  string
		want  bool
	}{
		{"systemd with room", true, "16", true},
		{"systemd without a store", true, "", false},
		{"systemd with too small a store", true, "0", false},
		{"no manager", false, "", false},
		{"no manager, but the variable", false, "16", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := ""
			if c.heard {
				path = filepath.Join(t.TempDir(), "n")
				conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
			}
			t.Setenv("NOTIFY_SOCKET", path)
			t.Setenv("FDSTORE", c.room)
			l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			d := &daemon{listeners: []*net.TCPListener{l}, Options: Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))}}
			if d.storeListeners(); d.handover != c.want {
				t.Errorf("hand-over: %v, want %v", d.handover, c.want)
			}
		})
	}
}

func TestNotifyGoneManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	if ok, err := notify("READY=1"); ok || err == nil {
		t.Errorf("%v, %v: want an error", ok, err)
	}
}
