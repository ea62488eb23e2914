// SPDX-License-Identifier: Apache-2.0

package older

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

func selfPID() int { return os.Getpid() }

func TestStartTicks(t *testing.T) {
	for _, c := range []struct {
		name, stat string
		want       uint64
		fails      bool
	}{
		{name: "plain", stat: "7 (python3) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0", want: 12345},
		{name: "a name with all sorts", stat: "7 (a) S 1 (b) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 99 0 0", want: 99},
		{name: "short", stat: "7 (x) S 1", fails: true},
		{name: "empty", fails: true},
		{name: "no number", stat: "7 (x) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 x 0 0", fails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			proc := t.TempDir()
			if err := os.MkdirAll(filepath.Join(proc, "7"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(proc, "7/stat"), []byte(c.stat), 0o644); err != nil {
				t.Fatal(err)
			}
			got, err := startTicks(proc, 7)
			if got != c.want || (err != nil) != c.fails {
				t.Errorf("got %d, %v", got, err)
			}
		})
	}
	if _, err := startTicks(t.TempDir(), 7); err == nil {
		t.Error("a process that is not there has a start time")
	}
}

func TestAcknowledged(t *testing.T) {
	answer := func(errno unix.Errno) []byte {
		b := make([]byte, 36)
		binary.NativeEndian.PutUint16(b[4:], unix.NLMSG_ERROR)
		binary.NativeEndian.PutUint32(b[16:], uint32(-int32(errno)))
		return b
	}
	var unsupported *agent.Unsupported
	if err := acknowledged(answer(0)); err != nil {
		t.Error(err)
	}
	if err := acknowledged(answer(unix.ENOENT)); !errors.Is(err, errGone) {
		t.Error(err)
	}
	if err := acknowledged(answer(unix.EOPNOTSUPP)); !errors.As(err, &unsupported) {
		t.Error(err)
	}
	if err := acknowledged(answer(unix.EPERM)); !errors.Is(err, unix.EPERM) {
		t.Error(err)
	}
	if err := acknowledged(nil); err == nil {
		t.Error("no answer counts as success")
	}
}

func FuzzAcknowledged(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(make([]byte, 20))
	f.Add([]byte{36, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := acknowledged(b); err == nil && len(b) < 20 {
			t.Error("a short answer counts as success")
		}
	})
}

func TestDestroyRequest(t *testing.T) {
	for _, a := range []string{"192.0.2.1:1", "[2001:db8::1]:1"} {
		s := agent.Socket{Local: netip.MustParseAddrPort(a), Remote: netip.MustParseAddrPort(a), Cookie: 0x1122334455667788}
		b := destroyRequest(s)
		if int(binary.NativeEndian.Uint32(b)) != len(b) || binary.NativeEndian.Uint32(b[len(b)-8:]) != 0x55667788 || binary.NativeEndian.Uint32(b[len(b)-4:]) != 0x11223344 {
			t.Errorf("%s: %x", a, b)
		}
	}
}
