// SPDX-License-Identifier: Apache-2.0

package secrets

// example is a text that a rule finds the «values» of, and one that it leaves.
type example struct{ yes, no string }

// examples of the rules that are no prefixes, by name.
var examples = map[string]example{
	"pem-private-key":         {"a «pem:0» b", "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----"},
	"pgp-private-key":         {"«lines|-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\n»", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n«lines»"},
	"ssh2-private-key":        {"«lines|---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n»", "---- BEGIN SSH2 PUBLIC KEY ----\n«lines»"},
	"putty-private-key":       {"PuTTY-User-Key-File-3: x\n«lines|Private-Lines: 14\n»", "Private-Lines: 14 are read"},
	"pem-private-key-base64":  {"key: «b64:80|LS0tLS1CRUdJTiBSU0EgUFJJVkFURSB»", "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS«b64:80»"},
	"json-web-token":          {"token «jwt»,", "eyJhbGciO"},
	"json-web-token-base64":   {"x «b64:80|ZXlK»", "ZXlKxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
	"json-web-token-other":    {"x ‹«alnum:20|ey».«alnum:24|ey».«url:43»›", "eyes.eyebrows and «alnum:20|ey»"},
	"aws-access-key":          {"id «akia»;", "AKIAIOSFODNN7EXAMPLE AKIAXXXXXXXXXXXXXXXX"},
	"aws-secret-key-pair":     {"AKIAABCDEFGHIJ234567:«aws» ", "AKIAABCDEFGHIJ234567 is the identifier"},
	"azure-client-secret":     {"s = aB3«alnum:31|8Q~»", "aB38Q~xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
	"sas-signature":           {"&sig=«url:44»", "signature=see-the-page-for-details-of-the-signature"},
	"terraform-token":         {"0123.«url:67|atlasv1.»", "x.atlasv1.y"},
	"telegram-bot-token":      {"bot ‹«digits:10»:A«url:34»›", "urn:clm36115:AgencyIdentificationCode"},
	"discord-bot-token":       {"‹«alnum:20|MTA4».«alnum:6».«alnum:30»›", "Module.Class.method"},
	"mailchimp-key":           {"‹«hex:32»-us12›", "«hex:32»-eu12"},
	"mailgun-signing-key":     {"«hex:32»-«hex:8»-«hex:8»", "«uuid»"},
	"onepassword-secret-key":  {"‹A3-«up:6»-«up:11»-«up:5»-«up:5»-«up:5»›", "A3-XXXXXX-XXXXXXXXXXX-XXXXX-XXXXX-XXXXX"},
	"salesforce-session":      {"‹00D«alnum:12»!«alnum:90»›", "00D«alnum:12»"},
	"clickhouse-key":          {"‹4b1d«alnum:38»›", "«hex:64|4b1d»"},
	"vault-legacy-token":      {"‹s.«alnum:24»›", "s.ReadUint16LengthPrefixed"},
	"vault-batch-token":       {"‹s.CAES«url:90»›", "s.CAESAR"},
	"microsoft-teams-webhook": {"«uuid|https://acme.webhook.office.com/webhookb2/»", "https://acme.webhook.office.com/"},
	"truenas-key":             {"«alnum:64|8-»", "8-«hex:12»"},
	"sidekiq-credential":      {"BUNDLE_GEMS__CONTRIBSYS__COM=‹«hex:8»:«hex:8»›", "at «hex:8»:«hex:8»"},
	"facebook-app-token":      {"«digits:15»|«alnum:27»", "«digits:15» and more"},
	"twitter-access-token":    {"«alnum:40|712345678-»", "12345678-identifier-of-things"},
	"figma-legacy-token":      {"X-Figma-Token: «uuid|1394-»", "file 1394-«uuid»"},
	"jenkins-token":           {"«hex:32|11»", "«hex:40»"},
	"asana-token":             {"‹1/«digits:16»:«hex:32»›", "1/2:3"},
	"firebase-server-key":     {"«url:7|AAAA»:«url:134|APA91b»", "AAAA and APA91b"},
	"okta-token":              {"Authorization: SSWS «url:40|00»", "sum «url:40|00»"},
	"adyen-key":               {"X-API-Key: «alnum:120|AQE»", "file «alnum:120|AQE»"},
	"sentry-dsn":              {"https://«hex:32»@o1.ingest.sentry.io/7", "https://sentry.io/7"},
	"cloudinary-url":          {"cloudinary://712345678901234:«alnum:27»@demo", "cloudinary://demo"},
	"rancher-token":           {"«low:5|token-»:«low:54»", "token-abcde"},
	"thingsboard-url":         {"http://thingsboard.cloud/api/v1/«low:20»/telemetry", "http://thingsboard.cloud/api/v1/attributes"},

	"url-password":               {"postgres://app:«alnum:16»@db:5432/x https://app:«alnum:16»@h.example/x", "http://localhost:8080/@scope/x"},
	"connection-string-password": {"Server=db;User Id=app;Password=«pw»;Encrypt=true", "Password=«pw»"},
	"jdbc-oracle-password":       {"jdbc:oracle:thin:scott/«alnum:12»@db:1521", "jdbc:oracle:thin:@db:1521"},
	"pgpass-password":            {"db.internal:5432:crm:app:«alnum:16»", "at 12:5432 in a:b"},

	"authorization-bearer": {"Authorization: Bearer «alnum:40»", "Bearer authentication-is-used-here"},
	"authorization-basic":  {"Authorization: Basic «b64:32»", "Basic understanding of programming"},
	"command-password":     {"docker login -u bot -p «alnum:24» x", "docker run -p 8080:80 x"},
	"curl-user":            {"curl -u «low:6»:«alnum:16» https://h", "curl -u ${USER}:${PASS} https://h"},
	"call-credentials":     {"NetworkCredential(\"svc\", \"«alnum:16»\")", "Credentials(\"svc\", \"password\")"},
	"vault-unseal-key":     {"vault operator unseal «b64:44»", "vault operator unseal"},
	"nuget-push-key":       {"dotnet nuget push a.nupkg «low:46»", "dotnet nuget push a.nupkg a-rather-long-argument-without-numbers"},
	"app-password":         {"app password: «raw|qxzk vwpj kqhz bxjw»", "the password: some word that fits"},

	"aws-secret-key": {"aws_secret_access_key = «aws»\n", "aws_secret_access_key = os.environ[\"X\"]"},
	"assignment":     {"db_password = \"«pw»\"", "password = os.environ[\"X\"]"},
	"passphrase":     {"passphrase: \"«raw|correct horse battery staple»\"", "password: \"Enter your password here\""},
	"labelled-value": {"datadog: «hex:32». The token that the bot of the team should use is «alnum:36».", "datadog: version «hex:8». The token is valid: see rfc6750."},
	"labelled-hex":   {"Use the API key «hex:32» here", "commit «hex:40»; token of it: commit «hex:40»"},
	"labelled-uuid":  {"the snyk token for it: «uuid»", "request id «uuid»"},
}
