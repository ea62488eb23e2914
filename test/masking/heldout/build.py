# SPDX-License-Identifier: Apache-2.0
"""Makes the held-out corpus. usage: build.py OUT.jsonl.gz"""
import base64
import collections
import gzip
import json
import random
import re
import string
import sys

import clean
import tmpl_chat
import tmpl_person
import tmpl_pii
import tmpl_secret
from pii import Personal
from secretgen import AN, B64, HEX, UP, Secrets

SEED = 90210
rnd = random.Random(SEED)
sec = Secrets(random.Random(SEED + 1))
per = Personal(random.Random(SEED + 2), SEED + 3)
DOB = {"es": "es_ES", "it": "it_IT", "pt": "pt_BR", "pl": "pl_PL", "nl": "nl_NL"}
KINDS = {  # kind: (type, method, names in the environment, of variables, constructor)
    "openai": ("OPENAI_KEY", sec.openai, "OPENAI_API_KEY", "openaiKey", "OpenAI"), "anthropic": ("ANTHROPIC_KEY", sec.anthropic, "ANTHROPIC_API_KEY", "claudeKey", "Anthropic"),
    "github": ("GITHUB_TOKEN", sec.github, "GH_TOKEN", "ghToken", "Github"), "slack": ("SLACK_TOKEN", sec.slack, "SLACK_BOT_TOKEN", "slackToken", "WebClient"),
    "stripe": ("STRIPE_KEY", sec.stripe, "STRIPE_SECRET", "stripeKey", "stripe.Client"), "gcp": ("GCP_API_KEY", sec.gcp, "MAPS_KEY", "mapsKey", "maps.Client"),
    "jwt": ("JWT", sec.jwt, "SESSION_JWT", "idToken", "verify"), "vendor": ("VENDOR_TOKEN", sec.vendor, "PROVIDER_TOKEN", "apiToken", "Client"),
}
FILL = {"n1": lambda: str(rnd.randrange(1, 9)), "n2": lambda: str(rnd.randrange(0, 60)), "d4": lambda: sec.s(string.digits, 4), "d8": lambda: "7" + sec.s(string.digits, 7), "d10": lambda: "4" + sec.s(string.digits, 9),
        "d12": lambda: "8" + sec.s(string.digits, 11), "sha": lambda: sec.s(HEX, 40), "hex16": lambda: sec.s(HEX, 16), "hex32": lambda: sec.s(HEX, 32), "hex64": lambda: sec.s(HEX, 64), "uuid": sec.uuid,
        "up16": lambda: sec.s(UP, 16), "up3": lambda: sec.s(string.ascii_uppercase, 3), "b64x": lambda: sec.s(B64, 86) + "==", "b64s": lambda: sec.s(B64, 43)}
FIELD = {"phone": ("PHONE", per.phone), "card": ("CREDIT_CARD", per.card), "iban": ("IBAN", per.iban), "ssn": ("US_SSN", per.ssn), "ssn9": ("US_SSN", per.ssn9), "ip": ("IP_ADDRESS", per.ip), "ip6": ("IP_ADDRESS", per.ip6),
         "passport": ("PASSPORT", per.passport), "licence": ("DRIVER_LICENSE", per.licence), "mrn": ("MRN", per.mrn), "dob": ("DATE_OF_BIRTH", per.dob), "addr": ("ADDRESS", per.address), "street": ("ADDRESS", per.street),
         "city": ("ignore", per.city), "org": ("ignore", per.org),
         "password": ("GENERIC_SECRET", sec.password), "opaque": ("GENERIC_SECRET", sec.opaque), "urlpw": ("CONNECTION_STRING", sec.urlpw), "b64key": ("CONNECTION_STRING", lambda: sec.b64(64)),
         "b64key32": ("CONNECTION_STRING", lambda: sec.b64(32)), "awsid": ("AWS_ACCESS_KEY", sec.awsid), "awssecret": ("AWS_SECRET_KEY", sec.awssecret), "pem": ("PRIVATE_KEY", sec.pem),
         "pemindent": ("PRIVATE_KEY", lambda: "\n".join("    " + x for x in sec.pem().split("\n"))), "basic": ("GENERIC_SECRET", lambda: base64.b64encode(("deploy:" + sec.password()).encode()).decode()),
         "an40": ("VENDOR_TOKEN", lambda: sec.s(AN, 40)), "an32": ("VENDOR_TOKEN", lambda: sec.s(AN, 32))}


def name(p, form):
    k = p.r.random()
    full = p.first + " " + p.last if k > .13 else "%s %s. %s" % (p.first, p.mid[0], p.last) if k > .05 else "%s %s %s" % (p.first, p.mid, p.last)
    return {"full": full, "first": p.first, "last": p.last, "upper": (p.first + " " + p.last).upper(), "comma": p.last + ", " + p.first, "initial": p.first[0] + ". " + p.last, "slash": p.last.upper() + "/" + p.first.upper()}[form]


def render(t, kind=None, azure=False):
    esc = t.startswith("json|")
    t = t.removeprefix("json|")
    loc = rnd.choice(clean_locales)
    people, out = {}, []
    for i, x in enumerate(re.split("⟦(.*?)⟧", t)):
        if i % 2 == 0:
            out.append((x, None))
            continue
        typ = None
        if x == "X":
            typ, f, *_ = KINDS[kind]
            v = f()
        elif x in ("env", "var", "ctor"):
            v = KINDS[kind][{"env": 2, "var": 3, "ctor": 4}[x]]
        elif x[1:2] == ".":
            p = people.get(x[0]) or people.setdefault(x[0], per.person(loc if rnd.random() < .7 else None))
            typ, v = ("EMAIL", per.email(p)) if x[2:] == "email" else ("PERSON", name(p, x[2:]))
        elif x.startswith("dob."):
            typ, v = "DATE_OF_BIRTH", per.dob(x[4:])
        elif x in FIELD:
            typ, f = FIELD[x]
            v = f()
        else:
            v = FILL[x]()
        if azure and typ is None and x in ("hex32", "uuid", "an40", "an32"):
            typ = "VENDOR_TOKEN"
        if azure and typ == "CONNECTION_STRING":
            typ = "VENDOR_TOKEN"
        out.append((json.dumps(v, ensure_ascii=False)[1:-1] if esc else v, typ))
    if rnd.random() < .06:
        e = lambda s: json.dumps(s, ensure_ascii=rnd.random() < .3)[1:-1]
        out = [('{"type":"text","content":"', None)] + [(e(v), y) for v, y in out] + [('"}', None)]
    return out


def document(source, parts, labelled="*"):
    text, spans, ign, at = "", [], [], 0
    for v, typ in parts:
        n = len(v.encode())
        lead = len(v) - len(v.lstrip())
        if typ == "ignore":
            ign.append({"start": at, "end": at + n})
        elif typ:
            spans.append({"start": at + lead, "end": at + n, "type": typ})
        text, at = text + v, at + n
    return {"source": source, "labelled": labelled, "text": text, "spans": spans, "ignore": ign}


clean_locales = list(per.fakes)


def cycle(ts, n):
    bag = []
    while len(bag) < n:
        one = list(ts)
        rnd.shuffle(one)
        bag += one
    return bag[:n]


def wnut():
    for line in open(__file__.rsplit("/", 1)[0] + "/wnut.txt", encoding="utf8"):
        parts = re.split(r"\[\[(.*?)\]\]", line.rstrip("\n"))
        yield document("WNUT-17 train (CC-BY 4.0)", [(x, "PERSON" if i % 2 else None) for i, x in enumerate(parts) if x], ["PERSON"])


def main():
    docs = []
    for kind, n in dict(openai=30, anthropic=30, github=32, slack=32, stripe=32, gcp=30, jwt=32, vendor=116).items():
        docs += [document("own-B secrets", render(t, kind)) for t in cycle(tmpl_secret.ONE, n)]
    for ts, n in ((tmpl_secret.GENERIC, 76), (tmpl_secret.CONN, 42), (tmpl_secret.AWS, 30), (tmpl_secret.PEM, 34)):
        docs += [document("own-B secrets", render(t)) for t in cycle(ts, n)]
    docs += [document("own-B secrets", render(t, azure=True)) for t in tmpl_secret.AZURE]
    docs += [document("own-B structured", render(t)) for t in cycle(tmpl_pii.MIXED, 625)]
    docs += [document("own-B people", render(t)) for t in cycle(tmpl_person.PERSON, 540)]
    docs += [document("own-B addresses", render(t)) for t in cycle(tmpl_person.ADDRESS, 92)]
    docs += [document("own-B negatives", render(t)) for t in cycle(tmpl_person.NEGATIVE, 130)]
    docs += [document("own-B answers", [(t.strip(), None)]) for t in tmpl_chat.CHAT]
    docs += list(wnut())
    docs += [dict(d, labelled="*") for d in clean.collect(SEED + 4)]
    rnd.shuffle(docs)
    with gzip.GzipFile(sys.argv[1], "wb", mtime=0) as f:
        for i, d in enumerate(docs):
            f.write((json.dumps({"id": "b%04d" % i, **d}, ensure_ascii=False) + "\n").encode())
    n = collections.Counter(s["type"] for d in docs for s in d["spans"])
    print(len(docs), sum(n.values()), "clean", sum(not d["spans"] for d in docs), "bytes", sum(len(d["text"].encode()) for d in docs))
    print(dict(n))


if __name__ == "__main__":
    main()
