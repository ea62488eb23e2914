// SPDX-License-Identifier: Apache-2.0

package secrets

import (
	"slices"

	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// The types of what is found.
const (
	openAI      = "OPENAI_KEY"
	anthropic   = "ANTHROPIC_KEY"
	awsAccess   = "AWS_ACCESS_KEY"
	awsSecret   = "AWS_SECRET_KEY"
	gitHub      = "GITHUB_TOKEN"
	slack       = "SLACK_TOKEN"
	stripe      = "STRIPE_KEY"
	gcp         = "GCP_API_KEY"
	jwt         = "JWT"
	privateKey  = "PRIVATE_KEY"
	connection  = "CONNECTION_STRING"
	generic     = "GENERIC_SECRET"
	vendorToken = "VENDOR_TOKEN"
)

// inToken are bytes that stand inside words, paths and base64. Rules share few sets of such bytes: each more makes the automaton larger.
var inToken = rule.Word.And(rule.Of("+./\\-"))

// Rules are all rules for secrets. Among rules that find the same bytes the first names them: those that know most come first.
func Rules() []*rule.Rule {
	return slices.Concat(blocks(), prefixed(), shapes(), urls(), commands(), assignments(), labels())
}
