package family

// llavaKinds see a picture as one: its rows stand in its place, without any marks. llava_qwen2 is
// FastVLM; llava_onevision has one view, as the graphs and transformers.js have it: tiles need
// image_newline, a weight that is in no graph (see onevisionKinds).
var llavaKinds = []imageKind{
	{types: []string{"llava", "llava_onevision", "llava_qwen2"}, around: "%s\n"},
	{
		types: []string{"moondream1"}, around: "%s\n\n",
		caption: "Question: Describe this image.\n\nAnswer:", answer: "Question: {}\n\nAnswer:",
	},
}
