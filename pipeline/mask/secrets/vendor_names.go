// SPDX-License-Identifier: Apache-2.0

package secrets

import "github.com/sallyport-dev/sallyport/pipeline/mask/rule"

// vendors whose keys have no form of their own: hex digits, UUIDs or letters and digits that only the name beside them gives away.
var vendors = []string{
	"abuseipdb", "adafruit", "adobe", "aerisweather", "agora", "airbrake", "airtable", "alchemy", "algolia", "alibaba", "alphavantage", "amplitude", "apigee", "appcenter", "appsflyer", "artifactory", "asana",
	"assemblyai", "atlassian", "auth0", "azure", "backblaze", "bamboohr", "beamer", "bintray", "bitbucket", "bitly", "bittrex", "blynk", "box", "branchio", "branch_io", "braze", "browserstack", "bugsnag", "buildkite", "calendly",
	"censys", "checkout", "circleci", "clarifai", "clearbit", "clickup", "cloudconvert", "cloudflare", "cloudinary", "codacy", "codeclimate", "cc_test_reporter_id", "codecov", "cohere", "coinbase", "confluence", "confluent", "contentful",
	"convertkit", "coveralls", "datadog", "ddapi", "dd_api", "ddapp", "dd_app", "deepgram", "deepl", "deepseek", "discord", "discourse", "docusign", "drift", "droneci", "drone_ci", "dropbox", "elasticsearch", "elevenlabs", "etherscan", "etsy",
	"eventbrite", "exaapi", "exa_api", "fastly", "finicity", "finnhub", "firebase", "fivetran", "flickr", "foursquare", "freshbooks", "freshdesk", "fullstory", "giphy", "gitea", "gitter", "gocardless", "gumroad", "heap",
	"helpscout", "heroku", "hetzner", "honeybadger", "hubspot", "hunterio", "hunter_io", "infura", "instagram", "intercom", "ionic", "ipinfo", "ipstack", "jenkins", "jfrog", "jira", "jotform", "keenio", "keen_io", "klaviyo", "kraken",
	"kucoin", "launchdarkly", "leaseweb", "lemlist", "lightstep", "linear", "linkedin", "linode", "lob", "logdna", "loggly", "looker", "mailchimp", "mailgun", "mailjet", "mandrill", "mapbox", "mapquest", "mattermost",
	"maxmind", "meilisearch", "meraki", "messagebird", "message_bird", "metaads", "meta_ads", "mistral", "mixpanel", "moesif", "moralis", "mux", "nasa", "netlify", "newrelic", "new-relic", "new_relic", "newsapi", "ngrok", "notion", "nuget",
	"nytimes", "okta", "onesignal", "opencage", "openweather", "opsgenie", "optimizely", "pagerduty", "papertrail", "particle", "pendo", "pinecone", "pipedrive", "pivotal", "plaid", "plivo", "polygon", "postmark",
	"privateai", "pubnub", "pushbullet", "pusher", "qase", "quay", "quandl", "rapidapi", "razorpay", "recaptcha", "reddit", "rollbar", "salesforce", "sauce", "scalr", "scraperapi", "segment", "sendbird", "sendinblue",
	"sentry", "serpapi", "serper", "shodan", "shortcut", "signalwire", "slack", "smartsheet", "snyk", "sonar", "soundcloud", "sourcegraph", "splunk", "spotify", "square", "squarespace", "statuspage", "strava", "streamio", "stream_io",
	"stytch", "sumo", "supabase", "surveymonkey", "tatum", "telegram", "telnyx", "thingsboard", "todoist", "tomtom", "travis", "trello", "tmdb", "twilio", "twitch", "twitter", "typesense", "unsplash", "upstash", "vercel",
	"virustotal", "visualcrossing", "vonage", "vultr", "wakatime", "weatherapi", "weatherbit", "webex", "webflow", "woocommerce", "workos", "wrike", "xray", "yandex", "yelp", "youtube", "zapier", "zendesk", "zenserp",
	"zerobounce", "zoho", "zoom", "zulip", "facebook", "fbapi", "fb_api", "huggingface", "hashicorp", "vault", "gitlab", "github", "bigcommerce", "bigml", "wandb", "comet", "neptune",
}

// byLetter are vendors by their first letter.
var byLetter = func() (t [26][]string) {
	for _, v := range vendors {
		t[v[0]-'a'] = append(t[v[0]-'a'], v)
	}
	return t
}()

// vendorAt is the length of the longest name of a vendor that stands at offset i of v, or 0.
func vendorAt(v []byte, i int) (n int) {
	if !letter(v[i]) {
		return 0
	}
	for _, w := range byLetter[(v[i]|32)-'a'] {
		if len(w) > n && at(v, i, w) {
			n = len(w)
		}
	}
	return n
}

// ofVendor asks whether m, a separator and a value, stands behind an identifier with the name of a vendor.
func ofVendor(left, m []byte) (from, to int, ok bool) {
	for from < len(m) && !alnum(m[from]) && m[from] != '_' && m[from] != '/' && m[from] != '-' && m[from] != '+' {
		from++
	}
	for to = from; to < len(m) && (alnum(m[to]) || tokenMarks.Has(m[to])); to++ {
	}
	for to > from && !alnum(m[to-1]) && m[to-1] != '=' && m[to-1] != '-' && m[to-1] != '_' {
		to--
	}
	if to-from < 14 {
		return 0, 0, false
	}
	v := m[from:to]
	t := measure(v)
	if v[0] == '/' || bytesHave(v[:len(v)-2], '=') && !t.hex && t.other > 3 || has(v, "://") ||
		!(t.random() || uuid(v) || t.hex && t.n >= 16 && !t.uniform() || t.digit == t.n && t.n >= 17 && !alnum(m[from-1])) || placeholder(v) {
		return 0, 0, false
	}
	comma := m[0] == ','
	e := len(left)
	quoted := false
	for n := 0; e > 0 && n < 10 && !word(left[e-1]); n++ {
		if left[e-1] == '\n' || left[e-1] == '(' || left[e-1] == '/' {
			return 0, 0, false
		}
		quoted = quoted || left[e-1] == '"' || left[e-1] == '\''
		e--
	}
	if e >= 3 && at(left, e-3, "str") || e >= 6 && at(left, e-6, "string") { // var x string = "…"
		for e > 0 && left[e-1] != ' ' {
			e--
		}
		for e > 0 && (left[e-1] == ' ' || left[e-1] == ':') {
			e--
		}
	}
	s := e
	for s > 0 && (word(left[s-1]) || left[s-1] == '.' || left[s-1] == '-') {
		s--
	}
	if comma && (!quoted || s > 1 && left[s-2] != '(' || !quotedValue(m)) || m[0] == '|' && (len(m) < 2 || m[1] != ' ') {
		return 0, 0, false
	}
	id := left[s:e]
	for i := range id {
		n := vendorAt(id, i)
		if n == 0 || i > 0 && letter(id[i-1]) && !(id[i] < 'a' && id[i-1] >= 'a') && !(i == 2 && id[0] == '-' && id[1] == 'D') {
			continue
		}
		rest := id[i+n:]
		if len(rest) > 0 && letter(rest[0]) && !(rest[0] < 'a' && (id[i+n-1] >= 'a' || id[i] < 'a')) && !(len(rest) == 1 && rest[0] == 's') && !anyAt(rest, vendorTails) {
			continue
		}
		return from, to, !negated(vendor, id[:i], rest) && !anyEndsWord(id[:i], notBefore)
	}
	return 0, 0, false
}

var tokenMarks = rule.Of("_.~+/=:|%-")

// quotedValue tells whether the value of ", value" is in quotes.
func quotedValue(m []byte) bool {
	for _, c := range m[1:] {
		if c != ' ' {
			return c == '"' || c == '\'' || c == '`'
		}
	}
	return false
}
