// SPDX-License-Identifier: Apache-2.0

package main

import "strings"

// forms are the kinds of streets that streetOf knows.
const forms = 18

// countries are where the cities of each kind are.
var countries = [forms][]string{{"US"}, {"GB", "IE"}, {"DE", "AT", "CH"}, {"FR", "BE"}, {"ES", "MX", "AR"}, {"IT"}, {"NL", "BE"}, {"PL"}, {"PT", "BR"}, {"SE"},
	{"DK", "NO"}, {"TR"}, {"IN"}, {"AU", "NZ"}, {"CA"}, {"CZ", "HU", "RO", "SK", "HR", "SI"}, {"FI", "EE", "IS"}, {"JP", "GR", "ID"}}

func (f *filler) name1() string {
	if f.chance(50) {
		return f.last()
	}
	return f.first()
}

func (f *filler) number() string {
	n := f.num(1, []int{30, 200, 999, 9999}[f.r.IntN(4)])
	if f.chance(10) {
		n += f.pick([]string{"a", "b", "A", "B", "C", "bis", " bis", "/2", "-5", "/A", " c"})
	}
	return n
}

func (f *filler) or(class string) string {
	if f.chance(55) {
		return f.pick(f.words[class])
	}
	return f.name1()
}

var (
	enTypes = strings.Fields("Street St St. Road Rd Rd. Avenue Ave Ave. Boulevard Blvd Lane Ln Drive Dr Dr. Court Ct Place Pl Square Terrace Way Close Crescent Circle Highway Parkway Trail Route Row Mews Gardens Grove Walk Hill Alley Plaza Loop Ridge Path Green View Park Drive Street Road Avenue Lane")
	faker   = strings.Fields("Branch Bridge Brook Bypass Camp Canyon Cape Causeway Center Cliff Club Corner Cove Creek Crossing Dale Dam Divide Estate Expressway Extension Falls Ferry Field Flat Ford Forge Fork Fort Freeway Gateway Glen Green Harbor Haven Heights Hollow Inlet Island Isle Junction Key Knoll Lake Land Landing Light Locks Lodge Mall Manor Meadow Mill Mission Motorway Mount Mountain Neck Orchard Oval Overpass Passage Pike Pine Plain Plains Point Port Prairie Radial Ranch Rapid Rest River Roads Rue Shoal Shore Shores Skyway Spring Spur Station Stravenue Stream Summit Throughway Trace Track Trafficway Tunnel Turnpike Underpass Union Unions Valley Via Viaduct Village Ville Vista Wall Well Wells")
)

// streetOf makes a street with its number.
func (f *filler) streetOf(form int) string {
	n := f.number()
	switch form {
	case 0, 1, 13, 14:
		s := f.or("stem")
		if f.chance(8) {
			s = f.pick([]string{"N", "S", "E", "W", "North", "South", "N.", "W."}) + " " + s
		}
		t := f.pick(enTypes)
		if f.chance(25) {
			t = f.pick(faker)
		}
		if form == 1 && f.chance(25) {
			t = strings.ToLower(t)
		}
		if form == 14 && f.chance(20) {
			return n + " rue " + f.or("stem")
		}
		if form == 0 && f.chance(6) {
			return n + " " + f.num(1, 120) + f.pick([]string{"th", "st", "nd", "rd"}) + " " + t
		}
		return n + " " + s + " " + t
	case 2:
		s := f.or("destem")
		t := f.pick(strings.Fields("straße straße straße str. str. weg gasse platz allee ring ufer damm strasse"))
		switch {
		case f.chance(20):
			s = f.name1() + "-" + f.name1() + "-" + f.pick([]string{"Straße", "Str.", "Weg", "Platz", "Allee"})
		case f.chance(15):
			s += f.pick([]string{" Straße", " Str.", " Weg", " Allee", " Strasse"})
		case f.chance(10):
			s = f.pick([]string{"Am ", "An der ", "Im ", "Auf dem ", "Zum "}) + s + t
		default:
			s += t
		}
		return s + f.pick([]string{" ", " ", " ", "\u00a0"}) + n
	case 3:
		t := f.pick(strings.Fields("rue rue rue avenue boulevard chemin place impasse allée quai cours Rue Avenue Boulevard Chemin Place route"))
		s := f.or("frstem")
		if f.chance(25) {
			s = f.pick([]string{"de ", "du ", "de la ", "des ", "de l'"}) + s
		}
		if f.chance(15) {
			s += f.pick([]string{" ", "-"}) + f.name1()
		}
		return n + f.pick([]string{" ", ", ", " "}) + t + " " + s
	case 4:
		s := f.pick(strings.Fields("Calle Calle Calle Avenida Avda. Plaza Paseo Camino C/ Carrer Ronda Rambla Cuesta Vial Callejón Glorieta Acceso Pasaje Urbanización Via")) + " " + f.pick([]string{"", "", "de ", "del ", "de la "}) + f.or("esstem")
		if f.chance(25) {
			s += " " + f.name1()
		}
		s += f.pick([]string{" ", ", ", " ", " Nº ", ", nº "}) + n
		if f.chance(30) {
			s += f.pick([]string{", " + f.num(1, 9) + "º " + f.pick([]string{"A", "B", "C", "D", "Izq", "Dcha"}), " Piso " + f.num(1, 9), " Puerta " + f.num(1, 9), ", piso " + f.num(1, 9), " Apt. " + f.num(1, 99)})
		}
		return s
	case 5:
		s := f.pick(strings.Fields("Via Via Via Viale Piazza Corso Vicolo Largo Strada Borgo Contrada Incrocio Rotonda Canale Stretto")) + " " + f.or("itstem")
		if f.chance(15) {
			s += " " + f.name1()
		}
		s += f.pick([]string{" ", ", ", " "}) + n
		if f.chance(20) {
			s += f.pick([]string{" Appartamento ", " Piano ", ", int. "}) + f.num(1, 99)
		}
		return s
	case 6:
		return f.or("nlstem") + f.pick(strings.Fields("straat straat laan weg plein gracht kade dijk singel steeg pad hof ring dreef baan")) + " " + n
	case 7:
		s := f.pick([]string{"ul. ", "ul. ", "ulica ", "al. ", "aleja ", "pl. ", "plac ", "os. ", ""}) + f.or("plstem") + " " + n
		if f.chance(30) {
			s += f.pick([]string{"/", " m. ", "/"}) + f.num(1, 99)
		}
		return s
	case 8:
		s := f.pick(strings.Fields("Rua Rua Rua Avenida Av. Travessa Praça Alameda Estrada Largo Rodovia Vila R.")) + " " + f.pick([]string{"", "", "de ", "da ", "do ", "dos "}) + f.or("ptstem") + f.pick([]string{", ", ", ", " ", ", nº "}) + n
		if f.chance(25) {
			s += f.pick([]string{", " + f.num(1, 9) + "º " + f.pick([]string{"Esq", "Dto", "B"}), " - " + f.pick(f.all), ", apto " + f.num(1, 99), " - Apto. " + f.num(1, 99)})
		}
		return s
	case 9:
		return f.or("svstem") + f.pick(strings.Fields("gatan gatan vägen gata väg gränd stigen torget allén plan")) + " " + n
	case 10:
		s := f.or("dastem") + f.pick(strings.Fields("gade vej allé stræde plads veien gata vegen gate veg toften haven parken svingen")) + " " + n
		if f.chance(20) {
			s += f.pick([]string{", ", " "}) + f.num(1, 5) + f.pick([]string{". tv", ". th", ". sal", ".tv"})
		}
		return s
	case 11:
		s := f.or("trstem") + f.pick([]string{" Mah. ", " Mahallesi ", " "}) + f.or("trstem") + f.pick([]string{" Sok. ", " Cad. ", " Caddesi ", " Sokak ", " Bulvarı "})
		return s + f.pick([]string{"No: ", "No:", "No ", ""}) + f.num(1, 200) + f.pick([]string{"", " D: " + f.num(1, 30), "/" + f.num(1, 30), " Daire " + f.num(1, 30)})
	case 12:
		p := f.pick([]string{"", "", "", "H.No. ", "Flat " + f.num(1, 99) + f.pick([]string{"A", "B", ""}) + ", ", "Plot No. ", "#", "No. ", "House No. "})
		return p + n + f.pick([]string{", ", "\n", " ", ", "}) + f.or("instem") + " " + f.pick(strings.Fields("Road Nagar Street Marg Colony Chowk Circle Path Ganj Zila Cross Layout Enclave Vihar Extension"))
	case 15:
		s := f.name1()
		switch f.r.IntN(4) {
		case 0:
			return s + f.pick([]string{"ova ", "ská ", "ní ", " "}) + n
		case 1:
			return s + f.pick([]string{" utca ", " út ", " tér ", " körút ", " u. "}) + n + f.pick([]string{".", ""})
		case 2:
			return f.pick([]string{"Strada ", "Str. ", "Bulevardul ", "Bd. ", "Aleea "}) + s + f.pick([]string{" nr. ", " Nr. ", " "}) + n
		}
		return f.pick([]string{"Ulica ", "ulica ", "Trg ", ""}) + s + f.pick([]string{" ulica ", " cesta ", " trg ", " "}) + n
	case 16:
		return f.name1() + f.pick(strings.Fields("katu tie kuja polku -tee gata stígur braut vegur põik")) + f.pick([]string{" ", " tee ", " "}) + n
	}
	switch f.r.IntN(3) {
	case 0:
		return f.num(1, 9) + "-" + f.num(1, 30) + "-" + f.num(1, 30) + " " + f.name1()
	case 1:
		return f.pick([]string{"Jl. ", "Jalan ", "Gang ", "Leoforos ", "Odos "}) + f.name1() + f.pick([]string{" No. ", " No.", " "}) + n
	}
	return f.name1() + " " + n
}

// military makes a box of a post office.
func (f *filler) box() string {
	switch f.r.IntN(6) {
	case 0:
		return f.pick([]string{"P.O. Box ", "PO Box ", "P.O.Box ", "Post Office Box ", "Postfach ", "Apartado ", "BP "}) + f.digits(3+f.r.IntN(3))
	case 1:
		return "PSC " + f.digits(4) + ", Box " + f.digits(4) + "\nAPO " + f.pick([]string{"AA ", "AE ", "AP "}) + f.digits(5)
	case 2:
		return "Unit " + f.digits(4) + " Box " + f.digits(4) + "\nDPO " + f.pick([]string{"AA ", "AE ", "AP "}) + f.digits(5)
	case 3:
		return f.pick([]string{"USNS ", "USS ", "USCGC ", "USNV "}) + f.last() + "\nFPO " + f.pick([]string{"AA ", "AE ", "AP "}) + f.digits(5)
	}
	return f.pick([]string{"P.O. Box ", "PO Box "}) + f.digits(4) + ", " + f.pick(f.cities["US"]) + ", " + f.pick(states) + " " + f.digits(5)
}

var states = strings.Fields("AL AK AZ AR CA CO CT DE FL GA HI IA ID IL IN KS KY LA MA MD ME MI MN MO MS MT NC ND NE NH NJ NM NV NY OH OK OR PA RI SC SD TN TX UT VA VT WA WI WV WY")

// town makes what follows a street.
func (f *filler) town(form int) string {
	c := f.pick(f.cities[f.pick(countries[form])])
	if f.chance(20) {
		c = f.pick([]string{"Port ", "East ", "New ", "North ", "Lake ", "South ", "West "}) + f.first() + f.pick([]string{"", "ville", "bury", "ton", "mouth", "burgh", "fort", "berg", "shire", "view"})
	}
	letters, d := f.letters, f.digits
	switch form {
	case 0:
		return c + ", " + f.pick(states) + " " + d(5) + f.pick([]string{"", "", "", "-" + d(4)})
	case 1:
		return c + f.pick([]string{", ", "\n", " "}) + letters(1+f.r.IntN(2)) + f.num(1, 20) + f.pick([]string{" ", " ", ""}) + f.num(1, 9) + letters(2)
	case 2, 3, 4, 15, 16:
		return f.pick([]string{"", "", "", "D-", "CH-", "F-"}[:3+f.r.IntN(4)]) + d(4+f.r.IntN(2)) + " " + c
	case 5:
		return d(5) + " " + c + f.pick([]string{"", " (" + letters(2) + ")", ", " + d(5) + " " + f.pick(f.cities["IT"]) + " (" + letters(2) + ")"})
	case 6:
		return d(4) + f.pick([]string{" ", ""}) + letters(2) + f.pick([]string{" ", ", "}) + c
	case 7:
		return d(2) + "-" + d(3) + " " + c
	case 8:
		return f.pick([]string{d(4) + "-" + d(3) + " " + c, c + " - " + letters(2) + ", " + d(5) + "-" + d(3), d(5) + "-" + d(3) + " " + c + " / " + letters(2), d(8) + " " + c + " / " + letters(2)})
	case 9:
		return d(3) + " " + d(2) + " " + c
	case 10:
		return d(4) + " " + c
	case 11:
		return f.pick([]string{d(5) + " " + c, d(5) + " " + c + "/" + f.pick(f.cities["TR"]), c})
	case 12:
		return c + f.pick([]string{" - ", "-", " ", ", "}) + f.pick([]string{d(6), f.pick([]string{"Maharashtra ", "Karnataka ", "Delhi ", "Kerala "}) + d(6)})
	case 13:
		return c + f.pick([]string{" ", ", "}) + f.pick([]string{"NSW", "VIC", "QLD", "WA", "SA", "TAS", "ACT"}) + f.pick([]string{" ", ", "}) + d(4)
	case 14:
		return c + ", " + f.pick([]string{"ON", "QC", "BC", "AB", "MB", "NS"}) + " " + letters(1) + d(1) + letters(1) + " " + d(1) + letters(1) + d(1)
	}
	return f.pick([]string{c, c + " " + d(3) + "-" + d(4), d(5) + " " + c, c + ", " + d(5)})
}

// address makes an address; mixed ones have a number in front, a flat and a city of anywhere, as some generators write them.
func (f *filler) address(mixed bool) string {
	if f.chance(6) {
		return f.box()
	}
	form := f.r.IntN(forms)
	if f.chance(25) {
		form = f.r.IntN(4)
	}
	s := f.streetOf(form)
	sep := f.pick([]string{", ", "\n", ", ", "\n", " ", "\n "})
	flat := func() string {
		return f.pick([]string{"Apt. ", "Suite ", "Apt ", "Unit ", "Flat ", "#", "Studio ", "Floor ", "Apartment "}) + f.digits(1+f.r.IntN(3)) + f.pick([]string{"", "", "", "B", "a"})
	}
	if mixed && f.chance(60) {
		if f.chance(75) {
			s = f.digits(3+f.r.IntN(3)) + " " + s
		}
		if f.chance(60) {
			s += f.pick([]string{" ", "\n ", "\n", ", "}) + flat()
		}
		if f.chance(8) {
			s = "the corner of " + s + " and " + f.name1() + " " + f.pick(faker)
		}
		switch f.r.IntN(6) {
		case 0:
			return s
		case 1:
			return s + sep + f.pick(f.all) + sep + f.pick(f.lands) + f.pick([]string{"", " " + f.digits(5)})
		case 2:
			return s + "\n" + f.pick(f.all) + "\n, " + f.pick(states) + "\n " + f.digits(5)
		case 3:
			return s + sep + f.pick(f.all) + ", " + f.pick(f.lands) + " " + f.digits(5)
		case 4:
			return s + sep + f.pick(f.all)
		}
		return s + " " + f.pick(f.all) + " " + f.pick(f.lands)
	}
	if form < 2 || form > 11 {
		switch k := f.r.IntN(100); {
		case k < 14:
			s += f.pick([]string{", ", " ", ", "}) + flat()
		case k < 20:
			s = flat() + f.pick([]string{", ", " ", "\n", "/"}) + s
		}
	}
	if f.chance(15) {
		return s
	}
	s += sep + f.town(form)
	if f.chance(6) {
		s += f.pick([]string{", ", "\n"}) + f.pick(f.lands)
	}
	return s
}
