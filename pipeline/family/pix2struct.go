package family

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// Inputs of Pix2Struct's encoder (Lee et al., 2210.03347): [N,P,2+S*S*3] patches with their rows and
// columns, and [N,P], 1 where a patch is.
const flattenedPatches, patchMask = "flattened_patches", "attention_mask"

// encodePatches returns the states [1,P,D] of each picture's own patches. The pictures are encoded
// side by side, with as many patches as the one with most of them.
func (m *crossReader) encodePatches(ctx context.Context, prepared media.Prepared) ([]Encoded, error) {
	patches, mask := prepared.Tensors[flattenedPatches], prepared.Tensors[patchMask]
	if mask == nil || mask.Rank() != 2 || mask.DType() != tensor.Float32 || patches.Rank() != 3 {
		return nil, fmt.Errorf("%w: %s %v without a mask of them, but %v", graph.ErrBundle, flattenedPatches, patches, mask)
	}
	counts, most := make([]int, mask.Dim(0)), 1
	for i, there := range tensor.Data[float32](mask) {
		if there != 0 {
			counts[i/mask.Dim(1)]++
			most = max(most, counts[i/mask.Dim(1)])
		}
	}
	given := map[string]*tensor.Tensor{}
	var err error
	if given[flattenedPatches], err = graph.At(patches, 1, 0, most); err != nil {
		return nil, err
	}
	if given[patchMask], err = graph.At(mask, 1, 0, most); err != nil {
		return nil, err
	}
	encoded, err := encodeEach(m.vision.RunPrepared(ctx, given, m.states, prepared.Items(), most, -1))
	if err != nil {
		return nil, err
	}
	for i := range encoded {
		if encoded[i].States, err = graph.At(encoded[i].States, 1, 0, counts[i]); err != nil {
			return nil, err
		}
	}
	return encoded, nil
}

// padStates joins the states [1,N,D] of prompts about one item each, with zeros behind those of fewer
// rows than others: [B,N,D], and the rows of each.
func padStates(prompts [][]Segment) (*tensor.Tensor, []int, error) {
	most, lengths := 0, make([]int, len(prompts))
	for i, p := range prompts {
		lengths[i] = p[0].Embeds.Dim(1)
		most = max(most, lengths[i])
	}
	rows := make([]*tensor.Tensor, len(prompts))
	for i, p := range prompts {
		rows[i] = p[0].Embeds
		if lengths[i] == most {
			continue
		}
		values, err := tensor.Values[float32](rows[i])
		if err != nil {
			return nil, nil, err
		}
		width := rows[i].Dim(2)
		padded := make([]float32, most*width)
		copy(padded, values)
		if rows[i], err = tensor.New([]int{1, most, width}, padded); err != nil {
			return nil, nil, err
		}
	}
	states, err := graph.Stack(rows)
	return states, lengths, err
}
