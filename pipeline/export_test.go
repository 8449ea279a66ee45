package pipeline

// The helpers that the tests outside the package use.
var (
	GoEngine       = goEngine
	RuntimeEngine  = runtimeEngine
	EachEngine     = eachEngine
	MostlyGo       = mostlyGo
	OpenEmbedded   = openEmbedded
	SharedEmbedded = sharedEmbedded
)
