package find

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind is what a question asks for.
type kind int

const (
	anything kind = iota
	aDate
	aYear
	aPerson
	aNumber
	anAmount // of money
	aShare   // a percentage
	aPlace
	aMail
	aPhone
	aCode     // a number by which something is known
	aSize     // a number with a unit
	anAddress // of a house
	aSentence // yes or no, how or why: a whole sentence answers
)

// question is a question as it is looked up.
type question struct {
	terms []string // stems, each once
	kind  kind
}

// asks are beginnings and words of questions by what they ask for; the first that fits counts.
var asks = []struct {
	kind    kind
	pattern *regexp.Regexp
}{
	{aSentence, regexp.MustCompile(`^\s*(is|are|was|were|do|does|did|can|may|must|has|have|will|why|warum|ist|sind|darf|kann)\b|^\s*how (do|does|did|can|to|should|is|are) `)},
	{aMail, regexp.MustCompile(`\be-?mail\b`)},
	{aPhone, regexp.MustCompile(`\b(tele)?phone\b|\bmobile\b|\bfax\b|\bcalled at\b|\btelefon`)},
	{aYear, regexp.MustCompile(`\b(what|which|in what|in which) year\b|\bwelchem jahr|\bquelle année`)},
	{aDate, regexp.MustCompile(`\bwhen\b|\bdate\b|\b(what|which) day\b|\b(by|until|since|from) (when|what date)\b|\bwann\b|\bdatum\b|\bquand\b|\bcu[aá]ndo\b|\bfecha\b|\bdeadline\b`)},
	{aShare, regexp.MustCompile(`\bpercent|\bwhat share\b|\bwhat (interest|discount|rate)\b|\bprozent|\bpourcentage`)},
	{aNumber, regexp.MustCompile(`\bhow many\b|\bwie ?viele\b|\bcombien de\b|\bcu[aá]nt[oa]s\b|\bquantity\b`)},
	{anAmount, regexp.MustCompile(`\bhow much (is|are|was|were|does|do|did|has|have) .*(cost|rent|deposit|premium|balance|due|paid|pay|owed|price|total|fee|tax|toll|vat|charge|repair|night)|\bhow much money\b|\b(price|cost|costs|fee|amount|total|subtotal|toll|salary|wage|rent|deposit|premium|balance|budget|betrag|preis|kostet|prix|precio)\b|\b(sales |annual )tax\b`)},
	{aSize, regexp.MustCompile(`\bweighs?\b|\bhow (long|high|tall|wide|deep|heavy|far|fast|large|big|old)\b|\b(length|height|width|depth|weight|altitude|distance|area|speed)\b`)},
	{aSize, regexp.MustCompile(`\bhow much\b|\bwie ?viel\b|\bcombien\b|\bcu[aá]nto\b|\bwie hoch\b`)},
	{aNumber, regexp.MustCompile(`\bhow often\b`)},
	{aPerson, regexp.MustCompile(`\bwho(m|se)?\b|\bwer\b|\bqui\b|\bqui[eé]n\b|\b(what|which) (person|doctor|company)\b|\bname of the (person|owner|author|customer|patient|student|applicant)`)},
	{anAddress, regexp.MustCompile(`\baddress\b|\badresse\b|\bwhere (do|does|did) .* live\b`)},
	{aPlace, regexp.MustCompile(`\bwhere\b|\bwo\b|\boù\b|\bd[oó]nde\b|\b(what|which) ((is|was) the (\w+ )?)?(city|town|country|place|port)\b`)},
	{aCode, regexp.MustCompile(`\b(number|no|nr|id|code|plate|reference|iban|nummer|kennzeichen)\b`)},
}

// ask reads a question.
func ask(text string) question {
	var q question
	lower := strings.ToLower(text)
	for _, a := range asks {
		if a.pattern.MatchString(lower) {
			q.kind = a.kind
			break
		}
	}
	seen := map[string]bool{}
	add := func(keep func(string) bool) {
		for _, w := range wordsOf(text) {
			if !seen[w.stem] && keep(w.stem) {
				seen[w.stem] = true
				q.terms = append(q.terms, w.stem)
			}
		}
	}
	add(func(s string) bool { return s != "" && !stopped[s] })
	if len(q.terms) == 0 { // "who is it?": better than nothing
		add(func(s string) bool { return s != "" })
	}
	return q
}

const month = `(?:jan(?:uary|uar)?|feb(?:ruary|ruar)?|mar(?:ch)?|märz|apr(?:il)?|may|mai|june?|juni|july?|juli|aug(?:ust)?|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?|janvier|février|mars|avril|juin|juillet|août|septembre|octobre|novembre|décembre|enero|febrero|marzo|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre)`

// looks of what is asked for, in a text.
var (
	looksDate = regexp.MustCompile(`(?i)\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b|\b\d{1,2}(?:st|nd|rd|th|\.)?(?: of| de)? ` +
		month + `\.?,? (?:de )?\d{2,4}\b|\b` + month + `\.? \d{1,2}(?:st|nd|rd|th)?,? \d{4}\b|\b` + month + `\.? \d{4}\b|\b\d{1,2}\.? ` +
		month + `\b|\d{4}年(?:\d{1,2}月(?:\d{1,2}日)?)?`)
	looksYear    = regexp.MustCompile(`\b(?:1[0-9]|20)\d\d\b`)
	looksNumber  = regexp.MustCompile(`[-+−]?\d[\d.,' ]*\d|\d`)
	looksMoney   = regexp.MustCompile(`(?i)(?:[$€£¥]|\b(?:EUR|USD|GBP|CHF|Rs\.?))\s?\d[\d.,']*(?: ?(?:thousand|million|billion|m|bn|k)\b)?|\b\d[\d.,']*\s?(?:(?:thousand|million|billion) )?(?:[$€£¥円元]|(?:EUR|USD|GBP|CHF|JPY|euros?|dollars?|pounds?|francs?)\b)`)
	looksDecimal = regexp.MustCompile(`\b\d[\d,.']*[.,]\d\d\b`)
	looksShare   = regexp.MustCompile(`\d[\d.,]*\s?(?:%|percent\b|per cent\b|Prozent\b)`)
	looksMail    = regexp.MustCompile(`[\w.+-]+@[\w-]+(?:\.[\w-]+)+`)
	looksPhone   = regexp.MustCompile(`(?:\+|\(0|\b0|\b)\d[\d\s()/.-]{5,}\d`)
	looksCode    = regexp.MustCompile(`\b[A-Z]{0,4}[-/]?\d[\w/-]*\d\b(?:[- ]?[A-Z\d]+\b)*|\b[A-Z]{1,4}[- ]?\d+\b`)
	looksSize    = regexp.MustCompile(`(?i)\b\d[\d.,']*\s?(?:metres?|meters?|kilomet\w+|km|cm|mm|m|miles?|feet|ft|foot|inch(?:es)?|kg|g|t|tons?|tonnes?|lbs?|pounds|litres?|l|hours?|h|minutes?|min|seconds?|s|days?|weeks?|months?|years?|km/h|mph|m²|m2|ha|acres|°C)(?:\W|$)`)
	looksName    = regexp.MustCompile(`(?:(?:Dr|Mr|Mrs|Ms|Prof|Sir|St)\.? )?\p{Lu}[\p{L}'’.-]*(?: (?:de|van|von|der|of|the|&|and|la|di|du) \p{Lu}[\p{L}'’-]*| \p{Lu}[\p{L}'’.-]*| &(?: \p{Lu}[\p{L}'’-]*)?)*`)
	looksAddress = regexp.MustCompile(`\b\d{1,5}[a-z]? \p{Lu}[\p{L}.'-]+(?: [\p{L}.'-]+)*(?:, [\p{L}\d][\p{L}\d .'#-]*)*|\p{Lu}[\p{L}-]*(?:str\.|straße|strasse|weg|allee|platz|gasse) \d+\w?(?:, [\p{L}\d][\p{L}\d .'-]*)*`)
	hasStreet    = regexp.MustCompile(`\b\d+\w? \p{Lu}|\p{L}(?:straße|strasse|str\.) ?\d|\b\d{4,5} \p{Lu}`)
)

// spans finds in a text what is of a kind, the best fitting pattern alone.
func (k kind) spans(text string) [][]int {
	var patterns []*regexp.Regexp
	switch k {
	case aDate:
		patterns = []*regexp.Regexp{looksDate, looksYear}
	case aYear:
		patterns = []*regexp.Regexp{looksYear}
	case aNumber:
		patterns = []*regexp.Regexp{looksNumber}
	case anAmount:
		patterns = []*regexp.Regexp{looksMoney, looksDecimal, looksNumber}
	case aShare:
		patterns = []*regexp.Regexp{looksShare}
	case aMail:
		patterns = []*regexp.Regexp{looksMail}
	case aPhone:
		patterns = []*regexp.Regexp{looksPhone}
	case aCode:
		patterns = []*regexp.Regexp{looksCode, looksNumber}
	case aSize:
		patterns = []*regexp.Regexp{looksSize, looksMoney, looksNumber}
	case anAddress:
		patterns = []*regexp.Regexp{looksAddress, looksName}
	case aPerson, aPlace:
		patterns = []*regexp.Regexp{looksName}
	}
	for _, p := range patterns {
		if found := p.FindAllStringIndex(text, -1); found != nil {
			return found
		}
	}
	return nil
}

// fits says how well a text, a cell or what stands behind a label, is of a kind: from -1 to 1, 0 where nothing tells.
func (k kind) fits(text string) float64 {
	digits, letters := 0, 0
	for _, r := range text {
		switch {
		case unicode.IsDigit(r):
			digits++
		case unicode.IsLetter(r):
			letters++
		}
	}
	yes := func(ok bool) float64 {
		if ok {
			return 1
		}
		return -1
	}
	switch k {
	case aDate:
		if looksDate.MatchString(text) {
			return 1
		}
		if looksYear.MatchString(text) {
			return 0.3
		}
		return -1
	case aYear:
		return yes(looksYear.MatchString(text))
	case aNumber:
		switch {
		case digits == 0:
			return -1
		case looksDate.MatchString(text):
			return -0.5
		}
		return yes(digits >= letters)
	case anAmount:
		switch {
		case looksMoney.MatchString(text) || looksDecimal.MatchString(text) && !looksDate.MatchString(text):
			return 1
		case looksDate.MatchString(text) || digits == 0:
			return -1
		}
		return 0
	case aShare:
		if looksShare.MatchString(text) {
			return 1
		}
		return min(0, yes(digits > 0))
	case aMail:
		return yes(looksMail.MatchString(text))
	case aPhone:
		if !looksPhone.MatchString(text) || digits <= letters || digits < 6 || looksDate.MatchString(text) {
			return -1
		}
		if strings.ContainsAny(text, "+(") || strings.HasPrefix(strings.TrimSpace(text), "0") {
			return 1
		}
		return 0.3
	case aSize:
		switch {
		case looksDate.MatchString(text) || digits == 0:
			return -1
		case looksSize.MatchString(text) || looksMoney.MatchString(text) || digits >= letters:
			return 1
		}
		return 0
	case aPerson:
		if digits > 0 {
			return -1
		}
		return yes(nameShare(text) >= 0.6)
	case aPlace, anAddress:
		switch {
		case looksDate.MatchString(text) || looksMoney.MatchString(text) || letters == 0 || looksMail.MatchString(text):
			return -1
		case hasStreet.MatchString(text):
			return 1
		}
		return 0.5 * yes(nameShare(text) >= 0.6)
	case aCode:
		switch {
		case looksDate.MatchString(text) || digits == 0:
			return -1
		}
		return 0.5
	}
	return 0
}

// nameShare is how many of a text's words begin with a capital letter, or have no case.
func nameShare(text string) float64 {
	names, all := 0.0, 0.0
	for _, w := range strings.Fields(text) {
		first, _ := utf8.DecodeRuneInString(strings.TrimLeft(w, "(\"'“"))
		if !unicode.IsLetter(first) || stopped[stem(w)] {
			continue
		}
		if all++; !unicode.IsLower(first) {
			names++
		}
	}
	return names / max(all, 1)
}
