package family

// Families is the table of all families in this package, one row each. Error messages and help
// list them in this order.
var Families = Table{
	blip2Row,
	blipRow,
	encdecRow,
	florenceRow,
	flamingoRow,
	mllamaRow,
	bridgeTowerRow,
	lxmertRow,
	viltRow,
	clipRow,
	clapRow,
	imageRow,
	textRow,
	llavaRow,
	whisperRow,
	moonshineRow,
	ocrRow,
}
