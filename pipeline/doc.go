// Package pipeline is xpipe's Go API: open a model bundle, then caption pictures and answer
// questions about them.
//
//	p, err := pipeline.Open(ctx, "path/to/bundle")
//	text, err := p.Caption(ctx, img)
//	text, err = p.Answer(ctx, img, "what color is the shape?")
//
// A Pipeline joins the packages below it: a front end (vision) turns a picture into the tensors
// that the model was trained on, tokenize turns text into ids, an engine runs the graphs. The steps
// between the graphs are in the folders of this package: how each family's graphs follow one
// another (family), decoding (decode), the projection from image to language width (graph), maps of
// attention (attend). This package holds the API: requests, tasks, limits.
//
// The embedded default models are in models/mini, so that a program which brings its own bundle
// does not carry them.
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
package pipeline
