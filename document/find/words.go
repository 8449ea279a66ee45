package find

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// word is a run of letters and digits of a text, as it is compared.
type word struct {
	stem     string
	from, to int // bytes of the text
}

// wordsOf parts a text into words. Of Chinese and Japanese, which put no spaces, each pair of neighbours is one.
func wordsOf(text string) (words []word) {
	begin := -1
	end := func(to int) {
		if begin >= 0 {
			words = append(words, word{stem(text[begin:to]), begin, to})
		}
		begin = -1
	}
	ideographs := 0 // in a row before here
	last := 0
	for i, r := range text {
		size := len(string(r))
		if unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) {
			end(i)
			if ideographs++; ideographs == 2 {
				words[len(words)-1] = word{text[last : i+size], last, i + size}
			} else {
				from := i
				if ideographs > 2 {
					from = last
				}
				words = append(words, word{text[from : i+size], from, i + size})
			}
			last = i
			continue
		}
		ideographs = 0
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r):
			if begin < 0 {
				begin = i
			}
		case begin >= 0 && inNumber(text, i):
		case begin >= 0 && r == '\'' || r == '’': // of a genitive, which stem takes off
		default:
			end(i)
		}
	}
	end(len(text))
	return words
}

// inNumber reports whether a point or comma at i stands between digits.
func inNumber(text string, i int) bool {
	return (text[i] == '.' || text[i] == ',') && i > 0 && i+1 < len(text) && isDigit(text[i-1]) && isDigit(text[i+1])
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// suffixes of English words, the longest first.
var suffixes = []string{
	"alities", "ations", "ality", "ation", "ments", "ances", "ences", "ities", "ings", "ment", "ance", "ence", "ions",
	"able", "ible", "ness", "ing", "ion", "ity", "ies", "ers", "ors", "ful", "ous", "ive", "ed", "er", "or", "es", "ly", "ic",
	"al", "s", "y", "e",
}

// stem folds a word's case, accents and compatibility forms (NFKD), and takes English endings off, so that "paid on
// delivery" and "delivered" meet. It is cruder than Porter's, and made for short labels.
func stem(s string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(s) {
		if !unicode.Is(unicode.Mn, r) {
			b.WriteRune(unicode.ToLower(r))
		}
	}
	s = b.String()
	s = strings.TrimSuffix(strings.TrimSuffix(s, "'s"), "’s")
	s = strings.Trim(s, "'’")
	if s == "" || isDigit(s[0]) || strings.ContainsFunc(s, func(r rune) bool { return r >= 0x250 }) {
		return s
	}
	for range 2 { // "buildings": "building", "build"
		for _, suffix := range suffixes {
			if rest, ok := strings.CutSuffix(s, suffix); ok && len(rest) >= 3 && (len(rest) > 3 || len(suffix) < 3) {
				s = rest
				break
			}
		}
	}
	if n := len(s); n > 3 && s[n-1] == s[n-2] && s[n-1] != 's' && s[n-1] != 'l' {
		s = s[:n-1]
	}
	return s
}

// akin says how much two stems mean the same, from 0 to 1.
func akin(a, b string) float64 {
	if a == b {
		return 1
	}
	if groupsOf[a] != nil && groupsOf[b] != nil {
		for _, g := range groupsOf[a] {
			for _, h := range groupsOf[b] {
				if g == h {
					return 0.8
				}
			}
		}
	}
	if shorter := min(len(a), len(b)); shorter >= 4 && !isDigit(a[0]) && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a)) {
		return 0.7 // "rain", "rainfall"
	}
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	if longer := max(len(a), len(b)); n >= 5 && longer-n <= 3 && 10*n >= 7*longer && !isDigit(a[0]) {
		return 0.8
	}
	return 0
}

// groups are words of forms, letters and invoices that stand for each other, or of which one asks for the other.
var groups = []string{
	"phone telephone tel mobile cell",
	"email mail",
	"address live lives street resident residence",
	"born birth birthday dob",
	"number no nr num",
	"total sum amount altogether",
	"due payable pay paid payment deadline owed transfer",
	"price cost costs charge fee rate toll",
	"quantity qty pieces units",
	"customer buyer client billed sold",
	"seller vendor supplier issuer",
	"vat tax gst",
	"name named",
	"job occupation profession living",
	"issue issued date made",
	"built build constructed construction erected",
	"designed design architect",
	"author wrote written writer",
	"long length", "high height altitude elevation", "heavy weight weigh weighs", "wide width", "deep depth", "old age",
	"fast speed", "far distance", "large size area big",
	"arrive arrival arrived", "depart departure leave leaves", "deliver delivery delivered shipped",
	"expire expires expiry valid until", "until deadline", "start begin begins beginning started commencement",
	"end ends finish until",
	"salary wage earn earns earned revenue",
	"car vehicle", "vet veterinarian", "ship vessel boat", "goods cargo", "receives recipient", "sends sender shipper",
	"discount reduction rebate", "early within", "admitted admission", "make model brand", "married spouse", "type kind group",
	"visitors visit guests", "percent percentage share rate", "insures insurance insurer", "town city place",
	"company firm employer", "contact person", "year annual yearly", "month monthly", "day daily",
	"doctor physician dr", "plate licence", "signed signature", "reference ref",
}

// groupsOf are the groups that a stem is in.
var groupsOf = func() map[string][]int {
	of := map[string][]int{}
	for i, g := range groups {
		for _, w := range strings.Fields(g) {
			of[stem(w)] = append(of[stem(w)], i)
		}
	}
	return of
}()

// stopped are words that say nothing of what is asked.
var stopped = func() map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(`a an the of in on at to for from by with and or as is are was were be been being am do does did
		done has have had can could may might must shall should will would it its this that these those there here they their he she his
		her we our you your i my me who whom whose what which when where why how much many please tell give find show say says come comes came
		said known given stated listed mentioned called used made written entered noted shown recorded document page according list get got one each every any some not if than then so into about also
		der die das ein eine einen einer des dem den und ist sind war wird wurde wer wie was wann wo welche welcher welches wieviel viel no nr lautet lauten hoch heißt beträgt wurden werden mein meine ihr ihre für mit
		le la les un une du de est sont qui que quel quelle quand combien et au aux
		el los las una es son quien cuando donde cuanto cual y en del`) {
		set[stem(w)] = true
	}
	return set
}()

// subjects are words for whose record a document is, or for what it is: its labels seldom repeat them.
var subjects = stems(`patient applicant student customer client member employee candidate person user holder form invoice bill letter
	certificate report contract receipt statement table record application people total file article text paper`)
