//go:build cgo && !noort

package ort

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
)

// nodeTestsOut are the official tests that ONNX Runtime 1.24.4 itself does not pass on the
// CPU, by reason.
var nodeTestsOut = map[string]string{
	"operators of training, which its releases lack": `test_gradient_of_add test_gradient_of_add_and_mul test_adagrad test_adagrad_multiple test_adam test_adam_multiple
		test_momentum test_momentum_multiple test_nesterov_momentum`,
	"it has no implementation of the operator, or not of this version or type": `test_basic_deform_conv_with_padding
		test_basic_deform_conv_without_padding test_deform_conv_with_mask_bias test_deform_conv_with_multiple_offset_groups
		test_bernoulli test_bernoulli_double test_bernoulli_double_expanded test_bernoulli_expanded test_bernoulli_seed test_bernoulli_seed_expanded test_clip_default_int8_max_expanded
		test_clip_default_int8_min_expanded test_image_decoder_decode_bmp_rgb test_image_decoder_decode_jpeg2k_rgb
		test_image_decoder_decode_jpeg_bgr test_image_decoder_decode_jpeg_grayscale test_image_decoder_decode_jpeg_rgb
		test_image_decoder_decode_png_rgb test_image_decoder_decode_pnm_rgb test_image_decoder_decode_tiff_rgb
		test_image_decoder_decode_webp_rgb test_roialign_aligned_false test_roialign_aligned_true test_roialign_mode_max`,
	"it has these operators from version 7 on": `test_AvgPool1d test_AvgPool1d_stride test_AvgPool2d test_AvgPool2d_stride test_AvgPool3d
		test_AvgPool3d_stride test_AvgPool3d_stride1_pad0_gpu_input test_BatchNorm1d_3d_input_eval
		test_BatchNorm2d_eval test_BatchNorm2d_momentum_eval test_BatchNorm3d_eval
		test_BatchNorm3d_momentum_eval test_GLU test_GLU_dim test_Linear test_PReLU_1d
		test_PReLU_1d_multiparam test_PReLU_2d test_PReLU_2d_multiparam test_PReLU_3d
		test_PReLU_3d_multiparam test_PoissonNLLLLoss_no_reduce test_Softsign
		test_operator_add_broadcast test_operator_add_size1_broadcast
		test_operator_add_size1_right_broadcast test_operator_add_size1_singleton_broadcast
		test_operator_addconstant test_operator_addmm test_operator_basic test_operator_mm
		test_operator_non_float_params test_operator_params test_operator_pow`,
	"it lacks layout 1 of recurrent operators": `test_gru_batchwise test_lstm_batchwise test_simple_rnn_batchwise`,
	"where sums of hundreds cancel, its rounding leaves up to 1.2e-4 of the expected 0": `test_dft test_dft_axis test_dft_axis_opset19
		test_dft_opset19 test_stft test_stft_with_window`,
	"it gives another result where output_shape is given": `test_maxunpool_export_with_output_shape`,
}

func TestConformance(t *testing.T) {
	out := map[string]string{}
	for reason, names := range nodeTestsOut {
		for name := range strings.FieldsSeq(names) {
			out[name] = reason
		}
	}
	dirs := filepath.SplitList(os.Getenv("XPIPE_GOLDEN"))
	found, err := filepath.Glob("../testdata/golden/*/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		dirs = append(dirs, filepath.Dir(f))
	}
	enginetest.Run(t, testEngine(t), enginetest.Options{Out: out, Golden: dirs, Sample: 8})
}

// What NoFusion runs is the graph as written, and must pass no less.
func TestConformanceNoFusion(t *testing.T) {
	if testing.Short() {
		t.Skip("the same suite again")
	}
	enginetest.Run(t, testEngine(t), enginetest.Options{Open: engine.Options{NoFusion: true}, Sample: 8, Supported: func(domain, op string, opset int) bool {
		return domain == "" && opset >= 7 && strings.Contains(" Add Cast Concat Conv Gather Gemm LayerNormalization MatMul Mul Reshape Slice Softmax Split Transpose Where ", " "+op+" ")
	}})
}
