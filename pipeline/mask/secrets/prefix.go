// SPDX-License-Identifier: Apache-2.0

package secrets

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// row is a kind of key that a literal prefix gives away.
type row struct {
	name, typ string
	prefixes  string // separated by spaces
	body      string // bytes behind the prefix, in the words of rule.Of
	min       int    // how many of them decide, if they look random: well below what vendors issue, so that a cut key is masked too
	how       how
	vendor    string // who issues it, for people
	joint     string // single bytes that the rest of the key may have between others
}

// how says what the bytes behind a prefix must look like.
type how uint8

const (
	mixed   how = iota // letters and digits, no words
	some               // not all the same; a digit must be among them
	weak               // as mixed; and the prefix is short or a word, so it must not stand in a path or a word
	letters            // not all the same
	filled             // no x and stars for the most part
	always             // anything
	rare               // as mixed; and the prefix is so rare that it may stand behind digits, capitals (%3D) and _
)

// Sets of bytes of keys.
const (
	alnums = "A-Za-z0-9"
	uppers = "A-Z0-9"
	lowers = "a-z0-9"
	hexes  = "0-9a-fA-F"
	words  = "A-Za-z0-9_"
	dashed = "A-Za-z0-9-"
	urlish = "A-Za-z0-9_-"
	dotted = "A-Za-z0-9_.-"
	base64 = "A-Za-z0-9+/=_%-"
	padded = "A-Za-z0-9+/=_-"
)

// undecided is how many bytes behind a prefix are looked at before the value is taken for none.
const undecided = 48

func prefixed() []*rule.Rule {
	var out []*rule.Rule
	for _, table := range [][]row{prefixModels, prefixCloud, prefixCode, prefixServices} {
		for _, r := range table {
			out = append(out, r.rule())
		}
	}
	return out
}

func (r row) rule() *rule.Rule {
	prefixes := strings.Fields(r.prefixes)
	said := strings.Join(prefixes, ", ")
	for _, p := range prefixes {
		if escaped := strings.ReplaceAll(p, "_", `\_`); escaped != p {
			prefixes = append(prefixes, escaped)
		}
	}
	quoted := make([]string, len(prefixes))
	for i, p := range prefixes {
		quoted[i] = regexp.QuoteMeta(p)
	}
	class, body, escaped := rule.Of(r.body), "["+r.body+"]", rule.Class{}
	if class.Has('_') { // Markdown has a backslash before it
		body, escaped = "(?:"+body+`|\\_)`, rule.Of("_")
	}
	left := rule.Alnum
	switch r.how {
	case weak:
		left = inToken
	case rare:
		left = rule.Of("a-z")
	}
	typ := r.typ
	if typ == "" {
		typ = vendorToken
	}
	return &rule.Rule{
		Name: r.name, Type: typ, Family: rule.Secret,
		Why:     fmt.Sprintf("%s: begins with %s", r.vendor, said),
		Pattern: fmt.Sprintf("(?:%s)%s{%d,%d}", strings.Join(quoted, "|"), body, r.min, max(r.min+8, undecided)),
		Left:    left,
		Check: func(_, m []byte) (int, int, bool) {
			return 0, len(m), r.how.accepts(unescaped(m[prefixOf(prefixes, m):]))
		},
		Tail: &rule.Tail{Class: class, Joint: rule.Of(r.joint), Escaped: escaped},
	}
}

// unescaped is what Markdown shows of the bytes behind a prefix.
func unescaped(b []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	return bytes.ReplaceAll(b, []byte(`\_`), []byte("_"))
}

// prefixOf is the length of the longest prefix that m begins with.
func prefixOf(prefixes []string, m []byte) int {
	n := 0
	for _, p := range prefixes {
		if len(p) > n && len(p) <= len(m) && string(m[:len(p)]) == p {
			n = len(p)
		}
	}
	return n
}

func (h how) accepts(body []byte) bool {
	if h == always {
		return true
	}
	t := measure(body)
	switch {
	case xs(body):
		return false
	case h == filled:
		return true
	case h == letters:
		return t.distinct >= 4
	case h == some:
		return t.digit >= 3 && t.distinct >= 4 && !t.wordy()
	}
	if t.uniform() || t.lower+t.upper == 0 && t.n < 30 {
		return false
	}
	if t.digit == 0 {
		return t.n >= 22 && t.upper >= t.n/4 && t.lower >= t.n/4 && !t.wordy()
	}
	return !t.wordy() || h != weak && t.digit >= 3 && (t.pairs < 10 || 100*t.common < 80*t.pairs)
}

// prefixModels: who serves and observes models.
var prefixModels = []row{
	{"anthropic-key", anthropic, "sk-ant-", urlish, 20, rare, "Anthropic", ""},
	{"openrouter-key", "", "sk-or-v1- sk-or-", hexes, 20, mixed, "OpenRouter", ""},
	{"langfuse-key", "", "sk-lf- pk-lf-", dashed, 20, mixed, "Langfuse", ""},
	{"litellm-helicone-key", "", "sk-helicone- sk-litellm-", dashed, 16, mixed, "Helicone, LiteLLM", ""},
	{"openai-key", openAI, "sk-proj- sk-svcacct- sk-admin- sk-None- sk-service-", urlish, 20, rare, "OpenAI", ""},
	{"openai-legacy-key", openAI, "sk-", alnums, 20, weak, "OpenAI (user keys), DeepSeek, Moonshot, Stability AI", ""},
	{"openai-session", openAI, "sess-", alnums, 32, weak, "OpenAI", ""},
	{"langsmith-key", "", "lsv2_pt_ lsv2_sk_ ls__", words, 20, mixed, "LangSmith", ""},
	{"groq-key", "", "gsk_", alnums, 24, mixed, "Groq", ""},
	{"xai-key", "", "xai-", alnums, 24, mixed, "xAI", ""},
	{"perplexity-key", "", "pplx-", alnums, 24, mixed, "Perplexity", ""},
	{"replicate-token", "", "r8_", alnums, 24, weak, "Replicate", ""},
	{"huggingface-token", "", "hf_ api_org_", alnums, 24, mixed, "Hugging Face", ""},
	{"nvidia-key", "", "nvapi-", urlish, 24, mixed, "NVIDIA", ""},
	{"tavily-key", "", "tvly-", dashed, 20, mixed, "Tavily", ""},
	{"firecrawl-key", "", "fc-", hexes, 30, weak, "Firecrawl", ""},
	{"jina-key", "", "jina_", alnums, 30, mixed, "Jina AI", ""},
	{"fireworks-key", "", "fw_", alnums, 20, weak, "Fireworks AI", ""},
	{"together-key", "", "tgp_v1_", urlish, 24, mixed, "Together AI", ""},
	{"cerebras-key", "", "csk-", lowers, 30, weak, "Cerebras", ""},
	{"pinecone-key", "", "pcsk_", words, 24, mixed, "Pinecone", ""},
	{"llamacloud-key", "", "llx-", alnums, 24, mixed, "LlamaCloud", ""},
	{"anyscale-key", "", "esecret_", alnums, 20, mixed, "Anyscale", ""},
	{"wandb-key", "", "wandb_v1_", words, 24, mixed, "Weights & Biases", ""},
	{"e2b-key", "", "e2b_", hexes, 24, mixed, "E2B", ""},
	{"elevenlabs-key", "", "sk_", hexes, 40, weak, "ElevenLabs", ""},
	{"voyage-key", "", "pa-", urlish, 36, weak, "Voyage AI", ""},
	{"browserbase-key", "", "bb_live_ bb_test_", urlish, 16, mixed, "Browserbase", ""},
	{"apify-token", "", "apify_api_", alnums, 20, mixed, "Apify", ""},
	{"runpod-key", "", "rpa_", alnums, 30, mixed, "RunPod", ""},
	{"mem0-key", "", "m0-", alnums, 32, weak, "Mem0", ""},
	{"composio-key", "", "comp_ ak_", urlish, 20, weak, "Composio", ""},
	{"braintrust-key", "", "bt-st- sk-bt-", alnums, 24, mixed, "Braintrust", ""},
	{"writer-ai21-key", "", "wrtr_", alnums, 20, mixed, "Writer", ""},
	{"bedrock-key", "", "ABSKQmVkcm9ja0FQSUtleS1", padded, 60, letters, "AWS Bedrock (long-lived)", ""},
	{"bedrock-short-key", "", "bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29t", padded, 1, always, "AWS Bedrock (short-lived)", ""},
}

// prefixCloud: clouds, hosting, data bases, what keeps secrets, what watches.
var prefixCloud = []row{
	{"aws-session-token", "", "FwoGZXIvYXdz FQoGZXIvYXdz IQoJb3JpZ2luX2Vj", padded, 30, mixed, "AWS STS", ""},
	{"aws-mws-token", "", "amzn.mws.", dashed, 30, mixed, "Amazon MWS", ""},
	{"aws-oauth-secret", "", "amzn1.oa2-cs.v1.", alnums, 30, mixed, "Login with Amazon", ""},
	{"google-key", gcp, "AIza", urlish, 30, mixed, "Google Cloud, Gemini, Maps, Firebase", ""},
	{"google-oauth-secret", generic, "GOCSPX-", urlish, 20, mixed, "Google OAuth client secret", ""},
	{"google-oauth-token", "", "ya29.", dotted, 30, mixed, "Google OAuth access token", ""},
	{"google-refresh-token", "", "1//0", urlish, 30, weak, "Google OAuth refresh token", ""},
	{"alibaba-key", "", "LTAI", alnums, 16, weak, "Alibaba Cloud", ""},
	{"tencent-key", "", "AKID", alnums, 30, weak, "Tencent Cloud", ""},
	{"yandex-key", "", "AQVN YCAJE YCNO YCMY", urlish, 20, mixed, "Yandex Cloud API key", ""},
	{"yandex-token", "", "t1. y0_", "A-Za-z0-9_.=-", 36, weak, "Yandex", ""},
	{"digitalocean-token", "", "dop_v1_ doo_v1_ dor_v1_", hexes, 24, mixed, "DigitalOcean", ""},
	{"scalingo-token", "", "tk-us-", urlish, 24, mixed, "Scalingo", ""},
	{"fly-token", "", "fo1_ fm1r_ fm1a_ fm2_", base64, 24, mixed, "Fly.io", ""},
	{"heroku-token", "", "HRKU-", urlish, 24, mixed, "Heroku", ""},
	{"render-key", "", "rnd_", alnums, 20, mixed, "Render", ""},
	{"vercel-token", "", "vcp_ vci_ vca_ vcr_ vcc_ vercel_blob_rw_", words, 20, mixed, "Vercel", ""},
	{"netlify-token", "", "nfp_ nfc_ nfo_ nfu_", alnums, 24, mixed, "Netlify", ""},
	{"supabase-token", "", "sbp_ sb_secret_", words, 20, mixed, "Supabase", ""},
	{"neon-key", "", "napi_", alnums, 30, mixed, "Neon", ""},
	{"planetscale-token", "", "pscale_tkn_ pscale_oauth_ pscale_pw_", "A-Za-z0-9_.=-", 24, mixed, "PlanetScale", ""},
	{"mongodb-atlas-secret", "", "mdb_sa_sk_", urlish, 20, mixed, "MongoDB Atlas", ""},
	{"elastic-token", "", "essu_", padded, 24, mixed, "Elastic Cloud", ""},
	{"databricks-token", "", "dapi dkea dosed dsapi", "0-9a-f-", 30, mixed, "Databricks", ""},
	{"dbt-token", "", "dbtc_ dbtu_ dbts_", padded, 20, mixed, "dbt Cloud", ""},
	{"prefect-key", "", "pnu_ pnb_", alnums, 24, mixed, "Prefect", ""},
	{"cloudflare-origin-ca-key", "", "v1.0-", "0-9a-f-", 40, weak, "Cloudflare origin CA", ""},
	{"cloudflare-token", "", "cfut_ cfat_ cfk_", urlish, 24, mixed, "Cloudflare", ""},
	{"vault-token", "", "hvs. hvb. hvr.", urlish, 24, mixed, "HashiCorp Vault", ""},
	{"doppler-token", "", "dp.pt. dp.ct. dp.sa. dp.scim. dp.audit. dp.said.", alnums, 20, mixed, "Doppler", ""},
	{"doppler-service-token", "", "dp.st.", dotted, 24, mixed, "Doppler", ""},
	{"infisical-token", "", "st.", dotted, 50, weak, "Infisical", ""},
	{"onepassword-service-token", generic, "ops_eyJ", padded, 30, mixed, "1Password service account", ""},
	{"age-key", generic, "AGE-SECRET-KEY-1", uppers, 30, filled, "age", ""},
	{"age-plugin-key", generic, "AGE-PLUGIN-", "A-Z0-9-", 40, mixed, "age", ""},
	{"pulumi-token", "", "pul-", hexes, 24, mixed, "Pulumi", ""},
	{"tailscale-key", "", "tskey-", urlish, 16, mixed, "Tailscale", ""},
	{"ngrok-credential", "", "cr_ ak_2", alnums, 30, weak, "ngrok", ""},
	{"openshift-token", "", "sha256~", urlish, 30, mixed, "OpenShift", ""},
	{"dynatrace-token", "", "dt0c01. dt0s01. dt0s02. dt0s16. dt0e01.", "A-Za-z0-9.", 24, mixed, "Dynatrace", ""},
	{"grafana-cloud-token", "", "glc_", base64, 20, mixed, "Grafana Cloud", ""},
	{"grafana-service-token", "", "glsa_", words, 30, mixed, "Grafana service account", ""},
	{"grafana-key", "", "eyJrIjoi", padded, 16, mixed, "Grafana API key", ""},
	{"newrelic-key", "", "NRAK- NRII- NRIQ- NRAA- NRRA- NRJS- NRSP- NRBR-", urlish, 16, mixed, "New Relic", ""},
	{"sentry-org-token", "", "sntrys_eyJ", base64, 24, mixed, "Sentry", ""},
	{"sentry-user-token", "", "sntryu_ sntrya_ sntryi_", hexes, 24, mixed, "Sentry", ""},
	{"honeycomb-key", "", "hcaik_ hcamk_ hcalk_ hcbik_ hcxik_", alnums, 24, mixed, "Honeycomb", ""},
	{"posthog-key", "", "phx_ phs_", alnums, 24, mixed, "PostHog", ""},
	{"logfire-token", "", "pylf_v1_ pylf_v2_", words, 20, mixed, "Pydantic Logfire", ""},
	{"definednetworking-key", "", "dnkey-", "A-Za-z0-9=_-", 30, mixed, "Defined Networking", ""},
	{"axiom-token", "", "xaat- xapt-", dashed, 30, mixed, "Axiom", ""},
	{"betterstack-pixie-key", "", "px-api- px-dep-", dashed, 30, mixed, "Pixie", ""},
	{"zuplo-unkey-key", "", "zpka_ unkey_", words, 20, mixed, "Zuplo, Unkey", ""},
}
