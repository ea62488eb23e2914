// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestProfiles(t *testing.T) {
	for _, c := range []struct {
		name   string
		uid    uint32
		path   string
		status int
		says   string
	}{
		{"heap", 0, "heap", 200, ""},
		{"goroutines, by an admin", 1000, "goroutine", 200, ""},
		{"CPU", 0, "profile?seconds=1", 200, ""},
		{"somebody else", 1001, "heap", 403, "may not"},
		{"somebody else, CPU", 1001, "profile?seconds=1", 403, "may not"},
		{"unknown", 0, "cmdline", 404, "no such profile"},
		{"another folder", 0, "..%2Fv1%2Fstatus", 404, "no such profile"},
		{"stacks with arguments", 0, "goroutine?debug=2", 400, "debug"},
		{"too long", 0, "profile?seconds=51", 400, "from 1 to 50"},
		{"no time", 0, "profile?seconds=0", 400, "from 1 to 50"},
		{"no number", 0, "profile?seconds=ten", 400, "from 1 to 50"},
		{"heap over time", 0, "heap?seconds=1", 400, "only the profile of the CPU"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := start(t, &fakeDaemon{}, c.uid)
			client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
				return net.Dial("unix", s.opts.Socket)
			}}}
			resp, err := client.Get("http://x/debug/pprof/" + c.path)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != c.status {
				t.Fatalf("%d %s (%v), want %d", resp.StatusCode, body, err, c.status)
			}
			if c.status == 200 && (!bytes.HasPrefix(body, []byte{0x1f, 0x8b}) || resp.Header.Get("Content-Type") != "application/octet-stream") {
				t.Errorf("no profile: %s, %.20q", resp.Header.Get("Content-Type"), body)
			}
			if !strings.Contains(string(body), c.says) {
				t.Errorf("%s, want %q", body, c.says)
			}
		})
	}
}
