// SPDX-License-Identifier: Apache-2.0

package pipeline

import "time"

// The dispositions of connections that are older than their scope.
const (
	FlowOlder = "older" // found, and not cut by us
	FlowCut   = "cut"   // cut by us
)

// How an older connection ended.
const (
	OlderListed   = "listed"   // it goes on: the scope only lists
	OlderIdle     = "idle"     // cut while it was idle
	OlderDeadline = "deadline" // cut, idle or not
	OlderGone     = "gone"     // closed by others before we would
	OlderFailed   = "failed"   // we could not cut it
	OlderLeft     = "left"     // it goes on: the agent stopped, or no scope covers its process any more
)

// Older is about a connection that was there before it would have been redirected. How old it is nobody knows: it is not
// older than the process that made it, and was there when it was found.
type Older struct {
	Action   string    `json:"action"` // what the scope wants: "cut", "list"
	Ended    string    `json:"ended"`
	How      string    `json:"how,omitempty"` // "shutdown", "destroy"
	Source   string    `json:"source"`        // "kernel", or "proc" where the kernel does not list connections
	Local    string    `json:"local"`
	NetNS    uint32    `json:"netns,omitempty"` // inode
	FoundAt  time.Time `json:"found_at"`
	WaitedMS int64     `json:"waited_ms"`
	MaxAgeMS int64     `json:"max_age_ms,omitempty"` // of its oldest holder
	Holders  []Holder  `json:"holders"`
}

// Holder is a process that holds a connection open.
type Holder struct {
	Workload  Workload  `json:"workload"`
	Principal Principal `json:"principal"`
	Covered   bool      `json:"covered"` // by the scope, or by one that wants less
}
