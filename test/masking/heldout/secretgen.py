# SPDX-License-Identifier: Apache-2.0
"""Values that have the form of secrets of vendors, from the vendors' public descriptions of their formats. All are random: none was ever valid."""
import base64
import json
import string
import zlib

AN = string.ascii_letters + string.digits
LO = string.ascii_lowercase + string.digits
UP = string.ascii_uppercase + string.digits
HEX = "0123456789abcdef"
B32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
B64U = AN + "-_"
B64 = AN + "+/"
WORDS = ("amber basalt cedar delta ember falcon garnet harbor indigo juniper kestrel lagoon maple nectar onyx pepper quartz ridge saffron "
         "timber umbra velvet willow yonder zephyr bronze canyon drizzle fjord glacier").split()


class Secrets:
    def __init__(self, rnd):
        self.r = rnd

    def s(self, alphabet, n):
        return "".join(self.r.choice(alphabet) for _ in range(n))

    def b64(self, n):
        return base64.b64encode(self.r.randbytes(n)).decode()

    def b64u(self, n):
        return base64.urlsafe_b64encode(self.r.randbytes(n)).decode().rstrip("=")

    def uuid(self):
        h = self.s(HEX, 32)
        return "-".join((h[:8], h[8:12], "4" + h[13:16], self.r.choice("89ab") + h[17:20], h[20:]))

    # one method for each type -------------------------------------------------
    def openai(self):
        k = self.r.randrange(4)
        if k == 0:
            return "sk-" + self.s(AN, 20) + "T3BlbkFJ" + self.s(AN, 20)
        p = ("sk-proj-", "sk-svcacct-", "sk-admin-")[k - 1]
        n = self.r.choice((58, 74))
        return p + self.s(B64U, n) + "T3BlbkFJ" + self.s(B64U, n)

    def anthropic(self):
        return "sk-ant-" + self.r.choice(("api03", "api03", "admin01", "oat01")) + "-" + self.s(B64U, 93) + "AA"

    def awsid(self):
        return self.r.choice(("AKIA", "AKIA", "ASIA")) + self.s(B32, 16)

    def awssecret(self):
        while True:
            v = self.s(B64, 40)
            if any(c.isdigit() for c in v) and v[0].isalnum() and v[-1].isalnum():
                return v

    def github(self):
        if self.r.random() < .25:
            return "github_pat_" + self.s(AN, 22) + "_" + self.s(AN, 59)
        body = self.s(AN, 30)
        n, crc = zlib.crc32(body.encode()), ""
        for _ in range(6):
            n, d = divmod(n, 62)
            crc = (string.digits + string.ascii_uppercase + string.ascii_lowercase)[d] + crc
        return self.r.choice(("ghp_", "ghp_", "gho_", "ghs_", "ghu_", "ghr_")) + body + crc

    def slack(self):
        d = lambda: self.s("123456789", 1) + self.s(string.digits, self.r.choice((10, 11, 12)))
        return self.r.choice((
            lambda: "xoxb-%s-%s-%s" % (d(), d(), self.s(AN, 24)),
            lambda: "xoxp-%s-%s-%s-%s" % (d(), d(), d(), self.s(HEX, 32)),
            lambda: "xapp-1-A%s-%s-%s" % (self.s(UP, 10), d(), self.s(HEX, 64)),
            lambda: "xoxe.xoxp-1-" + self.s(AN, 162),
            lambda: "https://hooks.slack.com/services/T%s/B%s/%s" % (self.s(UP, 8), self.s(UP, 10), self.s(AN, 24)),
        ))()

    def stripe(self):
        p = self.r.choice(("sk_live_", "sk_test_", "rk_live_", "rk_test_"))
        return p + ("51" + self.s(AN, 97) if self.r.random() < .6 else self.s(AN, 24))

    def gcp(self):
        return "AIzaSy" + self.s(B64U, 33)

    def jwt(self):
        enc = lambda o: base64.urlsafe_b64encode(json.dumps(o, separators=(",", ":")).encode()).decode().rstrip("=")
        alg = self.r.choice(("HS256", "RS256", "ES256", "HS512"))
        head = self.r.choice(({"alg": alg, "typ": "JWT"}, {"typ": "JWT", "alg": alg}, {"kid": self.s(HEX, 12), "alg": alg}))
        body = self.r.choice(({"sub": self.uuid(), "aud": "api", "exp": 1790000000 + self.r.randrange(10**7)},
                              {"iss": "https://id.example.org/", "scope": "read:all", "iat": 1780000000 + self.r.randrange(10**7)},
                              {"user_id": self.r.randrange(10**6), "role": "service"}))
        return ".".join((enc(head), enc(body), self.b64u({"HS256": 32, "HS512": 64, "ES256": 64, "RS256": 256}[alg])))

    def pem(self):
        k = self.r.choice(("RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "DSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK"))
        raw = self.b64(self.r.choice((118, 320, 610)))
        if k.startswith("OPENSSH"):
            raw = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU" + raw
        elif not k.startswith("PGP"):
            raw = "MII" + raw
        w = 70 if k.startswith("OPENSSH") else 64
        lines = [raw[i:i + w] for i in range(0, len(raw), w)]
        if k.startswith("PGP"):
            lines = ["", *lines, "=" + self.s(AN, 4)]
        return "-----BEGIN %s-----\n%s\n-----END %s-----" % (k, "\n".join(lines), k)

    def password(self):
        r = self.r
        w = lambda: r.choice(WORDS)
        return r.choice((
            lambda: w().capitalize() + self.s(string.digits, 4) + r.choice("!#$*?"),
            lambda: self.s(AN, r.choice((12, 16, 20))) + self.s("!#%^*_-+", 1) + self.s(AN, 3),
            lambda: w() + "-" + w() + "-" + w() + "-" + self.s(string.digits, 2),
            lambda: self.s(AN + "!#$%&*+-=?^_~", r.choice((14, 18, 24))),
            lambda: w()[:1].upper() + w()[1:] + "_" + self.s(AN, 9),
            lambda: self.s(AN, r.choice((10, 14, 22))),
        ))()

    def urlpw(self):
        return self.r.choice((lambda: self.s(AN, self.r.choice((9, 13, 18, 28))), lambda: self.r.choice(WORDS) + self.s(string.digits, 4) + "x",
                              lambda: self.s(AN, 8) + "%21" + self.s(AN, 5), lambda: self.s(B64U, 22).strip("-_") + "7"))()

    def opaque(self):
        """A key of nobody in particular: only what it is called gives it away."""
        return self.r.choice((lambda: self.s(HEX, 32), lambda: self.s(HEX, 40), lambda: self.s(HEX, 64), lambda: self.b64(32), lambda: self.s(AN, 32),
                              lambda: self.s(B64U, 43).strip("-_") + "9", self.uuid, lambda: self.s(LO, 26) + "4", lambda: self.b64(24)))()

    def vendor(self):
        return self.r.choice(self.vendors())()

    def vendors(self):
        s, r = self.s, self.r
        if hasattr(self, "_v"):
            return self._v
        fixed = [  # prefix, alphabet, length, suffix
            ("glpat-", B64U, 20, ""), ("glptt-", HEX, 40, ""), ("gldt-", B64U, 20, ""), ("glrt-", B64U, 20, ""), ("npm_", AN, 36, ""),
            ("pypi-AgEIcHlwaS5vcmc", B64U, 90, ""), ("hf_", string.ascii_letters, 34, ""), ("dop_v1_", HEX, 64, ""), ("doo_v1_", HEX, 64, ""),
            ("shpat_", HEX, 32, ""), ("shpss_", HEX, 32, ""), ("shpca_", HEX, 32, ""), ("sq0atp-", B64U, 22, ""), ("sq0csp-", B64U, 43, ""),
            ("dp.pt.", AN, 43, ""), ("lin_api_", AN, 40, ""), ("glsa_", AN, 32, "_a1b2c3d4"), ("NRAK-", UP, 27, ""), ("sntryu_", HEX, 64, ""),
            ("hvs.CAESI", B64U, 86, ""), ("hvb.AAAAAQ", B64U, 140, ""), ("HRKU-AA", B64U, 58, ""), ("pul-", HEX, 40, ""), ("sbp_", HEX, 40, ""),
            ("pscale_tkn_", B64U, 43, ""), ("pscale_pw_", B64U, 43, ""), ("gsk_", AN, 52, ""), ("r8_", AN, 37, ""), ("pplx-", AN, 48, ""), ("xai-", AN, 80, ""),
            ("sk-or-v1-", HEX, 64, ""), ("pcsk_4", AN, 68, ""), ("tvly-dev-", AN, 32, ""), ("CFPAT-", B64U, 43, ""), ("EZAK", AN, 54, ""),
            ("duffel_live_", B64U, 43, ""), ("rubygems_", HEX, 48, ""), ("CLOJARS_", LO, 60, ""), ("oy2", LO, 43, ""), ("dckr_pat_", B64U, 27, ""),
            ("AGE-SECRET-KEY-1", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58, ""), ("figd_", B64U, 40, ""), ("tfp_", B64U, 44, ""), ("whsec_", AN, 32, ""),
            ("pnu_", AN, 36, ""), ("rdme_", LO, 70, ""), ("aio_", AN, 28, ""), ("EAACEdEose0cBA", AN, 120, ""), ("FLWSECK_TEST-", HEX, 32, "-X"),
            ("ntn_", string.digits, 11, ""), ("lsv2_pt_", HEX, 32, "_"), ("secret_", AN, 43, ""), ("xkeysib-", HEX, 64, "-"), ("PMAK-", HEX, 24, "-"),
            ("shippo_live_", HEX, 40, ""), ("sgp_", HEX, 40, ""), ("ATCTT3xFfG", B64U, 170, "=AB12CD34"), ("ATATT3xFfGF0", B64U, 176, "=1A2B3C4D"),
            ("dapi", HEX, 32, ""), ("key-", HEX, 32, ""), ("SK", HEX, 32, ""), ("glc_eyJ", AN, 80, "="), ("fo1_", B64U, 43, ""), ("nvapi-", B64U, 64, ""),
        ]
        tails = {"ntn_": (AN, 35), "lsv2_pt_": (HEX, 10), "xkeysib-": (AN, 16), "PMAK-": (HEX, 34)}

        def make(p, a, n, e):
            return lambda: p + s(a, n) + e + (s(*tails[p]) if p in tails else "")
        self._v = [make(*f) for f in fixed] + [
            lambda: "SG." + s(B64U, 22) + "." + s(B64U, 43),
            lambda: s(HEX, 32) + "-us" + str(r.randrange(1, 22)),
            lambda: s("MNO", 1) + s(AN, 25) + "." + s(AN, 6) + "." + s(B64U, 38),
            lambda: str(r.randrange(10**9, 10**10)) + ":AA" + s(B64U, 33),
            lambda: "pat" + s(AN, 14) + "." + s(HEX, 64),
            lambda: s(AN, 14) + ".atlasv1." + s(B64U, 67),
            lambda: s(AN, 3) + "8Q~" + s(B64U + "~.", 34),
            lambda: "ya29.a0" + s(B64U, 150),
            lambda: "GOCSPX-" + s(B64U, 28),
            lambda: "sl.B" + s(B64U, 136),
            lambda: "https://discord.com/api/webhooks/" + s(string.digits, 18) + "/" + s(B64U, 68),
            lambda: "1/" + s(string.digits, 16) + ":" + s(HEX, 32),
            lambda: "t1." + s(B64U, 50) + "." + s(B64U, 86),
        ]
        return self._v
