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
//
// A reply that is not 200 carries an Error.
package adminapi
