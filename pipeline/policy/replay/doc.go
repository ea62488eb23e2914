// SPDX-License-Identifier: Apache-2.0

// Package replay asks a policy about exchanges that were recorded, and compares: with the verdicts that were recorded, or
// with those of another policy. It goes through an exchange as pipeline/flow does: the call, then what the request brought,
// until something is refused, then the tool calls of the reply. It does no I/O: who calls it reads the record.
//
// What a record cannot tell is counted, never guessed: exchanges that were not inspected, verdicts that hung on an elevation
// or on a budget, and what would follow if a refusal had not ended an exchange. A record holds masked text, so a guardrail
// may meet a mask where it met the value: each difference says whether it was found on such a text.
package replay
