# SPDX-License-Identifier: Apache-2.0
"""Texts around people and where they live. city and org are neither right nor wrong."""

PERSON = """⟦A.full⟧ joined ⟦org⟧ as head of procurement in March.
===
Thanks, ⟦A.first⟧! I'll take it from here.
===
Hi ⟦A.first⟧,

could you and ⟦B.first⟧ look at the budget before Friday?

Kind regards
⟦C.full⟧
===
Meeting notes, 4 May
Present: ⟦A.full⟧, ⟦B.full⟧, ⟦C.full⟧
Apologies: ⟦D.full⟧
===
The paper was written by ⟦A.full⟧ and ⟦B.full⟧ at the University of ⟦city⟧.
===
Dr. ⟦A.last⟧ referred the patient to Professor ⟦B.last⟧ for a second opinion.
===
According to ⟦A.full⟧, the delay was caused by a missing part.
===
Mrs ⟦A.last⟧ asked whether the order had shipped.
===
I spoke with ⟦A.full⟧'s manager yesterday; she agreed.
===
json|{"author":"⟦A.full⟧","reviewers":["⟦B.full⟧","⟦C.full⟧"],"state":"open"}
===
assignee: ⟦A.full⟧
reporter: ⟦B.full⟧
priority: high
===
| Employee | Team | Manager |
|---|---|---|
| ⟦A.full⟧ | Platform | ⟦B.full⟧ |
| ⟦C.full⟧ | Data | ⟦B.full⟧ |
===
last_name,first_name,grade
⟦A.last⟧,⟦A.first⟧,B
⟦B.last⟧,⟦B.first⟧,A-
===
⟦A.comma⟧ - History 101 - absent
⟦B.comma⟧ - History 101 - present
===
My neighbour ⟦A.first⟧ has two dogs, and her brother ⟦B.first⟧ is afraid of both.
===
Did ⟦A.first⟧ tell you about the trip? ⟦B.first⟧ says it was lovely.
===
The winner is... ⟦A.full⟧!
===
Ticket #8841 was closed by ⟦A.full⟧ on 2026-07-02.
===
The defendant, ⟦A.full⟧, denied all charges before Judge ⟦B.last⟧.
===
⟦A.initial⟧ scored twice and ⟦B.initial⟧ saved a penalty.
===
Approved-by: ⟦A.full⟧
===
Dear Mr ⟦A.last⟧,

Your appointment has been moved to 9:30.

Sincerely,
⟦B.full⟧
Front desk
===
SELECT * FROM members WHERE surname = '⟦A.last⟧' AND given = '⟦A.first⟧';
===
const owner = { first: "⟦A.first⟧", last: "⟦A.last⟧" };
===
Sign here: ⟦A.full⟧ (tenant), ⟦B.full⟧ (landlord)
===
We interviewed three candidates: ⟦A.full⟧ (strong), ⟦B.full⟧ (maybe) and ⟦C.full⟧ (no).
===
⟦A.upper⟧
Senior Consultant
===
Speaker: ⟦A.full⟧
Title: Scaling queues without tears
===
It was ⟦A.full⟧ who found the bug, not ⟦B.full⟧.
===
The patient's wife, ⟦A.first⟧ ⟦B.last⟧, can be reached in the afternoon.
===
Emergency contact is ⟦A.full⟧ (father).
===
[14:02] ⟦A.first⟧: is the build green?
[14:03] ⟦B.first⟧: not yet, two tests left
===
lo ha detto ⟦A.full⟧ ieri in riunione
===
La señora ⟦A.last⟧ vive en ⟦city⟧ con su hijo ⟦B.first⟧.
===
O relatório foi assinado por ⟦A.full⟧ na segunda-feira.
===
Umowę podpisała ⟦A.full⟧ w imieniu spółki.
===
Het contract is getekend door ⟦A.full⟧.
===
Enligt ⟦A.full⟧ är allt klart till måndag.
===
In 1998 ⟦A.last⟧ moved to ⟦city⟧ and opened a bakery with ⟦B.full⟧.
===
Ask ⟦A.first⟧ or ⟦B.first⟧ in accounting.
===
User ⟦A.full⟧ (id 7719) was added to the group Editors by ⟦B.full⟧.
===
Ms. ⟦A.full⟧ called about invoice 5512 and wants a refund.
===
The nurse, ⟦A.first⟧, wrote that the wound looks clean.
===
Photo: ⟦A.full⟧ / ⟦org⟧
===
Employee of the month: ⟦A.full⟧. Congratulations, ⟦A.first⟧!
===
Here is a short biography. ⟦A.full⟧ was born in ⟦city⟧ and studied chemistry. ⟦A.last⟧ later taught at a secondary school.
===
- [ ] send slides to ⟦A.first⟧
- [ ] book room with ⟦B.full⟧
===
def owner():
    return "⟦A.full⟧"  # was ⟦B.full⟧
===
<p class="byline">By <b>⟦A.full⟧</b></p>
===
Passenger: ⟦A.slash⟧  Seat 14C
===
Best,
⟦A.first⟧
===
— ⟦A.full⟧, founder
===
Who is ⟦A.full⟧? I could not find anyone of that name in the directory.
===
yours, ⟦A.first⟧ ⟦A.last⟧
===
⟦A.first⟧ and ⟦B.first⟧ ⟦B.last⟧ bought the house next to ours.
===
**Instructor:** ⟦A.full⟧  
**Teaching assistant:** ⟦B.full⟧
===
"I will not sign this," said ⟦A.last⟧. ⟦B.full⟧ shrugged.
===
The claim of ⟦A.full⟧ against ⟦org⟧ was settled.
===
Committee: ⟦A.last⟧, ⟦B.last⟧ and ⟦C.last⟧
===
Nguyen's team met with ⟦A.full⟧ on Monday.
===
CEO ⟦A.full⟧ told analysts that margins would recover by autumn.
===
Prepared for: ⟦A.full⟧
Prepared by: ⟦B.full⟧, Finance
===
customer ⟦A.full⟧ reports that the app crashes on start
===
json|{"messages":[{"role":"user","content":"Write a note to ⟦A.first⟧ that ⟦B.full⟧ will be late."}]}
===
Can you remind ⟦A.first⟧ that her lease ends in May? Also tell ⟦B.first⟧ ⟦B.last⟧ that I said hello.
===
1. ⟦A.full⟧ 2:41:09
2. ⟦B.full⟧ 2:41:33
3. ⟦C.full⟧ 2:44:10
===
Goalkeeper ⟦A.last⟧ was injured, so coach ⟦B.full⟧ brought on ⟦C.last⟧.
===
Witness statement of ⟦A.full⟧, taken on 3 June.
===
Regards,
⟦A.full⟧
Account Manager
⟦org⟧
===
Patient: ⟦A.comma⟧
Ward: 4B
Consultant: ⟦B.full⟧
""".replace("Nguyen's team met", "The team met").split("\n===\n")

ADDRESS = """Ship it to ⟦addr⟧ by Thursday.
===
Billing address: ⟦addr⟧
===
I live at ⟦addr⟧, the bell says ⟦A.last⟧.
===
json|{"customer":"⟦A.full⟧","shipping_address":"⟦addr⟧"}
===
Home address:
⟦addr⟧
===
The property at ⟦addr⟧ is owned by ⟦A.full⟧.
===
⟦A.full⟧
⟦addr⟧
===
Dirección: ⟦addr⟧
===
Indirizzo: ⟦addr⟧
===
An ambulance was sent to ⟦street⟧ at 02:10.
===
id,name,address
31,⟦A.full⟧,"⟦addr⟧"
===
address = "⟦addr⟧"
===
Adres: ⟦addr⟧
===
We moved! From June on you will find ⟦A.first⟧ and me at ⟦street⟧.
===
Deliver to ⟦A.full⟧, ⟦addr⟧.
===
Pickup: ⟦street⟧
Drop-off: ⟦street⟧
===
The tenant of ⟦addr⟧ has paid.
===
Mailing address on file is ⟦addr⟧. Is that still right?
""".split("\n===\n")

NEGATIVE = """The release is tagged v⟦n1⟧.⟦n2⟧.⟦n2⟧ and the build number is ⟦d8⟧.
===
commit ⟦sha⟧
Merge branch 'feature/retry' into main
===
"integrity": "sha512-⟦b64x⟧"
===
Order ⟦d10⟧ shipped with tracking number 1Z⟦up16⟧.
===
trace_id=⟦hex32⟧ span_id=⟦hex16⟧ duration=⟦n2⟧ms
===
Set OPENAI_API_KEY=your-api-key-here before you start.
===
api_key = os.environ["SERVICE_API_KEY"]
===
password: ${DB_PASSWORD}
===
token = "<YOUR_TOKEN>"
===
const secret = process.env.SESSION_SECRET;
===
Authorization: Bearer $TOKEN
===
sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx is only a placeholder.
===
request_id: ⟦uuid⟧
===
The ISBN is 978-⟦n1⟧-⟦d8⟧-⟦n1⟧.
===
Coordinates: -33.8⟦d4⟧, 151.2⟦d4⟧
===
sha256:⟦hex64⟧  app-linux-amd64
===
Etag: "⟦hex32⟧"
===
Timestamp 17⟦d8⟧ is in seconds, not in milliseconds.
===
Morgan Stanley and Wells Fargo raised their targets; Goldman Sachs did not.
===
The Johns Hopkins report was cited by the Washington Post and Reuters.
===
Microsoft Visual Studio Code, Google Cloud Run and Amazon Web Services are supported.
===
Open Settings > Privacy & Security > Local Network and turn on Terminal.
===
Best Buy and Home Depot open at 8 on Black Friday.
===
Monday, Tuesday and Wednesday are fine; April and May are busy.
===
New Zealand beat South Africa in Dublin last Saturday.
===
The Great Barrier Reef is off the coast of Queensland, Australia.
===
data:image/png;base64,⟦b64x⟧
===
Part no. ⟦up3⟧-⟦d8⟧ fits all pumps since 2019.
===
Invoice INV-2026-⟦d4⟧ of 03/07/2026 is due on 02/08/2026.
===
The meeting is on 12 September 2026 at 10:30 in room 4.
===
Error 1062: duplicate key ⟦d10⟧ for index PRIMARY
===
max_tokens: 4096, token_limit=128000, secret_name: db-creds, password_policy: strict
===
The password must have at least 12 characters and one digit.
===
def reset_password(user, token): ...
===
pub fn secret_key(&self) -> &SecretKey { &self.secret_key }
===
Ticket SUP-⟦d4⟧: the token expired, please log in again.
===
Phone support is open from 9:00 to 17:00.
===
pi = 3.14159265358979323846, e = 2.71828182845904523536
===
1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584
===
population 8,405,837 (2013); area 302.6 sq mi; 40°42′46″N 74°00′21″W
===
SKU ⟦d12⟧ qty 4 price 19.99
===
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI⟦b64s⟧ build
===
-----BEGIN CERTIFICATE-----
MII⟦b64x⟧
-----END CERTIFICATE-----
===
-----BEGIN PUBLIC KEY-----
MFkw⟦b64x⟧
-----END PUBLIC KEY-----
===
mac 00:1b:44:11:3a:b7, vlan 120, mtu 1500
===
libfoo.so.4.2.1.⟦n2⟧ => /usr/lib/libfoo.so.4
===
Chrome/127.0.6533.120 Safari/537.36
===
x-request-id: ⟦hex16⟧; content-length: ⟦d4⟧
===
Dear customer, your parcel is on its way.
===
Thank You For Choosing Our Service. Terms And Conditions Apply.
===
Chapter Four: Building Better Teams
===
Pearl Harbor, Saint Lawrence River and Mount Cook are places.
===
json|{"id":"⟦uuid⟧","etag":"⟦hex32⟧","size":⟦d8⟧}
===
Flight QF⟦d4⟧ leaves gate 22 at 18:45.
===
KEY_LENGTH = 32
TOKEN_TTL = 3600
===
DELETE FROM tokens WHERE expires_at < now();
===
the secret to good bread: time, salt, patience
===
uuid.UUID("⟦uuid⟧")
===
docker pull registry.example.com/app@sha256:⟦hex64⟧
===
The part of the number 4000-0000-⟦d4⟧ is not a card.
""".split("\n===\n")
