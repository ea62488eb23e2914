// SPDX-License-Identifier: Apache-2.0

package personal

// ruleCases are texts of one rule. others are rules that may find something in them as well.
type ruleCases struct {
	found, passed []string
	others        string
}

// cases are by the name of the rule. Values are made up, or published examples.
func cases() map[string]ruleCases {
	return map[string]ruleCases{
		"email": {
			found: []string{
				"write to «jane.doe+news@mail.example.co.uk».", "mailto:«a@b.de»?subject=x", "<«o'brien@x-y.org»>", "«müller@köln.de» is IDN", "\"«john\"@example.com»",
				"?to=«john%40example.com»&x=1", "请联系«li@example.cn»。", `{"m":"\n«x@y.io»"}`, `\u00e9«ric@y.io»`, `C:\\«names@y.io»`, "-«x_1@sub.dom.museum»", "«a@xn--bcher-kva.example»", "**«a@b.cc»**",
			},
			passed: []string{
				"postgres://u:pw@db-01.internal.corp:5432/x", "https://bot:tok@github.com/a.git", "git@github.com:a/b.git", "icon@2x.png", "lodash@4.17.21", "@user and @app.route", "a@b", "x@localhost",
			},
		},
		"card": {
			found: []string{
				"charged «4111 1111 1111 1111» today", "«5555-5555-5555-4444»", "«378282246310005» ok", "«3782 822463 10005»", "«6011111111111117», «3530111333300000»", "card «5018 0000 0009» lost", "«4111 1111 1111 1111»", "«4111.1111.1111.1111»",
				`"card":"«4222222222222»"`, "| «30569309025904» |", "Kreditkarte «2223000048400011»", "My card «6304000000000000» is lost",
			},
			passed: []string{
				"4111 1111 1111 1112", "order 4111111111111111", "1700000000000", "6.66666666666667", "0000 0000 0000 0000", "tracking 5555555555554444", "a4111111111111111", "41111111111111111111111",
				"524C 525E 5555 5555 5555 4444",
			},
		},
		"iban": {
			found: []string{
				"to «GB82 WEST 1234 5698 7654 32» now", "«DE89370400440532013000»", "«gb82west12345698765432»", "«FR1420041010050500013M02606» and", "«NO93 8601 1117 947»", "IBAN «DE00370400440532013000»",
				"«MT84MALT011000012345MTLCAST001S»", "«CH93-0076-2011-6238-5295-7»",
			},
			passed: []string{"GB82 WEST 1234 5698 7654 33", "DE8937040044053201300", "AB12 some words follow here", "sha AB12CD34EF56AB78CD90"},
		},
		"routing-number": {
			found:  []string{"routing number «021000021»", "ABA: «011401533»"},
			passed: []string{"routing number 021000022", "order 021000021", "routed 021000021 packets"},
		},
		"bic": {
			found:  []string{"SWIFT/BIC: «DEUTDEFF»", "BIC «NEDSZAJJXXX»"},
			passed: []string{"SWIFT is a LANGUAGE", "DEUTDEFF", "CONTINUE"},
		},
		"us-ssn": {
			found: []string{
				"SSN: «536-22-1234»", "social security number is «536 22 1234»", `"ssn":"«536221234»"`, "Ann Lee,x,«536-22-1234»,y", "his social is «536221234»", "the number «849-66-3189» is his",
				"| Name | SSN |\n|---|---|\n| Ann | «536 22 1234» |", "soc. sec. no. «536-22-1234»", "S.S.N. «536.22.1234»", "«536‑22‑1234»", "1990-01-02,«536-22-1234»",
			},
			passed: []string{
				"000-22-1234", "SSN 666-22-1234", "536-00-1234", "part no. 536-22-1234", "order 536-22-1234", "536221234", "2024-536-22-1234", "536-22 1234", "reference 536 22 1234",
			},
		},
		"birth-date": {
			found: []string{
				"DOB: «1980-05-17»", "born on «17/05/1980» in", `"dateOfBirth":"«1980-05-17»T00:00:00Z"`, "D.O.B. «05/17/80»", "geb. «17.5.1980»", "né le «17/05/1980»", "née «17-05-1980»", "Fecha de nacimiento: «17/05/1980»",
				"data ur. «17.05.1980»", "født «17.05.1980»", "生年月日：«1980年5月17日»", "Дата рождения: «17.05.1980»", "birth_date=«19800517»", "(geb. Meier am «17. 5. 1980»)", "Date of Birth (DD/MM/YYYY): «17/05/1980»",
				"id,name,dob\n1,Ann,«1980-05-17»", "7,Ann Lee,«1980-05-17»,x", "PID|1||8||DOE^J||«19800517»|F", "INSERT INTO p (name, dob) VALUES ('x', '«1980-05-17»')", "Frau Meier (*«3.5.1980»)",
				`{"key": "dob", "value": "«1980-05-17»"}`, "Date of birth\n«1980-05-17»", "Ann Lee («1980-05-17»)", "| DOB | «1980-05-17» |", "<dob>«1980-05-17»</dob>", "b. «17/05/1980»,", "DOB «1980‑05‑17»", `DOB: «05\/17\/1980»`, "F,«1980-05-17»,"},
			passed: []string{
				"released 2024-03-01", "born free came out; released on 2024-03-01", "DOB unknown, admitted 2024-03-01", "member since 17.05.1980", "date 1980-05-17", "born in 1980", "birth rate on 2024-03-01",
				"id,name,signup\n1,Ann,1980-05-17", "DOB 1980-15-17", "dob: 99999999", "version 1.2.2024", "Widget,1980-05-17", "age 44",
			},
		},
		"birth-date-month": {
			found: []string{
				"born «17 May 1980»", "DOB «17-May-1980»", "birthday: «17th of May 1980»", "née le «1er août 1980»", "nacido el «17 de mayo de 1980»", "geboren am «17. März 1980»", "nata il «17 maggio 1980»",
				"urodzony «17 października 1980»", "nascida em «17 de março de 1980»", "geboren op «17 mei 1980»", "född «17 maj 1980»", "DOB «17MAY1980»", "DOB: «17 Sept. 1980»", "3,Ann Lee,«17 May 1980»,"},
			passed: []string{"on 17 May 1980", "born 17 apples 1980", "issued 17 May 1980", "DOB on file; expires 17 May 2030"},
		},
		"birth-month-date": {
			found: []string{
				"born «May 17, 1980»", "DOB: «May 17th, 1980»", "birthday is «Dec. 7 1980»", "Ann Lee was born in Leeds on «September 17, 1980»", "born to Ann and Bob Lee on «May 3, 1980»",
			},
			passed: []string{"on May 17, 1980", "The bill of May 17, 1980", "born Apples 17, 1980", "died May 17, 1980"},
		},
		"birth-year-month": {
			found:  []string{"DOB «1980-May-17»", "född «1980 maj 17»"},
			passed: []string{"1980-May-17", "DOB 1980-Foo-17"},
		},
		"passport": {
			found: []string{
				"passport number «C01X00T47»", "Passport No.: «123456789»", `"passportNumber":"«X1234567»"`, "pasaporte n.º «AAA123456»", "Reisepass-Nr. «L01X00T47»", "numer paszportu: «EA1234567»", "passport «60 37 550658»",
				"Passport: «XR 5326202»", "| Passport | «C01X00T47» |", "Pass-Nr. «C01X00T47»", "her passport (issued 2019-02-03) has number «533380006»", "travel document no. «C01X00T47»", "passport\n  number: «C01X00T47»",
				"паспорт «4510 123456»", "パスポート番号 «TK1234567»", "passport «CNMNYM44T» ok", "name,passport\nAnn,«C01X00T47»", "Passport No.\n«C01X00T47»",
			},
			passed: []string{
				"Passport applications rose to 8543817", "passport valid until 2031-04-05", "passport office, room 12", "C01X00T47", "passport: none; order X1234567", "password C01X00T47", "passport photo 35x45",
			},
		},
		"driver-license": {
			found: []string{
				"driver's license «D1234567»", "Driving Licence No. «MORGA657054SM9IJ»", "DL# «F255-9215-0094»", `"driversLicense": "«083 367 316»"`, "Führerschein: «B072RRE2I55»", "permis de conduire n° «12AB34567»",
				"carné de conducir «12345678Z»", "patente di guida «U1A12345A»", "rijbewijsnummer «1234567890»", "nr prawa jazdy «12345/12/1234»", "CNH: «01234567890»", "kørekort nr. «12345678»", "License No. «S123-4567-8901»",
				"driver’s license «A1234567»", "my driver's license number is «2270-66-1551»", "licence «D1234567» was shown", "| DL | «A1234567» |", "運転免許証 «123456789012»"},
			passed: []string{
				"MIT License 2.0", "the software license AB12345 is void", "license files [51d69a5]", "drivers 535.129.03", "DL 2024-05-17", "license plate 1234567", "A1234567", `"license": "MIT", "integrity": "sha512-ZnQMnLV4e7hDlUvw8H+U8ASL02SS2Gn6+9Ac3wGGLIe7"`, "driver version 31.0.101",
			},
			others: "birth-date",
		},
		"medical-record": {
			found: []string{
				"MRN «1234567»", "(MRN: «576-03-099»)", "medical record number «A1234567»", `"patientId":"«88123456»"`, "Patient ID: «P-5521»", "chart #«55210»", "MRN «MR123456»", "«MRN-123456»", "Patientennummer «123456»",
				"n° de dossier médical «123456»", "historia clínica nº «123456»", "cartella clinica n. «123456»", "numer pacjenta «123456»", "hospital no. «1234567»", "name,dob,mrn\nAnn,1980,«123456»", "patient «4471920»",
				"PID|1||«8827123»", "MR# «123456»", "| Name | MRN |\n|---|---|\n| Ann | «1234567» |\n| Bob | «7654321» |\n| Cid | «2233445» |", "Patient Ann Lee («1234567»)", "カルテ番号 «123456»", "U.R. number «123456»"},
			passed: []string{
				"fix: handle edge case (#6334)", "see case #48213", "unit #1204",
				"The hospital treated 123456 patients", "Patients: 123456", "record 123456", "MRN 2024-05-17", "1234567", "patient 12", "MRN: none, order 1234567", "health 12345",
			},
		},
		"national-id": {
			found: []string{
				"NINO: «AB123456C»", "NHS number «943 476 5919»", "Steuer-ID «86095742719»", "NIR «1 84 12 76 451 089 46»", "DNI «12345678Z»", "NIE «X1234567L»", "«RSSMRA85T10A562S»", "Aadhaar «2341 2341 2346»",
				"PAN «ABCPD1234E»", "CPF «529.982.247-25»", "SIN «046-454-286»", "TFN «123 456 782»", "Medicare «2123 45670 1»", "PESEL «44051401458»", "BSN «111222333»", "personnummer «811218-9876»", "CPR «070761-4285»",
				"fødselsnummer «15076500565»", "AHV «756.9217.0769.85»", "rijksregisternummer «85.07.30-033.28»", "NIF «123456789»", "national ID number «90017766»", "身份证 «11010519491231002X»",
			},
			passed: []string{
				"943 476 5919", "86095742719", "111222333", "PESEL 44051401459", "CPF 529.982.247-26", "SIN 046-454-287", "order 811218-9876", "12345678A", "RSSMRA85T10A562T", "ABCDD1234E", "national debt 123456789012",
				"DNI 12345678A", "tracking 2341 2341 2346",
			},
			others: "driver-license",
		},
		"ipv4": {
			found: []string{
				"from «81.62.252.113» at", "http://«10.1.103.4»:8080/", "host «10.0.0.5»", "ssh root@«203.0.113.7»", "\"ip\": \"«5.6.7.8»\"", "«192.168.1.20» - - [10", "broker/«10.2.3.144»:9092", "«198.51.100.23»/24", "IP: «1.1.1.1».", "«203[.]0[.]113[.]77»",
			},
			passed: []string{
				"127.0.0.1", "0.0.0.0", "255.255.255.0", "version 1.2.3.4", "Firmware 7.4.75.41 is older than 9.1.62.23", "section 4.3.2.1", "Chrome/120.0.61.12", "1.3.6.1.4.1.311", "300.1.2.3", "v10.2.3.4", "pip==20.0.99.1",
				"10.0.0.0/8", "01.02.03.04", "1.2.3.4",
			},
		},
		"ipv6": {
			found: []string{
				"at «2001:db8:4c5c:a4d9:81de:41be:b5e5:24e5»;", "«2a02:e581::addd».", "«fe80::1%eth0»", "[«2001:db8::1»]:443", "«::ffff:10.1.2.3»", "«6e40:4041:c617:e898:c11:40d2:c669:2eb4»", "«64:ff9b::192.0.2.33»",
				"«2001:DB8:0:0:0:0:0:1»"},
			passed: []string{"::1", "::", "std::vector", "add::face dead::beef", "12:34:56", "a::b::c", "::ffff:127.0.0.1", "00:11:22:33:44:55", "1:2:3:4:5:6:7", "2001:db8:::1", "ab:cd"},
		},
		"mac": {
			found:  []string{"MAC «00:1a:2b:3c:4d:5e»", "ether «00:1A:2B:3C:4D:5E»", "hwaddr=«00-1a-2b-3c-4d-5e»"},
			passed: []string{"00:1a:2b:3c:4d:5e", "fingerprint 00:1a:2b:3c:4d:5e:6f", "mac 00:1a-2b:3c:4d:5e"},
		},
		"phone": phoneCases(),
	}
}

func phoneCases() ruleCases {
	return ruleCases{
		found: []string{
			"+ and code: «+49 30 901820», «+1 (415) 555-2671», «+44 (0)20 7946 0958», «+33156507430», «+55 11 94638-8787», «(+30) 6973 681930»", "«0044 20 7946 0958»", "«(415) 555-2671»", "«415-555-2671x123»", "«415.555.2671»",
			"«1-800-555-0199»", "«01 23 45 67 89»", "«020 7946 0958»", "«(0116) 496 0157»", "«03-7483-3804»", "«090-5807-3021»", "«030/1234567»", "«0448.109.968»", "«8 (368) 193-03-64»", "«11 94638-8787»",
			"Phone: «467 3395»", "mobil: «661 573 681»", `"phone": "«9497220033»"`, "Tel. «95 58 07»", "fax «71-33-52-22» ok", "call me on «9469 9966»", "my number is «9469 9966»", "Telefonnummer «5403926876»", "電話 «22-4154-9909»",
			"тел. «702-93-13»", "tel:«9497220033»", "«467 3395» (office)", "Best regards,\nAnn Lee\n«695 262 914»\n", "Ann Lee,«a@b.co»,«4580730215»,x", "| Name | Phone |\n|---|---|\n| Ann | «9722 0033» |",
			"Ann Lee («913 769 160»)", "ask for Jo at «0612345678»", "T: «884 752 772»", "PID|1||||DOE^J||||||||«5551234567»", "«+49 30 901820 ext 12»", "WhatsApp «491701234567»",
			"Tel «030 1234567» 2024-05-17", "tel=«%2B442079460958»", "«+49 30 901820»", "«415‑555‑2671»", "call me at «(00574) 212585» x",
		},
		passed: []string{
			"[0.357780823262012326,0.0906989639373074]", `{"score": 0.0742767386868236}`, "1,0.0901139490161117",
			`{"id": "85349638-1050-4b1b-961a-0c1d2e3f4a5b"}`, "run-37803233-6316-4cb2-a694-8f0e1d2c3b4a",
			"2024-05-17 10:11:12", "1700000000", "1700000000000", "order 415-555-2671", "ISBN 978-0-306-40615-7", "ISBN 0-306-40615-2", "3.14159265358979", "0.94730, 0.20605, -0.80594", "1 234 567", "call volume rose to 1 234 567",
			"123456789", "price 415.555 EUR", "01.02.2024", "from 1990-2010", "(1999) 12, 345-367", "51.5074 -0.1278", "00 01 02 03 04 05 06 07", "0a 01 02 03 04 05 06", "invoice 0123-4567-8901", "a+123456789012",
			"+0200", "+1234", "x = 4155552671", "$0123 456 789", "uuid 1b4e28ba-2fa1-4155-5526-b9d8c1e42fa1", "12:34:56.789012", "phone model 12", "Phonetic 106/128", "1e+646456992", "SKU AB-0123-456789", "0x0123456789",
			"/v1/0123456789", "lat 52.520008 lon 13.404954", "population 8 336 817",
		},
		others: "email",
	}
}
