// SPDX-License-Identifier: Apache-2.0

package adminapi

import "time"

// Policy is the policy in force.
type Policy struct {
	Version string    `json:"version"`
	Loaded  time.Time `json:"loaded_at"`
	Cause   string    `json:"cause"`           // "start", "reload" (asked for by SIGHUP) or "file" (the folder changed)
	Error   string    `json:"error,omitempty"` // what is wrong with what is in the folder now, which is therefore not in force
}
