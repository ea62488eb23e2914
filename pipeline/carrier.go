// SPDX-License-Identifier: Apache-2.0

package pipeline

// The carriers of text: where in an exchange a text stands that is masked. Mask.Carrier is one of them, and what becomes of a
// value may depend on it. Of replies:
const (
	CarrierText      = "text"      // what the model says
	CarrierReasoning = "reasoning" // what it thought, and summaries of that
	CarrierRefusal   = "refusal"   // why it does not answer
	CarrierArgs      = "args"      // what a tool is called with, in requests too
	CarrierLogprobs  = "logprobs"  // the text once more, token by token
	CarrierCitation  = "citation"  // annotations: what they quote, titles, addresses
	CarrierResult    = "result"    // what a tool gave, in requests too
	CarrierError     = "error"     // what the provider says went wrong
	CarrierMetadata  = "metadata"  // strings of members that have no meaning here, in requests too
)

// Of requests besides:
const (
	CarrierPrompt = "prompt" // what the model is told
	CarrierInput  = "input"  // what vectors are made of
	CarrierOffer  = "offer"  // what is said of a tool
)

// Carriers lists them all.
func Carriers() []string {
	return []string{CarrierText, CarrierReasoning, CarrierRefusal, CarrierArgs, CarrierLogprobs, CarrierCitation, CarrierResult, CarrierError,
		CarrierMetadata, CarrierPrompt, CarrierInput, CarrierOffer}
}
