// Package pipeline is xpipe's Go API: open a model bundle, then caption pictures and answer
// questions about them.
//
//	p, err := pipeline.Open(ctx, "path/to/bundle")
//	caption, err := p.CaptionFile(ctx, "photo.jpg")
//	img, err := p.DecodeFile("photo.jpg")
//	answer, err := p.Answer(ctx, img, "what color is the shape?")
//
// There are also Transcribe, Stream, Choose, AnswerShots (few-shot), Match, Classify, EmbedImages, EmbedTexts and
// Attend, and CaptionAll and EmbedAll for any number of pictures. docs/go.md shows them by their
// jobs.
//
// A Pipeline joins the packages below it: a front end (vision) turns a picture into the tensors
// that the model was trained on, tokenize turns text into ids, an engine runs the graphs. The steps
// between the graphs are in the folders of this package: how each family's graphs follow one
// another (family), decoding (decode), the projection from image to language width (graph), maps of
// attention (attend). This package holds the API: requests, tasks, limits.
//
// Open reads a folder, OpenFS a file system, such as that of an embedded model (package models/mini,
// or one package a model below it). Neither looks anywhere else. This package and those below it
// start no process and open no connection; the engine is the Go engine, or one that the program
// gives.
//
// # Batches
//
// A batch in which some items cannot be used returns the results of the others beside its error; see
// ItemError. A batch of nothing gives nothing.
//
// # A request's way
//
// Requests become lists of parts, text and items, at one door (request.go). The items are prepared
// by their front end and encoded by the model, each distinct one once (encode.go). Then the model
// lays out its prompt, text ids and rows of items, and starts a batch of sequences, which package
// decode continues token by token (generate.go). Later requests can take the result of Encode in a
// picture's place.
//
// # Names that changed
//
// Up to e29e82c on the left:
//
//	Part{Image, Text}               the same, and Item for other media
//	Request.Image, Shots ...        the same; short forms for Parts
//	SelectEngine(name, library)     api.SelectEngine; without WithEngine it is the Go engine
//	Verify, VerifyRequest           api.Verify, api.VerifyRequest
//	Report, Stage, Tolerance        compare.Report, compare.Stage, compare.Tolerance
//	EarlyStopping("never") ...      StopNever ...; decode.ParseEarlyStopping reads the old names
//	Attention.Boxes, Stages ...     the same; package attend defines the types
//	models.CLIP, models.BLIP2 ...   family.CLIP, family.BLIP2 ...
//	models.Open of foreign layouts  give it family.Families.Known()
//	vision.Things                   vision.PlainObjects
//	fallback/onnx                   onnx
//	tokenize with sugarme's parts   package tokenize stands alone; tokenize/sugarme is an adapter
//
// New are Encode, ChooseBatch, Inputs, Abilities, WithShadow and WithFamilies.
//
// Up to f4c4ab3 on the left:
//
//	ort.New() that searches         ort.New(ort.WithLibrary(path)), or api.SelectEngine
//	mini.Captions, Labels ...       mini.BLIP2, CLIP ...; models/mini/blip2-mini ... for one alone
//	models.NoVerify                 models.WithoutVerification
//	engine/enginebench              internal
//	an error for a whole batch      results of the others, and ItemErrors
//	"image limit: ... (pipeline.Limits)"  *LimitError, "limit: ... (Limits.ImagePixels)"
//	Match, Classify without texts   nothing, no error
//	EmbedTexts of an empty text     ErrPrompt, as Match
//
// New are Transcribe and its like, CaptionFile, Decode, DecodeFile, DecodeFiles, CaptionAll, EmbedAll, AnswerShots, Cosine,
// TopK, Tasks, Text.Confidence, WithNumBeams and the like, and JSON tags.
package pipeline
