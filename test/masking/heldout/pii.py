# SPDX-License-Identifier: Apache-2.0
"""Personal data of people who do not exist: Faker's lists for names, streets and numbers of phones, own forms for the rest."""
import datetime
import string

from faker import Faker

LOCALES = ["en_AU", "en_CA", "en_NZ", "en_IE", "en_PH", "es_ES", "es_MX", "it_IT", "nl_NL", "pl_PL", "pt_BR", "sv_SE", "da_DK", "fi_FI", "tr_TR", "cs_CZ", "ro_RO",
           "no_NO", "hu_HU", "es_CO", "nl_BE", "id_ID", "hr_HR"]
IBAN = {"ES": "dddddddddddddddddddd", "IT": "L" + "d" * 22, "NL": "LLLLdddddddddd", "PL": "d" * 24, "PT": "d" * 21, "SE": "d" * 20, "DK": "d" * 14, "FI": "d" * 14,
        "CZ": "d" * 20, "RO": "LLLLdddddddddddddddd", "IE": "LLLLdddddddddddddd", "TR": "d" * 22, "NO": "d" * 11, "HU": "d" * 24, "BE": "d" * 12, "MT": "LLLLddddd" + "d" * 18,
        "AE": "d" * 19, "SA": "d" * 20, "HR": "d" * 17}
MONTHS = "January February March April May June July August September October November December".split()
FOREIGN = {"es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre".split(),
           "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre".split(),
           "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro".split(),
           "pl": "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia".split(),
           "nl": "januari februari maart april mei juni juli augustus september oktober november december".split(),
           "sv": "januari februari mars april maj juni juli augusti september oktober november december".split()}
ORGS = ["Northwind Traders", "Contoso", "Fabrikam", "Bluewater Logistics", "Halcyon Labs", "Greenfield Clinic", "Meridian Insurance", "Opaline Software", "Tidewater Bank", "Kestrel Energy"]


class Person:
    def __init__(self, f, r, loc):
        self.first, self.last, self.loc = f.first_name(), f.last_name(), loc
        self.mid = f.first_name()
        self.r = r


class Personal:
    def __init__(self, rnd, seed):
        self.r = rnd
        self.fakes = {}
        for i, loc in enumerate(LOCALES):
            f = Faker(loc)
            f.seed_instance(seed + i)
            self.fakes[loc] = f

    def person(self, loc=None):
        loc = loc or self.r.choice(LOCALES)
        return Person(self.fakes[loc], self.r, loc)

    def d(self, form):
        out = ""
        for c in form:
            out += self.r.choice(string.digits) if c == "d" else self.r.choice(string.ascii_uppercase) if c == "L" else self.r.choice("123456789") if c == "D" else c
        return out

    def email(self, p=None):
        import unicodedata
        p = p or self.person()
        a = lambda s: "".join(c for c in unicodedata.normalize("NFKD", s.lower().replace("ł", "l").replace("ø", "o").replace("ı", "i").replace("æ", "ae")) if c in string.ascii_lowercase + string.digits)
        f, l = a(p.first) or "x", a(p.last) or "y"
        dom = self.r.choice(["outlook.com", "fastmail.com", "posteo.net", "gmx.net", "uni-%s.edu" % l[:5], "%s.com.au" % l, "mail.%s.co.nz" % l[:8], "%s-group.it" % l, "kpn.nl", "wp.pl", "uol.com.br",
                             "telia.se", "seznam.cz", "%s.consulting" % l, "dept.%s.gov.ie" % l[:6], "bigpond.net.au", "staff.%s.ac.za" % l[:7]])
        loc = self.r.choice([f + "." + l, f[0] + l, f + l[0] + self.d("dd"), l + "_" + f, f + "-" + l, f + "+" + self.r.choice(["shop", "bills", "alerts"]), f + self.d("dddd"), f[0] + "." + l + "." + self.d("d")])
        e = loc + "@" + dom
        return e.upper() if self.r.random() < .03 else e.replace(f, f.capitalize(), 1) if self.r.random() < .06 else e

    def phone(self, loc=None):
        loc = loc or self.r.choice(LOCALES)
        if self.r.random() < .6 and hasattr(self.fakes[loc], "phone_number"):
            return self.fakes[loc].phone_number().strip()
        return self.d(self.r.choice(["+61 4dd ddd ddd", "(02) 9ddd dddd", "+64 21 ddd dddd", "+1-416-555-01dd", "+353 8D ddd dddd", "+34 6dd dd dd dd", "+39 3dd ddd dddd", "+31 6 Dddddddd",
                                     "+48 5dd ddd ddd", "+55 11 9dddd-dddd", "+46 70-ddd dd dd", "+45 2d dd dd dd", "+358 40 ddddddd", "+90 532 ddd dd dd", "+420 7dd ddd ddd", "+40 7dd ddd ddd",
                                     "+61 (0)3 9ddd dddd", "604.555.01dd", "0800 ddd ddd", "+63 917 ddd dddd", "+27 82 ddd dddd", "06-Ddddddddd"[:11], "+4790dddddd", "1 (780) 555-01dd x4dd"]))

    def luhn(self, body):
        t = 0
        for i, c in enumerate(reversed(body)):
            v = int(c) * (2 if i % 2 == 0 else 1)
            t += v - 9 if v > 9 else v
        return body + str(-t % 10)

    def card(self):
        r = self.r
        body, grp = r.choice([(self.d("4" + "d" * 14), 4), (self.d("5" + r.choice("12345") + "d" * 13), 4), (self.d("37" + "d" * 12), 0), (self.d("6011" + "d" * 11), 4), (self.d("35" + r.choice("345678") + "d" * 12), 4),
                              (self.d("22" + r.choice("345678") + "d" * 12), 4), (self.d("36" + "d" * 11), 0), (self.d("65" + "d" * 13), 4)])
        n = self.luhn(body)
        sep = r.choice(["", "", " ", "-", " "])
        if grp:
            return sep.join(n[i:i + 4] for i in range(0, 16, 4))
        return sep.join((n[:4], n[4:10], n[10:]))

    def iban(self):
        cc = self.r.choice(list(IBAN))
        b = self.d(IBAN[cc])
        chk = 98 - int("".join(str(int(c, 36)) for c in b + cc + "00")) % 97
        v = "%s%02d%s" % (cc, chk, b)
        k = self.r.random()
        return " ".join(v[i:i + 4] for i in range(0, len(v), 4)) if k < .5 else v.lower() if k > .97 else v

    def ssn(self):
        a = self.r.choice([x for x in range(1, 900) if x != 666])
        sep = self.r.choice(["-", "-", "-", "-", " "])
        return "%03d%s%02d%s%04d" % (a, sep, self.r.randrange(1, 100), sep, self.r.randrange(1, 10000))

    def ssn9(self):
        return self.ssn().replace("-", "").replace(" ", "")

    def ip(self):
        r = self.r
        return r.choice([lambda: "%d.%d.%d.%d" % (r.choice([18, 23, 31, 45, 62, 77, 83, 91, 104, 142, 151, 185, 194, 203, 212]), r.randrange(256), r.randrange(256), r.randrange(1, 255)),
                         lambda: "10.%d.%d.%d" % (r.randrange(256), r.randrange(256), r.randrange(1, 255)), lambda: "192.168.%d.%d" % (r.randrange(256), r.randrange(1, 255))])() if r.random() < .75 else self.ip6()

    def ip6(self):
        h = lambda: "%x" % self.r.randrange(16, 65536)
        return self.r.choice([lambda: "2001:db8:%s::%s" % (h(), h()), lambda: "2a02:%s:%s:%s:%s:%s:%s:%s" % tuple(h() for _ in range(7)), lambda: "fe80::%s:%s:%s:%s" % tuple(h() for _ in range(4)),
                              lambda: "2a0b:%s::1" % h()])()

    def passport(self):
        return self.d(self.r.choice(["LLdddddd", "Ldddddddd", "ddddddddd", "LLLdddddd", "LLddddddd", "Lddddddd", "dddddddd", "LddddddD", "PdddddddL", "NLdddddddd"[:9], "CLdddddd"]))

    def licence(self):
        return self.d(self.r.choice(["Ldddddddddddd"[:8], "ddddddddd", "Ldddddddddddd", "dddddddd", "Ldddd-ddddd-ddddd", "LLdddddd", "ddd ddd ddd", "Lddd-dddd-dddd", "ddddddd", "LLLLLdddddd9LL"[:14] + "9", "dd/dd/ddddd"[:10], "Lddddddddddd"]))

    def mrn(self):
        return self.d(self.r.choice(["ddddddd", "dddddddd", "Lddddddd", "ddd-dd-ddd", "MRNdddddd", "dd-dddd-d", "LLdddddd", "0000dddddd", "Hddddd-d"]))

    def date(self, lo=1938, hi=2009):
        return datetime.date(self.r.randrange(lo, hi), self.r.randrange(1, 13), self.r.randrange(1, 29))

    def dob(self, lang="en"):
        x = self.date()
        if lang in FOREIGN:
            m = FOREIGN[lang][x.month - 1]
            de = " de " if lang in ("es", "pt") else " "
            return self.r.choice(["%d%s%s%s%d" % (x.day, de, m, de, x.year), x.strftime("%d/%m/%Y"), x.strftime("%d.%m.%Y"), x.strftime("%d-%m-%Y")])
        m = MONTHS[x.month - 1]
        return self.r.choice([x.isoformat(), x.strftime("%d/%m/%Y"), x.strftime("%m/%d/%Y"), x.strftime("%d.%m.%Y"), x.strftime("%d-%m-%Y"), "%d %s %d" % (x.day, m, x.year), "%s %d, %d" % (m, x.day, x.year),
                              "%d-%s-%d" % (x.day, m[:3], x.year), "%d %s %d" % (x.day, m[:3].upper(), x.year), x.strftime("%Y/%m/%d"), "%d/%d/%02d" % (x.month, x.day, x.year % 100), "%d%s of %s %d" % (x.day, {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd"}.get(x.day, "th"), m, x.year)])

    def address(self, loc=None):
        loc = loc or self.r.choice(["en_AU", "en_CA", "en_NZ", "en_IE", "es_ES", "es_MX", "it_IT", "nl_NL", "pl_PL", "pt_BR", "sv_SE", "da_DK", "fi_FI", "cs_CZ", "ro_RO", "en_AU", "en_CA", "en_PH"])
        return ", ".join(x.strip() for x in self.fakes[loc].address().replace("\r", "").split("\n") if x.strip())

    def street(self, loc=None):
        return self.fakes[loc or self.r.choice(["en_AU", "en_CA", "en_NZ", "en_IE", "it_IT", "nl_NL", "es_ES"])].street_address().replace("\n", ", ")

    def city(self):
        return self.fakes[self.r.choice(["en_AU", "en_CA", "it_IT", "nl_NL", "pl_PL"])].city()

    def org(self):
        return self.r.choice(ORGS)
