// Package api holds what the command and an HTTP server share. A Go program that needs a model and
// nothing else imports package pipeline; one that should behave as the command does imports this
// one. It knows no flags, no terminal and no routes.
//
//   - Models: [Find] and [Open] take a name as users give it; [OpenBundle], [OpenGraph] and
//     [OpenPreprocessor] open parts of one.
//   - Engines: [Engines] is the table of all, [SelectEngine] takes one, [WithProviders] goes
//     through a list of providers.
//   - Inputs: [Sources] finds the pictures that arguments stand for, [Expand] the files that
//     patterns do, [EachLine] reads files of JSON lines, [LoadRegions] a detector's regions.
//   - Work on several inputs or engines: [Runner], [ChooseEach], [Verify], [NewAttentionView].
//   - What there is: [Diagnose] examines the machine, [ListModels], [InspectFile] and
//     [InspectBundle] models.
//   - Outputs: each line of JSON that is printed has a type, such as [Caption], with the function
//     that makes it from results; [Results] is a file of such lines that a later run goes on
//     with. [Sidecars] writes captions beside pictures. [Name] is how JSON holds a file's name.
//   - Errors: [KindOf] gives an exit code and an HTTP status to each; [DidYouMean] says what a
//     misspelt name was probably meant to be.
//
// Keys of JSON and their order are part of what xpipe promises.
package api
