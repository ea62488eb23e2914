// SPDX-License-Identifier: Apache-2.0

package secrets

// vendors whose keys have no form of their own: hex digits, UUIDs or letters and digits that only the name beside them gives away.
// They are parts of a pattern.
var vendors = []string{
	"abuseipdb", "adafruit", "adobe", "aerisweather", "agora", "airbrake", "airtable", "alchemy", "algolia", "alibaba", "alphavantage", "amplitude", "apigee", "appcenter", "appsflyer", "artifactory", "asana",
	"assemblyai", "atlassian", "auth0", "azure", "backblaze", "bamboohr", "beamer", "bintray", "bitbucket", "bitly", "bittrex", "blynk", "box", "branch_?io", "braze", "browserstack", "bugsnag", "buildkite", "calendly",
	"censys", "checkout", "circleci", "clarifai", "clearbit", "clickup", "cloudconvert", "cloudflare", "cloudinary", "codacy", "codeclimate", "cc_test_reporter_id", "codecov", "cohere", "coinbase", "confluence", "confluent", "contentful",
	"convertkit", "coveralls", "datadog", "dd_?api", "dd_?app", "deepgram", "deepl", "deepseek", "discord", "discourse", "docusign", "drift", "drone_?ci", "dropbox", "elasticsearch", "elevenlabs", "etherscan", "etsy",
	"eventbrite", "exa_?api", "fastly", "finicity", "finnhub", "firebase", "fivetran", "flickr", "foursquare", "freshbooks", "freshdesk", "fullstory", "giphy", "gitea", "gitter", "gocardless", "gumroad", "heap",
	"helpscout", "heroku", "hetzner", "honeybadger", "hubspot", "hunter_?io", "infura", "instagram", "intercom", "ionic", "ipinfo", "ipstack", "jenkins", "jfrog", "jira", "jotform", "keen_?io", "klaviyo", "kraken",
	"kucoin", "launchdarkly", "leaseweb", "lemlist", "lightstep", "linear", "linkedin", "linode", "lob", "logdna", "loggly", "looker", "mailchimp", "mailgun", "mailjet", "mandrill", "mapbox", "mapquest", "mattermost",
	"maxmind", "meilisearch", "meraki", "message_?bird", "meta_?ads", "mistral", "mixpanel", "moesif", "moralis", "mux_", "nasa", "netlify", "newrelic", "new-relic", "new_relic", "newsapi", "ngrok", "notion", "nuget",
	"nytimes", "okta", "onesignal", "opencage", "openweather", "opsgenie", "optimizely", "pagerduty", "papertrail", "particle", "pendo", "pinecone", "pipedrive", "pivotal", "plaid", "plivo", "polygon", "postmark",
	"privateai", "pubnub", "pushbullet", "pusher", "qase", "quay", "quandl", "rapidapi", "razorpay", "recaptcha", "reddit", "rollbar", "salesforce", "sauce", "scalr", "scraperapi", "segment", "sendbird", "sendinblue",
	"sentry", "serpapi", "serper", "shodan", "shortcut", "signalwire", "slack", "smartsheet", "snyk", "sonar", "soundcloud", "sourcegraph", "splunk", "spotify", "square", "squarespace", "statuspage", "strava", "stream_?io",
	"stytch", "sumo", "supabase", "surveymonkey", "tatum", "telegram", "telnyx", "thingsboard", "todoist", "tomtom", "travis", "trello", "tmdb", "twilio", "twitch", "twitter", "typesense", "unsplash", "upstash", "vercel",
	"virustotal", "visualcrossing", "vonage", "vultr", "wakatime", "weatherapi", "weatherbit", "webex", "webflow", "woocommerce", "workos", "wrike", "xray", "yandex", "yelp", "youtube", "zapier", "zendesk", "zenserp",
	"zerobounce", "zoho", "zoom", "zulip", "facebook", "fb_?api", "huggingface", "hashicorp", "vault", "gitlab", "github", "bigcommerce", "bigml", "wandb", "comet", "neptune",
}
