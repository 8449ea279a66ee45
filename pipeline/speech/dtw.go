package speech

import "math"

// Steps of a path through a matrix, to a cell from that before it.
const (
	toBoth   = uint8(iota) // from the row above and the column before
	toRow                  // from the row above
	toColumn               // from the column before
)

// path returns the column in which each row begins on the way of the largest sum through a matrix
// [rows,columns], from the first cell to the last, by steps of one row, one column or both: dynamic
// time warping. Of equal ways it takes that of dtw_cpu in timing.py of openai-whisper 20250625.
func path(matrix []float64, rows, columns int) []int {
	steps := make([]uint8, rows*columns)
	above, costs := make([]float64, columns+1), make([]float64, columns+1)
	for j := range above {
		above[j] = math.Inf(1)
	}
	above[0] = 0
	for i := range rows {
		costs[0] = math.Inf(1)
		for j, value := range matrix[i*columns:][:columns] {
			both, row, column := above[j], above[j+1], costs[j]
			least, step := column, toColumn
			if both < row && both < column {
				least, step = both, toBoth
			} else if row < both && row < column {
				least, step = row, toRow
			}
			costs[j+1], steps[i*columns+j] = least-value, step
		}
		above, costs = costs, above
	}
	begins := make([]int, rows)
	for i, j := rows-1, columns-1; ; {
		begins[i] = j
		switch step := steps[i*columns+j]; {
		case i == 0 && j == 0:
			return begins
		case i == 0:
			j--
		case j == 0 || step == toRow:
			i--
		case step == toBoth:
			i, j = i-1, j-1
		default:
			j--
		}
	}
}
