package kernel

import "runtime"

// FillHalves is Fill for a matrix of NewHalfMatrix from numbers that are float16 already, in bits.
func (m *Matrix) FillHalves(b []uint16, ldb, lo, hi int) {
	for p := lo; p < hi; p++ {
		dst := m.halves[p*m.K*panelWidth : (p+1)*m.K*panelWidth]
		width := min(panelWidth, m.N-p*panelWidth)
		if width == panelWidth {
			for k := range m.K {
				*(*[panelWidth]uint16)(dst[k*panelWidth:]) = *(*[panelWidth]uint16)(b[k*ldb+p*panelWidth:])
			}
			continue
		}
		for k := range m.K {
			row := dst[k*panelWidth : (k+1)*panelWidth]
			clear(row[copy(row, b[k*ldb+p*panelWidth:][:width]):])
		}
	}
	runtime.KeepAlive(m)
}

// FillHalvesTransposed is FillTransposed in the same way.
func (m *Matrix) FillHalvesTransposed(b []uint16, ldb, lo, hi int) {
	for p := lo; p < hi; p++ {
		dst := m.halves[p*m.K*panelWidth : (p+1)*m.K*panelWidth]
		clear(dst)
		for j := range min(panelWidth, m.N-p*panelWidth) {
			for k, v := range b[(p*panelWidth+j)*ldb:][:m.K] {
				dst[k*panelWidth+j] = v
			}
		}
	}
	runtime.KeepAlive(m)
}
