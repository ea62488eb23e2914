// SPDX-License-Identifier: Apache-2.0

package daemon

import "github.com/sallyport-dev/sallyport/pipeline"

// approvalSettings are the rules of approvals for a rule, of an elevation for "role/NAME".
func (d *daemon) approvalSettings(rule string) (pipeline.ApprovalSettings, bool) {
	return pipeline.ApprovalSettings{}, false
}

func (d *daemon) roles() []string          { return nil }
func (d *daemon) hasRole(role string) bool { return true }
func (d *daemon) wouldAllow(*pipeline.Meta, *pipeline.Call, *pipeline.Step, string) bool {
	return false
}
