// Package geometry has what finding and cutting out lines of text needs beside a model: borders of
// regions, smallest rectangles around points, polygons that grow, perspective crops, and stretching
// by linear interpolation. Results equal those of OpenCV 5.0.0 and Clipper 6.4.2 (pyclipper 1.4.0)
// as far as the functions say; testdata/reference.py makes what the tests compare with.
//
// Coordinates are pixels: x to the right, y down, (0, 0) the centre of the top left pixel.
package geometry

import "math"

// Point is a place in a picture.
type Point struct{ X, Y float64 }

// Distance returns how far apart a and b are.
func Distance(a, b Point) float64 { return math.Hypot(a.X-b.X, a.Y-b.Y) }

// Quad is a quadrilateral: its corners from the top left one clockwise.
type Quad [4]Point

// Pixel is a place on a picture's grid.
type Pixel struct{ X, Y int }

func (p Pixel) point() Point { return Point{float64(p.X), float64(p.Y)} }
