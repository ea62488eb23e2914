// SPDX-License-Identifier: Apache-2.0

// Package adminapi is the contract between the daemon and whoever manages it: the requests and replies of the admin API as
// plain types, and a client for its unix socket. The JSON names of Status and Exchange are stable: programs outside read
// them.
//
//	GET  /v1/status
//	GET  /v1/doctor
//	GET  /v1/sessions?since=RFC3339&limit=N&exchanges=true
//	GET  /v1/sessions/{id}
//	GET  /v1/why/{id}
//	GET  /v1/trust
//	POST /v1/trust/remove    TrustRemoveRequest
//	POST /v1/trust/apply     TrustApplyRequest; applies to the calling process itself
//	POST /v1/policy/explain  ExplainRequest
//	GET  /v1/quarantine
//	POST /v1/quarantine/add   QuarantineRequest
//	POST /v1/quarantine/lift  QuarantineLift
//	GET  /v1/approvals?state=S&since=RFC3339&limit=N
//	GET  /v1/approvals/{id}
//	POST /v1/approvals/{id}/decide   ApprovalDecision
//	POST /v1/approvals/{id}/revoke   Revocation
//	GET  /v1/elevations?state=S&since=RFC3339&limit=N
//	POST /v1/elevations              ElevationRequest
//	POST /v1/elevations/{id}/decide  ElevationDecision
//	POST /v1/elevations/{id}/revoke  Revocation
//
// A reply that is not 200 carries an Error.
package adminapi
