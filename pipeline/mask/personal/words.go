// SPDX-License-Identifier: Apache-2.0

package personal

import "bytes"

// bits are the classes of a word of the context.
type bits uint64

const (
	phoneWord bits = 1 << iota // says that a phone number follows
	callWord                   // may say so
	cardWord
	ibanWord
	ssnWord
	birthWord
	passportWord
	licenceWord // may be a driving licence, or another
	driveWord
	drivingWord // is a driving licence
	patientWord // may be the number of a patient, with a number word
	recordWord
	mrnWord
	numberWord // "number", "no", "id"
	ourWord    // "my", "his"
	fillWord   // says nothing
	issueWord  // of those, what papers have a date of
	eventWord  // says that a date is of something else
	otherWord  // says that a number is of something else
	versionWord
	hostWord
	socialWord
	travelWord
	passWord // German: a passport, with a number word
	payWord
	fileWord  // "record"
	chartWord // a record of a patient if a number follows at once
	closeWord // of the end of a letter: "regards"
	macWord
	walletWord
	bicWord
	routeWord
	softWord
	// National numbers.
	cpfWord
	ninoWord
	nhsWord
	taxDE
	nirFR
	dniES
	fiscalIT
	aadhaarIN
	panIN
	sinCA
	tfnAU
	medicareAU
	peselPL
	bsnNL
	personSE
	personDK
	personNO
	personFI
	ahvCH
	rijksBE
	nifPT

	nationalWord
	stateWord // with a number word, says that a national number follows
)

// nationals are the classes that say a national number follows.
const nationals = cpfWord | ninoWord | nhsWord | taxDE | nirFR | dniES | fiscalIT | aadhaarIN | panIN | sinCA | tfnAU | medicareAU | peselPL | bsnNL |
	personSE | personDK | personNO | personFI | ahvCH | rijksBE | nifPT | nationalWord

// telling are the classes that say what a value is: the nearest one to the left counts.
const telling = phoneWord | cardWord | ibanWord | ssnWord | birthWord | passportWord | drivingWord | driveWord | mrnWord | otherWord | nationals |
	routeWord | bicWord | walletWord

// vocabulary lists the words of each class, folded: lower case, without marks on Latin letters. A star at the end stands for any ending.
// Words of several words are made of several classes, by the rules.
var vocabulary = []struct {
	class bits
	words string
}{
	{phoneWord, "phone phones phoneno phonenr phonenumber* tel telephone* telefon* telef tlf tlfn mobile mobil mobiltelefon* mobilnummer mobiel mobile* cell cellphone* cellular celular* handy handynummer fax faks telefax* " +
		"telecopie* portable gsm hotline rufnummer* telefoon* mobilny komorka komorkowy puhelin* matkapuhelin whatsapp sms voicemail pager landline msisdn festnetz " +
		"ph mob fon movil cel fijo cellulare fisso callback helpline switchboard ruf durchwahl gsmnummer mobtel toll dialled dialed dial answering texting caller kontaktnummer telno " +
		"denwa keitai dienthoai telp tlph phn telephonique contactnumber phonenumber homephone workphone dayphone tfno fone kontaktnr"},
	{callWord, "call calling ring rang text texted reach reached contact* messages rufen anrufen erreichen erreichbar appeler appelez joindre " +
		"joignable llame llamar llamame contacto contactar ligue ligar chiamare chiamami bellen bel zadzwon dzwonic ringa ring ringe desk telegram viber extension " +
		"whats message emergency anruf bereikbaar soita"},
	{cardWord, "card* cc ccn pan visa mastercard amex discover maestro creditcard* debitcard* kreditkarte* karte kartennummer carte tarjeta* carta cartao karta kort kortnummer kaart* kaartnummer creditcards credit debit kredit"},
	{ibanWord, "iban* kontonummer bankverbindung"},
	{ssnWord, "ssn* ssns socialsecurity* itin ss taxpayer tin"},
	{socialWord, "social soc"},
	{birthWord, "dob dobs birth birthdate* birthday* birthdat* born bday bdate geboren geb geburt geburts* geburtstag* geburtsdatum* naissance nee naiss nacimiento* nacido nacida nac nascimento nascido nascida nasc nascita nato nata " +
		"geboorte* geboortedatum urodz* urodzenia urodzony urodzona ur fodsels* fodt fodd fodelse* fodelsedatum narozen* narozeni syntym* syntynyt syntynyt syntaika dogum* dogumtarihi dateofbirth* birthyear datanascimento datenaissance fechanacimiento " +
		"fechadenacimiento datadinascita sunth szuletesi szuletett rojstva rodjen rodenja anniversaire compleanno cumpleanos verjaardag* urodziny aniversario fodelsedag* geburtsjahr nacio nasceu naquit nacque narodil narozena rozhdeniya nasterii nascut tanggallahir lahir seinengappi seinen tgl"},
	{eventWord, "since admitted admission issued issue expires expiry expire expiration expired exp created updated visit* travel* died death dead joined hired hire signed deployed released release published shipped due dated " +
		"invoice* arrives arrived arrival departure departs appointment starts started start end ended ends effective registered registration discharged discharge paid payment booked modified deadline valid until scheduled " +
		"meeting opened closed founded enrolled vaccinated diagnosed diagnosis seen login logged delivered delivery purchased seit bis ausgestellt gultig aufgenommen emis delivre expire depuis desde emitido vence hasta rilasciato scade dal geldig afgegeven admis ingreso ingresado scadenza sterbedatum timestamp rate rates control"},
	{passportWord, "passport* reisepass* reisepas* pasaporte* passeport* passaporto passaporte paspoort* paszport* passnummer passnr pasnummer cestovni putovnica passeports ppt pasport passinumero"},
	{travelWord, "travel"},
	{passWord, "pass"},
	{payWord, "charge* paid pay paying payment* billing billed"},
	{fileWord, "record records"},
	{chartWord, "patientenakte krankenakte patientakte chart akte dossier mr mrno patient paciente pasient pacjent"},
	{licenceWord, "carne licence* license* lic licenses licences permis permit permits licencia licencia patente patent carnet carta carteira prawo permesso licenca permiso rijbewijs*"},
	{driveWord, "driver* drivers driving drive drives dvla dmv motorist operator operators conduire conducir guida jazdy motorista conducao conductor conducere"},
	{drivingWord, "dl dln dlno driverslicen* driverlicen* drivinglicen* drivernumber fuhrerschein* rijbewijs* korkort* korekort* forerkort* ajokort* cnh habilitacao vodicsky ridicsky prukaz jogositvany fahrerlaubnis* surucu ehliyet drivinglicence dlnumber fuehrerschein*"},
	{patientWord, "medical med pt pat hosp unit ur patient* chart hospital health clinic* clinical medico medica medicale medic paciente* clinica dossier historia krankenakte* akte patienten* cartella sanitario case pasient pacjenta ehr emr inpatient outpatient klinik spital medizinische sante zorg"},
	{recordWord, "record records rec file files chart account acct identifier numero number no id nr num nummer nro code kartei historia dossier akte ref clinica clinico karta fallnummer"},
	{mrnWord, "mrn mrns hrn umrn crn empi emrn mrnumber uhid nhc patientennummer patientnummer patientid patientno patientnumber patientennr patientenid medicalrecord* medrec medrecno medicalrec* chartno hospitalno patnr mrnr krankenaktennummer ipp nip prontuario journalnummer patientidentifier chartnumber healthrecord* recordlocatorpatient"},
	{numberWord, "number numbers no n id ids nr num nummer numero nro nos identifier numer numeru numerot code identification value key digits nb nbr document doc documento"},
	{ourWord, "my his her their your our mein meine ihre mon su meu minha mio mia mijn moj moje mitt"},
	{fillWord, "is are was be been a an the of on at in to as for from and or de del di da do du des le la el il les los las l d s am vom von van der den das dem die und y e et og och i ist est es er este sein " +
		"with by mit avec con com met z w o to em na no que this that these listed shown given under which we have has had file reads following same now new full date data datum dato fecha jour day dag tag giorno dia year place city " +
		"user customer holder client person employee member string text name td tr th span div value val true type format mm dd yyyy yy iso us uk usa it its if not please ending starting was"},
	{issueWord, "issue issued expires expiry expire expiration expired exp valid until ausgestellt gultig emis delivre emitido rilasciato afgegeven"},
	{otherWord, "order orders orderid invoice* tracking sku part serial item items isbn* issn doi model batch lot ticket* issue pr transaction* txn reference confirmation booking parcel shipment product upc ean " +
		"commit hash sha* md5 checksum digest build request session trace uuid guid amount total price cost usd eur gbp qty quantity size bytes count port line lines page pages zip postal postcode plz " +
		"population revenue sales units stock score scores latitude longitude lat lng lon coordinates coordinate coord timestamp epoch time duration offset width height seed random prime integer int float sum average mean " +
		"bestellung* rechnung* bestellnummer commande facture pedido factura fattura ordine zamowienie bestelling case claim policy quote po rma job process thread node cluster chapter section article art figure fig table equation version " +
		"embedding vector array pixels px ms seconds bug rfc cve patent grant isin cusip barcode gtin asin vin imei imsi iccid row rows index matrix regex"},
	{versionWord, "version versions firmware release releases build ver v software update upgrade upgraded downgrade patch revision rev section chapter clause paragraph package assembly fileversion than driver sdk kernel plugin library module chrome safari edg oid heading toc"},
	{hostWord, "ip ips ipv4 ipv6 host hosts hostname address* addr adresse server* client* from ping ssh login port ports subnet dns gateway connect* remote peer source src dst dest destination nameserver bind listen* proxy vpn router network* at " +
		"endpoint visit* user http https sourceip clientip remoteaddr x-forwarded forwarded request* blocked allow* deny* traffic packet* firewall resolver machine vm"},
	{closeWord, "regards sincerely thanks cheers gruse grus grusse gruss gruessen grusen cordialement saludos yours saluti groeten groet pozdrawiam hilsen halsningar atenciosamente cumprimentos wishes best respectfully salutations atentamente abracos vriendelijke terveisin"},
	{macWord, "mac hwaddr ether macaddr macaddress hardware bssid ethernet wifi lladdr"},
	{walletWord, "wallet* btc bitcoin eth ethereum erc20 crypto deposit payout address* usdt"},
	{bicWord, "swift bic swiftcode biccode"},
	{routeWord, "routing aba rtn"},
	{softWord, "software product plate vehicle mit apache gpl bsd source code key activation end site concurrent nursing business"},
	{cpfWord, "cpf* cnpj contribuinte"},
	{ninoWord, "nino ni insurance nationalinsurance*"},
	{nhsWord, "nhs nhsnumber nhsno"},
	{taxDE, "steuer steueridentifikationsnummer steueridnr steuernummer steuerid idnr steuerliche tin tax identifikationsnummer"},
	{nirFR, "nir insee secu securite"},
	{dniES, "dni nie nif documento identidad"},
	{fiscalIT, "fiscale codicefiscale cf"},
	{aadhaarIN, "aadhaar* aadhar* adhaar uidai uid"},
	{panIN, "pan pancard"},
	{sinCA, "sin nas assurance"},
	{tfnAU, "tfn taxfile tax"},
	{medicareAU, "medicare"},
	{peselPL, "pesel"},
	{bsnNL, "bsn burgerservicenummer sofi sofinummer"},
	{personSE, "personnummer samordningsnummer"},
	{personDK, "cpr cprnummer personnummer"},
	{personNO, "fodselsnummer personnummer fnr"},
	{personFI, "henkilotunnus hetu"},
	{ahvCH, "ahv avs ahvnummer oasi sozialversicherungsnummer"},
	{rijksBE, "rijksregisternummer rijksregister niss insz registre"},
	{nifPT, "nif contribuinte"},
	{stateWord, "national citizen citizens identity personal taxpayer tax resident ciudadania"},
	{nationalWord, "nationalid ausweisnummer personalausweis* curp cuil cuit rut rodne egn oib umcn jmbg cnp isikukood amka tckimlik hkid mynumber nationalidentity* identitycard* idcard* personalnummer"},
}

// scripts are the words of scripts that do not put spaces between words, or that are not folded.
var scripts = []struct {
	word  string
	class bits
}{
	{"生年月日", birthWord}, {"出生", birthWord}, {"生日", birthWord}, {"생년월일", birthWord}, {"рожд", birthWord}, {"Рожд", birthWord}, {"γεννησ", birthWord}, {"γέννησ", birthWord}, {"народж", birthWord}, {"الميلاد", birthWord},
	{"電話", phoneWord}, {"电话", phoneWord}, {"手机", phoneWord}, {"携帯", phoneWord}, {"전화", phoneWord}, {"елефон", phoneWord}, {"тел", phoneWord}, {"Тел", phoneWord}, {"ηλέφωνο", phoneWord}, {"הטלפון", phoneWord}, {"هاتف", phoneWord},
	{"旅券", passportWord}, {"パスポート", passportWord}, {"护照", passportWord}, {"護照", passportWord}, {"여권", passportWord}, {"паспорт", passportWord}, {"Паспорт", passportWord}, {"διαβατηρ", passportWord},
	{"免許", drivingWord}, {"驾照", drivingWord}, {"驾驶证", drivingWord}, {"운전면허", drivingWord}, {"водительск", drivingWord},
	{"カルテ", mrnWord}, {"診察券", mrnWord}, {"病历号", mrnWord}, {"患者番号", mrnWord}, {"患者ID", mrnWord},
	{"身份证", nationalWord}, {"マイナンバー", nationalWord}, {"주민등록", nationalWord}, {"ИНН", nationalWord}, {"СНИЛС", nationalWord},
}

const longestWord = 24

// lexicon finds the classes of words. It is built once for all rules and only read after.
type lexicon struct {
	slot  [4096]uint16 // by the hash of the first letters: index of the first entry of a chain, plus one
	entry []entry

	lengths [1000]uint16 // by calling code: a bit for each length that national numbers may have
}

type entry struct {
	word   string
	prefix bool
	class  bits
	next   uint16
}

func newLexicon() *lexicon {
	l := &lexicon{}
	for _, v := range vocabulary {
		for _, w := range bytes.Fields([]byte(v.words)) {
			stem := bytes.TrimSuffix(w, []byte("*"))
			l.add(string(stem), len(stem) < len(w), v.class)
		}
	}
	code, read, number := 0, false, 0
	for _, c := range []byte(callingCodes) {
		switch {
		case isDigit(c):
			number = number*10 + int(c-'0')
			continue
		case !read:
			code, read = number, true
		default:
			l.lengths[code] |= 1 << number
		}
		number, read = 0, c != ';'
	}
	return l
}

func (l *lexicon) add(word string, prefix bool, class bits) {
	h := hash([]byte(word))
	for i := l.slot[h]; i > 0; i = l.entry[i-1].next {
		if e := &l.entry[i-1]; e.word == word && e.prefix == prefix {
			e.class |= class
			return
		}
	}
	l.entry = append(l.entry, entry{word, prefix, class, l.slot[h]})
	l.slot[h] = uint16(len(l.entry))
}

// hash is of the first three letters, so that a word and its stem share a chain. Stems have three letters at least.
func hash(w []byte) uint32 {
	var v uint32
	for i := range 3 {
		v <<= 8
		if i < len(w) {
			v |= uint32(w[i])
		}
	}
	return v * 2654435761 >> 20
}

// class returns the classes of a folded word.
func (l *lexicon) class(w []byte) (c bits) {
	for i := l.slot[hash(w)]; i > 0; {
		e := &l.entry[i-1]
		if len(w) == len(e.word) && string(w) == e.word || e.prefix && len(w) > len(e.word) && string(w[:len(e.word)]) == e.word {
			c |= e.class
		}
		i = e.next
	}
	return c
}
