// SPDX-License-Identifier: Apache-2.0

package inspector

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func TestSignals(t *testing.T) {
	for _, c := range []struct {
		name, status    string
		caught, blocked uint64
		bad             bool
	}{
		{"node", "Name:\tnode\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\nSigCgt:\t0000000108004602\n", 0x108004602, 1, false},
		{"one missing", "SigCgt:\t0\n", 0, 0, true},
		{"no number", "SigBlk:\tx\nSigCgt:\t0\n", 0, 0, true},
		{"empty", "", 0, 0, true},
	} {
		caught, blocked, err := signals(c.status)
		if (err != nil) != c.bad || err == nil && (caught != c.caught || blocked != c.blocked) {
			t.Errorf("%s: %x %x %v", c.name, caught, blocked, err)
		}
	}
}

func TestListener(t *testing.T) {
	const rest = " 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0"
	for _, c := range []struct {
		line string
		at   string
	}{
		{"   0: 0100007F:240D 00000000:0000 0A" + rest, "127.0.0.1:9229"},
		{"   0: 00000000000000000000000001000000:240D 00000000000000000000000000000000:0000 0A" + rest, "[::1]:9229"},
		{"   0: 0000000000000000FFFF00000100007F:240D 00000000000000000000000000000000:0000 0A" + rest, "127.0.0.1:9229"},
		{"   0: 0100007F:240D 0100007F:0050 01" + rest, ""}, // connected
		{"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", ""},
		{"   0: 01:240D 00000000:0000 0A" + rest, ""},
		{"   0: 0100007F 00000000:0000 0A" + rest, ""},
	} {
		at, inode, ok := listener(c.line)
		if ok != (c.at != "") || ok && (at != netip.MustParseAddrPort(c.at) || inode != 4242) {
			t.Errorf("%s: %s %d %v", c.line, at, inode, ok)
		}
	}
}

func TestTargetID(t *testing.T) {
	for list, want := range map[string]string{
		`[{"id":"0f6e0a4d-1","type":"node","title":"x"}]`: "0f6e0a4d-1",
		`[{"id":"a/../b","type":"node"}]`:                 "",
		`[{"id":"abc","type":"page"}]`:                    "",
		`[{"id":"","type":"node"}]`:                       "",
		`[]`:                                              "",
		`{"id":"abc"}`:                                    "",
		`<html>`:                                          "",
		`[{"type":"page"},{"id":"ABC-1","type":"node"},{}]`: "ABC-1",
	} {
		if got, err := targetID([]byte(list)); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", list, got, err)
		}
	}
}

func FuzzListener(f *testing.F) {
	f.Add("   0: 0100007F:240D 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0")
	f.Fuzz(func(t *testing.T, line string) {
		if at, _, ok := listener(line); ok && !at.IsValid() {
			t.Errorf("%q: %v", line, at)
		}
	})
}

func FuzzSignals(f *testing.F) {
	f.Add("SigBlk:\t0000000000000001\nSigCgt:\t0000000108004602\n")
	f.Fuzz(func(t *testing.T, status string) { _, _, _ = signals(status) })
}

func FuzzTargetID(f *testing.F) {
	f.Add([]byte(`[{"id":"0f6e0a4d-1","type":"node"}]`))
	f.Fuzz(func(t *testing.T, list []byte) {
		if id, err := targetID(list); (err == nil) != (id != "") {
			t.Errorf("%q: %v", id, err)
		}
	})
}

// TestNotes: what is noted survives, a torn file is no obstacle, and programs that have ended are taken out.
func TestNotes(t *testing.T) {
	i := New(filepath.Join(t.TempDir(), "open"))
	a, b := Process{PID: 1 << 22, Start: 1}, Process{PID: 1 << 22, Start: 2}
	for _, err := range []error{i.note(a, map[uint64]netip.AddrPort{7: {}}), i.note(b, nil), i.done(a)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if n, err := i.Recover(t.Context()); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := i.Recover(t.Context()); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
	if err := os.WriteFile(i.file, []byte(`[{"pid":1`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := i.note(b, nil); err != nil {
		t.Error(err)
	}
	if n, err := i.Recover(t.Context()); n != 1 || err != nil {
		t.Errorf("after a torn write: %d, %v", n, err)
	}
}
