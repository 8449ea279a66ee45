package jpeg

import (
	"errors"
	"fmt"
)

// block is the coefficients of 8x8 samples, in natural order.
type block [64]int16

// scanHeader is the SOS segment.
type scanHeader struct {
	comps      []*component
	start, end int // spectral selection
	high, low  int // successive approximation
}

func (d *decoder) readScanHeader(s []byte) error {
	if len(s) < 1 || len(s) != 4+2*int(s[0]) {
		return errors.New("scan header has a wrong length")
	}
	n := int(s[0])
	if n < 1 || n > 4 {
		return fmt.Errorf("scan of %d components", n)
	}
	d.scan = scanHeader{comps: make([]*component, n)}
	blocks := 0
	for i := range n {
		id, tables := s[1+2*i], s[2+2*i]
		for j := range d.comps {
			if d.comps[j].id == id {
				d.scan.comps[i] = &d.comps[j]
			}
		}
		c := d.scan.comps[i]
		if c == nil {
			return fmt.Errorf("scan has component %d, which the frame has not", id)
		}
		for _, other := range d.scan.comps[:i] {
			if other == c {
				return fmt.Errorf("scan has component %d twice", id)
			}
		}
		if c.dcTable, c.acTable = tables>>4, tables&15; c.dcTable > 3 || c.acTable > 3 {
			return fmt.Errorf("scan uses Huffman tables %d and %d", c.dcTable, c.acTable)
		}
		blocks += c.h * c.v
	}
	if n > 1 && blocks > 10 {
		return fmt.Errorf("scan has %d blocks in an MCU, more than the 10 allowed", blocks)
	}
	d.scan.start, d.scan.end = int(s[1+2*n]), int(s[2+2*n])
	d.scan.high, d.scan.low = int(s[3+2*n]>>4), int(s[3+2*n]&15)
	if !d.Progressive {
		d.scan.start, d.scan.end, d.scan.high, d.scan.low = 0, 63, 0, 0
	}
	return nil
}

// readScans decodes scan after scan up to the end of the file.
func (d *decoder) readScans() error {
	d.bits.data = d.data
	// Each block takes a bit at the least. This keeps a short file from asking for the memory of a
	// large picture.
	blocks := 0
	for _, c := range d.scan.comps {
		blocks += c.blocksWide * c.blocksHigh
	}
	if blocks/8 > len(d.data)-d.pos {
		return ErrTruncated
	}
	for i := range d.comps {
		c := &d.comps[i]
		c.plane = d.samples(c.paddedWide * c.paddedHigh * 64)
		if d.Progressive {
			c.coef = make([]block, c.paddedWide*c.paddedHigh)
			for k := range c.successiveLow {
				c.successiveLow[k] = -1
			}
		}
	}
	const maxScans = 500 // as many as libjpeg-turbo's own fuzzing allows
	for n := 0; ; n++ {
		if n == maxScans {
			return fmt.Errorf("has more than %d scans", maxScans)
		}
		if err := d.readScan(); err != nil {
			return err
		}
		more, err := d.nextScan()
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	smooth := d.smoothing()
	for i := range d.comps {
		c := &d.comps[i]
		switch {
		case !c.seen: // no scan has had it: libjpeg leaves it in the middle
			for j := range c.plane {
				c.plane[j] = 128
			}
		case smooth:
			d.smooth(c)
		case d.Progressive:
			c.transform()
		}
	}
	return nil
}

// nextScan reads up to the next scan header, or the end of the picture.
func (d *decoder) nextScan() (bool, error) {
	for {
		marker, segment, err := d.nextMarker()
		switch {
		case err != nil:
			// A missing end marker is forgiven where every sample is there.
			if !d.Progressive && d.complete() && errors.Is(err, ErrTruncated) {
				return false, nil
			}
			return false, err
		case marker == markerEOI:
			return false, nil
		case marker == markerSOS:
			if !d.Progressive && d.complete() {
				return false, nil
			}
			return true, d.readScanHeader(segment)
		}
		if err := d.readTables(marker, segment); err != nil {
			return false, err
		}
	}
}

func (d *decoder) complete() bool {
	for i := range d.comps {
		if !d.comps[i].seen {
			return false
		}
	}
	return true
}

// readScan decodes the entropy-coded data of one scan.
func (d *decoder) readScan() error {
	for _, c := range d.scan.comps {
		if !c.seen {
			q := d.quant[c.quantIndex]
			if q == nil {
				return fmt.Errorf("quantization table %d is missing", c.quantIndex)
			}
			c.quant, c.seen = q, true
		}
		needDC := d.scan.start == 0 && d.scan.high == 0
		needAC := d.scan.end > 0
		if needDC && d.dc[c.dcTable] == nil || needAC && d.ac[c.acTable] == nil {
			return errors.New("a Huffman table is missing")
		}
	}
	decode := d.sequentialBlock
	if d.Progressive {
		var err error
		if decode, err = d.progressiveBlock(); err != nil {
			return err
		}
	}
	d.bits.start(d.pos)
	d.resetPredictors()

	// With one component the scan holds just the blocks that matter; with more it goes by MCUs,
	// which may reach over the edges.
	c := d.scan.comps[0]
	single := len(d.scan.comps) == 1
	wide, high := d.mcusX, d.mcusY
	if single {
		wide, high = c.blocksWide, c.blocksHigh
	}
	left, next := d.restart, 0
	for y := range high {
		for x := range wide {
			if d.restart > 0 && left == 0 {
				if err := d.readRestart(next); err != nil {
					return err
				}
				left, next = d.restart, (next+1)&7
			}
			left--
			if single {
				if err := decode(c, x, y); err != nil {
					return err
				}
			} else {
				for _, c := range d.scan.comps {
					for v := range c.v {
						for h := range c.h {
							if err := decode(c, x*c.h+h, y*c.v+v); err != nil {
								return err
							}
						}
					}
				}
			}
			if d.bits.padded > 0 && d.bits.overrun() {
				if d.bits.ended {
					return ErrTruncated
				}
				return errors.New("damaged: a marker where pixels should be")
			}
		}
	}
	d.pos = d.bits.pos
	return nil
}

func (d *decoder) resetPredictors() {
	for i := range d.comps {
		d.comps[i].dcPredictor = 0
	}
	d.eob = 0
}

// readRestart goes over the restart marker number n.
func (d *decoder) readRestart(n int) error {
	// What is left of the last byte is filling; the marker comes next. Whole bytes that were taken
	// in advance are given back by looking for it from where reading stopped, since no marker lies
	// within them.
	d.pos = d.bits.pos
	marker, _, err := d.nextMarker()
	if err != nil {
		return err
	}
	if int(marker) != markerRST0+n {
		return fmt.Errorf("damaged: marker %#02x in place of restart marker %d", marker, n)
	}
	d.bits.start(d.pos)
	d.resetPredictors()
	return nil
}

// sequentialBlock decodes block (bx, by) of c and transforms it into the plane.
func (d *decoder) sequentialBlock(c *component, bx, by int) error {
	b := &d.bits
	var coef block

	if b.n < 32 {
		b.refill()
	}
	h := d.dc[c.dcTable]
	e := h.look[b.acc>>(64-lookBits)]
	switch {
	case e&entryDone != 0:
		b.acc <<= e & 63
		b.n -= int(e & 63)
		c.dcPredictor += int32(int16(e >> valueShift))
	default:
		s, err := b.symbolLoaded(h)
		if err != nil {
			return err
		}
		if s > 0 {
			c.dcPredictor += extend(b.take(int(s)), int(s))
		}
	}
	coef[0] = int16(c.dcPredictor)

	last := 0
	h = d.ac[c.acTable]
	acc, n := b.acc, b.n
	for k := 1; k < 64; k++ {
		if n < 32 {
			b.acc, b.n = acc, n
			b.refill()
			acc, n = b.acc, b.n
		}
		e := h.look[acc>>(64-lookBits)]
		if e&entryDone != 0 {
			acc <<= e & 63
			n -= int(e & 63)
			symbol := uint8(e >> symbolShift)
			if symbol == 0 {
				break
			}
			k += int(symbol >> 4)
			if k > 63 {
				return errRun
			}
			coef[natural[k]] = int16(e >> valueShift)
			last = k
			continue
		}
		symbol := uint8(e >> symbolShift)
		if e != 0 {
			acc <<= e & 63
			n -= int(e & 63)
		} else {
			b.acc, b.n = acc, n
			s, err := b.symbolLoaded(h)
			if err != nil {
				return err
			}
			acc, n, symbol = b.acc, b.n, s
		}
		size := int(symbol & 15)
		k += int(symbol >> 4)
		if size == 0 {
			if symbol == 0 {
				break
			}
			continue
		}
		if k > 63 {
			return errRun
		}
		coef[natural[k]] = int16(extend(uint32(acc>>(64-size)), size))
		acc <<= size
		n -= size
		last = k
	}
	b.acc, b.n = acc, n

	stride := c.stride()
	dst := c.plane[by*8*stride+bx*8:]
	if last == 0 {
		flat(dst, stride, coef[0]*c.quant[0])
	} else {
		inverseDCT(dst, stride, &coef, c.quant)
	}
	return nil
}

var errRun = errors.New("damaged: a block has more than 64 coefficients")
