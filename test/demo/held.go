// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/test/lab"
)

// Two people whom every Debian has. The kernel knows who is logged in, also of what runs as root.
const (
	asker    = 1  // daemon
	approver = 33 // www-data
)

// held has a tool call wait for another person.
func (x *demo) held(ctx context.Context) error {
	if x.live {
		return nil // a real model decides for itself what to ask the tool
	}
	x.step("A tool call that somebody has to look at: it waits, in the middle of the stream, until another person approves")
	type end struct {
		out, errOut string
		err         error
	}
	ended := make(chan end, 1)
	go func() {
		out, errOut, err := x.programAs(ctx, asker, support, "agent.py", "--stream", `use tool search with {"query":"payroll"}`)
		ended <- end{out, errOut, err}
	}()
	id := ""
	for id == "" {
		select {
		case e := <-ended:
			return fmt.Errorf("the program did not wait: %w: %s%s", e.err, e.out, e.errOut)
		case <-time.After(200 * time.Millisecond):
		}
		raw, err := x.d.CLI(ctx, "approvals", "list", "-o", "json")
		if err != nil {
			return err
		}
		var list []struct{ ID string }
		if err := json.Unmarshal([]byte(raw), &list); err != nil {
			return fmt.Errorf("reading what waits: %w", err)
		}
		if len(list) > 0 {
			id = list[0].ID
		}
	}
	for _, args := range [][]string{{"approvals", "list"}, {"approvals", "approve", id, "--reason", "looked at it"}} {
		x.command("sallyport %s", strings.Join(args, " "))
		line := lab.LoggedIn(approver, append([]string{filepath.Join(x.bin, "sallyport")}, args...)...)
		cmd := exec.CommandContext(ctx, line[0], line[1:]...)
		cmd.Env = []string{"SALLYPORT_SOCKET=" + x.d.Socket, "NO_COLOR=1"}
		out, err := cmd.CombinedOutput()
		for l := range strings.Lines(string(out)) {
			x.output("%s", strings.TrimRight(l, "\n"))
		}
		if err != nil {
			return fmt.Errorf("sallyport %s: %w", args[0], err)
		}
	}
	e := <-ended
	for l := range strings.Lines(e.out) {
		x.output("%s", strings.TrimRight(l, "\n"))
	}
	if e.err != nil {
		return fmt.Errorf("the agent failed: %w: %s", e.err, e.errOut)
	}
	if !strings.Contains(e.out, "3 pages about payroll") {
		return errors.New("the tool did not run")
	}
	x.good("held until www-data approved exactly these arguments; who asked could not have")
	return nil
}
