package jpeg

// A progressive file may end before all its scans have come. libjpeg-turbo then guesses the first
// coefficients that are still missing from the means of the blocks around (5 by 5 of them), so that
// no edges show between blocks. What follows is its decompress_smooth_data (jdcoefct.c, 2.1 and
// later).

// smoothed are the coefficients that are guessed, in the order of the file (zigzag) after the mean,
// by their place in a block.
var smoothed = [...]int{1: 1, 2: 8, 3: 16, 4: 9, 5: 2, 6: 3, 7: 10, 8: 17, 9: 24}

// smoothing reports whether libjpeg-turbo smooths: every mean is known at least in part, no divisor
// is 0, and some of the first coefficients of any component are not exact yet.
func (d *decoder) smoothing() bool {
	if !d.Progressive {
		return false
	}
	useful := false
	for i := range d.comps {
		c := &d.comps[i]
		if c.quant == nil || c.successiveLow[0] < 0 {
			return false
		}
		for k, at := range smoothed {
			if c.quant[at] == 0 {
				return false
			}
			useful = useful || k > 0 && c.successiveLow[k] != 0
		}
	}
	return useful
}

// smooth is transform with guesses for what is missing.
func (d *decoder) smooth(c *component) {
	stride := c.stride()
	onlyMeans := true
	for _, low := range c.successiveLow[1:len(smoothed)] {
		onlyMeans = onlyMeans && low == -1
	}
	for mcu := range d.mcusY {
		rows := c.v
		if mcu == d.mcusY-1 {
			if last := c.blocksHigh % c.v; last != 0 {
				rows = last
			}
		}
		for row := range rows {
			by := mcu*c.v + row
			// Rows above and below, the nearest that there is. The count is libjpeg's, which takes
			// every row of MCUs for as high as this one.
			at, total := mcu*rows+row, rows*d.mcusY
			var near [5][]block
			for i := range near {
				y := by
				switch i {
				case 0:
					y -= min(at, 2)
				case 1:
					y -= min(at, 1)
				case 3:
					y += min(max(total-1-at, 0), 1)
				case 4:
					y += min(max(total-1-at, 0), 2)
				}
				near[i] = c.coef[y*c.paddedWide:][:c.blocksWide]
			}
			for bx := range c.blocksWide {
				out := *c.block(bx, by)
				c.guess(&out, meansAround(near, bx), onlyMeans)
				inverseDCT(c.plane[by*8*stride+bx*8:], stride, &out, c.quant)
			}
		}
	}
	c.coef = nil
}

// meansAround returns the 25 means around block x of the middle row, those beyond the edges being
// the nearest that there are.
func meansAround(near [5][]block, x int) (dc [26]int64) {
	for i, row := range near {
		for j := range 5 {
			dc[1+5*i+j] = int64(row[min(max(x+j-2, 0), len(row)-1)][0])
		}
	}
	return dc
}

// guess fills in the coefficients of out that are 0 and not known to be exact. The 25 means count
// from 1, row by row. onlyMeans says that no other coefficient has come: then more of them are
// guessed, and the mean is evened out.
func (c *component) guess(out *block, dc [26]int64, onlyMeans bool) {
	var sums [len(smoothed)]int64
	if onlyMeans {
		sums = [...]int64{
			0: -2*dc[1] - 6*dc[2] - 8*dc[3] - 6*dc[4] - 2*dc[5] -
				6*dc[6] + 6*dc[7] + 42*dc[8] + 6*dc[9] - 6*dc[10] -
				8*dc[11] + 42*dc[12] + 152*dc[13] + 42*dc[14] - 8*dc[15] -
				6*dc[16] + 6*dc[17] + 42*dc[18] + 6*dc[19] - 6*dc[20] -
				2*dc[21] - 6*dc[22] - 8*dc[23] - 6*dc[24] - 2*dc[25],
			1: -dc[1] - dc[2] + dc[4] + dc[5] -
				3*dc[6] + 13*dc[7] - 13*dc[9] + 3*dc[10] -
				3*dc[11] + 38*dc[12] - 38*dc[14] + 3*dc[15] -
				3*dc[16] + 13*dc[17] - 13*dc[19] + 3*dc[20] -
				dc[21] - dc[22] + dc[24] + dc[25],
			2: -dc[1] - 3*dc[2] - 3*dc[3] - 3*dc[4] - dc[5] -
				dc[6] + 13*dc[7] + 38*dc[8] + 13*dc[9] - dc[10] +
				dc[16] - 13*dc[17] - 38*dc[18] - 13*dc[19] + dc[20] +
				dc[21] + 3*dc[22] + 3*dc[23] + 3*dc[24] + dc[25],
			3: dc[3] + 2*dc[7] + 7*dc[8] + 2*dc[9] - 5*dc[12] - 14*dc[13] - 5*dc[14] +
				2*dc[17] + 7*dc[18] + 2*dc[19] + dc[23],
			4: -dc[1] + dc[5] + 9*dc[7] - 9*dc[9] - 9*dc[17] + 9*dc[19] + dc[21] - dc[25],
			5: 2*dc[7] - 5*dc[8] + 2*dc[9] + dc[11] + 7*dc[12] - 14*dc[13] + 7*dc[14] + dc[15] +
				2*dc[17] - 5*dc[18] + 2*dc[19],
			6: dc[7] - dc[9] + 2*dc[12] - 2*dc[14] + dc[17] - dc[19],
			7: dc[7] - 3*dc[8] + dc[9] - dc[17] + 3*dc[18] - dc[19],
			8: dc[7] - dc[9] - 3*dc[12] + 3*dc[14] + dc[17] - dc[19],
			9: dc[7] + 2*dc[8] + dc[9] - dc[17] - 2*dc[18] - dc[19],
		}
	} else {
		sums = [len(smoothed)]int64{
			1: -7*dc[11] + 50*dc[12] - 50*dc[14] + 7*dc[15],
			2: -7*dc[3] + 50*dc[8] - 50*dc[18] + 7*dc[23],
			3: -dc[3] + 13*dc[8] - 24*dc[13] + 13*dc[18] - dc[23],
			4: dc[10] + dc[16] - 10*dc[17] + 10*dc[19] - dc[2] - dc[20] + dc[22] - dc[24] + dc[4] -
				dc[6] + 10*dc[7] - 10*dc[9],
			5: -dc[11] + 13*dc[12] - 24*dc[13] + 13*dc[14] - dc[15],
		}
	}
	known := 6 // coefficients that are guessed where others have come
	if onlyMeans {
		known = len(smoothed)
	}
	for k := 1; k < known; k++ {
		low, at := c.successiveLow[k], smoothed[k]
		if low == 0 || out[at] != 0 {
			continue
		}
		v := c.divide(sums[k], at)
		if low > 0 { // its upper bits are known to be 0
			most := int64(1)<<low - 1
			v = min(max(v, -most), most)
		}
		out[at] = int16(v)
	}
	if onlyMeans {
		out[0] = int16(c.divide(sums[0], 0))
	}
}

// divide turns a sum of means times 256 into coefficient at, rounded to the nearest.
func (c *component) divide(sum int64, at int) int64 {
	q := int64(uint16(c.quant[at]))
	num := int64(uint16(c.quant[0])) * sum
	if num < 0 {
		return -((q<<7 - num) / (q << 8))
	}
	return (q<<7 + num) / (q << 8)
}
