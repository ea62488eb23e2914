// SPDX-License-Identifier: Apache-2.0

package sockets

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/bpf"
)

func record(h bpf.OlderHeldSocket) []byte {
	var b bytes.Buffer
	if err := binary.Write(&b, binary.NativeEndian, h); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func TestParse(t *testing.T) {
	v4 := bpf.OlderHeldSocket{Cookie: 1, Tgid: 7, Fd: 3, Family: unix.AF_INET, Remote: [16]uint8{192, 0, 2, 1}, RemotePort: 443, Redirected: 1}
	v6 := bpf.OlderHeldSocket{Family: unix.AF_INET6, Remote: netip.MustParseAddr("2001:db8::1").As16(), RemotePort: 80}
	mapped := bpf.OlderHeldSocket{Family: unix.AF_INET6, Remote: netip.MustParseAddr("::ffff:192.0.2.2").As16(), RemotePort: 80}
	got, err := parse(append(append(record(v4), record(v6)...), record(mapped)...))
	if err != nil || len(got) != 3 {
		t.Fatal(got, err)
	}
	if g := got[0]; g.Cookie != 1 || g.PID != 7 || g.FD != 3 || !g.Redirected || g.Remote != netip.MustParseAddrPort("192.0.2.1:443") {
		t.Errorf("%+v", g)
	}
	if g := got[1]; g.Redirected || g.Remote != netip.MustParseAddrPort("[2001:db8::1]:80") {
		t.Errorf("%+v", g)
	}
	if g := got[2]; g.Remote != netip.MustParseAddrPort("192.0.2.2:80") {
		t.Errorf("%+v", g)
	}
	if _, err := parse(record(v4)[1:]); err == nil {
		t.Error("a part of a record is taken for one")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(record(bpf.OlderHeldSocket{Family: unix.AF_INET}))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		size := binary.Size(bpf.OlderHeldSocket{})
		if got, err := parse(b); err == nil && len(got)*size != len(b) {
			t.Errorf("%d records of %d bytes", len(got), len(b))
		}
	})
}
