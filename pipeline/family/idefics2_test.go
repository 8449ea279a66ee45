package family

import "testing"

// One token stands between parts. The prompt of transformers 5 is what Idefics2Processor of 5.24.0
// makes of "a<image> b<image><image>c<image>\nd<image>".
func TestJoinFrames(t *testing.T) {
	t.Parallel()
	const f = framed
	prompt := "a" + f + "<image>" + f + f + "<image>" + f + " b" + f + "<image>" + f + f + "<image>" + f +
		"c" + f + "<image>" + f + "\nd" + f + "<image>" + f
	want := "a" + f + "<image>" + f + "<image>" + f + " b" + f + "<image>" + f + "<image>" + f +
		"c" + f + "<image>" + f + "\nd" + f + "<image>" + f
	if got := joinFrames(&imageTokens{}, prompt); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	want = "a" + f + "<image>" + f + "<image>" + f + " b" + f + "<image>" + f + "<image>" + f +
		" c" + f + "<image>" + f + "\nd" + f + "<image>" + f
	if got := joinFrames(&imageTokens{newer: true}, prompt); got != want {
		t.Errorf("as 5 reads: %q, want %q", got, want)
	}
}
