// SPDX-License-Identifier: Apache-2.0

package secrets

import "github.com/sallyport-dev/sallyport/pipeline/mask/rule"

// shapes are keys whose form is telling although no prefix is.
func shapes() []*rule.Rule {
	closed := func(name, typ, why, pattern string, at rule.Class, check func(left, m []byte) (int, int, bool)) *rule.Rule {
		return &rule.Rule{Name: name, Type: typ, Family: rule.Secret, Why: why, Pattern: pattern, Left: at, Right: end(at), Check: check}
	}
	edge := inToken
	return []*rule.Rule{
		closed("aws-access-key", awsAccess, "AWS: AKIA, ASIA, ABIA, ACCA and 16 of A-Z2-7", `A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}`, rule.Alnum, func(_, m []byte) (int, int, bool) {
			t := measure(m[4:])
			return 0, len(m), t.distinct >= 6 && t.run < 6 && !ends(m, "example") && !has(m, "xxxx")
		}),
		closed("aws-secret-key-pair", awsSecret, "AWS: 40 bytes of base64 behind an access key", `A(?:KIA|SIA)[A-Z0-9]{16}[^A-Za-z0-9+/]{1,12}(?:[A-Za-z_ ]{2,32}[^A-Za-z0-9+/]{1,12})?[A-Za-z0-9+/]{40}`, rule.Alnum,
			func(_, m []byte) (int, int, bool) {
				return len(m) - 40, len(m), random(m[len(m)-40:], 40)
			}),
		closed("azure-client-secret", generic, "Microsoft Entra client secret: three bytes behind a quote or =, a digit, Q~ and 31 bytes or more", "(?:[\"'=>`][A-Za-z0-9_~.-]{3})?[0-9]Q~[A-Za-z0-9_~.-]{31,34}", rule.Class{}, func(_, m []byte) (int, int, bool) {
			from := 0
			if !digit(m[0]) || m[1] != 'Q' {
				from = 1
			}
			return from, len(m), !xs(m[from+3:]) && random(m[from:], 30)
		}),
		closed("sas-signature", vendorToken, "signature of a signed URL: sig=, Signature=, X-Amz-Signature=", `(?i:sig|signature)=[A-Za-z0-9%/+_~-]{30,344}={0,2}`, rule.Alnum, afterEquals),
		closed("terraform-token", vendorToken, "HCP Terraform: .atlasv1. and what follows", `\.atlasv1\.[A-Za-z0-9_=-]{30,80}`, rule.Class{}, nonUniform),
		closed("telegram-bot-token", vendorToken, "Telegram: a number, a colon, A and 33 to 35 bytes", `[0-9]{5,16}:A[A-Za-z0-9_-]{33,35}`, edge, nonUniform),
		closed("discord-bot-token", vendorToken, "Discord: three parts, the first a number in base64", `[MNO][DTjz][AEIMQUYcgk][wxyz0-5][A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}`, edge, nonUniform),
		closed("mailchimp-key", vendorToken, "Mailchimp: 32 hex digits, -us and a number", `[0-9a-f]{32}-us[0-9]{1,2}`, edge, nonUniform),
		closed("mailgun-signing-key", vendorToken, "Mailgun: 32, 8 and 8 hex digits", `[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8}`, edge, nil),
		closed("onepassword-secret-key", generic, "1Password: A3- and groups of capitals and digits", `A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}`, edge, nonUniform),
		closed("salesforce-session", vendorToken, "Salesforce: 00D, 12 or 15 bytes, ! and the token", `00D[A-Za-z0-9]{12,15}!(?:[A-Za-z0-9_.]{80,120})`, edge, nil),
		closed("clickhouse-key", generic, "ClickHouse Cloud: 4b1d and 38 bytes", `4b1d[A-Za-z0-9]{38}`, edge, nonUniform),
		closed("vault-legacy-token", vendorToken, "Vault before 1.10: s., b. or r. and 24 bytes", `[sbr]\.[A-Za-z0-9]{24}`, edge, func(_, m []byte) (int, int, bool) {
			t := measure(m[2:])
			return 0, len(m), t.digit > 0 && t.upper > 0 && t.lower > 0 && t.digit >= 2 && t.distinct >= 11 && !t.wordy() && !xs(m)
		}),
		closed("vault-batch-token", vendorToken, "Vault before 1.10: s.CAES or b.AAAA", `[sb]\.(?:CAES|AAAA)[A-Za-z0-9_-]{60,250}`, edge, nonUniform),
		closed("microsoft-teams-webhook", vendorToken, "Microsoft Teams webhook", `https://[a-z0-9-]{1,60}\.webhook\.office\.com/webhookb2/[A-Za-z0-9@/-]{36,240}`, rule.Alnum, nil),
		closed("truenas-key", vendorToken, "TrueNAS: a number, a dash and 64 bytes", `[0-9]{1,2}-[A-Za-z0-9]{64}`, edge, nonUniform),
		closed("sidekiq-credential", generic, "Sidekiq: two groups of eight hex digits behind contribsys or in a URL", `(?i:://|contribsys__com[a-z_]{0,8}[ =:"'>\n]{1,12})[0-9a-f]{8}:[0-9a-f]{8}`, rule.Class{}, func(_, m []byte) (int, int, bool) {
			return len(m) - 17, len(m), true
		}),
		closed("facebook-app-token", vendorToken, "Meta: number of an app, a bar and 27 bytes", `[0-9]{15,16}(?:\||%7[Cc])[A-Za-z0-9_-]{27,40}`, edge, nonUniform),
		closed("twitter-access-token", vendorToken, "X (Twitter): number of a user, a dash and 20 to 40 bytes", `[0-9]{8,20}-[A-Za-z0-9]{20,40}`, edge, func(_, m []byte) (int, int, bool) {
			for i, c := range m {
				if c == '-' {
					t := measure(m[i+1:])
					return 0, len(m), t.digit > 0 && t.upper > 1 && t.lower > 1 && t.random()
				}
			}
			return 0, 0, false
		}),
		closed("figma-legacy-token", vendorToken, "Figma: a number and a UUID", `[0-9]{3,8}-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`, edge, func(left, m []byte) (int, int, bool) {
			return 0, len(m), has(left, "figma") || has(left, "token") || has(left, "key")
		}),
		closed("jenkins-token", vendorToken, "Jenkins: 11 and 32 hex digits", `11[0-9a-f]{32}`, edge, nonUniform),
		closed("asana-token", vendorToken, "Asana: 0/, 1/ or 2/, a number and 32 bytes", `[012]/[0-9]{10,20}(?:/[0-9]{10,20})?:[0-9a-f]{32}`, edge, nil),
		closed("firebase-server-key", vendorToken, "Firebase messaging: AAAA, 7 bytes, a colon and APA91b", `AAAA[A-Za-z0-9_-]{7}:APA91b[A-Za-z0-9_-]{100,160}`, edge, nil),
		closed("thingsboard-url", vendorToken, "ThingsBoard: the access token in the URL of a device", `thingsboard\.[a-z]{2,10}(?::[0-9]{2,5})?/api/v1/[A-Za-z0-9]{20}`, rule.Class{}, func(_, m []byte) (int, int, bool) {
			return len(m) - 20, len(m), measure(m[len(m)-20:]).digit > 0
		}),
		closed("adyen-key", vendorToken, "Adyen: AQE and base64 behind key or adyen", `AQE[A-Za-z0-9+/=-]{90,200}(?:\.[A-Za-z0-9+/=-]{8,60})?`, edge, func(left, m []byte) (int, int, bool) {
			near := left[max(0, len(left)-32):]
			return 0, len(m), (has(near, "key") || has(near, "adyen")) && random(m, 90)
		}),
		closed("okta-token", vendorToken, "Okta: 00 and 40 bytes behind okta or SSWS", `00[A-Za-z0-9_=-]{39,41}`, edge, func(left, m []byte) (int, int, bool) {
			near := left[max(0, len(left)-64):]
			return 0, len(m), has(near, "okta") && !has(near, "rookt") || has(near, "ssws")
		}),
		closed("sentry-dsn", vendorToken, "Sentry DSN: 32 hex digits before the host of an ingest URL", `https://[0-9a-f]{32}(?::[0-9a-f]{32})?@[a-z0-9.]{1,40}(?:sentry|ingest)`, rule.Alnum, func(_, m []byte) (int, int, bool) {
			for i, c := range m {
				if c == '@' {
					return 8, i, true
				}
			}
			return 0, 0, false
		}),
		closed("cloudinary-url", connection, "Cloudinary: key and secret in the URL", `cloudinary://[0-9]{12,18}:[A-Za-z0-9_-]{20,40}@`, rule.Class{}, func(_, m []byte) (int, int, bool) {
			for i := 13; i < len(m); i++ {
				if m[i] == ':' {
					return i + 1, len(m) - 1, true
				}
			}
			return 0, 0, false
		}),
		closed("rancher-token", vendorToken, "Rancher: token- or kubeconfig-, a name, a colon and 54 bytes", `(?:token-|kubeconfig-u?-?)[a-z0-9]{4,16}(?:\.[a-z0-9-]{1,20})?:[a-z0-9]{54}`, edge, nil),
	}
}

// end is what must not stand behind a match: of the bytes before one all but those that end a sentence.
func end(at rule.Class) rule.Class {
	if at == inToken {
		return rule.Word.And(rule.Of("+/-"))
	}
	return at
}

func nonUniform(_, m []byte) (from, to int, ok bool) {
	t := measure(m)
	return 0, len(m), !t.uniform() && !xs(m)
}

func afterEquals(_, m []byte) (from, to int, ok bool) {
	for i, c := range m {
		if c == '=' {
			return i + 1, len(m), random(m[i+1:], 20)
		}
	}
	return 0, 0, false
}
