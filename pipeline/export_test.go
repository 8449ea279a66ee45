package pipeline

// TestLibrary lets the tests outside the package use the library of those inside.
var TestLibrary = testLibrary
