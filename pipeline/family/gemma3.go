package family

import "strings"

// gemma3Kinds are Gemma 3 (2503.19786): one token stands for a picture in the prompt, around which
// its rows are set.
var gemma3Kinds = []imageKind{{
	types: []string{"gemma3"}, mark: "<start_of_image>", token: "<image_soft_token>", around: "%s",
	markup: func(token string, e Encoded) string {
		rows := strings.Repeat(token, e.States.Dim(1))
		return "\n\n<start_of_image>" + rows + "<end_of_image>\n\n"
	},
}}
