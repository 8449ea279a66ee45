package kernel

// Byte matrices that are kept in files: what NewByteMatrix packs, in memory of the caller's.

// ByteForm names the form in which matrices are packed here, 0 or 1: those of another form have to be
// packed anew. See ByteMatrix.
func ByteForm() uint32 {
	if hasDots() {
		return 1
	}
	return 0
}

// Packed returns the panels of a matrix, and the sums of their columns' bytes: whole panels of both.
// Without VNNI there are no sums.
func (m *ByteMatrix) Packed() (panels []uint8, sums []int32) { return m.panels, m.sums }

// Over is m with other panels, and with the sums of their columns, both of a matrix as large as m and
// packed in the same form. They may lie anywhere, such as in a mapped file, and panels must have a
// capacity of 1,024 bytes beyond their end: AMX reads them and drops what comes of it.
func (m *ByteMatrix) Over(panels []uint8, sums []int32) *ByteMatrix {
	over := *m
	over.panels = panels[:len(m.panels)]
	_ = panels[: len(m.panels)+1024 : cap(panels)]
	if m.dots {
		over.sums = sums[:len(m.sums)]
	}
	return &over
}
