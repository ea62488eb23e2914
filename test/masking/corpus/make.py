# SPDX-License-Identifier: Apache-2.0
"""Makes dev.jsonl.gz out of the labelled set that the project was given: the values of presidio-research's sentences come from the Fake Name
Generator (CC BY-SA 3.0 US) and are replaced here by values of Faker's lists (MIT); everything else is taken over as it is.

usage: python make.py LABELLED.jsonl.gz OUT.jsonl.gz      (Faker 40.63.0; the same input gives the same output)
"""
import gzip
import json
import random
import re
import sys

from faker import Faker
from faker.providers.address.en import Provider as AddressProvider

SEED = 1701
LOCALES = ["en_US", "en_GB", "en_IN", "de_DE", "de_AT", "de_CH", "fr_FR", "fr_CH", "sl_SI", "et_EE"]
KEEP = set("""Mr. Mrs. Ms. Dr. Miss Prof. nan Monday Tuesday Wednesday Thursday Friday Saturday Sunday""".split())


class Values:
    """Values of people who do not exist."""

    def __init__(self):
        self.rnd = random.Random(SEED)
        self.fakes = []
        for i, loc in enumerate(LOCALES):
            f = Faker(loc)
            f.seed_instance(SEED + i)
            self.fakes.append(f)
        self.en = self.fakes[0]
        self.places = set(AddressProvider.countries)

    def digits(self, like):
        return "".join(self.rnd.choice("0123456789") if c.isdigit() else self.rnd.choice("ABCDEFGHJKLMNPRSTUVWXYZ") if c.isupper() else c for c in like)

    def person(self, old):
        f, n = self.rnd.choice(self.fakes), len(old.split())
        first, last = f.first_name(), f.last_name()
        new = {1: self.rnd.choice((first, last)), 2: first + " " + last}.get(n, " ".join((first, *(f.first_name() for _ in range(n - 2)), last)))
        return new.upper() if old.isupper() else new.lower() if old.islower() else new

    def address(self, old):
        f = self.rnd.choice(self.fakes)
        if re.fullmatch(r"[\d -]+", old):
            return f.postcode()
        lines = (f.street_address() if len(old.split()) < 5 else f.address()).split("\n")
        return ("\n" if "\n" in old else ", " if "," in old else " ").join(x.strip() for x in lines if x.strip())

    def new(self, typ, old):
        f = self.rnd.choice(self.fakes)
        if typ == "PERSON":
            return self.person(old)
        if typ == "ADDRESS":
            return self.address(old)
        if typ == "EMAIL":
            return re.sub(r"[^!-~]", "", f.first_name() + f.last_name()) .replace("'", "") + "@" + re.sub(r"[^!-~]", "", f.domain_name())
        if typ == "PHONE":
            return f.phone_number()
        if typ == "CREDIT_CARD":
            return self.en.credit_card_number()
        if typ == "IBAN":
            return self.rnd.choice((self.fakes[1], self.fakes[3], self.fakes[6])).iban()
        if typ == "IP_ADDRESS":
            return self.en.ipv6() if ":" in old else self.en.ipv4()
        if typ == "US_SSN":
            return self.en.ssn()
        return self.digits(old)  # of licences: the same form

    def ignored(self, old):
        """Places and organisations; titles, days, numbers and countries are nobody's."""
        f = self.rnd.choice(self.fakes)
        if old in KEEP or old in self.places or not re.search(r"[^\W\d]", old) or re.match(r"[A-Z][a-z]+(an|ish|ese|er|ch)$", old):
            return old
        if "://" in old or "www." in old:
            return self.en.url()
        new = self.rnd.choice((f.city, f.company))() if " " in old else f.city()
        return new.upper() if old.isupper() and len(old) > 3 else new


def fill(d, values):
    b = d["text"].encode()
    parts = sorted([(s["start"], s["end"], s["type"]) for s in d["spans"]] + [(s["start"], s["end"], "") for s in d["ignore"]])
    out, at, spans, ignore = b"", 0, [], []
    for start, end, typ in parts:
        if start < at:
            continue  # an ignored piece in a value that has been replaced
        out += b[at:start]
        old = b[start:end].decode()
        new = (values.new(typ, old) if typ else values.ignored(old)).encode()
        one = {"start": len(out), "end": len(out) + len(new)}
        if typ:
            spans.append(dict(one, type=typ))
        else:
            ignore.append(one)
        out, at = out + new, end
    return dict(d, source="presidio-research templates (MIT), Faker values (MIT)", text=(out + b[at:]).decode(), spans=spans, ignore=ignore)


def main():
    values = Values()
    with gzip.open(sys.argv[1], "rt", encoding="utf8") as f, gzip.GzipFile(sys.argv[2], "wb", 9, mtime=0) as out:
        for line in f:
            d = json.loads(line)
            if d["source"].startswith("presidio-research"):
                d = fill(d, values)
            out.write((json.dumps(d, ensure_ascii=False, separators=(",", ":")) + "\n").encode())


if __name__ == "__main__":
    main()
