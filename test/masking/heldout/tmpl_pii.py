# SPDX-License-Identifier: Apache-2.0
"""Texts around structured personal data. A.full and the like are of one person A of the text; city and org are neither right nor wrong."""

MIXED = """Customer record
Name: ⟦A.full⟧
E-mail: ⟦A.email⟧
Mobile: ⟦phone⟧
Address: ⟦addr⟧
===
json|{"id":4417,"firstName":"⟦A.first⟧","lastName":"⟦A.last⟧","email":"⟦A.email⟧","phone":"⟦phone⟧","ip":"⟦ip⟧"}
===
json|{"patient":{"name":"⟦A.full⟧","birthDate":"⟦dob⟧","mrn":"⟦mrn⟧","telecom":["⟦phone⟧","⟦A.email⟧"]}}
===
Patient ⟦A.full⟧ (DOB ⟦dob⟧, MRN ⟦mrn⟧) was admitted on Tuesday with chest pain.
===
MRN: ⟦mrn⟧
Date of Birth: ⟦dob⟧
Attending: Dr. ⟦B.last⟧
Assessment: type 2 diabetes, well controlled. Continue metformin 500 mg.
===
name,email,phone,dob
⟦A.full⟧,⟦A.email⟧,⟦phone⟧,⟦dob⟧
⟦B.full⟧,⟦B.email⟧,⟦phone⟧,⟦dob⟧
===
| Guest | Passport | Born |
|---|---|---|
| ⟦A.full⟧ | ⟦passport⟧ | ⟦dob⟧ |
| ⟦B.full⟧ | ⟦passport⟧ | ⟦dob⟧ |
===
Please wire the deposit to IBAN ⟦iban⟧ (holder ⟦A.full⟧).
===
Beneficiary: ⟦A.full⟧
IBAN: ⟦iban⟧
BIC: BREXPLPW
Amount: EUR 1,250.00
===
The card ⟦card⟧ (exp 09/29) was declined twice, so ⟦A.first⟧ paid with ⟦card⟧ instead.
===
json|{"payment":{"method":"card","number":"⟦card⟧","exp":"11/28","holder":"⟦A.full⟧"}}
===
Card number: ⟦card⟧
Expiry: 04/30
Name on card: ⟦A.upper⟧
===
SSN: ⟦ssn⟧
===
The applicant's Social Security number is ⟦ssn⟧ and the spouse's is ⟦ssn⟧.
===
W-9 on file. Tax ID (SSN) ⟦ssn⟧; phone ⟦phone⟧.
===
json|{"ssn":"⟦ssn9⟧","employee_id":"E-20931"}
===
Passport No. ⟦passport⟧, issued in ⟦city⟧.
===
passport_number: ⟦passport⟧
nationality: NZL
===
Travel document (passport) ⟦passport⟧ expires in June.
===
Driver's licence: ⟦licence⟧ (VIC)
===
Driver license number ⟦licence⟧ was checked at the gate.
===
DL# ⟦licence⟧, plate 7KQZ221
===
json|{"driving_licence_no":"⟦licence⟧","class":"C","valid_until":"2031-01-01"}
===
driver_license,state
⟦licence⟧,WA
===
Medical record number ⟦mrn⟧ has two open referrals.
===
Hospital no. ⟦mrn⟧. Next review in 6 weeks.
===
Patient ID ⟦mrn⟧, seen by the night team.
===
chart # ⟦mrn⟧ - labs pending
===
Failed password for root from ⟦ip⟧ port 50122 ssh2
===
⟦ip⟧ - - [12/Sep/2026:10:11:12 +0000] "GET /index.html HTTP/1.1" 200 1043
===
Blocked 3 addresses: ⟦ip⟧, ⟦ip⟧ and ⟦ip6⟧.
===
client_ip=⟦ip⟧ user=⟦A.email⟧ action=login result=ok
===
ssh admin@⟦ip⟧
===
Nmap scan report for ⟦ip⟧
Host is up (0.0021s latency).
===
Call me on ⟦phone⟧ after six, or write to ⟦A.email⟧.
===
tel. ⟦phone⟧
fax ⟦phone⟧
===
Support tickets from ⟦phone⟧ and ⟦phone⟧ are about the same outage.
===
WhatsApp: ⟦phone⟧
===
<a href="mailto:⟦A.email⟧">write to us</a>
===
From: ⟦A.full⟧ <⟦A.email⟧>
To: ⟦B.full⟧ <⟦B.email⟧>
Subject: Re: invoice 2026-118
===
I've emailed ⟦A.email⟧; ⟦B.email⟧ is in copy.
===
git config user.email "⟦A.email⟧"
===
UPDATE users SET email='⟦A.email⟧', phone='⟦phone⟧' WHERE id=889;
===
Born ⟦dob⟧, lives in ⟦city⟧.
===
d.o.b. ⟦dob⟧
===
date_of_birth: ⟦dob⟧
blood_type: O+
===
Her birthday is ⟦dob⟧; she asked for an appointment in May.
===
json|{"dob":"⟦dob⟧","consent":true}
===
Fecha de nacimiento: ⟦dob.es⟧
Correo: ⟦A.email⟧
===
Data di nascita: ⟦dob.it⟧
Telefono: ⟦phone⟧
===
Data de nascimento: ⟦dob.pt⟧
===
Data urodzenia: ⟦dob.pl⟧
Nr paszportu: ⟦passport⟧
===
Geboortedatum: ⟦dob.nl⟧
E-mailadres: ⟦A.email⟧
===
Rekening ⟦iban⟧ op naam van ⟦A.full⟧.
===
Bankgegevens: ⟦iban⟧
===
Número de tarjeta: ⟦card⟧
===
Teléfono ⟦phone⟧, pasaporte ⟦passport⟧
===
To: ⟦A.email⟧
Cc: ⟦B.email⟧, ⟦C.email⟧

Please find the minutes attached.
===
Shipping label
⟦A.full⟧
⟦addr⟧
Phone: ⟦phone⟧
===
user = User(name="⟦A.full⟧", email="⟦A.email⟧", birth_date=parse("⟦dob⟧"))
===
$ getent hosts build-04
⟦ip⟧      build-04
===
X-Forwarded-For: ⟦ip⟧
===
allow from ⟦ip⟧;
deny all;
===
- contact: ⟦A.full⟧
  mail: ⟦A.email⟧
  phone: "⟦phone⟧"
- contact: ⟦B.full⟧
  mail: ⟦B.email⟧
  phone: "⟦phone⟧"
===
Sure, I can update that. Your IBAN on file is ⟦iban⟧ and the phone number is ⟦phone⟧. Shall I change both?
===
Payment card ending check: full PAN was logged as ⟦card⟧ in payments.log, which breaks PCI DSS.
===
visa ⟦card⟧
===
pan=⟦card⟧;cvv=***;amt=14.90
===
INSERT INTO patients VALUES (12, '⟦A.last⟧', '⟦dob⟧', '⟦mrn⟧', '⟦phone⟧');
===
{{"⟦A.email⟧", "⟦phone⟧"}, {"⟦B.email⟧", "⟦phone⟧"}}
===
Reach the on-call nurse at ⟦phone⟧ (ward 7). Chart: MRN ⟦mrn⟧.
===
⟦A.full⟧, ⟦phone⟧, ⟦A.email⟧
===
Identity check passed: passport ⟦passport⟧, licence ⟦licence⟧, born ⟦dob⟧.
===
Your login from ⟦ip⟧ was blocked. If this was you, reply from ⟦A.email⟧.
===
iban;amount;currency
⟦iban⟧;100,00;EUR
⟦iban⟧;2300,50;EUR
===
(⟦A.email⟧)
===
ping ⟦ip6⟧
===
ROUTE ⟦ip⟧/24 via ⟦ip⟧ dev eth1
===
The number on the back of the driving licence is ⟦licence⟧.
===
Numer konta: ⟦iban⟧
===
Patient born ⟦dob⟧. Contact: ⟦phone⟧ (mother).
===
passport: ⟦passport⟧ | dob: ⟦dob⟧ | phone: ⟦phone⟧
""".split("\n===\n")
