// SPDX-License-Identifier: Apache-2.0

package adminapi

import "time"

// TrustProcess is a process that wanted to connect to an endpoint, and whether it is known to trust our root.
type TrustProcess struct {
	PID    uint32    `json:"pid"`
	Comm   string    `json:"comm"`
	UID    uint32    `json:"uid"`
	Kind   string    `json:"kind,omitempty"` // "python", "node", "java", "go", or what it is called
	Host   string    `json:"host"`           // the endpoint that it wanted last
	Proven bool      `json:"proven"`
	State  string    `json:"state"` // proven: "handshake", "opened"; else "unread", "missing", "refused"
	Why    string    `json:"why,omitempty"`
	Mend   string    `json:"mend,omitempty"` // what makes it trust us
	Conns  uint64    `json:"connections"`
	Last   time.Time `json:"last,omitzero"`
}
