# SPDX-License-Identifier: Apache-2.0
"""Clean texts: pieces of code and documentation of packages that are installed here and whose licences are permissive. Whatever looks as if somebody were named, or could be reached, is left out."""
import glob
import json
import os
import random
import re

SITE = os.environ.get("SITE_PACKAGES") or next(p for p in glob.glob(os.path.expanduser("~/.pyenv/versions/3.11*/lib/python3.11/site-packages")))
GO = os.environ.get("GOMODCACHE") or os.path.expanduser("~/go/pkg/mod")
NODE = os.environ.get("NODE_MODULES") or "/usr/lib/node_modules"
# what is not under MIT, BSD, Apache-2.0, ISC or Artistic-2.0
OTHER_LICENCE = re.compile(r"go-sql-driver|hashicorp|docutils|certifi|chardet|text_unidecode|/awscli/customizations/.*vendor|six-|tqdm|orjson")
PY = ["networkx", "mpmath", "jinja2", "click", "attr", "pygments", "yaml", "jsonschema", "flask", "requests", "urllib3", "pydantic", "sympy", "pyparsing", "docker", "moto", "cfnlint", "jmespath", "referencing", "libcst", "IPython"]
SOURCES = [
    ("python packages (MIT, BSD, Apache-2.0)", [SITE + "/%s/**/*.py" % p for p in PY], 330),
    ("Go modules (MIT, BSD, Apache-2.0)", [GO + "/github.com/%s/**/*.go" % m for m in ("spf13", "klauspost", "cilium", "andybalholm", "google", "rs", "rogpeppe", "huandu", "felixge")], 200),
    ("npm and corepack (Artistic-2.0, MIT, ISC)", [NODE + "/npm/node_modules/**/*.js", NODE + "/npm/lib/**/*.js", NODE + "/npm/docs/**/*.md"], 170),
    ("botocore and aws examples (Apache-2.0)", [SITE + "/awscli/examples/**/*.rst", SITE + "/awscli/topics/*.rst"], 130),
    ("package documents (MIT, BSD, Apache-2.0)", [SITE + "/%s*.dist-info/METADATA" % p for p in ("click", "jinja2", "flask", "attrs", "requests", "pydantic", "pytest", "regex", "rich", "numpy", "networkx", "jsonschema", "docker", "moto", "cryptography", "PyYAML", "idna", "certifi", "six")] + [GO + "/github.com/*/**/README.md", GO + "/github.com/*/**/CHANGELOG.md"], 130),
    ("CSS, HTML and shell of packages (MIT, BSD, Apache-2.0)", [SITE + "/**/*.css", SITE + "/**/*.html", GO + "/github.com/**/*.sh", GO + "/github.com/**/*.yml", GO + "/github.com/**/*.c", GO + "/github.com/**/*.h"], 90),
]
WORDS = re.compile(r"author|copyright|maintain|contribut|licen[cs]e|thank|credit|written by|reported|patch by|@[A-Za-z]|[\w.]@\w|BEGIN |password\s*[:=]|secret\s*[:=]|token\s*[:=]|api_?key\s*[:=]|AKIA|ASIA|eyJ|mailto|"
                   r"arxiv|et al|journal|proceedings|references\b|chebyshev|sannella|gregory|\bsteve\b|[^)]\([a-z]{4,}\d*\)$|(?m:\([a-z]{5,}[0-9]+\))|\b(?:mr|mrs|ms|dr|prof)\.|phone|passport|birth|\bssn\b|\bby [A-Z]|\(c\)", re.I)
NUMBERS = re.compile(r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}|\b(?:\d[ -]?){9,19}\b|::[0-9a-f]|[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){4,}", re.I)
CAP = re.compile(r"\b[A-Z][a-z]+(?:-[A-Z][a-z]+)?\b")


def names():
    from faker import Faker
    out = set()
    for loc in ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL", "pt_BR", "sv_SE", "en_IN", "cs_CZ", "da_DK", "fi_FI", "ro_RO", "tr_TR"):
        p = Faker(loc).provider("person")
        for k in ("first_names", "last_names"):
            v = getattr(p, k, ())
            out.update(w for n in (v.keys() if hasattr(v, "keys") else v) for w in re.findall(r"\w+", n))
    # surnames and given names that code and documents are full of
    out.update("Guido Linus Knuth Dijkstra Alan Ada Grace Ken Brian Bob Alice Eve Mallory Carol Dave Trent Kenneth Armin Raymond Larry Fowler Turing Euler Gauss Newton Riemann Bessel".split())
    common = set("Will May Mark Rich Bill Art Grant Chase Page Price Price Field Fields Key Keys Case Stone Long Short Young Green Brown White Black King Rose Hope Faith Joy Sky Dawn Summer Autumn Guy Max Link Links Head Banks Bond Bush Wood Park Parks Read Reader "
                 "Cross Field Ford Gray Hall Hand Hill Hunt Lane Law Little Love Major Marsh May Miles Mills Moon More Moss Noble Pace Paul Pool Potter Power Powers Ray Reed Rice Rich Root Sharp Small Snow Strong Swift Test Tests True False Wall Walls Ward Warren Waters Way Ways Weeks West East North South Winter "
                 "Wise Best Bright Chance Close Cook Cooper Day Days Dean Drake Early English French German Holland Israel Jordan Paris London Chad China India Georgia Man Music New Old Order Post Price Prince Self Ship Shop Star Storm Sweet Terry Tree Vale Var Virtual Win".split())
    return out - common


def origin(path):
    for base in (SITE, GO, NODE):
        if path.startswith(base):
            return "/".join(path[len(base) + 1:].split("/")[:3 if base == GO else 4 if base == NODE else 1])
    return os.path.basename(path)


def pieces(text, rnd):
    lines = text.split("\n")
    for _ in range(4):
        if len(lines) < 3:
            return
        i = rnd.randrange(len(lines))
        n = rnd.choice((2, 4, 6, 9, 14, 20))
        t = "\n".join(lines[i:i + n]).strip("\n")
        if 50 <= len(t.strip()) <= 1200:
            yield t


def collect(seed):
    rnd = random.Random(seed)
    known = names()
    docs = []
    for source, globs, want in SOURCES:
        files = sorted({f for g in globs for f in glob.glob(g, recursive=True) if os.path.getsize(f) < 400_000})
        rnd.shuffle(files)
        got = 0
        for f in files:
            if got >= want:
                break
            if re.search(r"licen|author|contribut|credits|maintainers|/test", f, re.I) and "README" not in f:
                continue
            try:
                text = open(f, encoding="utf8").read()
            except (UnicodeDecodeError, OSError):
                continue
            for t in pieces(text, rnd):
                if WORDS.search(t) or NUMBERS.search(t) or "\r" in t or any(w in known for m in CAP.findall(t) for w in m.split("-")):
                    continue
                docs.append({"source": source, "from": origin(f), "text": t, "spans": [], "ignore": []})
                got += 1
                break
    return [d for d in docs if not OTHER_LICENCE.search(d["from"])]


if __name__ == "__main__":
    import collections
    d = collect(5)
    print(collections.Counter(x["source"] for x in d), sum(len(x["text"]) for x in d) / len(d))
