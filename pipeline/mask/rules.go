// SPDX-License-Identifier: Apache-2.0

package mask

// The types of what is found.
const (
	TypeOpenAI    = "OPENAI_KEY"
	TypeAnthropic = "ANTHROPIC_KEY"
	TypeAWS       = "AWS_ACCESS_KEY"
	TypeGitHub    = "GITHUB_TOKEN"
	TypeSlack     = "SLACK_TOKEN"
	TypeStripe    = "STRIPE_KEY"
	TypeGCP       = "GCP_API_KEY"
	TypeVendor    = "VENDOR_TOKEN"
	TypeCard      = "CREDIT_CARD"
	TypeEmail     = "EMAIL"
)

// rule is a key that a literal prefix gives away. The prefix starts with a letter and is followed by bytes of body.
type rule struct {
	typ, prefix string
	body        class // bytes that count towards min
	tail        class // bytes swallowed after the decision
	min         int   // body bytes that decide
	digit       bool  // one body byte must be a digit, else wait for one, at most to undecidedMax
	dots        bool  // the tail may have single dots between bytes of tail
}

// undecidedMax is the number of body bytes after which a rule that still waits for a digit masks what it has.
const undecidedMax = 64

// bound is the most bytes that a candidate of this rule can hold.
func (r *rule) bound() int {
	if r.digit {
		return len(r.prefix) + max(r.min, undecidedMax)
	}
	return len(r.prefix) + r.min
}

// shape is the form of a key after its prefix, shared by the prefixes of one vendor.
type shape struct {
	typ   string
	body  class
	tail  class // body if 0
	min   int
	digit bool
	dots  bool
}

// vendorRules lists the keys by shape. min is well below the length that vendors issue where the prefix alone is
// telling, so that cut keys are masked too; where the prefix is a common word, min and digit keep prose intact.
func vendorRules() []rule {
	var out []rule
	add := func(s shape, prefixes ...string) {
		for _, p := range prefixes {
			r := rule{typ: s.typ, prefix: p, body: s.body, tail: s.tail, min: s.min, digit: s.digit, dots: s.dots}
			if r.tail == 0 {
				r.tail = s.body
			}
			out = append(out, r)
		}
	}
	add(shape{typ: TypeOpenAI, body: cURL, min: 20, digit: true}, "sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-")
	add(shape{typ: TypeOpenAI, body: cAlnum, min: 20, digit: true}, "sk-")
	add(shape{typ: TypeAnthropic, body: cURL, min: 20, digit: true}, "sk-ant-")
	add(shape{typ: TypeAWS, body: cUpper, min: 16}, "AKIA", "ASIA", "ABIA", "ACCA")
	add(shape{typ: TypeGitHub, body: cWord, min: 20, digit: true}, "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_")
	add(shape{typ: TypeSlack, body: cDash, min: 12, digit: true},
		"xoxb-", "xoxp-", "xoxa-", "xoxo-", "xoxr-", "xoxs-", "xoxe-", "xoxc-", "xoxe.xoxb-", "xoxe.xoxp-")
	add(shape{typ: TypeSlack, body: cPath, min: 12, digit: true}, "xapp-")
	add(shape{typ: TypeSlack, body: cBase64, min: 12, digit: true}, "xoxd-")
	add(shape{typ: TypeSlack, body: cPath, min: 20, digit: true}, "https://hooks.slack.com/services/",
		"https://hooks.slack.com/workflows/", "https://hooks.slack.com/triggers/", "http://hooks.slack.com/services/",
		"http://hooks.slack.com/workflows/", "http://hooks.slack.com/triggers/", "hooks.slack.com/services/",
		"hooks.slack.com/workflows/", "hooks.slack.com/triggers/")
	add(shape{typ: TypeStripe, body: cAlnum, min: 10, digit: true},
		"sk_live_", "sk_test_", "sk_prod_", "rk_live_", "rk_test_", "rk_prod_")
	add(shape{typ: TypeStripe, body: cAlnum, min: 24, digit: true}, "whsec_")
	add(shape{typ: TypeGCP, body: cURL, min: 30, digit: true}, "AIza")

	v := TypeVendor
	add(shape{typ: v, body: cURL, min: 20, digit: true, dots: true}, "glpat-", "gldt-", "glptt-", "glrt-", "glrtr-", "glcbt-",
		"glsoat-", "glft-", "glimt-", "glagent-", "gloas-", "glffct-", "glwt-", "GR1348941")
	add(shape{typ: v, body: cURLDot, tail: cURL, min: 50, digit: true}, "SG.")
	add(shape{typ: v, body: cHex, min: 32, digit: true}, "SK", "key-", "shpat_", "shpca_", "shppa_", "shpss_", "dapi")
	add(shape{typ: v, body: cHex, min: 32, digit: true}, "dop_v1_", "doo_v1_", "dor_v1_", "pul-", "rubygems_", "xkeysib-", "fc-")
	add(shape{typ: v, body: cAlnum, min: 30}, "hf_", "api_org_", "npm_")
	add(shape{typ: v, body: cURL, min: 30, digit: true}, "pypi-Ag")
	add(shape{typ: v, body: cURL, min: 20, digit: true}, "sk-or-v1-", "sk-lf-", "pk-lf-", "GOCSPX-", "nvapi-", "tvly-",
		"lsv2_pt_", "lsv2_sk_", "dckr_pat_", "dckr_oat_", "figd_", "pcsk_", "sntryu_", "PMAK-", "CFPAT-", "NRAK-", "NRII-")
	add(shape{typ: v, body: cBase64, min: 20, digit: true}, "sntrys_", "glc_", "glsa_")
	add(shape{typ: v, body: cURLDot, tail: cURL, dots: true, min: 30, digit: true}, "ya29.", "hvs.", "hvb.", "hvr.", "ATATT3", "ATCTT3")
	add(shape{typ: v, body: cAlnum, min: 30, digit: true}, "gsk_", "xai-", "pplx-", "r8_", "lin_api_", "lin_oauth_", "ntn_",
		"dp.pt.", "dp.st.", "phx_", "sbp_", "rnd_", "AKCp", "tfp_", "secret_")
	add(shape{typ: v, body: cAlnum, min: 54, digit: true}, "EZAK", "EZTK")
	add(shape{typ: v, body: cUpper, min: 50}, "AGE-SECRET-KEY-1")
	return out
}

// class is a set of bytes, one bit of the table below.
type class uint16

const (
	cAlnum  class = 1 << iota // A-Z a-z 0-9
	cUpper                    // A-Z 0-9
	cHex                      // 0-9 a-f A-F
	cWord                     // alnum _
	cDash                     // alnum -
	cURL                      // alnum _ -
	cURLDot                   // alnum _ - .
	cPath                     // alnum / _ -
	cBase64                   // alnum + / = % _ -
	cDigit
	cLetter
	cLocal // what an address may have before its @: ASCII here, other letters by lead and continuation byte
	cStart // and what it may begin with
	cLead  // first byte of a two-byte letter: Latin, Greek, Cyrillic, ...
	cCont  // continuation byte of UTF-8
	cDomain
)

// classes says which sets a byte is in.
var classes = buildClasses()

func buildClasses() (t [256]class) {
	set := func(c class, chars string) {
		for i := range len(chars) {
			t[chars[i]] |= c
		}
	}
	const digits, lower, upper = "0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	set(cAlnum|cWord|cDash|cURL|cURLDot|cPath|cBase64|cLocal|cStart|cDomain, digits+lower+upper)
	set(cUpper, digits+upper)
	set(cHex, digits+"abcdefABCDEF")
	set(cDigit, digits)
	set(cLetter, lower+upper)
	set(cWord, "_")
	set(cDash, "-")
	set(cURL, "_-")
	set(cURLDot, "_-.")
	set(cPath, "/_-")
	set(cBase64, "+/=%_-")
	set(cLocal, "._%+-'")
	set(cStart, "_")
	for b := 0x80; b <= 0xBF; b++ {
		t[b] |= cCont
	}
	for b := 0xC3; b <= 0xDF; b++ { // C2 is punctuation and signs
		t[b] |= cLead | cLocal | cStart | cDomain
	}
	return t
}
