package family

// llavaKinds see a picture as one: its rows stand in its place, without any marks.
var llavaKinds = []imageKind{
	{types: []string{"llava"}, around: "%s\n"},
}
