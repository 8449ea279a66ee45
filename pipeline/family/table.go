package family

// Families are those that this package knows, one row each. The order is that of error messages
// and help.
var Families = Table{
	blip2Row,
	blipRow,
	encdecRow,
	flamingoRow,
	lxmertRow,
	clipRow,
}
