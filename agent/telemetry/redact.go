// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"regexp"
	"slices"
	"strings"
)

// credentialWords are parts of names that stand for a credential.
var credentialWords = []string{"authorization", "apikey", "secret", "password", "passwd", "passphrase", "cookie", "credential", "privatekey", "accesskey", "bearer"}

// harmless are names that contain such a word and are none: fingerprints and counters.
var harmless = []string{"credential_fingerprint", "input_tokens", "output_tokens", "cached_tokens", "max_tokens", "token_count", "tokens"}

// credentialKey says whether an attribute of that name holds a credential. Case, and how words are joined, do not matter.
func credentialKey(key string) bool {
	k := strings.ToLower(key)
	if slices.Contains(harmless, k) {
		return false
	}
	k = strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(k)
	if strings.HasSuffix(k, "token") {
		return true
	}
	return slices.ContainsFunc(credentialWords, func(w string) bool { return strings.Contains(k, w) })
}

// looksSecret matches what looks like a credential, wherever it stands. It is for log lines, which are short and few; it
// prefers hiding too much.
var looksSecret = regexp.MustCompile(strings.Join([]string{
	`-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|$)`,
	`(?i:\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,})`,
	`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?`, // JSON web token
	`\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}`,                           // OpenAI, Anthropic, OpenRouter, LiteLLM, Langfuse
	`\b(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{10,}`,               // Stripe
	`\bwhsec_[A-Za-z0-9]{16,}`,
	`\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}`, // AWS
	`\bAIza[A-Za-z0-9_-]{20,}`,               // Google
	`\bya29\.[A-Za-z0-9_-]{10,}`,
	`\bgh[opusr]_[A-Za-z0-9]{16,}`, // GitHub
	`\bgithub_pat_[A-Za-z0-9_]{16,}`,
	`\bglpat-[A-Za-z0-9_-]{10,}`,
	`\bxox[a-z]-[A-Za-z0-9-]{8,}`, // Slack
	`\b(?:hf|gsk|r8|nvapi|pplx|xai|tvly|lsv2|pcsk|dop_v1|npm|fw|csk)[_-][A-Za-z0-9_-]{16,}`,
	`\b(?:SG|hvs|hvb)\.[A-Za-z0-9._-]{16,}`,
	`\bAGE-SECRET-KEY-1[A-Z0-9]{10,}`,
	`(?i:[?&](?:api[-_]?key|key|token|access[-_]?token|sig|signature|x-amz-signature|x-goog-signature)=)[^&\s"']+`, // in a URL
	`(?i:\b[a-z][a-z0-9+.-]*://[^/\s:@"']*:)[^/\s@"']+@`,                                                           // password in a URL
}, "|"))

func scrub(s string) string {
	if len(s) < 8 {
		return s
	}
	return looksSecret.ReplaceAllStringFunc(s, func(m string) string {
		// What names the secret stays: it is what one searches the log for.
		if i := strings.IndexByte(m, '='); i >= 0 && (m[0] == '?' || m[0] == '&') {
			return m[:i+1] + Redacted
		}
		if i := strings.Index(m, "://"); i >= 0 && strings.HasSuffix(m, "@") {
			if j := strings.IndexByte(m[i+3:], ':'); j >= 0 {
				return m[:i+3+j+1] + Redacted + "@"
			}
		}
		return Redacted
	})
}
