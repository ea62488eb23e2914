// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime/pprof"
	"strconv"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// profiled is an answer that is no JSON: a profile in the format of go tool pprof.
type profiled []byte

// The length of a CPU profile.
const (
	defaultProfile = 10 * time.Second
	maxProfile     = 50 * time.Second // handleTimeout, less the time to write it
)

// profile answers with one of the runtime's profiles; "profile" is that of the CPU. They hold functions, lines and
// counts, no contents; stacks with arguments (debug=2) and the command line are not offered.
func (s *Server) profile(r *http.Request, _ caller) (any, error) {
	name := r.PathValue("name")
	q := r.URL.Query()
	if name != "profile" {
		p := pprof.Lookup(name)
		if p == nil {
			return nil, &refusal{http.StatusNotFound, adminapi.CodeNotFound, "no such profile: profile, heap, allocs, goroutine, threadcreate, block or mutex"}
		}
		if q.Has("seconds") {
			return nil, bad("only the profile of the CPU takes seconds")
		}
		var out bytes.Buffer
		if err := p.WriteTo(&out, 0); err != nil {
			return nil, fmt.Errorf("writing the profile: %w", err)
		}
		return profiled(out.Bytes()), nil
	}
	length := defaultProfile
	if v := q.Get("seconds"); v != "" {
		n, err := strconv.ParseUint(v, 10, 16)
		if length = time.Duration(n) * time.Second; err != nil || n == 0 || length > maxProfile {
			return nil, bad("seconds: want a number from 1 to %d", int(maxProfile.Seconds()))
		}
	}
	var out bytes.Buffer
	if err := pprof.StartCPUProfile(&out); err != nil {
		return nil, &refusal{http.StatusConflict, adminapi.CodeUnavailable, "a profile is being taken already"}
	}
	select {
	case <-time.After(length):
	case <-r.Context().Done():
	}
	pprof.StopCPUProfile() // once: the next one belongs to somebody else
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return profiled(out.Bytes()), nil
}
