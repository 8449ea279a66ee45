package api

import (
	"regexp"
	"strings"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// The types of this file, of the other files shapes_*.go, and of attention.go, doctor.go,
// inspect.go and vectors.go are what verbs print with --json and write to results files, one object
// a line. The Origin of results says what made them; it is nil where a program does not set it.

// Error is the object on standard error where a command failed.
type Error struct {
	Error string `json:"error"` // one line
	Exit  int    `json:"exit"`  // the command's exit code
}

// NewError is what is printed of an error.
func NewError(err error) Error { return Error{OneLine(err), KindOf(err).Exit} }

// Warning is the object on standard error for what the user should know though all goes on.
type Warning struct {
	Warning string `json:"warning"`
}

// Failure takes the place of a picture's line where the picture failed and others go on.
type Failure struct {
	Image Name   `json:"image"`
	Error string `json:"error"` // one line
	*Origin
}

// NewFailure is what is printed of a picture that failed.
func NewFailure(image string, err error) Failure {
	return Failure{Image: Name(image), Error: OneLine(err)}
}

// OneLine is the message of an error without line breaks, and as Visible shows it. Of a limit it
// says what a user can do, in place of the Go field.
func OneLine(err error) string {
	breaks := func(r rune) bool { return r == '\n' || r == '\r' }
	return Visible(strings.Join(strings.FieldsFunc(withAdvice(err.Error()), breaks), "; "))
}

// LimitAdvice says what a user of the command can do about limits, by their fields in
// pipeline.Limits and vision.Limits. Nothing but a smaller input helps where a field is not here.
var LimitAdvice = map[string]string{
	"OutputTokens": "lower --max-new-tokens",
	"Batch":        "lower --batch, --num-beams or --num-return-sequences",
	"PromptTokens": "shorten the text",
	"ImagePixels":  "scale the picture down", "Pixels": "scale the picture down",
	"ImageSide": "scale the picture down", "Side": "scale the picture down",
}

var limitField = regexp.MustCompile(` \(Limits\.(\w+)\)`)

func withAdvice(message string) string {
	return limitField.ReplaceAllStringFunc(message, func(field string) string {
		advice := LimitAdvice[limitField.FindStringSubmatch(field)[1]]
		if advice != "" {
			advice = ": " + advice
		}
		return advice
	})
}

// textOf is a text as lines have it, made in some seconds.
func textOf(text *pipeline.Text, seconds float64) pipeline.TextJSON {
	line := text.JSON()
	line.Seconds = seconds
	return line
}

// others are the texts after the best one.
func others(texts []*pipeline.Text) []string {
	var list []string
	for _, t := range texts[1:] {
		list = append(list, t.Text)
	}
	return list
}

// Caption is one picture's line of caption. Its texts are the same under "caption" and "text".
type Caption struct {
	Image   Name     `json:"image"`
	Caption string   `json:"caption"`
	Others  []string `json:"others,omitempty"` // where several texts were asked for
	pipeline.TextJSON
	Places []pipeline.Place `json:"places,omitempty"` // that the text names
	*Origin
}

// NewCaption makes a picture's line from its texts, one at least, the best first, and what the
// model's CaptionConfidence says of that one.
func NewCaption(
	image string, texts []*pipeline.Text, c *pipeline.Confidence, seconds float64,
) Caption {
	best := texts[0]
	line := Caption{
		Image: Name(image), Caption: best.Text, Others: others(texts),
		TextJSON: textOf(best, seconds),
	}
	line.Confidence = c
	return line
}

// Question is a line of the file that ask --questions reads.
type Question struct {
	Image    Name   `json:"image"`
	Question string `json:"question"`
}

// Example is a line of the file that ask --shots reads: what the model should write of a picture.
type Example struct {
	Image    Name   `json:"image"`
	Question string `json:"question"`
	Text     string `json:"text"`
}

// Answer is one question's line of ask. Its texts are the same under "answer" and "text".
type Answer struct {
	Image    Name     `json:"image"`
	Question string   `json:"question"`
	Answer   string   `json:"answer"`
	Others   []string `json:"others,omitempty"` // where several texts were asked for
	pipeline.TextJSON
	Choices []pipeline.Choice `json:"choices,omitempty"` // where the answer was picked among some
	Places  []pipeline.Place  `json:"places,omitempty"`  // that the text names
	*Origin
}

// NewAnswer makes a question's line from its texts, one at least, the best first.
func NewAnswer(q Question, texts []*pipeline.Text, seconds float64) Answer {
	best := texts[0]
	return Answer{
		Image: q.Image, Question: q.Question, Answer: best.Text, Others: others(texts),
		TextJSON: textOf(best, seconds),
	}
}

// NewChosen makes a question's line from choices, one at least; the answer is the most probable.
func NewChosen(q Question, scored []pipeline.Choice, seconds float64) Answer {
	best := scored[0]
	for _, c := range scored {
		if c.Probability > best.Probability {
			best = c
		}
	}
	text := &pipeline.Text{Text: best.Text, LogProb: best.LogProb}
	return Answer{
		Image: q.Image, Question: q.Question, Answer: best.Text, TextJSON: textOf(text, seconds),
		Choices: scored,
	}
}

// Match is one text's line of match. One of Image and Audio is empty.
type Match struct {
	Image Name `json:"image,omitempty"`
	Audio Name `json:"audio,omitempty"`
	pipeline.MatchJSON
	*Origin
}

// NewMatch is what is printed of a match.
func NewMatch(image string, m pipeline.Match) Match {
	return Match{Image: Name(image), MatchJSON: m.JSON()}
}

// Label is one label's line of classify. One of Image and Audio is empty.
type Label struct {
	Image Name `json:"image,omitempty"`
	Audio Name `json:"audio,omitempty"`
	pipeline.LabelJSON
	*Origin
}

// NewLabel is what is printed of a label.
func NewLabel(image string, l pipeline.Label) Label {
	return Label{Image: Name(image), LabelJSON: l.JSON()}
}

// Embedding is the line of embed for a picture, a sound or a text; the others are empty.
type Embedding struct {
	Image     Name      `json:"image,omitempty"`
	Audio     Name      `json:"audio,omitempty"`
	Text      string    `json:"text,omitempty"`
	Embedding []float32 `json:"embedding"` // of length 1
	*Origin
}

// Preprocessed is the line of preprocess.
type Preprocessed struct {
	Images []Name  `json:"images"`
	DType  string  `json:"dtype"`
	Shape  []int   `json:"shape"`
	Min    float32 `json:"min"`
	Max    float32 `json:"max"`
	Mean   float64 `json:"mean"`
	Out    Name    `json:"out,omitempty"` // file of the tensor
	PNG    []Name  `json:"png,omitempty"` // files of the pictures
}

func newNames(paths []string) []Name {
	list := make([]Name, len(paths))
	for i, path := range paths {
		list[i] = Name(path)
	}
	return list
}

// NewPreprocessed describes a model's input, float32 with one value at least.
func NewPreprocessed(images []string, t *tensor.Tensor) Preprocessed {
	line := Preprocessed{Images: newNames(images), DType: t.DType().String(), Shape: t.Shape()}
	values := tensor.Data[float32](t)
	line.Min, line.Max = values[0], values[0]
	for _, v := range values {
		line.Min, line.Max = min(line.Min, v), max(line.Max, v)
		line.Mean += float64(v)
	}
	line.Mean /= float64(len(values))
	return line
}

// Output is one output's line of run.
type Output struct {
	Output string `json:"output"` // name in the graph
	DType  string `json:"dtype"`
	Shape  []int  `json:"shape"`
	File   Name   `json:"file"`
}

// NewOutput describes an output of a graph that was written to a file.
func NewOutput(name string, t *tensor.Tensor, file string) Output {
	return Output{name, t.DType().String(), t.Shape(), Name(file)}
}

// Encoded is one text's line of tokenize.
type Encoded struct {
	IDs     []int64  `json:"ids"`
	Tokens  []string `json:"tokens,omitempty"`
	Offsets [][2]int `json:"offsets,omitempty"` // first byte and the one after the last
}

// NewEncoded is what is printed of a text's tokens, with their places in the text if wanted.
func NewEncoded(e *tokenize.Encoding, offsets bool) Encoded {
	line := Encoded{IDs: e.IDs}
	if offsets {
		line.Tokens = e.Tokens
		line.Offsets = make([][2]int, len(e.Offsets))
		for i, o := range e.Offsets {
			line.Offsets[i] = [2]int{o.Start, o.End}
		}
	}
	return line
}

// Decoded is one line of tokenize --decode.
type Decoded struct {
	Text string `json:"text"`
}
