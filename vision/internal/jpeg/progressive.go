package jpeg

import "fmt"

// progressiveBlock checks the current scan against T.81 table G.1 and returns the function that
// decodes its blocks.
func (d *decoder) progressiveBlock() (func(c *component, bx, by int) error, error) {
	s := &d.scan
	valid := s.low <= 13 && (s.high == 0 || s.high == s.low+1)
	if s.start == 0 {
		valid = valid && s.end == 0
	} else {
		valid = valid && s.start <= s.end && s.end <= 63 && len(s.comps) == 1
	}
	if !valid {
		return nil, fmt.Errorf("progressive scan of coefficients %d to %d, bits %d to %d",
			s.start, s.end, s.high, s.low)
	}
	for _, c := range s.comps {
		for k := s.start; k <= s.end; k++ {
			c.successiveLow[k] = int8(s.low)
		}
	}
	switch {
	case s.start == 0 && s.high == 0:
		return d.dcFirst, nil
	case s.start == 0:
		return d.dcRefine, nil
	case s.high == 0:
		return d.acFirst, nil
	}
	return d.acRefine, nil
}

func (c *component) block(bx, by int) *block { return &c.coef[by*c.paddedWide+bx] }

func (d *decoder) dcFirst(c *component, bx, by int) error {
	s, err := d.bits.symbol(d.dc[c.dcTable])
	if err != nil {
		return err
	}
	if s > 0 {
		c.dcPredictor += extend(d.bits.take(int(s)), int(s))
	}
	c.block(bx, by)[0] = int16(c.dcPredictor << d.scan.low)
	return nil
}

func (d *decoder) dcRefine(c *component, bx, by int) error {
	if d.bits.take(1) != 0 {
		c.block(bx, by)[0] |= 1 << d.scan.low
	}
	return nil
}

func (d *decoder) acFirst(c *component, bx, by int) error {
	if d.eob > 0 {
		d.eob--
		return nil
	}
	coef, h, b := c.block(bx, by), d.ac[c.acTable], &d.bits
	for k := d.scan.start; k <= d.scan.end; k++ {
		if b.n < 32 {
			b.refill()
		}
		e := h.look[b.acc>>(64-lookBits)]
		if symbol := uint8(e >> symbolShift); e&entryDone != 0 && symbol&15 != 0 {
			b.acc <<= e & 63
			b.n -= int(e & 63)
			if k += int(symbol >> 4); k > 63 {
				return errRun
			}
			coef[natural[k]] = int16(e>>valueShift) << d.scan.low
			continue
		}
		symbol, err := b.symbol(h)
		if err != nil {
			return err
		}
		run, size := int(symbol>>4), int(symbol&15)
		if size == 0 {
			if run < 15 { // a run of blocks without further coefficients
				d.eob = 1<<run - 1
				if run > 0 {
					d.eob += int(b.take(run))
				}
				break
			}
			k += 15
			continue
		}
		if k += run; k > 63 {
			return errRun
		}
		coef[natural[k]] = int16(extend(b.take(size), size) << d.scan.low)
	}
	return nil
}

func (d *decoder) acRefine(c *component, bx, by int) error {
	coef, h := c.block(bx, by), d.ac[c.acTable]
	plus := int16(1) << d.scan.low
	k := d.scan.start
	if d.eob == 0 {
	coefficients:
		for ; k <= d.scan.end; k++ {
			symbol, err := d.bits.symbol(h)
			if err != nil {
				return err
			}
			run, value := int(symbol>>4), int16(0)
			switch symbol & 15 {
			case 0:
				if run < 15 {
					d.eob = 1 << run
					if run > 0 {
						d.eob += int(d.bits.take(run))
					}
					break coefficients
				}
			default: // the size should be 1; libjpeg takes others as 1 too
				value = -plus
				if d.bits.take(1) != 0 {
					value = plus
				}
			}
			k = d.refine(coef, k, run, plus)
			if value != 0 && k <= 63 {
				coef[natural[k]] = value
			}
		}
	}
	if d.eob > 0 {
		d.refine(coef, k, 64, plus)
		d.eob--
	}
	return nil
}

// refine reads a bit for each coefficient from k on that is not zero, until it has passed run
// coefficients that are. It returns where it stopped.
func (d *decoder) refine(coef *block, k, run int, plus int16) int {
	for ; k <= d.scan.end; k++ {
		p := &coef[natural[k]]
		if *p == 0 {
			if run == 0 {
				break
			}
			run--
			continue
		}
		if d.bits.take(1) != 0 && *p&plus == 0 {
			if *p > 0 {
				*p += plus
			} else {
				*p -= plus
			}
		}
	}
	return k
}

// transform turns all coefficients of a progressive component into samples.
func (c *component) transform() {
	stride := c.stride()
	for by := range c.blocksHigh {
		for bx := range c.blocksWide {
			inverseDCT(c.plane[by*8*stride+bx*8:], stride, c.block(bx, by), c.quant)
		}
	}
	c.coef = nil
}
